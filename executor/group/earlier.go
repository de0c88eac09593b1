// Which of two places comes first.

package group

import (
	"slices"

	"github.com/evento-go/evento/cursor"
)

// Earlier implements [evento.Executor]. A cursor comes before another when it is before
// it, or at the same place, in every member. When neither of the two does, the
// result is a cursor with the earlier place of each member.
func (ex *Executor) Earlier(a, b cursor.Value) (cursor.Value, error) {
	if len(ex.members) == 0 {
		return ex.first.Earlier(a, b)
	}
	of, err := ex.placesOf(a)
	if err != nil {
		return "", err
	}
	other, err := ex.placesOf(b)
	if err != nil {
		return "", err
	}
	both := make([]place, len(ex.members)) // the earlier of each
	before, behind := true, true           // a is, of b, in every member
	for i, member := range ex.members {
		first, err := member.Earlier(of[i].value, other[i].value)
		if err != nil {
			return "", memberError(i, err)
		}
		// In the other order, as one place may have several texts.
		second, err := member.Earlier(other[i].value, of[i].value)
		if err != nil {
			return "", memberError(i, err)
		}
		before = before && first == of[i].value
		behind = behind && second == other[i].value
		both[i] = newPlace(first)
	}
	switch {
	case before:
		return a, nil
	case behind:
		return b, nil
	case !slices.ContainsFunc(both, func(p place) bool { return p.value != "" }):
		return "", nil
	}
	return encode(both, noEdge)
}

// placesOf are the places of a cursor in the members.
func (ex *Executor) placesOf(v cursor.Value) ([]place, error) {
	if v == "" {
		return make([]place, len(ex.members)), nil
	}
	places, _, err := decode(v, len(ex.members))
	return places, err
}
