package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
)

// openPostgres opens a new store, in a schema of its own, on the server that
// EVENTO_TEST_POSTGRES names.
func openPostgres(b *testing.B) (*pgxpool.Pool, *postgres.Executor, string) {
	b.Helper()
	url := os.Getenv("EVENTO_TEST_POSTGRES")
	if url == "" {
		b.Fatal("EVENTO_TEST_POSTGRES is not set: make bench starts a server")
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = 64
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		b.Fatal(err)
	}
	schema := "bench_" + strings.ToLower(rand.Text())
	ex, err := postgres.New(context.Background(), pool, &postgres.Options{Schema: schema})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := ex.Close(); err != nil {
			b.Error(err)
		}
		if _, err := pool.Exec(context.Background(), "DROP SCHEMA "+schema+" CASCADE"); err != nil {
			b.Error(err)
		}
		pool.Close()
	})
	return pool, ex, schema
}

func BenchmarkPostgresAppend(b *testing.B) {
	ctx := context.Background()
	for _, c := range []struct {
		writers int
		reach   float64
	}{{1, 0.85}, {4, 0}, {16, 0}, {64, 1.5}} {
		b.Run(fmt.Sprintf("writers=%d", c.writers), func(b *testing.B) {
			pool, ex, _ := openPostgres(b)
			_, _, raw := openPostgres(b)
			w := newWriters(b, ex, c.writers)
			data, err := cbor.Marshal(payload)
			if err != nil {
				b.Fatal(err)
			}
			// The raw side has the same table, and draws its positions from a
			// sequence: the usual way, without any order.
			if _, err := pool.Exec(ctx, "CREATE SEQUENCE "+raw+".position"); err != nil {
				b.Fatal(err)
			}
			insert := "INSERT INTO " + raw + ".event (position, recorded_at, version, kind_id, type_id, event_id, codec, aggregate_id, data) VALUES (nextval('" + raw + ".position'), $1, $2, 1, 1, $3, 'cbor', $4, $5)"
			versions, ids := make([]int64, c.writers), make([]string, c.writers)
			for i := range ids {
				ids[i] = evento.NewID().String()
			}
			n := 500
			if c.writers > 1 {
				n = 100 * c.writers
			}
			compare(b, c.reach,
				func() float64 { return rate(b, n, func() error { return w.append(n, 1) }) },
				func() float64 {
					return rate(b, n, func() error {
						var wg sync.WaitGroup
						errs := make([]error, c.writers)
						for i := range c.writers {
							wg.Go(func() {
								for range n / c.writers {
									versions[i]++
									if _, err := pool.Exec(ctx, insert, time.Now().UnixMicro(), versions[i], [16]byte(evento.NewID()), ids[i], data); err != nil {
										errs[i] = err
										return
									}
								}
							})
						}
						wg.Wait()
						return errors.Join(errs...)
					})
				})
		})
	}
}

// A commit of 100 events is compared with one statement that inserts as many rows.
func BenchmarkPostgresAppendOf100(b *testing.B) {
	ctx := context.Background()
	const n, events = 50, 100
	pool, ex, _ := openPostgres(b)
	_, _, raw := openPostgres(b)
	w := newWriters(b, ex, 1)
	data, err := cbor.Marshal(payload)
	if err != nil {
		b.Fatal(err)
	}
	insert := "INSERT INTO " + raw + ".event (position, recorded_at, version, kind_id, type_id, event_id, codec, aggregate_id, data) " +
		"SELECT v, $1, v, 1, 1, id, 'cbor', $2, data FROM unnest($3::bigint[], $4::uuid[], $5::bytea[]) AS e (v, id, data)"
	version, id := int64(0), evento.NewID().String()
	compare(b, 0.85,
		func() float64 { return rate(b, n*events, func() error { return w.append(n, events) }) },
		func() float64 {
			return rate(b, n*events, func() error {
				for range n {
					var versions []int64
					var ids [][16]byte
					var all [][]byte
					for range events {
						version++
						versions, ids, all = append(versions, version), append(ids, evento.NewID()), append(all, data)
					}
					if _, err := pool.Exec(ctx, insert, time.Now().UnixMicro(), id, versions, ids, all); err != nil {
						return err
					}
				}
				return nil
			})
		})
}

func BenchmarkPostgresReadAll(b *testing.B) {
	ctx := context.Background()
	events := inShort(20_000, 100_000)
	pool, ex, schema := openPostgres(b)
	fill(b, ex, 100, events/100)
	analyze(b, ex)
	readAll := func() float64 { return rate(b, events, func() error { return readAll(ex, events) }) }
	b.Run("scan", func(b *testing.B) {
		compare(b, 0.8, readAll, func() float64 {
			return rate(b, events, func() error {
				for n, at := 0, int64(0); ; {
					rows, err := pool.Query(ctx, "SELECT position, recorded_at, version, kind_id, routing_id, event_id, codec, aggregate_id, data, metadata FROM "+schema+".event WHERE position > $1 ORDER BY position LIMIT 1000", at)
					if err != nil {
						return err
					}
					page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e rawPostgresEvent, err error) {
						return e, row.Scan(&e.position, &e.recordedAt, &e.version, &e.kind, &e.routing, &e.id, &e.codec, &e.aggregate, &e.data, &e.metadata)
					})
					if err != nil {
						return err
					}
					if n += len(page); len(page) == 0 {
						if n != events {
							return fmt.Errorf("%d events", n)
						}
						return nil
					}
					at = page[len(page)-1].position
				}
			})
		})
	})
	// The default chunk, and a chunk as large as a page of the raw read, so that
	// the subscription itself is the only difference.
	for _, chunk := range []int{0, 1000} {
		name := "subscription"
		if chunk > 0 {
			name += fmt.Sprint("/chunk=", chunk)
		}
		round := 0
		b.Run(name, func(b *testing.B) {
			compare(b, 0.8, func() float64 {
				round++
				s := evento.NewSubscription(fmt.Sprint(name, round)).All().
					Handler(evento.HandleAll(account, func(context.Context, evento.RawEvent) error { return nil }))
				if chunk > 0 {
					s.ChunkSize(chunk)
				}
				return rate(b, events, func() error { return s.Execute(ctx, ex) })
			}, readAll)
		})
	}
}

type rawPostgresEvent struct {
	position, recordedAt, version int64
	kind                          int32
	routing                       *int32
	id                            [16]byte
	codec, aggregate              string
	data                          []byte
	metadata                      *string
}

func BenchmarkPostgresLoad(b *testing.B) {
	ctx := context.Background()
	pool, ex, schema := openPostgres(b)
	for _, events := range []int{5, 100, 10_000} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			ids := fill(b, ex, max(2, 2000/events), events)
			loads := max(4, 20_000/events) // enough that a round is not mostly noise
			compare(b, 0.85,
				func() float64 {
					return rate(b, loads, func() error {
						for i := range loads {
							if _, err := balances.Load(ctx, ex, ids[i%len(ids)]); err != nil {
								return err
							}
						}
						return nil
					})
				},
				func() float64 {
					return rate(b, loads, func() error {
						for i := range loads {
							rows, err := pool.Query(ctx, "SELECT position, recorded_at, version, kind_id, routing_id, event_id, codec, aggregate_id, data, metadata FROM "+schema+".event WHERE aggregate_id = $1 AND type_id = 1 ORDER BY version", ids[i%len(ids)])
							if err != nil {
								return err
							}
							var e rawPostgresEvent
							var v balance
							if _, err := pgx.ForEachRow(rows, []any{&e.position, &e.recordedAt, &e.version, &e.kind, &e.routing, &e.id, &e.codec, &e.aggregate, &e.data, &e.metadata}, func() error {
								var d deposited
								if err := cbor.Unmarshal(e.data, &d); err != nil {
									return err
								}
								v.Amount += d.Amount
								return nil
							}); err != nil {
								return err
							}
							if v.Amount != int64(events)*100 {
								return fmt.Errorf("balance %d", v.Amount)
							}
						}
						return nil
					})
				})
		})
	}
}
