package eventotel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotel"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/sqlite"
)

type opened struct{ Owner string }

func (opened) AggregateType() evento.AggregateType { return "bank/Account" }
func (opened) EventName() string                   { return "Opened" }

// recorded is telemetry whose traces and metrics a test can read.
type recorded struct {
	*eventotel.Telemetry
	spans  *tracetest.SpanRecorder
	reader *metric.ManualReader
}

func record(t *testing.T) *recorded {
	t.Helper()
	r := &recorded{spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	var err error
	r.Telemetry, err = eventotel.New(&eventotel.Options{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans)),
		MeterProvider:  metric.NewMeterProvider(metric.WithReader(r.reader)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// total sums what a metric has counted.
func (r *recorded) total(t *testing.T, name string) (total int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					total += p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					total += int64(p.Count)
				}
			}
		}
	}
	return total
}

// The span of a handler links to that of the commit, through the store.
func TestTraceFromCommitToHandler(t *testing.T) {
	t.Parallel()
	r := record(t)
	ex := r.Executor(memory.New(nil))
	defer func() { _ = ex.Close() }()
	receipt, err := evento.Create().Event(opened{}, opened{}).Metadata("own", "kept").Commit(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	var inner []trace.SpanID
	err = evento.NewSubscription("mails").Hooks(r.Hooks()).Handler(evento.Handle(func(ctx context.Context, e evento.Event[opened]) error {
		inner = append(inner, trace.SpanContextFromContext(ctx).SpanID())
		if e.Metadata.Values["own"] != "kept" {
			t.Errorf("metadata %v lacks the caller's own", e.Metadata.Values)
		}
		return nil
	})).Execute(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	spans := r.spans.Ended()
	if len(spans) != 3 {
		t.Fatalf("%d spans, want that of the commit and of each event", len(spans))
	}
	commit := spans[0]
	if commit.Name() != "commit bank/Account" || commit.SpanKind() != trace.SpanKindProducer {
		t.Errorf("the commit's span is %q, %s", commit.Name(), commit.SpanKind())
	}
	for i, s := range spans[1:] {
		links := s.Links()
		if len(links) != 1 || links[0].SpanContext.SpanID() != commit.SpanContext().SpanID() || links[0].SpanContext.TraceID() != commit.SpanContext().TraceID() {
			t.Errorf("handler %d has the links %v, want one to the commit", i, links)
		}
		if s.Name() != "handle bank/Account" || s.SpanKind() != trace.SpanKindConsumer || s.SpanContext().SpanID() != inner[i] {
			t.Errorf("handler %d has the span %q, %s, %s; the handler saw %s", i, s.Name(), s.SpanKind(), s.SpanContext().SpanID(), inner[i])
		}
		attributes := fmt.Sprint(s.Attributes())
		if !slices.ContainsFunc(s.Attributes(), func(a attribute.KeyValue) bool {
			return a.Key == "evento.aggregate.id" && a.Value.AsString() == receipt.AggregateID
		}) {
			t.Errorf("handler %d has the attributes %s", i, attributes)
		}
	}
}

// Two subscriptions with one key are distinguished by their routing keys.
func TestRoutingKey(t *testing.T) {
	t.Parallel()
	r := record(t)
	ex := memory.New(nil)
	defer func() { _ = ex.Close() }()
	for _, routing := range []string{"", "eu"} {
		b := evento.Create().Event(opened{})
		s := evento.NewSubscription("mails").Hooks(r.Hooks()).Handler(evento.Handle(func(context.Context, evento.Event[opened]) error { return nil }))
		if routing != "" {
			b.RoutingKey(routing)
			s.RoutingKey(routing)
		}
		if _, err := b.Commit(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
		if err := s.Execute(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, s := range r.spans.Ended() {
		value := ""
		for _, a := range s.Attributes() {
			if a.Key == "evento.subscription.routing_key" {
				value = a.Value.AsString()
			}
		}
		got = append(got, value)
	}
	if want := []string{"", "eu"}; !slices.Equal(got, want) {
		t.Errorf("routing keys of the handlers' spans: %q, want %q", got, want)
	}
}

// The metrics distinguish them too.
func TestRoutingKeyInMetrics(t *testing.T) {
	t.Parallel()
	r := record(t)
	ex := memory.New(nil)
	defer func() { _ = ex.Close() }()
	if _, err := evento.Create().Event(opened{}).RoutingKey("eu").Commit(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	err := evento.NewSubscription("mails").RoutingKey("eu").Hooks(r.Hooks()).Retry(1).AcceptFailure().Logger(slog.New(slog.DiscardHandler)).
		Handler(evento.Handle(func(context.Context, evento.Event[opened]) error { return errors.New("no mail today") })).Execute(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	counted := map[string]bool{}
	for _, m := range all.ScopeMetrics[0].Metrics {
		data, ok := m.Data.(metricdata.Sum[int64])
		if !ok {
			continue
		}
		counted[m.Name] = true
		for _, p := range data.DataPoints {
			if v, _ := p.Attributes.Value("evento.subscription.routing_key"); v.AsString() != "eu" {
				t.Errorf("%s is counted with the routing key %q, want eu", m.Name, v.AsString())
			}
		}
	}
	for _, name := range []string{"messaging.client.consumed.messages", "evento.subscription.retries", "evento.subscription.failures", "evento.subscription.owned"} {
		if !counted[name] {
			t.Errorf("%s is not counted", name)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	r := record(t)
	ex := r.Executor(memory.New(nil))
	defer func() { _ = ex.Close() }()
	for _, n := range []int{1, 2, 4} {
		b := evento.Aggregate(fmt.Sprint(n))
		for range n {
			b.Event(opened{})
		}
		if _, err := b.Commit(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := evento.Aggregate("1").Event(opened{}).Commit(t.Context(), ex); !errors.Is(err, evento.ErrConflict) {
		t.Fatal(err)
	}
	if s := r.spans.Ended(); s[3].Status().Code != codes.Error {
		t.Errorf("the span of a conflict has the status %v", s[3].Status())
	}
	fails := errors.New("no mail today")
	err := evento.NewSubscription("mails").Hooks(r.Hooks()).Retry(1).AcceptFailure().Handler(evento.Handle(func(_ context.Context, e evento.Event[opened]) error {
		if e.AggregateID == "1" {
			return fails
		}
		return nil
	})).Execute(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{
		"messaging.client.sent.messages":      7,
		"messaging.client.operation.duration": 4,
		"evento.commit.events":                3,
		"evento.commit.conflicts":             1,
		"messaging.client.consumed.messages":  8, // one of them twice
		"messaging.process.duration":          8,
		"evento.subscription.lag":             8,
		"evento.subscription.retries":         1,
		"evento.subscription.failures":        1,
	} {
		if got := r.total(t, name); got != want {
			t.Errorf("%s counted %d, want %d", name, got, want)
		}
	}
}

// What is rolled back was not sent; what is committed in a transaction is counted once.
func TestMetricsInTx(t *testing.T) {
	t.Parallel()
	r := record(t)
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "events.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ex := r.Executor(store)
	defer func() { _ = ex.Close() }()
	fails := errors.New("changed its mind")
	for _, want := range []error{fails, nil} {
		if err := ex.InTx(t.Context(), func(ctx context.Context) error {
			return ex.InTx(ctx, func(ctx context.Context) error {
				if _, err := evento.Create().Event(opened{}, opened{}).Commit(ctx, ex); err != nil {
					return err
				}
				return want
			})
		}); !errors.Is(err, want) {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int64{"messaging.client.sent.messages": 2, "evento.commit.events": 1} {
		if got := r.total(t, name); got != want {
			t.Errorf("%s counted %d, want %d", name, got, want)
		}
	}
}

type closed struct{}

func (closed) AggregateType() evento.AggregateType { return "bank/Branch" }
func (closed) EventName() string                   { return "Closed" }

// Of a commit to aggregates of several types no one type is the destination, and
// messages are counted by type. One event is no batch.
func TestDestinations(t *testing.T) {
	t.Parallel()
	r := record(t)
	ex := r.Executor(memory.New(nil))
	defer func() { _ = ex.Close() }()
	if _, err := evento.CommitAll(t.Context(), ex, evento.Create().Event(opened{}), evento.Create().Event(closed{}, closed{})); err != nil {
		t.Fatal(err)
	}
	if _, err := evento.Create().Event(opened{}).Commit(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	err := evento.NewSubscription("mails").Hooks(r.Hooks()).
		Handler(evento.HandleBatch(func(context.Context, []evento.Event[opened]) error { return nil })).
		Handler(evento.HandleBatch(func(context.Context, []evento.Event[closed]) error { return nil })).Execute(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name  string
		batch int64
	}{{"commit", 3}, {"commit bank/Account", 0}, {"handle bank/Account", 0}, {"handle bank/Branch", 2}, {"handle bank/Account", 0}}
	for i, s := range r.spans.Ended() {
		destination, batch := "", int64(0)
		for _, a := range s.Attributes() {
			switch a.Key {
			case "messaging.destination.name":
				destination = a.Value.AsString()
			case "messaging.batch.message_count":
				batch = a.Value.AsInt64()
			}
		}
		if s.Name() != want[i].name || batch != want[i].batch || (destination != "") != (i > 0) {
			t.Errorf("span %d is %q of %d events to %q, want %+v", i, s.Name(), batch, destination, want[i])
		}
	}
	for _, name := range []string{"messaging.client.sent.messages", "messaging.client.consumed.messages"} {
		if got := r.byDestination(t, name); !maps.Equal(got, map[string]int64{"bank/Account": 2, "bank/Branch": 2}) {
			t.Errorf("%s counted %v", name, got)
		}
	}
}

// byDestination is what a counter has counted.
func (r *recorded) byDestination(t *testing.T, name string) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, m := range all.ScopeMetrics[0].Metrics {
		if data, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == name {
			for _, p := range data.DataPoints {
				v, _ := p.Attributes.Value("messaging.destination.name")
				got[v.AsString()] += p.Value
			}
		}
	}
	return got
}

// A context that the caller has put into the metadata stays whole: its state is not
// that of another trace.
func TestOwnContext(t *testing.T) {
	t.Parallel()
	state, err := trace.ParseTraceState("vendor=ours")
	if err != nil {
		t.Fatal(err)
	}
	outer := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled, TraceState: state,
	}))
	r := record(t)
	ex := r.Executor(memory.New(nil))
	defer func() { _ = ex.Close() }()
	const theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if _, err := evento.Create().Event(opened{}).Metadata("traceparent", theirs).Metadata("k", "v").Commit(outer, ex); err != nil {
		t.Fatal(err)
	}
	if _, err := evento.Create().Event(opened{}).Commit(outer, ex); err != nil {
		t.Fatal(err)
	}
	var got []map[string]string
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Metadata.Values)
	}
	if !maps.Equal(got[0], map[string]string{"traceparent": theirs, "k": "v"}) {
		t.Errorf("metadata with a context of its own became %v", got[0])
	}
	if got[1]["tracestate"] != "vendor=ours" || got[1]["traceparent"] == "" {
		t.Errorf("metadata without one became %v, want the span's", got[1])
	}
}

// Spans of two traces may have one id.
func TestLinksOfTwoTraces(t *testing.T) {
	t.Parallel()
	r := record(t)
	ex := memory.New(nil)
	defer func() { _ = ex.Close() }()
	for _, id := range []string{"0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c", "0af7651916cd43dd8448eb211c80319c"} {
		if _, err := evento.Create().Event(opened{}).Metadata("traceparent", "00-"+id+"-b7ad6b7169203331-01").Commit(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
	}
	err := evento.NewSubscription("mails").Hooks(r.Hooks()).
		Handler(evento.HandleBatch(func(context.Context, []evento.Event[opened]) error { return nil })).Execute(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	if links := r.spans.Ended()[0].Links(); len(links) != 2 {
		t.Errorf("%d links, want one for each trace", len(links))
	}
}

// Import is that of the executor below.
func TestImport(t *testing.T) {
	t.Parallel()
	r := record(t)
	for of, want := range map[evento.Executor]error{memory.New(nil): nil, noImport{memory.New(nil)}: errors.ErrUnsupported} {
		im, ok := r.Executor(of).(evento.Importer)
		if !ok {
			t.Fatalf("%T is no Importer", of)
		}
		if err := im.Import(t.Context(), nil); !errors.Is(err, want) {
			t.Errorf("Import on %T = %v, want %v", of, err, want)
		}
	}
}

type noImport struct{ evento.Executor }

// Without a span, no context is written. The defaults are the global providers,
// which do nothing until they are set.
func TestDefaults(t *testing.T) {
	t.Parallel()
	tel, err := eventotel.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	ex := tel.Executor(memory.New(nil))
	defer func() { _ = ex.Close() }()
	if _, err := evento.Aggregate("a").Event(opened{}).Commit(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil || len(e.Metadata.Values) != 0 {
			t.Errorf("metadata %v, %v, want none", e.Metadata.Values, err)
		}
	}
}

// An executor with telemetry fulfils the same contract as the one without.
func TestContract(t *testing.T) {
	t.Parallel()
	executortest.Test(t, executortest.Config{Open: func(t testing.TB) evento.Executor {
		tel, err := eventotel.New(&eventotel.Options{Propagator: propagation.Baggage{}})
		if err != nil {
			t.Fatal(err)
		}
		return tel.Executor(memory.New(nil))
	}})
}

// The executor has the transactions of the recorded executor. If that has none,
// InTx says so, whatever the context.
func TestInTx(t *testing.T) {
	t.Parallel()
	r := record(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	never := func(context.Context) error { t.Error("the function ran"); return nil }
	for _, of := range []evento.Executor{memory.New(nil), group.New(memory.New(nil)), r.Executor(memory.New(nil))} {
		ex := r.Executor(of)
		for _, ctx := range []context.Context{ended, t.Context()} {
			if err := ex.InTx(ctx, never); !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, context.Canceled) {
				t.Errorf("InTx() on %T = %v, want %v", of, err, errors.ErrUnsupported)
			}
		}
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	}
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "events.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ex := r.Executor(group.New(store))
	if err := ex.InTx(ended, never); !errors.Is(err, context.Canceled) {
		t.Errorf("InTx() with a context that has ended = %v, want %v", err, context.Canceled)
	}
	if err := ex.InTx(t.Context(), func(ctx context.Context) error {
		_, err := evento.Create().Event(opened{"somebody"}).Commit(ctx, ex)
		return err
	}); err != nil {
		t.Errorf("InTx() = %v", err)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
}
