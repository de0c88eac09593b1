package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// peer is a library on a new store of its own, used as its documentation says. All have the
// same durability, and up to 64 connections to a server.
type peer interface {
	// append has writers store commits of a number of events, each writer in turn.
	append(writers, commits, events int) (time.Duration, error)
	// load folds the events of one aggregate, again and again.
	load(loads, events int) (time.Duration, error)
	// catchUp gives the events of the store, so many, to a new subscriber.
	catchUp(events int) (time.Duration, error)
	// latency returns how long after each commit a subscriber has its event.
	latency(commits int) (ms []float64, err error)
	// deliver returns how many events a subscriber never gets that writers store
	// meanwhile, in commits of one.
	deliver(writers, commits int) (lost int, err error)
}

// errNoSuchThing is of what a library does not do.
var errNoSuchThing = errors.New("this library has no such thing")

// library is one that is compared.
type library struct {
	name string
	// commits is how many commits of [peer.latency] a round has.
	commits int
	// table is that of events on PostgreSQL.
	table string
	// open opens a store at a file of SQLite, or at the URL of a database of PostgreSQL.
	open func(b *testing.B, storage, at string) peer
	on   []string
}

func libraries() []library {
	all := []library{
		{"evento", 100, "evento.event", openEventoPeer, []string{"SQLite", "Postgres"}},
		{"watermill-sql", 100, "watermill_events", openWatermillPeer, []string{"Postgres"}},
	}
	if os.Getenv(rustPeer) != "" { // it holds events back for a second
		all = append(all, library{"evento-rs", 3, "public.event", openRustPeer, []string{"SQLite", "Postgres"}})
	}
	return all
}

// entrant is a library that takes part in one comparison.
type entrant struct {
	library
	peer
}

// enter opens a new store of each library.
func enter(b *testing.B, storage string) (all []entrant) {
	b.Helper()
	for _, l := range libraries() {
		if slices.Contains(l.on, storage) {
			all = append(all, entrant{l, l.open(b, storage, newPlace(b, storage, l))})
		}
	}
	return all
}

func newPlace(b *testing.B, storage string, l library) string {
	b.Helper()
	if storage == "SQLite" {
		return filepath.Join(b.TempDir(), l.name+".db")
	}
	return newDatabase(b)
}

// newDatabase returns the URL of a new database on the PostgreSQL server.
func newDatabase(b *testing.B) string {
	b.Helper()
	server := os.Getenv("EVENTO_TEST_POSTGRES")
	if server == "" {
		b.Fatal("EVENTO_TEST_POSTGRES is not set: make bench starts a server")
	}
	name := "bench_" + strings.ToLower(rand.Text())
	statements(b, server, "CREATE DATABASE "+name)
	b.Cleanup(func() { statements(b, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(server)
	if err != nil {
		b.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func statements(b *testing.B, at string, texts ...string) {
	b.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, at)
	if err != nil {
		b.Fatal(err)
	}
	for _, text := range texts {
		if _, err := c.Exec(ctx, text); err != nil {
			b.Fatalf("%s: %v", text, err)
		}
	}
	if err := c.Close(ctx); err != nil {
		b.Fatal(err)
	}
}

// inTurns runs rounds of all libraries, alternating, and reports the median rate of each.
func inTurns(b *testing.B, all []entrant, n int, unit string, do func(p peer) (time.Duration, error)) {
	b.Helper()
	rates := make([][]float64, len(all))
	for b.Loop() {
		for i, e := range all {
			took, err := do(e.peer)
			if errors.Is(err, errNoSuchThing) {
				continue
			}
			if err != nil {
				b.Fatalf("%s: %v", e.name, err)
			}
			rates[i] = append(rates[i], float64(n)/took.Seconds())
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, e := range all {
		if len(rates[i]) > 0 {
			b.ReportMetric(median(rates[i]), e.name+":"+unit)
		}
	}
}

// BenchmarkPeers compares evento with other libraries.
func BenchmarkPeers(b *testing.B) {
	for _, storage := range []string{"SQLite", "Postgres"} {
		b.Run(storage, func(b *testing.B) {
			for _, c := range []struct{ writers, commits, events int }{{1, 500, 1}, {64, 64 * 50, 1}, {1, 50, 100}} {
				b.Run(fmt.Sprintf("append/writers=%d/events=%d", c.writers, c.events), func(b *testing.B) {
					inTurns(b, enter(b, storage), c.commits*c.events, "events/s", func(p peer) (time.Duration, error) { return p.append(c.writers, c.commits, c.events) })
				})
			}
			b.Run("load", func(b *testing.B) {
				const loads, events = 100, 100
				inTurns(b, enter(b, storage), loads, "loads/s", func(p peer) (time.Duration, error) { return p.load(loads, events) })
			})
			b.Run("catchup", func(b *testing.B) { compareCatchUp(b, storage) })
			b.Run("handler", func(b *testing.B) { compareHandlers(b, storage) })
			late := []time.Duration{0}
			if storage == "Postgres" {
				late = append(late, 20*time.Millisecond, 1500*time.Millisecond)
			}
			for _, late := range late {
				b.Run(fmt.Sprintf("lost/late=%v", late), func(b *testing.B) { compareLoss(b, storage, late) })
			}
		})
	}
}

func compareCatchUp(b *testing.B, storage string) {
	b.Helper()
	const writers, each = 8, 100
	events := inShort(4000, 40_000)
	all := enter(b, storage)
	for _, e := range all {
		if _, err := e.append(writers, events/each, each); err != nil {
			b.Fatalf("%s: %v", e.name, err)
		}
	}
	inTurns(b, all, events, "events/s", func(p peer) (time.Duration, error) { return p.catchUp(events) })
}

// compareHandlers reports how long after a commit a subscriber has the event, nobody else
// writing.
func compareHandlers(b *testing.B, storage string) {
	b.Helper()
	all := enter(b, storage)
	ms := make([][]float64, len(all))
	for b.Loop() {
		for i, e := range all {
			round, err := e.latency(e.commits)
			if err != nil {
				b.Fatalf("%s: %v", e.name, err)
			}
			ms[i] = append(ms[i], round...)
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, e := range all {
		b.ReportMetric(median(ms[i]), e.name+":ms-p50")
	}
}

// compareLoss reports how many of the events of four writers a subscriber never gets, while
// some commits end late.
func compareLoss(b *testing.B, storage string, late time.Duration) {
	b.Helper()
	const writers = 4
	commits := inShort(720, 3600)
	lost := map[string]int{}
	for _, l := range libraries() {
		if !slices.Contains(l.on, storage) {
			continue
		}
		at := newPlace(b, storage, l)
		p := l.open(b, storage, at)
		if late > 0 {
			delay(b, at, l.table, late)
		}
		n, err := p.deliver(writers, commits)
		if err != nil {
			b.Fatalf("%s: %v", l.name, err)
		}
		lost[l.name] = n
	}
	for b.Loop() { // nothing: once is enough
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(commits), "events")
	for name, n := range lost {
		b.ReportMetric(float64(n), name+":lost")
	}
}

// delay makes commits with some of the rows of a table take as long, as they do on a disk that
// is busy or with a replica that is slow: one in 50 rows, or in 700 if it is for long.
func delay(b *testing.B, at, table string, late time.Duration) {
	b.Helper()
	every := 50
	if late > time.Second {
		every = 700
	}
	statements(b, at,
		"CREATE SEQUENCE public.rows_so_far",
		fmt.Sprintf(`CREATE FUNCTION public.be_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('public.rows_so_far') %% %d = %d THEN PERFORM pg_sleep(%f); END IF;
			RETURN NULL;
		END $$`, every, every/2, late.Seconds()),
		"CREATE CONSTRAINT TRIGGER late AFTER INSERT ON "+table+" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.be_late()")
}

// quiet is how long a subscriber has to get nothing until it has all that it ever gets.
const quiet = 5 * time.Second

// missing receives ids until all have come or nothing has come for a while, and returns how
// many have not.
func missing(all int, ids <-chan string) int {
	seen := map[string]bool{}
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for len(seen) < all {
		select {
		case id := <-ids:
			seen[id] = true
			timer.Reset(quiet)
		case <-timer.C:
			return all - len(seen)
		}
	}
	return 0
}
