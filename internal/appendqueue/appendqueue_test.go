package appendqueue_test

import (
	"context"
	"errors"
	"fmt"
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

func (g *gate) flush(_ context.Context, take func() []*call) {
	calls := take()
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
		flush := func(ctx context.Context, take func() []*call) {
			select {
			case <-locked:
			case <-ctx.Done():
				return
			}
			for _, c := range take() {
				c.Finish(nil)
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
					func(_ context.Context, take func() []*call) {
						if flushes.Add(1) == 1 {
							<-begin
							if takes {
								take()
							}
							panic("broken")
						}
						for _, c := range take() {
							c.Finish(nil)
						}
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
	q := appendqueue.New(appendqueue.Options{Closed: errClosed, Linger: time.Second}, func(_ context.Context, take func() []*call) {
		calls := take()
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
	q := appendqueue.New(appendqueue.Options{Closed: errClosed, MaxCount: 20}, func(ctx context.Context, take func() []*call) {
		if inFlush.Add(1) != 1 {
			t.Error("two flushes at the same time")
		}
		defer inFlush.Add(-1)
		if ctx.Err() != nil {
			return
		}
		for _, c := range take() {
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

// A flush learns that callers of what it has taken gave up, its own leader
// among them, and may let them go.
func TestTheFlushLearnsWhoGaveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		told := 0
		opts := appendqueue.Options{Closed: errClosed, Linger: -1, GaveUp: func() { told++ }}
		batches, cont := make(chan []*call), make(chan struct{})
		q := appendqueue.New(opts, func(_ context.Context, take func() []*call) {
			calls := take()
			batches <- calls
			<-cont
			for _, c := range calls {
				if c.GivenUp() {
					c.Finish(appendqueue.ErrWithdrawn)
				} else {
					c.Finish(nil)
				}
			}
		})
		first := do(t.Context(), q, 0, 0)
		<-batches
		leading, stopLeading := context.WithCancel(t.Context())
		following, stopFollowing := context.WithCancel(t.Context())
		var done []<-chan error
		for i, ctx := range []context.Context{leading, following, t.Context()} {
			done = append(done, do(ctx, q, i+1, 0))
			synctest.Wait()
		}
		cont <- struct{}{}
		if err := <-first; err != nil || told != 0 {
			t.Errorf("Do() = %v, GaveUp was called %d times, want none", err, told)
		}
		calls := <-batches
		for i, stop := range []func(){stopLeading, stopFollowing} {
			if calls[i].GivenUp() {
				t.Errorf("call %d has given up already", i+1)
			}
			stop()
			synctest.Wait()
			if !calls[i].GivenUp() || told != i+1 {
				t.Errorf("call %d: given up %t, GaveUp was called %d times, want %d", i+1, calls[i].GivenUp(), told, i+1)
			}
		}
		cont <- struct{}{}
		for i, want := range []error{context.Canceled, context.Canceled, nil} {
			if err := <-done[i]; !errors.Is(err, want) {
				t.Errorf("Do() of call %d = %v, want %v", i+1, err, want)
			}
		}
		q.Close()
	})
}
