package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento/internal/store"
)

// A watch asks while somebody waits, less often when it is quiet, and tells of
// failures once.
func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changed store.Signal
		var mu sync.Mutex // guards these
		asked, failures, at, notified := 0, 0, int64(0), false
		var err error
		locked := func(do func()) { mu.Lock(); defer mu.Unlock(); do() }
		w := store.Watch{
			Changed: &changed, Interval: 10 * time.Millisecond, Quiet: 250 * time.Millisecond,
			Ask: func(context.Context) (int64, error) {
				mu.Lock()
				defer mu.Unlock()
				asked++
				return at, err
			},
			Notified: func() bool { mu.Lock(); defer mu.Unlock(); return notified },
			Failed:   func(error) { locked(func() { failures++ }) },
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		asks := func(d time.Duration) int {
			var n int
			locked(func() { n = -asked })
			time.Sleep(d)
			synctest.Wait()
			locked(func() { n += asked })
			return n
		}
		wantAsks := func(when string, d time.Duration, low, high int) {
			t.Helper()
			if n := asks(d); n < low || n > high {
				t.Errorf("%s: it asked %d times in %s, want %d to %d", when, n, d, low, high)
			}
		}
		wantAsks("nobody waits", time.Minute, 0, 0)
		first := changed.Wait()
		wantAsks("somebody waits", time.Second, 1, 5)
		<-first // whatever came before it watched
		next := changed.Wait()
		wantAsks("soon after a change", 900*time.Millisecond, 2, 90)
		select {
		case <-next:
			t.Error("it woke, and nothing has come")
		default:
		}
		time.Sleep(2 * time.Second)
		wantAsks("it is quiet", 2500*time.Millisecond, 9, 11)
		locked(func() { at = 7 })
		<-next
		_ = changed.Wait()
		wantAsks("after a change", 500*time.Millisecond, 45, 51)
		locked(func() { notified = true })
		time.Sleep(100 * time.Millisecond)
		wantAsks("the store tells", 500*time.Millisecond, 1, 3)
		locked(func() { notified, err = false, errors.New("failure") })
		time.Sleep(time.Second)
		wantAsks("it fails", 2500*time.Millisecond, 9, 11)
		wantFailures := func(want int) {
			t.Helper()
			locked(func() {
				if failures != want {
					t.Errorf("told of %d failures, want %d", failures, want)
				}
			})
		}
		wantFailures(1) // until it works again
		locked(func() { err, at = nil, 8 })
		time.Sleep(time.Second)
		locked(func() { err = errors.New("failure") })
		_ = changed.Wait()
		time.Sleep(time.Second)
		wantFailures(2)
		cancel()
		<-ended
	})
}
