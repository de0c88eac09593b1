// Turns: how those who conflict over the same wait for each other.

package evento

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// turns are the lines of those who wait to update an aggregate, or to decide on a query,
// for each that somebody waits for. They are advice: the check of the commit decides. They
// are safe for concurrent use.
//
// Why: docs/decisions.md, "Updates of one aggregate take turns".
type turns struct {
	mu    sync.Mutex
	lines map[string]*line
}

// line is those who wait, first come, first served. The first has its turn.
type line struct {
	waiting []*turn
	movedAt time.Time
}

// turn is the place of one Update or Decide in a line. One goroutine uses it, except for ready.
//
//	            a line is there, or a conflict          the one before leaves
//	no place ──────────────────────────────────▶ waits ───────────────────────▶ first
//	    ▲                                          │                             │
//	    └──────────────────────────────────────────┴─────────────────────────────┘
//	                the line stands still for patience, or the update ends
type turn struct {
	of       *turns
	key      string        // what it is about
	never    bool          // it waits for nobody
	ready    chan struct{} // closed when it is first; nil: it has no place
	patience time.Duration
	tries    int // conflicts while it was first
}

const (
	// turnPatience is how long a line may stand still before those who wait go on
	// without a turn: the first may itself be waiting for one of them. It doubles
	// each time.
	turnPatience = 100 * time.Millisecond
	// freeTries is how often the first tries again at once. After that another
	// process updates the aggregate too, and the tries are spread.
	freeTries    = 3
	mostTurnWait = 50 * time.Millisecond
)

// of returns the turn of an update, which has no place yet. A transaction waits for
// nobody, as others may wait for it.
func (t *turns) of(ctx context.Context, key string) *turn {
	return &turn{of: t, key: key, never: WithinTx(ctx), patience: turnPatience}
}

// lineFor returns the first of some keys for which others wait; "": there is none, or the
// turn is about something already.
func (t *turns) lineFor(keys []string, own *turn) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.never || own.key != "" {
		return ""
	}
	i := slices.IndexFunc(keys, func(key string) bool { return t.lines[key] != nil })
	if i < 0 {
		return ""
	}
	return keys[i]
}

// wait returns when the update may be tried, or ctx has ended. Before the first
// conflict it waits only if others do.
func (t *turn) wait(ctx context.Context, conflict bool) error {
	switch {
	case t.never:
		return ctx.Err()
	case t.ready == nil:
		if !t.join(conflict) {
			return ctx.Err()
		}
	case conflict:
		return t.spread(ctx)
	}
	for {
		select {
		case <-t.ready:
			return ctx.Err()
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(t.patience):
		}
		if t.standsStill() {
			t.leave()
			t.patience *= 2
			return nil
		}
	}
}

// spread waits before the next try of the first in the line.
func (t *turn) spread(ctx context.Context) error {
	t.tries++
	if t.tries <= freeTries {
		return ctx.Err()
	}
	most := min(time.Millisecond<<min(t.tries-freeTries, 10), mostTurnWait)
	return pause(ctx, rand.N(most), nil, nil)
}

// join takes a place at the end of the line. It begins a line only if begin is set,
// and reports whether it has a place.
func (t *turn) join(begin bool) bool {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	l := t.of.lines[t.key]
	if l == nil {
		if !begin {
			return false
		}
		if t.of.lines == nil {
			t.of.lines = map[string]*line{}
		}
		l = &line{movedAt: time.Now()}
		t.of.lines[t.key] = l
	}
	t.ready = make(chan struct{})
	l.waiting = append(l.waiting, t)
	if len(l.waiting) == 1 {
		close(t.ready)
	}
	return true
}

// leave gives the place up. The next one is first then.
func (t *turn) leave() {
	if t.ready == nil {
		return
	}
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	l := t.of.lines[t.key]
	i := slices.Index(l.waiting, t)
	l.waiting = slices.Delete(l.waiting, i, i+1)
	t.ready, t.tries = nil, 0
	switch {
	case len(l.waiting) == 0:
		delete(t.of.lines, t.key)
	case i == 0:
		l.movedAt = time.Now()
		close(l.waiting[0].ready)
	}
}

// standsStill reports whether nobody has left the front of the line for patience.
func (t *turn) standsStill() bool {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	return time.Since(t.of.lines[t.key].movedAt) >= t.patience
}
