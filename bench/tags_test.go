package bench

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/testserver"
)

const (
	courses      = 1000
	perStudent   = 100 // events
	sharedByBoth = 10  // events of a course and a student
)

// tagged are the tags of event i: those of a course, and of a student who is in ten of them.
func tagged(i int) []string {
	course, round := i%courses, i/courses
	return []string{fmt.Sprint("course:", course), fmt.Sprint("student:", course/sharedByBoth, "-", round/(perStudent/sharedByBoth))}
}

// fillTagged commits events, a hundred at a time, with the tags that tags gives.
func fillTagged(b *testing.B, ex evento.Executor, events int, tags func(i int) []string) {
	b.Helper()
	const workers, each = 8, 100
	data, err := evento.CBOR().Marshal(payload)
	if err != nil {
		b.Fatal(err)
	}
	err = together(workers, func(w int) error {
		for from := w * each; from < events; from += workers * each {
			a := evento.Append{AggregateType: account, AggregateID: evento.NewID().String(), Events: make([]evento.NewEvent, each)}
			for j := range a.Events {
				a.Events[j] = evento.NewEvent{ID: evento.NewID(), Name: payload.EventName(), Codec: "cbor", Data: data, Tags: tags(from + j)}
			}
			if _, err := ex.Write(context.Background(), evento.Write{Appends: []evento.Append{a}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkTags measures reads of the ten events that have two tags, of a thousand and a
// hundred events, out of a million.
func BenchmarkTags(b *testing.B) {
	events := 1_000_000
	if testing.Short() {
		events = 100_000
	}
	onEach(b, func(b *testing.B, ex evento.Executor) {
		fillTagged(b, ex, events, tagged)
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			var ms []float64
			for b.Loop() {
				for range 200 {
					q := evento.Query{Filters: []evento.Filter{evento.ByTags(tagged(rand.IntN(events))...)}}
					began := time.Now()
					page, err := ex.Read(context.Background(), q, cursor.Onward(100, ""))
					if err != nil {
						b.Fatal(err)
					}
					if len(page.Edges) != min(sharedByBoth, events/courses) {
						b.Fatalf("got %d events", len(page.Edges))
					}
					ms = append(ms, float64(time.Since(began).Microseconds())/1000)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ms), "ms-for-10-hits")
		})
	})
}

// BenchmarkTagBytes measures how many bytes on the disk a tag takes: a store of events
// with two tags each, beside one of the same without.
func BenchmarkTagBytes(b *testing.B) {
	for _, c := range []struct {
		name string
		size func(b *testing.B, tags func(int) []string) int64
	}{{"SQLite", sqliteBytes}, {"Pebble", pebbleBytes}, {"Postgres", postgresBytes}, {"MySQL", mysqlBytes}} {
		b.Run(c.name, func(b *testing.B) {
			with, without := c.size(b, tagged), c.size(b, func(int) []string { return nil })
			for b.Loop() { // nothing: sizes are the same each time
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(with-without)/(2*bytesEvents), "bytes-a-tag")
		})
	}
}

const bytesEvents = 100_000

func sqliteBytes(b *testing.B, tags func(int) []string) int64 {
	b.Helper()
	dir := b.TempDir()
	ex, err := sqlite.Open(context.Background(), filepath.Join(dir, "events.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	fillTagged(b, ex, bytesEvents, tags)
	if err := ex.Close(); err != nil {
		b.Fatal(err)
	}
	return folderBytes(b, dir)
}

func pebbleBytes(b *testing.B, tags func(int) []string) int64 {
	b.Helper()
	dir := b.TempDir()
	for fill := range 2 { // opened again, what was in the log is in tables
		ex, err := pebble.Open(context.Background(), dir, nil)
		if err != nil {
			b.Fatal(err)
		}
		if fill == 0 {
			fillTagged(b, ex, bytesEvents, tags)
		}
		if err := ex.Close(); err != nil {
			b.Fatal(err)
		}
	}
	return folderBytes(b, dir)
}

func folderBytes(b *testing.B, dir string) (size int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return size
}

func postgresBytes(b *testing.B, tags func(int) []string) (size int64) {
	b.Helper()
	pool, ex, schema := openPostgres(b)
	fillTagged(b, ex, bytesEvents, tags)
	err := pool.QueryRow(context.Background(), "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'", schema).Scan(&size)
	if err != nil {
		b.Fatal(err)
	}
	return size
}

func mysqlBytes(b *testing.B, tags func(int) []string) (size int64) {
	b.Helper()
	dsn := testserver.MySQL(b)
	fillTagged(b, openMySQL(b, dsn), bytesEvents, tags)
	db := mysqlDB(b, dsn, 1)
	for _, table := range []string{"evento_event", "evento_tag"} {
		var name, op, kind, text sql.NullString
		if err := db.QueryRow("ANALYZE TABLE "+table).Scan(&name, &op, &kind, &text); err != nil {
			b.Fatal(err)
		}
	}
	err := db.QueryRow("SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ('evento_event', 'evento_tag')").Scan(&size)
	if err != nil {
		b.Fatal(err)
	}
	return size
}
