package eventotel

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/evento-go/evento"
)

// Hooks returns hooks for [evento.SubscriptionBuilder.Hooks].
func (t *Telemetry) Hooks() evento.SubscriptionHooks {
	return evento.SubscriptionHooks{
		Handle: t.handle,
		Retry: func(ctx context.Context, key string, e evento.RawEvent, _ int, err error) {
			t.retries.Add(ctx, 1, failed(ctx, key, &e, err))
		},
		GaveUp: func(ctx context.Context, key string, e evento.RawEvent, _ int, err error) {
			t.failures.Add(ctx, 1, failed(ctx, key, &e, err))
		},
		Owner: func(ctx context.Context, key string, _ int, owner bool) {
			n := int64(-1)
			if owner {
				n = 1
			}
			t.owned.Add(ctx, n, metric.WithAttributes(subscription(ctx, key)...))
		},
	}
}

// subscription returns the attributes of the subscription whose hook has this
// context.
func subscription(ctx context.Context, key string) []attribute.KeyValue {
	name := []attribute.KeyValue{group(key)}
	if routing := evento.DeliveryFrom(ctx).RoutingKey; routing != "" {
		name = append(name, attribute.String("evento.subscription.routing_key", routing))
	}
	return name
}

// failed returns the attributes of an event's failure.
func failed(ctx context.Context, key string, e *evento.RawEvent, err error) metric.MeasurementOption {
	return metric.WithAttributes(append(subscription(ctx, key), destination(e.AggregateType), attribute.String("error.type", errorType(err)))...)
}

func (t *Telemetry) handle(ctx context.Context, key string, events []evento.RawEvent, next func(context.Context) error) error {
	about, name := operation("process", "handle", []evento.AggregateType{events[0].AggregateType}) // a batch has one kind
	about = slices.Concat(about, subscription(ctx, key))
	began := time.Now()
	t.lag.Record(ctx, max(0, began.Sub(events[0].Timestamp)).Seconds(), metric.WithAttributes(about...))
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(about...)}
	if len(events) == 1 {
		e := &events[0]
		opts = append(opts, trace.WithAttributes(
			attribute.String("messaging.message.id", e.ID.String()),
			attribute.String("evento.event.name", e.Name),
			attribute.String("evento.aggregate.id", e.AggregateID),
			attribute.Int64("evento.event.version", int64(e.Version)),
		))
	} else {
		opts = append(opts, trace.WithAttributes(batch(len(events))))
	}
	if links := t.links(events); len(links) > 0 {
		opts = append(opts, trace.WithLinks(links...))
	}
	ctx, span := t.tracer.Start(ctx, name, opts...)
	defer span.End()
	err := next(ctx)
	if err != nil {
		about = append(about, attribute.String("error.type", errorType(err)))
		span.SetStatus(codes.Error, err.Error())
	}
	t.consumed.Add(ctx, int64(len(events)), metric.WithAttributes(about...))
	t.processTime.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(about...))
	return err
}

// mostLinks limits the links of a batch's span.
const mostLinks = 100

// links returns links to the commits of the events, each once.
func (t *Telemetry) links(events []evento.RawEvent) (links []trace.Link) {
	type span struct {
		trace trace.TraceID
		span  trace.SpanID
	}
	seen := map[span]bool{}
	for i := range events {
		values := events[i].Metadata.Values
		if len(values) == 0 || len(links) == mostLinks {
			continue
		}
		c := trace.SpanContextFromContext(t.propagator.Extract(context.Background(), propagation.MapCarrier(values)))
		if id := (span{c.TraceID(), c.SpanID()}); c.IsValid() && !seen[id] {
			seen[id] = true
			links = append(links, trace.Link{SpanContext: c})
		}
	}
	return links
}
