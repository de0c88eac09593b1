package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/internal/testserver"
)

// BenchmarkGrowth compares a store with ten thousand events with larger ones of
// the same executor: appending by 64 writers, loads of 100 events and pages of
// 1,000 from anywhere. The embedded storages have ten million events too.
func BenchmarkGrowth(b *testing.B) {
	for _, c := range []struct {
		name     string
		embedded bool
		open     func(b *testing.B, name string) evento.Executor
	}{
		{"SQLite", true, func(b *testing.B, name string) evento.Executor {
			return openStore(b, filepath.Join(b.TempDir(), name))
		}},
		{"Pebble", true, func(b *testing.B, name string) evento.Executor {
			return openPebbleWith(b, filepath.Join(b.TempDir(), name), &pebble.Options{CacheSize: 2 << 30})
		}},
		{"Postgres", false, func(b *testing.B, _ string) evento.Executor {
			_, ex, _ := openPostgres(b)
			return ex
		}},
		{"MySQL", false, func(b *testing.B, _ string) evento.Executor {
			return openMySQL(b, testserver.MySQL(b))
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			small := newImported(b, c.open(b, "small"), 10_000)
			for _, events := range growthSizes(c.embedded) {
				large := newImported(b, c.open(b, fmt.Sprint("large", events)), events)
				for _, what := range []struct {
					name string
					do   func(*grown) func(*testing.B) float64
				}{
					{"append", func(g *grown) func(*testing.B) float64 { return g.append }},
					{"load", func(g *grown) func(*testing.B) float64 { return g.load }},
					{"page", func(g *grown) func(*testing.B) float64 { return g.page }},
				} {
					b.Run(fmt.Sprintf("events=%d/%s", events, what.name), func(b *testing.B) {
						compare(b, 0.8, func() float64 { return what.do(large)(b) }, func() float64 { return what.do(small)(b) })
					})
				}
			}
		})
	}
}

func growthSizes(embedded bool) []int {
	switch {
	case testing.Short():
		return []int{100_000}
	case embedded:
		return []int{100_000, 1_000_000, 10_000_000}
	}
	return []int{100_000, 1_000_000}
}

// newImported imports a number of events, in aggregates of 100, which is
// faster than committing them.
func newImported(b *testing.B, ex evento.Executor, events int) *grown {
	b.Helper()
	const each = 100
	g := &grown{ex: ex, ids: make([]string, events/each)}
	one := plain()
	now := time.Now().UTC().Truncate(time.Microsecond)
	batch := make([]evento.RawEvent, 0, evento.MaxCommitEvents)
	for i := range g.ids {
		g.ids[i] = evento.NewID().String()
		for version := range uint64(each) {
			batch = append(batch, evento.RawEvent{
				ID: evento.NewID(), Position: uint64(i)*each + version + 1, Version: version + 1, Timestamp: now,
				AggregateType: account, AggregateID: g.ids[i], Name: one.Name, Codec: one.Codec, Data: one.Data,
			})
		}
		if len(batch) == cap(batch) || i == len(g.ids)-1 {
			if err := ex.(evento.Importer).Import(context.Background(), batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	g.warm(b)
	return g
}

// grown is a store of a given size, with aggregates of 100 events.
type grown struct {
	ex  evento.Executor
	ids []string
	at  []cursor.Value // cursors spread over the whole log
}

// newGrownOf commits a number of events, in aggregates of each events.
func newGrownOf(b *testing.B, ex evento.Executor, events, each int) *grown {
	b.Helper()
	const workers = 8
	g := &grown{ex: ex, ids: make([]string, events/each)}
	payloads := make([]evento.Payload, each)
	for i := range payloads {
		payloads[i] = payload
	}
	err := together(workers, func(w int) error {
		for i := w; i < len(g.ids); i += workers {
			r, err := evento.Create().Event(payloads...).Commit(context.Background(), ex)
			if err != nil {
				return err
			}
			g.ids[i] = r.AggregateID
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	g.warm(b)
	return g
}

// warm reads all events. If the caches are large enough for the store, as .ci/bench sets
// them, then they contain all of it afterwards.
func (g *grown) warm(b *testing.B) {
	b.Helper()
	for _, id := range g.ids {
		if _, err := balances.Load(context.Background(), g.ex, id); err != nil {
			b.Fatal(err)
		}
	}
	for at := cursor.Value(""); ; {
		page, err := g.ex.Read(context.Background(), evento.Query{}, cursor.Onward(1000, at))
		if err != nil {
			b.Fatal(err)
		}
		if !page.PageInfo.HasNextPage {
			return
		}
		at = page.PageInfo.EndCursor
		g.at = append(g.at, at)
	}
}

// append creates new aggregates.
func (g *grown) append(b *testing.B) float64 {
	const writers, each = 64, 20
	return rate(b, writers*each, func() error {
		return together(writers, func(int) error {
			for range each {
				if _, err := evento.Create().Event(payload).Commit(context.Background(), g.ex); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (g *grown) load(b *testing.B) float64 {
	const loads = 300
	return rate(b, loads, func() error {
		for range loads {
			l, err := balances.Load(context.Background(), g.ex, g.ids[rand.IntN(len(g.ids))])
			if err != nil {
				return err
			}
			if l.Version != 100 {
				return fmt.Errorf("loaded version %d", l.Version)
			}
		}
		return nil
	})
}

func (g *grown) page(b *testing.B) float64 {
	const pages = 50
	return rate(b, pages, func() error {
		for range pages {
			page, err := g.ex.Read(context.Background(), evento.Query{}, cursor.Onward(1000, g.at[rand.IntN(len(g.at)-1)]))
			if err != nil {
				return err
			}
			if len(page.Edges) != 1000 {
				return fmt.Errorf("a page of %d events", len(page.Edges))
			}
		}
		return nil
	})
}

// together runs do in n goroutines.
func together(n int, do func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range errs {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
