package eventotest

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evento-go/evento"
)

// CommandTest is a test of a function that commits; [Command] begins it. Its
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

// Given adds events that happened before, in order.
func (c *CommandTest) Given(events ...evento.Payload) *CommandTest {
	c.add(events)
	return c
}

// Compare adds go-cmp options for the comparison of events: see
// [ProjectionTest.Compare].
func (c *CommandTest) Compare(opts ...cmp.Option) *CommandTest {
	c.compare = append(c.compare, opts...)
	return c
}

// When runs the function on a store that contains only the given events. The
// context is the test's.
func (c *CommandTest) When(run func(context.Context, evento.Executor) error) *Outcome {
	c.t.Helper()
	if run == nil {
		c.misuse("When: the function is nil")
		return &Outcome{history: c.history}
	}
	s := c.stored()
	if s == nil {
		return &Outcome{history: c.history}
	}
	o := &Outcome{history: c.history, what: "the command"}
	o.err = run(c.t.Context(), s)
	o.events = c.since(s, uint64(len(c.given)))
	c.checked = false // the outcome checks it
	return o
}

// Outcome is the result of a decision or a command.
type Outcome struct {
	*history
	what    string
	err     error
	events  []evento.RawEvent
	decided []evento.Payload // before they were stored
}

// Then checks that there was no error, and that exactly these new events were
// committed, in this order. None: nothing was committed.
func (o *Outcome) Then(events ...evento.Payload) {
	o.t.Helper()
	o.checked = true
	switch {
	case o.mistake:
	case o.err != nil:
		o.fail("%s failed: %v", o.what, o.err)
	default:
		o.checkEvents(events)
	}
}

// ThenError checks that the error is target, by [errors.Is], and that nevertheless
// these events were committed: usually none.
func (o *Outcome) ThenError(target error, events ...evento.Payload) {
	o.t.Helper()
	o.checked = true
	if !o.mistake && o.wantError(o.what, o.err, target) {
		o.checkEvents(events)
	}
}

func (o *Outcome) checkEvents(want []evento.Payload) {
	o.t.Helper()
	known := make([]Event, 0, len(o.events))
	for i, p := range o.decided[:min(len(o.decided), len(o.events))] {
		known = append(known, asEvent(p))
		if lossy(want, i) {
			continue
		}
		e := Event{Payload: p, Codec: codecNamed(o.events[i].Codec, o.given)}
		if diff := o.lost(e); diff != "" {
			o.fail("new event %d does not come back from its codec as it was%s", i+1, diff)
			return
		}
	}
	o.same("the new events", o.events, want, known...)
}

// lossy reports whether its codec may change a wanted event.
func lossy(want []evento.Payload, i int) bool { return i < len(want) && asEvent(want[i]).Lossy }
