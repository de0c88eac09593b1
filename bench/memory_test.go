package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/testserver"
	"github.com/evento-go/evento/internal/transfer"
)

// BenchmarkMemory measures how much memory a process takes at most that does one thing with a
// million events, all of one aggregate, on a store that it opens; and one that only opens it.
func BenchmarkMemory(b *testing.B) {
	events := inShort(50_000, 1_000_000)
	dir := b.TempDir()
	for _, c := range []struct {
		storage string
		at      func(b *testing.B) string
	}{
		{"SQLite", func(*testing.B) string { return filepath.Join(dir, "events.db") }},
		{"Pebble", func(*testing.B) string { return filepath.Join(dir, "events") }},
		{"Postgres", schemaURL},
		{"MySQL", func(b *testing.B) string { return testserver.MySQL(b) }},
	} {
		b.Run(c.storage, func(b *testing.B) {
			at := c.at(b)
			ex, err := reopen(c.storage, at)
			if err != nil {
				b.Fatal(err)
			}
			id := fill(b, ex, 1, events)[0]
			if err := ex.Close(); err != nil {
				b.Fatal(err)
			}
			for _, what := range []string{"open", "load", "catchup", "export"} {
				b.Run(what, func(b *testing.B) { reportMemory(b, events, c.storage, at, id, what) })
			}
		})
	}
}

// schemaURL is the address of a new schema on the PostgreSQL server.
func schemaURL(b *testing.B) string {
	b.Helper()
	_, _, schema := openPostgres(b)
	url := os.Getenv("EVENTO_TEST_POSTGRES")
	if strings.Contains(url, "?") {
		return url + "&schema=" + schema
	}
	return url + "?schema=" + schema
}

// closer is an executor that the child opens, and closes.
type closer interface {
	evento.Executor
	io.Closer
}

func reopen(storage, at string) (closer, error) {
	ctx := context.Background()
	switch storage {
	case "SQLite":
		return sqlite.Open(ctx, at, nil)
	case "Pebble":
		return pebble.Open(ctx, at, nil)
	case "Postgres":
		return postgres.Open(ctx, at, nil)
	case "MySQL":
		return mysql.Open(ctx, at, nil)
	}
	return nil, fmt.Errorf("no storage %q", storage)
}

// reportMemory runs a process for each round. Its first argument makes TestMain call child.
func reportMemory(b *testing.B, events int, args ...string) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	var peaks, rates []float64
	for b.Loop() {
		cmd := exec.Command(self, append([]string{childArgument}, args...)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}
		var kib, seconds float64
		if _, err := fmt.Sscan(string(out), &kib, &seconds); err != nil {
			b.Fatalf("%q: %v", out, err)
		}
		peaks, rates = append(peaks, kib/1024), append(rates, float64(events)/seconds)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(peaks), "MiB-peak")
	if args[len(args)-1] != "open" {
		b.ReportMetric(median(rates), "events/s")
	}
}

const childArgument = "child-of-a-benchmark"

// child does what its arguments say, and prints its peak of resident memory in KiB and the
// seconds that it took.
func child(args []string) error {
	storage, at, id, what := args[0], args[1], args[2], args[3]
	ex, err := reopen(storage, at)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := work(ex, id, what); err != nil {
		return err
	}
	took := time.Since(began)
	if err := ex.Close(); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, _, found := strings.Cut(rest, "kB")
	if !found {
		return fmt.Errorf("no peak of memory in %q", status)
	}
	_, err = fmt.Println(strings.TrimSpace(kib), took.Seconds())
	return err
}

func work(ex evento.Executor, id, what string) error {
	ctx := context.Background()
	switch what {
	case "load":
		_, err := balances.Load(ctx, ex, id)
		return err
	case "catchup":
		return evento.NewSubscription(rand.Text()).
			Handler(evento.HandleAll(account, func(context.Context, evento.RawEvent) error { return nil })).
			Execute(ctx, ex)
	case "export":
		_, err := transfer.Export(ctx, ex, io.Discard, transfer.ExportOptions{})
		return err
	}
	return nil
}
