package eventotel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/evento-go/evento"
)

// Executor returns an executor that records the commits of ex. It writes the
// context of their spans into the metadata of their events, unless the metadata has
// one already. Its InTx and Import are those of ex; if ex has none, they return
// [errors.ErrUnsupported], whatever the context. What is committed in a transaction is
// counted when that is committed.
func (t *Telemetry) Executor(ex evento.Executor) evento.Transactor {
	return &executor{Executor: ex, t: t}
}

type executor struct {
	evento.Executor
	t *Telemetry
}

var _ evento.Importer = (*executor)(nil)

// counts is what is to be counted when a transaction is committed.
type counts struct{ all []func() }

// countsKey is the context key of an executor's counts.
type countsKey struct{ of *executor }

// InTx implements [evento.Transactor].
func (e *executor) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	tx, ok := e.Executor.(evento.Transactor)
	if !ok {
		return fmt.Errorf("evento: otel: InTx on %T: %w", e.Executor, errors.ErrUnsupported)
	}
	if ctx.Value(countsKey{e}) != nil { // it joins
		return tx.InTx(ctx, fn)
	}
	var made counts
	err := tx.InTx(ctx, func(ctx context.Context) error {
		made.all = nil
		return fn(context.WithValue(ctx, countsKey{e}, &made))
	})
	if err == nil {
		for _, count := range made.all {
			count()
		}
	}
	return err
}

// count counts now or, in a transaction, when that is committed.
func (e *executor) count(ctx context.Context, fn func()) {
	if c, ok := ctx.Value(countsKey{e}).(*counts); ok {
		c.all = append(c.all, fn)
		return
	}
	fn()
}

// Import implements [evento.Importer].
func (e *executor) Import(ctx context.Context, events []evento.RawEvent) error {
	im, ok := e.Executor.(evento.Importer)
	if !ok {
		return fmt.Errorf("evento: otel: Import on %T: %w", e.Executor, errors.ErrUnsupported)
	}
	return im.Import(ctx, events)
}

// Write implements [evento.Executor].
func (e *executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if len(w.Appends) == 0 {
		return e.Executor.Write(ctx, w)
	}
	events := 0
	sent := map[evento.AggregateType]int{}
	for _, a := range w.Appends {
		events += len(a.Events)
		sent[a.AggregateType] += len(a.Events)
	}
	about, name := operation("send", "commit", slices.Collect(maps.Keys(sent)))
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(about...)}
	if events > 1 {
		opts = append(opts, trace.WithAttributes(batch(events)))
	}
	ctx, span := e.t.tracer.Start(ctx, name, opts...)
	defer span.End()
	began := time.Now()
	receipts, err := e.Executor.Write(ctx, e.t.carry(ctx, w))
	if err != nil {
		about = append(about, attribute.String("error.type", errorType(err)))
		span.SetStatus(codes.Error, err.Error())
		if errors.Is(err, evento.ErrConflict) {
			e.t.conflicts.Add(ctx, 1, metric.WithAttributes(about...))
		}
	} else {
		e.count(ctx, func() {
			e.t.events.Record(ctx, float64(events), metric.WithAttributes(about...))
			for destination, n := range sent {
				about, _ := operation("send", "commit", []evento.AggregateType{destination})
				e.t.sent.Add(ctx, int64(n), metric.WithAttributes(about...))
			}
		})
	}
	e.t.appendTime.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(about...))
	return receipts, err
}

// carry returns w with the span's context in the metadata of its events. Metadata that
// has a context keeps it, whole.
func (t *Telemetry) carry(ctx context.Context, w evento.Write) evento.Write {
	context := propagation.MapCarrier{}
	t.propagator.Inject(ctx, context)
	if len(context) == 0 {
		return w
	}
	appends := slices.Clone(w.Appends)
	for i := range appends {
		own := appends[i].Metadata.Values
		if slices.ContainsFunc(t.propagator.Fields(), func(field string) bool { _, has := own[field]; return has }) {
			continue
		}
		values := maps.Clone(own)
		if values == nil {
			values = map[string]string{}
		}
		maps.Copy(values, context)
		appends[i].Metadata.Values = values
	}
	w.Appends = appends
	return w
}

// errorType returns the kind of an error: one of a few values.
func errorType(err error) string {
	for _, kind := range []struct {
		err  error
		name string
	}{
		{evento.ErrConflict, "conflict"},
		{evento.ErrOutcomeUnknown, "outcome_unknown"},
		{evento.ErrInvalid, "invalid"},
		{evento.ErrTooLarge, "too_large"},
		{evento.ErrFull, "full"},
		{evento.ErrReadOnly, "read_only"},
		{evento.ErrClosed, "closed"},
		{evento.ErrDecode, "undecodable"},
		{context.DeadlineExceeded, "timeout"},
		{context.Canceled, "canceled"},
	} {
		if errors.Is(err, kind.err) {
			return kind.name
		}
	}
	return "_OTHER"
}
