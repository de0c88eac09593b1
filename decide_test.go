package evento_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
)

var errEmpty = errors.New("nothing is left")

// take takes one from an account, and puts one into another: both or neither.
func take(ctx context.Context, ex evento.Executor, from, to string) ([]evento.Receipt, error) {
	return evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		l, err := balance.Load(ctx, d, from)
		if err != nil {
			return err
		}
		if l.State.Cents == 0 {
			return errEmpty
		}
		if _, err := l.Aggregate().Event(MoneyDeposited{Amount: -1}).Commit(ctx, d); err != nil {
			return err
		}
		_, err = evento.Aggregate(to).Event(MoneyDeposited{Amount: 1}).Commit(ctx, d)
		return err
	})
}

func TestDecideOverAggregates(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("from").Event(MoneyDeposited{Amount: 20}))
	var taken, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			switch receipts, err := take(t.Context(), store, "from", fmt.Sprint("to ", i)); {
			case errors.Is(err, errEmpty):
				refused.Add(1)
			case err != nil:
				t.Error(err)
			default:
				taken.Add(1)
				if len(receipts) != 2 || receipts[0].AggregateID != "from" || receipts[1].Version != 1 || receipts[1].Position != receipts[0].Position+1 {
					t.Errorf("receipts %+v", receipts)
				}
			}
		})
	}
	wg.Wait()
	if taken.Load() != 20 || refused.Load() != 30 {
		t.Errorf("%d taken and %d refused, want 20 and 30", taken.Load(), refused.Load())
	}
	n := 0
	for e, err := range evento.Events(t.Context(), store, evento.Query{Filters: []evento.Filter{evento.ByType(Account)}}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.AggregateID != "from" {
			n++
		}
	}
	if n != 20 {
		t.Errorf("%d were given, want 20", n)
	}
}

// Whatever is read to its end is guarded, though nothing is added to it; what is read in
// part is not, as the part never changes.
func TestDecideGuardsWhatWasRead(t *testing.T) {
	t.Parallel()
	deposits := evento.Query{Filters: []evento.Filter{evento.ByEvent(MoneyDeposited{})}}
	b := evento.Query{Filters: []evento.Filter{evento.ByID(Account, "b")}}
	page := func(q evento.Query, args cursor.Args) func(context.Context, evento.Executor) error {
		return func(ctx context.Context, d evento.Executor) error { _, err := d.Read(ctx, q, args); return err }
	}
	has := func(id string) func(context.Context, evento.Executor) error {
		return func(ctx context.Context, d evento.Executor) error {
			_, err := evento.HasEvent[MoneyDeposited](ctx, d, id)
			return err
		}
	}
	for name, test := range map[string]struct {
		read func(ctx context.Context, d evento.Executor) error
		runs int
	}{
		"a load":                   {func(ctx context.Context, d evento.Executor) error { _, err := balance.Load(ctx, d, "b"); return err }, 2},
		"a load of something else": {func(ctx context.Context, d evento.Executor) error { _, err := balance.Load(ctx, d, "a"); return err }, 1},
		"a load of what does not exist": {func(ctx context.Context, d evento.Executor) error {
			_, err := balance.Load(ctx, d, "new", evento.OrNew())
			return err
		}, 2},
		"that an event is there":       {has("b"), 1},
		"that an event is not there":   {has("new"), 2},
		"that another is not there":    {has("none"), 1},
		"all events of a kind":         {page(deposits, cursor.Onward(100, "")), 2},
		"all events":                   {page(evento.Query{}, cursor.Forward(100, "")), 2},
		"the first event":              {page(b, cursor.Onward(1, "")), 1},
		"the last event":               {page(b, cursor.Backward(1, "")), 2},
		"nothing, from the end":        {page(evento.Query{Filters: []evento.Filter{evento.ByID(Account, "new")}}, cursor.Backward(1, "")), 2},
		"events with a routing key":    {page(evento.Query{RoutingKey: "left"}, cursor.Onward(100, "")), 1},
		"events without a routing key": {page(evento.Query{Unrouted: true}, cursor.Onward(100, "")), 2},
		"iteration, broken off":        {func(ctx context.Context, d evento.Executor) error { return first(ctx, d, b) }, 2}, // it was read in one page
		"the head, twice": {func(ctx context.Context, d evento.Executor) error {
			return errors.Join(page(b, cursor.Onward(9, ""))(ctx, d), page(b, cursor.Onward(9, ""))(ctx, d))
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{Amount: 1}, MoneyDeposited{Amount: 2}))
			commit(t, store, evento.Aggregate("b").Event(MoneyDeposited{Amount: 1}, MoneyDeposited{Amount: 2}))
			runs := 0
			_, err := evento.Decide(t.Context(), store, func(ctx context.Context, d evento.Executor) error {
				if err := test.read(ctx, d); err != nil {
					return err
				}
				if runs++; runs == 1 { // somebody else
					commit(t, store, evento.Aggregate("b").OriginalVersion(2).Event(MoneyDeposited{Amount: 3}))
					commit(t, store, evento.Aggregate("new").Event(MoneyDeposited{Amount: 3}))
				}
				_, err := evento.Aggregate("decided").Event(MoneyDeposited{Amount: 1}).Commit(ctx, d)
				return err
			})
			if err != nil || runs != test.runs {
				t.Errorf("Decide() = %v after %d runs, want %d", err, runs, test.runs)
			}
		})
	}
}

func first(ctx context.Context, d evento.Executor, q evento.Query) error {
	for _, err := range evento.Events(ctx, d, q) {
		return err
	}
	return nil
}

// What the function has committed it can read, at the versions that it gets.
func TestDecideReadsWhatItCommits(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").RoutingKey("left").Event(MoneyDeposited{Amount: 1}))
	receipts, err := evento.Decide(t.Context(), store, func(ctx context.Context, d evento.Executor) error {
		if _, err := evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{Amount: 2}).Commit(ctx, d); err != nil {
			return err
		}
		r, err := balance.Update(ctx, d, "a", func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
			if l.State.Cents != 3 || l.Version != 2 {
				t.Errorf("loaded %+v at version %d", l.State, l.Version)
			}
			return []evento.Payload{MoneyDeposited{Amount: 4}, MoneyDeposited{Amount: 8}}, nil
		})
		if err != nil || r.Version != 4 || r.Position != 0 {
			t.Errorf("Update() = %+v, %v", r, err)
		}
		if _, err := evento.Aggregate("b").Event(MoneyDeposited{Amount: 16}).Commit(ctx, d); err != nil {
			return err
		}
		var stale *evento.ConflictError
		if _, err := evento.Aggregate("a").OriginalVersion(2).Event(MoneyDeposited{}).Commit(ctx, d); !errors.As(err, &stale) || stale.Actual != 4 {
			t.Errorf("Commit() at a version that is past = %v", err)
		}
		var left []uint64
		for e, err := range evento.Events(ctx, d, evento.Query{RoutingKey: "left"}) {
			if err != nil {
				return err
			}
			left = append(left, e.Version)
		}
		if !slices.Equal(left, []uint64{1, 2, 3, 4}) {
			t.Errorf("events with the routing key: versions %v", left)
		}
		return nil
	})
	want := []evento.Receipt{{AggregateID: "a", Version: 2, Position: 2}, {AggregateID: "a", Version: 4, Position: 4}, {AggregateID: "b", Version: 1, Position: 5}}
	if err != nil || !slices.Equal(receipts, want) {
		t.Errorf("Decide() = %+v, %v, want %+v", receipts, err, want)
	}
	l, err := balance.Load(t.Context(), store, "a")
	if err != nil || l.State.Cents != 15 || l.Version != 4 {
		t.Errorf("Load() = %+v, %v", l, err)
	}
}

func TestDecideStoresNothing(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	failed := errors.New("failed")
	whose := func(who string) *evento.CommitBuilder {
		return evento.Aggregate("a").AnyVersion().RequestedBy(who).Event(MoneyDeposited{})
	}
	for name, test := range map[string]struct {
		fn   func(ctx context.Context, d evento.Executor) error
		want error
	}{
		"an error": {func(ctx context.Context, d evento.Executor) error {
			_, err := whose("ann").Commit(ctx, d)
			return errors.Join(err, failed)
		}, failed},
		"nothing committed": {func(ctx context.Context, d evento.Executor) error {
			_, err := d.Read(ctx, evento.Query{}, cursor.Onward(1, ""))
			return err
		}, nil},
		"other metadata": {func(ctx context.Context, d evento.Executor) error {
			if _, err := whose("ann").Commit(ctx, d); err != nil {
				return err
			}
			_, err := whose("bob").Commit(ctx, d)
			return err
		}, evento.ErrInvalid},
		"records":     {func(ctx context.Context, d evento.Executor) error { return d.Swap(ctx, evento.Swap{}) }, evento.ErrInvalid},
		"no function": {nil, evento.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			receipts, err := evento.Decide(t.Context(), store, test.fn)
			if !errors.Is(err, test.want) || len(receipts) > 0 {
				t.Errorf("Decide() = %v, %v, want %v", receipts, err, test.want)
			}
		})
	}
	t.Cleanup(func() {
		if page, err := store.Read(context.Background(), evento.Query{}, cursor.Onward(1, "")); err == nil && len(page.Edges) > 0 {
			t.Errorf("%v was stored", page.Edges)
		}
	})
}

// A decision within a decision is part of it.
func TestDecideWithin(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{Amount: 2}))
	receipts, err := evento.Decide(t.Context(), store, func(ctx context.Context, d evento.Executor) error {
		for _, to := range []string{"b", "c"} {
			if receipts, err := take(ctx, d, "a", to); err != nil || len(receipts) != 2 || receipts[1].Position != 0 {
				t.Errorf("Decide() within = %+v, %v", receipts, err)
			}
		}
		if _, err := take(ctx, d, "a", "d"); !errors.Is(err, errEmpty) {
			t.Errorf("Decide() on what is taken = %v", err)
		}
		return nil
	})
	if err != nil || len(receipts) != 4 || receipts[3].Position != 5 && receipts[3].Position != 4 {
		t.Errorf("Decide() = %+v, %v", receipts, err)
	}
	wantBalance(t, store, "a", 0)
	wantBalance(t, store, "c", 1)
}

func wantBalance(t *testing.T, ex evento.Executor, id string, want int64) {
	t.Helper()
	if l, err := balance.Load(t.Context(), ex, id); err != nil || l.State.Cents != want {
		t.Errorf("Load(%q) = %+v, %v, want %d", id, l, err, want)
	}
}

// An answer that was lost is asked for again, by the same events.
func TestDecideLostAnswer(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{Amount: 2}))
	lost := 0
	ex := &hooked{Executor: store, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
		receipts, err := store.Write(ctx, w)
		if lost++; err == nil && lost <= 2 {
			return nil, evento.ErrOutcomeUnknown
		}
		return receipts, err
	}}
	if receipts, err := take(t.Context(), ex, "a", "b"); err != nil || len(receipts) != 2 || receipts[0].Version != 2 {
		t.Errorf("Decide() = %+v, %v", receipts, err)
	}
	wantBalance(t, store, "a", 1)
	wantBalance(t, store, "b", 1)
}

// It goes on until its context ends.
func TestDecideEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{Amount: 2}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		runs := 0
		_, err := evento.Decide(ctx, store, func(ctx context.Context, d evento.Executor) error {
			runs++
			l, err := balance.Load(ctx, d, "a")
			if err != nil {
				return err
			}
			commit(t, store, l.Aggregate().Event(MoneyDeposited{Amount: 1}))
			_, err = evento.Aggregate(fmt.Sprint("b", runs)).Event(MoneyDeposited{Amount: 1}).Commit(ctx, d)
			return err
		})
		if !errors.Is(err, context.DeadlineExceeded) || runs < 10 || runs > 1000 {
			t.Errorf("Decide() = %v after %d runs", err, runs)
		}
	})
}

func TestDecideUnsupported(t *testing.T) {
	t.Parallel()
	a, b := newStore(t), newStore(t)
	commit(t, a, evento.Aggregate("a").Event(MoneyDeposited{Amount: 2}))
	if _, err := take(t.Context(), group.New(a, b), "a", "b"); err != nil {
		t.Errorf("Decide() on one aggregate's version = %v", err)
	}
	_, err := evento.Decide(t.Context(), group.New(a, b), func(ctx context.Context, d evento.Executor) error {
		if _, err := balance.Load(ctx, d, "a"); err != nil {
			return err
		}
		_, err := evento.Aggregate("c").Event(MoneyDeposited{Amount: 1}).Commit(ctx, d)
		return err
	})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Decide() = %v, want %v", err, errors.ErrUnsupported)
	}
}

// Decisions that conflict over one query take turns: each but the first is made twice.
func TestDecisionsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers, each = 30, 4
		ex := slow(newStore(t))
		var runs atomic.Int64
		var took list[time.Duration]
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for j := range each {
					began := time.Now()
					_, err := evento.Decide(t.Context(), ex, func(ctx context.Context, d evento.Executor) error {
						runs.Add(1)
						if _, err := d.Read(ctx, evento.Query{Filters: []evento.Filter{evento.ByType(Account)}}, cursor.Onward(1000, "")); err != nil {
							return err
						}
						_, err := evento.Aggregate(fmt.Sprint(i, j)).Event(MoneyDeposited{Amount: 1}).Commit(ctx, d)
						return err
					})
					if err != nil {
						t.Error(err)
					}
					took.add(time.Since(began))
				}
			})
		}
		wg.Wait()
		if n := runs.Load(); n > 2*callers*each+callers {
			t.Errorf("%d runs for %d decisions by %d callers", n, callers*each, callers)
		}
		all := took.all()
		slices.Sort(all)
		if median, most := all[len(all)/2], all[len(all)-1]; most > 5*median {
			t.Errorf("the slowest decision took %v, the median is %v", most, median)
		}
	})
}

// A part of an aggregate does not tell where it is.
func TestDecideAfterPartialReading(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").Event(AccountOpened{}, MoneyDeposited{Amount: 1}, MoneyDeposited{Amount: 2}))
	_, err := evento.Decide(t.Context(), store, func(ctx context.Context, d evento.Executor) error {
		if has, err := evento.HasEvent[AccountOpened](ctx, d, "a"); err != nil || !has {
			t.Errorf("HasEvent = %t, %v", has, err)
		}
		if r, err := evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{Amount: 3}).Commit(ctx, d); err != nil || r.Version != 4 {
			t.Errorf("Commit() = %+v, %v, want version 4", r, err)
		}
		if l, err := balance.Load(ctx, d, "a"); err != nil || l.Version != 4 || l.State.Cents != 6 {
			t.Errorf("Load() = %+v, %v", l, err)
		}
		_, err := evento.Aggregate("a").OriginalVersion(4).Event(MoneyDeposited{Amount: 4}).Commit(ctx, d)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	wantBalance(t, store, "a", 10)
}

// What a decision within it has committed before it failed is not stored.
func TestDecideWithinFails(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	failed := errors.New("failed")
	receipts, err := evento.Decide(t.Context(), store, func(ctx context.Context, d evento.Executor) error {
		if _, err := evento.Aggregate("a").Event(MoneyDeposited{Amount: 1}).Commit(ctx, d); err != nil {
			return err
		}
		_, err := evento.Decide(ctx, d, func(ctx context.Context, d evento.Executor) error {
			if _, err := evento.CommitAll(ctx, d, evento.Aggregate("a").OriginalVersion(1).Event(MoneyDeposited{Amount: 2}), evento.Aggregate("b").Event(MoneyDeposited{Amount: 2})); err != nil {
				return err
			}
			return failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("Decide() within = %v", err)
		}
		_, err = evento.Aggregate("a").OriginalVersion(1).Event(MoneyDeposited{Amount: 4}).Commit(ctx, d)
		return err
	})
	if err != nil || len(receipts) != 2 || receipts[1].Version != 2 {
		t.Errorf("Decide() = %+v, %v", receipts, err)
	}
	wantBalance(t, store, "a", 5)
	if has, err := evento.HasEvent[MoneyDeposited](t.Context(), store, "b"); err != nil || has {
		t.Errorf("b has an event: %t, %v", has, err)
	}
}

// A conflict about what the function has not read is its own.
func TestDecideUnread(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{Amount: 1}))
	for name, commit := range map[string]func(ctx context.Context, d evento.Executor) error{
		"a version": func(ctx context.Context, d evento.Executor) error {
			_, err := evento.Aggregate("a").Event(MoneyDeposited{Amount: 1}).Commit(ctx, d)
			return err
		},
		"a condition": func(ctx context.Context, d evento.Executor) error {
			w := evento.Write{
				Appends: []evento.Append{{AggregateType: Account, AggregateID: "b", Events: []evento.NewEvent{{ID: evento.NewID(), Name: "X", Codec: "cbor"}}}},
				Unless:  []evento.Condition{{}},
			}
			_, err := d.Write(ctx, w)
			return err
		},
	} {
		runs := 0
		_, err := evento.Decide(t.Context(), store, func(ctx context.Context, d evento.Executor) error {
			runs++
			return commit(ctx, d)
		})
		if !errors.Is(err, evento.ErrConflict) || runs != 1 {
			t.Errorf("%s: Decide() = %v after %d runs, want ErrConflict", name, err, runs)
		}
	}
}

// A version that a receipt has told holds too.
func TestDecideReliesOnReceipts(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{Amount: 1}))
	runs := 0
	receipts, err := evento.Decide(t.Context(), store, func(ctx context.Context, d evento.Executor) error {
		r, err := evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{Amount: 2}).Commit(ctx, d)
		if err != nil {
			return err
		}
		if runs++; runs == 1 {
			commit(t, store, evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{Amount: 4}))
		}
		_, err = evento.Aggregate("a").OriginalVersion(r.Version).Event(MoneyDeposited{Amount: 8}).Commit(ctx, d)
		return err
	})
	if err != nil || runs != 2 || len(receipts) != 2 || receipts[0].Version != 3 || receipts[1].Version != 4 {
		t.Errorf("Decide() = %+v, %v after %d runs", receipts, err, runs)
	}
}

// What is handed out by d is the reader's, and what comes to nothing removes no snapshot.
func TestDecideLeavesTheRestAlone(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	p := erasable().SnapshotEvery(1)
	commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{Amount: 1}))
	if _, err := p.Load(t.Context(), store, "a"); err != nil {
		t.Fatal(err)
	}
	_, err := evento.Decide(t.Context(), store, func(ctx context.Context, d evento.Executor) error {
		if _, err := evento.Aggregate("a").AnyVersion().Event(accountErased{}).Commit(ctx, d); err != nil {
			return err
		}
		_, err := p.Load(ctx, d, "a")
		return err
	})
	wantDeleted(t, "Load within", err)
	n := 0
	for _, err := range evento.Snapshots(t.Context(), store) {
		noErr(t, err)
		n++
	}
	if n != 1 {
		t.Errorf("%d snapshots are left, want 1", n)
	}
	_, err = evento.Decide(t.Context(), store, func(ctx context.Context, d evento.Executor) error {
		if _, err := evento.Aggregate("b").Metadata("k", "v").Event(MoneyDeposited{Amount: 5}).Commit(ctx, d); err != nil {
			return err
		}
		for e, err := range evento.Events(ctx, d, evento.Query{Filters: []evento.Filter{evento.ByID(Account, "b")}}) {
			if err != nil {
				return err
			}
			clear(e.Data)
			e.Metadata.Values["k"] = "changed"
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantBalance(t, store, "b", 5)
	page, err := store.Read(t.Context(), evento.Query{Filters: []evento.Filter{evento.ByID(Account, "b")}}, cursor.Onward(1, ""))
	if err != nil || page.Edges[0].Node.Metadata.Values["k"] != "v" {
		t.Errorf("stored %+v, %v", page, err)
	}
}
