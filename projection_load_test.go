package evento_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

// log is a projection state that shows which events came, in which order.
type eventLog struct{ Lines []string }

func (l *eventLog) add(e evento.RawEvent, what any) error {
	l.Lines = append(l.Lines, fmt.Sprintf("%s/%d %v", e.AggregateID, e.Version, what))
	return nil
}

func logOpened(l *eventLog, e evento.Event[AccountOpened]) error {
	return l.add(e.RawEvent, e.Data.Owner)
}
func logDeposit(l *eventLog, e evento.Event[MoneyDeposited]) error {
	return l.add(e.RawEvent, e.Data.Amount)
}
func logWithdrawal(l *eventLog, e evento.Event[MoneyWithdrawn]) error {
	return l.add(e.RawEvent, -e.Data.Amount)
}
func logRenamed(l *eventLog, e evento.Event[*renamed]) error { return l.add(e.RawEvent, e.Data.Name) }

// logging handles all events.
func logging(name string) *evento.Projection[eventLog] {
	return evento.NewProjection[eventLog](name, Account).
		Handler(evento.Apply(logOpened), evento.Apply(logDeposit), evento.Apply(logWithdrawal))
}

// withOwners also logs the events of owners that a load names.
func withOwners(name string) *evento.Projection[eventLog] {
	return logging(name).Handler(evento.Apply(logRenamed))
}

func wantLoaded(t *testing.T, what string, l *evento.Loaded[eventLog], err error, version, position uint64, lines ...string) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if got, want := strings.Join(l.State.Lines, "; "), strings.Join(lines, "; "); got != want || l.Version != version || l.Position != position {
		t.Errorf("%s: version %d, position %d, state %s\nwant %d, %d, %s", what, l.Version, l.Position, got, version, position, want)
	}
	if l.SnapshotErr != nil {
		t.Errorf("%s: snapshot: %v", what, l.SnapshotErr)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{Owner: "x"}, MoneyDeposited{Amount: 1}))
	commit(t, ex, evento.Aggregate("b").Event(AccountOpened{Owner: "y"}))
	commit(t, ex, evento.Aggregate("o").Event(&renamed{Name: "z"}))
	commit(t, ex, evento.Aggregate("a").OriginalVersion(2).Event(MoneyWithdrawn{Amount: 1}))
	commit(t, ex, evento.Aggregate("o").OriginalVersion(1).Event(&renamed{Name: "zz"}))
	p := logging("log")
	for _, test := range []struct {
		name              string
		owner             bool
		id                string
		opts              []evento.LoadOption
		version, position uint64
		lines             []string
	}{
		{"alone", false, "a", nil, 3, 5, []string{"a/1 x", "a/2 1", "a/3 -1"}},
		{"with its owner", true, "a", []evento.LoadOption{evento.Related(ownerType, "o")}, 3, 6, []string{"a/1 x", "a/2 1", "o/1 z", "a/3 -1", "o/2 zz"}},
		{"with two", true, "b", []evento.LoadOption{evento.Related(ownerType, "o"), evento.Related(Account, "a")}, 1, 6, []string{"a/1 x", "a/2 1", "b/1 y", "o/1 z", "a/3 -1", "o/2 zz"}},
		{"with itself", false, "b", []evento.LoadOption{evento.Related(Account, "b")}, 1, 3, []string{"b/1 y"}},
		{"with nobody", true, "b", []evento.LoadOption{evento.Related(ownerType, "nobody")}, 1, 3, []string{"b/1 y"}},
		{"at its first version", false, "a", []evento.LoadOption{evento.AtVersion(1)}, 1, 1, []string{"a/1 x"}},
		{"at version 2 with its owner", true, "a", []evento.LoadOption{evento.AtVersion(2), evento.Related(ownerType, "o")}, 2, 2, []string{"a/1 x", "a/2 1"}},
		{"at version 3 with its owner", true, "a", []evento.LoadOption{evento.AtVersion(3), evento.Related(ownerType, "o")}, 3, 5, []string{"a/1 x", "a/2 1", "o/1 z", "a/3 -1"}},
	} {
		projections := []*evento.Projection[eventLog]{p, logging("snapshots").SnapshotEvery(1)}
		if test.owner {
			projections = []*evento.Projection[eventLog]{withOwners("log"), withOwners("snapshots").SnapshotEvery(1)}
		}
		for _, p := range projections {
			for range 2 { // the second from the snapshot, where there are
				l, err := p.Load(t.Context(), ex, test.id, test.opts...)
				wantLoaded(t, test.name, l, err, test.version, test.position, test.lines...)
			}
		}
	}
	l, err := p.Load(t.Context(), ex, "a")
	if err != nil {
		t.Fatal(err)
	}
	if r := commit(t, ex, l.Aggregate().Event(MoneyDeposited{})); l.ID != "a" || r.AggregateID != "a" || r.Version != 4 {
		t.Errorf("a commit on the loaded %q: %+v, want version 4 of a", l.ID, r)
	}
	if _, err := l.Aggregate().Event(MoneyDeposited{}).Commit(t.Context(), ex); !errors.Is(err, evento.ErrConflict) {
		t.Errorf("a second commit on it: %v, want ErrConflict", err)
	}
	if _, err := l.Aggregate().Event(&renamed{}).Commit(t.Context(), ex); !errors.Is(err, evento.ErrInvalid) ||
		!strings.Contains(err.Error(), `bank/Owner Renamed is of another type than the aggregate that was loaded, bank/Account "a"`) {
		t.Errorf("an event of another type on it: %v, want ErrInvalid", err)
	}
}

func TestLoadManyEvents(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 3210)
	if l, err := balance.Load(t.Context(), ex, "a"); err != nil || l.State.Cents != 3210*3211/2 || l.Version != 3210 {
		t.Errorf("%+v, %v, want %d at version 3210", l, err, 3210*3211/2)
	}
}

func TestLoadAsOf(t *testing.T) {
	t.Parallel()
	start := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	now := start
	ex := memory.New(&memory.Options{Clock: func() time.Time { return now }})
	for i := range 3 {
		now = start.Add(time.Duration(i) * time.Hour)
		commit(t, ex, evento.Aggregate("a").OriginalVersion(uint64(i)).Event(MoneyDeposited{Amount: int64(i)}))
	}
	commit(t, ex, evento.Aggregate("o").Event(&renamed{Name: "z"}))
	reads := 0
	counting := &hooked{Executor: ex, snapshot: func(context.Context, evento.SnapshotKey) (evento.Snapshot, error) {
		reads++
		return evento.Snapshot{}, evento.ErrNotFound
	}}
	related := evento.Related(ownerType, "o")
	for _, test := range []struct {
		at    time.Time
		lines []string
	}{
		{start, []string{"a/1 0"}},
		{start.Add(time.Hour - time.Microsecond), []string{"a/1 0"}},
		{start.Add(time.Hour), []string{"a/1 0", "a/2 1"}},
		{start.Add(time.Hour).In(time.FixedZone("", -3600)), []string{"a/1 0", "a/2 1"}},
		{start.Add(24 * time.Hour), []string{"a/1 0", "a/2 1", "a/3 2", "o/1 z"}},
	} {
		n := uint64(len(test.lines))
		l, err := withOwners("log").SnapshotEvery(1).Load(t.Context(), counting, "a", evento.AsOf(test.at), related)
		wantLoaded(t, test.at.String(), l, err, min(n, 3), n, test.lines...)
	}
	_, err := logging("log").Load(t.Context(), ex, "a", evento.AsOf(start.Add(-time.Microsecond)))
	if !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("before the first event: %v, want ErrNotFound", err)
	}
	if reads != 0 {
		t.Errorf("AsOf read %d snapshots", reads)
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}, MoneyDeposited{}))
	commit(t, ex, evento.Aggregate("o").Event(&renamed{}))
	errHandler := errors.New("a handler's own")
	failing := func(*eventLog, evento.Event[MoneyDeposited]) error { return errHandler }
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	opened, deposit := evento.Apply(logOpened), evento.Apply(logDeposit)
	fresh := func(hs ...evento.Applier[eventLog]) *evento.Projection[eventLog] {
		return evento.NewProjection[eventLog]("p", Account).Handler(hs...)
	}
	for _, test := range []struct {
		name string
		ctx  context.Context
		p    *evento.Projection[eventLog]
		id   string
		opts []evento.LoadOption
		want error
		text string
	}{
		{"unknown id", t.Context(), fresh(opened), "b", nil, evento.ErrNotFound, `not found: bank/Account "b"`},
		{"only a related one", t.Context(), withOwners("p"), "b", []evento.LoadOption{evento.Related(ownerType, "o")}, evento.ErrNotFound, `"b"`},
		{"of another type", t.Context(), fresh(opened), "o", nil, evento.ErrNotFound, `"o"`},
		{"a version to come", t.Context(), fresh(opened), "a", []evento.LoadOption{evento.AtVersion(3)}, evento.ErrNotFound, `version 3 of bank/Account "a", which is at 2`},
		{"version 0", t.Context(), fresh(opened), "a", []evento.LoadOption{evento.AtVersion(0)}, evento.ErrInvalid, "AtVersion(0): versions begin at 1"},
		{"version and time", t.Context(), fresh(opened), "a", []evento.LoadOption{evento.AtVersion(1), evento.AsOf(time.Now())}, evento.ErrInvalid, "AsOf excludes it"},
		{"an id that cannot be", t.Context(), fresh(opened), "a\n", nil, evento.ErrInvalid, "aggregate id"},
		{"a related id that cannot be", t.Context(), fresh(opened), "a", []evento.LoadOption{evento.Related(ownerType, "o\n")}, evento.ErrInvalid, "aggregate id"},
		{"no name", t.Context(), evento.NewProjection[eventLog]("", Account), "a", nil, evento.ErrInvalid, "projection name: empty"},
		{"no type", t.Context(), evento.NewProjection[eventLog]("p", ""), "a", nil, evento.ErrInvalid, `evento: projection "p": invalid aggregate type: empty`},
		{"two handlers", t.Context(), fresh(opened, deposit, evento.Apply(failing)), "a", nil, evento.ErrInvalid, `evento: projection "p": invalid handler: two for bank/Account MoneyDeposited`},
		{"two handlers in two calls", t.Context(), fresh(deposit).Handler(deposit), "a", nil, evento.ErrInvalid, "two for bank/Account MoneyDeposited"},
		{"the first mistake", t.Context(), fresh(opened, opened, deposit, deposit), "a", nil, evento.ErrInvalid, "two for bank/Account AccountOpened"},
		{"a nil function", t.Context(), fresh(evento.Apply[eventLog, AccountOpened](nil)), "a", nil, evento.ErrInvalid, "the function is nil"},
		{"a nil function with context", t.Context(), fresh(evento.ApplyContext[eventLog, AccountOpened](nil)), "a", nil, evento.ErrInvalid, "the function is nil"},
		{"an event without a name", t.Context(), fresh(evento.Apply(func(*eventLog, evento.Event[nameless]) error { return nil })), "a", nil, evento.ErrInvalid, "event name: empty"},
		{"an interface", t.Context(), fresh(evento.Apply(func(*eventLog, evento.Event[evento.Payload]) error { return nil })), "a", nil, evento.ErrInvalid, "evento.Payload is an interface"},
		{"an empty handler", t.Context(), fresh(evento.Applier[eventLog]{}), "a", nil, evento.ErrInvalid, "invalid handler: it is empty"},
		{"nil skipped", t.Context(), fresh().Skip((*renamed)(nil)), "a", nil, evento.ErrInvalid, "the payload is nil"},
		{"a failing handler", t.Context(), fresh(opened, evento.Apply(failing)), "a", nil, errHandler, `projection "p": bank/Account MoneyDeposited of "a", version 2, position 2: a handler's own`},
		{"not handled", t.Context(), fresh(opened).SafetyCheck(), "a", nil, evento.ErrUnhandledEvent, `projection "p": bank/Account MoneyDeposited of "a", version 2, position 2`},
		{"a related one not handled", t.Context(), fresh(opened, deposit).SafetyCheck(), "a", []evento.LoadOption{evento.Related(ownerType, "o")}, evento.ErrUnhandledEvent, "bank/Owner Renamed"},
		{"a handler for others' events", t.Context(), withOwners("p"), "a", []evento.LoadOption{evento.Related(Account, "b")}, evento.ErrInvalid, `projection "p" has a handler for bank/Owner Renamed, and Related names no bank/Owner`},
		{"of the wrong type", t.Context(), evento.NewProjection[eventLog]("p", ownerType).Handler(opened, deposit), "o", nil, evento.ErrInvalid, `invalid projection: "p" is of bank/Owner, and all its handlers are of other types, such as bank/Account AccountOpened`},
		{"another skipped", t.Context(), fresh(opened).Skip(MoneyWithdrawn{}).SafetyCheck(), "a", nil, evento.ErrUnhandledEvent, "MoneyDeposited"},
		{"context", ended, fresh(opened), "a", nil, context.Canceled, ""},
	} {
		for range 2 { // a mistake is told every time
			l, err := test.p.Load(test.ctx, ex, test.id, test.opts...)
			if l != nil || !errors.Is(err, test.want) || !strings.Contains(fmt.Sprint(err), test.text) {
				t.Errorf("%s: %+v, %v, want %v and %q", test.name, l, err, test.want, test.text)
			}
		}
	}
	for name, p := range map[string]*evento.Projection[eventLog]{
		"passed over by default": fresh(opened),
		"skipped":                fresh(opened).Skip(MoneyDeposited{}).SafetyCheck(),
		"nothing handled":        fresh(),
	} {
		if l, err := p.Load(t.Context(), ex, "a"); err != nil || l.Version != 2 || l.Position != 2 {
			t.Errorf("%s: %+v, %v, want version 2", name, l, err)
		}
	}
}

// nameless is a payload that was written wrongly.
type nameless struct{}

func (nameless) AggregateType() evento.AggregateType { return Account }
func (nameless) EventName() string                   { return "" }

func TestProjectionData(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{Owner: "x"}))
	type rates map[string]int
	p := evento.NewProjection[eventLog]("p", Account).
		Data(rates{"x": 3}).Data(7).Data(8).
		Handler(evento.ApplyContext(func(ctx context.Context, l *eventLog, e evento.Event[AccountOpened]) error {
			r, ok := evento.Data[rates](ctx)
			n, _ := evento.Data[int](ctx)
			_, other := evento.Data[map[string]int](ctx)
			return l.add(e.RawEvent, fmt.Sprintf("%d %t %d %t %v", r["x"], ok, n, other, ctx.Value(ownKey{})))
		}))
	l, err := p.Load(context.WithValue(t.Context(), ownKey{}, "caller's"), ex, "a")
	wantLoaded(t, "data", l, err, 1, 1, "a/1 3 true 8 false caller's")
	if v, ok := evento.Data[int](t.Context()); ok || v != 0 {
		t.Errorf("a context without data has %d, %t", v, ok)
	}
	if got := evento.ExecutorFrom(t.Context()); got != nil {
		t.Errorf("a context without an executor has %v", got)
	}
}

type ownKey struct{}

func TestLoadConcurrently(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 50)
	p := logging("p").SnapshotEvery(10)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				l, err := p.Load(t.Context(), ex, "a")
				if err != nil || len(l.State.Lines) != 50 || l.Version != 50 {
					t.Errorf("%+v, %v, want 50 lines", l, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// An empty id is a mistake, and not every aggregate of the type.
func TestEmptyIDsAreRefused(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
	commit(t, ex, evento.Aggregate("o").Event(&renamed{}))
	if has, err := evento.HasEvent[AccountOpened](t.Context(), ex, ""); has || !errors.Is(err, evento.ErrInvalid) {
		t.Errorf(`HasEvent of "": %t, %v, want ErrInvalid`, has, err)
	}
	if l, err := logging("p").Load(t.Context(), ex, ""); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf(`Load of "": %+v, %v, want ErrInvalid`, l, err)
	}
	if l, err := logging("p").Load(t.Context(), ex, "a", evento.Related(ownerType, "")); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf(`Load with Related "": %+v, %v, want ErrInvalid`, l, err)
	}
	var got list[uint64]
	if err := evento.NewSubscription("s").Handler(positions(&got)).Aggregate(Account, "").Execute(t.Context(), ex); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf(`Execute of Aggregate "": %v after handling %v, want ErrInvalid`, err, got.all())
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}, MoneyDeposited{Amount: 5}))
	commit(t, ex, evento.Aggregate("o").Event(&renamed{Name: "z"}))
	withdraw := func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
		if l.State.Cents == 0 {
			return nil, errPoor
		}
		return []evento.Payload{MoneyWithdrawn{Amount: l.State.Cents}}, nil
	}
	r, err := balance.Update(t.Context(), ex, "a", withdraw,
		evento.WithCommit(func(b *evento.CommitBuilder) { b.RequestedBy("alice") }),
		evento.WithCommit(func(b *evento.CommitBuilder) { b.Metadata("k", "v") }))
	if want := (evento.Receipt{AggregateID: "a", Version: 3, Position: 4}); err != nil || r != want {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	if m := events(t, ex)[3].Metadata; m.RequestedBy != "alice" || m.Values["k"] != "v" {
		t.Errorf("the metadata of both WithCommit should be there: %+v", m)
	}
	if r, err := balance.Update(t.Context(), ex, "a", withdraw); err != errPoor || r != (evento.Receipt{}) { //nolint:errorlint // unchanged is what is promised
		t.Errorf("a decision that fails: %+v, %v, want %v unchanged", r, err, errPoor)
	}
	// Nothing to do: the receipt says where the aggregate is, whatever its
	// loaded state was made into.
	r, err = logging("log").Update(t.Context(), ex, "o", func(*evento.Loaded[eventLog]) ([]evento.Payload, error) { return nil, nil })
	if !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("of an aggregate of another type: %+v, %v, want ErrNotFound", r, err)
	}
	r, err = logging("log").Update(t.Context(), ex, "a", func(l *evento.Loaded[eventLog]) ([]evento.Payload, error) {
		l.Version, l.ID = 99, "x"
		return []evento.Payload{}, nil
	})
	if want := (evento.Receipt{AggregateID: "a", Version: 3, Position: 4}); err != nil || r != want {
		t.Errorf("no events: %+v, %v, want %+v", r, err, want)
	}
	if n := len(events(t, ex)); n != 4 {
		t.Errorf("%d events are stored, want 4", n)
	}
	r, err = withOwners("log").Update(t.Context(), ex, "a", func(l *evento.Loaded[eventLog]) ([]evento.Payload, error) {
		return []evento.Payload{MoneyDeposited{Amount: int64(len(l.State.Lines))}}, nil
	}, evento.Related(ownerType, "o"))
	if err != nil || r.Version != 4 {
		t.Errorf("with a related aggregate: %+v, %v, want version 4", r, err)
	}
}

func TestUpdateErrors(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
	deposit := func(*evento.Loaded[Balance]) ([]evento.Payload, error) {
		return []evento.Payload{MoneyDeposited{}}, nil
	}
	errDisk := errors.New("disk on fire")
	burning := &hooked{Executor: ex, write: func(context.Context, evento.Write) ([]evento.Receipt, error) { return nil, errDisk }}
	for _, test := range []struct {
		name   string
		ex     evento.Executor
		id     string
		decide func(*evento.Loaded[Balance]) ([]evento.Payload, error)
		opts   []evento.LoadOption
		want   error
	}{
		{"unknown", ex, "b", deposit, nil, evento.ErrNotFound},
		{"in the past", ex, "a", deposit, []evento.LoadOption{evento.AtVersion(1)}, evento.ErrInvalid},
		{"at another time", ex, "a", deposit, []evento.LoadOption{evento.AsOf(events(t, ex)[0].Timestamp)}, evento.ErrInvalid},
		{"nil", ex, "a", nil, nil, evento.ErrInvalid},
		{"another type", ex, "a", func(*evento.Loaded[Balance]) ([]evento.Payload, error) {
			return []evento.Payload{MoneyDeposited{}, &renamed{}}, nil
		}, nil, evento.ErrInvalid},
		{"only another type", ex, "a", func(*evento.Loaded[Balance]) ([]evento.Payload, error) {
			return []evento.Payload{&renamed{}}, nil
		}, nil, evento.ErrInvalid},
		{"a new aggregate of another type", ex, "new", func(*evento.Loaded[Balance]) ([]evento.Payload, error) {
			return []evento.Payload{&renamed{}}, nil
		}, []evento.LoadOption{evento.OrNew()}, evento.ErrInvalid},
		{"another type by WithCommit", ex, "a", deposit, []evento.LoadOption{
			evento.WithCommit(func(b *evento.CommitBuilder) { b.Event(&renamed{}) }),
		}, evento.ErrInvalid},
		{"the store's", burning, "a", deposit, nil, errDisk},
	} {
		if r, err := balance.Update(t.Context(), test.ex, test.id, test.decide, test.opts...); !errors.Is(err, test.want) || r != (evento.Receipt{}) {
			t.Errorf("%s: %+v, %v, want %v", test.name, r, err, test.want)
		}
	}
	if n := len(events(t, ex)); n != 1 {
		t.Errorf("%d events are stored, want 1", n)
	}
}

// Every decision is on the newest state: no sum of withdrawals is more than
// there was.
func TestUpdateContention(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	const writers, each, money = 8, 25, 100
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}, MoneyDeposited{Amount: money}))
	var taken, refused, decided atomic.Int64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				_, err := balance.Update(t.Context(), ex, "a", func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
					decided.Add(1)
					if l.State.Cents < 1 {
						return nil, errPoor
					}
					return []evento.Payload{MoneyWithdrawn{Amount: 1}}, nil
				})
				switch {
				case err == nil:
					taken.Add(1)
				case errors.Is(err, errPoor):
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	l, err := balance.Load(t.Context(), ex, "a")
	if err != nil || l.State.Cents != 0 || taken.Load() != money || refused.Load() != writers*each-money {
		t.Errorf("%d taken, %d refused in %d decisions, %+v left, %v; want %d, %d and 0", taken.Load(), refused.Load(), decided.Load(), l, err, money, writers*each-money)
	}
}

func TestUpdateEndsWithContext(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tries := 0
	r, err := balance.Update(ctx, ex, "a", func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
		// Somebody else is always faster.
		commit(t, ex, evento.Aggregate("a").OriginalVersion(l.Version).Event(MoneyDeposited{}))
		if tries++; tries == 3 {
			cancel()
		}
		return []evento.Payload{MoneyWithdrawn{}}, nil
	})
	if !errors.Is(err, context.Canceled) || r != (evento.Receipt{}) || tries != 3 {
		t.Errorf("after %d tries: %+v, %v, want context.Canceled after 3", tries, r, err)
	}
}

// Answers that are lost are asked for again, and a decision is never stored
// twice.
func TestUpdateLostReplies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		losses int
		stored bool
		ok     bool
	}{
		{1, true, true}, {1, false, true},
		{3, true, true}, {3, false, true},
		{4, true, false}, {4, false, false},
	} {
		store := newStore(t)
		commit(t, store, evento.Aggregate("a").Event(AccountOpened{}))
		ex, attempts := lossy(store, test.losses, func(int) bool { return test.stored })
		decided := 0
		r, err := balance.Update(t.Context(), ex, "a", func(*evento.Loaded[Balance]) ([]evento.Payload, error) {
			decided++
			return []evento.Payload{MoneyDeposited{Amount: 1}}, nil
		})
		if test.ok && (err != nil || r.Version != 2) || !test.ok && !errors.Is(err, evento.ErrOutcomeUnknown) {
			t.Errorf("%+v: %+v, %v after %d attempts", test, r, err, *attempts)
		}
		want := 1
		if test.ok || test.stored {
			want = 2
		}
		if n := len(events(t, store)); n != want || decided != 1 {
			t.Errorf("%+v: %d events, %d decisions, want %d and 1", test, n, decided, want)
		}
	}
}

// The first answer was lost, nothing was stored, and meanwhile another writer
// came: the decision is made again.
func TestUpdateLostReplyThenConflict(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").Event(AccountOpened{}))
	ex, _ := lossy(store, 1, func(int) bool {
		commit(t, store, evento.Aggregate("a").OriginalVersion(1).Event(MoneyDeposited{Amount: 9}))
		return false
	})
	var saw []string
	r, err := balance.Update(t.Context(), ex, "a", func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
		saw = append(saw, fmt.Sprint(l.State.Cents))
		return []evento.Payload{MoneyWithdrawn{Amount: l.State.Cents}}, nil
	})
	if err != nil || r.Version != 3 || fmt.Sprint(saw) != "[0 9]" {
		t.Errorf("%+v, %v, decided on %s, want version 3, decided on 0 and then 9", r, err, saw)
	}
}
