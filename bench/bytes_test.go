package bench

import (
	"context"
	"crypto/rand"
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/testserver"
)

const randomBytes = 300

func bytesEvents() int { return inShort(10_000, 100_000) }

// randomEvent has a payload that cannot be compressed.
func randomEvent(int) evento.NewEvent {
	data := make([]byte, randomBytes)
	_, _ = rand.Read(data) // it never fails
	return evento.NewEvent{ID: evento.NewID(), Name: payload.EventName(), Codec: "random", Data: data}
}

type sizer struct {
	name string
	size func(b *testing.B, of func(i int) evento.NewEvent) int64
}

func sizers() []sizer {
	return []sizer{{"SQLite", sqliteBytes}, {"Pebble", pebbleBytes}, {"Postgres", postgresBytes}, {"MySQL", mysqlBytes}}
}

// BenchmarkBytes measures how many bytes on the disk an event takes whose payload of random
// bytes nothing can compress, and how many of them are that payload.
func BenchmarkBytes(b *testing.B) {
	for _, c := range sizers() {
		b.Run(c.name, func(b *testing.B) {
			size := c.size(b, randomEvent)
			for b.Loop() { // nothing: sizes are the same each time
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(size)/float64(bytesEvents()), "bytes-an-event")
			b.ReportMetric(randomBytes, "bytes-of-payload")
		})
	}
}

// BenchmarkTagBytes measures how many bytes on the disk a tag takes: a store of events
// with two tags each, beside one of the same without.
func BenchmarkTagBytes(b *testing.B) {
	for _, c := range sizers() {
		b.Run(c.name, func(b *testing.B) {
			with, without := c.size(b, taggedEvent), c.size(b, untaggedEvent)
			for b.Loop() { // nothing: sizes are the same each time
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(with-without)/float64(2*bytesEvents()), "bytes-a-tag")
		})
	}
}

func sqliteBytes(b *testing.B, of func(int) evento.NewEvent) int64 {
	b.Helper()
	dir := b.TempDir()
	ex, err := sqlite.Open(context.Background(), filepath.Join(dir, "events.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	fillWith(b, ex, bytesEvents(), of)
	if err := ex.Close(); err != nil {
		b.Fatal(err)
	}
	return folderBytes(b, dir)
}

func pebbleBytes(b *testing.B, of func(int) evento.NewEvent) int64 {
	b.Helper()
	dir := b.TempDir()
	for fill := range 2 { // opened again, what was in the log is in tables
		ex, err := pebble.Open(context.Background(), dir, nil)
		if err != nil {
			b.Fatal(err)
		}
		if fill == 0 {
			fillWith(b, ex, bytesEvents(), of)
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

func postgresBytes(b *testing.B, of func(int) evento.NewEvent) (size int64) {
	b.Helper()
	pool, ex, schema := openPostgres(b)
	fillWith(b, ex, bytesEvents(), of)
	err := pool.QueryRow(context.Background(), "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'", schema).Scan(&size)
	if err != nil {
		b.Fatal(err)
	}
	return size
}

func mysqlBytes(b *testing.B, of func(int) evento.NewEvent) (size int64) {
	b.Helper()
	dsn := testserver.MySQL(b)
	fillWith(b, openMySQL(b, dsn), bytesEvents(), of)
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
