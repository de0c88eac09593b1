package group_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
)

type measured struct{ N int }

func (measured) AggregateType() evento.AggregateType { return sensor }
func (measured) EventName() string                   { return "Measured" }

// write lets writers commit to each store until each has made its commits, and
// closes the channel then.
func write(t *testing.T, stores []evento.Executor, writers, commits int) <-chan struct{} {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i, store := range stores {
		for w := range writers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), uint64(w)))
				for range commits {
					b := evento.Aggregate(fmt.Sprint(i, " ", r.IntN(3))).AnyVersion()
					for n := range 1 + r.IntN(3) {
						b.Event(measured{N: n})
					}
					if _, err := b.Commit(t.Context(), store); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	go func() { wg.Wait(); close(done) }()
	return done
}

// checkEach holds what a reader was given to each member's own order: every
// event once, none left out.
func checkEach(t *testing.T, who string, got []evento.RawEvent, stores []evento.Executor) {
	t.Helper()
	total := 0
	for i, store := range stores {
		own := map[evento.ID]bool{}
		var want []evento.ID
		for e, err := range evento.Events(t.Context(), store, evento.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			own[e.ID] = true
			want = append(want, e.ID)
		}
		var of []evento.ID
		for _, e := range got {
			if own[e.ID] {
				of = append(of, e.ID)
			}
		}
		if !slices.Equal(of, want) {
			t.Errorf("%s was given %d events of store %d, want its %d, each once and in order", who, len(of), i, len(want))
		}
		total += len(want)
	}
	if len(got) != total {
		t.Errorf("%s was given %d events, want %d", who, len(got), total)
	}
}

// Readers follow the end of a group while all of its members are written to:
// each is given every event once, each member's in order. What is before and
// what is after any of its places stay so.
func TestLiveTail(t *testing.T) {
	t.Parallel()
	const readers = 3
	stores := []evento.Executor{memory.New(nil), memory.New(nil), memory.New(nil), memory.New(nil)}
	ex := group.New(stores[0], stores[1], group.New(stores[2], stores[3]))
	done := write(t, stores, 2, 60)
	seen := make([][]edge, readers)
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 3))
			for at, quiet := cursor.Value(""), false; ; {
				changed := ex.Changed()
				p, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1+r.IntN(12), at))
				if err != nil {
					t.Error(err)
					return
				}
				seen[i] = append(seen[i], p.Edges...)
				at = p.PageInfo.EndCursor
				switch {
				case len(p.Edges) > 0:
					continue
				case quiet:
					return
				}
				select {
				case <-changed:
				case <-done:
					quiet = true
				}
			}
		})
	}
	wg.Wait()
	for i, edges := range seen {
		var events []evento.RawEvent
		for _, e := range edges {
			events = append(events, e.Node)
		}
		checkEach(t, fmt.Sprint("reader ", i), events, stores)
		r := rand.New(rand.NewPCG(uint64(i), 4))
		for range 20 {
			n := r.IntN(len(edges))
			checkSplit(t, ex, edges, n)
		}
	}
}

// checkSplit compares what lies on either side of a reader's place with what it
// was given before and after it; the order may be another.
func checkSplit(t *testing.T, ex evento.Executor, edges []edge, n int) {
	t.Helper()
	at := edges[n].Cursor
	before, err := ex.Read(t.Context(), evento.Query{}, cursor.Backward(cursor.MaxPage, at))
	if err != nil {
		t.Fatal(err)
	}
	after, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(cursor.MaxPage, at))
	if err != nil {
		t.Fatal(err)
	}
	sorted := func(edges []edge) []evento.ID {
		return slices.SortedFunc(slices.Values(idsOf(edges)), func(a, b evento.ID) int { return a.Compare(b) })
	}
	if got, want := sorted(before.Edges), sorted(edges[:n]); !slices.Equal(got, want) {
		t.Errorf("before event %d of a reader: got %d events, want the %d that it was given", n, len(got), len(want))
	}
	if got, want := sorted(after.Edges), sorted(edges[n+1:]); !slices.Equal(got, want) {
		t.Errorf("after event %d of a reader: got %d events, want the %d that it was given", n, len(got), len(want))
	}
}

// A running subscription is given every member's events, each once, also when
// it is ended and started again.
func TestSubscription(t *testing.T) {
	t.Parallel()
	stores := []evento.Executor{memory.New(nil), memory.New(nil), memory.New(nil)}
	ex := group.New(stores[0], stores[1:]...)
	var mu sync.Mutex
	var got []evento.RawEvent
	more := make(chan struct{}, 1)
	builder := evento.NewSubscription("all").ChunkSize(7).Handler(evento.Handle(func(_ context.Context, e evento.Event[measured]) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, e.RawEvent)
		select {
		case more <- struct{}{}:
		default:
		}
		return nil
	}))
	done := write(t, stores, 2, 40)
	for {
		s, err := builder.Start(t.Context(), ex)
		if err != nil {
			t.Fatal(err)
		}
		ended := false
		select {
		case <-more:
		case <-done:
			ended = true
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ended {
			break
		}
	}
	if err := builder.Execute(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	checkEach(t, "the subscription", got, stores)

	got = nil
	if err := builder.Execute(t.Context(), ex); err != nil || len(got) > 0 {
		t.Errorf("Execute with nothing pending: got %d events, %v", len(got), err)
	}
	// Its cursor is in the first, and one of the group.
	p, err := stores[0].Records(t.Context(), evento.RecordQuery{Kind: "subscription", Key: "all"})
	if err != nil || len(p.Records) == 0 {
		t.Fatalf("the records in the first: got %+v, %v, want some", p, err)
	}
	for i, store := range stores[1:] {
		if p, err := store.Records(t.Context(), evento.RecordQuery{Kind: "subscription"}); err != nil || len(p.Records) > 0 {
			t.Errorf("the records in member %d: got %+v, %v, want none", i+2, p, err)
		}
	}
	status, err := evento.ControlOf(ex, "all").Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, status.Partitions[0].Cursor)); err != nil || len(p.Edges) > 0 {
		t.Errorf("after the stored cursor: got %v, %v, want nothing", p, err)
	}
}

type sum struct{ N, Events int }

// Projections load aggregates of any member, and together; their snapshots are
// used.
func TestProjection(t *testing.T) {
	t.Parallel()
	stores := []evento.Executor{memory.New(nil), memory.New(nil)}
	ex := group.New(stores[0], stores[1])
	applied := 0
	sums := evento.NewProjection[sum]("sum", sensor).SnapshotEvery(2).
		Handler(evento.Apply(func(s *sum, e evento.Event[measured]) error {
			applied++
			s.N += e.Data.N
			s.Events++
			return nil
		}))
	for n := 1; n <= 6; n++ {
		for i, id := range []string{"here", "there"} {
			if _, err := evento.Aggregate(id).AnyVersion().Event(measured{N: n}).Commit(t.Context(), stores[i]); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range []struct{ id, related string }{{"here", ""}, {"there", ""}, {"here", "there"}, {"there", "here"}} {
			var opts []evento.LoadOption
			want := sum{N: n * (n + 1) / 2, Events: n}
			if tt.related != "" {
				opts = append(opts, evento.Related(sensor, tt.related))
				want = sum{N: 2 * want.N, Events: 2 * n}
			}
			l, err := sums.Load(t.Context(), ex, tt.id, opts...)
			if err != nil || l.State != want || l.Version != uint64(n) || l.SnapshotErr != nil {
				t.Fatalf("Load(%q, related %q) after %d events: got %+v, %v, want %+v", tt.id, tt.related, n, l, err, want)
			}
		}
	}
	applied = 0
	if _, err := sums.Load(t.Context(), ex, "there"); err != nil || applied > 1 {
		t.Errorf("loading again applied %d events, %v, want the snapshot used", applied, err)
	}
}

// What lives in another member than the first is read-only: deciding on it ends
// with an error, and not never.
func TestUpdate(t *testing.T) {
	t.Parallel()
	first, second := memory.New(nil), memory.New(nil)
	ex := group.New(first, second)
	sums := evento.NewProjection[sum]("sum", sensor)
	decide := func(*evento.Loaded[sum]) ([]evento.Payload, error) { return []evento.Payload{measured{}}, nil }
	for id, store := range map[string]evento.Executor{"here": first, "there": second} {
		if _, err := evento.Aggregate(id).Event(measured{N: 1}).Commit(t.Context(), store); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := sums.Update(t.Context(), ex, "here", decide); err != nil || r.Version != 2 {
		t.Errorf("Update in the first member: got %+v, %v, want version 2", r, err)
	}
	if r, err := sums.Update(t.Context(), ex, "there", decide); !errors.Is(err, evento.ErrReadOnly) {
		t.Errorf("Update in the second member: got %+v, %v, want %q", r, err, evento.ErrReadOnly)
	}
	if _, err := evento.Aggregate("here").OriginalVersion(1).Event(measured{}).Commit(t.Context(), ex); !errors.Is(err, evento.ErrConflict) {
		t.Errorf("a conflict in the first member: got %v, want %q", err, evento.ErrConflict)
	}
	if n := len(all(t, second, evento.Query{}, 10)); n != 1 {
		t.Errorf("the second member has %d events, want the one that it had", n)
	}
}
