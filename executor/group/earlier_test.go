package group_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
)

type ids map[evento.ID]bool

// within reports whether all of s are in other.
func (s ids) within(other ids) bool {
	for id := range s {
		if !other[id] {
			return false
		}
	}
	return true
}

// behind is every event behind a place, page after page.
func behind(t *testing.T, ex evento.Executor, at cursor.Value, size int) ids {
	t.Helper()
	found := ids{}
	for {
		p, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(size, at))
		if err != nil {
			t.Fatalf("Read behind %q: %v", at, err)
		}
		for _, e := range p.Edges {
			if found[e.Node.ID] {
				t.Fatalf("behind %q the event %v is read twice", at, e.Node.ID)
			}
			found[e.Node.ID] = true
		}
		if at = p.PageInfo.EndCursor; !p.PageInfo.HasNextPage {
			return found
		}
	}
}

// upTo is every event before a place, page after page.
func upTo(t *testing.T, ex evento.Executor, at cursor.Value, size int) ids {
	t.Helper()
	found := ids{}
	for {
		p, err := ex.Read(t.Context(), evento.Query{}, cursor.Backward(size, at))
		if err != nil {
			t.Fatalf("Read before %q: %v", at, err)
		}
		for _, e := range p.Edges {
			found[e.Node.ID] = true
		}
		if at = p.PageInfo.StartCursor; !p.PageInfo.HasPreviousPage {
			return found
		}
	}
}

// places are cursors of every kind, with the events behind each: those of pages
// of many queries, of what there was before more came, and of pages without
// events.
func places(t *testing.T, r *rand.Rand, ex evento.Executor, stores []evento.Executor) map[cursor.Value]ids {
	t.Helper()
	found := map[cursor.Value]bool{"": true}
	for range 3 {
		fill(t, r, stores, 6)
		for range 4 {
			q := randomQuery(r)
			for _, e := range all(t, ex, q, 1+r.IntN(30)) {
				found[e.Cursor] = true
			}
			q.RoutingKey, q.Unrouted = "nowhere", false
			p, err := ex.Read(t.Context(), q, cursor.Onward(5, ""))
			if err != nil {
				t.Fatal(err)
			}
			found[p.PageInfo.EndCursor] = true
		}
	}
	events := map[cursor.Value]ids{}
	for at := range found {
		events[at] = behind(t, ex, at, 1+r.IntN(40))
	}
	return events
}

// A place comes before another when nothing is behind the other that is not
// behind it too. Where neither does, Earlier returns one behind which is what is
// behind either, and nothing else.
func TestEarlier(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, rand.Uint64()} {
		r := rand.New(rand.NewPCG(seed, 0))
		for name, s := range groups(t, r) {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, 1))
				ex := group.New(s.members[0], s.members[1:]...)
				neither, all := 0, places(t, r, ex, s.stores)
				for a := range all {
					n := 0
					for b := range all {
						if compare(t, ex, a, b, all) {
							neither++
						}
						if n++; n == 25 { // of those in the map's order, which is random
							break
						}
					}
				}
				if several := len(s.stores) > 1; several != (neither > 0) {
					t.Errorf("of %d stores and %d places: %d pairs of which neither comes first", len(s.stores), len(all), neither)
				}
			})
		}
	}
}

// compare compares two places, and reports whether neither comes first.
func compare(t *testing.T, ex evento.Executor, a, b cursor.Value, events map[cursor.Value]ids) (neither bool) {
	t.Helper()
	got, err := ex.Earlier(a, b)
	if err != nil {
		t.Fatalf("Earlier(%q, %q): %v", a, b, err)
	}
	before, after := events[b].within(events[a]), events[a].within(events[b])
	switch {
	case before && got != a, !before && after && got != b:
		t.Fatalf("Earlier(%q, %q): got %q, want %t that the first comes first, %t that the second does", a, b, got, before, after)
	case before || after:
		return false
	}
	again, err := ex.Earlier(b, a) // of a group within, it may be in other words
	if err != nil {
		t.Fatalf("Earlier(%q, %q): %v", b, a, err)
	}
	for _, tt := range [][2]cursor.Value{{got, again}, {again, got}} {
		if first, err := ex.Earlier(tt[0], tt[1]); err != nil || first != tt[0] {
			t.Fatalf("Earlier(%q, %q): got %q, and %q in the other order, which is another place: %q, %v", a, b, got, again, first, err)
		}
	}
	want := maps.Clone(events[a])
	maps.Copy(want, events[b])
	found, known := events[got]
	if !known {
		found = behind(t, ex, got, 100)
		events[got] = found
		rest, everything := upTo(t, ex, got, 100), events[""]
		if got == "" {
			rest = ids{} // before which is the end of everything
		}
		if len(rest)+len(found) != len(everything) || !rest.within(everything) {
			t.Fatalf("Earlier(%q, %q): got %q, behind which are %d events, and before it %d of %d", a, b, got, len(found), len(rest), len(everything))
		}
	}
	if !found.within(want) || !want.within(found) {
		t.Fatalf("Earlier(%q, %q): got %q, behind which are %d events, want those %d that are behind either", a, b, got, len(found), len(want))
	}
	for _, at := range []cursor.Value{a, b} {
		if first, err := ex.Earlier(got, at); err != nil || first != got {
			t.Fatalf("Earlier(%q, %q) of a place that is before both: got %q, %v", got, at, first, err)
		}
	}
	return true
}

// Where each of two places is at the beginning of a member, all that comes before
// both may be the beginning.
func TestEarlierIsTheBeginning(t *testing.T) {
	t.Parallel()
	a, b := memory.New(nil), memory.New(nil)
	ex := group.New(a, b)
	measure(t, a, 3)
	first := all(t, ex, evento.Query{}, 10)[2].Cursor
	measure(t, b, 3)
	second := all(t, group.New(memory.New(nil), b), evento.Query{}, 10)[2].Cursor // the same text
	for _, tt := range []struct{ a, b, want cursor.Value }{
		{first, second, ""}, {second, first, ""}, {first, first, first}, {second, "", ""}, {"", second, ""},
	} {
		if got, err := ex.Earlier(tt.a, tt.b); err != nil || got != tt.want {
			t.Errorf("Earlier(%q, %q): got %q, %v, want %q", tt.a, tt.b, got, err, tt.want)
		}
	}
}

// A cursor of before a member was added is compared with those of after.
func TestEarlierOfAddedMembers(t *testing.T) {
	t.Parallel()
	a, b := memory.New(nil), memory.New(nil)
	for _, m := range []evento.Executor{a, b} {
		measure(t, m, 2)
	}
	old := all(t, group.New(a), evento.Query{}, 10)
	grown := group.New(a, b)
	for i, e := range all(t, grown, evento.Query{}, 10) {
		want := old[1].Cursor // the events of the first member come first
		if i == 0 {
			want = e.Cursor
		}
		if got, err := grown.Earlier(e.Cursor, old[1].Cursor); err != nil || got != want {
			t.Errorf("Earlier(%q, %q) of event %d and an old cursor: got %q, %v, want %q", e.Cursor, old[1].Cursor, i+1, got, err, want)
		}
	}
}

// The error of a position says what to do.
func TestCursorAt(t *testing.T) {
	t.Parallel()
	ex := group.New(memory.New(nil), memory.New(nil))
	v, err := ex.CursorAt(7)
	if v != "" || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "positions are the members' own; use a cursor") {
		t.Errorf("CursorAt(7): got %q, %v", v, err)
	}
}
