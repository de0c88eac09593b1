// OpenTelemetry: spans of requests, commits and handled events, printed as lines of the
// log. An application gives its provider an exporter to its own collector instead; the
// rest is the same.

package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotel"
)

// telemetry records spans. Of the zero telemetry nothing is recorded.
type telemetry struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	evento   *eventotel.Telemetry
}

func newTelemetry(on bool, logger *slog.Logger) (*telemetry, error) {
	if !on {
		return &telemetry{}, nil
	}
	provider := sdk.NewTracerProvider(sdk.WithSyncer(spanLog{logger}))
	ofEvento, err := eventotel.New(&eventotel.Options{TracerProvider: provider})
	if err != nil {
		return nil, err
	}
	return &telemetry{provider: provider, tracer: provider.Tracer("bank-web"), evento: ofEvento}, nil
}

// executor records the commits to a store.
func (t *telemetry) executor(ex evento.Executor) evento.Executor {
	if t.evento == nil {
		return ex
	}
	return t.evento.Executor(ex)
}

// hooks record what subscriptions handle.
func (t *telemetry) hooks() evento.SubscriptionHooks {
	if t.evento == nil {
		return evento.SubscriptionHooks{}
	}
	return t.evento.Hooks()
}

// requests records the requests to pages. Commits are part of their request's trace.
func (t *telemetry) requests(next http.Handler) http.Handler {
	if t.tracer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := t.tracer.Start(r.Context(), r.Method+" "+r.URL.Path, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (t *telemetry) close() {
	if t.provider != nil {
		_ = t.provider.Shutdown(context.Background()) // it has printed everything
	}
}

// spanLog exports spans to a log.
type spanLog struct{ logger *slog.Logger }

// ExportSpans implements [sdk.SpanExporter].
func (l spanLog) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	for _, s := range spans {
		about := []any{"name", s.Name(), "took", s.EndTime().Sub(s.StartTime()).Round(time.Microsecond), "trace", s.SpanContext().TraceID(), "span", s.SpanContext().SpanID()}
		if s.Parent().IsValid() {
			about = append(about, "parent", s.Parent().SpanID())
		}
		for _, link := range s.Links() {
			about = append(about, "link", link.SpanContext.TraceID())
		}
		if d := s.Status().Description; d != "" {
			about = append(about, "error", d)
		}
		l.logger.InfoContext(ctx, "span", about...)
	}
	return nil
}

// Shutdown implements [sdk.SpanExporter].
func (spanLog) Shutdown(context.Context) error { return nil }
