// Deadlines in tests: given ones, and wanted ones.

package eventotest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/evento-go/evento"
)

// Deadline is a deadline of an aggregate, with the event that it will be. It can be used
// among given and wanted events. A given one was set before, and one that is wanted was set
// or moved by what is tested, see [evento.CommitBuilder.Deadline]. [Cleared] is for
// one that was cleared.
//
// A field that is not set has the default that its comment states, in a given deadline. In a
// wanted one, it is not compared.
type Deadline struct {
	evento.Payload

	// Name is unique in the aggregate. There is no default.
	Name string
	// AggregateID is the id of the aggregate. Default: the test's, see ID.
	AggregateID string
	// At is when it is due, in microseconds. Default: an hour after the event that is given
	// before it.
	At time.Time

	cleared bool
}

// Cleared is, among wanted events, that what is tested has cleared a deadline of an
// aggregate that was set before. "" as the id: that of any.
func Cleared(aggregateID, name string) Deadline {
	return Deadline{AggregateID: aggregateID, Name: name, cleared: true}
}

// givenDeadline was set behind so many of the given events.
type givenDeadline struct {
	Deadline
	behind int
}

// asDeadline reports whether a payload stands for a deadline; Of may have given it an id.
func asDeadline(p evento.Payload) (Deadline, bool) {
	switch d := p.(type) {
	case Deadline:
		return d, true
	case *Deadline:
		if d == nil {
			return Deadline{}, true
		}
		return *d, true
	case Event, *Event:
		e := asEvent(p)
		of, ok := asDeadline(e.Payload)
		of.AggregateID = cmp.Or(e.AggregateID, of.AggregateID)
		return of, ok
	}
	return Deadline{}, false
}

// split returns the events among what is wanted, and the deadlines.
func split(want []evento.Payload) (events []evento.Payload, deadlines []Deadline) {
	for _, p := range want {
		if d, ok := asDeadline(p); ok {
			deadlines = append(deadlines, d)
		} else {
			events = append(events, p)
		}
	}
	return events, deadlines
}

func (d *Deadline) missing() bool { return Event{Payload: d.Payload}.missing() }

// describe is how a report lists a given deadline.
func (d *Deadline) describe(id string) string {
	text := fmt.Sprintf("deadline %q", d.Name)
	if !d.At.IsZero() {
		text += " at " + describe(d.At)
	}
	if d.missing() {
		return text + ": nil"
	}
	return fmt.Sprintf("%s: %s of %q: %s", text, Event{Payload: d.Payload}.kind(), id, describe(d.Payload))
}

// checkGivenDeadlines reports mistakes in the given deadlines.
func (h *history) checkGivenDeadlines() bool {
	h.t.Helper()
	for i := range h.set {
		d := &h.set[i].Deadline
		var why string
		switch {
		case d.cleared:
			why = "is cleared; leave it out"
		case d.missing():
			why = "has no payload"
		default:
			why = h.lost(Event{Payload: d.Payload})
		}
		if why != "" {
			h.misuse("the given deadline %q %s\n%s", d.Name, why, h.list())
			return false
		}
	}
	return true
}

// set sets a deadline. The event that sets it is not stored.
func (s *store) set(ctx context.Context, d Deadline, aggregateID string) error {
	at := d.At
	if at.IsZero() {
		at = s.last().Add(time.Hour)
	}
	_, err := evento.Aggregate(aggregateID).AnyVersion().Event(d.Payload).Deadline(d.Name, at, d.Payload).Commit(ctx, recordsOf{s})
	return err
}

// recordsOf is a store that takes of a commit only its changes of records.
type recordsOf struct{ *store }

// Write implements [evento.Executor].
func (r recordsOf) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	return make([]evento.Receipt, len(w.Appends)), r.Swap(ctx, *w.Swap)
}

// setDeadline is a deadline that is set in a store, and the event that it will be.
type setDeadline struct {
	evento.Deadline
	event evento.RawEvent
}

func (d *setDeadline) is(o setDeadline) bool {
	return d.AggregateType == o.AggregateType && d.AggregateID == o.AggregateID && d.Name == o.Name
}

func (d *setDeadline) equals(o setDeadline) bool {
	return d.is(o) && d.At.Equal(o.At) && d.event.Name == o.event.Name && d.event.Codec == o.event.Codec &&
		string(d.event.Data) == string(o.event.Data) && slices.Equal(d.event.Tags, o.event.Tags)
}

// deadlines returns the deadlines that are set, in the order of time.
func (h *history) deadlines(s *store) (set []setDeadline) {
	h.t.Helper()
	ctx := h.t.Context()
	err := func() error {
		for d, err := range evento.Deadlines(ctx, s) {
			if err != nil {
				return err
			}
			set = append(set, setDeadline{Deadline: d})
		}
		if len(set) == 0 {
			return nil
		}
		events, err := s.foresee(ctx, set[len(set)-1].At)
		for i := range events {
			set[i].event = events[i]
		}
		return err
	}()
	if err != nil {
		h.misuse("reading the deadlines: %v", err)
	}
	return set
}

// How differences show deadlines.
type (
	deadline struct {
		Name        string
		AggregateID string
		At          time.Time
		Payload     any
	}
	cleared struct{ Name, AggregateID string }
)

func micros(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}

// payloadsOf returns the payloads of deadlines, for their types.
func payloadsOf(deadlines []Deadline) (events []Event) {
	for i := range deadlines {
		if !deadlines[i].missing() {
			events = append(events, Event{Payload: deadlines[i].Payload})
		}
	}
	return events
}

// changed is what was done to a deadline.
type changed struct {
	setDeadline
	cleared bool
	was     bool // it is as it was
}

// changes returns what was done to deadlines; those that came true are none of it.
func changes(before, after, came []setDeadline) (all []changed) {
	for _, d := range after {
		all = append(all, changed{setDeadline: d, was: slices.ContainsFunc(before, d.equals)})
	}
	for _, d := range before {
		if !slices.ContainsFunc(after, d.is) && !slices.ContainsFunc(came, d.is) {
			all = append(all, changed{setDeadline: d, cleared: true})
		}
	}
	return all
}

// sameDeadlines fails unless exactly the wanted deadlines were set, moved and cleared.
func (h *history) sameDeadlines(got []changed, want []Deadline, events []evento.Payload) {
	h.t.Helper()
	for i := range want {
		d := &want[i]
		if d.cleared {
			continue
		}
		if d.missing() {
			h.misuse("the wanted deadline %q has no payload", d.Name)
			return
		}
		if why := h.lost(Event{Payload: d.Payload}); why != "" {
			h.misuse("the wanted deadline %q %s", d.Name, why)
			return
		}
	}
	known := slices.Concat(payloadsOf(want), h.known())
	for _, p := range events {
		known = append(known, asEvent(p))
	}
	wants, gots := make([]any, 0, len(want)), make([]any, 0, len(got))
	for i := range want {
		wants = append(wants, want[i].shown())
		if at := want[i].among(got); at >= 0 {
			gots = append(gots, got[at].shown(&want[i], known))
			got = slices.Delete(slices.Clone(got), at, at+1)
		}
	}
	for i := range got {
		if !got[i].was {
			gots = append(gots, got[i].shown(nil, known))
		}
	}
	if diff := h.diff(wants, gots); diff != "" {
		h.fail("the deadlines are not those wanted (-want +got):\n%s", diff)
	}
}

// among finds a wanted deadline, or one that is like it; -1: there is none.
func (d *Deadline) among(got []changed) int {
	like := func(g changed) bool {
		return d.cleared == g.cleared && d.Name == g.Name && (d.AggregateID == "" || d.AggregateID == g.AggregateID) &&
			(d.cleared || d.AggregateType() == g.AggregateType)
	}
	for _, fits := range []func(changed) bool{
		func(g changed) bool { return !g.was && (d.cleared || d.EventName() == g.event.Name) },
		func(g changed) bool { return !g.was },
		func(changed) bool { return true },
	} {
		if i := slices.IndexFunc(got, func(g changed) bool { return like(g) && fits(g) }); i >= 0 {
			return i
		}
	}
	return -1
}

func (d *Deadline) shown() any {
	if d.cleared {
		return cleared{d.Name, d.AggregateID}
	}
	return deadline{d.Name, d.AggregateID, micros(d.At), d.Payload}
}

// shown returns what a difference shows of a deadline: what the wanted one sets; all for one
// that was not wanted.
func (c *changed) shown(want *Deadline, known []Event) any {
	id, at := c.AggregateID, micros(c.At)
	if want != nil && want.AggregateID == "" {
		id = ""
	}
	if want != nil && want.At.IsZero() {
		at = time.Time{}
	}
	if c.cleared {
		return cleared{c.Name, id}
	}
	if want != nil {
		known = append([]Event{{Payload: want.Payload}}, known...)
	}
	return deadline{c.Name, id, at, payload(&c.event, known)}
}
