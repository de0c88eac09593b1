//go:build unix

package torture_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/testserver"
)

// These environment variables tell a process of the tests that it is a worker, on
// which store and in which role, and where it logs the events that it handles.
const (
	roleVariable  = "EVENTO_TORTURE_ROLE"
	storeVariable = "EVENTO_TORTURE_STORE"
	logVariable   = "EVENTO_TORTURE_LOG"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" && os.Getenv(workerVariable) == "" {
		if err := work(role, os.Getenv(storeVariable), os.Getenv(logVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if worker := os.Getenv(workerVariable); worker != "" {
		if err := workHistory(worker, os.Getenv(roleVariable), os.Getenv(storeVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testserver.Run(m)
}

const thing evento.AggregateType = "torture/Thing"

type happened struct{ N int }

func (happened) AggregateType() evento.AggregateType { return thing }
func (happened) EventName() string                   { return "Happened" }

const key = "worker"

// storage is a kind of store, with a table of the application beside the events.
type storage struct {
	name  string
	store func(t *testing.T) string
	open  func(ctx context.Context, store string) (evento.Executor, error)
	// exec runs a statement in the transaction of ctx.
	exec func(ctx context.Context, text string, args ...any) error
	// raw runs a statement outside of evento.
	raw func(ctx context.Context, store, text string) error
	// counts reads the application's table.
	counts func(ctx context.Context, store string) (map[string]int, error)
	// create makes the table; count adds one to the row of an aggregate. "": the storage has
	// no tables.
	create, count string
}

func storages() []storage {
	return []storage{
		{
			name:  "SQLite",
			store: func(t *testing.T) string { return filepath.Join(t.TempDir(), "events.db") },
			open: func(ctx context.Context, store string) (evento.Executor, error) {
				return sqlite.Open(ctx, store, nil)
			},
			exec: func(ctx context.Context, text string, args ...any) error {
				_, err := sqlite.Tx(ctx).ExecContext(ctx, text, args...)
				return err
			},
			raw: func(ctx context.Context, store, text string) error {
				return execRaw(ctx, "sqlite3", "file:"+store, text)
			},
			counts: func(ctx context.Context, store string) (map[string]int, error) {
				return countsOf(ctx, "sqlite3", "file:"+store)
			},
			create: "CREATE TABLE counts (id TEXT PRIMARY KEY, n INTEGER NOT NULL)",
			count:  "INSERT INTO counts VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET n = n + 1",
		},
		{
			name: "PostgreSQL",
			store: func(t *testing.T) string {
				u, err := url.Parse(testserver.Postgres(t))
				if err != nil {
					t.Fatal(err)
				}
				name := "torture_" + strings.ToLower(evento.NewID().String())
				statement := func(text string) {
					conn, err := pgx.Connect(context.Background(), u.String())
					if err == nil {
						_, err = conn.Exec(context.Background(), text)
						err = errors.Join(err, conn.Close(context.Background()))
					}
					if err != nil {
						t.Error(err)
					}
				}
				statement("CREATE DATABASE " + name)
				t.Cleanup(func() { statement("DROP DATABASE " + name + " WITH (FORCE)") })
				own := *u
				own.Path = "/" + name
				return own.String()
			},
			open: func(ctx context.Context, store string) (evento.Executor, error) {
				return postgres.Open(ctx, store, nil)
			},
			exec: func(ctx context.Context, text string, args ...any) error {
				_, err := postgres.Tx(ctx).Exec(ctx, text, args...)
				return err
			},
			raw: func(ctx context.Context, store, text string) error {
				conn, err := pgx.Connect(ctx, store)
				if err != nil {
					return err
				}
				_, err = conn.Exec(ctx, text)
				return errors.Join(err, conn.Close(ctx))
			},
			counts: func(ctx context.Context, store string) (map[string]int, error) {
				conn, err := pgx.Connect(ctx, store)
				if err != nil {
					return nil, err
				}
				defer func() { _ = conn.Close(ctx) }()
				counts := map[string]int{}
				rows, err := conn.Query(ctx, "SELECT id, n FROM counts")
				if err != nil {
					return nil, err
				}
				var id string
				var n int
				_, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error {
					counts[id] = n
					return nil
				})
				return counts, err
			},
			create: "CREATE TABLE counts (id text PRIMARY KEY, n int NOT NULL)",
			count:  "INSERT INTO counts VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET n = counts.n + 1",
		},
		{
			name: "MariaDB",
			// As the guide recommends, the server aborts the transaction of a
			// halted process. On PostgreSQL a subscription requests this itself.
			store: func(t *testing.T) string { return testserver.MySQL(t) + "?idle_transaction_timeout=2" },
			open: func(ctx context.Context, store string) (evento.Executor, error) {
				return mysql.Open(ctx, store, nil)
			},
			exec: func(ctx context.Context, text string, args ...any) error {
				_, err := mysql.Tx(ctx).ExecContext(ctx, text, args...)
				return err
			},
			raw:    func(ctx context.Context, store, text string) error { return execRaw(ctx, "mysql", store, text) },
			counts: func(ctx context.Context, store string) (map[string]int, error) { return countsOf(ctx, "mysql", store) },
			create: "CREATE TABLE counts (id VARCHAR(100) PRIMARY KEY, n INT NOT NULL)",
			count:  "INSERT INTO counts VALUES (?, 1) ON DUPLICATE KEY UPDATE n = n + 1",
		},
		{name: jetStreamName, store: jetStreamStore, open: openJetStream},
	}
}

func execRaw(ctx context.Context, driver, dsn, text string) error {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, text)
	return errors.Join(err, db.Close())
}

func countsOf(ctx context.Context, driver, dsn string) (counts map[string]int, err error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, "SELECT id, n FROM counts")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	counts = map[string]int{}
	for rows.Next() {
		var id string
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			return nil, err
		}
		counts[id] = n
	}
	return counts, rows.Err()
}

func storageOf(name string) storage {
	for _, s := range storages() {
		if s.name == name {
			return s
		}
	}
	panic("no such storage: " + name)
}

// The leases of workers in general, and of those that are killed one after the
// other: the next one waits for the lease each time.
const (
	lease      = time.Second
	shortLease = 300 * time.Millisecond
)

// subscription returns the subscription that the workers run. A role is a list of
// words.
func (s storage) subscription(role, path string) (*evento.SubscriptionBuilder, error) {
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	length := lease
	switch {
	case strings.Contains(role, "short"):
		length = shortLease
	case strings.Contains(role, "patient"):
		length = time.Minute
	}
	b := evento.NewSubscription(key).Lease(length).ChunkSize(20).Logger(slog.New(slog.DiscardHandler))
	transactional := strings.Contains(role, "transactional")
	if transactional {
		b.Transactional()
	}
	if strings.Contains(role, "standby") {
		b.Standby()
	}
	if strings.Contains(role, "partitions") {
		b.Partitions(8)
	}
	return b.Handler(evento.HandleAll(thing, func(ctx context.Context, e evento.RawEvent) error {
		if transactional {
			if err := s.exec(ctx, s.count, e.AggregateID); err != nil {
				return err
			}
		}
		time.Sleep(rand.N(2 * time.Millisecond)) // the work, during which it may be killed
		// The writes of several processes to a file opened for appending are not
		// mixed, if each line is one write.
		_, err := fmt.Fprintf(log, "%d %s %d\n", os.Getpid(), e.AggregateID, e.Version)
		return err
	})), nil
}

// work is the main function of a worker's process: it runs until it is killed, or
// told to end.
func work(role, store, log string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	name, role, _ := strings.Cut(role, ":")
	s := storageOf(name)
	ex, err := s.open(ctx, store)
	if ctx.Err() != nil {
		return nil // told to end before it began
	}
	if err != nil {
		return err
	}
	b, err := s.subscription(role, log)
	if err != nil {
		return err
	}
	sub, err := b.Start(ctx, ex)
	if ctx.Err() != nil && err != nil {
		return ex.Close()
	}
	if err != nil {
		return err
	}
	select {
	case <-sub.Done():
	case <-ctx.Done():
		down, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if err := sub.Shutdown(down); err != nil {
			return err
		}
	}
	if err := sub.Err(); err != nil && !errors.Is(err, evento.ErrTakenOver) && !errors.Is(err, context.Canceled) {
		return err
	}
	return ex.Close()
}

// process is a worker process started by a test.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	errors *strings.Builder
	ended  bool
}

func (s storage) start(t *testing.T, role, store, log string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(context.Background(), os.Args[0]), errors: &strings.Builder{}}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+s.name+":"+role, storeVariable+"="+store, logVariable+"="+log)
	p.cmd.Stderr = p.errors
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.ended {
			p.kill()
		}
		if t.Failed() && p.errors.Len() > 0 {
			t.Logf("worker %s: %s", p.pid(), p.errors)
		}
	})
	return p
}

func (p *process) pid() string { return fmt.Sprint(p.cmd.Process.Pid) }

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s to %s: %v", s, p.pid(), err)
	}
}

// kill kills the process.
func (p *process) kill() {
	p.t.Helper()
	p.ended = true
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Errorf("kill: %v, %s", err, p.errors)
	}
	_ = p.cmd.Wait() // killed
}

// end tells the process to end, and checks that it ends without an error.
func (p *process) end() {
	p.t.Helper()
	p.ended = true
	p.signal(syscall.SIGTERM)
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM { //nolint:forcetypeassert // this is unix
		return // it did not listen for signals yet
	}
	if err != nil {
		p.t.Errorf("a worker ended with %v: %s", err, p.errors)
	}
}

// gone waits until the process has ended, and checks that it had no error.
func (p *process) gone() {
	p.t.Helper()
	p.ended = true
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("a worker ended with %v: %s", err, p.errors)
	}
}

// line is an event that a worker has handled.
type line struct {
	pid, aggregate string
	version        int
}

func readLog(t *testing.T, path string) (lines []line) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for s := range strings.Lines(string(text)) {
		if !strings.HasSuffix(s, "\n") {
			break // its last part is still being written
		}
		var l line
		if _, err := fmt.Sscan(s, &l.pid, &l.aggregate, &l.version); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// until polls until a condition holds.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	const patience = 5 * time.Minute // on a busy machine
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		<-tick.C
	}
}
