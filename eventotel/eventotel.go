package eventotel

import (
	"errors"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/evento-go/evento"
)

// scope is the instrumentation scope of all spans and metrics.
const scope = "github.com/evento-go/evento/eventotel"

// Options are the settings of [New]. The zero Options are the defaults.
type Options struct {
	// TracerProvider makes the tracer. nil: the global one.
	TracerProvider trace.TracerProvider
	// MeterProvider makes the meter. nil: the global one.
	MeterProvider metric.MeterProvider
	// Propagator writes a span's context into metadata and reads it. nil: W3C Trace
	// Context.
	Propagator propagation.TextMapPropagator
}

// Telemetry records what executors and subscriptions do. It is safe for
// concurrent use.
type Telemetry struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator

	appendTime, processTime, lag, events         metric.Float64Histogram
	sent, consumed, conflicts, retries, failures metric.Int64Counter
	owned                                        metric.Int64UpDownCounter
}

// New makes the instruments. nil options are the defaults. It returns the meter's
// error if an instrument cannot be made.
func New(o *Options) (*Telemetry, error) {
	opts := Options{}
	if o != nil {
		opts = *o
	}
	if opts.TracerProvider == nil {
		opts.TracerProvider = otel.GetTracerProvider()
	}
	if opts.MeterProvider == nil {
		opts.MeterProvider = otel.GetMeterProvider()
	}
	if opts.Propagator == nil {
		opts.Propagator = propagation.TraceContext{}
	}
	t := &Telemetry{tracer: opts.TracerProvider.Tracer(scope), propagator: opts.Propagator}
	if err := t.instruments(opts.MeterProvider.Meter(scope)); err != nil {
		return nil, fmt.Errorf("evento: otel: %w", err)
	}
	return t, nil
}

func (t *Telemetry) instruments(m metric.Meter) error {
	var errs []error
	histogram := func(name, unit, what string, bounds ...float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit(unit), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	counter := func(name, unit, what string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
		return c
	}
	// The buckets of the conventions, and smaller ones: a commit takes less than 1
	// ms.
	seconds := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	t.appendTime = histogram("messaging.client.operation.duration", "s", "How long commits take.", seconds...)
	t.processTime = histogram("messaging.process.duration", "s", "How long handlers take.", seconds...)
	t.lag = histogram("evento.subscription.lag", "s", "How old an event is when its handler begins.", append(seconds, 60, 600, 3600)...)
	t.events = histogram("evento.commit.events", "{event}", "How many events a commit has.", 1, 2, 5, 10, 20, 50, 100, 1000, 10000)
	t.sent = counter("messaging.client.sent.messages", "{message}", "Events committed.")
	t.consumed = counter("messaging.client.consumed.messages", "{message}", "Events handed to handlers.")
	t.conflicts = counter("evento.commit.conflicts", "{commit}", "Commits that met another writer.")
	t.retries = counter("evento.subscription.retries", "{call}", "Handlers that failed and are called again.")
	t.failures = counter("evento.subscription.failures", "{event}", "Events whose retries ran out.")
	var err error
	t.owned, err = m.Int64UpDownCounter("evento.subscription.owned", metric.WithUnit("{partition}"), metric.WithDescription("Partitions of subscriptions that this process has."))
	return errors.Join(append(errs, err)...)
}

// operation returns the attributes of an operation on events of some aggregate types,
// and the name of its span. Only of one type is it said which.
func operation(kind, name string, types []evento.AggregateType) (about []attribute.KeyValue, span string) {
	about = []attribute.KeyValue{
		attribute.String("messaging.system", "evento"),
		attribute.String("messaging.operation.type", kind), attribute.String("messaging.operation.name", name),
	}
	if len(types) == 1 {
		about, name = append(about, destination(types[0])), name+" "+string(types[0])
	}
	return slices.Clip(about), name
}

func destination(t evento.AggregateType) attribute.KeyValue {
	return attribute.String("messaging.destination.name", string(t))
}

// batch is for operations on several events.
func batch(n int) attribute.KeyValue { return attribute.Int("messaging.batch.message_count", n) }

func group(key string) attribute.KeyValue {
	return attribute.String("messaging.consumer.group.name", key)
}
