package evento_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// keeping is a subscription that keeps the states of a projection.
func keeping[V any](p *evento.Projection[V]) *evento.SubscriptionBuilder {
	return p.Keep("s").Retry(0).Logger(silent)
}

// statesOf lists states.
func statesOf[V any](t *testing.T, ex evento.Executor, p *evento.Projection[V], opts ...evento.StatesOption) (all []*evento.Loaded[V]) {
	t.Helper()
	for l, err := range p.States(t.Context(), ex, opts...) {
		noErr(t, err)
		all = append(all, l)
	}
	return all
}

// wantKept checks that the states of these accounts are kept, and no others, and
// that each is the one that its events make.
func wantKept[V any](t *testing.T, what string, ex evento.Executor, p *evento.Projection[V], ids ...string) {
	t.Helper()
	wantListed(t, what, statesOf(t, ex, p), ex, p, ids...)
}

func wantListed[V any](t *testing.T, what string, got []*evento.Loaded[V], ex evento.Executor, p *evento.Projection[V], ids ...string) {
	t.Helper()
	var want []*evento.Loaded[V]
	for _, id := range ids {
		l, err := p.Load(t.Context(), ex, id)
		noErr(t, err)
		want = append(want, l)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %s, want %s", what, showStates(got), showStates(want))
	}
}

func showStates[V any](all []*evento.Loaded[V]) string {
	var b strings.Builder
	for _, l := range all {
		fmt.Fprintf(&b, "\n\t%+v", *l)
	}
	return b.String()
}

func wantNotKept[V any](t *testing.T, what string, ex evento.Executor, p *evento.Projection[V], text string) {
	t.Helper()
	n := 0
	for l, err := range p.States(t.Context(), ex) {
		n++
		if !errors.Is(err, evento.ErrNotKept) || l != nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: States: %v, %v, want ErrNotKept with %q", what, l, err, text)
		}
	}
	if n != 1 {
		t.Errorf("%s: States yields %d times, want one error", what, n)
	}
}

// Each chunk counts, whatever it has: new aggregates, old ones, several events of
// one, events that the projection does not handle, and other routing keys.
func TestKeep(t *testing.T) {
	t.Parallel()
	for _, p := range []*evento.Projection[eventLog]{
		logging("p"), logging("p").SnapshotEvery(1), logging("p").SnapshotEvery(3),
	} {
		for _, size := range []int{1, 3, 300} {
			ex := newStore(t)
			keep := func() *evento.SubscriptionBuilder { return keeping(p).ChunkSize(size) }
			noErr(t, keep().Execute(t.Context(), ex))
			wantKept(t, "nothing", ex, p)
			deposits(t, ex, "b", 1)
			commit(t, ex, evento.Aggregate("eu").Event(AccountOpened{Owner: "e"}).RoutingKey("eu"))
			deposits(t, ex, "a", 7)
			writeRaw(t, ex, "b", counted{}, "cbor", []byte{0xa0}) // is not handled
			commit(t, ex, evento.Aggregate("o").Event(&renamed{Name: "of another type"}))
			noErr(t, keep().Execute(t.Context(), ex))
			wantKept(t, "at first", ex, p, "a", "b", "eu")
			if _, err := p.Load(t.Context(), ex, "a"); err != nil { // may store a snapshot too
				t.Fatal(err)
			}
			deposits(t, ex, "a", 4)
			deposits(t, ex, "c", 2)
			noErr(t, keep().Execute(t.Context(), ex))
			wantKept(t, "later", ex, p, "a", "b", "c", "eu")
			noErr(t, evento.ControlOf(ex, "s").ResetToStart(t.Context()))
			wantKept(t, "reset", ex, p, "a", "b", "c", "eu")
			noErr(t, keep().Execute(t.Context(), ex))
			wantKept(t, "again", ex, p, "a", "b", "c", "eu")
		}
	}
}

// An aggregate is loaded and saved once a chunk, and its events are not read
// another time.
func TestKeepOnceAChunk(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	var loads, saves, reads atomic.Int64
	ex := &hooked{
		Executor: store,
		snapshot: func(ctx context.Context, key evento.SnapshotKey) (evento.Snapshot, error) {
			loads.Add(1)
			return store.Snapshot(ctx, key)
		},
		saveSnapshot: func(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
			saves.Add(1)
			return store.SaveSnapshot(ctx, key, s)
		},
		read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			if len(q.Filters) > 0 && q.Filters[0].AggregateID != "" {
				reads.Add(1)
			}
			return store.Read(ctx, q, args)
		},
	}
	p := logging("p")
	counts := func(what string, wantLoads, wantSaves int64) {
		t.Helper()
		noErr(t, keeping(p).Execute(t.Context(), ex))
		if l, s, r := loads.Swap(0), saves.Swap(0), reads.Swap(0); l != wantLoads || s != wantSaves || r != 0 {
			t.Errorf("%s: %d snapshots loaded, %d saved, %d reads of one aggregate; want %d, %d, none", what, l, s, r, wantLoads, wantSaves)
		}
	}
	accounts(t, store, 300, 1)
	counts("300 aggregates", 300, 300)
	deposits(t, store, "account 7", 300)
	counts("a hot one", 1, 1)
	accounts(t, store, 100, 3)
	counts("100 aggregates of 3 events", 100, 100)
	noErr(t, evento.ControlOf(store, "s").ResetToStart(t.Context()))
	counts("after a reset", 300+1+100, 0)
	deposits(t, store, "account 7", 2)
	counts("two more", 1, 1)
	deposits(t, store, "account 7", 2)
	noErr(t, evento.ControlOf(store, "s").ResetToPosition(t.Context(), 901)) // before the last of the two
	counts("with some that are in the snapshot", 1, 1)
}

// poisoned counts deposits, and fails as it is told to.
type tally struct {
	N    int
	Deep *chain
}

func poisoned(fails func(evento.Event[MoneyDeposited], *tally) error) *evento.Projection[tally] {
	return evento.NewProjection[tally]("p", Account).SafetyCheck().Handler(
		evento.Apply(func(s *tally, _ evento.Event[AccountOpened]) error { s.N++; return nil }),
		evento.Apply(func(s *tally, e evento.Event[MoneyDeposited]) error {
			s.N++
			return fails(e, s)
		}))
}

// An event whose state cannot be kept is parked, alone, as often as it is worth
// trying, and all other aggregates go on. Then the state is that before it.
func TestKeepParks(t *testing.T) {
	t.Parallel()
	poison := func(e evento.Event[MoneyDeposited], fail func()) {
		if e.AggregateID == "b" && e.Version == 3 {
			fail()
		}
	}
	type eventOf = evento.Event[MoneyDeposited]
	none := func(eventOf, *tally) error { return nil }
	for _, tt := range []struct {
		name     string
		fails    func(eventOf, *tally) error
		write    func(t *testing.T, ex evento.Executor) // the third event of b
		attempts int
		text     string
		more     int // calls, until it is known which event it is
	}{
		{"an error", func(e eventOf, _ *tally) (err error) { poison(e, func() { err = errPoor }); return err }, nil, 3, errPoor.Error(), 0},
		{"a panic", func(e eventOf, _ *tally) error { poison(e, func() { panic("boo") }); return nil }, nil, 3, "evento: handler panicked: boo", 0},
		{"a permanent error", func(e eventOf, _ *tally) (err error) {
			poison(e, func() { err = evento.Permanent(errPoor) })
			return err
		}, nil, 1, errPoor.Error(), 0},
		{"a state that cannot be stored", func(e eventOf, s *tally) error {
			poison(e, func() { s.Deep = chained(evento.MaxDepth + 1) })
			return nil
		}, nil, 1, "encoding a snapshot", 1},
		{"not decodable", none, func(t *testing.T, ex evento.Executor) { writeRaw(t, ex, "b", MoneyDeposited{}, "cbor", []byte{0xff}) }, 1, "undecodable", 0},
		{"unhandled", none, func(t *testing.T, ex evento.Executor) { writeRaw(t, ex, "b", counted{}, "cbor", []byte{0xa0}) }, 1, "unhandled", 0},
	} {
		for _, transactional := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, transactional %t", tt.name, transactional), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					store := newTransactor(t)
					var ex evento.Executor = store
					accounts(t, ex, 20, 3)
					deposits(t, ex, "b", 2)
					if tt.write != nil {
						tt.write(t, store.store)
					} else {
						deposits(t, ex, "b", 1)
					}
					accounts(t, ex, 20, 1)
					deposits(t, ex, "b", 1)
					p := poisoned(tt.fails)
					calls := 0
					keep := func(p *evento.Projection[tally]) *evento.SubscriptionBuilder {
						b := keeping(p).Retry(2).Hooks(evento.SubscriptionHooks{
							Handle: func(ctx context.Context, _ string, _ []evento.RawEvent, next func(context.Context) error) error {
								calls++
								return next(ctx)
							},
						})
						if transactional {
							b.Transactional()
						}
						return b
					}
					var failed *evento.HandlerError
					err := keep(p).Execute(t.Context(), ex)
					if !errors.As(err, &failed) || failed.Event.AggregateID != "b" || failed.Event.Version != 3 || failed.Attempts != tt.attempts {
						t.Fatalf("Execute: %v, want a failure of b's third event after %d attempts", err, tt.attempts)
					}
					wantStored(t, ex, "s", 62)
					if calls != 2+tt.attempts+tt.more {
						t.Errorf("the handler was called %d times: want once with all, once with those before, and with the one that fails %d times", calls, tt.attempts)
					}
					noErr(t, keep(p).AcceptFailure().Execute(t.Context(), ex))
					parked := parkedOf(t, ex)
					if len(parked) != 2 || !strings.HasPrefix(parked[0], fmt.Sprintf("b3 %d ", tt.attempts)) || !strings.Contains(parked[0], tt.text) || parked[1] != "b4 0 " {
						t.Errorf("parked: %q, want b3 with %q and b4", parked, tt.text)
					}
					got := statesOf(t, ex, p)
					if len(got) != 21 {
						t.Fatalf("%d states, want 21", len(got))
					}
					for _, l := range got {
						want := tally{N: 4}
						if l.ID == "b" {
							want.N = 2
						}
						if l.State != want || l.Version != uint64(want.N) {
							t.Errorf("%s: version %d, %+v, want %+v", l.ID, l.Version, l.State, want)
						}
					}
					if tt.write != nil {
						return
					}
					mended := poisoned(none)
					noErr(t, evento.ControlOf(ex, "s").RetryParked(t.Context(), evento.AllParked()))
					noErr(t, keep(mended).Execute(t.Context(), ex))
					want(t, "parked", parkedOf(t, ex))
					for _, l := range statesOf(t, ex, mended) {
						if l.Version != 4 || l.State.N != 4 {
							t.Errorf("mended: %s: version %d, %+v", l.ID, l.Version, l.State)
						}
					}
				})
			})
		}
	}
}

// A store that fails is waited for, and no event's failure; one that only refuses
// a snapshot is.
func TestKeepStoreErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		var refused atomic.Pointer[error]
		refuse := func(err error) { refused.Store(&err) }
		ex := &hooked{Executor: store, saveSnapshot: func(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
			if err := *refused.Load(); err != nil && key.AggregateID == "account 3" {
				return err
			}
			return store.SaveSnapshot(ctx, key, s)
		}}
		p := logging("p")
		accounts(t, store, 5, 1)
		refuse(evento.ErrFull)
		if err := keeping(p).Execute(t.Context(), ex); !errors.Is(err, evento.ErrFull) || errors.As(err, new(*evento.HandlerError)) {
			t.Errorf("Execute on a full store: %v, want ErrFull, and not as the failure of an event", err)
		}
		sub := start(t, ex, keeping(p).AcceptFailure().Retry(1))
		synctest.Wait()
		want(t, "parked on a full store", parkedOf(t, ex))
		refuse(nil)
		noErr(t, evento.WaitFor(t.Context(), ex, "s", 5))
		wantKept(t, "when there is room", ex, p, "account 0", "account 1", "account 2", "account 3", "account 4")
		refuse(errors.New("too odd"))
		accounts(t, store, 5, 1)
		noErr(t, evento.WaitFor(t.Context(), ex, "s", 10))
		want(t, "parked", parkedOf(t, ex), "account 32 2 too odd")
		refuse(nil)
		noErr(t, evento.ControlOf(ex, "s").RetryParked(t.Context(), evento.AllParked()))
		time.Sleep(time.Minute)
		want(t, "retried", parkedOf(t, ex))
		refuse(evento.ErrTooLarge)
		accounts(t, store, 5, 2)
		noErr(t, evento.WaitFor(t.Context(), ex, "s", 20))
		want(t, "parked at once", parkedOf(t, ex), "account 33 1 "+evento.ErrTooLarge.Error(), "account 34 0 ")
		noErr(t, sub.Shutdown(t.Context()))
	})
}

// What is missing between a snapshot and an event is read.
func TestKeepRepairs(t *testing.T) {
	t.Parallel()
	elsewhere := newStore(t)
	deposits(t, elsewhere, "a", 9)
	for _, tt := range []struct {
		name   string
		damage func(ex evento.Executor, key evento.SnapshotKey, s evento.Snapshot) error
	}{
		{"deleted", func(ex evento.Executor, key evento.SnapshotKey, _ evento.Snapshot) error {
			return ex.RemoveSnapshots(t.Context(), []evento.SnapshotKey{key})
		}},
		{"not decodable", func(ex evento.Executor, key evento.SnapshotKey, s evento.Snapshot) error {
			s.Data = []byte{0xff}
			return ex.SaveSnapshot(t.Context(), key, s)
		}},
		{"of another store", func(ex evento.Executor, key evento.SnapshotKey, s evento.Snapshot) error {
			s.Cursor = cursorOf(t, elsewhere, 3)
			return ex.SaveSnapshot(t.Context(), key, s)
		}},
		{"of another store, further", func(ex evento.Executor, key evento.SnapshotKey, s evento.Snapshot) error {
			s.Version, s.Position, s.Cursor = 9, 9, cursorOf(t, elsewhere, 9)
			return ex.SaveSnapshot(t.Context(), key, s)
		}},
		{"further than its place", func(ex evento.Executor, key evento.SnapshotKey, s evento.Snapshot) error {
			s.Version = 9
			return ex.SaveSnapshot(t.Context(), key, s)
		}},
	} {
		for _, drop := range []bool{false, true} { // an event before is missing too
			store := newStore(t)
			ex := tapped(store)
			p := logging("p")
			deposits(t, ex, "a", 3)
			noErr(t, keeping(p).Execute(t.Context(), ex))
			noErr(t, tt.damage(store, ex.keys[0], ex.saved[0]))
			deposits(t, ex, "a", 2)
			if drop {
				noErr(t, evento.ControlOf(ex, "s").ResetToPosition(t.Context(), 4))
			}
			noErr(t, keeping(p).Execute(t.Context(), ex))
			wantKept(t, tt.name, ex, p, "a")
		}
	}
}

// A state that a replica does not show yet is not taken for the present one.
func TestKeepFromReplica(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	deposits(t, store, "a", 5)
	p := logging("p")
	late := true
	ex := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		page, err := store.Read(ctx, q, args)
		if err == nil && late && len(q.Filters) > 0 && q.Filters[0].AggregateID != "" {
			page.Edges = page.Edges[:2]
		}
		return page, err
	}}
	noErr(t, keeping(p).Execute(t.Context(), store))
	noErr(t, evento.ControlOf(store, "s").ResetToPosition(t.Context(), 3))
	if _, err := evento.DeleteSnapshots(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if err := keeping(p).Execute(t.Context(), ex); !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("Execute: %v, want ErrNotFound", err)
	}
	late = false
	noErr(t, keeping(p).Execute(t.Context(), ex))
	wantKept(t, "when it shows it", ex, p, "a")
}

// A key keeps the states of one revision and shape: that of the last that took it.
func TestKeepRevisions(t *testing.T) {
	t.Parallel()
	type other struct {
		Lines []string
		Count int
	}
	count := evento.NewProjection[other]("p", Account).Handler(evento.Apply(func(s *other, _ evento.Event[MoneyDeposited]) error { s.Count++; return nil }))
	for _, partitions := range []int{1, 4} {
		ex := newStore(t)
		deposits(t, ex, "a", 3)
		deposits(t, ex, "b", 2)
		old, next := logging("p"), logging("p").Revision(1)
		wantNotKept(t, "before", ex, old, "no subscription keeps")
		noErr(t, keeping(old).Partitions(partitions).Execute(t.Context(), ex))
		wantKept(t, "old", ex, old, "a", "b")
		wantNotKept(t, "next", ex, next, "no subscription keeps those of revision 1")
		if got := statesOf(t, ex, next, evento.StatesSoFar()); len(got) != 0 {
			t.Errorf("so far, of the next revision: %s, want none", showStates(got))
		}
		if err := keeping(next).Partitions(partitions).Hooks(stopAfter(0)).Execute(t.Context(), ex); !errors.Is(err, errPoor) {
			t.Fatal(err)
		}
		wantNotKept(t, "next, not built", ex, next, "has not built all")
		noErr(t, keeping(next).Partitions(partitions).Execute(t.Context(), ex))
		wantKept(t, "next", ex, next, "a", "b")
		wantNotKept(t, "old, when the next has the key", ex, old, "no subscription keeps those of revision 0")
		wantListed(t, "old, so far", statesOf(t, ex, old, evento.StatesSoFar()), ex, old, "a", "b")
		noErr(t, keeping(count).Partitions(partitions).Execute(t.Context(), ex))
		wantKept(t, "another shape", ex, count, "a", "b")
		deposits(t, ex, "c", 1)
		noErr(t, keeping(old).Partitions(partitions).Execute(t.Context(), ex))
		wantKept(t, "back", ex, old, "a", "b", "c")
		renumbered := max(1, 5-partitions)
		noErr(t, evento.ControlOf(ex, "s").Repartition(t.Context(), renumbered))
		wantKept(t, "in other partitions", ex, old, "a", "b", "c")
		noErr(t, keeping(old).Partitions(renumbered).Execute(t.Context(), ex))
		wantKept(t, "in other partitions, again", ex, old, "a", "b", "c")
	}
}

// stopAfter makes handlers fail after n calls.
func stopAfter(n int64) evento.SubscriptionHooks {
	var calls atomic.Int64
	return evento.SubscriptionHooks{Handle: func(ctx context.Context, _ string, _ []evento.RawEvent, next func(context.Context) error) error {
		if calls.Add(1) > n {
			return errPoor
		}
		return next(ctx)
	}}
}

// Until the states of a revision are built for the first time they are not listed;
// later they are, wherever the subscription is put.
func TestStatesOnlyWhenComplete(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	accounts(t, ex, 20, 1)
	p := logging("p")
	stop := func(after int64) *evento.SubscriptionBuilder { return keeping(p).ChunkSize(1).Hooks(stopAfter(after)) }
	if err := stop(10).Execute(t.Context(), ex); !errors.Is(err, errPoor) {
		t.Fatal(err)
	}
	wantNotKept(t, "half built", ex, p, `subscription "s" has not built all`)
	if got := statesOf(t, ex, p, evento.StatesSoFar()); len(got) != 10 {
		t.Errorf("so far: %d states, want 10", len(got))
	}
	noErr(t, keeping(p).Execute(t.Context(), ex))
	deposits(t, ex, "later", 1)
	if got := statesOf(t, ex, p); len(got) != 20 {
		t.Errorf("built: %d states, want 20", len(got))
	}
	noErr(t, evento.ControlOf(ex, "s").ResetToStart(t.Context()))
	if err := stop(3).Execute(t.Context(), ex); !errors.Is(err, errPoor) {
		t.Fatal(err)
	}
	if got := statesOf(t, ex, p); len(got) != 20 {
		t.Errorf("reset: %d states, want 20", len(got))
	}
	// Another subscription with the key passes over events without keeping them.
	noErr(t, evento.NewSubscription("s").All().Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error { return nil })).Execute(t.Context(), ex))
	wantNotKept(t, "of another subscription", ex, p, "no subscription keeps")
	noErr(t, keeping(p).StartAtEnd().Execute(t.Context(), ex))
	if got := statesOf(t, ex, p); len(got) != 21 {
		t.Errorf("kept again: %d states, want 21", len(got))
	}
}

// Partitions of which some were taken by another revision keep neither.
func TestStatesOfTwoRevisions(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	accounts(t, ex, 20, 1)
	old, next := logging("p"), logging("p").Revision(1)
	noErr(t, keeping(old).Partitions(2).Execute(t.Context(), ex))
	failing := &hooked{Executor: ex, swap: func(ctx context.Context, s evento.Swap) error {
		if slices.ContainsFunc(s.Changes, func(c evento.Change) bool { return c.Part == "0001" }) {
			return evento.ErrReadOnly
		}
		return ex.Swap(ctx, s)
	}}
	if err := keeping(next).Partitions(2).Execute(t.Context(), failing); !errors.Is(err, evento.ErrReadOnly) {
		t.Fatalf("Execute: %v, want ErrReadOnly", err)
	}
	wantNotKept(t, "old", ex, old, "has not built all")
	wantNotKept(t, "next", ex, next, "has not built all")
	noErr(t, evento.ControlOf(ex, "s").Repartition(t.Context(), 1))
	wantNotKept(t, "joined", ex, next, "no subscription keeps")
	noErr(t, keeping(next).Execute(t.Context(), ex))
	if got := statesOf(t, ex, next); len(got) != 20 {
		t.Errorf("%d states, want 20", len(got))
	}
}

func TestKeepMistakes(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	for name, tt := range map[string]struct {
		b    *evento.SubscriptionBuilder
		list func() error
		want string
	}{
		"the projection": {logging("p").Handler(evento.Apply(logDeposit)).Keep("s"), listing(ex, logging("p").Handler(evento.Apply(logDeposit))), "two for"},
		"the state":      {evento.NewProjection[struct{ n int }]("p", Account).Keep("s"), listing(ex, evento.NewProjection[struct{ n int }]("p", Account)), "unexported field n"},
		"the type":       {evento.NewProjection[eventLog]("p", "").Keep("s"), listing(ex, evento.NewProjection[eventLog]("p", "")), "aggregate type"},
		"the key":        {logging("p").Keep(""), listing(ex, logging("p"), evento.StatesAfter("\n")), ""},
	} {
		_, started := tt.b.Start(t.Context(), ex)
		for _, err := range []error{tt.b.Execute(t.Context(), ex), started, tt.list()} {
			if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want ErrInvalid with %q", name, err, tt.want)
			}
		}
	}
}

func listing[V any](ex evento.Executor, p *evento.Projection[V], opts ...evento.StatesOption) func() error {
	return func() (err error) {
		for _, err = range p.States(context.Background(), ex, opts...) {
		}
		return err
	}
}

// States come page after page, in the order of ids, from wherever they are asked
// for.
func TestStates(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	p := logging("p")
	var ids []string
	for i := range 200 {
		id := fmt.Sprint("id ", i)
		ids = append(ids, id)
		deposits(t, ex, id, 1)
	}
	slices.Sort(ids)
	noErr(t, logging("o").Keep("others").Execute(t.Context(), ex)) // snapshots before and behind
	noErr(t, logging("q").Keep("yet others").Execute(t.Context(), ex))
	noErr(t, keeping(p).Execute(t.Context(), ex))
	if _, err := p.Load(t.Context(), ex, "id 5", evento.Related(Account, "id 6")); err != nil {
		t.Fatal(err)
	}
	wantKept(t, "all", ex, p, ids...)
	for _, tt := range []struct {
		after string
		want  []string
	}{
		{"a", ids}, {"id 0", ids[1:]}, {"id 99", nil}, {"id 98", ids[199:]}, {"id 100x", ids[slices.Index(ids, "id 101"):]}, {"z", nil},
	} {
		wantListed(t, "after "+tt.after, statesOf(t, ex, p, evento.StatesAfter(tt.after)), ex, p, tt.want...)
	}
	n := 0
	for l, err := range p.States(t.Context(), ex) {
		noErr(t, err)
		if n++; l.ID == ids[9] {
			break
		}
	}
	if n != 10 {
		t.Errorf("%d states until the tenth", n)
	}
	// One that no longer decodes is loaded.
	var key evento.SnapshotKey
	for s, err := range evento.Snapshots(t.Context(), ex, evento.SnapshotsOf("p"), evento.SnapshotsOfAggregate(Account, "id 5")) {
		noErr(t, err)
		key = s.SnapshotKey
	}
	noErr(t, ex.SaveSnapshot(t.Context(), key, evento.Snapshot{Version: 1, Position: 6, Data: []byte{0xff}}))
	wantKept(t, "with one that does not decode", ex, p, ids...)
	// An error is last.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n = 0
	var last error
	for _, last = range p.States(ctx, ex) {
		if n++; n == 3 {
			cancel()
		}
	}
	if n != 65 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d times, at last %v; want 64 states of the first page and the error", n, last)
	}
}

// Partitions that are joined have built their states when each of them had.
func TestStatesOfJoinedPartitions(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	p := logging("p").Revision(1)
	accounts(t, store, 20, 1)
	noErr(t, keeping(logging("p")).Partitions(2).Execute(t.Context(), store))
	var closed atomic.Int64 // the partition that cannot be written
	ex := &hooked{Executor: store, swap: func(ctx context.Context, s evento.Swap) error {
		if slices.ContainsFunc(s.Changes, func(c evento.Change) bool { return c.Part == fmt.Sprintf("%04d", closed.Load()) }) {
			return evento.ErrReadOnly
		}
		return store.Swap(ctx, s)
	}}
	for partition := range int64(2) {
		closed.Store(1 - partition)
		if err := keeping(p).Partitions(2).ChunkSize(1).Hooks(stopAfter(15)).Execute(t.Context(), ex); err == nil {
			t.Fatal("the other partition was not closed")
		}
		accounts(t, store, 20, 1)
	}
	noErr(t, evento.ControlOf(store, "s").Repartition(t.Context(), 1))
	wantNotKept(t, "joined", store, p, "has not built all")
	noErr(t, keeping(p).Execute(t.Context(), store))
	if got := statesOf(t, store, p); len(got) != 20 {
		t.Errorf("%d states, want 20", len(got))
	}
}

// A record that cannot be read is no reason to take states for complete, nor to
// delete them.
func TestStatesWithDamagedRecords(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	accounts(t, ex, 5, 1)
	p := logging("p")
	noErr(t, keeping(p).Partitions(2).Execute(t.Context(), ex))
	page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "subscription"})
	noErr(t, err)
	noErr(t, ex.Swap(t.Context(), evento.Swap{Changes: []evento.Change{{
		RecordKey: page.Records[2].RecordKey, Revision: page.Records[2].Revision, Value: []byte("{"),
	}}}))
	if err := listing(ex, p)(); !errors.Is(err, evento.ErrDamaged) {
		t.Errorf("States: %v, want ErrDamaged", err)
	}
	if n, err := p.Revision(1).DeleteUnusedSnapshots(t.Context(), ex); n != 0 || !errors.Is(err, evento.ErrDamaged) {
		t.Errorf("DeleteUnusedSnapshots: %d, %v, want ErrDamaged", n, err)
	}
	// Another subscription's damage does not matter where one is whole.
	q := logging("q")
	noErr(t, q.Keep("q").Execute(t.Context(), ex))
	wantKept(t, "beside a damaged one", ex, q, "account 0", "account 1", "account 2", "account 3", "account 4")
}

// One key with several routing keys keeps the states of each.
func TestKeepOfRoutingKeys(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	p := logging("p")
	for _, id := range []string{"eu", "us"} {
		commit(t, ex, evento.Aggregate(id).Event(AccountOpened{}).RoutingKey(id))
	}
	noErr(t, keeping(p).RoutingKey("eu").Execute(t.Context(), ex))
	wantKept(t, "one", ex, p, "eu")
	noErr(t, keeping(p).RoutingKey("us").Execute(t.Context(), ex))
	wantKept(t, "two", ex, p, "eu", "us")
}

// What is read in between ends with the chunk, and an event that was dropped is
// the failure of the one behind it.
func TestKeepBehindWhatIsMissing(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	p := poisoned(func(e evento.Event[MoneyDeposited], _ *tally) error {
		if e.Version == 4 {
			return errPoor
		}
		return nil
	})
	keep := func() *evento.SubscriptionBuilder { return keeping(p).ChunkSize(1).AcceptFailure().Retry(3) }
	deposits(t, ex, "a", 2)
	noErr(t, keep().Execute(t.Context(), ex))
	_, err := evento.DeleteSnapshots(t.Context(), ex)
	noErr(t, err)
	deposits(t, ex, "a", 2)
	writeRaw(t, ex, "b", MoneyDeposited{}, "cbor", []byte{0xff})
	noErr(t, keep().Retry(0).Execute(t.Context(), ex))
	want(t, "parked", parkedOf(t, ex), "a4 1 "+strings.SplitN(applied(t, p, ex, "a"), "\n", 2)[0], "b1 1 "+applied(t, p, ex, "b"))
	noErr(t, evento.ControlOf(ex, "s").DropParked(t.Context(), evento.AllParked()))
	deposits(t, ex, "b", 1)
	noErr(t, keep().Execute(t.Context(), ex))
	want(t, "parked", parkedOf(t, ex), "b2 1 "+applied(t, p, ex, "b"))
}

// applied is why the events of an aggregate cannot be applied.
func applied(t *testing.T, p *evento.Projection[tally], ex evento.Executor, id string) string {
	t.Helper()
	_, err := p.Load(t.Context(), ex, id)
	if err == nil {
		t.Fatalf("the events of %s can be applied", id)
	}
	return err.Error()
}

// Handlers find what was given to the projection, and to the subscription.
func TestKeepData(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 1)
	type currency string
	type rate float64
	p := evento.NewProjection[eventLog]("p", Account).Data(currency("EUR")).Handler(
		evento.ApplyContext(func(ctx context.Context, l *eventLog, e evento.Event[MoneyDeposited]) error {
			c, _ := evento.Data[currency](ctx)
			r, _ := evento.Data[rate](ctx)
			return l.add(e.RawEvent, fmt.Sprint(c, r, evento.DeliveryFrom(ctx).Key))
		}))
	noErr(t, keeping(p).Data(rate(2)).Execute(t.Context(), ex))
	if got := statesOf(t, ex, p); len(got) != 1 || len(got[0].State.Lines) != 1 || got[0].State.Lines[0] != "a/1 EUR2s" {
		t.Errorf("states: %s", showStates(got))
	}
}

func TestStatesOfMany(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	var many []*evento.CommitBuilder
	for i := range 2100 {
		many = append(many, evento.Aggregate(fmt.Sprint(i)).Event(MoneyDeposited{}))
	}
	_, err := evento.CommitAll(t.Context(), ex, many...)
	noErr(t, err)
	p := logging("p")
	noErr(t, keeping(p).Execute(t.Context(), ex))
	if got := statesOf(t, ex, p); len(got) != 2100 {
		t.Errorf("%d states, want 2100", len(got))
	}
}
