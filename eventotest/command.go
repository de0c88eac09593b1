package eventotest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evento-go/evento"
)

// CommandTest is a test of a function that commits, or decides; [Command] begins it. Its
// methods return it for chaining. It is not safe for concurrent use.
type CommandTest struct{ *history }

// Command begins a test of a function that commits events itself.
func Command(t testing.TB) *CommandTest {
	t.Helper()
	return &CommandTest{newHistory(t)}
}

// ID sets the aggregate id of given events that have none. Default "1".
func (c *CommandTest) ID(id string) *CommandTest {
	c.id = id
	return c
}

// Given adds events that happened before, in order, and deadlines that were set before.
func (c *CommandTest) Given(events ...evento.Payload) *CommandTest {
	c.add(events)
	return c
}

// GivenRecords adds records of the application that were stored before, each at revision 1.
func (c *CommandTest) GivenRecords(records ...evento.Record) *CommandTest {
	c.records = append(c.records, records...)
	return c
}

// Compare adds go-cmp options for the comparison of events: see
// [ProjectionTest.Compare].
func (c *CommandTest) Compare(opts ...cmp.Option) *CommandTest {
	c.compare = append(c.compare, opts...)
	return c
}

// When runs the function on a store that contains only the given events and deadlines. The
// context is the test's.
func (c *CommandTest) When(run func(context.Context, evento.Executor) error) *Outcome {
	c.t.Helper()
	if run == nil {
		c.misuse("When: the function is nil")
		return &Outcome{history: c.history}
	}
	return c.run("the command", run)
}

// Decide makes a decision on the given events, as in [evento.Decide].
func (c *CommandTest) Decide(decide func(ctx context.Context, d evento.Executor) error) *Outcome {
	c.t.Helper()
	if decide == nil {
		c.misuse("Decide: the function is nil")
		return &Outcome{history: c.history}
	}
	return c.run("the decision", func(ctx context.Context, ex evento.Executor) error {
		_, err := evento.Decide(ctx, ex, decide)
		return err
	})
}

// At is [Outcome.At] for given deadlines.
func (c *CommandTest) At(t time.Time) *Outcome {
	c.t.Helper()
	return c.run("nothing", nil).At(t)
}

func (c *CommandTest) run(what string, run func(context.Context, evento.Executor) error) *Outcome {
	c.t.Helper()
	o := &Outcome{history: c.history, what: what, store: c.stored()}
	if o.store == nil {
		return o
	}
	if o.before = c.deadlines(o.store); c.mistake {
		return o
	}
	if run != nil {
		o.store.ran = true
		o.err = run(c.t.Context(), o.store)
	}
	o.look()
	c.checked = false // the outcome checks it
	return o
}

// Outcome is the result of a decision or a command.
type Outcome struct {
	*history
	what    string
	store   *store // nil: there is no outcome
	before  []setDeadline
	came    []setDeadline // those that have come true
	err     error
	refused bool // ThenError was called
	events  []evento.RawEvent
	changes []changed
	decided []evento.Payload // before they were stored
}

// look finds what the store has besides the given.
func (o *Outcome) look() {
	o.t.Helper()
	if o.mistake {
		return
	}
	o.events = o.since(o.store, uint64(len(o.given)))
	o.changes = changes(o.before, o.deadlines(o.store), o.came)
}

// At lets time pass until t, as [evento.RunDeadlines] does: the deadlines that are due then
// come true, each at its time. Their events are among the new ones. t is not before the last
// event.
func (o *Outcome) At(t time.Time) *Outcome {
	o.t.Helper()
	if o.mistake || o.store == nil {
		return o
	}
	err := o.store.wait(o.t.Context(), t, func(came []setDeadline) error {
		o.came = append(o.came, came...)
		return nil
	})
	if err != nil {
		o.misuse("At: %v\n%s", err, o.list())
		return o
	}
	o.look()
	return o
}

// Then checks that there was no error, that exactly these new events were committed, in this
// order, and that exactly these deadlines were set, moved, and [Cleared], in any order. None:
// nothing was done. A deadline that has come true is none of them.
func (o *Outcome) Then(want ...evento.Payload) {
	o.t.Helper()
	o.checked = true
	switch {
	case o.mistake:
	case o.err != nil:
		o.fail("%s failed: %v", o.what, o.err)
	default:
		o.check(want)
	}
}

// ThenError checks that the error is target, by [errors.Is], and that nevertheless
// these events were committed and deadlines set: usually none.
func (o *Outcome) ThenError(target error, want ...evento.Payload) {
	o.t.Helper()
	o.checked, o.refused = true, true
	if !o.mistake && o.wantError(o.what, o.err, target) {
		o.check(want)
	}
}

// ThenRecords checks that there was no error, unless ThenError was called before, and that
// the application's records are exactly these, given ones included, in any order: their
// keys and values, and a revision that is set. The library's own records are not compared.
func (o *Outcome) ThenRecords(want ...evento.Record) {
	o.t.Helper()
	o.checked = true
	switch {
	case o.mistake || o.store == nil:
	case o.err != nil && !o.refused:
		o.fail("%s failed: %v", o.what, o.err)
	default:
		if got := o.recordsIn(o.store); !o.mistake {
			o.sameRecords(got, want)
		}
	}
}

func (o *Outcome) check(want []evento.Payload) {
	o.t.Helper()
	events, deadlines := split(want)
	if o.checkEvents(events, deadlines) {
		o.sameDeadlines(o.changes, deadlines, events)
	}
}

func (o *Outcome) checkEvents(want []evento.Payload, deadlines []Deadline) bool {
	o.t.Helper()
	known := payloadsOf(deadlines)
	for i, p := range o.decided[:min(len(o.decided), len(o.events))] {
		known = append(known, asEvent(p))
		if lossy(want, i) {
			continue
		}
		e := Event{Payload: p, Codec: codecNamed(o.events[i].Codec, o.given)}
		if why := o.lost(e); why != "" {
			o.fail("new event %d %s", i+1, why)
			return false
		}
	}
	return o.same("the new events", o.events, want, known...)
}

// lossy reports whether its codec may change a wanted event.
func lossy(want []evento.Payload, i int) bool { return i < len(want) && asEvent(want[i]).Lossy }
