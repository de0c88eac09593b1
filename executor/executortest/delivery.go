// What subscriptions promise, on the store.

package executortest

import (
	"bytes"
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

// A key with two routing keys, and without, is three subscriptions.
func deliveryRoutingKeys(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for range 2 {
		commit(ctx, t, ex, routed("eu", toAny("a", "Happened")), routed("us", toAny("b", "Happened")), toAny("c", "Happened"))
	}
	var names []string
	for _, key := range []string{"", "us", "eu"} {
		b := func(got *[]string) *evento.SubscriptionBuilder {
			b := evento.NewSubscription("key").Handler(noting(got))
			if key != "" {
				b.RoutingKey(key)
			}
			return b
		}
		id := map[string]string{"": "c", "us": "b", "eu": "a"}[key]
		for _, want := range [][]string{{id + "1", id + "2"}, nil} {
			var got []string
			must(t, b(&got).Execute(ctx, ex))
			wantTexts(t, fmt.Sprintf("routing key %q", key), got, want...)
		}
		control := evento.ControlOf(ex, "key")
		if key != "" {
			control = control.RoutingKey(key)
		}
		must(t, control.ResetToStart(ctx))
		if s, err := control.Status(ctx); err != nil || s.RoutingKey != key || s.Behind != 2 {
			t.Errorf("routing key %q: status %+v, %v, want 2 events behind", key, s, err)
		}
	}
	for name, err := range evento.Subscriptions(ctx, ex) {
		must(t, err)
		names = append(names, name.Key+" "+name.RoutingKey)
	}
	slices.Sort(names)
	wantTexts(t, "subscriptions", names, "key ", "key eu", "key us")
	must(t, evento.ControlOf(ex, "key").RoutingKey("eu").Remove(ctx))
	wantError(t, discard(evento.ControlOf(ex, "key").RoutingKey("eu").Status(ctx)), evento.ErrNotFound, "one that was removed")
	for _, control := range []*evento.Control{evento.ControlOf(ex, "key"), evento.ControlOf(ex, "key").RoutingKey("us")} {
		if s, err := control.Status(ctx); err != nil || s.Behind != 2 {
			t.Errorf("beside one that was removed: %+v, %v", s, err)
		}
	}
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
		b := evento.NewSubscription(key).Partitions(partitions).Handler(evento.HandleAll(thing, func(context.Context, evento.RawEvent) error { return nil }))
		commit(ctx, t, ex, toAny(key, "Happened"))
		must(t, b.Execute(ctx, ex))
		control := evento.ControlOf(ex, key)
		wantBehind := func(n uint64) {
			t.Helper()
			s, err := control.Status(ctx)
			if err != nil || s.Behind != n || (s.Lag > 0) != (n > 0) {
				t.Errorf("%d partitions: %d behind, lag %s, %v, want %d", partitions, s.Behind, s.Lag, err, n)
			}
		}
		wantBehind(0)
		// Nothing of what comes is the subscription's.
		aside := toAny("aside"+key, many(3, "Happened")...)
		aside.AggregateType = other
		commit(ctx, t, ex, aside, routed("eu", toAny("left"+key, "Happened")))
		wantBehind(0)
		head := read(ctx, t, ex, evento.Query{}, cursor.Backward(1, "")).PageInfo.EndCursor
		must(t, control.WaitForCursor(ctx, head))
		commit(ctx, t, ex, toAny(key, "Happened"), toAny(key+"b", "Happened"))
		time.Sleep(time.Millisecond) // a lag that is rounded down is more than 0
		wantBehind(2)
		at := read(ctx, t, ex, evento.Query{}, cursor.Backward(1, "")).PageInfo.EndCursor
		must(t, control.WaitForCursor(ctx, head)) // which has not changed
		early, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		if err := control.WaitForCursor(early, at); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d partitions: WaitForCursor with events pending: %v, want its context's error", partitions, err)
		}
		cancel()
		sub, err := b.Logger(silent).Start(ctx, ex)
		must(t, err)
		must(t, control.WaitForCursor(ctx, at))
		wantBehind(0)
		must(t, sub.Shutdown(ctx))
	}
}

// A new key begins at the end or at a time, when it is told to; one that was used
// goes on.
func deliveryStartAt(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", "Happened", "Happened"))
	for {
		// The clock of the store has to have moved on.
		commit(ctx, t, ex, toAny("b", "Happened"))
		log := readAll(ctx, t, ex, evento.Query{})
		if log[len(log)-1].Node.Timestamp.After(log[1].Node.Timestamp) {
			break
		}
	}
	log := readAll(ctx, t, ex, evento.Query{})
	run := func(b *evento.SubscriptionBuilder) (got, replayed int) {
		t.Helper()
		must(t, b.Handler(evento.HandleAll(thing, func(ctx context.Context, _ evento.RawEvent) error {
			if got++; evento.DeliveryFrom(ctx).Replay {
				replayed++
			}
			return nil
		})).Execute(ctx, ex))
		return got, replayed
	}
	at := log[len(log)-1].Node.Timestamp
	late := 0
	for _, e := range log {
		if !e.Node.Timestamp.Before(at) {
			late++
		}
	}
	if n, _ := run(evento.NewSubscription("end").StartAtEnd()); n != 0 {
		t.Errorf("from the end: %d events, want none", n)
	}
	if n, _ := run(evento.NewSubscription("time").StartAt(at)); n != late {
		t.Errorf("from %s: %d events, want %d", at, n, late)
	}
	commit(ctx, t, ex, toAny("c", "Happened"))
	for _, b := range []*evento.SubscriptionBuilder{evento.NewSubscription("end").StartAtEnd(), evento.NewSubscription("time").StartAt(at.Add(time.Hour))} {
		if n, replayed := run(b); n != 1 || replayed != 0 {
			t.Errorf("one that was used: %d events, %d replayed, want one that is new", n, replayed)
		}
	}
	must(t, evento.ControlOf(ex, "end").ResetToStart(ctx))
	commit(ctx, t, ex, toAny("d", "Happened"))
	if n, replayed := run(evento.NewSubscription("end")); n != len(log)+2 || replayed != len(log)+1 {
		t.Errorf("after a reset: %d events, %d replayed, want %d and all but the last", n, replayed, len(log)+2)
	}
}

// A handler may pause and reset its own subscription; the event in hand counts as
// handled.
func deliveryOwnHandler(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", many(4, "Happened")...))
	for _, transactional := range []bool{false, true} {
		if transactional && !c.Transactor {
			continue
		}
		key := fmt.Sprint("key", transactional)
		control := evento.ControlOf(ex, key)
		var got []uint64
		resets := 0
		execute := func() error {
			b := evento.NewSubscription(key).ChunkSize(1).Retry(2).Logger(silent).Handler(evento.HandleAll(thing, func(ctx context.Context, e evento.RawEvent) error {
				got = append(got, e.Version)
				switch {
				case e.Version == 2 && len(got) == 2:
					return control.Pause(ctx)
				case e.Version == 4 && resets < 1:
					resets++
					return control.ResetToStart(ctx)
				}
				return nil
			}))
			if transactional {
				b.Transactional()
			}
			return b.Execute(ctx, ex)
		}
		if err := execute(); !errors.Is(err, evento.ErrPaused) || !slices.Equal(got, []uint64{1, 2}) {
			t.Fatalf("transactional %t: handled %v, then %v, want 1 and 2, then ErrPaused", transactional, got, err)
		}
		if err := execute(); !errors.Is(err, evento.ErrPaused) || len(got) != 2 {
			t.Errorf("transactional %t: Execute of a paused key: %v, handled %v, want ErrPaused", transactional, err, got)
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
	if s, err := evento.ControlOf(ex, "stops").Status(ctx); err != nil || s.Behind != 3 || sub.Err() != nil {
		t.Errorf("shut down by its handler: %+v, %v, ended with %v, want one event handled", s, err, sub.Err())
	}
}

func deliveryResetWhileExecuting(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", many(5, "Happened")...))
	for _, at := range []uint64{1, 3, 5} {
		for _, transactional := range []bool{false, true} {
			// A transaction of a store with one writer keeps the reset waiting.
			if transactional && (!c.Transactor || c.OneWriter) {
				continue
			}
			key := fmt.Sprint("key", at, transactional)
			var got []uint64
			done := false
			b := evento.NewSubscription(key).Handler(evento.HandleAll(thing, func(handling context.Context, e evento.RawEvent) error {
				got = append(got, e.Version)
				if e.Version == at && !done {
					done = true
					return evento.ControlOf(ex, key).ResetToStart(ctx) // by somebody else, hence not with its context
				}
				return nil
			}))
			if transactional {
				b.Transactional()
			}
			must(t, b.Execute(ctx, ex))
			if n := len(got); n < 5 || !slices.Equal(got[n-5:], []uint64{1, 2, 3, 4, 5}) {
				t.Errorf("reset within event %d, transactional %t: handled %v, want all of them at the end", at, transactional, got)
			}
			if s, err := evento.ControlOf(ex, key).Status(ctx); err != nil || s.Behind != 0 {
				t.Errorf("reset within event %d, transactional %t: %d behind, %v", at, transactional, s.Behind, err)
			}
		}
	}
}

// The newer worker waits until the older one has finished the event in hand, and
// goes on exactly behind it.
func deliveryHandOver(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	second := c.another(t, ex)
	commit(ctx, t, ex, toAny("a", many(6, "Happened")...))
	var working atomic.Int32
	var d delivered
	inHand, goOn := make(chan struct{}), make(chan struct{})
	b := func(name string) *evento.SubscriptionBuilder {
		return evento.NewSubscription("key").Lease(time.Minute).Logger(silent).Handler(evento.HandleAll(thing, func(ctx context.Context, e evento.RawEvent) error {
			if working.Add(1) > 1 {
				t.Error("two workers handle events at once")
			}
			defer working.Add(-1)
			if name == "older" && e.Version == 3 {
				close(inHand)
				<-goOn
			}
			return errors.Join(d.add(ctx, e), ctx.Err())
		}))
	}
	older, err := b("older").Start(ctx, ex)
	must(t, err)
	<-inHand
	newer, err := b("newer").Start(ctx, second)
	must(t, err)
	for { // until the owner is asked
		page, err := ex.Records(ctx, evento.RecordQuery{Kind: "subscription", Key: "key"})
		must(t, err)
		if slices.ContainsFunc(page.Records, func(r evento.Record) bool { return bytes.Contains(r.Value, []byte(newer.ID.String())) }) {
			break
		}
	}
	close(goOn)
	d.wait(ctx, t, 6)
	await(ctx, t, older.Done(), "the end of the older worker")
	if err := older.Err(); !errors.Is(err, evento.ErrTakenOver) {
		t.Errorf("the older worker ended with %v, want ErrTakenOver", err)
	}
	must(t, newer.Shutdown(ctx))
	d.want(t, "both", readAll(ctx, t, ex, evento.Query{}))
}

// An owner that does not answer within its lease is fenced off, and what its
// handler is about to do is cut short.
func deliveryFenced(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	second := c.another(t, ex)
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
	newer, err := evento.NewSubscription("key").Logger(silent).Handler(evento.HandleAll(thing, d.add)).Start(ctx, second)
	must(t, err)
	d.wait(ctx, t, 2)
	await(ctx, t, cut, "the end of the context of the fenced handler")
	<-older.Done()
	if err := older.Err(); !errors.Is(err, evento.ErrTakenOver) {
		t.Errorf("the older worker ended with %v, want ErrTakenOver", err)
	}
	must(t, newer.Shutdown(ctx))
	d.want(t, "the newer worker", readAll(ctx, t, ex, evento.Query{}))
}

// What a handler does with what it was given does not change what comes next.
func deliveryChangedData(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	for i := range 5 {
		commit(ctx, t, ex, toAny(fmt.Sprint("a", i), "Happened"))
	}
	log := readAll(ctx, t, ex, evento.Query{})
	same := func(what string, es []evento.RawEvent) {
		t.Helper()
		for _, e := range es {
			i := slices.IndexFunc(log, func(l edge) bool { return l.Node.ID == e.ID })
			if i < 0 {
				t.Fatalf("%s: was given an event that is not there: %+v", what, e)
			}
			if diff := differ(e, log[i].Node); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
		}
	}
	for _, transactional := range []bool{false, true} {
		if transactional && !c.Transactor {
			continue
		}
		for _, partitions := range []int{1, 2} {
			for _, batch := range []bool{false, true} {
				key := fmt.Sprint("key", transactional, partitions, batch)
				var calls, handled atomic.Int32
				one := func(es []evento.RawEvent) error {
					same(key, es)
					n := calls.Add(1)
					for i := range es {
						clear(es[i].Data)
						es[i].Data = append(es[i].Data, "beyond"...)
					}
					if n%3 != 0 {
						slices.Reverse(es)
						clear(es[:len(es)/2])
						return errors.New("not yet")
					}
					handled.Add(int32(len(es)))
					return nil
				}
				h := evento.HandleAll(thing, func(_ context.Context, e evento.RawEvent) error { return one([]evento.RawEvent{e}) })
				if batch {
					h = evento.HandleAllBatch(thing, func(_ context.Context, es []evento.RawEvent) error { return one(es) })
				}
				b := evento.NewSubscription(key).Retry(20).Partitions(partitions).Logger(silent).Handler(h)
				if transactional {
					b.Transactional()
				}
				must(t, b.Execute(ctx, ex))
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
	for _, transactional := range []bool{false, true} {
		if transactional && !c.Transactor {
			continue
		}
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
		if transactional {
			b.Transactional()
		}
		must(t, b.Execute(ctx, ex))
		if len(handled) != 9 || calls > 40 {
			t.Errorf("transactional %t: %d aggregates were handled in %d calls, want 9 in a few: %v", transactional, len(handled), calls, handled)
		}
		if s, err := evento.ControlOf(ex, key).Status(ctx); err != nil || s.Parked != 2 || s.Behind != 0 {
			t.Errorf("transactional %t: status %+v, %v, want 2 events parked", transactional, s, err)
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
	var got []string
	b := evento.NewSubscription("key").Handler(noting(&got))
	must(t, b.Execute(ctx, ex))
	control := evento.ControlOf(ex, "key")
	got = nil
	if _, err := ex.CursorAt(1); errors.Is(err, errors.ErrUnsupported) {
		wantError(t, control.ResetToPosition(ctx, 3), errors.ErrUnsupported, "ResetToPosition")
		wantError(t, evento.WaitFor(ctx, ex, "key", 3), errors.ErrUnsupported, "WaitFor")
	} else {
		must(t, control.ResetToPosition(ctx, log[2].Node.Position))
		must(t, b.Execute(ctx, ex))
		wantTexts(t, "reset to a position", got, "a4", "a5")
		must(t, evento.WaitFor(ctx, ex, "key", log[4].Node.Position))
	}
	got = nil
	must(t, control.ResetToCursor(ctx, log[1].Cursor))
	must(t, b.Execute(ctx, ex))
	wantTexts(t, "reset to a cursor", got, "a3", "a4", "a5")
	must(t, control.WaitForCursor(ctx, log[4].Cursor))
	wantError(t, control.ResetToCursor(ctx, "nonsense"), cursor.ErrInvalid, "reset to nonsense")
}

// A record that is not what the library writes is an error that names it.
func deliveryDamaged(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, toAny("a", "Happened"))
	shared := evento.RecordKey{Kind: "subscription", Key: "key"}
	partition := evento.RecordKey{Kind: "subscription", Key: "key", Part: "0000"}
	for _, tt := range []struct {
		key   evento.RecordKey
		value string
	}{
		{shared, `{"partitions":-1}`}, {shared, `{"partitions":0}`}, {shared, `{}`}, {shared, `{"partitions":1000000000}`},
		{shared, `{"partitions":9223372036854775807}`}, {shared, `{"partitions":1e400}`}, {shared, `{"partitions":"1"}`},
		{shared, ``}, {shared, `null`}, {shared, `[]`}, {shared, "\x00\xff"}, {shared, `{"partitions":2}`},
		{shared, `{"partitions":1,"aggregates":{"":[""]}}`}, {shared, `{"partitions":1,"events":{"a\n":null}}`},
		{partition, ``}, {partition, `{"epoch":-1}`}, {partition, `{"lease_ms":-5}`}, {partition, `{"lease_ms":9223372036854775807}`},
		{partition, `{"epoch":18446744073709551615}`}, {partition, `{"cursor":7}`}, {partition, `{"cursor":"","position":5}`},
		{evento.RecordKey{Kind: "subscription", Key: "key", Part: "0001"}, `{}`},
		{evento.RecordKey{Kind: "subscription", Key: "key", Part: "-1"}, `{}`},
		{evento.RecordKey{Kind: "subscription", Key: "key", Part: "who knows"}, `{}`},
	} {
		b := evento.NewSubscription("key").Logger(silent).Handler(evento.HandleAll(thing, func(context.Context, evento.RawEvent) error { return nil }))
		must(t, b.Execute(ctx, ex))
		page, err := ex.Records(ctx, evento.RecordQuery{Kind: "subscription", Key: "key"})
		must(t, err)
		change := evento.Change{RecordKey: tt.key, Value: []byte(tt.value)}
		for _, r := range page.Records {
			if r.RecordKey == tt.key {
				change.Revision = r.Revision
			}
		}
		must(t, ex.Swap(ctx, swapOf(change)))
		_, statusErr := evento.ControlOf(ex, "key").Status(ctx)
		_, startErr := b.Start(ctx, ex)
		for what, err := range map[string]error{
			"Status": statusErr, "Start": startErr, "Execute": b.Execute(ctx, ex), "Pause": evento.ControlOf(ex, "key").Pause(ctx),
			"WaitFor": evento.ControlOf(ex, "key").WaitForCursor(ctx, ""),
		} {
			if !errors.Is(err, evento.ErrDamaged) || !strings.Contains(fmt.Sprint(err), `"key"`) {
				t.Errorf("record %q %q: %s: %v, want ErrDamaged and the key", tt.key.Part, tt.value, what, err)
			}
		}
		for name, err := range evento.Subscriptions(ctx, ex) {
			if err != nil || name.Key != "key" {
				t.Errorf("record %q %q: listed as %v, %v", tt.key.Part, tt.value, name, err)
			}
		}
		clean(ctx, t, ex)
	}
}

// clean removes the records of subscriptions.
func clean(ctx context.Context, t testing.TB, ex evento.Executor) {
	t.Helper()
	page, err := ex.Records(ctx, evento.RecordQuery{Kind: "subscription"})
	must(t, err)
	var s evento.Swap
	for _, r := range page.Records {
		s.Changes = append(s.Changes, evento.Change{RecordKey: r.RecordKey, Revision: r.Revision, Remove: true})
	}
	must(t, ex.Swap(ctx, s))
}

// What a handler commits is caused by its event, unless it says otherwise.
func deliveryCauses(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	first, err := evento.Aggregate("one").Event(opened{Owner: "x"}).MetadataFrom(evento.Metadata{CorrelationID: "request"}).Commit(ctx, ex)
	must(t, err)
	must(t, discard(evento.Aggregate("two").Event(opened{Owner: "y"}).Commit(ctx, ex)))
	_ = first
	for _, transactional := range []bool{false, true} {
		if transactional && !c.Transactor {
			continue
		}
		key := fmt.Sprint("key", transactional)
		b := evento.NewSubscription(key).Handler(evento.Handle(func(ctx context.Context, e evento.Event[opened]) error {
			if err := discard(evento.Aggregate(key+e.AggregateID).AnyVersion().Event(deposited{Amount: 1}).Commit(ctx, evento.ExecutorFrom(ctx))); err != nil {
				return err
			}
			return discard(evento.Aggregate(key+e.AggregateID).AnyVersion().MetadataFrom(evento.Metadata{CausationID: "own", CorrelationID: "mine"}).Event(deposited{Amount: 2}).Commit(ctx, evento.ExecutorFrom(ctx)))
		}))
		if transactional {
			b.Transactional()
		}
		must(t, b.Execute(ctx, ex))
		for _, id := range []string{"one", "two"} {
			cause := readAll(ctx, t, ex, filtered(evento.ByID(account, id)))[0].Node
			correlation := cause.Metadata.CorrelationID
			if correlation == "" {
				correlation = cause.ID.String()
			}
			got := readAll(ctx, t, ex, filtered(evento.ByID(account, key+id)))
			if len(got) != 2 {
				t.Fatalf("%s of %s: %d events, want 2", key, id, len(got))
			}
			if m := got[0].Node.Metadata; m.CausationID != cause.ID.String() || m.CorrelationID != correlation {
				t.Errorf("%s of %s: caused by %q, correlation %q, want %q, %q", key, id, m.CausationID, m.CorrelationID, cause.ID, correlation)
			}
			if m := got[1].Node.Metadata; m.CausationID != "own" || m.CorrelationID != "mine" {
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
	ended := make(chan error, 1)
	go func() {
		ended <- evento.Run(running, ex,
			evento.NewSubscription("one").Handler(evento.HandleEvery(one.add)),
			evento.NewSubscription("two").All().Handler(evento.HandleEvery(two.add)))
	}()
	one.wait(ctx, t, 3)
	two.wait(ctx, t, 3)
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run ended with %v, want nil with its context", err)
	}
	poison := errors.New("poison")
	err := evento.Run(ctx, ex,
		evento.NewSubscription("one").Handler(evento.HandleEvery(one.add)),
		evento.NewSubscription("three").Retry(0).Logger(silent).Handler(evento.HandleEvery(func(context.Context, evento.RawEvent) error { return poison })))
	if !errors.Is(err, poison) {
		t.Errorf("Run with one that fails: %v, want its error", err)
	}
	for _, key := range []string{"one", "two"} {
		if s, err := evento.ControlOf(ex, key).Status(ctx); err != nil || s.Behind != 0 || s.Partitions[0].Owner != "" {
			t.Errorf("%s: %+v, %v, want its place stored and no owner", key, s, err)
		}
	}
}
