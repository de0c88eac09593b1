package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
)

func serveConsole(b *testing.B, ex evento.Executor) string {
	b.Helper()
	handler, err := console.Handler(ex, &console.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(handler)
	b.Cleanup(server.Close)
	return server.URL
}

// BenchmarkConsolePages is how long the pages of a store of a million events take to their first
// byte: the 95th of a hundred. 50 ms are to be reached.
func BenchmarkConsolePages(b *testing.B) {
	for _, c := range []struct {
		name string
		open func(b *testing.B) evento.Executor
	}{
		{"SQLite", func(b *testing.B) evento.Executor { return openStore(b, filepath.Join(b.TempDir(), "large")) }},
		{"Postgres", func(b *testing.B) evento.Executor {
			_, ex, _ := openPostgres(b)
			return ex
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			events := inShort(20_000, 1_000_000)
			g := newImported(b, c.open(b), events)
			url := serveConsole(b, g.ex)
			id := g.ids[len(g.ids)/2]
			kind := string(evento.AggregateType("bank/Account"))
			for name, path := range map[string]string{
				"overview":      "/",
				"events":        "/events",
				"before":        fmt.Sprintf("/events?before=%d", events/2),
				"type":          "/events?type=" + kind,
				"name":          "/events?type=" + kind + "&name=MoneyDeposited",
				"aggregate-id":  "/events?type=" + kind + "&id=" + id,
				"from":          "/events?from=1m",
				"text":          "/events?text=nowhere",
				"event":         fmt.Sprintf("/events/%d", events/3),
				"aggregate":     "/aggregates/" + strings.ReplaceAll(kind, "/", "%2F") + "/" + id + "?v=50",
				"subscriptions": "/subscriptions",
			} {
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						b.ReportMetric(firstBytes(b, url+path), "p95-ms")
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(50, "reach-ms")
				})
			}
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			b.Logf("%d MB are in use afterwards", m.HeapAlloc>>20)
		})
	}
}

// firstBytes is how long the 95th of a hundred requests takes to its first byte, in milliseconds.
func firstBytes(b *testing.B, url string) float64 {
	b.Helper()
	var took []time.Duration
	for range 100 {
		began := time.Now()
		response, err := http.Get(url)
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		_, err = io.Copy(io.Discard, response.Body)
		if _ = response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
			b.Fatalf("%s: status %d, %v", url, response.StatusCode, err)
		}
	}
	slices.Sort(took)
	return float64(took[94].Microseconds()) / 1000
}

// BenchmarkConsoleViewers compares appends while 200 pages are open with those while none is.
func BenchmarkConsoleViewers(b *testing.B) {
	alone := openStore(b, filepath.Join(b.TempDir(), "alone"))
	watched := openStore(b, filepath.Join(b.TempDir(), "watched"))
	serveConsole(b, alone)
	url := serveConsole(b, watched)
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	for range 200 {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/stream?rows=1", nil)
		if err != nil {
			b.Fatal(err)
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			b.Fatal(err)
		}
		lines := bufio.NewScanner(response.Body)
		if !lines.Scan() {
			b.Fatal(lines.Err())
		}
		go func() {
			defer func() { _ = response.Body.Close() }()
			for lines.Scan() {
			}
		}()
	}
	const appends = 2000
	of := func(ex evento.Executor) func() float64 {
		return func() float64 {
			return rate(b, appends, func() error {
				for range appends {
					if _, err := evento.Create().Event(payload).Commit(context.Background(), ex); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	compare(b, 1/1.2, of(watched), of(alone))
}
