package cursor

import (
	"fmt"
	"slices"
	"sort"
)

// Reader pages a slice in memory, in the order of some columns. It is immutable:
// when items are added or removed, make another with the same columns. A cursor
// contains the values of the columns, so it keeps its place in the new Reader, even
// if its item is gone. Safe for concurrent use.
type Reader[T any] struct {
	order order[T]
	items []T     // in order
	keys  [][]any // of items
}

// NewReader sorts a copy of the items by the columns. Together the columns must be
// unique: the last is often an id. Texts are ordered by their bytes.
//
// It returns an error for a mistake in the columns, for two items with the same
// key, and for a value that has no place: a NaN, a string that is not valid UTF-8
// or contains NUL (use its bytes), a time outside the years 1 to 9999, and a key of
// more than some 3,000 bytes.
func NewReader[T any](items []T, columns ...Column[T]) (*Reader[T], error) {
	o, err := newOrder("", columns)
	if err != nil {
		return nil, err
	}
	type keyed struct {
		item T
		key  []any
	}
	all := make([]keyed, len(items))
	for i, item := range items {
		all[i] = keyed{item, o.key(item)}
		if _, err := o.encode(all[i].key); err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
	}
	slices.SortFunc(all, func(a, b keyed) int { return o.compare(a.key, b.key) })
	r := &Reader[T]{order: o, items: make([]T, len(all)), keys: make([][]any, len(all))}
	for i, k := range all {
		if i > 0 && o.compare(k.key, r.keys[i-1]) == 0 {
			return nil, fmt.Errorf("cursor: two items are in one place, %v; add a column that tells them apart", k.key)
		}
		r.items[i], r.keys[i] = k.item, k.key
	}
	return r, nil
}

// Len returns the number of items.
func (r *Reader[T]) Len() int { return len(r.items) }

// Read returns a page. Its errors match [ErrInvalid]: the size of the page is
// wrong, or the cursor is malformed or of other columns.
func (r *Reader[T]) Read(args Args) (*Page[T], error) {
	if err := args.Check(); err != nil {
		return nil, err
	}
	from, to := 0, len(r.items)
	if args.At() != "" {
		at, err := r.order.decode(args.At())
		if err != nil {
			return nil, err
		}
		if args.IsBackward() {
			to = sort.Search(len(r.keys), func(i int) bool { return r.order.compare(r.keys[i], at) >= 0 })
		} else {
			from = sort.Search(len(r.keys), func(i int) bool { return r.order.compare(r.keys[i], at) > 0 })
		}
	}
	if args.IsBackward() {
		from = max(from, to-args.Limit())
	} else {
		to = min(to, from+args.Limit())
	}
	page := &Page[T]{PageInfo: PageInfo{
		HasPreviousPage: from > 0 && !args.IsOnward(),
		HasNextPage:     to < len(r.items),
		StartCursor:     args.At(),
		EndCursor:       args.At(),
	}}
	if from == to {
		return page, nil
	}
	page.Edges = make([]Edge[T], 0, to-from)
	for i := from; i < to; i++ {
		v, err := r.order.encode(r.keys[i])
		if err != nil {
			return nil, err
		}
		page.Edges = append(page.Edges, Edge[T]{Cursor: v, Node: r.items[i]})
	}
	page.PageInfo.StartCursor = page.Edges[0].Cursor
	page.PageInfo.EndCursor = page.Edges[len(page.Edges)-1].Cursor
	return page, nil
}
