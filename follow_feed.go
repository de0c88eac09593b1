// One read of new events, for all who follow a store.

package evento

import (
	"container/list"
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/evento-go/evento/cursor"
)

// Feed is what all who follow a store through one executor share: one read of new
// events, each of which is given to the followers that it concerns. See [Follow].
//
// It is for authors of executors. An executor has one field of this type, whose
// zero value is ready to use, and returns its address from [Executor.Feed]. An
// executor that embeds another one returns that one's feed, as events are read
// through either of them; but one that changes what Read returns needs its own.
// Whatever the followers ask for, a feed mostly reads all events.
//
// # Concurrency
//
// A feed has no goroutine. It runs in those of its followers who wait for events,
// in [follower.wait]. One of them is the reader: it waits for the executor's
// signal, reads a page from the feed's place on, puts each event into the buffers
// of the followers that it concerns, and wakes them. When the page had an event
// for the reader itself, the reader returns to its consumer, and the follower who
// has waited longest is woken to be the next reader. A follower whose consumer is
// at work is never the reader. So nothing is read while nobody waits, and when the
// last follower leaves there is nothing to stop.
//
// A follower is joining, joined, or has left:
//
//	joining → joined         by the reader, at the end of a look, see below
//	joining, joined → left   by itself (leave), or by the reader: when its buffer
//	                         is full, or the feed gives up
//
// The first follower joins at once, and the feed begins at its place.
//
// A look is the reading from the feed's place to the end of the store: mostly one
// page, but it may take several pages and several readers. Whoever joins waits for
// the end of a look that began after it came, and is given events from there on.
// The feed's place is then at or after its own, and it can read itself what lies
// between the two.
//
// mu guards all fields here, and those of a follower that say so. It is released
// while the reader reads or waits, and whenever an executor is called; meanwhile
// only the reader moves at and the state of the look. No other lock is taken while
// mu is held.
//
// Why: docs/decisions.md, "Who waits reads, and there is no goroutine".
type Feed struct {
	turns turns // of those who update and decide; it has a lock of its own

	mu      sync.Mutex
	reader  *follower // reads or waits for a signal; nil: nobody
	waiting list.List // of *follower: who waits and is not the reader, the longest first

	interests interests   // of all followers
	index     index       // of the joined ones
	joining   []*follower // until the next look begins
	entering  []*follower // until the current look ends, when they have joined

	at       cursor.Value    // everything up to here was given out
	looks    uint64          // how many were begun
	ended    uint64          // the last one that has ended; less than looks: one is under way
	polled   bool            // it was begun without a signal
	pages    int             // it has read so many
	found    bool            // it has found something
	lookedAt time.Time       // when it began
	changed  <-chan struct{} // asked for before it began; nil: look at once
	narrowed int             // how many looks are still to read less than everything
	poll     time.Duration   // how long to wait for a signal
	failures int             // of reading, since one succeeded
	retryAt  time.Time       // after a failure
	warnedAt time.Time       // of a failure, of the feed or of a follower
}

const (
	// feedPage is how many events are read at a time, and feedBuffer how many
	// may wait for a follower, of PageBytes of payload at most if there is more
	// than one. A follower who falls further behind reads for itself.
	feedPage   = 256
	feedBuffer = 512
	// feedBehind is how many pages a look may take. A feed that is further
	// behind, as after an import, gives up: each follower reads for itself what
	// concerns it, which may be little.
	feedBehind = 100
	// feedFailures is how many failures in a row are waited out, some seconds.
	// Then the feed gives up, so that an event that cannot be read stops only
	// the followers that it concerns.
	// Why: docs/decisions.md, "What cannot be read stops those whom it concerns".
	feedFailures = 8
	// feedWarning is the least time between two warnings of failures, however
	// many followers meet them.
	feedWarning = time.Second
	// By default a feed reads everything: that is the least work for a store
	// when little is new. After a page with more than feedUnwanted bytes of
	// payload that concerned nobody it asks for less, for feedNarrow looks.
	// Why: docs/decisions.md, "Everything is read, and not the union of the filters".
	feedUnwanted = 64 << 10
	feedNarrow   = 1000
	// feedPause is the least time between two looks when the first has found
	// nothing. It limits how often a busy store is read for nothing.
	feedPause = time.Millisecond
	// A look without a signal is made after feedFirstPoll. That doubles up to
	// feedPoll, and begins again when such a look has found something.
	feedFirstPoll = 5 * time.Millisecond
	feedPoll      = time.Second
)

// follower is one of those who share a feed. One goroutine calls its methods that
// lock mu, in this order; the others need mu.
//
//	w, first := feed.join(ex, q, at)
//	defer w.leave()
//	if !first { w.wait(ctx); … read from at on …; w.caughtUp() }
//	for { w.wait(ctx); news := w.take(); … }
type follower struct {
	feed *Feed
	ex   Executor // to read with
	keys []interestKey
	// tagged is its query, if that asks for tags: then the keys do not say everything.
	tagged *Query
	wake   chan struct{} // of capacity 1: have a look at what mu guards

	// Guarded by feed.mu.
	state   followerState
	ready   bool // there is something to return from wait for
	events  []fedEvent
	size    int    // bytes of payload in events
	stamp   uint64 // the last call of index.find that found it
	levelAt uint64 // from the end of this look on the feed's place is at or after its own
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
	left   bool // it has left the feed: its buffer was dropped
	events []fedEvent
	at     cursor.Value // the feed's place, after these events
	level  bool         // at is at or after the follower's own place
}

// join makes a follower of a query whose events up to a place were read. It
// reports whether nobody else follows: then the follower has joined. Otherwise
// wait returns when it has.
func (f *Feed) join(ex Executor, q Query, at cursor.Value) (w *follower, first bool) {
	w = &follower{feed: f, ex: ex, keys: interestKeys(q), wake: make(chan struct{}, 1)}
	if asksForTags(q) {
		w.tagged = &q
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	first = len(f.interests.followers) == 0
	if first {
		// Forget what the followers before have left behind.
		f.at, f.ended, f.changed, f.poll, f.failures, f.narrowed = at, f.looks, nil, feedFirstPoll, 0, 0
		f.admit(w)
	} else {
		f.joining = append(f.joining, w)
		if f.reader != nil {
			f.reader.signal()
		}
	}
	f.interests.add(w)
	return w, first
}

// leave ends a follower, also one that the feed has dropped.
func (w *follower) leave() {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	w.feed.remove(w)
}

// caughtUp says that the follower, having joined, has read to the end of the store.
func (w *follower) caughtUp() {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	w.levelAt = w.feed.looks + 1
}

// take returns what has come.
func (w *follower) take() news {
	f := w.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	n := news{left: w.state == stateLeft, events: w.events, at: f.at, level: f.ended >= w.levelAt}
	w.events, w.size, w.ready = nil, 0, false
	return n
}

// wait returns nil when the follower has joined, has events, or has left, and the
// error of ctx when that ends. Meanwhile it may be the reader, with ctx.
func (w *follower) wait(ctx context.Context) error {
	f := w.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	var place *list.Element
	defer func() {
		if place != nil {
			f.waiting.Remove(place)
		}
		if next := f.waiting.Front(); f.reader == nil && next != nil {
			next.Value.(*follower).signal()
		}
	}()
	for !w.ready {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case f.reader == nil:
			f.step(ctx, w)
			continue
		case place == nil:
			place = f.waiting.PushBack(w)
		}
		f.unlocked(func() {
			select {
			case <-w.wake:
			case <-ctx.Done():
			}
		})
	}
	return nil
}

// notify makes wait return.
func (w *follower) notify() {
	w.ready = true
	w.signal()
}

// signal makes wait have a look at what mu guards.
func (w *follower) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (f *Feed) admit(w *follower) {
	w.state = stateJoined
	f.index.add(w)
}

func (f *Feed) remove(w *follower) {
	switch w.state {
	case stateLeft:
		return
	case stateJoining:
		f.joining, f.entering = without(f.joining, w), without(f.entering, w)
	case stateJoined:
		f.index.remove(w)
	}
	w.state, w.events, w.size = stateLeft, nil, 0
	f.interests.remove(w)
}

// drop removes a follower; its next take reports that it has left.
func (f *Feed) drop(w *follower) {
	f.remove(w)
	w.notify()
}

// giveUp drops everybody.
func (f *Feed) giveUp() {
	for w := range maps.Clone(f.interests.followers) {
		f.drop(w)
	}
}

// unlocked runs do without the lock, and locks again even when do panics.
func (f *Feed) unlocked(do func()) {
	f.mu.Unlock()
	defer f.mu.Lock()
	do()
}

// step is what the reader does next: it waits until a page is due, or reads it.
func (f *Feed) step(ctx context.Context, w *follower) {
	f.reader = w
	defer func() { f.reader = nil }()
	wait, changed := f.due(time.Now())
	if wait <= 0 {
		f.read(ctx, w.ex)
		return
	}
	f.unlocked(func() {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-changed:
		case <-w.wake:
		case <-ctx.Done():
		}
	})
}

// due returns how long to wait before the next page is read, and what ends the
// wait early.
func (f *Feed) due(now time.Time) (time.Duration, <-chan struct{}) {
	switch {
	case f.failures > 0:
		return f.retryAt.Sub(now), nil
	case f.ended < f.looks || len(f.joining) > 0 || f.changed == nil:
		return 0, nil
	case !isClosed(f.changed):
		return f.lookedAt.Add(f.poll).Sub(now), f.changed
	case f.found:
		return 0, nil
	default:
		return f.lookedAt.Add(feedPause).Sub(now), nil
	}
}

// read reads a page and gives its events out.
func (f *Feed) read(ctx context.Context, ex Executor) {
	begins := f.ended == f.looks
	if begins {
		f.beginLook()
	}
	var q Query
	if f.narrowed > 0 {
		q = f.interests.narrow()
	}
	at, changed := f.at, f.changed
	var page *cursor.Page[RawEvent]
	var err error
	f.unlocked(func() {
		if begins {
			changed = ex.Changed() // before reading, so that no commit is missed
		}
		page, err = ex.Read(ctx, q, cursor.Onward(feedPage, at))
	})
	f.changed = changed
	if err != nil {
		f.failed(ctx, err)
		return
	}
	f.failures = 0
	unwanted := 0
	for i := range page.Edges {
		if !f.give(&page.Edges[i]) {
			unwanted += len(page.Edges[i].Node.Data)
		}
	}
	if unwanted > feedUnwanted {
		f.narrowed = feedNarrow
	}
	if f.pages++; page.PageInfo.HasNextPage && f.pages == feedBehind {
		f.giveUp()
		return
	}
	f.at = page.PageInfo.EndCursor
	if !page.PageInfo.HasNextPage {
		f.endLook()
	}
}

func (f *Feed) beginLook() {
	f.polled = f.changed != nil && !isClosed(f.changed) && len(f.joining) == 0
	f.entering, f.joining = f.joining, nil
	f.looks++
	f.pages, f.found, f.lookedAt = 0, false, time.Now()
}

func (f *Feed) endLook() {
	f.ended, f.narrowed = f.looks, max(0, f.narrowed-1)
	for _, w := range f.entering {
		f.admit(w)
		w.notify()
	}
	f.entering = nil
	switch {
	case f.polled && f.found:
		f.poll = feedFirstPoll
	case f.polled:
		f.poll = min(2*f.poll, feedPoll)
	}
}

// give puts an event into the buffers of the followers that it concerns. It
// reports whether there are any.
func (f *Feed) give(e *cursor.Edge[RawEvent]) bool {
	to := f.index.find(&e.Node)
	for _, w := range to {
		if w.size += len(e.Node.Data); len(w.events) > 0 && (len(w.events) == feedBuffer || w.size > PageBytes) {
			f.drop(w)
			continue
		}
		w.events = append(w.events, fedEvent{*e, len(to) > 1})
		w.notify()
	}
	f.found = f.found || len(to) > 0
	return len(to) > 0
}

// failed puts off the next read.
func (f *Feed) failed(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil: // the reader's own context: another follower reads
	case final(err) || f.failures == feedFailures:
		f.giveUp()
	default:
		wait := backoff(f.failures)
		f.failures++
		f.retryAt = time.Now().Add(wait)
		f.unlocked(func() { f.log(ctx, err, wait) })
	}
}

// log logs a failure to read, after which the read is tried again. It locks mu.
func (f *Feed) log(ctx context.Context, err error, wait time.Duration) {
	level := slog.LevelDebug
	f.mu.Lock()
	if now := time.Now(); now.Sub(f.warnedAt) >= feedWarning {
		level, f.warnedAt = slog.LevelWarn, now
	}
	f.mu.Unlock()
	slog.Log(ctx, level, "evento: reading for Follow failed; trying again", "error", err, "wait", wait)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
