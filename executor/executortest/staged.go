// What handlers of transactional subscriptions commit is stored once: in a transaction of the
// storage, or in one write with the subscription's place.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

func testStaged(t *testing.T, c Config) {
	c.run(t, "Once", stagedOnce)
	c.run(t, "Fails", stagedFails)
	c.run(t, "SeesItself", stagedSeesItself)
	c.run(t, "Parked", stagedParked)
	c.run(t, "ToldAtOnce", stagedToldAtOnce)
	c.run(t, "Conflicts", stagedConflicts)
	c.run(t, "Control", stagedControl)
	c.run(t, "ResetMeanwhile", stagedResetMeanwhile)
	c.run(t, "Records", stagedRecords)
	c.run(t, "HandOver", stagedHandOver)
	if c.Reopen != nil {
		c.run(t, "Reopen", stagedReopen)
	}
}

const letter evento.AggregateType = "executortest/Letter"

// written is what the handlers commit.
type written struct{ About string }

func (written) AggregateType() evento.AggregateType { return letter }
func (written) EventName() string                   { return "Written" }

// post are the letters to one address.
type post struct{ Letters []string }

var posts = evento.NewProjection[post]("posts", letter).Handler(
	evento.Apply(func(p *post, e evento.Event[written]) error {
		p.Letters = append(p.Letters, e.Data.About)
		return nil
	}))

func eventLabel(e evento.RawEvent) string { return e.AggregateID + fmt.Sprint(e.Version) }

// writeLetters commits a letter about each event, to the address of its aggregate, by the
// executor of the handler.
func writeLetters(ctx context.Context, es []evento.RawEvent) error {
	for _, e := range es {
		b := evento.Aggregate(e.AggregateID).AnyVersion().Event(written{eventLabel(e)})
		if _, err := b.Commit(ctx, evento.ExecutorFrom(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// lettersOf reads the letters of an address.
func lettersOf(ctx context.Context, t testing.TB, ex evento.Executor, address string) []string {
	t.Helper()
	l, err := posts.Load(ctx, ex, address, evento.OrNew())
	must(t, err)
	return l.State.Letters
}

// wantLetters checks that there is one letter about each thing's event, in order, at the
// address of the thing, and that those who handled them have nothing left.
func wantLetters(ctx context.Context, t testing.TB, c Config, ex evento.Executor, what string) {
	t.Helper()
	want := map[string][]string{}
	letters := 0
	for _, e := range soundLog(ctx, t, c, ex) {
		switch e.Node.AggregateType {
		case thing:
			want[e.Node.AggregateID] = append(want[e.Node.AggregateID], eventLabel(e.Node))
		case letter:
			letters++
		}
	}
	for id, about := range want {
		wantTexts(t, what+": letters of "+id, lettersOf(ctx, t, ex, id), about...)
		letters -= len(about)
	}
	if letters != 0 {
		t.Errorf("%s: %d letters more than events", what, letters)
	}
}

// things commits n events to each of some things.
func things(ctx context.Context, t testing.TB, ex evento.Executor, n int, ids ...string) {
	t.Helper()
	for range n {
		for _, id := range ids {
			commit(ctx, t, ex, toAny(id, "Happened"))
		}
	}
}

// letterWriting is a transactional subscription, whose handler gets one event or a batch.
func letterWriting(batch bool, handle func(context.Context, []evento.RawEvent) error) *evento.SubscriptionBuilder {
	h := evento.HandleAll(thing, func(ctx context.Context, e evento.RawEvent) error { return handle(ctx, []evento.RawEvent{e}) })
	if batch {
		h = evento.HandleAllBatch(thing, handle)
	}
	return evento.NewSubscription("key").Transactional().Logger(silent).Handler(h)
}

func stagedOnce(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	for round, partitions := range []int{1, 1, 4, 4} {
		b := letterWriting(round%2 == 1, writeLetters).Partitions(partitions).ChunkSize(5)
		if round == 2 {
			must(t, evento.ControlOf(ex, "key").Repartition(ctx, partitions))
		}
		things(ctx, t, ex, 4, "a", "b", "c")
		for range 2 { // the second time, nothing is left
			must(t, b.Execute(ctx, ex))
			wantLetters(ctx, t, c, ex, fmt.Sprintf("round %d", round))
		}
	}
}

// Of a call that fails after it has committed, nothing is left.
func stagedFails(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	failed := errors.New("after the commit")
	for _, batch := range []bool{false, true} {
		things(ctx, t, ex, 5, "a", "b")
		calls := 0
		b := letterWriting(batch, func(ctx context.Context, es []evento.RawEvent) error {
			if err := writeLetters(ctx, es); err != nil {
				return err
			}
			switch calls++; calls % 4 {
			case 1:
				return failed
			case 2:
				panic(failed)
			}
			return nil
		}).ChunkSize(3)
		must(t, b.Execute(ctx, ex))
		wantLetters(ctx, t, c, ex, fmt.Sprintf("batch %t", batch))
		if calls < 4 {
			t.Errorf("batch %t: %d calls, want some that fail", batch, calls)
		}
	}
	// One that ends the subscription leaves nothing either.
	things(ctx, t, ex, 1, "a", "b")
	fails := true
	b := func() *evento.SubscriptionBuilder {
		return letterWriting(false, func(ctx context.Context, es []evento.RawEvent) error {
			err := writeLetters(ctx, es)
			if fails && es[0].AggregateID == "b" {
				return errors.Join(err, failed)
			}
			return err
		}).Retry(1)
	}
	wantError(t, b().Execute(ctx, ex), failed, "Execute")
	wantTexts(t, "letters of b", lettersOf(ctx, t, ex, "b")[10:])
	fails = false
	must(t, b().Execute(ctx, ex))
	wantLetters(ctx, t, c, ex, "at the end")
}

// A handler reads what it has committed, and nobody else does before its end.
func stagedSeesItself(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	for _, batch := range []bool{false, true} {
		things(ctx, t, ex, 3, "a")
		failed := false
		outside := ctx
		must(t, letterWriting(batch, func(ctx context.Context, es []evento.RawEvent) error {
			d := evento.ExecutorFrom(ctx)
			before := lettersOf(ctx, t, d, "a")
			var own []string
			for _, e := range es {
				r, err := evento.Aggregate("a").AnyVersion().Event(written{eventLabel(e)}).Commit(ctx, d)
				must(t, err)
				own = append(own, eventLabel(e))
				if want := (evento.Receipt{AggregateID: "a", Version: uint64(len(before) + len(own))}); r != want {
					t.Errorf("Commit: got %+v, want %+v", r, want)
				}
			}
			wantTexts(t, "by Load", lettersOf(ctx, t, d, "a"), append(before, own...)...)
			if has, err := evento.HasEvent[written](ctx, d, "a"); err != nil || !has {
				t.Errorf("HasEvent: got %t, %v", has, err)
			}
			n := 0
			for _, err := range evento.Events(ctx, d, filtered(evento.ByEvent(written{}))) {
				must(t, err)
				n++
			}
			if n != len(before)+len(own) {
				t.Errorf("Events: got %d letters, want %d", n, len(before)+len(own))
			}
			if there := lettersOf(outside, t, ex, "a"); slices.Contains(there, own[0]) {
				t.Errorf("others see %v, want nothing of %v", there, own)
			}
			if !failed {
				failed = true
				return errors.New("after the commit")
			}
			return nil
		}).Execute(ctx, ex))
		wantLetters(ctx, t, c, ex, fmt.Sprintf("batch %t", batch))
	}
}

// An event that is parked has left nothing; retried, it is handled once, and in order.
func stagedParked(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	for _, batch := range []bool{false, true} {
		first := len(lettersOf(ctx, t, ex, "b"))
		things(ctx, t, ex, 4, "a", "b", "c")
		poison := eventLabel(evento.RawEvent{AggregateID: "b", Version: uint64(first + 2)})
		fails := true
		b := letterWriting(batch, func(ctx context.Context, es []evento.RawEvent) error {
			err := writeLetters(ctx, es)
			if fails && slices.ContainsFunc(es, func(e evento.RawEvent) bool { return eventLabel(e) == poison }) {
				return errors.Join(err, errors.New("poison"))
			}
			return err
		}).AcceptFailure().Retry(1)
		control := evento.ControlOf(ex, "key")
		for range 2 { // the second time, it is retried in vain
			must(t, b.Execute(ctx, ex))
			if s := wantBehind(ctx, t, control, 0); s.Parked != 3 {
				t.Errorf("batch %t: %d events parked, want 3", batch, s.Parked)
			}
			if n := len(lettersOf(ctx, t, ex, "b")); n != first+1 {
				t.Errorf("batch %t: %d letters of what is parked, want %d", batch, n, first+1)
			}
			must(t, control.RetryParked(ctx, evento.AllParked()))
		}
		fails = false
		must(t, b.Execute(ctx, ex))
		wantLetters(ctx, t, c, ex, fmt.Sprintf("batch %t", batch))
		if s := wantBehind(ctx, t, control, 0); s.Parked != 0 {
			t.Errorf("batch %t: %d events parked at the end", batch, s.Parked)
		}
	}
}

// A handler that commits what is there already is told so at once, and may go on.
func stagedToldAtOnce(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	things(ctx, t, ex, 4, "a")
	told := 0
	must(t, letterWriting(false, func(ctx context.Context, es []evento.RawEvent) error {
		if err := writeLetters(ctx, es); err != nil {
			return err
		}
		_, err := evento.Aggregate("welcome").Event(written{"welcome"}).Commit(ctx, evento.ExecutorFrom(ctx))
		if errors.Is(err, evento.ErrConflict) {
			told++
			return nil
		}
		return err
	}).ChunkSize(2).Retry(0).Execute(ctx, ex))
	wantTexts(t, "letters of a", lettersOf(ctx, t, ex, "a"), "a1", "a2", "a3", "a4")
	wantTexts(t, "letters of welcome", lettersOf(ctx, t, ex, "welcome"), "welcome")
	if told != 3 {
		t.Errorf("the handler was told of %d conflicts, want 3", told)
	}
	soundLog(ctx, t, c, ex)
}

// Handlers of several partitions commit to one aggregate, at the version that they have read.
func stagedConflicts(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	ids := []string{"a", "b", "c", "d", "e", "f"}
	things(ctx, t, ex, 4, ids...)
	must(t, letterWriting(false, func(ctx context.Context, es []evento.RawEvent) error {
		if err := writeLetters(ctx, es); err != nil {
			return err
		}
		_, err := posts.Update(ctx, evento.ExecutorFrom(ctx), "all", func(l *evento.Loaded[post]) ([]evento.Payload, error) {
			return []evento.Payload{written{fmt.Sprint("number ", len(l.State.Letters))}}, nil
		}, evento.OrNew())
		return err
	}).Partitions(4).ChunkSize(2).Retry(1000).Execute(ctx, ex))
	all := lettersOf(ctx, t, ex, "all")
	if len(all) != 4*len(ids) {
		t.Errorf("got %d letters to all, want %d", len(all), 4*len(ids))
	}
	for i, got := range all {
		if want := fmt.Sprint("number ", i); got != want {
			t.Errorf("letter %d: got %q, want %q", i, got, want)
		}
	}
	for _, id := range ids {
		wantTexts(t, "letters of "+id, lettersOf(ctx, t, ex, id), id+"1", id+"2", id+"3", id+"4")
	}
	soundLog(ctx, t, c, ex)
}

// A handler pauses and resets its own subscription with what it commits, or not at all.
func stagedControl(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	things(ctx, t, ex, 4, "a")
	failed := false
	b := letterWriting(false, func(ctx context.Context, es []evento.RawEvent) error {
		d := evento.ExecutorFrom(ctx)
		control := evento.ControlOf(d, "key")
		version, again := es[0].Version, slices.Contains(lettersOf(ctx, t, d, "a"), eventLabel(es[0]))
		switch {
		case version == 2 && !again:
			must(t, control.Pause(ctx))
		case version == 3 && !again:
			must(t, control.Pause(ctx))
			must(t, control.ResetToStart(ctx))
			must(t, control.Resume(ctx))
		}
		if err := writeLetters(ctx, es); err != nil {
			return err
		}
		if version == 2 && !failed {
			failed = true
			return errors.New("after the pause")
		}
		return nil
	}).ChunkSize(1)
	for range 2 { // the second time, it is paused
		wantError(t, b.Execute(ctx, ex), evento.ErrPaused, "Execute")
		wantTexts(t, "paused", lettersOf(ctx, t, ex, "a"), "a1", "a2")
	}
	must(t, evento.ControlOf(ex, "key").Resume(ctx))
	for range 2 {
		must(t, b.Execute(ctx, ex))
		wantTexts(t, "reset", lettersOf(ctx, t, ex, "a"), "a1", "a2", "a3", "a1", "a2", "a3", "a4")
	}
}

// A subscription that somebody else resets while a handler is at work, or when its transaction
// is about to begin, stores nothing of that: the handler is called again, from the reset on.
func stagedResetMeanwhile(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	things(ctx, t, ex, 4, "a")
	var want []string
	again := func(what string, reset func(do func()) (*evento.SubscriptionBuilder, evento.Executor)) {
		done := false
		b, ex := reset(func() {
			if !done {
				done = true
				must(t, evento.ControlOf(ex, "key").ResetToStart(ctx)) // not with the handler's context
			}
		})
		must(t, b.ChunkSize(1).Execute(ctx, ex))
		want = append(want, "a1", "a2", "a1", "a2", "a3", "a4")
		wantTexts(t, what, lettersOf(ctx, t, ex, "a"), want...)
		must(t, evento.ControlOf(ex, "key").Remove(ctx))
	}
	if !c.Transactor || !c.OneWriter { // else it would wait for the handler's transaction
		again("reset within the third event", func(do func()) (*evento.SubscriptionBuilder, evento.Executor) {
			return letterWriting(false, func(ctx context.Context, es []evento.RawEvent) error {
				err := writeLetters(ctx, es)
				if es[0].Version == 3 {
					do()
				}
				return err
			}), ex
		})
	}
	if tx, ok := ex.(evento.Transactor); ok && c.Transactor {
		again("reset before the third event", func(do func()) (*evento.SubscriptionBuilder, evento.Executor) {
			n := 0
			return letterWriting(false, writeLetters), beforeTx{tx, func() {
				if n++; n == 3 {
					do()
				}
			}}
		})
	}
}

// beforeTx is an executor that calls a function before each transaction.
type beforeTx struct {
	evento.Transactor
	call func()
}

func (b beforeTx) InTx(ctx context.Context, fn func(context.Context) error) error {
	if ctx.Err() == nil { // else it is asked whether it has transactions
		b.call()
	}
	return b.Transactor.InTx(ctx, fn)
}

// Records that a handler changes are changed with the rest.
func stagedRecords(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	counter := recordKey("counter", "")
	things(ctx, t, ex, 5, "a")
	calls := 0
	must(t, letterWriting(false, func(ctx context.Context, es []evento.RawEvent) error {
		d := evento.ExecutorFrom(ctx)
		at := uint64(0)
		for _, r := range readRecords(ctx, t, d, evento.RecordQuery{Kind: kind, Key: counter.Key}) {
			at = r.Revision
		}
		if at != es[0].Version-1 {
			t.Errorf("event %d: the record is at revision %d", es[0].Version, at)
		}
		swap(ctx, t, d, set(counter, at, eventLabel(es[0])))
		if err := writeLetters(ctx, es); err != nil {
			return err
		}
		if calls++; calls%2 == 1 {
			return errors.New("after the change")
		}
		return nil
	}).ChunkSize(1).Execute(ctx, ex))
	wantLetters(ctx, t, c, ex, "at the end")
	if r := readRecord(ctx, t, ex, counter); r.Revision != 5 || string(r.Value) != "a5" {
		t.Errorf("got the record %s, want a5 at revision 5", showRecord(r))
	}
}

// Workers that take over from one another in the middle of the work, each when the one before
// it has handled some events.
func stagedHandOver(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const workers, each = 5, 3
	exs := c.all(t, ex)
	handled := make(chan struct{}, 1) // by anybody
	var calls atomic.Int64
	start := func(n int, own *atomic.Int64) *evento.Subscription {
		s, err := letterWriting(n%2 == 1, func(ctx context.Context, es []evento.RawEvent) error {
			if err := writeLetters(ctx, es); err != nil {
				return err
			}
			if calls.Add(1)%5 == 0 {
				return errors.New("after the commit")
			}
			own.Add(1)
			select {
			case handled <- struct{}{}:
			default:
			}
			return nil
		}).ChunkSize(3).Start(ctx, exs[n%len(exs)])
		must(t, err)
		return s
	}
	var subs []*evento.Subscription
	for n := range workers {
		var own atomic.Int64
		subs = append(subs, start(n, &own))
		for own.Load() < each {
			things(ctx, t, ex, 1, "shared", fmt.Sprint("of ", n))
			await(ctx, t, handled, "a call of a handler")
		}
	}
	must(t, evento.ControlOf(ex, "key").WaitForCursor(ctx, last(ctx, t, ex)))
	for _, s := range subs[:workers-1] {
		wantTakenOver(ctx, t, s)
	}
	must(t, subs[workers-1].Shutdown(ctx))
	wantLetters(ctx, t, c, ex, "at the end")
	wantBehind(ctx, t, evento.ControlOf(ex, "key"), 0)
}

// Stores that are closed, in the middle of the work, and opened again.
func stagedReopen(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	things(ctx, t, ex, 5, "a", "b")
	stop := errors.New("stop here")
	for _, at := range []string{"a2", "b2", "b4", ""} {
		for _, batch := range []bool{true, false} {
			things(ctx, t, ex, 1, "a", "b")
			err := letterWriting(batch, func(ctx context.Context, es []evento.RawEvent) error {
				err := writeLetters(ctx, es)
				if slices.ContainsFunc(es, func(e evento.RawEvent) bool { return eventLabel(e) == at }) {
					return errors.Join(err, stop)
				}
				return err
			}).ChunkSize(3).Retry(0).Execute(ctx, ex)
			if (err != nil) != (at != "") || at != "" && !errors.Is(err, stop) {
				t.Errorf("Execute up to %q: %v", at, err)
			}
			ex = c.reopen(t, ex)
		}
	}
	wantLetters(ctx, t, c, ex, "at the end")
	// The same with an executor that is closed under a running worker.
	things(ctx, t, ex, 5, "a", "b")
	inHand := make(chan struct{}, 1)
	s, err := letterWriting(false, func(ctx context.Context, es []evento.RawEvent) error {
		select {
		case inHand <- struct{}{}:
		default:
		}
		return writeLetters(ctx, es)
	}).Lease(200*time.Millisecond).Start(ctx, ex)
	must(t, err)
	await(ctx, t, inHand, "a call of a handler")
	ex = c.reopen(t, ex)
	await(ctx, t, s.Done(), "the end of a worker whose executor was closed")
	must(t, letterWriting(false, writeLetters).Execute(ctx, ex))
	wantLetters(ctx, t, c, ex, "closed in the middle")
}
