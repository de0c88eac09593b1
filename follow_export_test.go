package evento

import (
	"context"

	"github.com/evento-go/evento/cursor"
)

// Waker is a follower that is only woken, as an idle subscription is, for tests
// that need an executor.
type Waker struct{ *follower }

func (f *Feed) JoinWaker(ex Executor, q Query, at cursor.Value) Waker {
	w, _ := f.join(ex, q, at, true)
	return Waker{w}
}

func (w Waker) Leave()      { w.leave() }
func (w Waker) Rearm() bool { return w.rearm() }
func (w Waker) CaughtUp()   { w.caughtUp() }
func (w Waker) Wait(ctx context.Context, stop <-chan struct{}) (bool, error) {
	return w.wait(ctx, stop)
}
func (w Waker) Passed() (cursor.Value, bool) { return w.passed() }

// Followers is how many share a feed, and Indexed how many keys it knows.
func (f *Feed) Followers() (followers, indexed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.interests.followers) + len(f.joining) + len(f.entering) + f.waiting.Len(), len(f.index.byKey) + len(f.interests.kinds) + len(f.interests.types) + len(f.interests.routings)
}

// Buffered is how many events wait for followers.
func (f *Feed) Buffered() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.interests.followers {
		n += len(w.events)
	}
	return n
}
