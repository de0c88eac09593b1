// Calls of a store that does not answer.

package torture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// bounded is a store whose calls return, also when a method ignores its context. A call that has not
// returned as long as patience after its context has ended, or after the worker has, is left to
// itself: the worker has given up. From then on every call fails with [evento.ErrClosed], so that
// whoever follows the store or handles its events ends. It is safe for concurrent use.
type bounded struct {
	evento.Executor
	*patient
	limited bool // see limit
}

// patient is who calls a store, and when they give up.
type patient struct {
	who      string
	patience time.Duration
	over     <-chan struct{} // closed when all calls are to end; nil: each ends by its context
	stop     func()          // is called when they give up

	once sync.Once
	gone chan struct{} // closed when they have given up
	why  *stuckError   // set before gone is closed
}

func newBounded(ex evento.Executor, who string, patience time.Duration, over <-chan struct{}, stop func()) *bounded {
	return &bounded{Executor: ex, patient: &patient{who: who, patience: patience, over: over, stop: stop, gone: make(chan struct{})}}
}

// limit is the same store, on which the context of each call ends after patience.
func (b *bounded) limit() *bounded { return &bounded{b.Executor, b.patient, true} }

// stuckError is that a call of the store does not return. The executor cannot be closed either, as
// Close waits for its calls.
type stuckError struct {
	who, call string
	patience  time.Duration
}

func (e *stuckError) Error() string {
	return fmt.Sprintf("evento: %s gives up, as its %s has not returned for %s after it was told to end", e.who, e.call, e.patience)
}

func isStuck(err error) bool {
	var stuck *stuckError
	return errors.As(err, &stuck)
}

// unansweredError is that a call has returned as its time was over, and not with an answer.
type unansweredError struct {
	call     string
	patience time.Duration
	err      error
}

func (e *unansweredError) Error() string { return fmt.Sprintf("evento: %s: %v", e.what(), e.err) }

func (e *unansweredError) what() string {
	return fmt.Sprintf("%s was not answered for %s", e.call, e.patience)
}

func (e *unansweredError) Unwrap() error { return e.err }

func (p *patient) haveGivenUp() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// err is the call for which they have given up, or nil.
func (p *patient) err() error {
	if p.haveGivenUp() {
		return p.why
	}
	return nil
}

func (p *patient) giveUp(call string) {
	p.once.Do(func() {
		p.why = &stuckError{p.who, call, p.patience}
		close(p.gone)
		p.stop()
	})
}

// grace is how long a subscription that is told to stop lets its calls go on: [evento.Run] says so.
const grace = 10 * time.Second

// within makes a call, and returns when it does, or when they have given up.
func within[T any](ctx context.Context, b *bounded, call string, do func(context.Context) (T, error)) (none T, err error) {
	if b.limited {
		limited, cancel := context.WithTimeout(ctx, b.patience)
		defer cancel()
		ctx = limited
	}
	if b.haveGivenUp() {
		return none, fmt.Errorf("%w to %s", evento.ErrClosed, b.who)
	}
	type result struct {
		value T
		err   error
	}
	returned := make(chan result, 1)
	go func() {
		v, err := do(ctx)
		returned <- result{v, err}
	}()
	select {
	case r := <-returned:
		return r.value, r.err
	case <-ctx.Done():
	case <-b.over:
	}
	wait := b.patience
	if ctx.Err() == nil {
		wait += grace
	}
	select {
	case r := <-returned:
		if b.limited && r.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			r.err = &unansweredError{call, b.patience, r.err}
		}
		return r.value, r.err
	case <-b.gone:
	case <-time.After(wait):
		b.giveUp(call)
	}
	return none, fmt.Errorf("%w to %s", evento.ErrClosed, b.who)
}

func (b *bounded) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	call := "Write"
	if len(w.Appends) > 0 {
		m := w.Appends[0].Metadata
		call += " of " + cmp.Or(m.ID, m.CorrelationID, w.Appends[0].AggregateID) // the operation, or that which has set a deadline
	}
	return within(ctx, b, call, func(ctx context.Context) ([]evento.Receipt, error) { return b.Executor.Write(ctx, w) })
}

func (b *bounded) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	return within(ctx, b, "Read", func(ctx context.Context) (*cursor.Page[evento.RawEvent], error) { return b.Executor.Read(ctx, q, args) })
}

func (b *bounded) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	return within(ctx, b, "Records", func(ctx context.Context) (*evento.RecordPage, error) { return b.Executor.Records(ctx, q) })
}

func (b *bounded) Swap(ctx context.Context, s evento.Swap) error {
	_, err := within(ctx, b, "Swap", func(ctx context.Context) (struct{}, error) { return struct{}{}, b.Executor.Swap(ctx, s) })
	return err
}

// Close closes the store, unless a call of it has not returned.
func (b *bounded) Close() error {
	if b.haveGivenUp() {
		return nil
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := within(ended, b, "Close", func(context.Context) (struct{}, error) { return struct{}{}, b.Executor.Close() })
	if stuck := b.err(); stuck != nil {
		return stuck
	}
	return err
}
