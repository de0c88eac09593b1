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
// one already. Its InTx is that of ex; if ex has none, it returns
// [errors.ErrUnsupported], whatever the context.
func (t *Telemetry) Executor(ex evento.Executor) evento.Transactor {
	return &executor{Executor: ex, t: t}
}

type executor struct {
	evento.Executor
	t *Telemetry
}

// InTx implements [evento.Transactor].
func (e *executor) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	tx, ok := e.Executor.(evento.Transactor)
	if !ok {
		return fmt.Errorf("evento: otel: InTx on %T: %w", e.Executor, errors.ErrUnsupported)
	}
	return tx.InTx(ctx, fn)
}

// Write implements [evento.Executor].
func (e *executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if len(w.Appends) == 0 {
		return e.Executor.Write(ctx, w)
	}
	about := slices.Clip(append(operation("send", "commit"), destination(string(w.Appends[0].AggregateType))))
	events := 0
	for _, a := range w.Appends {
		events += len(a.Events)
	}
	ctx, span := e.t.tracer.Start(ctx, "commit "+string(w.Appends[0].AggregateType), trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(append(about, attribute.Int("messaging.batch.message_count", events))...))
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
		e.t.events.Record(ctx, float64(events), metric.WithAttributes(about...))
		e.t.sent.Add(ctx, int64(events), metric.WithAttributes(about...))
	}
	e.t.appendTime.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(about...))
	return receipts, err
}

// carry returns w with the span's context in the metadata of its events.
func (t *Telemetry) carry(ctx context.Context, w evento.Write) evento.Write {
	context := propagation.MapCarrier{}
	t.propagator.Inject(ctx, context)
	if len(context) == 0 {
		return w
	}
	appends := make([]evento.Append, len(w.Appends))
	copy(appends, w.Appends)
	for i := range appends {
		values := map[string]string{}
		maps.Copy(values, context)
		maps.Copy(values, appends[i].Metadata.Values) // the caller's values have precedence
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
