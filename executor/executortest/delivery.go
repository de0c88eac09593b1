// What subscriptions promise, on the store.

package executortest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testDelivery(t *testing.T, c Config) {
	c.run(t, "RoutingKeys", deliveryRoutingKeys)
	c.run(t, "Selection", deliverySelection)
	c.run(t, "Pending", deliveryPending)
	c.run(t, "StartAt", deliveryStartAt)
	c.run(t, "OwnHandler", deliveryOwnHandler)
	c.run(t, "ResetWhileExecuting", deliveryResetWhileExecuting)
	c.run(t, "HandOver", deliveryHandOver)
	c.run(t, "Fenced", deliveryFenced)
	c.run(t, "ChangedData", deliveryChangedData)
	c.run(t, "GivenUp", deliveryGivenUp)
	c.run(t, "PoisonInBatch", deliveryPoisonInBatch)
	c.run(t, "Repartition", deliveryRepartition)
	c.run(t, "Positions", deliveryPositions)
	c.run(t, "Damaged", deliveryDamaged)
	c.run(t, "Causes", deliveryCauses)
	c.run(t, "Run", deliveryRun)
}

// silent is for subscriptions whose handlers fail on purpose.
var silent = slog.New(slog.DiscardHandler)

// ignoring handles things by doing nothing.
var ignoring = evento.HandleAll(thing, func(context.Context, evento.RawEvent) error { return nil })

// noting handles the events of a type by noting aggregate and version.
func noting(got *[]string) evento.SubscriptionHandler {
	return evento.HandleAll(thing, func(_ context.Context, e evento.RawEvent) error {
		*got = append(*got, e.AggregateID+fmt.Sprint(e.Version))
		return nil
	})
}

func wantTexts(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// wantBehind checks how many events a subscription has still to handle, and
// returns its status.
func wantBehind(ctx context.Context, t testing.TB, control *evento.Control, n uint64) *evento.Status {
	t.Helper()
	s, err := control.Status(ctx)
	must(t, err)
	if s.Behind != n {
		t.Errorf("status: got %+v, want %d events behind", *s, n)
	}
	return s
}

// transactional is how handlers can run on the store: false, not in
// transactions, and true, in them.
func (c Config) transactional() []bool {
	if c.Transactor {
		return []bool{false, true}
	}
	return []bool{false}
}

// runOnce executes a subscription, whose handler runs in transactions or not.
func runOnce(ctx context.Context, ex evento.Executor, b *evento.SubscriptionBuilder, transactional bool) error {
	if transactional {
		b.Transactional()
	}
	return b.Execute(ctx, ex)
}

// A key with two routing keys, and without, is three subscriptions.
func deliveryRoutingKeys(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for range 2 {
		commit(ctx, t, ex, routed("eu", toAny("a", "Happened")), routed("us", toAny("b", "Happened")), toAny("c", "Happened"))
	}
	control := func(key string) *evento.Control { return evento.ControlOf(ex, "key").RoutingKey(key) }
	for _, tt := range []struct{ key, id string }{{"", "c"}, {"us", "b"}, {"eu", "a"}} {
		for _, want := range [][]string{{tt.id + "1", tt.id + "2"}, nil} {
			var got []string
			b := evento.NewSubscription("key").Handler(noting(&got))
			if tt.key != "" {
				b.RoutingKey(tt.key)
			}
			must(t, b.Execute(ctx, ex))
			wantTexts(t, fmt.Sprintf("routing key %q", tt.key), got, want...)
		}
		must(t, control(tt.key).ResetToStart(ctx))
		if s := wantBehind(ctx, t, control(tt.key), 2); s.RoutingKey != tt.key {
			t.Errorf("routing key %q: status %+v", tt.key, s)
		}
	}
	var names []string
	for name, err := range evento.Subscriptions(ctx, ex) {
		must(t, err)
		names = append(names, name.Key+" "+name.RoutingKey)
	}
	slices.Sort(names)
	wantTexts(t, "subscriptions", names, "key ", "key eu", "key us")
	must(t, control("eu").Remove(ctx))
	wantError(t, discard(control("eu").Status(ctx)), evento.ErrNotFound, "one that was removed")
	wantBehind(ctx, t, control(""), 2)
	wantBehind(ctx, t, control("us"), 2)
}

// Another selection of a key is refused; Reselect changes it, and says what is
// passed over.
func deliverySelection(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, routed("eu", toAny("a", "Happened")), toAny("b", "Happened", "Happened"))
	var got []string
	b := func() *evento.SubscriptionBuilder { return evento.NewSubscription("key").Handler(noting(&got)) }
	must(t, b().Execute(ctx, ex))
	wantTexts(t, "without a routing key", got, "b1", "b2")
	for _, other := range []*evento.SubscriptionBuilder{b().All(), b().Aggregate(thing, "a"), b().All().Aggregate(thing, "b")} {
		wantError(t, other.Execute(ctx, ex), evento.ErrInvalid, "Execute with another selection")
		wantError(t, discard(other.Start(ctx, ex)), evento.ErrInvalid, "Start with another selection")
	}
	passed, err := evento.ControlOf(ex, "key").Reselect(ctx, b().All())
	if err != nil || passed != 1 {
		t.Errorf("Reselect: passed over %d, %v, want 1", passed, err)
	}
	commit(ctx, t, ex, toAny("a", "Happened"))
	got = nil
	must(t, b().All().Execute(ctx, ex))
	wantTexts(t, "reselected", got, "a2")
	// More handlers are no other selection.
	got = nil
	aside := toAny("c", "Happened")
	aside.AggregateType = other
	commit(ctx, t, ex, aside)
	more := evento.HandleAll(other, func(_ context.Context, e evento.RawEvent) error {
		got = append(got, e.AggregateID)
		return nil
	})
	must(t, b().All().Handler(more).Execute(ctx, ex))
	wantTexts(t, "with one handler more", got, "c")
}

// Status and WaitFor go by what the subscription selects.
func deliveryPending(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for _, partitions := range []int{1, 4} {
		key := fmt.Sprint("key", partitions)
		b := evento.NewSubscription(key).Partitions(partitions).Logger(silent).Handler(ignoring)
		commit(ctx, t, ex, toAny(key, "Happened"))
		must(t, b.Execute(ctx, ex))
		control := evento.ControlOf(ex, key)
		wantPending := func(n uint64) {
			t.Helper()
			if s := wantBehind(ctx, t, control, n); (s.Lag > 0) != (n > 0) {
				t.Errorf("%d partitions: a lag of %s with %d events behind", partitions, s.Lag, n)
			}
		}
		wantPending(0)
		// Nothing of what comes is the subscription's.
		aside := toAny("aside"+key, many(3, "Happened")...)
		aside.AggregateType = other
		commit(ctx, t, ex, aside, routed("eu", toAny("left"+key, "Happened")))
		wantPending(0)
		head := last(ctx, t, ex)
		must(t, control.WaitForCursor(ctx, head))
		commit(ctx, t, ex, toAny(key, "Happened"), toAny(key+"b", "Happened"))
		time.Sleep(time.Millisecond) // a lag that is rounded down is more than 0
		wantPending(2)
		at := last(ctx, t, ex)
		must(t, control.WaitForCursor(ctx, head)) // which has not changed
		early, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		wantError(t, control.WaitForCursor(early, at), context.DeadlineExceeded, "%d partitions: WaitForCursor with events pending", partitions)
		cancel()
		sub, err := b.Start(ctx, ex)
		must(t, err)
		must(t, control.WaitForCursor(ctx, at))
		wantPending(0)
		must(t, sub.Shutdown(ctx))
	}
}

// A new key begins at the end or at a time, when it is told to; one that was used
// goes on.
func deliveryStartAt(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", "Happened", "Happened"))
	var log []edge
	var at time.Time
	for len(log) == 0 || !at.After(log[1].Node.Timestamp) { // the clock of the store has to have moved on
		commit(ctx, t, ex, toAny("b", "Happened"))
		log = readAll(ctx, t, ex, evento.Query{})
		at = log[len(log)-1].Node.Timestamp
	}
	late := slices.DeleteFunc(slices.Clone(log), func(e edge) bool { return e.Node.Timestamp.Before(at) })
	run := func(what string, b *evento.SubscriptionBuilder, want, wantReplayed int) {
		t.Helper()
		got, replayed := 0, 0
		must(t, b.Handler(evento.HandleAll(thing, func(ctx context.Context, _ evento.RawEvent) error {
			if got++; evento.DeliveryFrom(ctx).Replay {
				replayed++
			}
			return nil
		})).Execute(ctx, ex))
		if got != want || wantReplayed >= 0 && replayed != wantReplayed {
			t.Errorf("%s: %d events, %d replayed, want %d and %d", what, got, replayed, want, wantReplayed)
		}
	}
	run("from the end", evento.NewSubscription("end").StartAtEnd(), 0, -1)
	run("from a time", evento.NewSubscription("time").StartAt(at), len(late), -1)
	commit(ctx, t, ex, toAny("c", "Happened"))
	run("one that began at the end", evento.NewSubscription("end").StartAtEnd(), 1, 0)
	run("one that began at a time", evento.NewSubscription("time").StartAt(at.Add(time.Hour)), 1, 0)
	must(t, evento.ControlOf(ex, "end").ResetToStart(ctx))
	commit(ctx, t, ex, toAny("d", "Happened"))
	run("after a reset", evento.NewSubscription("end"), len(log)+2, len(log)+1)
}

// A handler may pause and reset its own subscription; the event in hand counts as
// handled.
func deliveryOwnHandler(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", many(4, "Happened")...))
	for _, transactional := range c.transactional() {
		key := fmt.Sprint("key", transactional)
		control := evento.ControlOf(ex, key)
		var got []uint64
		execute := func() error {
			b := evento.NewSubscription(key).ChunkSize(1).Retry(2).Logger(silent).Handler(evento.HandleAll(thing, func(ctx context.Context, e evento.RawEvent) error {
				switch got = append(got, e.Version); len(got) {
				case 2:
					return control.Pause(ctx)
				case 4:
					return control.ResetToStart(ctx)
				}
				return nil
			}))
			return runOnce(ctx, ex, b, transactional)
		}
		for range 2 { // the second time, the key is paused
			wantError(t, execute(), evento.ErrPaused, "transactional %t", transactional)
			if !slices.Equal(got, []uint64{1, 2}) {
				t.Fatalf("transactional %t: handled %v, want 1 and 2", transactional, got)
			}
		}
		must(t, control.Resume(ctx))
		must(t, execute())
		if want := []uint64{1, 2, 3, 4, 1, 2, 3, 4}; !slices.Equal(got, want) {
			t.Errorf("transactional %t: handled %v, want %v", transactional, got, want)
		}
	}
	// Shutdown with the handler's context does not wait for itself.
	var sub *evento.Subscription
	started := make(chan struct{})
	sub, err := evento.NewSubscription("stops").Handler(evento.HandleAll(thing, func(ctx context.Context, _ evento.RawEvent) error {
		<-started
		return sub.Shutdown(ctx)
	})).Start(ctx, ex)
	must(t, err)
	close(started)
	await(ctx, t, sub.Done(), "the end of a subscription that its handler shuts down")
	must(t, sub.Err())
	wantBehind(ctx, t, evento.ControlOf(ex, "stops"), 3)
}

func deliveryResetWhileExecuting(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", many(5, "Happened")...))
	ways := c.transactional()
	if c.OneWriter { // whose transaction keeps the reset waiting
		ways = ways[:1]
	}
	for _, at := range []uint64{1, 3, 5} {
		for _, transactional := range ways {
			key := fmt.Sprint("key", at, transactional)
			var got []uint64
			done := false
			b := evento.NewSubscription(key).Handler(evento.HandleAll(thing, func(_ context.Context, e evento.RawEvent) error {
				got = append(got, e.Version)
				if e.Version == at && !done {
					done = true
					return evento.ControlOf(ex, key).ResetToStart(ctx) // by somebody else, hence not with its context
				}
				return nil
			}))
			must(t, runOnce(ctx, ex, b, transactional))
			if n := len(got); n < 5 || !slices.Equal(got[n-5:], []uint64{1, 2, 3, 4, 5}) {
				t.Errorf("reset within event %d, transactional %t: handled %v, want all of them at the end", at, transactional, got)
			}
			wantBehind(ctx, t, evento.ControlOf(ex, key), 0)
		}
	}
}

// The newer worker waits until the older one has finished the event in hand, and
// goes on exactly behind it.
func deliveryHandOver(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", many(6, "Happened")...))
	var working atomic.Int32
	var d delivered
	inHand, goOn := make(chan struct{}), make(chan struct{})
	start := func(name string, ex evento.Executor) *evento.Subscription {
		s, err := evento.NewSubscription("key").Lease(time.Minute).Logger(silent).Handler(evento.HandleAll(thing, func(ctx context.Context, e evento.RawEvent) error {
			if working.Add(1) > 1 {
				t.Error("two workers handle events at once")
			}
			defer working.Add(-1)
			if name == "older" && e.Version == 3 {
				close(inHand)
				<-goOn
			}
			return errors.Join(d.add(ctx, e), ctx.Err())
		})).Start(ctx, ex)
		must(t, err)
		return s
	}
	older := start("older", ex)
	<-inHand
	newer := start("newer", c.another(t, ex))
	for asked := false; !asked; { // until the owner is asked to go
		asked = slices.ContainsFunc(readRecords(ctx, t, ex, evento.RecordQuery{Kind: "subscription", Key: "key"}), func(r evento.Record) bool {
			return bytes.Contains(r.Value, []byte(newer.ID.String()))
		})
	}
	close(goOn)
	d.wait(ctx, t, 6)
	wantTakenOver(ctx, t, older)
	must(t, newer.Shutdown(ctx))
	d.want(t, "both", readAll(ctx, t, ex, evento.Query{}))
}

// An owner that does not answer within its lease is fenced off, and what its
// handler is about to do is cut short.
func deliveryFenced(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", many(2, "Happened")...))
	var d delivered
	inHand, cut := make(chan struct{}), make(chan struct{})
	older, err := evento.NewSubscription("key").Lease(200*time.Millisecond).Logger(silent).Handler(evento.HandleAll(thing, func(ctx context.Context, _ evento.RawEvent) error {
		close(inHand)
		<-ctx.Done()
		close(cut)
		return nil
	})).Start(ctx, ex)
	must(t, err)
	<-inHand
	newer, err := evento.NewSubscription("key").Logger(silent).Handler(evento.HandleAll(thing, d.add)).Start(ctx, c.another(t, ex))
	must(t, err)
	d.wait(ctx, t, 2)
	await(ctx, t, cut, "the end of the context of the fenced handler")
	wantTakenOver(ctx, t, older)
	must(t, newer.Shutdown(ctx))
	d.want(t, "the newer worker", readAll(ctx, t, ex, evento.Query{}))
}

// What a handler does with what it was given does not change what comes next.
func deliveryChangedData(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	for i := range 5 {
		commit(ctx, t, ex, toAny(fmt.Sprint("a", i), "Happened"))
	}
	stored := byID(readAll(ctx, t, ex, evento.Query{}))
	for _, transactional := range c.transactional() {
		for _, partitions := range []int{1, 2} {
			for _, batch := range []bool{false, true} {
				key := fmt.Sprint("key", transactional, partitions, batch)
				handled := new(atomic.Int32)
				b := evento.NewSubscription(key).Retry(20).Partitions(partitions).Logger(silent).Handler(scribbling(t, stored, batch, handled))
				must(t, runOnce(ctx, ex, b, transactional))
				must(t, evento.ControlOf(ex, key).ResetToStart(ctx))
				must(t, b.Execute(ctx, ex))
				// In a transaction that is rolled back some were handled in vain.
				if n := handled.Load(); n != 10 && (!transactional || n < 10) {
					t.Errorf("%s: handled %d events in two rounds, want 10", key, n)
				}
			}
		}
	}
}

// scribbling handles things by writing over them, each time after it has
// compared them with what is stored. Every third call succeeds.
func scribbling(t testing.TB, stored map[evento.ID]evento.RawEvent, batch bool, handled *atomic.Int32) evento.SubscriptionHandler {
	var calls atomic.Int32
	scribble := func(es []evento.RawEvent) error {
		for _, e := range es {
			if diff := differ(e, stored[e.ID]); diff != "" {
				t.Errorf("a handler was given another event than is stored: %s", diff)
			}
		}
		for i := range es {
			clear(es[i].Data)
			es[i].Data = append(es[i].Data, "beyond"...)
		}
		if calls.Add(1)%3 != 0 {
			slices.Reverse(es)
			clear(es[:len(es)/2])
			return errors.New("not yet")
		}
		handled.Add(int32(len(es)))
		return nil
	}
	if batch {
		return evento.HandleAllBatch(thing, func(_ context.Context, es []evento.RawEvent) error { return scribble(es) })
	}
	return evento.HandleAll(thing, func(_ context.Context, e evento.RawEvent) error { return scribble([]evento.RawEvent{e}) })
}

// What is told of an event that was given up is the event, whatever its handler has
// done with it.
func deliveryGivenUp(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", "Happened"))
	log := readAll(ctx, t, ex, evento.Query{})
	var told evento.RawEvent
	err := evento.NewSubscription("key").Retry(1).Logger(silent).Hooks(evento.SubscriptionHooks{
		GaveUp: func(_ context.Context, _ string, e evento.RawEvent, _ int, _ error) { told = e },
	}).Handler(evento.HandleAll(thing, func(_ context.Context, e evento.RawEvent) error {
		clear(e.Data)
		return errors.New("poison")
	})).Execute(ctx, ex)
	var h *evento.HandlerError
	if !errors.As(err, &h) {
		t.Fatalf("Execute: %v, want a HandlerError", err)
	}
	for what, e := range map[string]evento.RawEvent{"the error": h.Event, "the hook": told} {
		if diff := differ(e, log[0].Node); diff != "" {
			t.Errorf("%s tells of another event: %s", what, diff)
		}
	}
}

// The one event of a batch that cannot be handled is found and parked, and all
// others are handled.
func deliveryPoisonInBatch(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	for i := range 20 {
		commit(ctx, t, ex, toAny(fmt.Sprint("a", i%10), "Happened"))
	}
	for _, transactional := range c.transactional() {
		key := fmt.Sprint("key", transactional)
		calls, handled := 0, map[string]int{}
		b := evento.NewSubscription(key).Retry(1).AcceptFailure().Logger(silent).Handler(evento.HandleAllBatch(thing, func(_ context.Context, es []evento.RawEvent) error {
			calls++
			if slices.ContainsFunc(es, func(e evento.RawEvent) bool { return e.AggregateID == "a3" }) {
				return errors.New("poison")
			}
			for _, e := range es {
				handled[e.AggregateID]++
			}
			return nil
		}))
		must(t, runOnce(ctx, ex, b, transactional))
		if len(handled) != 9 || calls > 40 {
			t.Errorf("transactional %t: %d aggregates were handled in %d calls, want 9 in a few: %v", transactional, len(handled), calls, handled)
		}
		if s := wantBehind(ctx, t, evento.ControlOf(ex, key), 0); s.Parked != 2 {
			t.Errorf("transactional %t: status %+v, want 2 events parked", transactional, s)
		}
	}
}

// Whatever places the partitions have, nothing is left out.
func deliveryRepartition(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const aggregates = 40
	var mu sync.Mutex
	handled := map[string]uint64{}
	b := func(n int, fails func(evento.RawEvent) bool) *evento.SubscriptionBuilder {
		return evento.NewSubscription("key").Partitions(n).ChunkSize(3).Retry(0).Logger(silent).Handler(evento.HandleAll(thing, func(_ context.Context, e evento.RawEvent) error {
			mu.Lock()
			defer mu.Unlock()
			if fails(e) {
				return errors.New("not now")
			}
			if v := handled[e.AggregateID]; e.Version > v+1 {
				t.Errorf("%s: version %d came after version %d", e.AggregateID, e.Version, v)
			}
			handled[e.AggregateID] = max(handled[e.AggregateID], e.Version)
			return nil
		}))
	}
	for round, n := range []int{8, 3, 1, 5} {
		if round > 0 {
			must(t, evento.ControlOf(ex, "key").Repartition(ctx, n))
		}
		for i := range aggregates {
			commit(ctx, t, ex, toAny(fmt.Sprint("a", i), "Happened"))
		}
		// The partitions stop at different places.
		_ = b(n, func(e evento.RawEvent) bool { return e.Version == uint64(round+1) && e.AggregateID > "a2" }).Execute(ctx, ex)
	}
	must(t, b(5, func(evento.RawEvent) bool { return false }).Execute(ctx, ex))
	for i := range aggregates {
		if id := fmt.Sprint("a", i); handled[id] != 4 {
			t.Errorf("of %s %d events were handled, want 4", id, handled[id])
		}
	}
}

// Where positions say nothing, calls that take one say so.
func deliveryPositions(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", many(5, "Happened")...))
	log := readAll(ctx, t, ex, evento.Query{})
	control := evento.ControlOf(ex, "key")
	execute := func(what string, want ...string) {
		t.Helper()
		var got []string
		must(t, evento.NewSubscription("key").Handler(noting(&got)).Execute(ctx, ex))
		wantTexts(t, what, got, want...)
	}
	execute("at first", "a1", "a2", "a3", "a4", "a5")
	if _, err := ex.CursorAt(1); errors.Is(err, errors.ErrUnsupported) {
		wantError(t, control.ResetToPosition(ctx, 3), errors.ErrUnsupported, "ResetToPosition")
		wantError(t, evento.WaitFor(ctx, ex, "key", 3), errors.ErrUnsupported, "WaitFor")
	} else {
		must(t, control.ResetToPosition(ctx, log[2].Node.Position))
		execute("reset to a position", "a4", "a5")
		must(t, evento.WaitFor(ctx, ex, "key", log[4].Node.Position))
	}
	must(t, control.ResetToCursor(ctx, log[1].Cursor))
	execute("reset to a cursor", "a3", "a4", "a5")
	must(t, control.WaitForCursor(ctx, log[4].Cursor))
	wantError(t, control.ResetToCursor(ctx, "nonsense"), cursor.ErrInvalid, "reset to nonsense")
}

// A record that is not what the library writes is an error that names it.
func deliveryDamaged(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", "Happened"))
	for part, values := range map[string][]string{
		"": {
			`{"partitions":-1}`, `{"partitions":0}`, `{}`, `{"partitions":1000000000}`,
			`{"partitions":9223372036854775807}`, `{"partitions":1e400}`, `{"partitions":"1"}`,
			``, `null`, `[]`, "\x00\xff", `{"partitions":2}`,
			`{"partitions":1,"aggregates":{"":[""]}}`, `{"partitions":1,"events":{"a\n":null}}`,
		},
		"0000": {
			``, `{"epoch":-1}`, `{"lease_ms":-5}`, `{"lease_ms":9223372036854775807}`,
			`{"epoch":18446744073709551615}`, `{"cursor":7}`, `{"cursor":"","position":5}`,
		},
		"0001": {`{}`}, "-1": {`{}`}, "who knows": {`{}`},
	} {
		for _, value := range values {
			damaged(ctx, t, ex, evento.RecordKey{Kind: "subscription", Key: "key", Part: part}, value)
		}
	}
}

// damaged makes a subscription, puts a value that it does not write into one of
// its records, and looks for the error. It leaves no records.
func damaged(ctx context.Context, t testing.TB, ex evento.Executor, key evento.RecordKey, value string) {
	t.Helper()
	b := evento.NewSubscription("key").Logger(silent).Handler(ignoring)
	must(t, b.Execute(ctx, ex))
	swap(ctx, t, ex, set(key, readRecord(ctx, t, ex, key).Revision, value))
	control := evento.ControlOf(ex, "key")
	for what, err := range map[string]error{
		"Status": discard(control.Status(ctx)), "Start": discard(b.Start(ctx, ex)), "Execute": b.Execute(ctx, ex),
		"Pause": control.Pause(ctx), "WaitFor": control.WaitForCursor(ctx, ""),
	} {
		if !errors.Is(err, evento.ErrDamaged) || !strings.Contains(fmt.Sprint(err), `"key"`) {
			t.Errorf("record %q %q: %s: %v, want ErrDamaged and the key", key.Part, value, what, err)
		}
	}
	for name, err := range evento.Subscriptions(ctx, ex) {
		if err != nil || name.Key != "key" {
			t.Errorf("record %q %q: listed as %v, %v", key.Part, value, name, err)
		}
	}
	var all []evento.Change
	for _, r := range readRecords(ctx, t, ex, evento.RecordQuery{Kind: "subscription"}) {
		all = append(all, unset(r.RecordKey, r.Revision))
	}
	swap(ctx, t, ex, all...)
}

// What a handler commits is caused by its event, unless it says otherwise.
func deliveryCauses(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	must(t, discard(evento.Aggregate("one").Event(opened{Owner: "x"}).MetadataFrom(evento.Metadata{CorrelationID: "request"}).Commit(ctx, ex)))
	must(t, discard(evento.Aggregate("two").Event(opened{Owner: "y"}).Commit(ctx, ex)))
	own := evento.Metadata{CausationID: "own", CorrelationID: "mine"}
	for _, transactional := range c.transactional() {
		key := fmt.Sprint("key", transactional)
		b := evento.NewSubscription(key).Handler(evento.Handle(func(ctx context.Context, e evento.Event[opened]) error {
			caused := evento.Aggregate(key + e.AggregateID).AnyVersion().Event(deposited{Amount: 1})
			if err := discard(caused.Commit(ctx, evento.ExecutorFrom(ctx))); err != nil {
				return err
			}
			said := evento.Aggregate(key + e.AggregateID).AnyVersion().MetadataFrom(own).Event(deposited{Amount: 2})
			return discard(said.Commit(ctx, evento.ExecutorFrom(ctx)))
		}))
		must(t, runOnce(ctx, ex, b, transactional))
		for _, id := range []string{"one", "two"} {
			cause := readAll(ctx, t, ex, filtered(evento.ByID(account, id)))[0].Node
			correlation := cmp.Or(cause.Metadata.CorrelationID, cause.ID.String())
			got := readAll(ctx, t, ex, filtered(evento.ByID(account, key+id)))
			if len(got) != 2 {
				t.Fatalf("%s of %s: %d events, want 2", key, id, len(got))
			}
			if m := got[0].Node.Metadata; m.CausationID != cause.ID.String() || m.CorrelationID != correlation {
				t.Errorf("%s of %s: caused by %q, correlation %q, want %q, %q", key, id, m.CausationID, m.CorrelationID, cause.ID, correlation)
			}
			if m := got[1].Node.Metadata; m.CausationID != own.CausationID || m.CorrelationID != own.CorrelationID {
				t.Errorf("%s of %s: what was set became %+v", key, id, m)
			}
		}
	}
}

// Run runs several, and ends with the context, or with the first that fails.
func deliveryRun(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", many(3, "Happened")...))
	var one, two delivered
	running, stop := context.WithCancel(ctx)
	defer stop()
	concurrently(t, goroutines{1, func(t testing.TB, _ int) {
		must(t, evento.Run(running, ex, // ends without an error, with its context
			evento.NewSubscription("one").Handler(evento.HandleEvery(one.add)),
			evento.NewSubscription("two").All().Handler(evento.HandleEvery(two.add))))
	}}, goroutines{1, func(t testing.TB, _ int) {
		one.wait(ctx, t, 3)
		two.wait(ctx, t, 3)
		stop()
	}})
	poison := errors.New("poison")
	err := evento.Run(ctx, ex,
		evento.NewSubscription("one").Handler(evento.HandleEvery(one.add)),
		evento.NewSubscription("three").Retry(0).Logger(silent).Handler(evento.HandleEvery(func(context.Context, evento.RawEvent) error { return poison })))
	wantError(t, err, poison, "Run with one that fails")
	for _, key := range []string{"one", "two"} {
		if s := wantBehind(ctx, t, evento.ControlOf(ex, key), 0); s.Partitions[0].Owner != "" {
			t.Errorf("%s: %+v, want no owner", key, s)
		}
	}
}
