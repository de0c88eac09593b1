package store_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

var positions = cursor.NewPositions([16]byte{1})

func TestBegin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		q    evento.Query
		args cursor.Args
		at   uint64
		is   error
	}{
		{"beginning", evento.Query{}, cursor.Forward(1, ""), 0, nil},
		{"end", evento.Query{}, cursor.Backward(1, ""), 0, nil},
		{"place", evento.Query{}, cursor.Onward(1, positions.Value(7)), 7, nil},
		{"last place", evento.Query{}, cursor.Onward(1, positions.Value(1<<62-1)), 1<<62 - 1, nil},
		{"beyond everything", evento.Query{}, cursor.Onward(1, positions.Value(1<<62)), 0, cursor.ErrBeyondHead},
		{"beyond signed numbers", evento.Query{}, cursor.Backward(1, positions.Value(1<<64-1)), 0, cursor.ErrBeyondHead},
		{"foreign", evento.Query{}, cursor.Forward(1, cursor.NewPositions([16]byte{2}).Value(7)), 0, cursor.ErrForeign},
		{"malformed", evento.Query{}, cursor.Forward(1, "?"), 0, cursor.ErrMalformed},
		{"bad arguments", evento.Query{}, cursor.Forward(-1, ""), 0, cursor.ErrInvalid},
		{"bad query", evento.Query{RoutingKey: "k", Unrouted: true}, cursor.Forward(1, ""), 0, evento.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at, err := store.Begin(tt.q, tt.args, positions)
			if at != tt.at || !errors.Is(err, tt.is) {
				t.Errorf("Begin() = %d, %v, want %d, %v", at, err, tt.at, tt.is)
			}
		})
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	at := positions.Value
	for _, tt := range []struct {
		name  string
		args  cursor.Args
		met   []uint64
		more  bool
		other bool
		at    uint64
		want  []uint64
		info  cursor.PageInfo
	}{
		{"forward", cursor.Forward(3, at(2)), []uint64{3, 5, 9}, true, true, 2, []uint64{3, 5, 9},
			cursor.PageInfo{HasNextPage: true, HasPreviousPage: true, StartCursor: at(3), EndCursor: at(9)}},
		{"onward", cursor.Onward(3, ""), []uint64{3}, false, false, 0, []uint64{3},
			cursor.PageInfo{StartCursor: at(3), EndCursor: at(3)}},
		{"backward", cursor.Backward(3, at(10)), []uint64{9, 5, 3}, true, false, 10, []uint64{3, 5, 9},
			cursor.PageInfo{HasPreviousPage: true, StartCursor: at(3), EndCursor: at(9)}},
		{"first backward", cursor.Backward(3, at(10)), []uint64{9}, false, true, 10, []uint64{9},
			cursor.PageInfo{HasNextPage: true, StartCursor: at(9), EndCursor: at(9)}},
		{"nothing forward", cursor.Forward(3, at(2)), nil, false, true, 2, nil,
			cursor.PageInfo{HasPreviousPage: true, StartCursor: at(2), EndCursor: at(20)}},
		{"nothing at the head", cursor.Onward(3, at(20)), nil, false, false, 20, nil,
			cursor.PageInfo{StartCursor: at(20), EndCursor: at(20)}},
		{"nothing backward", cursor.Backward(3, at(2)), nil, false, true, 2, nil,
			cursor.PageInfo{HasNextPage: true, StartCursor: at(2), EndCursor: at(2)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := store.Found{More: tt.more, Behind: tt.other, At: tt.at, Head: 20}
			for _, n := range tt.met {
				f.Edges = append(f.Edges, cursor.Edge[evento.RawEvent]{Node: evento.RawEvent{Position: n}})
			}
			page := f.Page(tt.args, positions)
			var got []uint64
			for _, e := range page.Edges {
				if e.Cursor != at(e.Node.Position) {
					t.Errorf("the cursor of position %d is %q, want %q", e.Node.Position, e.Cursor, at(e.Node.Position))
				}
				got = append(got, e.Node.Position)
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) || !reflect.DeepEqual(page.PageInfo, tt.info) {
				t.Errorf("Page() has %v and %+v, want %v and %+v", got, page.PageInfo, tt.want, tt.info)
			}
		})
	}
}

func TestPageAllocations(t *testing.T) {
	edges := make([]cursor.Edge[evento.RawEvent], 100)
	allocations := testing.AllocsPerRun(100, func() {
		for i := range edges {
			edges[i].Node.Position = uint64(i + 1)
		}
		store.Found{Edges: edges}.Page(cursor.Onward(100, ""), positions)
	})
	if allocations > 2 { // the page, and the text of all cursors
		t.Errorf("%v allocations for a page, want 2", allocations)
	}
}
