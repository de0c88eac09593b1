// How far a worker is.

package evento

import (
	"time"

	"github.com/evento-go/evento/cursor"
)

// progress is how far a worker is, and alone knows of cursors. The worker's
// goroutine uses it.
//
//	stored ────── done ──────▶ at
//
// Everything up to at is done; everything up to stored is known to be so by the
// store. What happens between moves one of them, or says that it is not known
// where the store is:
//
//	        advance              write, then confirm
//	even ──────────▶ ahead ─────────────────────────▶ even
//	  │                │                                ▲
//	  │ doubt          │ doubt                          │ resolve
//	  ▼                ▼                                │
//	unknown: a change was sent and not answered ────────┘
//
// The worker advances over what is done, confirms what is stored, and doubts
// when the outcome of a change is unknown that moved the cursor together with
// other work (a transaction, a parked event). Then nothing is done until resolve
// has seen the record. A reset, by anybody, is found by resolve in every state.
//
// Where work and cursor are one transaction (coupled), the cursor in the store is
// always right: one that is not where this worker has put it was moved by a
// transaction of it whose outcome came late.
type progress struct {
	coupled bool

	at       cursor.Value
	position uint64    // of the last event that was handled
	last     *RawEvent // that event, when this worker handled it
	handled  bool      // something was, since the cursor was stored

	stored cursor.Value
	resets uint64       // those of the cursor that were seen
	doubts bool         // the outcome of a change is unknown
	sent   cursor.Value // where that change moves the cursor

	furthest cursor.Value // where it was before a reset: up to there events come again
}

// reset goes on from the place in the store.
func (p *progress) reset(s *partitionState) {
	*p = progress{coupled: p.coupled, at: s.Cursor, position: s.Position, stored: s.Cursor, resets: s.Resets, furthest: s.Furthest}
}

// advance says that everything up to an event is done.
func (p *progress) advance(e *cursor.Edge[RawEvent]) {
	p.at, p.position, p.last, p.handled = e.Cursor, e.Node.Position, &e.Node, true
}

// pass says that up to a place is nothing to do.
func (p *progress) pass(at cursor.Value) { p.at = at }

// write puts the place into a record that is to be stored. A coupled cursor that
// is not where it is known to be is left alone: resolve finds out why.
func (p *progress) write(s *partitionState) error {
	if p.stale(*s) {
		p.doubt(p.at)
		return nil
	}
	s.Cursor, s.Position = p.at, p.position
	return nil
}

// writeWith puts the place behind an event into a record that is to be stored
// together with the event's work. It fails when the work was done already, by
// an earlier transaction. After a reset by the event's own handler the cursor
// stays where that has put it.
func (p *progress) writeWith(e *cursor.Edge[RawEvent], s *partitionState) error {
	switch {
	case s.Resets != p.resets:
		return nil
	case p.stale(*s):
		return ErrSwapped
	}
	s.Cursor, s.Position = e.Cursor, e.Node.Position
	return nil
}

// stale reports whether a coupled cursor is not where it is known to be.
func (p *progress) stale(s partitionState) bool { return p.coupled && s.Cursor != p.stored }

// confirm says that the cursor is stored where the worker is.
func (p *progress) confirm() { p.stored, p.handled = p.at, false }

// doubt says that a change was sent that moves the cursor to a place, and that
// it is not known whether it was made.
func (p *progress) doubt(sent cursor.Value) { p.doubts, p.sent = true, sent }

// resolve goes by what the store has, and reports whether the worker goes on
// from another place.
func (p *progress) resolve(s *partitionState) (moved bool) {
	switch {
	case s.Resets != p.resets,
		p.doubts && s.Cursor == p.sent,
		p.stale(*s):
		p.reset(s)
		return true
	}
	p.stored, p.doubts = s.Cursor, false
	return false
}

// pace is how much work goes by between two times of storing the cursor.
type pace struct {
	storedAt time.Duration // by the lease's clock
	took     time.Duration // what storing took
}

const (
	// storeSoon is how much work a crash may repeat: after a chunk, or with
	// nothing left to do, the cursor is stored when it was not for this long.
	// A durable write for every chunk would cost more than reading it. Where
	// storing takes long it is done less often, for storeShare of the time.
	storeSoon  = 20 * time.Millisecond
	storeShare = 1.0 / 50
	// storeInterval is the longest that handled events go without the cursor
	// being stored within a chunk.
	storeInterval = time.Second
	// passedInterval is the same for events that were only passed over.
	passedInterval = 10 * time.Second
)

func (p *pace) interval() time.Duration {
	return min(max(storeSoon, time.Duration(float64(p.took)/storeShare)), storeInterval)
}
