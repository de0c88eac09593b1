// How far a worker has come.

package evento

import (
	"time"

	"github.com/evento-go/evento/cursor"
)

// progress is how far a worker has come. Nothing else in the worker handles
// cursors. The worker's goroutine uses it.
//
//	stored ────── done ──────▶ at
//
// Everything up to at is done, and the store knows it up to stored. Each method
// moves one of them, or notes that the store's cursor is unknown:
//
//	        advance              write, then confirm
//	even ──────────▶ ahead ─────────────────────────▶ even
//	  │                │                                ▲
//	  │ doubt          │ doubt                          │ resolve
//	  ▼                ▼                                │
//	unknown: a change was sent and not answered ────────┘
//
// The worker advances over events that are done, and confirms a stored cursor. It
// doubts when it has sent a change that moves the cursor together with other work
// (a transaction, a parked event), and its outcome is unknown. Then it does nothing
// until resolve has read the record. Resolve also finds a reset, in every state.
//
// If work and cursor are stored in one transaction (coupled), the cursor in the
// store is always right. If it is not where this worker has put it, an earlier
// transaction of the worker has committed late.
type progress struct {
	coupled bool

	at       cursor.Value
	position uint64    // of the last handled event
	last     *RawEvent // the event at position, if this worker has handled it
	handled  bool      // an event was handled since the cursor was stored

	stored cursor.Value
	resets uint64       // the known number of resets of the cursor
	doubts bool         // the outcome of a change is unknown
	sent   cursor.Value // where that change moves the cursor

	furthest cursor.Value // the cursor before a reset: up to there events are replayed
}

// reset continues at the cursor in the store.
func (p *progress) reset(s *partitionState) {
	*p = progress{coupled: p.coupled, at: s.Cursor, position: s.Position, stored: s.Cursor, resets: s.Resets, furthest: s.Furthest}
}

// advance notes that everything up to an event is done.
func (p *progress) advance(e *cursor.Edge[RawEvent]) {
	p.at, p.position, p.last, p.handled = e.Cursor, e.Node.Position, &e.Node, true
}

// pass notes that there is nothing to do up to a place.
func (p *progress) pass(at cursor.Value) { p.at = at }

// write puts the cursor into a record that is to be stored. It does not change a
// coupled cursor that is not where it should be: resolve finds out why.
func (p *progress) write(s *partitionState) error {
	if p.stale(*s) {
		p.doubt(p.at)
		return nil
	}
	s.Cursor, s.Position = p.at, p.position
	return nil
}

// writeWith puts the cursor behind an event into a record that is stored together
// with the event's work. It fails if an earlier transaction has done this work
// already, and if somebody else has reset the subscription, as the work is based on the
// place before. If the event's own handler has reset it, ownResets times, the cursor stays
// where the reset has put it.
func (p *progress) writeWith(e *cursor.Edge[RawEvent], s *partitionState, ownResets uint64) error {
	switch {
	case ownResets > 0 && s.Resets == p.resets+ownResets:
		return nil
	case s.Resets != p.resets:
		return errMoved
	case p.stale(*s):
		return ErrSwapped
	}
	s.Cursor, s.Position = e.Cursor, e.Node.Position
	return nil
}

// stale reports whether a coupled cursor is not where this worker has put it.
func (p *progress) stale(s partitionState) bool { return p.coupled && s.Cursor != p.stored }

// confirm notes that the cursor is stored at the worker's place.
func (p *progress) confirm() { p.stored, p.handled = p.at, false }

// doubt notes that a change was sent that moves the cursor, and that its outcome is
// unknown.
func (p *progress) doubt(sent cursor.Value) { p.doubts, p.sent = true, sent }

// resolve continues with the record in the store, and reports whether the worker
// must continue at another place.
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

// pace decides how often the cursor is stored.
// Why: docs/decisions.md, "A subscription's cursor is stored by work, not by chunk".
type pace struct {
	storedAt time.Duration // by the lease's clock
	took     time.Duration // how long storing took
}

const (
	// storeSoon limits how much work is repeated after a crash: after a chunk, or
	// when no events are pending, the cursor is stored if it was last stored this
	// long ago. A durable write for every chunk would cost more than reading the
	// chunk. If storing is slow, it is done less often, so that it takes
	// storeShare of the time.
	storeSoon  = 20 * time.Millisecond
	storeShare = 1.0 / 50
	// storeInterval is the longest time within a chunk between handling an event
	// and storing the cursor.
	storeInterval = time.Second
	// passedInterval is the same for events that were only skipped.
	passedInterval = 10 * time.Second
)

func (p *pace) interval() time.Duration {
	return min(max(storeSoon, time.Duration(float64(p.took)/storeShare)), storeInterval)
}
