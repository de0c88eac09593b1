package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
)

func openStore(b *testing.B, path string) *sqlite.Executor {
	b.Helper()
	ex, err := sqlite.Open(context.Background(), path, nil)
	return opened(b, ex, err)
}

// rawStore is evento's schema, written to with the driver alone.
type rawStore struct {
	*sqlite3.Conn
	insert   *sqlite3.Stmt
	position int64
	versions map[int64]int64
	data     []byte
}

const insertEvent = "INSERT INTO evento_event (position, agg_key, version, kind_id, routing_id, event_id, recorded_at, codec, data, metadata) VALUES (?, ?, ?, 1, NULL, ?, ?, 'cbor', ?, NULL)"

func openRaw(b *testing.B, path string) *rawStore {
	b.Helper()
	ex, err := sqlite.Open(context.Background(), path, nil) // makes the schema
	if err == nil {
		err = ex.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	c, err := sqlite3.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 16000; INSERT INTO evento_type VALUES (1, 'bank/Account'); INSERT INTO evento_kind VALUES (1, 1, 'MoneyDeposited')"); err != nil {
		b.Fatal(err)
	}
	data, err := cbor.Marshal(payload)
	if err != nil {
		b.Fatal(err)
	}
	s, _, err := c.Prepare(insertEvent)
	if err != nil {
		b.Fatal(err)
	}
	r := &rawStore{Conn: c, insert: s, versions: map[int64]int64{}, data: data}
	b.Cleanup(func() {
		if err := errors.Join(s.Close(), c.Close()); err != nil {
			b.Error(err)
		}
	})
	return r
}

func (r *rawStore) add(aggregate int64) error {
	id := evento.NewID()
	r.position++
	r.versions[aggregate]++
	s := r.insert
	err := errors.Join(s.BindInt64(1, r.position), s.BindInt64(2, aggregate), s.BindInt64(3, r.versions[aggregate]),
		s.BindBlob(4, id[:]), s.BindInt64(5, time.Now().UnixMicro()), s.BindBlob(6, r.data))
	if err != nil {
		return err
	}
	return s.Exec()
}

func BenchmarkSQLiteAppend(b *testing.B) {
	for _, c := range []struct {
		writers int
		reach   float64
	}{{1, 0.9}, {4, 0}, {16, 0}, {64, 4}} {
		b.Run(fmt.Sprintf("writers=%d", c.writers), func(b *testing.B) {
			w := newWriters(b, openStore(b, filepath.Join(b.TempDir(), "evento.db")), c.writers)
			raw := openRaw(b, filepath.Join(b.TempDir(), "raw.db"))
			n, rawN := 500, 500
			if c.writers > 1 {
				n = 200 * c.writers
			}
			compare(b, c.reach,
				func() float64 { return rate(b, n, func() error { return w.append(n, 1) }) },
				func() float64 {
					return rate(b, rawN, func() error {
						for i := range rawN {
							if err := raw.add(int64(i % c.writers)); err != nil {
								return err
							}
						}
						return nil
					})
				})
		})
	}
}

func BenchmarkSQLiteAppendOf100(b *testing.B) {
	w := newWriters(b, openStore(b, filepath.Join(b.TempDir(), "evento.db")), 1)
	raw := openRaw(b, filepath.Join(b.TempDir(), "raw.db"))
	const n = 200
	compare(b, 0.85,
		func() float64 { return rate(b, n*100, func() error { return w.append(n, 100) }) },
		func() float64 {
			return rate(b, n*100, func() error {
				for range n {
					if err := raw.Exec("BEGIN IMMEDIATE"); err != nil {
						return err
					}
					for range 100 {
						if err := raw.add(1); err != nil {
							return err
						}
					}
					if err := raw.Exec("COMMIT"); err != nil {
						return err
					}
				}
				return nil
			})
		})
}

// filled returns a store with aggregates of a number of events each.
func filled(b *testing.B, aggregates, events int) (path string, ex *sqlite.Executor, ids []string) {
	b.Helper()
	path = filepath.Join(b.TempDir(), "filled.db")
	ex = openStore(b, path)
	return path, ex, fill(b, ex, aggregates, events)
}

// rawEvent is a row as the driver gives it.
type rawEvent struct {
	position, aggregate, version, kind, routing, recordedAt int64
	id                                                      [16]byte
	codec                                                   string
	data, metadata                                          []byte
}

func (e *rawEvent) scan(s *sqlite3.Stmt) {
	e.position, e.aggregate, e.version, e.kind, e.routing = s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnInt64(2), s.ColumnInt64(3), s.ColumnInt64(4)
	copy(e.id[:], s.ColumnRawBlob(5))
	e.recordedAt = s.ColumnInt64(6)
	e.codec = s.ColumnText(7)
	e.data = s.ColumnBlob(8, nil)
	e.metadata = s.ColumnBlob(9, nil)
}

const selectEvents = "SELECT position, agg_key, version, kind_id, routing_id, event_id, recorded_at, codec, data, metadata FROM evento_event "

// openReader opens a file for reading with the driver alone.
func openReader(b *testing.B, path, query string) *sqlite3.Stmt {
	b.Helper()
	c, err := sqlite3.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	s, _, err := c.Prepare(query)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(s.Close(), c.Close()); err != nil {
			b.Error(err)
		}
	})
	return s
}

func BenchmarkSQLiteLoad(b *testing.B) {
	for _, events := range []int{5, 100, 10_000} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			aggregates := max(2, 5000/events)
			path, ex, ids := filled(b, aggregates, events)
			s := openReader(b, path, selectEvents+"WHERE agg_key = (SELECT key FROM evento_aggregate WHERE type_id = 1 AND id = ?) ORDER BY version")
			loads := max(4, 20_000/events)
			compare(b, 0.85,
				func() float64 { return loadRate(b, ex, ids, loads, 1, events) },
				func() float64 {
					return rate(b, loads, func() error {
						for i := range loads {
							var v balance
							if err := s.BindText(1, ids[i%len(ids)]); err != nil {
								return err
							}
							for s.Step() {
								var e rawEvent
								e.scan(s)
								var d deposited
								if err := cbor.Unmarshal(e.data, &d); err != nil {
									return err
								}
								v.Amount += d.Amount
							}
							if err := s.Reset(); err != nil {
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

func BenchmarkSQLiteLoadWithSnapshot(b *testing.B) {
	_, ex, ids := filled(b, 1, 10_000)
	snapshots := evento.NewProjection[balance]("balance-snapshot", account).Handler(evento.Apply(add)).SnapshotEvery(1000)
	load := func(p *evento.Projection[balance], n int) func() float64 {
		return func() float64 {
			return rate(b, n, func() error {
				for range n {
					if _, err := p.Load(context.Background(), ex, ids[0]); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	load(snapshots, 1)()
	compare(b, 50, load(snapshots, 200), load(balances, 4))
}

func BenchmarkSQLiteReadAll(b *testing.B) {
	events := inShort(20_000, 200_000)
	path, ex, _ := filled(b, 100, events/100)
	s := openReader(b, path, selectEvents+"WHERE position > ? ORDER BY position LIMIT 1000")
	readAll := func() float64 { return rate(b, events, func() error { return readAll(ex, events) }) }
	b.Run("scan", func(b *testing.B) {
		compare(b, 0.8, readAll, func() float64 {
			return rate(b, events, func() error {
				page := make([]rawEvent, 0, 1000)
				for n, at := 0, int64(0); ; n += len(page) {
					page = page[:0]
					if err := s.BindInt64(1, at); err != nil {
						return err
					}
					for s.Step() {
						var e rawEvent
						e.scan(s)
						page = append(page, e)
					}
					if err := s.Reset(); err != nil {
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
	})
	b.Run("subscription", func(b *testing.B) {
		compare(b, 0.8, func() float64 { return subscriptionRate(b, ex, events) }, readAll)
	})
}
