//go:build unix

package torture_test

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/torture"
)

// mutant is a store with a bug. Its functions get the store that it is made of; nil: that does
// it.
type mutant struct {
	evento.Executor
	write func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error)
	read  func(ctx context.Context, ex evento.Executor, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error)
	// records and swap are as above.
	records func(ctx context.Context, ex evento.Executor, q evento.RecordQuery) (*evento.RecordPage, error)
	swap    func(ctx context.Context, ex evento.Executor, s evento.Swap) error
	feed    evento.Feed
	later   sync.WaitGroup // what goes on after a call
}

func (m *mutant) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if m.records == nil {
		return m.Executor.Records(ctx, q)
	}
	return m.records(ctx, m.Executor, q)
}

func (m *mutant) Swap(ctx context.Context, s evento.Swap) error {
	if m.swap == nil {
		return m.Executor.Swap(ctx, s)
	}
	return m.swap(ctx, m.Executor, s)
}

func (m *mutant) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if m.write == nil {
		return m.Executor.Write(ctx, w)
	}
	return m.write(ctx, m.Executor, w)
}

func (m *mutant) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if m.read == nil {
		return m.Executor.Read(ctx, q, args)
	}
	return m.read(ctx, m.Executor, q, args)
}

func (m *mutant) Feed() *evento.Feed { return &m.feed }

// once in n times
func once(n int) bool { return rand.IntN(n) == 0 }

var errMutant = errors.New("the mutant has refused it")

// bugs are mutants, and an invariant that each breaks.
var bugs = map[string]struct {
	breaks string
	mutant func() *mutant
}{
	"positions are given before the commit, so that readers pass late ones over": {torture.SameOrder, late},
	"acknowledges what it has lost": {torture.Durable, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			if !once(20) {
				return ex.Write(ctx, w)
			}
			receipts := make([]evento.Receipt, len(w.Appends))
			for i := range receipts {
				receipts[i] = evento.Receipt{AggregateID: w.Appends[i].AggregateID, Version: 1, Position: 1}
			}
			return receipts, nil
		}}
	}},
	"acknowledges another position": {torture.Durable, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			receipts, err := ex.Write(ctx, w)
			if err == nil && once(20) {
				receipts[0].Position--
			}
			return receipts, err
		}}
	}},
	"refuses what it has stored": {torture.NoGhost, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			receipts, err := ex.Write(ctx, w)
			if err == nil && once(20) {
				return nil, errMutant
			}
			return receipts, err
		}}
	}},
	"stores a write by halves": {torture.NoGhost, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			if len(w.Appends) < 2 {
				return ex.Write(ctx, w)
			}
			first, second := w, w
			first.Appends, second.Appends = w.Appends[:1], w.Appends[1:]
			receipts, err := ex.Write(ctx, first)
			if err != nil {
				return nil, err
			}
			more, err := ex.Write(ctx, second)
			return append(receipts, more...), err
		}}
	}},
	"stores a retry again": {torture.Once, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			if w.Retry {
				w = renewed(w)
			}
			receipts, err := ex.Write(ctx, w)
			if err == nil && once(5) {
				return nil, evento.ErrOutcomeUnknown
			}
			return receipts, err
		}}
	}},
	"checks no version": {torture.Gapless, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			w.Appends = slices.Clone(w.Appends)
			for i := range w.Appends {
				w.Appends[i].AnyVersion, w.Appends[i].Expected = true, 0
			}
			return ex.Write(ctx, w)
		}}
	}},
	"judges conditions before it has the lock": {torture.Serializable, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			for _, c := range w.Unless {
				page, err := ex.Read(ctx, c.Query, cursor.Onward(1, c.After))
				if err != nil || len(page.Edges) > 0 {
					return nil, cmp.Or(err, error(&evento.ConflictError{Condition: 1, Position: 1}))
				}
				time.Sleep(time.Millisecond)
			}
			w.Unless = nil
			return ex.Write(ctx, w)
		}}
	}},
	"changes records before it stores their events": {torture.Serializable, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			if w.Swap != nil && w.Appends[0].AggregateID == "counted" {
				if err := ex.Swap(ctx, *w.Swap); err != nil || once(5) {
					return nil, cmp.Or(err, errMutant)
				}
				w.Swap = nil
			}
			return ex.Write(ctx, w)
		}}
	}},
	"removes a deadline before its event is stored": {torture.OnceDue, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			if fires(w) {
				if err := ex.Swap(ctx, *w.Swap); err != nil || once(5) {
					return nil, cmp.Or(err, errMutant)
				}
				w.Swap = nil
			}
			return ex.Write(ctx, w)
		}}
	}},
	"stores the event of a deadline and leaves it set": {torture.OnceDue, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			if fires(w) && once(5) {
				w.Swap = nil
			}
			return ex.Write(ctx, w)
		}}
	}},
	"leaves a deadline set that is cleared": {torture.OnceDue, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			if w.Appends[0].Events[0].Name == "Cleared" {
				w.Swap = nil
			}
			return ex.Write(ctx, w)
		}}
	}},
	"has a clock for deadlines that is ahead": {torture.OnceDue, func() *mutant {
		return &mutant{records: func(ctx context.Context, ex evento.Executor, q evento.RecordQuery) (*evento.RecordPage, error) {
			page, err := ex.Records(ctx, q)
			if err == nil {
				page.Now = page.Now.Add(300 * time.Millisecond)
			}
			return page, err
		}}
	}},
	"stores the place of a worker that has lost its partition": {torture.Fenced, func() *mutant {
		m := &mutant{}
		m.swap = m.unfenced
		return m
	}},
	"stores another content": {torture.Durable, func() *mutant {
		return &mutant{write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			if a := &w.Appends[0]; a.Events[0].Name == "Happened" && a.AggregateID != "counted" && once(20) {
				w.Appends = slices.Clone(w.Appends)
				w.Appends[0].Events = slices.Clone(a.Events)
				w.Appends[0].Events[0].Data = []byte("{}")
			}
			return ex.Write(ctx, w)
		}}
	}},
	"gives those who follow another content": {torture.SameOrder, func() *mutant {
		return following(func(edges []cursor.Edge[evento.RawEvent]) []cursor.Edge[evento.RawEvent] {
			edges[0].Node.Data = []byte("{}")
			return edges
		})
	}},
	"gives an event twice": {torture.SameOrder, func() *mutant {
		return following(func(edges []cursor.Edge[evento.RawEvent]) []cursor.Edge[evento.RawEvent] {
			return slices.Insert(edges, 0, edges[0])
		})
	}},
	"gives two events in the wrong order": {torture.Ordered, func() *mutant {
		return following(func(edges []cursor.Edge[evento.RawEvent]) []cursor.Edge[evento.RawEvent] {
			if len(edges) > 1 {
				edges[0], edges[1] = edges[1], edges[0]
			}
			return edges
		})
	}},
	"reads what was there a moment ago": {torture.RealTime, func() *mutant {
		return &mutant{read: func(ctx context.Context, ex evento.Executor, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			page, err := ex.Read(ctx, q, args)
			if err == nil && args.IsBackward() && len(q.Filters) == 1 && q.Filters[0].AggregateID != "" && len(page.Edges) == 1 && once(3) {
				return ex.Read(ctx, q, cursor.Backward(1, page.Edges[0].Cursor))
			}
			return page, err
		}}
	}},
	"leaves an event out of a page": {torture.Complete, func() *mutant {
		return &mutant{read: func(ctx context.Context, ex evento.Executor, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			page, err := ex.Read(ctx, q, args)
			if n := 0; err == nil && len(q.Filters) == 0 && !args.IsBackward() && args.Limit() < cursor.MaxPage && len(page.Edges) > 2 && once(3) {
				n = len(page.Edges) / 2
				page.Edges = slices.Delete(page.Edges, n, n+1)
			}
			return page, err
		}}
	}},
	"a reader that stops: one who follows is never answered": {torture.Reached, func() *mutant {
		begins, works := window()
		return &mutant{read: func(ctx context.Context, ex evento.Executor, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			if follows(q, args) && time.Now().After(begins) && time.Now().Before(works) && once(20) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return ex.Read(ctx, q, args)
		}}
	}},
	"a reader that ends: those who follow are told that there is nothing more": {torture.Reached, func() *mutant {
		begins, works := window()
		return &mutant{read: func(ctx context.Context, ex evento.Executor, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			page, err := ex.Read(ctx, q, args)
			if err == nil && follows(q, args) && time.Now().After(begins) && time.Now().Before(works) {
				page.Edges, page.PageInfo.HasNextPage, page.PageInfo.EndCursor = nil, false, args.At()
			}
			return page, err
		}}
	}},
	"a subscription that stops: its place is never stored": {torture.Reached, func() *mutant {
		begins, works := window()
		return &mutant{swap: func(ctx context.Context, ex evento.Executor, s evento.Swap) error {
			if now := time.Now(); s.Changes[0].Kind == "subscription" && now.After(begins) && now.Before(works) {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(works.Sub(now)):
				}
			}
			return ex.Swap(ctx, s)
		}}
	}},
}

// window is when a mutant has its bug: from the time on when its workers have begun, until they have
// ended. So what begins anew then finds nothing wrong.
func window() (begins, works time.Time) {
	return time.Now().Add(300 * time.Millisecond), time.Now().Add(time.Second + mutantPatience + 2*time.Second)
}

// mutantPatience is short, as time is simulated, and the store takes none.
const mutantPatience = 5 * time.Second

// following is a store that changes pages of those who follow it.
func following(change func([]cursor.Edge[evento.RawEvent]) []cursor.Edge[evento.RawEvent]) *mutant {
	return &mutant{read: func(ctx context.Context, ex evento.Executor, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		page, err := ex.Read(ctx, q, args)
		if err == nil && follows(q, args) && len(page.Edges) > 0 && once(3) {
			page.Edges = change(page.Edges)
		}
		return page, err
	}}
}

// unfenced stores now and then the record of a subscription again that it had before, as a worker
// does that was halted, and whose revision nobody checks.
func (m *mutant) unfenced(ctx context.Context, ex evento.Executor, s evento.Swap) error {
	key := s.Changes[0].RecordKey
	if key.Kind != "subscription" || !once(3) {
		return ex.Swap(ctx, s)
	}
	before, err := ex.Records(ctx, evento.RecordQuery{Kind: key.Kind, Key: key.Key})
	if err != nil {
		return err
	}
	if err := ex.Swap(ctx, s); err != nil {
		return err
	}
	m.later.Go(func() {
		time.Sleep(100 * time.Millisecond)
		now, err := ex.Records(ctx, evento.RecordQuery{Kind: key.Kind, Key: key.Key})
		if err != nil {
			return // the run is over
		}
		for _, r := range now.Records {
			for _, old := range before.Records {
				if r.RecordKey == key && old.RecordKey == key {
					_ = ex.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: key, Revision: r.Revision, Value: old.Value}}})
				}
			}
		}
	})
	return nil
}

// renewed is a write with new ids of its events.
func renewed(w evento.Write) evento.Write {
	w.Appends, w.Retry = slices.Clone(w.Appends), false
	for i := range w.Appends {
		a := &w.Appends[i]
		a.Events, a.AnyVersion, a.Expected = slices.Clone(a.Events), true, 0
		for j := range a.Events {
			a.Events[j].ID = evento.NewID()
		}
	}
	return w
}

// fires reports whether a write makes deadlines come true.
func fires(w evento.Write) bool {
	return w.Swap != nil && w.Appends[0].Events[0].Name == "Fired"
}

// late stores now and then an event that is not visible for a time, while later ones are.
func late() *mutant {
	var mu sync.Mutex
	hidden := map[evento.ID]time.Time{} // until when
	return &mutant{
		write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
			if once(10) {
				mu.Lock()
				for _, a := range w.Appends {
					for _, e := range a.Events {
						hidden[e.ID] = time.Now().Add(30 * time.Millisecond)
					}
				}
				mu.Unlock()
			}
			return ex.Write(ctx, w)
		},
		read: func(ctx context.Context, ex evento.Executor, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			page, err := ex.Read(ctx, q, args)
			if err == nil && len(q.Filters) == 0 {
				mu.Lock()
				defer mu.Unlock()
				page.Edges = slices.DeleteFunc(page.Edges, func(e cursor.Edge[evento.RawEvent]) bool { return time.Now().Before(hidden[e.Node.ID]) })
			}
			return page, err
		},
	}
}

// Each bug is found, and by the invariant that it breaks. Time is simulated, as some runs wait until
// their patience is at its end.
func TestMutants(t *testing.T) {
	t.Parallel()
	var caught atomic.Int32
	t.Cleanup(func() { t.Logf("mutants caught %d/%d", caught.Load(), len(bugs)) })
	for name, bug := range bugs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := bug.mutant()
				m.Executor = memory.New(nil)
				o := torture.Options{Name: name, Open: func(context.Context) (evento.Executor, error) { return m, nil }, For: time.Second, Kills: 3, Patience: mutantPatience, Dir: t.TempDir()}
				if bug.breaks == torture.Reached {
					o.Kills = 0 // whoever is killed takes what stops with it
				}
				report, err := torture.Run(t.Context(), o)
				m.later.Wait()
				if err != nil {
					t.Fatal(err)
				}
				if report.Violations[bug.breaks] == 0 {
					t.Fatalf("it was not found by %s: %s", bug.breaks, report)
				}
				caught.Add(1)
			})
		})
	}
}

// A store that does not know now and then what it has done is asked again, and breaks no promise.
func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	m := &mutant{Executor: memory.New(nil), write: func(ctx context.Context, ex evento.Executor, w evento.Write) ([]evento.Receipt, error) {
		if once(20) {
			return nil, evento.ErrOutcomeUnknown
		}
		receipts, err := ex.Write(ctx, w)
		if err == nil && once(20) {
			return nil, evento.ErrOutcomeUnknown
		}
		return receipts, err
	}}
	r := tortured(t, torture.Options{Name: "unknown outcomes", Open: func(context.Context) (evento.Executor, error) { return m, nil }, For: time.Second, Kills: 3})
	if r.Resolved == 0 {
		t.Error("no outcome was resolved")
	}
}
