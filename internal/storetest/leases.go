// Leases that are renewed beside handlers.

package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

// Holder is a subscription whose first event keeps its handler busy for several
// leases.
type Holder struct {
	Transactional bool
	// Hold takes what a handler may hold, such as a connection, and keeps it until
	// released returns true. It asks again and again: see Until.
	Hold func(ctx context.Context, released func() bool) error
}

const (
	// lease is how long a subscription keeps its key after a renewal.
	lease = 300 * time.Millisecond
	// several is for how many leases a handler keeps what it holds. In that time
	// there are at least so many renewals.
	several  = 4
	renewals = 4 * several
	// asks is how many events there are to handle.
	asks = 3
	// attempts is how often the test is tried. On a busy machine a lease may lapse
	// because the process did nothing for so long. Leases that are not renewed
	// lapse every time.
	attempts = 5
)

// Leases starts a subscription on ex for each holder, and the same on standby.
// It fails t unless all leases are renewed while all handlers hold what they
// hold, the standby takes none over, and each event is handled once. Observer
// is a third executor on the same store, whose connections nobody holds. A store with
// one writer at a time renews nothing while a transaction is open: there a handler
// holds on for several leases.
func Leases(t *testing.T, ex, standby, observer evento.Executor, oneWriter bool, holders ...Holder) {
	t.Helper()
	for n := range attempts {
		l := &leases{attempt: n, observer: observer, oneWriter: oneWriter, all: make(chan struct{})}
		err := l.run(t, ex, standby, holders)
		if err == nil {
			return
		}
		if t.Logf("attempt %d: %v", n+1, err); !errors.Is(err, errTakenOver) || n == attempts-1 {
			t.Fatal(err)
		}
	}
}

type leases struct {
	attempt   int
	observer  evento.Executor
	oneWriter bool
	missing   atomic.Int64  // handlers that do not hold yet
	all       chan struct{} // closed when all hold
	running   []*evento.Subscription
}

var errTakenOver = errors.New("the standby has taken over")

func (l *leases) run(t *testing.T, ex, standby evento.Executor, holders []Holder) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	taken, take := context.WithCancelCause(ctx)
	defer take(nil)
	for range asks {
		if _, err := evento.Create().Event(asked{l.attempt}).Commit(ctx, l.observer); err != nil {
			return err
		}
	}
	defer func() {
		take(nil) // ends the handlers that still wait
		for _, s := range l.running {
			<-s.Done()
		}
	}()
	l.missing.Store(int64(len(holders)))
	for i, h := range holders {
		if err := l.start(taken, ex, i, h, l.first(taken, i, ex, h)); err != nil {
			return err
		}
	}
	select {
	case <-l.all:
	case <-ctx.Done():
		return fmt.Errorf("%d handlers do not hold what they are to hold", l.missing.Load())
	}
	for i, h := range holders {
		if err := l.start(taken, standby, i, h, func(hctx context.Context, _ evento.ID) error {
			take(fmt.Errorf("%w subscription %d, whose record is at revision %d", errTakenOver, i, l.revision(ctx, i)))
			<-hctx.Done()
			return hctx.Err()
		}); err != nil {
			return err
		}
	}
	return l.finish(ctx, taken, len(holders))
}

// finish waits until all events are handled, and looks whether any was handled twice.
func (l *leases) finish(ctx, taken context.Context, holders int) error {
	for i := range holders {
		for n := 0; n < asks; {
			var err error
			if n, err = l.handled(ctx, i); err != nil {
				return err
			}
			if n < asks && pause(taken) != nil {
				return fmt.Errorf("subscription %d handled %d of %d events: %w", i, n, asks, context.Cause(taken))
			}
		}
	}
	for _, s := range l.running {
		if err := s.Shutdown(ctx); err != nil {
			return fmt.Errorf("shutdown: %w", err)
		}
	}
	for i := range holders {
		if n, err := l.handled(ctx, i); err != nil || n != asks {
			return fmt.Errorf("subscription %d handled %d events, want each of %d once: %w", i, n, asks, err)
		}
	}
	return nil
}

func (l *leases) start(ctx context.Context, on evento.Executor, i int, h Holder, handle func(context.Context, evento.ID) error) error {
	b := evento.NewSubscription(l.key(i)).Standby().Lease(lease).Logger(slog.New(slog.DiscardHandler)).
		Handler(evento.Handle(func(ctx context.Context, e evento.Event[asked]) error {
			if e.Data.Attempt != l.attempt {
				return nil
			}
			return handle(ctx, e.ID)
		}))
	if h.Transactional {
		b.Transactional()
	}
	s, err := b.Start(ctx, on)
	if err == nil {
		l.running = append(l.running, s)
	}
	return err
}

func (l *leases) key(i int) string { return fmt.Sprintf("attempt %d, subscription %d", l.attempt, i) }

// first is the handler of the owner.
func (l *leases) first(ctx context.Context, i int, ex evento.Executor, h Holder) func(context.Context, evento.ID) error {
	var once sync.Once
	held := false
	return func(hctx context.Context, id evento.ID) error {
		if !held {
			if err := h.Hold(hctx, l.released(ctx, i, &once)); err != nil {
				return err
			}
			held = true
		}
		_, err := evento.Aggregate(l.key(i)).AnyVersion().Event(answered{id.String()}).Commit(hctx, ex)
		return err
	}
}

// released notes that the handler holds what it is to hold, and reports whether all have
// done so for long enough.
func (l *leases) released(ctx context.Context, i int, once *sync.Once) func() bool {
	var since time.Time
	var revision uint64
	return func() bool {
		once.Do(func() {
			if l.missing.Add(-1) == 0 {
				close(l.all)
			}
		})
		select {
		case <-l.all:
		default:
			return false
		}
		if since.IsZero() {
			since, revision = time.Now(), l.revision(ctx, i)
		}
		if l.oneWriter {
			return time.Since(since) > several*lease
		}
		return l.revision(ctx, i) >= revision+renewals
	}
}

// revision rises with each renewal.
func (l *leases) revision(ctx context.Context, i int) (sum uint64) {
	page, err := l.observer.Records(ctx, evento.RecordQuery{Kind: "subscription", Key: l.key(i)})
	if err != nil {
		return 0
	}
	for _, r := range page.Records {
		sum += r.Revision
	}
	return sum
}

// handled counts what a subscription has handled.
func (l *leases) handled(ctx context.Context, i int) (n int, err error) {
	for _, err := range evento.Events(ctx, l.observer, evento.Query{Filters: []evento.Filter{evento.ByID(leased, l.key(i))}}) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// pause waits before the next look.
func pause(ctx context.Context) error {
	select {
	case <-time.After(5 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Until calls do again and again until released returns true.
func Until(ctx context.Context, released func() bool, do func(context.Context) error) error {
	for !released() {
		if err := errors.Join(do(ctx), pause(ctx)); err != nil {
			return err
		}
	}
	return nil
}

const leased evento.AggregateType = "test/Leased"

type asked struct{ Attempt int }

func (asked) AggregateType() evento.AggregateType { return leased }
func (asked) EventName() string                   { return "Asked" }

type answered struct{ Event string }

func (answered) AggregateType() evento.AggregateType { return leased }
func (answered) EventName() string                   { return "Answered" }
