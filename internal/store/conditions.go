// Judging the conditions of writes: [evento.Write.Unless].
//
// Whoever commits knows the last events of the store, and holds each condition against
// those behind its place. A place that is further back is moved forward before, by an
// ordinary read: where that finds nothing, there is nothing up to the end that it reports.

package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// mostRecent is how many of the last events are known at least, and how far a condition's
// place may be behind the head when it is judged.
const mostRecent = 4096

// ErrBehind says that a condition's place is too far behind the head to be judged, or was
// not looked at up to where events are known. Nothing was stored; the caller looks again.
var ErrBehind = errors.New("store: the place of a condition is too far behind the head")

// Reader reads a page of events, as [evento.Executor] does.
type Reader func(q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error)

// ReaderOf reads from an executor within a call.
func ReaderOf(ctx context.Context, ex evento.Executor) Reader {
	return func(q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		return ex.Read(ctx, q, args)
	}
}

// Conditions are the conditions of a write on the way to its commit. The zero Conditions
// are none.
type Conditions struct {
	all     []condition
	refused *evento.ConflictError // which was found when they were looked at
}

// None reports whether there are no conditions.
func (c *Conditions) None() bool { return len(c.all) == 0 && c.refused == nil }

// Refused is the conflict that was found by Look; nil: there was none.
func (c *Conditions) Refused() error {
	if c.refused == nil {
		return nil
	}
	return c.refused
}

// Concern reports whether a write may be excluded by events that others add. Their routing
// keys are not looked at.
func (c *Conditions) Concern(headers []Header) bool {
	for i := range c.all {
		for j := range headers {
			if c.all[i].concerns(&headers[j]) {
				return true
			}
		}
	}
	return false
}

// places are the first and the last place of conditions.
func (c *Conditions) places() (low, high uint64) {
	low = c.all[0].after
	for i := range c.all {
		low, high = min(low, c.all[i].after), max(high, c.all[i].after)
	}
	return low, high
}

// Look returns the conditions of a checked write. Their places are moved forward over what
// they do not exclude, as far as read goes, if they are not near the head. When one
// excludes an event up to a position, that is the write's conflict, unless an earlier
// attempt of it is in the store. The error is that of a cursor or of reading.
func Look(w *evento.Write, recent *Recent, p cursor.Positions, upTo uint64, read Reader) (c Conditions, err error) {
	for i := range w.Unless {
		at, err := p.Position(w.Unless[i].After)
		if err != nil {
			return c, err
		}
		if at >= most || at > upTo {
			return c, fmt.Errorf("%w: position %d", cursor.ErrBeyondHead, at)
		}
		if !recent.knows(at) {
			var found uint64
			if at, found, err = first(w.Unless[i], at, p, read); err != nil {
				return c, err
			}
			if found > 0 && found <= upTo {
				c.refused = excluded(i, found)
				return c, nil
			}
		}
		c.all = append(c.all, conditionOf(w.Unless[i].Query, at))
	}
	return c, nil
}

// Place is a condition whose place is a position.
type Place struct {
	Query evento.Query
	After uint64
}

// Places are the conditions of a write where [Look] has moved them to. They are for who
// judges elsewhere.
func (c *Conditions) Places(w *evento.Write) []Place {
	places := make([]Place, len(c.all))
	for i := range c.all {
		places[i] = Place{w.Unless[i].Query, c.all[i].after}
	}
	return places
}

// ConditionsAt returns the conditions of such places.
func ConditionsAt(places []Place) (c Conditions) {
	for _, p := range places {
		c.all = append(c.all, conditionOf(p.Query, p.After))
	}
	return c
}

// JudgeByReading is [Recent.Judge] for places that may be far back, or among the others: it
// reads what is behind them up to the head, which the others follow.
func JudgeByReading(places []Place, head uint64, others []Header, p cursor.Positions, read Reader) error {
	for i := range places {
		if places[i].After < head {
			page, err := read(places[i].Query, cursor.Onward(1, p.Value(places[i].After)))
			if err != nil {
				return err
			}
			if len(page.Edges) > 0 {
				return excluded(i, page.Edges[0].Node.Position)
			}
		}
		c := conditionOf(places[i].Query, places[i].After)
		for j := firstBehind(others, places[i].After); j < len(others); j++ {
			excludes, err := c.matches(&others[j])
			if err != nil {
				return err
			}
			if excludes {
				return excluded(i, others[j].Position)
			}
		}
	}
	return nil
}

// first looks for the first event that a condition excludes; 0: there is none up to the
// place that is returned. A place beyond the head is left to the committer: what a replica
// shows, its primary may show only when its commit is over.
func first(c evento.Condition, at uint64, p cursor.Positions, read Reader) (upTo, found uint64, err error) {
	page, err := read(c.Query, cursor.Onward(1, c.After))
	if errors.Is(err, cursor.ErrBeyondHead) {
		return at, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	if len(page.Edges) > 0 {
		return at, page.Edges[0].Node.Position, nil // 0: what a transaction is going to add
	}
	upTo, err = p.Position(page.PageInfo.EndCursor)
	return upTo, 0, err
}

func excluded(i int, position uint64) *evento.ConflictError {
	return &evento.ConflictError{Condition: i + 1, Position: position}
}

// IsRefusal reports whether an error of judging conditions is one of the write, rather
// than one of reading.
func IsRefusal(err error) bool {
	return errors.Is(err, evento.ErrConflict) || errors.Is(err, ErrBehind) || errors.Is(err, cursor.ErrInvalid)
}

// Recent are the last events of a store, as far as its committer knows them, without their
// payloads. Nothing is kept until the first condition is judged. The zero Recent knows
// nothing. It is safe for concurrent use; one committer at a time adds to it.
type Recent struct {
	mu     sync.Mutex
	kept   bool // from the first condition on
	from   uint64
	to     uint64   // events above from, up to here, are known
	events []Header // in order
}

// knows reports whether everything behind a place was known.
func (r *Recent) knows(at uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept && r.from <= at && at <= r.to
}

// To is the position up to which events are known, if any are.
func (r *Recent) To() (to uint64, kept bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.to, r.kept
}

// Keep says that the store is at head, and that a condition is going to be judged if it
// is so. It reports whether events are kept: then Add has to be told of what is stored.
func (r *Recent) Keep(head uint64, judging bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if judging && !r.kept {
		r.kept, r.from, r.to = true, head, head
	}
	return r.kept
}

// Cover makes sure that the events behind the places of conditions are known up to the
// head. ErrBehind: they are too many to be read now.
func (r *Recent) Cover(c *Conditions, head uint64, p cursor.Positions, read Reader) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	low, high := c.places()
	if high > head {
		return fmt.Errorf("%w: position %d, the store is at %d", cursor.ErrBeyondHead, high, head)
	}
	known := r.kept && r.from <= low && low <= r.to && r.to <= head
	switch {
	case known && head-r.to <= mostRecent: // the rest is read
	case head-low > mostRecent:
		r.kept, r.events = false, nil // so that the places are looked at up to the head
		return ErrBehind
	default:
		r.kept, r.from, r.to, r.events = true, low, low, nil
	}
	for more := r.to < head; more; {
		page, err := read(evento.Query{}, cursor.Onward(cursor.MaxPage, p.At(r.to)))
		if err != nil {
			return err
		}
		for i := range page.Edges {
			if e := &page.Edges[i].Node; e.Position <= head {
				r.add(headerOf(e))
				r.to = e.Position
			}
		}
		more = page.PageInfo.HasNextPage && r.to < head
	}
	r.to = head
	return nil
}

// Add adds events that were stored, in order. What does not follow on what is known is
// read by Cover when it is needed.
func (r *Recent) Add(events ...Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.kept || len(events) == 0 || events[0].Position != r.to+1 {
		return
	}
	for i := range events {
		r.add(events[i])
	}
	r.to = events[len(events)-1].Position
}

func (r *Recent) add(e Header) {
	if len(r.events) == 2*mostRecent {
		r.from = r.events[mostRecent-1].Position
		r.events = append(r.events[:0:0], r.events[mostRecent:]...)
	}
	r.events = append(r.events, e)
}

// Judge returns the conflict of the first condition that excludes one of the events that
// are known, or of others that are behind them and not stored yet; nil: there is none. The
// error is ErrBehind if not all that is needed is known: Cover was not called, or a
// routing key is [UnknownRouting].
func (r *Recent) Judge(c *Conditions, others []Header) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range c.all {
		one := &c.all[i]
		if !r.kept || one.after < r.from || one.after > r.to {
			return ErrBehind
		}
		for _, events := range [][]Header{r.events, others} {
			for j := firstBehind(events, one.after); j < len(events); j++ {
				if excludes, err := one.matches(&events[j]); err != nil {
					return err
				} else if excludes {
					return excluded(i, events[j].Position)
				}
			}
		}
	}
	return nil
}

// Forget forgets all events, so that Cover reads them.
func (r *Recent) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept, r.events = false, nil
}

// firstBehind is the index of the first event behind a position.
func firstBehind(events []Header, position uint64) int {
	i := len(events)
	for i > 0 && events[i-1].Position > position {
		i--
	}
	return i
}

// Has reports whether the first event of one of a write's appends is behind the places of
// its conditions, among those that are known.
func (r *Recent) Has(c *Conditions, w *evento.Write) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	low, _ := c.places()
	for i := firstBehind(r.events, low); i < len(r.events); i++ {
		for j := range w.Appends {
			if r.events[i].ID == w.Appends[j].Events[0].ID {
				return true
			}
		}
	}
	return false
}
