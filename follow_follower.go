// Those who share a feed.

package evento

import "github.com/evento-go/evento/cursor"

// follower is one of those who share a feed. Its methods are for one goroutine.
//
//	w, first := feed.join(ex, q, at)
//	defer w.leave()
//	if !first { w.wait(ctx); … read from at …; w.caughtUp() }
//	for { w.wait(ctx); news := w.take(); … }
type follower struct {
	feed *Feed
	ex   Executor
	keys []interestKey
	wake chan struct{} // has room for one: look at what mu guards

	// Guarded by feed.mu.
	state  followerState
	ready  bool // there is something to take, or to find out
	events []fedEvent
	size   int    // bytes of payload in events
	stamp  uint64 // of the event that it was given last
	// levelAt is the look from whose end on the feed's place is not before the
	// follower's. caughtUp sets it, before the first take.
	levelAt uint64
}

type followerState int

const (
	stateJoining followerState = iota
	stateJoined
	stateLeft
)

// fedEvent is an event in the buffer of a follower.
type fedEvent struct {
	cursor.Edge[RawEvent]
	shared bool // others were given the same bytes
}

// news is what a follower takes.
type news struct {
	left   bool // it has left the feed: what came was dropped
	events []fedEvent
	// passed says that at, where the feed is behind these events, is not before
	// the follower's own place.
	passed bool
	at     cursor.Value
}

// join makes a follower of a query, whose events up to a place were read. It is
// the first when nobody else follows: it has joined then, and the feed begins at
// its place. Else it is woken, by wait, when it has joined.
func (f *Feed) join(ex Executor, q Query, at cursor.Value) (w *follower, first bool) {
	w = &follower{feed: f, ex: ex, keys: interestKeys(q), wake: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.interests.followers) == 0 {
		f.at, f.poll = at, feedFirstPoll
		f.admit(w)
		first = true
	} else {
		f.joining = append(f.joining, w)
		if f.reader != nil {
			f.reader.signal()
		}
	}
	f.interests.add(w)
	return w, first
}

// leave ends a follower. It may be called again.
func (w *follower) leave() {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	w.feed.remove(w)
}

// take returns what has come.
func (w *follower) take() news {
	f := w.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	n := news{left: w.state == stateLeft, events: w.events, passed: f.ended >= w.levelAt, at: f.at}
	w.events, w.size, w.ready = nil, 0, false
	return n
}

// caughtUp says that the follower has read up to the end of the store, after it
// has joined.
func (w *follower) caughtUp() {
	f := w.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	w.levelAt = f.looks + 1
}

// call makes a follower return from wait.
func (w *follower) call() {
	if !w.ready {
		w.ready = true
		w.signal()
	}
}

// signal makes a follower look at what mu guards.
func (w *follower) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
