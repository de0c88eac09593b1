package appendqueue_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento/internal/appendqueue"
)

var errClosed = errors.New("closed")

type call = appendqueue.Call[int]

// gate is a flush that a test steps through: it reports each batch, and waits
// to be told to finish it.
type gate struct {
	batches chan []int
	finish  chan error
}

func newGate() *gate { return &gate{batches: make(chan []int), finish: make(chan error)} }

func (g *gate) flush(_ context.Context, take func() (context.Context, []*call)) {
	_, calls := take()
	calls = appendqueue.Hold(calls)
	batch := make([]int, len(calls))
	for i, c := range calls {
		batch[i] = c.Request
	}
	g.batches <- batch
	err := <-g.finish
	for _, c := range calls {
		c.Finish(err)
	}
}

func newQueue(g *gate, opts appendqueue.Options) *appendqueue.Queue[int] {
	opts.Closed = errClosed
	return appendqueue.New(opts, g.flush)
}

func finishAll(take func() (context.Context, []*call)) {
	_, calls := take()
	for _, c := range appendqueue.Hold(calls) {
		c.Finish(nil)
	}
}

// do calls Do in a goroutine.
func do(ctx context.Context, q *appendqueue.Queue[int], request, size int) <-chan error {
	done := make(chan error, 1)
	go func() { done <- q.Do(ctx, request, size) }()
	return done
}

func TestOneCallerIsFlushedAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		q := newQueue(g, appendqueue.Options{})
		want := errors.New("the flush's error")
		for _, err := range []error{nil, want} {
			done := do(t.Context(), q, 1, 0)
			if b := <-g.batches; len(b) != 1 {
				t.Errorf("batch %v, want [1]", b)
			}
			g.finish <- err
			if got := <-done; !errors.Is(got, err) {
				t.Errorf("Do() = %v, want %v", got, err)
			}
		}
		q.Close()
	})
}

func TestThoseWhoWaitShareTheNextFlush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		q := newQueue(g, appendqueue.Options{Linger: -1})
		first := do(t.Context(), q, 0, 0)
		<-g.batches
		var rest []<-chan error
		for i := 1; i <= 5; i++ {
			rest = append(rest, do(t.Context(), q, i, 0))
			synctest.Wait() // so that they queue in order
		}
		g.finish <- nil
		if err := <-first; err != nil {
			t.Errorf("Do() = %v", err)
		}
		if b := fmt.Sprint(<-g.batches); b != "[1 2 3 4 5]" {
			t.Errorf("the second batch is %s, want [1 2 3 4 5]", b)
		}
		g.finish <- nil
		for _, done := range rest {
			if err := <-done; err != nil {
				t.Errorf("Do() = %v", err)
			}
		}
		q.Close()
	})
}

func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		opts appendqueue.Options
		size int
		want string
	}{
		{"count", appendqueue.Options{MaxCount: 2}, 1, "[1 2] [3 4] [5]"},
		{"bytes", appendqueue.Options{MaxBytes: 30}, 10, "[1 2 3] [4 5]"},
		{"one over the bytes", appendqueue.Options{MaxBytes: 5}, 10, "[1] [2] [3] [4] [5]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				tt.opts.Linger = -1
				q := newQueue(g, tt.opts)
				pending := []<-chan error{do(t.Context(), q, 0, 0)}
				<-g.batches
				for i := 1; i <= 5; i++ {
					pending = append(pending, do(t.Context(), q, i, tt.size))
					synctest.Wait()
				}
				g.finish <- nil
				got := ""
				for n := 0; n < 5; {
					b := <-g.batches
					n += len(b)
					got += fmt.Sprint(b) + " "
					g.finish <- nil
				}
				if got != tt.want+" " {
					t.Errorf("batches %s, want %s", got, tt.want)
				}
				for _, done := range pending {
					if err := <-done; err != nil {
						t.Errorf("Do() = %v", err)
					}
				}
				q.Close()
			})
		})
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		q := newQueue(g, appendqueue.Options{Linger: -1})
		ended, cancel := context.WithCancel(t.Context())
		taken := do(ended, q, 1, 0)
		<-g.batches
		queued := do(ended, q, 2, 0)
		kept := do(t.Context(), q, 3, 0)
		synctest.Wait()
		cancel()
		if err := <-queued; !errors.Is(err, context.Canceled) {
			t.Errorf("Do() of one that waited = %v, want %v", err, context.Canceled)
		}
		synctest.Wait()
		select {
		case err := <-taken:
			t.Errorf("Do() of one that was taken returned %v before its flush", err)
		default:
		}
		g.finish <- nil
		if err := <-taken; err != nil {
			t.Errorf("Do() of one that was taken = %v, want its true outcome", err)
		}
		if b := <-g.batches; len(b) != 1 || b[0] != 3 {
			t.Errorf("batch %v, want [3]: the one that gave up must not be made", b)
		}
		g.finish <- nil
		if err := <-kept; err != nil {
			t.Errorf("Do() = %v", err)
		}
		if err := q.Do(ended, 4, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("Do() with an ended context = %v, want %v", err, context.Canceled)
		}
		q.Close()
	})
}

// A leader that gives up before it took anything lets another lead.
func TestLeaderGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		locked := make(chan struct{}) // the storage, held by somebody else
		flush := func(ctx context.Context, take func() (context.Context, []*call)) {
			select {
			case <-locked:
				finishAll(take)
			case <-ctx.Done():
			}
		}
		q := appendqueue.New(appendqueue.Options{Closed: errClosed}, flush)
		ctx, cancel := context.WithCancel(t.Context())
		leader := do(ctx, q, 1, 0)
		synctest.Wait()
		next := do(t.Context(), q, 2, 0)
		synctest.Wait()
		cancel()
		if err := <-leader; !errors.Is(err, context.Canceled) {
			t.Errorf("Do() of the leader = %v, want %v", err, context.Canceled)
		}
		close(locked)
		if err := <-next; err != nil {
			t.Errorf("Do() of the next = %v", err)
		}
		q.Close()
	})
}

// A flush that panics takes its own caller down, not those that wait, and those
// that it had taken are told.
func TestPanic(t *testing.T) {
	t.Parallel()
	for _, takes := range []bool{false, true} {
		t.Run(fmt.Sprint("takes=", takes), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := make(chan struct{})
				var flushes atomic.Int64
				lost := errors.New("lost")
				q := appendqueue.New(appendqueue.Options{Closed: errClosed, Panicked: lost, Linger: -1},
					func(_ context.Context, take func() (context.Context, []*call)) {
						if flushes.Add(1) == 1 {
							<-begin
							if takes {
								_, _ = take()
							}
							panic("broken")
						}
						finishAll(take)
					})
				panicked := make(chan any, 1)
				go func() {
					defer func() { panicked <- recover() }()
					_ = q.Do(t.Context(), 1, 0)
				}()
				synctest.Wait()
				next := do(t.Context(), q, 2, 0)
				synctest.Wait()
				close(begin)
				if p := <-panicked; p != "broken" {
					t.Errorf("recovered %v, want the panic", p)
				}
				want := error(nil)
				if takes {
					want = lost
				}
				if err := <-next; !errors.Is(err, want) {
					t.Errorf("Do() of one that waited = %v, want %v", err, want)
				}
				if err := q.Do(t.Context(), 3, 0); err != nil {
					t.Errorf("Do() after the panic = %v", err)
				}
				q.Close()
			})
		})
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		q := newQueue(g, appendqueue.Options{Linger: -1})
		taken := do(t.Context(), q, 1, 0)
		<-g.batches
		queued := do(t.Context(), q, 2, 0)
		synctest.Wait()
		closed := make(chan struct{})
		go func() { q.Close(); q.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returned during a flush")
		default:
		}
		if err := q.Do(t.Context(), 3, 0); !errors.Is(err, errClosed) {
			t.Errorf("Do() after Close = %v, want %v", err, errClosed)
		}
		g.finish <- nil
		if err := <-taken; err != nil {
			t.Errorf("Do() of one under way = %v, want nil", err)
		}
		if err := <-queued; !errors.Is(err, errClosed) {
			t.Errorf("Do() of one that waited = %v, want %v", err, errClosed)
		}
		<-closed
	})
}

// A leader that lingers takes as many as there were the last time.
func TestLingerFillsTheBatch(t *testing.T) {
	t.Parallel()
	const callers, rounds = 16, 200
	var flushes, made int
	// Not simulated time: lingering spins, and is bounded by the real clock.
	q := appendqueue.New(appendqueue.Options{Closed: errClosed, Linger: time.Second}, func(_ context.Context, take func() (context.Context, []*call)) {
		_, calls := take()
		flushes++
		made += len(calls)
		for _, c := range calls {
			c.Finish(nil)
		}
	})
	var ready, wg sync.WaitGroup
	ready.Add(callers)
	for i := range callers {
		wg.Go(func() {
			for r := range rounds {
				if r == 1 { // the crowd is known after the first round
					ready.Done()
					ready.Wait()
				}
				if err := q.Do(t.Context(), i, 0); err != nil {
					t.Errorf("Do() = %v", err)
				}
				if r >= rounds/2 && i > 0 {
					return // the crowd shrinks: nobody waits for those who left
				}
			}
		})
	}
	wg.Wait()
	q.Close()
	if want := callers*(rounds/2+1) + rounds - rounds/2 - 1; made != want {
		t.Errorf("%d requests were made, want %d", made, want)
	}
}

// Every request is flushed once, in flushes that never overlap, whatever gives
// up meanwhile; and the outcome that a caller gets is the one it had.
func TestStress(t *testing.T) {
	t.Parallel()
	const callers, rounds = 32, 300
	var inFlush atomic.Int64
	var made [callers * rounds]atomic.Int64
	refused := errors.New("refused")
	q := appendqueue.New(appendqueue.Options{Closed: errClosed, MaxCount: 20}, func(ctx context.Context, take func() (context.Context, []*call)) {
		if inFlush.Add(1) != 1 {
			t.Error("two flushes at the same time")
		}
		defer inFlush.Add(-1)
		if ctx.Err() != nil {
			return
		}
		_, calls := take()
		for _, c := range appendqueue.Hold(calls) {
			if c.Request%7 == 0 {
				c.Finish(refused)
				continue
			}
			made[c.Request].Add(1)
			c.Finish(nil)
		}
	})
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for r := range rounds {
				request := i*rounds + r
				ctx, cancel := context.WithCancel(t.Context())
				if r%3 == 0 {
					go cancel()
				}
				err := q.Do(ctx, request, 1)
				cancel()
				n := made[request].Load()
				switch {
				case err == nil && n == 1 && request%7 != 0:
				case errors.Is(err, refused) && n == 0 && request%7 == 0:
				case errors.Is(err, context.Canceled) && n == 0 && r%3 == 0:
				default:
					t.Errorf("request %d: Do() = %v, made %d times", request, err, n)
				}
			}
		})
	}
	wg.Wait()
	q.Close()
}

// giving is a flush that a test steps through: what it has taken, what it holds
// and releases, and how it ends.
type giving struct {
	t     *testing.T
	ctx   context.Context //nolint:containedctx // that of the batch, as the flush got it
	calls []*call
	steps chan func(*giving)
	done  []<-chan error
	stops []context.CancelFunc
	told  atomic.Int64
	q     *appendqueue.Queue[int]
}

var errUnknown = errors.New("unknown")

// newGiving has three callers in a batch, of which the first leads.
func newGiving(t *testing.T) *giving {
	g := &giving{t: t, steps: make(chan func(*giving))}
	first := true
	g.q = appendqueue.New(appendqueue.Options{Closed: errClosed, Unknown: errUnknown, Linger: -1, GaveUp: func() { g.told.Add(1) }},
		func(_ context.Context, take func() (context.Context, []*call)) {
			if first { // so that the others wait
				first = false
				finishAll(func() (context.Context, []*call) {
					ctx, calls := take()
					(<-g.steps)(g)
					return ctx, calls
				})
				return
			}
			g.ctx, g.calls = take()
			for step := range g.steps {
				step(g)
				if len(g.calls) == 0 {
					return
				}
			}
		})
	before := do(t.Context(), g.q, 9, 0)
	synctest.Wait()
	for i := range 3 {
		ctx, stop := context.WithCancel(t.Context())
		g.stops = append(g.stops, stop)
		g.done = append(g.done, do(ctx, g.q, i, 0))
		synctest.Wait()
	}
	g.step(func(*giving) {})
	if err := <-before; err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *giving) step(fn func(*giving)) {
	g.steps <- fn
	synctest.Wait()
}

func (g *giving) hold() { g.step(func(g *giving) { g.calls = appendqueue.Hold(g.calls) }) }

func (g *giving) finish(err error) {
	g.step(func(g *giving) {
		for _, c := range g.calls {
			c.Finish(err)
		}
		g.calls = nil
	})
}

func (g *giving) giveUp(i int) {
	g.stops[i]()
	synctest.Wait()
}

// outcomes are what the callers have got; "" of those that wait.
func (g *giving) want(when string, want ...error) {
	g.t.Helper()
	for i, done := range g.done {
		select {
		case err := <-done:
			again := make(chan error, 1)
			again <- err
			g.done[i] = again
			if errors.Is(want[i], errWaits) || !errors.Is(err, want[i]) {
				g.t.Errorf("%s: Do() of caller %d = %v, want %v", when, i, err, want[i])
			}
		default:
			if !errors.Is(want[i], errWaits) {
				g.t.Errorf("%s: caller %d waits, want %v", when, i, want[i])
			}
		}
	}
}

var errWaits = errors.New("it waits")

// What is taken and not held is withdrawn at once, by the leader too.
func TestWithdrawnBeforeTheClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGiving(t)
		g.giveUp(0)
		g.giveUp(1)
		g.want("taken", context.Canceled, context.Canceled, errWaits)
		g.hold()
		if len(g.calls) != 1 || g.calls[0].Request != 2 || g.told.Load() != 0 {
			t.Errorf("held %d calls, told %d times; want the third alone, and nobody told", len(g.calls), g.told.Load())
		}
		g.finish(nil)
		g.want("finished", context.Canceled, context.Canceled, nil)
		g.q.Close()
	})
}

// What is held waits for its outcome, which is the true one.
func TestGivenUpAfterTheClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGiving(t)
		g.hold()
		g.giveUp(0)
		g.giveUp(1)
		g.want("held", errWaits, errWaits, errWaits)
		if !g.calls[0].GivenUp() || !g.calls[1].GivenUp() || g.calls[2].GivenUp() || g.told.Load() != 2 {
			t.Errorf("given up: %t, %t, %t, told %d times; want the first two", g.calls[0].GivenUp(), g.calls[1].GivenUp(), g.calls[2].GivenUp(), g.told.Load())
		}
		g.finish(nil)
		g.want("finished", nil, nil, nil)
		g.q.Close()
	})
}

// When nothing came of it, those who gave up are let go, and others may give up.
func TestGivenUpAndReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGiving(t)
		g.hold()
		g.giveUp(0)
		g.step(func(g *giving) { appendqueue.Release(g.calls) })
		g.giveUp(1)
		g.want("released", errWaits, context.Canceled, errWaits)
		g.hold()
		g.want("held again", context.Canceled, context.Canceled, errWaits)
		if len(g.calls) != 1 || g.calls[0].Request != 2 {
			t.Errorf("held %d calls, want the third alone", len(g.calls))
		}
		g.finish(nil)
		g.want("finished", context.Canceled, context.Canceled, nil)
		g.q.Close()
	})
}

// Nobody waits for ever: after the patience the outcome is unknown, or it is known
// that nothing was stored.
func TestPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGiving(t)
		g.hold()
		g.giveUp(0)
		g.giveUp(2)
		time.Sleep(999 * time.Millisecond)
		g.step(func(g *giving) { appendqueue.Release(g.calls[2:]) })
		g.want("before it is over", errWaits, errWaits, errWaits)
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		g.want("afterwards", errUnknown, errWaits, context.Canceled)
		if err := <-g.done[0]; errors.Is(err, context.Canceled) {
			t.Errorf("Do() = %v, which says that nothing was stored", err)
		} else {
			again := make(chan error, 1)
			again <- err
			g.done[0] = again
		}
		g.finish(nil)
		g.want("finished", errUnknown, nil, context.Canceled)
		g.q.Close()
	})
}

// The context of a batch ends when all have given up, and a while after.
func TestBatchContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGiving(t)
		g.giveUp(1)
		g.hold()
		g.giveUp(0)
		time.Sleep(time.Minute)
		if err := g.ctx.Err(); err != nil {
			t.Errorf("the context has ended (%v), and one waits yet", err)
		}
		g.giveUp(2)
		if err := g.ctx.Err(); err != nil {
			t.Errorf("the context has ended at once (%v)", err)
		}
		time.Sleep(501 * time.Millisecond)
		if g.ctx.Err() == nil {
			t.Error("the context has not ended, and nobody waits")
		}
		g.finish(errClosed)
		g.want("finished", errUnknown, context.Canceled, errClosed)
		g.q.Close()
	})
}

// It does so too when the others of the batch have their outcomes already.
func TestBatchContextOfTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGiving(t)
		g.hold()
		g.step(func(g *giving) {
			g.calls[0].Finish(nil)
			g.calls[2].Finish(nil)
			g.calls = g.calls[1:2]
		})
		g.giveUp(1)
		if err := g.ctx.Err(); err != nil {
			t.Errorf("the context has ended at once (%v)", err)
		}
		time.Sleep(501 * time.Millisecond)
		if g.ctx.Err() == nil {
			t.Error("the context has not ended, and nobody waits")
		}
		g.finish(nil)
		g.want("finished", nil, nil, nil)
		g.q.Close()
	})
}

// One whose context cannot end is flushed in its own goroutine.
func TestFlushInTheOwnGoroutine(t *testing.T) {
	t.Parallel()
	var stack [4 << 10]byte
	q := appendqueue.New(appendqueue.Options{Closed: errClosed}, func(ctx context.Context, take func() (context.Context, []*call)) {
		n := runtime.Stack(stack[:], false)
		if !strings.Contains(string(stack[:n]), "TestFlushInTheOwnGoroutine(") {
			t.Errorf("the flush is in another goroutine:\n%s", stack[:n])
		}
		finishAll(take)
	})
	if err := q.Do(context.Background(), 1, 0); err != nil {
		t.Error(err)
	}
	q.Close()
}
