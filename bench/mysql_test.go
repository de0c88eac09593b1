package bench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/testserver"
)

func openMySQL(b *testing.B, dsn string) *mysql.Executor {
	b.Helper()
	ex, err := mysql.Open(context.Background(), dsn, nil)
	return opened(b, ex, err)
}

// mysqlDB is the driver alone, on evento's schema.
func mysqlDB(b *testing.B, dsn string, connections int) *sql.DB {
	b.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return db
}

const insertMySQL = "INSERT INTO evento_event (position, recorded_at, version, kind_id, routing_id, type_id, codec, event_id, aggregate_id, data, metadata) VALUES (?, ?, ?, 1, 0, 1, 'cbor', ?, ?, ?, NULL)"

// The raw side makes single-row inserts on as many connections, without any order.
func BenchmarkMySQLAppend(b *testing.B) {
	for _, c := range []struct {
		writers, events int
		reach           float64
	}{{1, 1000, 0.6}, {4, 2000, 0}, {16, 3200, 0}, {64, 6400, 1.5}} {
		b.Run(fmt.Sprintf("writers=%d", c.writers), func(b *testing.B) {
			dsn, rawDSN := testserver.MySQL(b), testserver.MySQL(b)
			if dsn == "" {
				return
			}
			w := newWriters(b, openMySQL(b, dsn), c.writers)
			openMySQL(b, rawDSN) // makes the schema
			db := mysqlDB(b, rawDSN, c.writers)
			s, err := db.Prepare(insertMySQL)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			data, err := cbor.Marshal(payload)
			if err != nil {
				b.Fatal(err)
			}
			var position atomic.Int64
			ids := make([]string, c.writers)
			versions := make([]int, c.writers)
			for i := range ids {
				ids[i] = evento.NewID().String()
			}
			compare(b, c.reach,
				func() float64 { return rate(b, c.events, func() error { return w.append(c.events, 1) }) },
				func() float64 {
					return rate(b, c.events, func() error {
						var wg sync.WaitGroup
						errs := make([]error, c.writers)
						for i := range c.writers {
							wg.Go(func() {
								for range c.events / c.writers {
									id := evento.NewID()
									versions[i]++
									if _, err := s.Exec(position.Add(1), time.Now().UnixMicro(), versions[i], id[:], ids[i], data); err != nil {
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

// A commit of 100 events is compared with one prepared statement that inserts as many rows.
func BenchmarkMySQLAppendOf100(b *testing.B) {
	dsn, rawDSN := testserver.MySQL(b), testserver.MySQL(b)
	if dsn == "" {
		return
	}
	const n, events = 50, 100
	w := newWriters(b, openMySQL(b, dsn), 1)
	openMySQL(b, rawDSN) // makes the schema
	row := insertMySQL[strings.LastIndex(insertMySQL, " ("):]
	s, err := mysqlDB(b, rawDSN, 1).Prepare(insertMySQL + strings.Repeat(","+row, events-1))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	data, err := cbor.Marshal(payload)
	if err != nil {
		b.Fatal(err)
	}
	position, aggregate := 0, evento.NewID().String()
	compare(b, 0.85,
		func() float64 { return rate(b, n*events, func() error { return w.append(n, events) }) },
		func() float64 {
			return rate(b, n*events, func() error {
				for range n {
					args := make([]any, 0, 6*events)
					for range events {
						id := evento.NewID()
						position++
						args = append(args, position, time.Now().UnixMicro(), position, id[:], aggregate, data)
					}
					if _, err := s.Exec(args...); err != nil {
						return err
					}
				}
				return nil
			})
		})
}

// filledMySQL returns a store with aggregates of a number of events each.
func filledMySQL(b *testing.B, dsn string, aggregates, events int) (ex *mysql.Executor, ids []string) {
	b.Helper()
	ex = openMySQL(b, dsn)
	const most = 1000
	for range aggregates {
		c := evento.Create()
		for left := events; left > 0; left -= most {
			payloads := slices.Repeat([]evento.Payload{payload}, min(left, most))
			r, err := c.Event(payloads...).Commit(context.Background(), ex)
			if err != nil {
				b.Fatal(err)
			}
			if left <= most {
				ids = append(ids, r.AggregateID)
				break
			}
			c = evento.Aggregate(r.AggregateID).OriginalVersion(r.Version)
		}
	}
	return ex, ids
}

// rawMySQLEvent is a row as database/sql gives it.
type rawMySQLEvent struct {
	position, recordedAt, version, kind, routing int64
	codec, aggregate                             string
	id, data, metadata                           []byte
}

func (e *rawMySQLEvent) scan(rows *sql.Rows) error {
	return rows.Scan(&e.position, &e.recordedAt, &e.version, &e.kind, &e.routing, &e.codec, &e.id, &e.aggregate, &e.data, &e.metadata)
}

const selectMySQL = "SELECT position, recorded_at, version, kind_id, routing_id, codec, event_id, aggregate_id, data, metadata FROM evento_event "

func eachMySQL(s *sql.Stmt, each func(e *rawMySQLEvent) error, args ...any) (err error) {
	rows, err := s.Query(args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e rawMySQLEvent
		if err := e.scan(rows); err != nil {
			return err
		}
		if err := each(&e); err != nil {
			return err
		}
	}
	return rows.Err()
}

func BenchmarkMySQLLoad(b *testing.B) {
	for _, events := range []int{5, 100, 10_000} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			dsn := testserver.MySQL(b)
			if dsn == "" {
				return
			}
			ex, ids := filledMySQL(b, dsn, max(2, 1000/events), events)
			s, err := mysqlDB(b, dsn, 1).Prepare(selectMySQL + "WHERE aggregate_id = ? AND type_id = 1 ORDER BY version")
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			loads := max(4, 20_000/events)
			compare(b, 0.85,
				func() float64 { return loadRate(b, ex, ids, loads, 1, events) },
				func() float64 {
					return rate(b, loads, func() error {
						for i := range loads {
							var v balance
							if err := eachMySQL(s, func(e *rawMySQLEvent) error {
								var d deposited
								err := cbor.Unmarshal(e.data, &d)
								v.Amount += d.Amount
								return err
							}, ids[i%len(ids)]); err != nil {
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

func BenchmarkMySQLReadAll(b *testing.B) {
	dsn := testserver.MySQL(b)
	if dsn == "" {
		return
	}
	events := inShort(20_000, 100_000)
	ex, _ := filledMySQL(b, dsn, 10, events/10)
	s, err := mysqlDB(b, dsn, 1).Prepare(selectMySQL + "WHERE position > ? ORDER BY position LIMIT 1000")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	compare(b, 0.8,
		func() float64 { return rate(b, events, func() error { return readAll(ex, events) }) },
		func() float64 {
			return rate(b, events, func() error {
				page := make([]rawMySQLEvent, 0, 1000)
				for n, at := 0, int64(0); ; n += len(page) {
					page = page[:0]
					if err := eachMySQL(s, func(e *rawMySQLEvent) error { page = append(page, *e); return nil }, at); err != nil {
						return err
					}
					if len(page) == 0 {
						if n != events {
							return fmt.Errorf("%d events", n)
						}
						return nil
					}
					at = page[len(page)-1].position
				}
			})
		})
}
