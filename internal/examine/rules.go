package examine

import (
	"fmt"
	"time"
)

// Options say what is expected of the events. The zero value is for all events of a store.
type Options struct {
	// Memory is the most bytes for versions and ids. 0: 256 MiB. When it is not enough,
	// there are more passes.
	Memory int
	// After is the position behind which the first event is.
	After uint64
	// Gaps: positions may be left out, as those of events that were not selected.
	Gaps bool
	// Unordered: positions are those of several stores.
	Unordered bool
	// Uncounted: versions may be left out, as those of events that were not selected.
	Uncounted bool
}

// Breach is a rule that an event breaks.
type Breach struct {
	// Check is position, timestamp, version, id or event.
	Check string
	// Part is what is wrong with the event, if that is it and not its place.
	Part   Part
	Detail string
	// Gap: nothing is wrong but that there are no events before it.
	Gap bool
}

// Rules hold events against what an import wants of them, in one or several passes over the
// same events in their order. They need the memory of Options, however many there are.
type Rules struct {
	opts     Options
	versions *versions
	ids      *ids
	again    bool // it is not the first pass

	begun    bool
	position uint64 // of the last event
	at       time.Time
}

// NewRules returns rules for the first pass.
func NewRules(opts Options) *Rules {
	if opts.Memory == 0 {
		opts.Memory = 256 << 20
	}
	return &Rules{opts: opts, position: opts.After, versions: newVersions(opts.Memory * 3 / 4 / versionBytes), ids: newIDs(opts.Memory / 4 / 2 / lateBytes)}
}

// Next begins the next pass, and reports whether there is one.
func (r *Rules) Next() bool {
	r.again = true
	versions := r.versions.next()
	return r.ids.next() || versions
}

// Event calls found for each rule that the next event breaks, until it returns an error. The
// event gets the faults of [Event.Check].
func (r *Rules) Event(e *Event, found func(Breach) error) error {
	if e.Check(); !r.again {
		for _, w := range e.Faults {
			if w.Detail == "" {
				continue
			}
			if err := found(Breach{Check: checkOf(w.Part), Part: w.Part, Detail: w.Detail}); err != nil {
				return err
			}
		}
		if err := r.order(e, found); err != nil {
			return err
		}
	}
	if err := r.version(e, found); err != nil || e.Lacks(ID) {
		return err
	}
	if earlier := r.ids.put(e.ID, max(e.Position, 1)); earlier != 0 {
		return found(Breach{Check: "id", Detail: fmt.Sprintf("it has the event id %s, as the event at position %d has", e.ID, earlier)})
	}
	return nil
}

func checkOf(part Part) string {
	switch part {
	case Position, Timestamp, Version:
		return string(part)
	}
	return "event"
}

// order holds the event against the one before it.
func (r *Rules) order(e *Event, found func(Breach) error) error {
	if !e.Lacks(Position) && !r.opts.Unordered {
		last := r.position
		r.position = e.Position
		var detail string
		switch {
		case e.Position <= last && r.begun:
			detail = fmt.Sprintf("it comes behind position %d", last)
		case e.Position == last+1, r.opts.Gaps:
		case e.Position == last+2:
			detail = fmt.Sprintf("there is no event at position %d before it", last+1)
		default:
			detail = fmt.Sprintf("there are no events at positions %d to %d before it", last+1, e.Position-1)
		}
		r.begun = true
		if detail != "" {
			if err := found(Breach{Check: "position", Detail: detail, Gap: e.Position > last}); err != nil {
				return err
			}
		}
	}
	if e.Lacks(Timestamp) {
		return nil
	}
	before := r.at
	r.at = e.Timestamp
	if e.Timestamp.Before(before) {
		return found(Breach{Check: "timestamp", Detail: fmt.Sprintf("it is of %s, earlier than the event before it, of %s", format(e.Timestamp), format(before))})
	}
	return nil
}

func format(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// version holds the event against the ones of its aggregate.
func (r *Rules) version(e *Event, found func(Breach) error) error {
	if r.opts.Uncounted || e.Lacks(Type, Aggregate, Version) {
		return nil
	}
	last, ok := r.versions.put(e)
	switch {
	case !ok:
		return nil
	case e.Version != last.version+1 && (last.version > 0 || r.opts.After == 0):
		if err := found(Breach{Check: "version", Detail: fmt.Sprintf("version %d stands where version %d is expected", e.Version, last.version+1)}); err != nil {
			return err
		}
	}
	if last.rerouted {
		return found(Breach{Check: "event", Detail: fmt.Sprintf("the routing key is %q, and that of the event of its aggregate before it is another", e.RoutingKey)})
	}
	return nil
}
