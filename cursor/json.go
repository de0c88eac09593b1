// The JSON of pages and of Args: the names are those of GraphQL cursor connections.

package cursor

import (
	"encoding/json"
	"fmt"
)

// MarshalJSON implements [json.Marshaler].
func (e Edges[T]) MarshalJSON() ([]byte, error) {
	if e == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]Edge[T](e))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (e *Edges[T]) UnmarshalJSON(text []byte) error {
	var list []Edge[T]
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	if *e = list; len(list) == 0 {
		*e = nil
	}
	return nil
}

// pageInfo is a PageInfo in JSON.
type pageInfo struct {
	HasNextPage     bool   `json:"hasNextPage"`
	HasPreviousPage bool   `json:"hasPreviousPage"`
	StartCursor     *Value `json:"startCursor"`
	EndCursor       *Value `json:"endCursor"`
}

// MarshalJSON implements [json.Marshaler]. An empty cursor, as of an empty list, is null,
// as in GraphQL.
func (p PageInfo) MarshalJSON() ([]byte, error) {
	j := pageInfo{HasNextPage: p.HasNextPage, HasPreviousPage: p.HasPreviousPage}
	if p.StartCursor != "" {
		j.StartCursor = &p.StartCursor
	}
	if p.EndCursor != "" {
		j.EndCursor = &p.EndCursor
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (p *PageInfo) UnmarshalJSON(text []byte) error {
	var j pageInfo
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	*p = PageInfo{HasNextPage: j.HasNextPage, HasPreviousPage: j.HasPreviousPage}
	if j.StartCursor != nil {
		p.StartCursor = *j.StartCursor
	}
	if j.EndCursor != nil {
		p.EndCursor = *j.EndCursor
	}
	return nil
}

// MarshalJSON implements [json.Marshaler]: {"first", "after"}, or {"last", "before"}, and
// "onward" where it is set. The zero Args is {}.
func (a Args) MarshalJSON() ([]byte, error) {
	var f fields
	n, at := &f.First, &f.After
	if f.Onward = a.onward; a.backward {
		n, at = &f.Last, &f.Before
	}
	if a != (Args{}) {
		*n = &a.n
	}
	if a.at != "" {
		*at = &a.at
	}
	return json.Marshal(f)
}

// UnmarshalJSON implements [json.Unmarshaler]. It takes what MarshalJSON writes, and null for
// what is left out. The size is not checked, as readers do: see [Args.Check]. All errors
// match [ErrInvalid].
func (a *Args) UnmarshalJSON(text []byte) error {
	var f fields
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	args, err := f.args(0)
	if err == nil {
		*a = args
	}
	return err
}
