// Time in tests: it passes, and deadlines come true.

package eventotest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/evento-go/evento"
)

// last is the time of the last event, or of the beginning. The clock is a second behind the
// last of the given events.
func (s *store) last() time.Time {
	at := time.UnixMicro(s.clock.Load()).UTC()
	if s.events > 0 && !s.ran {
		at = at.Add(-time.Second)
	}
	return at
}

// wait lets time pass until t. Whenever deadlines come true, handle is called with them before
// time passes on.
func (s *store) wait(ctx context.Context, t time.Time, handle func(came []setDeadline) error) error {
	last := s.last()
	if t.Before(last) {
		return fmt.Errorf("%s is before the last event, which is of %s", describe(t), describe(last))
	}
	s.clock.Store(last.UnixMicro())
	s.ran = true
	for {
		came, err := s.next(ctx, t)
		if err != nil || len(came) == 0 {
			return err
		}
		if err := handle(came); err != nil {
			return err
		}
	}
}

// next lets time pass until t, or until some deadlines have come true, which it returns.
func (s *store) next(ctx context.Context, t time.Time) (came []setDeadline, err error) {
	for d, err := range evento.Deadlines(ctx, s) {
		if err != nil {
			return nil, err
		}
		if len(came) == 0 && !d.At.After(t) {
			s.clock.Store(max(s.clock.Load(), d.At.UnixMicro()))
		}
		if d.At.UnixMicro() > s.clock.Load() {
			break
		}
		came = append(came, setDeadline{Deadline: d})
	}
	if len(came) == 0 {
		s.clock.Store(t.UnixMicro())
		return nil, nil
	}
	return came, comeTrue(ctx, s, s.clock.Load())
}

// foresee returns the events that come true until a time, and leaves the store as it is.
func (s *store) foresee(ctx context.Context, until time.Time) ([]evento.RawEvent, error) {
	now := s.clock.Load()
	defer s.clock.Store(now)
	s.clock.Store(max(now, until.UnixMicro()))
	f := &foreseen{store: s, gone: map[evento.RecordKey]bool{}}
	err := comeTrue(ctx, f, s.clock.Load())
	return f.events, err
}

// foreseen is a store that keeps what is written to it for itself.
type foreseen struct {
	*store
	events []evento.RawEvent
	gone   map[evento.RecordKey]bool
}

// Write implements [evento.Executor].
func (f *foreseen) Write(_ context.Context, w evento.Write) ([]evento.Receipt, error) {
	for _, a := range w.Appends {
		for _, e := range a.Events {
			f.events = append(f.events, evento.RawEvent{
				ID: e.ID, AggregateType: a.AggregateType, AggregateID: a.AggregateID,
				Name: e.Name, Tags: e.Tags, Codec: e.Codec, Data: e.Data, Metadata: a.Metadata,
			})
		}
	}
	for _, c := range w.Swap.Changes {
		f.gone[c.RecordKey] = true
	}
	return make([]evento.Receipt, len(w.Appends)), nil
}

// Records implements [evento.Executor].
func (f *foreseen) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	for {
		page, err := f.store.Records(ctx, q)
		if err != nil {
			return nil, err
		}
		if n := len(page.Records); n > 0 {
			q.After = page.Records[n-1].RecordKey
		}
		page.Records = slices.DeleteFunc(page.Records, func(r evento.Record) bool { return f.gone[r.RecordKey] })
		if len(page.Records) > 0 || !page.More {
			return page, nil
		}
	}
}

// comeTrue makes the deadlines that are due now come true, in microseconds.
func comeTrue(ctx context.Context, ex evento.Executor, now int64) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d := &due{Executor: ex, now: now, stop: stop}
	if !d.left(ctx) {
		return d.err
	}
	if err := evento.RunDeadlines(ctx, d); d.err == nil && !d.done {
		return err // of the test's context
	}
	return d.err
}

// due is the executor of a RunDeadlines that ends as soon as none is due any more, or one
// cannot come true.
type due struct {
	evento.Executor
	now  int64
	stop func()
	done bool
	err  error
}

// Write implements [evento.Executor].
func (d *due) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	receipts, err := d.Executor.Write(ctx, w)
	if d.err == nil {
		d.err = err
	}
	if err != nil || !d.left(ctx) {
		d.done = true
		d.stop()
	}
	return receipts, err
}

// left reports whether there is a deadline that is due.
func (d *due) left(ctx context.Context) bool {
	for next, err := range evento.Deadlines(ctx, d.Executor) {
		if err != nil {
			d.err = err
			return false
		}
		return next.At.UnixMicro() <= d.now
	}
	return false
}
