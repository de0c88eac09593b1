// Waiting for those who follow a store and handle its events.

package torture

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// defaultPatience is how long things may take that take no time: starting, ending, and each step
// of catching up.
const defaultPatience = 3 * time.Minute

// leastWait is how long to wait at least before something is tried again, and mostWait at most.
const (
	leastWait = 50 * time.Millisecond
	mostWait  = time.Second
)

// pausing waits before something is tried again, unless ctx ends.
func pausing(ctx context.Context) { waiting(ctx, leastWait) }

func waiting(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// persistently does something that fails while a server is down: it tries again, for as long as
// patience. What is damaged remains so.
func persistently[T any](ctx context.Context, patience time.Duration, do func(context.Context) (T, error)) (T, error) {
	for deadline := time.Now().Add(patience); ; {
		v, err := do(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, evento.ErrDamaged) || time.Now().After(deadline) {
			return v, err
		}
		pausing(ctx)
	}
}

// distance is how far something is that is waited for.
type distance interface {
	comparable
	none() bool
	String() string
}

// awaited waits until nothing is left. A slow store may take as long as it needs: it gives up when
// nothing went on for as long as patience, and says what is left then, or which call the store has not
// answered for so long. Its error is that of a store that fails for so long.
func awaited[D distance](ctx context.Context, patience time.Duration, look func(context.Context) (D, error)) (left string, err error) {
	var last D
	began := time.Now() // the last progress, or later by how long the store has failed since
	worked := began
	for wait := leastWait; ; wait = min(2*wait, mostWait) {
		d, err := look(ctx)
		now := time.Now()
		var unanswered *unansweredError
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case errors.As(err, &unanswered) && now.Sub(worked) >= patience:
			return unanswered.what(), nil
		case err != nil && now.Sub(worked) > patience:
			return "", err
		case err == nil && d.none():
			return "", nil
		case err == nil && d != last:
			last, began, wait = d, now, leastWait
		case err == nil && now.Sub(began) > patience:
			return d.String(), nil
		}
		if err == nil {
			worked = now
		}
		waiting(ctx, wait)
		if err != nil {
			began = began.Add(time.Since(now))
		}
	}
}

// handledUpTo is up to which position each subscription has handled all. One that has never
// begun is at 0.
func handledUpTo(ctx context.Context, ex evento.Executor) (at [2]uint64, err error) {
	for i, key := range []string{inOrder, partitioned} {
		s, err := evento.ControlOf(ex, key).StatusWithin(ctx, 1)
		switch {
		case errors.Is(err, evento.ErrNotFound):
		case err != nil:
			return at, err
		default:
			at[i] = s.Position
		}
	}
	return at, nil
}

// headOf is the last position of a store.
func headOf(ctx context.Context, ex evento.Executor) (uint64, error) {
	last, err := ex.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
	if err != nil || len(last.Edges) == 0 {
		return 0, err
	}
	return last.Edges[0].Node.Position, nil
}

// reached is the position up to which an observer was given the log, as soon as it has begun. It is
// safe for concurrent use.
type reached struct{ next atomic.Uint64 }

func (r *reached) set(position uint64) { r.next.Store(position + 1) }

// way is how far a worker's observer and the subscriptions have come on their way to a position.
type way struct {
	to      uint64
	next    uint64 // the position after that of the observer; 0: it has not begun
	handled [2]uint64
}

func (w way) none() bool { return w.next > w.to && min(w.handled[0], w.handled[1]) >= w.to }

func (w way) String() string {
	return fmt.Sprintf("of %d positions the observer was given those before %d, and %s is at %d, %s at %d", w.to, w.next, inOrder, w.handled[0], partitioned, w.handled[1])
}

// arrive waits until the worker's observer and the subscriptions have come to the position that is
// the last one now, and returns what the history is told when the worker has ended. The
// subscriptions may be handled by other workers. Whether they have come there is judged by what they
// have written into the history by the time of that line.
func (w Worker) arrive(ctx context.Context, store *bounded, at *reached) (*entry, error) {
	ex := store.limit()
	to, err := persistently(ctx, w.Patience, func(ctx context.Context) (uint64, error) { return headOf(ctx, ex) })
	left := ""
	if err == nil {
		left, err = awaited(ctx, w.Patience, func(ctx context.Context) (way, error) {
			handled, err := handledUpTo(ctx, ex)
			// What is behind the position is no progress.
			return way{to, min(at.next.Load(), to+1), [2]uint64{min(handled[0], to), min(handled[1], to)}}, err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("evento: worker %s was told to end, and the store fails: %w", w.Name, err)
	}
	return &entry{What: ended, Op: w.Name, Position: to, Why: left}, nil
}
