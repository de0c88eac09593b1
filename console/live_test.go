package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

// line is the end of a stream that a viewer reads. It is safe for concurrent use.
type line struct {
	header http.Header

	mu       sync.Mutex
	text     strings.Builder
	deadline time.Time
	late     int           // writes without a deadline that is near
	stuck    chan struct{} // while it is open, nobody reads; nil: somebody does
}

func newLine() *line { return &line{header: http.Header{}} }

func (l *line) Header() http.Header { return l.header }
func (l *line) WriteHeader(int)     {}
func (l *line) Flush()              {}

func (l *line) SetWriteDeadline(at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = at
	return nil
}

func (l *line) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if left := time.Until(l.deadline); left <= 0 || left > time.Minute {
		l.late++
	}
	if l.stuck != nil {
		<-l.stuck
	}
	return l.text.Write(b)
}

func (l *line) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// watch opens a stream, and returns what is closed at its end.
func watch(ctx context.Context, handler http.Handler, l *line, path string) <-chan struct{} {
	end := make(chan struct{})
	go func() {
		defer close(end)
		handler.ServeHTTP(l, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	}()
	return end
}

func ended(end <-chan struct{}) bool {
	select {
	case <-end:
		return true
	default:
		return false
	}
}

// A stream ends when its viewer may not look any more, and when the store is closed. Nothing of
// the console goes on then. Nobody waits for a viewer who does not read.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := memory.New(nil)
		commit(t, ex, "a", happened("Opened", `{}`))
		var out atomic.Bool
		handler, err := console.Handler(ex, &console.Options{Logger: quiet, Allow: func(r *http.Request, _ console.Action) bool {
			return !out.Load() || r.URL.Query().Get("name") == ""
		}})
		if err != nil {
			t.Fatal(err)
		}
		one, other := newLine(), newLine()
		leaves, stays := watch(t.Context(), handler, one, "/stream?rows=1&type=bank/Account&name=Opened"), watch(t.Context(), handler, other, "/stream?rows=1&figures=1")
		synctest.Wait()
		out.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if !ended(leaves) || ended(stays) {
			t.Errorf("after a minute the stream of who may not look has ended: %t, that of another: %t", ended(leaves), ended(stays))
		}
		if one.late+other.late > 0 {
			t.Errorf("%d writes may wait for ever", one.late+other.late)
		}
		if err := ex.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !ended(stays) {
			t.Error("the store is closed, and a stream goes on as if it were live")
		}
		late := newLine()
		if end := watch(t.Context(), handler, late, "/stream?rows=1"); !waited(end) {
			t.Error("a stream begins when the store is closed")
		}
	})
}

func waited(end <-chan struct{}) bool {
	synctest.Wait()
	return ended(end)
}

// Asking for the headers of a stream opens none.
func TestHeadOfAStream(t *testing.T) {
	t.Parallel()
	handler, err := console.Handler(newStore(t), &console.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/stream?rows=1", nil))
	if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != "text/event-stream" {
		t.Errorf("status %d, content type %q", w.Code, got)
	}
}

// A viewer who was too slow for some events is told that there were more.
func TestSlowViewer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := memory.New(nil)
		commit(t, ex, "a", happened("Opened", `{}`))
		handler, err := console.Handler(ex, &console.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		slow := newLine()
		slow.stuck = make(chan struct{})
		end := watch(t.Context(), handler, slow, "/stream?rows=1")
		for i := range 12 {
			synctest.Wait()
			commit(t, ex, "a", happened(fmt.Sprint("Event", i), `{}`))
			time.Sleep(time.Second)
		}
		close(slow.stuck)
		synctest.Wait()
		commit(t, ex, "a", happened("Afterwards", `{}`))
		time.Sleep(time.Second)
		synctest.Wait()
		said := slow.said()
		gap, next := strings.Index(said, "More events came at once"), strings.Index(said, "Afterwards")
		if gap < 0 || next < gap {
			t.Errorf("it is not told that it has missed some: %s", said)
		}
		if err := ex.Close(); err != nil {
			t.Fatal(err)
		}
		<-end
	})
}

// Nothing is left of viewers who have gone, and there are so many at most.
func TestManyViewers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := memory.New(nil)
		commit(t, ex, "a", happened("Opened", `{}`))
		handler, err := console.Handler(ex, &console.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			ctx, leave := context.WithCancel(t.Context())
			var ends []<-chan struct{}
			for i := range 1000 {
				ends = append(ends, watch(ctx, handler, newLine(), fmt.Sprintf("/stream?rows=1&figures=1&type=t%d", i)))
			}
			synctest.Wait()
			w := httptest.NewRecorder()
			if handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/stream", nil)); w.Code != http.StatusServiceUnavailable {
				t.Errorf("one more viewer: status %d", w.Code)
			}
			leave()
			synctest.Wait()
			for _, end := range ends {
				if !ended(end) {
					t.Fatal("a viewer has left, and its stream goes on")
				}
			}
		}
		if err := ex.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // the test fails if a goroutine is left
	})
}

// slowEnd is a store that takes a second to find its last event.
type slowEnd struct{ evento.Executor }

func (s slowEnd) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if args.IsBackward() && args.Limit() == 1 {
		time.Sleep(time.Second)
	}
	return s.Executor.Read(ctx, q, args)
}

// Who is told that the page is live is told of every event from then on.
func TestLiveFromTheFirstClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := slowEnd{memory.New(nil)}
		handler, err := console.Handler(ex, &console.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		viewer := newLine()
		watch(ctx, handler, viewer, "/stream?rows=1")
		for synctest.Wait(); !strings.Contains(viewer.said(), "event: clock"); synctest.Wait() {
			time.Sleep(time.Millisecond)
		}
		commit(t, ex, "a", happened("Opened", `{}`))
		time.Sleep(time.Minute)
		synctest.Wait()
		if !strings.Contains(viewer.said(), ">Opened<") {
			t.Errorf("the viewer was told %q", viewer.said())
		}
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
}
