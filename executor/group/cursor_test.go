package group_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
)

func measure(t *testing.T, ex evento.Executor, events int) {
	t.Helper()
	b := evento.Create()
	for range events {
		b.Event(measured{})
	}
	if _, err := b.Commit(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
}

// refuse reads from a place in each direction, and compares it. Compared, a
// place may be beyond the head.
func refuse(t *testing.T, what string, ex evento.Executor, at cursor.Value, want error) {
	t.Helper()
	for _, args := range []cursor.Args{cursor.Forward(3, at), cursor.Onward(3, at), cursor.Backward(3, at)} {
		if p, err := ex.Read(t.Context(), evento.Query{}, args); !errors.Is(err, want) || !errors.Is(err, cursor.ErrInvalid) {
			t.Errorf("%s, backward %t: got %v, %v, want %q", what, args.IsBackward(), p, err, want)
		}
	}
	if errors.Is(want, cursor.ErrBeyondHead) {
		want = nil
	}
	for _, places := range [][2]cursor.Value{{at, ""}, {"", at}, {at, at}} {
		if v, err := ex.Earlier(places[0], places[1]); !errors.Is(err, want) {
			t.Errorf("%s, Earlier(%q, %q): got %q, %v, want %v", what, places[0], places[1], v, err, want)
		}
	}
}

// An old cursor goes on when members were added at the end, and begins with
// them at their beginning.
func TestAddingMembers(t *testing.T) {
	t.Parallel()
	a, b, c := memory.New(nil), memory.New(nil), memory.New(nil)
	for _, m := range []evento.Executor{a, b, c, a, b} {
		measure(t, m, 2)
	}
	edges := all(t, group.New(a, b), evento.Query{}, 100)
	grown := group.New(a, b, c)
	for i, e := range edges {
		after, err := grown.Read(t.Context(), evento.Query{}, cursor.Forward(100, e.Cursor))
		if err != nil {
			t.Fatal(err)
		}
		before, err := grown.Read(t.Context(), evento.Query{}, cursor.Backward(100, e.Cursor))
		if err != nil {
			t.Fatal(err)
		}
		if len(after.Edges) != len(edges)-i-1+2 || len(before.Edges) != i || !after.PageInfo.HasPreviousPage || !before.PageInfo.HasNextPage {
			t.Errorf("at event %d of %d: got %d events before and %d after, want those of the new member after", i+1, len(edges), len(before.Edges), len(after.Edges))
		}
	}
}

// What cannot be gone on from is refused.
func TestForeignCursors(t *testing.T) {
	t.Parallel()
	a, b, c := memory.New(nil), memory.New(nil), memory.New(nil)
	for _, m := range []evento.Executor{a, b, c} {
		measure(t, m, 1)
	}
	end := func(ex evento.Executor) cursor.Value {
		edges := all(t, ex, evento.Query{}, 100)
		return edges[len(edges)-1].Cursor
	}
	at := end(group.New(a, b))
	refuse(t, "a member removed", group.New(a), at, cursor.ErrForeign)
	refuse(t, "the first removed", group.New(b), at, cursor.ErrForeign)
	refuse(t, "members in another order", group.New(b, a), at, cursor.ErrForeign)
	refuse(t, "a member put before", group.New(c, a, b), at, cursor.ErrForeign)
	refuse(t, "another member", group.New(a, c), at, cursor.ErrForeign)
	refuse(t, "a group for a store", group.New(a, group.New(b)), at, cursor.ErrForeign)
	refuse(t, "a store for a group", group.New(a, b), end(group.New(a, group.New(b))), cursor.ErrForeign)
	refuse(t, "a member of another kind", group.New(a, texts{b}), at, cursor.ErrForeign)
	refuse(t, "a store's cursor", group.New(a, b), end(a), cursor.ErrMalformed)
	refuse(t, "a group's cursor", a, at, cursor.ErrMalformed)

	first, second := all(t, a, evento.Query{}, 1)[0].Cursor, all(t, b, evento.Query{}, 1)[0].Cursor
	ex := group.New(a, b)
	if _, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, seal(t, 2, first, second))); err != nil {
		t.Errorf("a cursor made as docs/formats.md says: %v", err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(string(second))
	if err != nil {
		t.Fatal(err)
	}
	ahead := cursor.NewPositions([16]byte(raw[2:18])).Value(2)
	refuse(t, "beyond the end of one member", ex, seal(t, 1, first, ahead), cursor.ErrBeyondHead)
	refuse(t, "beyond the end of the edge's member", ex, seal(t, 2, first, ahead), cursor.ErrBeyondHead)
}

// Bytes with a right sum that are no cursor are malformed, and no panic.
func TestMalformedCursors(t *testing.T) {
	t.Parallel()
	a := memory.New(nil)
	measure(t, a, 1)
	at := all(t, a, evento.Query{}, 1)[0].Cursor
	ex := group.New(a, memory.New(nil))
	for name, v := range map[string]cursor.Value{
		"no place":               seal(t, 0),
		"a beginning at last":    seal(t, 1, at, ""),
		"an edge nowhere":        seal(t, 2, at),
		"an edge at a beginning": seal(t, 1, "", at),
	} {
		refuse(t, name, ex, v, cursor.ErrMalformed)
	}
	for name, body := range map[string][]byte{
		"another version":      {2, 'g', 1, 2, 7},
		"another kind":         {1, 'p', 1, 2, 7},
		"an endless edge":      {1, 'g', 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
		"a place cut short":    {1, 'g', 1, 200, 1, 7},
		"a length cut short":   {1, 'g', 1, 200},
		"an endless length":    {1, 'g', 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 7},
		"a huge edge":          {1, 'g', 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 7},
		"nothing but its head": {1, 'g'},
	} {
		b := binary.BigEndian.AppendUint32(body, crc32.ChecksumIEEE(body))
		refuse(t, name, ex, cursor.Value(base64.RawURLEncoding.EncodeToString(b)), cursor.ErrMalformed)
	}
}

// Cursors of many members stay short, and are refused when they cannot.
func TestCursorLength(t *testing.T) {
	t.Parallel()
	var members []evento.Executor
	for range 8 {
		members = append(members, memory.New(nil))
		measure(t, members[len(members)-1], 1)
	}
	flat := all(t, group.New(members[0], members[1:]...), evento.Query{}, 100)
	deep := members[0]
	for _, m := range members[1:] {
		deep = group.New(m, deep)
	}
	nested := all(t, deep, evento.Query{}, 100)
	for _, tt := range []struct {
		at   cursor.Value
		most int
	}{{flat[7].Cursor, 8*40 + 15}, {nested[7].Cursor, 8*40 + 8*15}} {
		if len(tt.at) > tt.most {
			t.Errorf("the cursor of 8 members has %d bytes, want at most %d", len(tt.at), tt.most)
		}
	}
	long := group.New(padded{members[0]}, padded{members[1]})
	if p, err := long.Read(t.Context(), evento.Query{}, cursor.Forward(5, "")); !errors.Is(err, evento.ErrTooLarge) {
		t.Errorf("with cursors of 10 KiB of two members: got %v, %v, want %q", p, err, evento.ErrTooLarge)
	}
}

// padded is a store with cursors of 10 KiB, for reading from its beginning.
type padded struct{ evento.Executor }

func (x padded) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	p, err := x.Executor.Read(ctx, q, args)
	if err == nil {
		for i := range p.Edges {
			p.Edges[i].Cursor += cursor.Value(strings.Repeat(".", 10<<10))
		}
	}
	return p, err
}

// An empty page goes on to the ends of all members.
func TestPastTheEnd(t *testing.T) {
	t.Parallel()
	a, b := memory.New(nil), memory.New(nil)
	ex := group.New(a, b)
	none := evento.Query{Filters: []evento.Filter{evento.ByType("group/Nothing")}}
	read := func(q evento.Query, args cursor.Args) *cursor.Page[evento.RawEvent] {
		p, err := ex.Read(t.Context(), q, args)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	measure(t, a, 3)
	measure(t, b, 2)
	p := read(none, cursor.Onward(5, ""))
	end := p.PageInfo.EndCursor
	if p.PageInfo.StartCursor != "" || end == "" || len(p.Edges) > 0 {
		t.Fatalf("got %+v, want an empty page that goes on", p)
	}
	if p := read(evento.Query{}, cursor.Forward(5, end)); len(p.Edges) > 0 || p.PageInfo.EndCursor != end || !p.PageInfo.HasPreviousPage {
		t.Errorf("after the end: got %d events, %+v, want to stay there", len(p.Edges), p.PageInfo)
	}
	if p := read(evento.Query{}, cursor.Backward(10, end)); len(p.Edges) != 5 || p.PageInfo.HasNextPage {
		t.Errorf("before the end: got %d events, %+v, want all", len(p.Edges), p.PageInfo)
	}
	measure(t, b, 1)
	measure(t, a, 1)
	if p := read(evento.Query{}, cursor.Forward(10, end)); len(p.Edges) != 2 {
		t.Errorf("after the end, when two came: got %d events", len(p.Edges))
	}
	if p := read(evento.Query{}, cursor.Backward(10, end)); len(p.Edges) != 5 || !p.PageInfo.HasNextPage {
		t.Errorf("before what was the end: got %d events, %+v, want 5", len(p.Edges), p.PageInfo)
	}
}

// between runs do after its member answered a read, once.
type between struct {
	evento.Executor
	do func()
}

func (x *between) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	p, err := x.Executor.Read(ctx, q, args)
	if do := x.do; do != nil {
		x.do = nil
		do()
	}
	return p, err
}

// Of a member that grows while a page before a place is read, only what was
// before the place is on it.
func TestBackwardWhileGrowing(t *testing.T) {
	t.Parallel()
	later := func() time.Time { return time.Now().Add(time.Hour) }
	a, b := memory.New(&memory.Options{Clock: later}), memory.New(nil)
	measure(t, b, 2)
	measure(t, a, 2)
	growing := &between{Executor: b}
	ex := group.New(a, growing)
	edges := all(t, ex, evento.Query{}, 10)
	growing.do = func() { measure(t, b, 3) }
	p, err := ex.Read(t.Context(), evento.Query{}, cursor.Backward(10, edges[3].Cursor))
	if err != nil {
		t.Fatal(err)
	}
	if !sameEdges(p.Edges, edges[:3]) {
		t.Errorf("got %d events, want the 3 before the place", len(p.Edges))
	}
	if p, err = ex.Read(t.Context(), evento.Query{}, cursor.Backward(10, edges[3].Cursor)); err != nil || !sameEdges(p.Edges, edges[:3]) {
		t.Errorf("again: got %v, %v", p, err)
	}
}

func TestChangedAndClose(t *testing.T) {
	t.Parallel()
	members := []evento.Executor{memory.New(nil), memory.New(nil), memory.New(nil)}
	ex := group.New(members[0], members[1:]...)
	for _, m := range members {
		c := ex.Changed()
		measure(t, m, 1)
		<-c
	}
	c := ex.Changed()
	for range 2 {
		if err := ex.Close(); err != nil {
			t.Fatal(err)
		}
	}
	<-c
	<-ex.Changed()
	for i, m := range members {
		if _, err := m.Read(t.Context(), evento.Query{}, cursor.Forward(1, "")); !errors.Is(err, evento.ErrClosed) {
			t.Errorf("member %d after Close: got %v, want %q", i, err, evento.ErrClosed)
		}
	}
}

// A member that fails is named.
func TestMemberFails(t *testing.T) {
	t.Parallel()
	broken := memory.New(nil)
	ex := group.New(memory.New(nil), broken)
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range []cursor.Args{cursor.Forward(1, ""), cursor.Backward(1, "")} {
		_, err := ex.Read(t.Context(), evento.Query{}, args)
		if !errors.Is(err, evento.ErrClosed) || !strings.Contains(fmt.Sprint(err), "member 2") {
			t.Errorf("got %v, want %q of member 2", err, evento.ErrClosed)
		}
	}
	if _, err := ex.Earlier("", ""); !errors.Is(err, evento.ErrClosed) || !strings.Contains(fmt.Sprint(err), "member 2") {
		t.Errorf("Earlier: got %v, want %q of member 2", err, evento.ErrClosed)
	}
}

func TestNilMember(t *testing.T) {
	t.Parallel()
	for _, ex := range []*group.Executor{group.New(nil), group.New(memory.New(nil), nil)} {
		if _, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, "")); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Read: got %v, want %q", err, evento.ErrInvalid)
		}
		if _, err := evento.Create().Event(measured{}).Commit(t.Context(), ex); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Commit: got %v, want %q", err, evento.ErrInvalid)
		}
		if v, err := ex.CursorAt(0); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("CursorAt: got %q, %v, want %q", v, err, evento.ErrInvalid)
		}
		if v, err := ex.Earlier("", ""); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Earlier: got %q, %v, want %q", v, err, evento.ErrInvalid)
		}
		if p, err := ex.Snapshots(t.Context(), evento.SnapshotQuery{}); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Snapshots: got %v, %v, want %q", p, err, evento.ErrInvalid)
		}
		if err := ex.RemoveSnapshots(t.Context(), nil); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("RemoveSnapshots: got %v, want %q", err, evento.ErrInvalid)
		}
		if p, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind"}); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Records: got %v, %v, want %q", p, err, evento.ErrInvalid)
		}
		if err := ex.Swap(t.Context(), evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "kind", Key: "key"}}}}); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Swap: got %v, want %q", err, evento.ErrInvalid)
		}
		if err := ex.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		<-ex.Changed()
	}
}
