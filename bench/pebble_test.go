package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/fxamacker/cbor/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
)

func openPebble(b *testing.B, dir string) *pebble.Executor {
	b.Helper()
	return openPebbleWith(b, dir, nil)
}

func openPebbleWith(b *testing.B, dir string, opts *pebble.Options) *pebble.Executor {
	b.Helper()
	ex, err := pebble.Open(context.Background(), dir, opts)
	return opened(b, ex, err)
}

// silent is a logger for Pebble.
type silent struct{}

func (silent) Infof(string, ...any)           {}
func (silent) Errorf(string, ...any)          {}
func (silent) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// rawPebble writes the keys of evento's format with Pebble alone.
type rawPebble struct {
	*lsm.DB
	position atomic.Uint64
	data     []byte
}

func openRawPebble(b *testing.B, dir string) *rawPebble {
	b.Helper()
	db, err := lsm.Open(dir, &lsm.Options{
		Logger: silent{}, FormatMajorVersion: lsm.FormatNewest,
		CacheSize: 64 << 20, MemTableSize: 64 << 20, L0CompactionThreshold: 8, L0StopWritesThreshold: 20, // as evento's
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	data, err := cbor.Marshal(payload)
	if err != nil {
		b.Fatal(err)
	}
	return &rawPebble{DB: db, data: data}
}

const prefix = "evento/"

// add writes the keys of an aggregate's next events in one batch, and syncs it.
func (r *rawPebble) add(aggregate string, version uint64, events int) error {
	batch := r.NewBatch()
	last := r.position.Add(uint64(events))
	now := uint64(time.Now().UnixMicro())
	for i := range uint64(events) {
		position := last - uint64(events) + 1 + i
		id := evento.NewID()
		v := make([]byte, 0, 49+len(r.data)+64)
		v = binary.BigEndian.AppendUint64(v, position)
		v = binary.BigEndian.AppendUint64(v, version+i)
		v = binary.BigEndian.AppendUint64(v, now)
		v = append(v, id[:]...)
		v = append(v, byte(len(account)), byte(len(aggregate)), byte(len("MoneyDeposited")), 0, 4, 0, 0, 0, 0)
		v = append(append(append(append(append(v, account...), aggregate...), "MoneyDeposited"...), "cbor"...), r.data...)
		at := func(beginning string) []byte {
			return binary.BigEndian.AppendUint64([]byte(prefix+beginning), position)
		}
		err := errors.Join(
			batch.Set(at("e"), v, nil),
			batch.Set(at("a"+string(account)+"\x00"+aggregate+"\x00"), v, nil),
			batch.Set(at("k"+string(account)+"\x00MoneyDeposited\x00"), nil, nil),
		)
		if err != nil {
			return err
		}
	}
	return errors.Join(batch.Commit(lsm.Sync), batch.Close())
}

// together appends n times in total, from one goroutine for each aggregate.
func (r *rawPebble) together(aggregates []string, n, events int) error {
	var wg sync.WaitGroup
	errs := make([]error, len(aggregates))
	for i, id := range aggregates {
		wg.Go(func() {
			for j := range n / len(aggregates) {
				if errs[i] = r.add(id, uint64(j*events+1), events); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func BenchmarkPebbleAppend(b *testing.B) {
	for _, c := range []struct {
		writers, n int
		reach      float64
	}{{1, 2000, 0.9}, {4, 4 * 1000, 0}, {16, 16 * 500, 0}, {64, 64 * 500, 0.7}} {
		b.Run(fmt.Sprintf("writers=%d", c.writers), func(b *testing.B) { comparePebble(b, c.reach, c.writers, c.n, 1) })
	}
}

func BenchmarkPebbleAppendOf100(b *testing.B) { comparePebble(b, 0.85, 1, 300, 100) }

// comparePebble compares n commits of events by writers.
func comparePebble(b *testing.B, reach float64, writers, n, events int) {
	b.Helper()
	w := newWriters(b, openPebble(b, b.TempDir()), writers)
	raw := openRawPebble(b, b.TempDir())
	var ids []string
	for range writers {
		ids = append(ids, evento.NewID().String())
	}
	compare(b, reach,
		func() float64 { return rate(b, n*events, func() error { return w.append(n, events) }) },
		func() float64 { return rate(b, n*events, func() error { return raw.together(ids, n, events) }) })
}

// filledPebble returns a store with aggregates of a number of events each, and a
// copy of its keys in a database that is read with Pebble alone.
func filledPebble(b *testing.B, aggregates, events int) (*pebble.Executor, *rawPebble, []string) {
	b.Helper()
	db := openRawPebble(b, b.TempDir())
	ex, err := pebble.New(context.Background(), db.DB, nil)
	opened(b, ex, err)
	ids := fill(b, ex, aggregates, events)
	if err := errors.Join(db.Flush(), db.Compact(context.Background(), []byte{0}, []byte{255}, false)); err != nil {
		b.Fatal(err)
	}
	return ex, db, ids
}

// lsmEvent is a decoded value, which shares no memory with the database.
type lsmEvent struct {
	position, version                          uint64
	at                                         time.Time
	id                                         [16]byte
	aggregateType, aggregate, name, key, codec string
	metadata, data                             []byte
}

func (e *lsmEvent) decode(v []byte) {
	e.position, e.version = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])
	e.at = time.UnixMicro(int64(binary.BigEndian.Uint64(v[16:]))).UTC()
	copy(e.id[:], v[24:])
	rest := v[49:]
	for i, s := range []*string{&e.aggregateType, &e.aggregate, &e.name, &e.key, &e.codec} {
		n := int(v[40+i])
		*s, rest = string(rest[:n]), rest[n:]
	}
	n := binary.BigEndian.Uint32(v[45:])
	e.metadata, e.data = slices.Clone(rest[:n]), slices.Clone(rest[n:])
}

// scan reads up to a number of values in a range of keys.
func (r *rawPebble) scan(lower, upper []byte, most int, fn func(e *lsmEvent) error) error {
	it, err := r.NewIter(&lsm.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && most > 0; ok = it.Next() {
		var e lsmEvent
		e.decode(it.Value())
		if err := fn(&e); err != nil {
			return errors.Join(err, it.Close())
		}
		most--
	}
	return it.Close()
}

func BenchmarkPebbleLoad(b *testing.B) {
	for _, events := range []int{5, 100, 10_000} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			ex, raw, ids := filledPebble(b, max(2, 20_000/events), events)
			loads := max(20, 200_000/events/2)
			compare(b, 0.85,
				func() float64 { return loadRate(b, ex, ids, loads, 7, events) },
				func() float64 {
					return rate(b, loads, func() error {
						for i := range loads {
							var v balance
							own := prefix + "a" + string(account) + "\x00" + ids[i*7%len(ids)]
							err := raw.scan([]byte(own+"\x00"), []byte(own+"\x01"), events+1, func(e *lsmEvent) error {
								var d deposited
								if err := cbor.Unmarshal(e.data, &d); err != nil {
									return err
								}
								v.Amount += d.Amount
								return nil
							})
							if err != nil {
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

func BenchmarkPebbleReadAll(b *testing.B) {
	events := inShort(20_000, 200_000)
	ex, raw, _ := filledPebble(b, 100, events/100)
	readAll := func() float64 { return rate(b, events, func() error { return readAll(ex, events) }) }
	b.Run("scan", func(b *testing.B) {
		compare(b, 0.8, readAll, func() float64 {
			return rate(b, events, func() error {
				n := 0
				for at := uint64(1); ; at += 1000 {
					page := make([]lsmEvent, 0, 1000)
					err := raw.scan(binary.BigEndian.AppendUint64([]byte(prefix+"e"), at), []byte(prefix+"f"), 1000, func(e *lsmEvent) error {
						page = append(page, *e)
						return nil
					})
					if err != nil {
						return err
					}
					if n += len(page); len(page) == 0 {
						break
					}
				}
				if n != events {
					return fmt.Errorf("%d events", n)
				}
				return nil
			})
		})
	})
	b.Run("subscription", func(b *testing.B) {
		compare(b, 0.8, func() float64 { return subscriptionRate(b, ex, events) }, readAll)
	})
}
