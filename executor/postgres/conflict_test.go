package postgres_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

// trips counts what is sent on the connections of a pool.
type trips struct{ atomic.Int64 }

func (c *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.Add(1)
	return ctx
}

func (c *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.Add(1)
	return ctx
}

func (c *trips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (c *trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// openTraced opens a new schema, with a tracer of what is sent.
func openTraced(t *testing.T, tracer pgx.QueryTracer) *postgres.Executor {
	t.Helper()
	config, err := pgxpool.ParseConfig(testserver.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.Tracer = tracer
	config.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	ex, err := postgres.New(t.Context(), pool, &postgres.Options{Schema: newSchema(t), NoNotify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ex.Close() })
	return ex
}

// A conflict is known from the round trip in which it is found, however many there are,
// but for what is sent alone.
func TestConflictTrips(t *testing.T) {
	t.Parallel()
	sent := &trips{}
	ex := openTraced(t, sent)
	for range 3 {
		if _, err := evento.Aggregate("a").AnyVersion().Event(happened{1}).Commit(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
	}
	stale := func(id string, expected, actual uint64, events ...evento.Payload) {
		_, err := evento.Aggregate(id).OriginalVersion(expected).Event(events...).Commit(t.Context(), ex)
		var conflict *evento.ConflictError
		if !errors.As(err, &conflict) || conflict.Expected != expected || conflict.Actual != actual {
			t.Errorf("Commit() at version %d of %s = %v, want a conflict with %d", expected, id, err, actual)
		}
	}
	one, two := []evento.Payload{happened{2}}, []evento.Payload{happened{2}, happened{3}}
	for _, alone := range []struct {
		id               string
		expected, actual uint64
		events           []evento.Payload
	}{
		{"a", 0, 3, two}, {"a", 2, 3, two}, {"a", 7, 3, two}, {"b", 1, 0, two},
		{"a", 0, 3, one}, {"a", 7, 3, one}, {"b", 1, 0, one},
	} {
		sent.Store(0)
		stale(alone.id, alone.expected, alone.actual, alone.events...)
		if got := sent.Load(); got != 2 {
			t.Errorf("a conflict of %d events of %s at version %d took %d round trips, want 2", len(alone.events), alone.id, alone.expected, got)
		}
	}
	// Many at once, of several expected versions, share batches.
	sent.Store(0)
	const callers, each = 30, 10
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range each {
				stale("a", uint64(i%3), 3, two...)
			}
		})
	}
	wg.Wait()
	if got := sent.Load(); got > callers*each/2 {
		t.Errorf("%d conflicts of %d callers took %d round trips, want them to share", callers*each, callers, got)
	}
}

// Of writes that wait together at one place one is stored; a twin of it, which has its
// ids, has its receipt.
func TestTogetherAtOnePlace(t *testing.T) {
	t.Parallel()
	ex := openSchema(t, newSchema(t))
	defer func() { _ = ex.Close() }()
	const rounds, callers = 50, 12
	for round := range uint64(rounds) {
		w := evento.Write{Appends: []evento.Append{{
			AggregateType: thing, AggregateID: "a", Expected: round,
			Events: []evento.NewEvent{{ID: evento.NewID(), Name: "Happened", Codec: "json", Data: []byte("{}")}},
		}}}
		var stored, twins, conflicts atomic.Int64
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				own := w
				if i%2 == 0 { // else all are twins
					a := w.Appends[0]
					a.Events = []evento.NewEvent{{ID: evento.NewID(), Name: "Happened", Codec: "json", Data: []byte("{}")}}
					own.Appends = []evento.Append{a}
				}
				receipts, err := ex.Write(t.Context(), own)
				var conflict *evento.ConflictError
				switch {
				case err == nil && receipts[0] != evento.Receipt{AggregateID: "a", Version: round + 1, Position: round + 1}:
					t.Errorf("round %d: got the receipts %+v", round, receipts)
				case err == nil && i%2 == 0:
					stored.Add(1)
				case err == nil:
					twins.Add(1)
				case errors.As(err, &conflict) && conflict.Expected == round && conflict.Actual == round+1:
					conflicts.Add(1)
				default:
					t.Errorf("round %d: Write() = %v", round, err)
				}
			})
		}
		wg.Wait()
		if s, tw, c := stored.Load(), twins.Load(), conflicts.Load(); s+tw+c != callers || s+min(tw, 1) != 1 || tw != 0 && tw != callers/2 {
			t.Fatalf("round %d: %d stored, %d twins stored, %d conflicts", round, s, tw, c)
		}
	}
}
