// One read of what is new, for all who follow a store.

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

// Feed is what those who follow a store through one executor share: one read of
// what is new, given to each whom it concerns. See [Follow].
//
// It is for the authors of executors, who have nothing to do with it but to keep
// it: an executor has one field of this type, whose zero value is ready, and
// returns its address from [Executor.Feed]. An executor that embeds another one
// shares that one's feed, and should: events are read through either of them.
// One that changes what Read returns needs a feed of its own. Read is asked for
// all events, whatever the followers ask for.
//
// # Concurrency
//
// A feed has no goroutine. It is driven by those of its followers who wait for
// events, in [follower.wait]. One of them is the reader: it waits for the
// executor's signal, reads a page behind the feed's place, puts each event into
// the buffers of the followers that it concerns, and wakes them. When the page
// had an event for the reader itself it returns with that to its consumer, and
// the one who has waited longest is woken to be the reader. A follower whose
// consumer is at work is never the reader. So nothing is read while nobody
// waits, and when the last follower leaves nothing is left to end.
//
// A follower is joining, joined, or has left:
//
//	joining → joined   by the reader, at the end of a look, see below
//	joining, joined → left   by itself (leave), or by the reader: when its buffer
//	                         is full, or the feed gives up
//
// A look is the reading from the feed's place to the end of the store: one page,
// mostly. Who joins waits for the end of a look that began after it came, and is
// given events from there on. So the feed's place is not before its own then,
// and what lies between the two it can read itself. A look may take several
// pages and several readers.
//
// mu guards everything here, and what is said to be so of a follower. It is not
// held while the reader reads or waits, nor while anything of an executor is
// called; only the reader moves at and the state of the look meanwhile. No other
// lock is taken under it.
type Feed struct {
	mu      sync.Mutex
	reader  *follower // reads or waits for a signal; nil: nobody
	waiting list.List // of *follower: who waits and is not the reader, the longest first

	interests interests   // of all followers
	index     index       // the joined ones
	joining   []*follower // until the next look begins
	entering  []*follower // until the look under way ends

	at       cursor.Value    // everything up to here was given out
	looks    uint64          // that were begun
	ended    uint64          // the last one that has ended
	looking  bool            // one is under way
	polled   bool            // it was begun without a signal
	pages    int             // it has read so many
	found    bool            // it has found something
	narrow   int             // for how many looks not everything is read
	lookedAt time.Time       // when it began
	changed  <-chan struct{} // asked for before it began; nil: look at once
	poll     time.Duration   // when to look without a signal
	failures int             // of reading, since one succeeded
	retryAt  time.Time       // after a failure
	stamp    uint64          // counts the events given out
	warnedAt time.Time       // of a failure, by whoever met it
}

const (
	// feedPage is how many events are read at a time, and feedBuffer how many
	// may wait for a follower who is at work, unless they have more than
	// PageBytes of payload. One who falls further behind reads for itself.
	feedPage   = 256
	feedBuffer = 512
	// feedBehind is how many pages a look may take. A feed that is further
	// behind, as after the import of a store, gives up: each follower reads for
	// itself what concerns it, which may be little.
	feedBehind = 100
	// feedFailures is how many failures in a row are waited out, some seconds.
	// Then the feed gives up, and each follower finds out for itself: an event
	// that cannot be read stops those whom it concerns.
	feedFailures = 8
	// feedWarning is the least time between two warnings of failures, however
	// many meet them.
	feedWarning = time.Second
	// By default a feed reads everything: stores have the least to do then, when
	// little is new. After a page with over feedVain of payload that concerned
	// nobody it reads what is narrower, for feedNarrow looks.
	feedVain   = 64 << 10
	feedNarrow = 1000
	// feedPause is the least time between two looks when the former has found
	// nothing. It bounds what is read in vain of a busy store.
	feedPause = time.Millisecond
	// A look without a signal is made after feedFirstPoll. That doubles up
	// to feedPoll, and begins again when such a look has found something.
	feedFirstPoll = 5 * time.Millisecond
	feedPoll      = time.Second
)

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
	if len(f.interests.followers) == 0 {
		// Who follows next begins anew.
		f.at, f.changed, f.looking, f.failures, f.narrow = "", nil, false, 0, 0
	}
}

// drop removes a follower that finds out by being woken.
func (f *Feed) drop(w *follower) {
	f.remove(w)
	w.call()
}

// giveUp drops everybody.
func (f *Feed) giveUp() {
	for w := range maps.Clone(f.interests.followers) {
		f.drop(w)
	}
}

// wait returns nil when there is something for the follower: events, that it has
// joined, or that it has left. It returns the error of ctx when that ends.
// Meanwhile it may be the reader, with ctx.
func (w *follower) wait(ctx context.Context) error {
	f := w.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	var place *list.Element
	defer func() {
		if place != nil {
			f.waiting.Remove(place)
		}
		f.appoint()
	}()
	for !w.ready && w.state != stateLeft {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case f.reader == nil:
			f.step(ctx, w)
			continue
		}
		if place == nil {
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

// appoint wakes who is to be the next reader, if there is none.
func (f *Feed) appoint() {
	if next := f.waiting.Front(); f.reader == nil && next != nil {
		next.Value.(*follower).signal()
	}
}

// unlocked runs do without the lock. It has it again also when do panics.
func (f *Feed) unlocked(do func()) {
	f.mu.Unlock()
	defer f.mu.Lock()
	do()
}

// step is what the reader does next: it waits for a page to be due, or reads it.
func (f *Feed) step(ctx context.Context, w *follower) {
	f.reader = w
	defer func() { f.reader = nil }()
	if wait, changed := f.due(time.Now()); wait > 0 {
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
		return
	}
	f.read(ctx, w.ex)
}

// due is when the next page is to be read, and what brings it forward.
func (f *Feed) due(now time.Time) (time.Duration, <-chan struct{}) {
	switch {
	case f.failures > 0:
		return f.retryAt.Sub(now), nil
	case f.looking || len(f.joining) > 0 || f.changed == nil:
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
	begins := !f.looking
	if begins {
		f.beginLook()
	}
	var q Query
	if f.narrow > 0 {
		q = f.interests.narrow()
	}
	at, changed := f.at, f.changed
	var page *cursor.Page[RawEvent]
	var err error
	f.unlocked(func() {
		if begins {
			changed = ex.Changed() // ask first, then read
		}
		page, err = ex.Read(ctx, q, cursor.Onward(feedPage, at))
	})
	f.changed = changed
	if err != nil {
		f.failed(ctx, err)
		return
	}
	f.failures = 0
	vain := 0
	for i := range page.Edges {
		if !f.give(&page.Edges[i]) {
			vain += len(page.Edges[i].Node.Data)
		}
	}
	if vain > feedVain {
		f.narrow = feedNarrow
	}
	f.pages++
	switch {
	case len(f.interests.followers) == 0: // none of them had room
	case !page.PageInfo.HasNextPage:
		f.at = page.PageInfo.EndCursor
		f.endLook()
	case f.pages == feedBehind:
		f.giveUp()
	default:
		f.at = page.PageInfo.EndCursor
	}
}

func (f *Feed) beginLook() {
	f.polled = f.changed != nil && !isClosed(f.changed) && len(f.joining) == 0
	f.entering, f.joining = append(f.entering, f.joining...), nil
	f.looks++
	f.looking, f.pages, f.found, f.lookedAt = true, 0, false, time.Now()
}

func (f *Feed) endLook() {
	f.looking, f.ended, f.narrow = false, f.looks, max(0, f.narrow-1)
	for _, w := range f.entering {
		f.admit(w)
		w.call()
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
	f.stamp++
	to := f.index.find(&e.Node, f.stamp)
	for _, w := range to {
		f.found = true
		if w.size += len(e.Node.Data); len(w.events) > 0 && (len(w.events) == feedBuffer || w.size > PageBytes) {
			f.drop(w)
			continue
		}
		w.events = append(w.events, fedEvent{*e, len(to) > 1})
		w.call()
	}
	return len(to) > 0
}

// failed puts the next read off.
func (f *Feed) failed(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil: // the reader's own; another one reads again
	case final(err) || f.failures == feedFailures:
		f.giveUp()
	default:
		wait := backoff(f.failures)
		f.failures++
		f.retryAt = time.Now().Add(wait)
		f.unlocked(func() { f.log(ctx, err, wait) })
	}
}

// log logs a failure of reading that is waited out.
func (f *Feed) log(ctx context.Context, err error, wait time.Duration) {
	level := slog.LevelDebug
	f.mu.Lock()
	if now := time.Now(); now.Sub(f.warnedAt) >= feedWarning {
		level, f.warnedAt = slog.LevelWarn, now
	}
	f.mu.Unlock()
	slog.Log(ctx, level, "evento: the store failed those who follow it; trying again", "error", err, "wait", wait)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
