package evento_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

const ownerType evento.AggregateType = "bank/Owner"

// renamed is a payload by pointer.
type renamed struct{ Name string }

func (*renamed) AggregateType() evento.AggregateType { return ownerType }
func (*renamed) EventName() string                   { return "Renamed" }

func TestCommitStoresEverything(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	cause := evento.RawEvent{ID: evento.NewID()}
	r := commit(t, ex, evento.Aggregate("a").
		Event(AccountOpened{Owner: "x"}).
		Event(MoneyDeposited{Amount: 1}, MoneyDeposited{Amount: 2}).
		RoutingKey("eu").
		MetadataFrom(evento.Metadata{ID: "request", Values: map[string]string{"from": "map"}}).
		Metadata("ip", "::1").
		RequestedBy("alice").
		RequestedAs("bob").
		CausedBy(cause))
	if want := (evento.Receipt{AggregateID: "a", Version: 3, Position: 3}); r != want {
		t.Errorf("receipt %+v, want %+v", r, want)
	}
	metadata := evento.Metadata{
		ID: "request", RequestedBy: "alice", RequestedAs: "bob",
		CausationID: cause.ID.String(), CorrelationID: cause.ID.String(),
		Values: map[string]string{"from": "map", "ip": "::1"},
	}
	stored := events(t, ex)
	if len(stored) != 3 {
		t.Fatalf("%d events stored, want 3", len(stored))
	}
	for i, e := range stored {
		want := evento.RawEvent{
			ID: e.ID, Position: uint64(i + 1), AggregateType: Account, AggregateID: "a", Version: uint64(i + 1),
			Name: []string{"AccountOpened", "MoneyDeposited", "MoneyDeposited"}[i], RoutingKey: "eu", Codec: "cbor",
			Data: e.Data, Metadata: metadata, Timestamp: e.Timestamp,
		}
		if !reflect.DeepEqual(e, want) {
			t.Errorf("event %d\n got %+v\nwant %+v", i, e, want)
		}
		if i > 0 && e.ID.Compare(stored[i-1].ID) <= 0 {
			t.Errorf("id %s of event %d is not above %s", e.ID, i, stored[i-1].ID)
		}
		var d MoneyDeposited
		if err := evento.CBOR().Unmarshal(e.Data, &d); err != nil || i > 0 && d.Amount != int64(i) {
			t.Errorf("event %d: payload %x is %+v, %v", i, e.Data, d, err)
		}
	}
}

func TestCommitMetadataIsItsOwn(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	values := map[string]string{"k": "v"}
	m := evento.Metadata{CorrelationID: "c", Values: values}
	b := evento.Aggregate("a").Event(AccountOpened{}).MetadataFrom(m).Metadata("more", "of it")
	values["k"] = "changed"
	if len(values) != 1 {
		t.Errorf("the builder wrote to the caller's map: %v", values)
	}
	commit(t, ex, b)
	want := map[string]string{"k": "v", "more": "of it"}
	first := events(t, ex)[0]
	if !maps.Equal(first.Metadata.Values, want) {
		t.Errorf("values %v, want %v", first.Metadata.Values, want)
	}
	// A chain keeps the correlation of its beginning.
	commit(t, ex, evento.Aggregate("b").Event(AccountOpened{}).CausedBy(first))
	second := events(t, ex)[1].Metadata
	if second.CorrelationID != "c" || second.CausationID != first.ID.String() {
		t.Errorf("caused by %s of correlation c: %+v", first.ID, second)
	}
	if m.IsZero() || !(evento.Metadata{}).IsZero() || !(evento.Metadata{Values: map[string]string{}}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestCommitVersions(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
	for _, test := range []struct {
		name     string
		b        *evento.CommitBuilder
		conflict *evento.ConflictError
		version  uint64
	}{
		{"new, but it is not", evento.Aggregate("a"), &evento.ConflictError{AggregateType: Account, AggregateID: "a", Expected: 0, Actual: 1}, 0},
		{"too high", evento.Aggregate("a").OriginalVersion(2), &evento.ConflictError{AggregateType: Account, AggregateID: "a", Expected: 2, Actual: 1}, 0},
		{"at 1, but it is new", evento.Aggregate("b").OriginalVersion(1), &evento.ConflictError{AggregateType: Account, AggregateID: "b", Expected: 1, Actual: 0}, 0},
		{"right", evento.Aggregate("a").OriginalVersion(1), nil, 2},
		{"any", evento.Aggregate("a").AnyVersion(), nil, 3},
		{"any, of a new one", evento.Aggregate("c").AnyVersion(), nil, 1},
		{"the last word counts", evento.Aggregate("a").OriginalVersion(1).AnyVersion(), nil, 4},
		{"the last word counts", evento.Aggregate("a").AnyVersion().OriginalVersion(3), &evento.ConflictError{AggregateType: Account, AggregateID: "a", Expected: 3, Actual: 4}, 0},
		{"new", evento.Aggregate("d").OriginalVersion(0), nil, 1},
	} {
		before := len(events(t, ex))
		r, err := test.b.Event(MoneyDeposited{}).Commit(t.Context(), ex)
		if test.conflict == nil {
			if err != nil || r.Version != test.version {
				t.Errorf("%s: %+v, %v, want version %d", test.name, r, err, test.version)
			}
			continue
		}
		var conflict *evento.ConflictError
		if !errors.Is(err, evento.ErrConflict) || !errors.As(err, &conflict) || *conflict != *test.conflict {
			t.Errorf("%s: %v, want %v", test.name, err, test.conflict)
		}
		if after := len(events(t, ex)); after != before || r != (evento.Receipt{}) {
			t.Errorf("%s: %d events were stored, with the receipt %+v", test.name, after-before, r)
		}
	}
}

func TestRoutingKeyIsTheFirstEvents(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("routed").Event(AccountOpened{}).RoutingKey("eu"))
	commit(t, ex, evento.Aggregate("routed").OriginalVersion(1).Event(MoneyDeposited{}).RoutingKey("us"))
	commit(t, ex, evento.Aggregate("routed").AnyVersion().Event(MoneyDeposited{}))
	commit(t, ex, evento.Aggregate("not").Event(AccountOpened{}))
	commit(t, ex, evento.Aggregate("not").OriginalVersion(1).Event(MoneyDeposited{}).RoutingKey("us"))
	for i, want := range []string{"eu", "eu", "eu", "", ""} {
		if e := events(t, ex)[i]; e.RoutingKey != want {
			t.Errorf("event %d of %s has the routing key %q, want %q", e.Version, e.AggregateID, e.RoutingKey, want)
		}
	}
}

func TestCommitAll(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
	receipts, err := evento.CommitAll(t.Context(), ex,
		evento.Aggregate("o").Event(&renamed{Name: "x"}, &renamed{Name: "y"}),
		evento.Aggregate("a").OriginalVersion(1).Event(MoneyDeposited{}),
		evento.Aggregate("b").AnyVersion().Event(AccountOpened{}).RequestedBy("b's"))
	want := []evento.Receipt{{AggregateID: "o", Version: 2, Position: 3}, {AggregateID: "a", Version: 2, Position: 4}, {AggregateID: "b", Version: 1, Position: 5}}
	if err != nil || !reflect.DeepEqual(receipts, want) {
		t.Errorf("receipts %+v, %v, want %+v", receipts, err, want)
	}
	if e := events(t, ex); e[3].Metadata.RequestedBy != "" || e[4].Metadata.RequestedBy != "b's" {
		t.Errorf("the metadata of one builder is on another's event: %+v, %+v", e[3], e[4])
	}
	for _, test := range []struct {
		name     string
		builders []*evento.CommitBuilder
		want     error
	}{
		{"nothing", nil, evento.ErrNoEvents},
		{"nil", []*evento.CommitBuilder{evento.Aggregate("n").Event(AccountOpened{}), nil}, evento.ErrInvalid},
		{"one without events", []*evento.CommitBuilder{evento.Aggregate("n").Event(AccountOpened{}), evento.Aggregate("m")}, evento.ErrNoEvents},
		{"one aggregate twice", []*evento.CommitBuilder{evento.Aggregate("n").Event(AccountOpened{}), evento.Aggregate("n").AnyVersion().Event(MoneyDeposited{})}, evento.ErrInvalid},
		{"one that conflicts", []*evento.CommitBuilder{evento.Aggregate("n").Event(AccountOpened{}), evento.Aggregate("a").Event(MoneyDeposited{})}, evento.ErrConflict},
		{"one that cannot be encoded", []*evento.CommitBuilder{evento.Aggregate("n").Event(AccountOpened{}), evento.Aggregate("m").Event(unwritable{})}, errUnwritable},
	} {
		if got, err := evento.CommitAll(t.Context(), ex, test.builders...); !errors.Is(err, test.want) || got != nil {
			t.Errorf("%s: %+v, %v, want %v", test.name, got, err, test.want)
		}
	}
	same := evento.Aggregate("n").Event(AccountOpened{})
	if _, err := evento.CommitAll(t.Context(), ex, same, same); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("one builder twice: %v, want ErrInvalid", err)
	}
	if n := len(events(t, ex)); n != 5 {
		t.Errorf("%d events are stored, want the 5 of before", n)
	}
}

var errUnwritable = errors.New("not to be written")

type unwritable struct{ AccountOpened }

func (unwritable) MarshalBinary() ([]byte, error) { return nil, errUnwritable }

func TestCommitErrorNamesTheEvent(t *testing.T) {
	t.Parallel()
	_, err := evento.Aggregate("a").Event(unwritable{}).Commit(t.Context(), newStore(t))
	if want := "evento: encoding bank/Account AccountOpened: not to be written"; fmt.Sprint(err) != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

// A builder stands for one commit: again is the same, and more is refused.
func TestCommitAgain(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*evento.CommitBuilder{
		"new":              evento.Aggregate("a").Event(MoneyDeposited{}, MoneyDeposited{}),
		"original version": evento.Aggregate("a").OriginalVersion(1).Event(MoneyDeposited{}, MoneyDeposited{}),
		"any version":      evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{}, MoneyDeposited{}),
	} {
		ex := newStore(t)
		if name == "original version" {
			commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
		}
		first := commit(t, ex, b)
		commit(t, ex, evento.Aggregate("a").AnyVersion().Event(MoneyWithdrawn{})) // somebody else's
		for range 2 {
			if again := commit(t, ex, b); again != first {
				t.Errorf("%s: committed again: %+v, want %+v", name, again, first)
			}
		}
		if n := len(events(t, ex)); n != int(first.Position)+1 {
			t.Errorf("%s: %d events are stored, want %d", name, n, first.Position+1)
		}
		if _, err := b.Event(MoneyWithdrawn{}).Commit(t.Context(), ex); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("%s: with an event added after the commit: %v, want ErrInvalid", name, err)
		}
	}
}

func TestCommitAgainAfterConflict(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
	b := evento.Aggregate("a").Event(MoneyDeposited{})
	if _, err := b.Commit(t.Context(), ex); !errors.Is(err, evento.ErrConflict) {
		t.Fatalf("%v, want ErrConflict", err)
	}
	if r := commit(t, ex, b.OriginalVersion(1)); r.Version != 2 {
		t.Errorf("at the right version: %+v", r)
	}
}

// lossy stores what it is given, or not, and never says so.
func lossy(ex evento.Executor, losses int, store func(attempt int) bool) (*hooked, *int) {
	attempts := 0
	return &hooked{Executor: ex, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
		attempts++
		if attempts > losses {
			return ex.Write(ctx, w)
		}
		if store(attempts) {
			if _, err := ex.Write(ctx, w); err != nil {
				return nil, err
			}
		}
		return nil, fmt.Errorf("%w: the line is dead", evento.ErrOutcomeUnknown)
	}}, &attempts
}

func TestCommitAgainSettlesUnknownOutcome(t *testing.T) {
	t.Parallel()
	for _, stored := range []bool{true, false} {
		for name, b := range map[string]*evento.CommitBuilder{
			"new":         evento.Aggregate("a").Event(AccountOpened{}),
			"any version": evento.Aggregate("a").AnyVersion().Event(AccountOpened{}),
		} {
			store := newStore(t)
			ex, _ := lossy(store, 2, func(int) bool { return stored })
			for range 2 {
				if _, err := b.Commit(t.Context(), ex); !errors.Is(err, evento.ErrOutcomeUnknown) {
					t.Fatalf("%s, stored %t: %v, want ErrOutcomeUnknown", name, stored, err)
				}
			}
			if r := commit(t, ex, b); r.Version != 1 || r.Position != 1 {
				t.Errorf("%s, stored %t: committed again: %+v, want version 1", name, stored, r)
			}
			if n := len(events(t, store)); n != 1 {
				t.Errorf("%s, stored %t: the event is there %d times", name, stored, n)
			}
		}
	}
	// Several aggregates are settled as one.
	store := newStore(t)
	ex, _ := lossy(store, 1, func(int) bool { return true })
	a, b := evento.Aggregate("a").AnyVersion().Event(AccountOpened{}), evento.Aggregate("b").Event(AccountOpened{})
	if _, err := evento.CommitAll(t.Context(), ex, a, b); !errors.Is(err, evento.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	receipts, err := evento.CommitAll(t.Context(), ex, a, b)
	want := []evento.Receipt{{AggregateID: "a", Version: 1, Position: 1}, {AggregateID: "b", Version: 1, Position: 2}}
	if err != nil || !reflect.DeepEqual(receipts, want) || len(events(t, store)) != 2 {
		t.Errorf("two aggregates again: %+v, %v, want %+v and 2 events in all", receipts, err, want)
	}
}

// While a store fails, a commit that it may have stored stays one of unknown outcome: a plain error
// would say that nothing is there.
func TestCommitStaysUnknown(t *testing.T) {
	t.Parallel()
	errDown := errors.New("connection refused")
	for name, b := range map[string]*evento.CommitBuilder{
		"plain":         evento.Aggregate("a").AnyVersion().Event(AccountOpened{}),
		"with deadline": evento.Aggregate("a").AnyVersion().Event(AccountOpened{}).Deadline("d", time.Now().Add(time.Hour), reminded{}),
	} {
		store, attempts := newStore(t), 0
		ex := &hooked{Executor: store, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
			switch attempts++; attempts {
			case 1, 4:
				return nil, errDown
			case 2:
				return nil, errors.Join(evento.ErrOutcomeUnknown, only(store.Write(ctx, w)))
			case 3:
				return nil, context.DeadlineExceeded
			}
			return store.Write(ctx, w)
		}}
		if _, err := b.Commit(t.Context(), ex); !errors.Is(err, errDown) || errors.Is(err, evento.ErrOutcomeUnknown) {
			t.Errorf("%s: the first attempt: %v", name, err)
		}
		for _, want := range []error{evento.ErrOutcomeUnknown, context.DeadlineExceeded, errDown} {
			if _, err := b.Commit(t.Context(), ex); !errors.Is(err, want) || !errors.Is(err, evento.ErrOutcomeUnknown) || strings.Count(err.Error(), "evento:") != 1 {
				t.Errorf("%s: attempt %d: %v, want %v of unknown outcome", name, attempts, err, want)
			}
		}
		if r := commit(t, ex, b); r.Version != 1 || len(events(t, store)) != 1 {
			t.Errorf("%s: the last attempt: %+v", name, r)
		}
	}
}

func TestCommitContext(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := evento.Aggregate("a").Event(AccountOpened{})
	if _, err := b.Commit(ctx, ex); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	if n := len(events(t, ex)); n != 0 {
		t.Errorf("with an ended context %d events were stored", n)
	}
	if r := commit(t, ex, b); r.Version != 1 {
		t.Errorf("committed again: %+v", r)
	}
}

func TestCreateMakesNewIDs(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	one, two := commit(t, ex, evento.Create().Event(AccountOpened{})), commit(t, ex, evento.Create().Event(AccountOpened{}))
	if one.AggregateID >= two.AggregateID || len(one.AggregateID) != 26 {
		t.Errorf("created %q, then %q, want two rising ULIDs", one.AggregateID, two.AggregateID)
	}
}

// An event added after an attempt that another builder spoilt must not be
// dropped in silence.
func TestEventAddedAfterSpoiltAttempt(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	b := evento.Aggregate("a").Event(AccountOpened{})
	if _, err := evento.CommitAll(t.Context(), ex, b, evento.Aggregate("empty")); !errors.Is(err, evento.ErrNoEvents) {
		t.Fatal(err)
	}
	r, err := b.Event(MoneyDeposited{}).Commit(t.Context(), ex)
	if n := len(events(t, ex)); err != nil || r.Version != 2 || n != 2 {
		t.Errorf("%+v, %v, %d events stored, want both", r, err, n)
	}
}

// An answer was lost, and the builder given the version that was found since:
// what it stored is found by its ids.
func TestCommitAgainAtAnotherVersion(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").Event(AccountOpened{}))
	ex, _ := lossy(store, 1, func(int) bool { return true })
	b := evento.Aggregate("a").OriginalVersion(1).Event(MoneyDeposited{})
	if _, err := b.Commit(t.Context(), ex); !errors.Is(err, evento.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	r, err := b.OriginalVersion(2).Commit(t.Context(), ex)
	if n := len(events(t, store)); err != nil || r.Version != 2 || n != 2 {
		t.Errorf("%+v, %v, and %d events, want the first receipt, of version 2, and no third event", r, err, n)
	}
}
