// How doctor reads the events.

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/evento-go/evento/internal/examine"
	"github.com/evento-go/evento/internal/payload"
	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/internal/sqlstore"
)

// fastEvents is how many events --fast reads.
const fastEvents = 1000

// logCheck reads the events, in one pass or several.
type logCheck struct {
	d      *doctor
	x      examined
	codecs map[string]bool // codecs of the application that were reported

	head     uint64 // the position up to which events are read
	last     uint64 // the last position that was read
	at       time.Time
	tags     sqlstore.TagSums // of the events
	untagged int              // events whose tags cannot be read
	whole    bool             // all were read
}

func newLogCheck(d *doctor, x examined) *logCheck {
	return &logCheck{d: d, x: x, codecs: map[string]bool{}}
}

// run reads every event up to the end that the store has now, and again for what did not fit
// in memory; or with --fast the last events, once.
//
// Why: docs/decisions.md, "Doctor counts versions by hash".
func (l *logCheck) run(ctx context.Context) (err error) {
	var known bool
	if l.head, known, err = l.x.Last(ctx, 1); err != nil {
		return err
	}
	switch {
	case !known:
		l.head = math.MaxUint64
	case l.head == 0: // there are no events
		l.whole = true
		return nil
	}
	from := uint64(0)
	if l.d.fast {
		if from, _, err = l.x.Last(ctx, fastEvents); err != nil {
			return err
		}
	}
	opts := examine.Options{Memory: l.d.memory << 20}
	if from > 1 {
		opts.After = from - 1
	}
	rules := examine.NewRules(opts)
	each := l.first
	for more := true; more; more = rules.Next() {
		err := l.x.Events(ctx, from, func(e *examine.Event) error {
			if e.Position > l.head && !e.Lacks(examine.Position) {
				return errCommittedSince
			}
			return each(rules, e)
		})
		if err != nil && !errors.Is(err, errCommittedSince) {
			return fmt.Errorf("what comes after position %d: %w", l.last, err)
		}
		each, l.whole = l.again, true
	}
	return l.clock()
}

// reasonable reports whether the store's end was where an event can be.
func (l *logCheck) reasonable() bool { return l.head == l.last }

// errCommittedSince ends a pass.
var errCommittedSince = errors.New("what comes now was committed since")

// first makes all checks of an event.
func (l *logCheck) first(rules *examine.Rules, e *examine.Event) error {
	l.d.events++
	if err := l.again(rules, e); err != nil {
		return err
	}
	switch {
	case e.Lacks(examine.Tags, examine.Position):
		l.untagged++
	default:
		l.tags.Add(e.Position, e.Tags)
	}
	if !e.Lacks(examine.Position) {
		l.last = max(l.last, e.Position)
	}
	if !e.Lacks(examine.Timestamp) {
		l.at = e.Timestamp
	}
	if e.Lacks(examine.Codec, examine.Data) {
		return nil
	}
	return l.payload(e)
}

// again holds an event against the rules.
func (l *logCheck) again(rules *examine.Rules, e *examine.Event) error {
	return rules.Event(e, func(b examine.Breach) error {
		return l.d.found(finding{severe, b.Check, subjectOf(e), placeOf(e) + ": " + b.Detail, eventRemedy(b)})
	})
}

func eventRemedy(b examine.Breach) string {
	switch {
	case b.Part != "":
		return "restore a backup: it was changed by hand, or damaged, and no import would take it"
	case b.Gap:
		return "events were removed or moved by hand: restore a backup; without one, evento export --gaps and evento import --renumber make a store without gaps"
	case b.Check == "timestamp":
		return "AsOf and resets to a time may miss events around it: restore a backup"
	}
	return "events were removed, added or changed by hand: restore a backup"
}

// placeOf says which event it is.
func placeOf(e *examine.Event) string {
	place := "the event at no position"
	if e.Position > 0 {
		place = fmt.Sprintf("the event at position %d", e.Position)
	}
	if e.Position == 0 || e.Lacks(examine.Version, examine.Name) {
		return place
	}
	return fmt.Sprintf("%s, version %d at position %d", printable.Text(e.Name), e.Version, e.Position)
}

// subjectOf is the event's aggregate, as far as it is known.
func subjectOf(e *examine.Event) string {
	if e.AggregateType == "" && e.AggregateID == "" {
		return ""
	}
	return string(e.AggregateType) + " " + e.AggregateID
}

// clock compares the last event with this machine's clock.
func (l *logCheck) clock() error {
	ahead := time.Until(l.at)
	if l.at.IsZero() || ahead <= time.Minute {
		return nil
	}
	return l.d.found(finding{warning, "timestamp", "", fmt.Sprintf("the last event is of %s, which is %s ahead of this machine's clock: until then all events get that time", printable.Time(l.at), showDuration(ahead)), "set the clocks; timestamps never fall, so wait"})
}

func (l *logCheck) payload(e *examine.Event) error {
	err := payload.Check(&e.RawEvent)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, payload.ErrCodec):
		if l.codecs[e.Codec] || len(l.codecs) > mostListed {
			return nil
		}
		l.codecs[e.Codec] = true
		return l.d.found(finding{note, "payload", "codec " + e.Codec, fmt.Sprintf("payloads of this codec, the first at position %d, cannot be checked", e.Position), ""})
	}
	return l.d.found(finding{severe, "payload", subjectOf(e), fmt.Sprintf("%s, is no %s: %s", placeOf(e), e.Codec, err), "what loads it fails; evento events show " + number(e.Position) + " shows its bytes"})
}
