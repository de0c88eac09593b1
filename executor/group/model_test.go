package group_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/sqlite"
)

const (
	sensor evento.AggregateType = "group/Sensor"
	valve  evento.AggregateType = "group/Valve"
)

type edge = cursor.Edge[evento.RawEvent]

// entry is an event with the number of the member that has it, from 0.
type entry struct {
	evento.RawEvent
	member int
}

// model is all events of the members in the order of a group.
type model []entry

// newModel reads the members one by one.
func newModel(t *testing.T, members []evento.Executor) model {
	t.Helper()
	var m model
	for i, member := range members {
		for e, err := range evento.Events(t.Context(), member, evento.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			m = append(m, entry{e, i})
		}
	}
	slices.SortStableFunc(m, func(a, b entry) int {
		return cmp.Or(a.Timestamp.Compare(b.Timestamp), cmp.Compare(a.member, b.member))
	})
	return m
}

// ids are those of the matching events.
func (m model) ids(q evento.Query) []evento.ID {
	var ids []evento.ID
	for _, e := range m {
		if q.Matches(e.RawEvent) {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

func idsOf(edges []edge) []evento.ID {
	var ids []evento.ID
	for _, e := range edges {
		ids = append(ids, e.Node.ID)
	}
	return ids
}

// wantPage compares a page read from between the first at events and the rest.
func (m model) wantPage(t *testing.T, ex evento.Executor, q evento.Query, args cursor.Args, at int) *cursor.Page[evento.RawEvent] {
	t.Helper()
	p, err := ex.Read(t.Context(), q, args)
	if err != nil {
		t.Fatalf("Read(%+v, %+v): %v", q, args, err)
	}
	skip := at
	if args.IsBackward() && at < len(m) && args.At() != "" {
		skip = at + 1 // the place is that of an event, which is on neither side
	}
	before, after, from := m[:at].ids(q), m[skip:].ids(q), m[at:].ids(q)
	var want []evento.ID
	var previous, next bool
	if args.IsBackward() {
		cut := max(0, len(before)-args.Limit())
		want, previous, next = before[cut:], cut > 0, len(from) > 0
	} else {
		cut := min(len(after), args.Limit())
		want, previous, next = after[:cut], len(before) > 0, cut < len(after)
	}
	info := p.PageInfo
	if args.IsOnward() {
		info.HasPreviousPage = previous
	}
	if got := idsOf(p.Edges); !slices.Equal(got, want) || info.HasPreviousPage != previous || info.HasNextPage != next {
		t.Fatalf("Read(%+v, %+v) with %d events before the place:\ngot %v %+v,\nwant %v, previous %t, next %t", q, args, at, got, info, want, previous, next)
	}
	if n := len(p.Edges); n > 0 && (info.StartCursor != p.Edges[0].Cursor || info.EndCursor != p.Edges[n-1].Cursor) {
		t.Fatalf("Read(%+v, %+v): got %+v, want the cursors of the edges", q, args, info)
	}
	if len(p.Edges) == 0 && (info.StartCursor != args.At() || args.IsBackward() && info.EndCursor != args.At()) {
		t.Fatalf("Read(%+v, %+v): got %+v of an empty page", q, args, info)
	}
	return p
}

// clock ticks slowly, so that many events have the same time as others.
func clock(r *rand.Rand) func() time.Time {
	r = rand.New(rand.NewPCG(r.Uint64(), 0)) // its own, as stores are used at once
	now := time.Date(2024, 5, 6, 12, 0, 0, 0, time.UTC)
	return func() time.Time {
		now = now.Add(time.Duration(r.IntN(3)) * time.Second)
		return now
	}
}

// texts is a store whose cursors are no base64.
type texts struct{ evento.Executor }

// plain is the cursor of the store in a text.
func (x texts) plain(v cursor.Value) (cursor.Value, error) {
	if v == "" {
		return "", nil
	}
	if len(v) < 3 || v[:3] != "at." {
		return "", cursor.ErrMalformed
	}
	return v[3:], nil
}

func (x texts) Earlier(a, b cursor.Value) (cursor.Value, error) {
	a, errA := x.plain(a)
	b, errB := x.plain(b)
	if err := cmp.Or(errA, errB); err != nil {
		return "", err
	}
	v, err := x.Executor.Earlier(a, b)
	if v != "" {
		v = "at." + v
	}
	return v, err
}

func (x texts) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	at, err := x.plain(args.At())
	if err != nil {
		return nil, err
	}
	switch {
	case args.IsBackward():
		args = cursor.Backward(args.Limit(), at)
	case args.IsOnward():
		args = cursor.Onward(args.Limit(), at)
	default:
		args = cursor.Forward(args.Limit(), at)
	}
	p, err := x.Executor.Read(ctx, q, args)
	if err != nil {
		return nil, err
	}
	for i := range p.Edges {
		p.Edges[i].Cursor = "at." + p.Edges[i].Cursor
	}
	for _, c := range []*cursor.Value{&p.PageInfo.StartCursor, &p.PageInfo.EndCursor} {
		if *c != "" {
			*c = "at." + *c
		}
	}
	return p, nil
}

// fill commits to the stores at random; each has aggregates of its own.
func fill(t *testing.T, r *rand.Rand, stores []evento.Executor, commits int) {
	t.Helper()
	for range commits {
		i := r.IntN(len(stores))
		if r.IntN(3) == 0 {
			i = 0 // more in one than in the others
		}
		a := evento.Append{AggregateType: sensor, AggregateID: fmt.Sprint(i, " ", r.IntN(3)), AnyVersion: true}
		if r.IntN(4) == 0 {
			a.AggregateType = valve
		}
		a.RoutingKey = []string{"", "left", "right"}[r.IntN(3)]
		for range 1 + r.IntN(4) {
			a.Events = append(a.Events, evento.NewEvent{ID: evento.NewID(), Name: fmt.Sprint("Name", r.IntN(3)), Codec: "cbor", Data: []byte{0xf6}})
		}
		if _, err := stores[i].Write(t.Context(), evento.Write{Appends: []evento.Append{a}}); err != nil {
			t.Fatal(err)
		}
	}
}

func randomQuery(r *rand.Rand) evento.Query {
	q := evento.Query{}
	for range max(0, r.IntN(5)-2) {
		f := evento.Filter{AggregateType: sensor}
		if r.IntN(3) == 0 {
			f.AggregateType = valve
		}
		switch r.IntN(3) {
		case 0:
			f.AggregateID = fmt.Sprint(r.IntN(4), " ", r.IntN(3))
		case 1:
			f.Name = fmt.Sprint("Name", r.IntN(4))
		}
		q.Filters = append(q.Filters, f)
	}
	switch r.IntN(6) {
	case 0:
		q.Unrouted = true
	case 1:
		q.RoutingKey = "left"
	}
	return q
}

func randomArgs(r *rand.Rand, at cursor.Value) cursor.Args {
	n := 1 + r.IntN(9)
	switch r.IntN(20) {
	case 0:
		n = cursor.MaxPage
	case 1:
		n = 40
	}
	switch r.IntN(5) {
	case 0, 1:
		return cursor.Backward(n, at)
	case 2:
		return cursor.Onward(n, at)
	}
	return cursor.Forward(n, at)
}

// groups are the shapes that are tested: the stores that are filled, and the
// group's members made of them.
func groups(t *testing.T, r *rand.Rand) map[string]struct{ stores, members []evento.Executor } {
	t.Helper()
	store := func() evento.Executor { return memory.New(&memory.Options{Clock: clock(r)}) }
	type shape = struct{ stores, members []evento.Executor }
	flat := func(n int) shape {
		var s shape
		for range n {
			s.stores = append(s.stores, store())
		}
		s.members = s.stores
		return s
	}
	lite, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "events.db"), &sqlite.Options{Clock: clock(r)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lite.Close(); err != nil {
			t.Error(err)
		}
	})
	mixed := flat(2)
	mixed.stores = append(mixed.stores, lite)
	mixed.members = []evento.Executor{texts{mixed.stores[0]}, lite, mixed.stores[1]}
	nested := flat(4)
	nested.members = []evento.Executor{
		nested.stores[0],
		group.New(nested.stores[1], texts{nested.stores[2]}),
		group.New(group.New(nested.stores[3])),
	}
	one := flat(3)
	one.stores = one.stores[1:2] // the others stay empty
	return map[string]shape{"one": flat(1), "two": flat(2), "five": flat(5), "mixed": mixed, "nested": nested, "mostly empty": one}
}

// all is everything that a query has, and the cursors.
func all(t *testing.T, ex evento.Executor, q evento.Query, size int) []edge {
	t.Helper()
	var edges []edge
	at := cursor.Value("")
	for {
		p, err := ex.Read(t.Context(), q, cursor.Onward(size, at))
		if err != nil {
			t.Fatal(err)
		}
		edges = append(edges, p.Edges...)
		if at = p.PageInfo.EndCursor; !p.PageInfo.HasNextPage {
			return edges
		}
	}
}

// Random pages of random histories, in both directions, from cursors of this
// query and of no query, and from those of another.
func TestModel(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, rand.Uint64()} {
		r := rand.New(rand.NewPCG(seed, 0))
		for name, s := range groups(t, r) {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, 1))
				ex := group.New(s.members[0], s.members[1:]...)
				for _, commits := range []int{0, 3, 25} {
					fill(t, r, s.stores, commits)
					m := newModel(t, s.members)
					for range 60 {
						modelRead(t, r, ex, m)
					}
				}
			})
		}
	}
}

func modelRead(t *testing.T, r *rand.Rand, ex evento.Executor, m model) {
	t.Helper()
	q := randomQuery(r)
	edges := all(t, ex, q, 1+r.IntN(30))
	if r.IntN(3) == 0 { // cursors that name every member's place exactly
		edges = all(t, ex, evento.Query{}, 1+r.IntN(30))
	}
	args, at := randomArgs(r, ""), 0
	if args.IsBackward() {
		at = len(m)
	}
	if len(edges) > 0 && r.IntN(4) > 0 {
		e := edges[r.IntN(len(edges))]
		args = randomArgs(r, e.Cursor)
		at = slices.IndexFunc(m, func(x entry) bool { return x.ID == e.Node.ID })
		if !args.IsBackward() {
			at++
		}
	}
	p := m.wantPage(t, ex, q, args, at)
	if len(p.Edges) == 0 {
		return
	}
	// And on from an edge of that page, in whatever direction.
	e := p.Edges[r.IntN(len(p.Edges))]
	args = randomArgs(r, e.Cursor)
	at = slices.IndexFunc(m, func(x entry) bool { return x.ID == e.Node.ID })
	if !args.IsBackward() {
		at++
	}
	m.wantPage(t, ex, q, args, at)

	// Of another query the place splits the events into two.
	q = randomQuery(r)
	before, err := ex.Read(t.Context(), q, cursor.Backward(cursor.MaxPage, e.Cursor))
	if err != nil {
		t.Fatal(err)
	}
	after, err := ex.Read(t.Context(), q, cursor.Forward(cursor.MaxPage, e.Cursor))
	if err != nil {
		t.Fatal(err)
	}
	got := idsOf(append(before.Edges, after.Edges...))
	want := slices.DeleteFunc(m.ids(q), func(id evento.ID) bool { return id == e.Node.ID })
	byID := func(a, b evento.ID) int { return a.Compare(b) }
	slices.SortFunc(got, byID)
	slices.SortFunc(want, byID)
	if !slices.Equal(got, want) {
		t.Fatalf("%+v from an edge of another query: got %d events before and %d after, want %d in all, each once", q, len(before.Edges), len(after.Edges), len(want))
	}
	if after.PageInfo.HasPreviousPage != (len(before.Edges) > 0 || q.Matches(e.Node)) || before.PageInfo.HasNextPage != (len(after.Edges) > 0 || q.Matches(e.Node)) {
		t.Fatalf("%+v from an edge of another query: got %+v and %+v with %d and %d events", q, before.PageInfo, after.PageInfo, len(before.Edges), len(after.Edges))
	}
}

// Whoever reads a quiet group sees the same order with the same cursors, by
// pages of any size, from either end.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 0))
	for name, s := range groups(t, r) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(7, 1))
			fill(t, r, s.stores, 40)
			ex := group.New(s.members[0], s.members[1:]...)
			want := all(t, ex, evento.Query{}, 1000)
			if got, m := idsOf(want), newModel(t, s.members); !slices.Equal(got, m.ids(evento.Query{})) {
				t.Fatalf("got %v, want %v", got, m.ids(evento.Query{}))
			}
			for _, size := range []int{1, 2, 3, 7, 20, len(want) - 1, len(want)} {
				if got := all(t, ex, evento.Query{}, size); !sameEdges(got, want) {
					t.Errorf("forward by %d: got %v, want %v", size, got, want)
				}
				var got []edge
				for at, more := cursor.Value(""), true; more; {
					p, err := ex.Read(t.Context(), evento.Query{}, cursor.Backward(size, at))
					if err != nil {
						t.Fatal(err)
					}
					got = append(slices.Clone(p.Edges), got...)
					at, more = p.PageInfo.StartCursor, p.PageInfo.HasPreviousPage
				}
				if !sameEdges(got, want) {
					t.Errorf("backward by %d: got %v, want %v", size, got, want)
				}
			}
		})
	}
}

func sameEdges(a, b []edge) bool {
	return slices.EqualFunc(a, b, func(a, b edge) bool { return a.Cursor == b.Cursor && a.Node.ID == b.Node.ID })
}

// Large events cut the members' pages and the group's.
func TestPageBytes(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 0))
	stores := []evento.Executor{memory.New(&memory.Options{Clock: clock(r)}), memory.New(&memory.Options{Clock: clock(r)}), memory.New(&memory.Options{Clock: clock(r)})}
	for i := range 24 {
		size := []int{0, evento.PageBytes + 1, evento.PageBytes / 2, evento.PageBytes / 3}[r.IntN(4)]
		_, err := stores[i%3].Write(t.Context(), evento.Write{Appends: []evento.Append{{
			AggregateType: sensor, AggregateID: fmt.Sprint(i), Events: []evento.NewEvent{{ID: evento.NewID(), Name: "Big", Codec: "cbor", Data: make([]byte, size)}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	ex := group.New(stores[0], stores[1:]...)
	want := newModel(t, stores).ids(evento.Query{})
	var forward, backward []edge
	check := func(p *cursor.Page[evento.RawEvent]) {
		t.Helper()
		size := 0
		for _, e := range p.Edges {
			size += len(e.Node.Data)
		}
		if len(p.Edges) == 0 || len(p.Edges) > 1 && size > evento.PageBytes {
			t.Errorf("got a page of %d events and %d bytes", len(p.Edges), size)
		}
	}
	for at, more := cursor.Value(""), true; more; {
		p, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(100, at))
		if err != nil {
			t.Fatal(err)
		}
		check(p)
		forward = append(forward, p.Edges...)
		at, more = p.PageInfo.EndCursor, p.PageInfo.HasNextPage
	}
	for at, more := cursor.Value(""), true; more; {
		p, err := ex.Read(t.Context(), evento.Query{}, cursor.Backward(100, at))
		if err != nil {
			t.Fatal(err)
		}
		check(p)
		backward = append(slices.Clone(p.Edges), backward...)
		at, more = p.PageInfo.StartCursor, p.PageInfo.HasPreviousPage
	}
	if !slices.Equal(idsOf(forward), want) || !sameEdges(forward, backward) {
		t.Errorf("got %d events forward and %d backward, want the same %d", len(forward), len(backward), len(want))
	}
}
