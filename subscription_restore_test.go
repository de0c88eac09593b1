package evento_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/routed"
)

// restored returns another store with the first n events of one, and all of its records. The
// cursors in them are of the first store, as when the restored store was given a new
// identity, or of this one, as when it has lost its last events.
func restored(t *testing.T, ex *memory.Executor, n uint64, newIdentity bool) *memory.Executor {
	t.Helper()
	ctx, other := t.Context(), newStore(t)
	var events []evento.RawEvent
	cursors := []string{}
	for e, err := range evento.Events(ctx, ex, evento.Query{}) {
		noErr(t, err)
		if e.Position <= n {
			events = append(events, e)
		}
		from, err := ex.CursorAt(e.Position)
		noErr(t, err)
		to, err := other.CursorAt(e.Position)
		noErr(t, err)
		cursors = append(cursors, string(from), string(to))
	}
	noErr(t, other.Import(ctx, events))
	identity := strings.NewReplacer(cursors...)
	if newIdentity {
		identity = strings.NewReplacer()
	}
	for _, kind := range []string{"subscription", "parked"} {
		page, err := ex.Records(ctx, evento.RecordQuery{Kind: kind})
		noErr(t, err)
		for _, r := range page.Records {
			noErr(t, other.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: r.RecordKey, Value: []byte(identity.Replace(string(r.Value)))}}}))
		}
	}
	return other
}

// clerk notes what it handles, with an R for a replay, and fails at aggregate x.
type clerk struct {
	got   list[string]
	fails bool
}

func (c *clerk) builder() *evento.SubscriptionBuilder {
	return evento.NewSubscription("s").AcceptFailure().Retry(0).Logger(silent).Partitions(2).Handler(
		evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
			if c.fails && e.AggregateID == "x" {
				return errPoor
			}
			text := fmt.Sprint(e.AggregateID, e.Version)
			if evento.DeliveryFrom(ctx).Replay {
				text += "R"
			}
			c.got.add(text)
			return nil
		}))
}

func (c *clerk) take() []string {
	got := c.got.all()
	c.got = list[string]{}
	slices.Sort(got)
	return got
}

// handledStore is a store with events of which a subscription has handled or parked the
// first six.
func handledStore(t *testing.T, c *clerk) *memory.Executor {
	t.Helper()
	ex := newStore(t)
	deposits(t, ex, "a", 2)
	deposits(t, ex, "x", 2)
	deposits(t, ex, "b", 2)
	c.fails = true
	noErr(t, c.builder().Execute(t.Context(), ex))
	c.fails = false
	want(t, "handled before", c.take(), "a1", "a2", "b1", "b2")
	deposits(t, ex, "a", 2)
	return ex
}

// After a restore the store has a new identity. Each partition goes on where it was.
func TestResetToStored(t *testing.T) {
	t.Parallel()
	ctx, c := t.Context(), &clerk{}
	ex := restored(t, handledStore(t, c), 8, true)
	control := evento.ControlOf(ex, "s")
	if err := c.builder().Execute(ctx, ex); !errors.Is(err, cursor.ErrForeign) {
		t.Fatalf("with its cursors of before: %v, want ErrForeign", err)
	}
	if _, err := control.Status(ctx); !errors.Is(err, cursor.ErrForeign) {
		t.Fatalf("Status: %v, want ErrForeign", err)
	}
	noErr(t, control.ResetToStored(ctx))
	s, err := control.Status(ctx)
	if err != nil || s.Position != 6 || s.Behind != 2 || s.Parked != 2 || s.Changed.What != "ResetToStored" {
		t.Errorf("status %+v, %v, want position 6 and 2 pending", s, err)
	}
	noErr(t, c.builder().Execute(ctx, ex))
	want(t, "handled", c.take(), "a3", "a4")
	noErr(t, control.RetryParked(ctx, evento.AllParked()))
	noErr(t, c.builder().Execute(ctx, ex))
	want(t, "retried", c.take(), "x1", "x2")

	// Again it changes nothing.
	before, err := control.Status(ctx)
	noErr(t, err)
	noErr(t, control.ResetToStored(ctx))
	after, err := control.Status(ctx)
	noErr(t, err)
	if after.Changed != before.Changed || after.Partitions[0].Epoch != before.Partitions[0].Epoch {
		t.Errorf("of its own cursors: %+v, want %+v", after, before)
	}
	// What it had handled before the restore is a replay, and nothing behind it.
	noErr(t, control.ResetToPosition(ctx, 5))
	noErr(t, c.builder().Execute(ctx, ex))
	want(t, "handled again", c.take(), "a3R", "a4R", "b2R")
}

// The places of before a reset are kept too.
func TestResetToStoredAfterReset(t *testing.T) {
	t.Parallel()
	ctx, c := t.Context(), &clerk{}
	first := handledStore(t, c)
	noErr(t, evento.ControlOf(first, "s").ResetToPosition(ctx, 5))
	ex := restored(t, first, 8, true)
	noErr(t, evento.ControlOf(ex, "s").ResetToStored(ctx))
	noErr(t, c.builder().Execute(ctx, ex))
	want(t, "handled", c.take(), "a3", "a4", "b2R")
}

func TestResetToStoredErrors(t *testing.T) {
	t.Parallel()
	ctx, c := t.Context(), &clerk{}
	ex := newStore(t)
	if err := evento.ControlOf(ex, "s").ResetToStored(ctx); !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("of one that was never started: %v, want ErrNotFound", err)
	}
	members := group.New(newStore(t), newStore(t))
	deposits(t, members, "a", 2)
	noErr(t, c.builder().Execute(ctx, members))
	if err := evento.ControlOf(members, "s").ResetToStored(ctx); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of a group: %v, want ErrUnsupported", err)
	}
	deposits(t, ex, "a", 2)
	noErr(t, c.builder().Execute(ctx, ex))
	key := evento.RecordKey{Kind: "subscription", Key: "s", Part: "0000"}
	noErr(t, ex.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: key, Revision: revisionOf(t, ex, key), Value: []byte(`{"cursor":"nothing"}`)}}}))
	if err := evento.ControlOf(ex, "s").ResetToStored(ctx); !errors.Is(err, cursor.ErrMalformed) {
		t.Errorf("of a text that is no cursor: %v, want ErrMalformed", err)
	}
}

// A record that the library has not written is damaged: to make the best of it could begin
// the subscription anew.
func TestRecordsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"null", "[]", `"cursor"`, "0", `{"cursor":"","stranger":1}`, `{"cursor":""}{}`, ""} {
		for _, part := range []string{"", "0000"} {
			ex := newStore(t)
			deposits(t, ex, "a", 2)
			calls := 0
			b := evento.NewSubscription("s").Logger(silent).Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error { calls++; return nil }))
			noErr(t, b.Execute(t.Context(), ex))
			key := evento.RecordKey{Kind: "subscription", Key: "s", Part: part}
			noErr(t, ex.Swap(t.Context(), evento.Swap{Changes: []evento.Change{{RecordKey: key, Revision: revisionOf(t, ex, key), Value: []byte(text)}}}))
			if err := b.Execute(t.Context(), ex); !errors.Is(err, evento.ErrDamaged) || calls != 2 {
				t.Errorf("part %q is %s: %v after %d calls, want ErrDamaged after 2", part, text, err, calls)
			}
		}
	}
}

func revisionOf(t *testing.T, ex evento.Executor, key evento.RecordKey) uint64 {
	t.Helper()
	page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: key.Kind, Key: key.Key})
	noErr(t, err)
	for _, r := range page.Records {
		if r.RecordKey == key {
			return r.Revision
		}
	}
	t.Fatalf("no record %+v", key)
	return 0
}

// A store has lost its last events, and others take their positions: these are no replay,
// though the subscription was further once.
func TestResetAfterLoss(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reset func(*evento.Control) error
		want  []string
	}{
		"to a position": {func(c *evento.Control) error { return c.ResetToPosition(t.Context(), 1) }, []string{"a2R", "n1", "n2", "n3", "n4"}},
		"to the start":  {func(c *evento.Control) error { return c.ResetToStart(t.Context()) }, []string{"a1R", "a2R", "n1", "n2", "n3", "n4"}},
		"to stored":     {func(c *evento.Control) error { return c.ResetToStored(t.Context()) }, []string{"n1", "n2", "n3", "n4"}},
	} {
		for _, again := range []bool{false, true} { // the subscription was reset before the loss
			c := &clerk{}
			ctx, first := t.Context(), handledStore(t, c)
			noErr(t, c.builder().Execute(ctx, first))
			noErr(t, evento.ControlOf(first, "s").DropParked(ctx, evento.AllParked()))
			c.take()
			if again {
				noErr(t, evento.ControlOf(first, "s").ResetToPosition(ctx, 7))
			}
			ex := restored(t, first, 2, false)
			if err := c.builder().Execute(ctx, ex); !errors.Is(err, cursor.ErrBeyondHead) {
				t.Fatalf("%s: with lost events: %v, want ErrBeyondHead", name, err)
			}
			noErr(t, test.reset(evento.ControlOf(ex, "s")))
			deposits(t, ex, "n", 4)
			noErr(t, c.builder().Execute(ctx, ex))
			want(t, name, c.take(), test.want...)
		}
	}
}

// States that are kept are listed again.
func TestKeptStatesAfterRestore(t *testing.T) {
	t.Parallel()
	for name, reset := range map[string]func(*evento.Control) error{
		"to stored":    func(c *evento.Control) error { return c.ResetToStored(t.Context()) },
		"to the start": func(c *evento.Control) error { return c.ResetToStart(t.Context()) },
	} {
		for _, newIdentity := range []bool{true, false} {
			ctx, first := t.Context(), newStore(t)
			deposits(t, first, "a", 2)
			deposits(t, first, "b", 2)
			noErr(t, balance.Keep("kept").Execute(ctx, first))
			ex := restored(t, first, 3, newIdentity)
			noErr(t, reset(evento.ControlOf(ex, "kept")))
			deposits(t, ex, "b", 1)
			deposits(t, ex, "a", 1)
			noErr(t, balance.Keep("kept").Execute(ctx, ex))
			var got []string
			for s, err := range balance.States(ctx, ex) {
				if err != nil {
					t.Errorf("%s, new identity %t: %v", name, newIdentity, err)
					break
				}
				got = append(got, fmt.Sprint(s.ID, s.Version))
			}
			want(t, name, got, "a3", "b2")
		}
	}
}

// A subscription goes on in a store to which the events were moved.
func TestStartAfter(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := &clerk{}
	ex := newStore(t)
	deposits(t, ex, "a", 4)
	noErr(t, c.builder().StartAfter(2).Execute(ctx, ex))
	want(t, "behind position 2", c.take(), "a3", "a4")
	noErr(t, c.builder().StartAfter(0).Execute(ctx, ex)) // it is known
	want(t, "again", c.take())
	for position, handled := range map[uint64][]string{0: {"a1", "a2", "a3", "a4", "a5"}, 3: {"a4", "a5"}, 4: {"a5"}} {
		c, ex := &clerk{}, newStore(t)
		deposits(t, ex, "a", 4)
		noErr(t, c.builder().StartAfter(position).Execute(ctx, ex))
		deposits(t, ex, "a", 1)
		noErr(t, c.builder().Execute(ctx, ex))
		want(t, fmt.Sprint("behind position ", position), c.take(), handled...)
	}
	for _, test := range []struct {
		position uint64
		deposits int
		text     string
	}{
		{9, 0, `evento: subscription "s": invalid StartAfter(9): the last event has position 0`},
		{5, 4, `evento: subscription "s": invalid StartAfter(5): the last event has position 4`},
		{1 << 63, 4, `evento: subscription "s": invalid StartAfter(9223372036854775808): the last event has position 4`},
		{math.MaxUint64, 4, `evento: subscription "s": invalid StartAfter(18446744073709551615): the last event has position 4`},
	} {
		c, ex := &clerk{}, newStore(t)
		if test.deposits > 0 {
			deposits(t, ex, "a", test.deposits)
		}
		_, err := c.builder().StartAfter(test.position).Start(ctx, ex)
		if !errors.Is(err, evento.ErrInvalid) || err.Error() != test.text {
			t.Errorf("behind position %d of %d: %v, want ErrInvalid: %s", test.position, test.deposits, err, test.text)
		}
		if _, err := evento.ControlOf(ex, "s").Status(ctx); !errors.Is(err, evento.ErrNotFound) {
			t.Errorf("behind position %d of %d: the subscription is known: %v", test.position, test.deposits, err)
		}
	}
	members := group.New(newStore(t), newStore(t))
	if err := c.builder().StartAfter(2).Execute(ctx, members); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of a group: %v, want ErrUnsupported", err)
	}
}

// A tenant's events may end before a position that its store has reached.
func TestStartAfterOfTenant(t *testing.T) {
	t.Parallel()
	ctx, c, ex := t.Context(), &clerk{}, newStore(t)
	acme, err := routed.New(ex, "acme")
	noErr(t, err)
	deposits(t, acme, "a", 1)
	deposits(t, ex, "other", 2)
	noErr(t, c.builder().StartAfter(3).Execute(ctx, acme))
	deposits(t, acme, "a", 1)
	noErr(t, c.builder().Execute(ctx, acme))
	want(t, "behind position 3 of the store", c.take(), "a2")
}
