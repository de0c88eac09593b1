package evento_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

// An account is looked at as it was at each of its versions.
func ExampleProjection_Versions() {
	ctx := context.Background()
	ex := memory.New(nil)
	opened, err := evento.Create().Event(AccountOpened{Owner: "Alice"}, MoneyDeposited{Amount: 500}, MoneyWithdrawn{Amount: 120}, MoneyDeposited{Amount: 60}).Commit(ctx, ex)
	if err != nil {
		log.Fatal(err)
	}
	for account, err := range balance.Versions(ctx, ex, opened.AggregateID, 2, 4) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("version", account.Version, "has", account.State.Cents)
	}
	// Output:
	// version 2 has 500
	// version 3 has 380
	// version 4 has 440
}

// filled is a store whose account "a" has n events, with others between.
func filled(t *testing.T, n int) evento.Executor {
	t.Helper()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{Owner: "Ann"}))
	for i := 2; i <= n; i++ {
		commit(t, ex, evento.Aggregate("b").AnyVersion().Event(MoneyDeposited{Amount: 1000}))
		commit(t, ex, evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{Amount: int64(i)}))
	}
	return ex
}

// versionsOf collects the states of a range, and the error at its end.
func versionsOf[V any](t *testing.T, p *evento.Projection[V], ex evento.Executor, id string, from, to uint64, opts ...evento.LoadOption) (states []*evento.Loaded[V], err error) {
	t.Helper()
	for l, failed := range p.Versions(t.Context(), ex, id, from, to, opts...) {
		if err != nil {
			t.Errorf("%v is yielded behind the error %v", l, err)
		}
		if err = failed; err == nil {
			states = append(states, l)
		}
	}
	return states, err
}

// Each state is what a load of its version gives, with snapshots and without, and
// those that were yielded before stay as they were.
func TestVersions(t *testing.T) {
	t.Parallel()
	const n = 12
	ex := filled(t, n)
	for _, every := range []uint64{0, 5} {
		p := logging(fmt.Sprint("log", every)).SnapshotEvery(every)
		if _, err := p.Load(t.Context(), ex, "a"); err != nil {
			t.Fatal(err)
		}
		commit(t, ex, evento.Aggregate("a").AnyVersion().Event(MoneyWithdrawn{Amount: 1}, MoneyWithdrawn{Amount: 2}))
		for _, r := range [][2]uint64{{1, 1}, {1, n}, {5, 9}, {n, n + 1}, {n + 1, n + 2}, {n + 2, math.MaxUint64}, {1, math.MaxUint64}} {
			states, err := versionsOf(t, p, ex, "a", r[0], r[1])
			if err != nil {
				t.Errorf("%d to %d: %v", r[0], r[1], err)
			}
			last, err := p.Load(t.Context(), ex, "a")
			noErr(t, err)
			if want := min(r[1], last.Version) - r[0] + 1; uint64(len(states)) != want {
				t.Errorf("%d to %d: %d states, want %d", r[0], r[1], len(states), want)
			}
			for i, l := range states {
				want, err := p.Load(t.Context(), ex, "a", evento.AtVersion(r[0]+uint64(i)))
				if err != nil {
					t.Fatal(err)
				}
				wantLoaded(t, fmt.Sprintf("every %d, %d to %d, state %d", every, r[0], r[1], i), l, nil, want.Version, want.Position, want.State.Lines...)
			}
		}
	}
}

// The events are read once, from a snapshot that is older than the range, and nothing is stored.
func TestVersionsReadOnce(t *testing.T) {
	t.Parallel()
	ex := filled(t, 40)
	p := logging("log").SnapshotEvery(10)
	if _, err := p.Load(t.Context(), ex, "a"); err != nil {
		t.Fatal(err)
	}
	commit(t, ex, evento.Aggregate("a").AnyVersion().Event(MoneyWithdrawn{Amount: 1}, MoneyWithdrawn{Amount: 2}, MoneyWithdrawn{Amount: 3}))
	for _, test := range []struct {
		from uint64
		read int
	}{{41, 4}, {42, 4}, {40, 43}, {1, 43}} {
		read := 0
		counting := tapped(ex)
		counting.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			page, err := ex.Read(ctx, q, args)
			if err == nil {
				read += len(page.Edges)
			}
			return page, err
		}
		if _, err := versionsOf(t, p, counting, "a", test.from, 43); err != nil {
			t.Errorf("from %d: %v", test.from, err)
		}
		if read != test.read || len(counting.saved) > 0 {
			t.Errorf("from %d: %d events are read, %d snapshots saved; want %d, none", test.from, read, len(counting.saved), test.read)
		}
	}
}

// A snapshot that does not fit the events is not used, and no version comes twice.
func TestVersionsOfAnotherSnapshot(t *testing.T) {
	t.Parallel()
	old := filled(t, 12)
	p := logging("log").SnapshotEvery(1)
	if _, err := p.Load(t.Context(), old, "a"); err != nil {
		t.Fatal(err)
	}
	ex := filled(t, 14)
	restored := &hooked{Executor: ex, snapshot: old.Snapshot}
	states, err := versionsOf(t, p, restored, "a", 13, 14)
	if err != nil || len(states) != 2 || len(states[1].State.Lines) != 14 {
		t.Errorf("%v, %v; want versions 13 and 14", states, err)
	}
}

// A state that changes in place is the same one each time, and V may be any type.
func TestVersionsInPlace(t *testing.T) {
	t.Parallel()
	type hidden struct{ amounts []int64 }
	p := evento.NewProjection[hidden]("hidden", Account).Handler(evento.Apply(func(h *hidden, e evento.Event[MoneyDeposited]) error {
		h.amounts = append(h.amounts, e.Data.Amount)
		return nil
	}))
	ex := filled(t, 5)
	if _, err := versionsOf(t, p, ex, "a", 1, 5); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "amounts") || !strings.Contains(err.Error(), "InPlace") {
		t.Errorf("copies of a state with an unexported field: %v, want ErrInvalid that names it", err)
	}
	states, err := versionsOf(t, p, ex, "a", 3, 5, evento.InPlace())
	if err != nil || len(states) != 3 || states[0] != states[2] || !slices.Equal(states[0].State.amounts, []int64{2, 3, 4, 5}) {
		t.Errorf("in place: %v, %v", states, err)
	}
}

// The events of related aggregates are applied up to the last version.
func TestVersionsRelated(t *testing.T) {
	t.Parallel()
	ex := filled(t, 4)
	states, err := versionsOf(t, logging("log"), ex, "a", 2, 3, evento.Related(Account, "b"))
	if err != nil || len(states) != 2 {
		t.Fatalf("%v, %v; want two states", states, err)
	}
	wantLoaded(t, "version 2", states[0], nil, 2, 3, "a/1 Ann", "b/1 1000", "a/2 2")
	wantLoaded(t, "version 3", states[1], nil, 3, 5, "a/1 Ann", "b/1 1000", "a/2 2", "b/2 1000", "a/3 3")
}

// Errors come last, behind the states before them.
func TestVersionsErrors(t *testing.T) {
	t.Parallel()
	ex := filled(t, 5)
	commit(t, ex, evento.Aggregate("a").AnyVersion().Event(MoneyWithdrawn{Amount: 1}))
	failing := evento.NewProjection[eventLog]("failing", Account).Handler(evento.Apply(logOpened),
		evento.Apply(func(l *eventLog, e evento.Event[MoneyDeposited]) error {
			if e.Version == 4 {
				return errPoor
			}
			return logDeposit(l, e)
		}))
	deleting := evento.NewProjection[eventLog]("deleting", Account).Handler(evento.Apply(logOpened), evento.Apply(logDeposit)).Tombstone(MoneyWithdrawn{})
	for what, test := range map[string]struct {
		p        *evento.Projection[eventLog]
		id       string
		from, to uint64
		opts     []evento.LoadOption
		states   int
		want     error
	}{
		"a handler's error":            {failing, "a", 2, 6, nil, 2, errPoor},
		"a handler's error, not there": {failing, "a", 2, 3, nil, 2, nil},
		"a tombstone":                  {deleting, "a", 4, 6, nil, 2, evento.ErrDeleted},
		"before a tombstone":           {deleting, "a", 4, 5, nil, 2, nil},
		"no aggregate":                 {logging("l"), "none", 1, 5, nil, 0, evento.ErrNotFound},
		"behind the last version":      {logging("l"), "a", 7, 9, nil, 0, evento.ErrNotFound},
		"from 0":                       {logging("l"), "a", 0, 9, nil, 0, evento.ErrInvalid},
		"backward":                     {logging("l"), "a", 3, 2, nil, 0, evento.ErrInvalid},
		"no id":                        {logging("l"), "", 1, 2, nil, 0, evento.ErrInvalid},
		"AtVersion":                    {logging("l"), "a", 1, 2, []evento.LoadOption{evento.AtVersion(1)}, 0, evento.ErrInvalid},
		"OrNew":                        {logging("l"), "a", 1, 2, []evento.LoadOption{evento.OrNew()}, 0, evento.ErrInvalid},
		"a mistake in the projection":  {logging(""), "a", 1, 2, nil, 0, evento.ErrInvalid},
	} {
		states, err := versionsOf(t, test.p, ex, test.id, test.from, test.to, test.opts...)
		if len(states) != test.states || !errors.Is(err, test.want) {
			t.Errorf("%s: %d states, %v; want %d, %v", what, len(states), err, test.states, test.want)
		}
	}
}

// Breaking off ends it.
func TestVersionsBreak(t *testing.T) {
	t.Parallel()
	ex := filled(t, 9)
	n := 0
	for l, err := range balance.Versions(t.Context(), ex, "a", 2, 9) {
		if noErr(t, err); l.Version == 4 {
			break
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d states before the break, want 2", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for l, err := range balance.Versions(ctx, ex, "a", 2, 9) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v after the context's end", l, err)
		}
	}
}
