//go:build unix

package torture_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/testserver"
	"github.com/evento-go/evento/torture"
)

// These make runs longer than those of make test: how many workers are killed and halted on each
// durable store, and how often its server is killed or cut off.
const (
	killsVariable  = "EVENTO_TORTURE_KILLS"
	haltsVariable  = "EVENTO_TORTURE_HALTS"
	faultsVariable = "EVENTO_TORTURE_FAULTS"
	forVariable    = "EVENTO_TORTURE_FOR" // seconds that they work at least
	seedVariable   = "EVENTO_TORTURE_SEED"
)

// workerVariable tells a process of the tests that it is a worker of a history: what torture.Work
// gets, as JSON. The kind of store is in roleVariable, and its place in storeVariable.
const workerVariable = "EVENTO_TORTURE_WORKER"

// opens are the functions that open the stores of histories, by their kind.
var opens = map[string]func(ctx context.Context, place string) (evento.Executor, error){
	"sqlite": func(ctx context.Context, place string) (evento.Executor, error) {
		return orNil(sqlite.Open(ctx, place, nil))
	},
	"pebble": func(ctx context.Context, place string) (evento.Executor, error) {
		return orNil(pebble.Open(ctx, place, nil))
	},
	"postgres": func(ctx context.Context, place string) (evento.Executor, error) {
		return orNil(postgres.Open(ctx, place, nil))
	},
	"mariadb": func(ctx context.Context, place string) (evento.Executor, error) {
		return orNil(mysql.Open(ctx, place, nil))
	},
	"jetstream": openJetStream,
}

// orNil returns a nil interface, and not one with a nil pointer in it, after an error.
func orNil[E evento.Executor](ex E, err error) (evento.Executor, error) {
	if err != nil {
		return nil, err
	}
	return ex, nil
}

// workHistory is the main function of a worker's process.
func workHistory(worker, kind, place string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var w torture.Worker
	if err := json.Unmarshal([]byte(worker), &w); err != nil {
		return err
	}
	return torture.WorkOn(ctx, func(ctx context.Context) (evento.Executor, error) { return opens[kind](ctx, place) }, w)
}

// onStore are the options for a store whose workers are processes.
func onStore(t *testing.T, kind, place string) torture.Options {
	t.Helper()
	return torture.Options{
		Name:  kind,
		Open:  func(ctx context.Context) (evento.Executor, error) { return opens[kind](ctx, place) },
		Kills: number(t, killsVariable, 8),
		Halts: number(t, haltsVariable, 1),
		For:   time.Duration(number(t, forVariable, 0)) * time.Second,
		Start: func(w torture.Worker) *exec.Cmd {
			worker, err := json.Marshal(w)
			if err != nil {
				t.Error(err)
			}
			cmd := exec.CommandContext(context.Background(), os.Args[0])
			cmd.Env = append(os.Environ(), workerVariable+"="+string(worker), roleVariable+"="+kind, storeVariable+"="+place)
			return cmd
		},
	}
}

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// tortured runs it, and fails the test at any violation; then the history is kept.
func tortured(t *testing.T, o torture.Options) *torture.Report {
	t.Helper()
	seed := number(t, seedVariable, rand.IntN(1<<31))
	o.Seed, o.Again = uint64(seed), fmt.Sprintf("%s=%d go test -run '^%s$' ./torture", seedVariable, seed, t.Name())
	report, err := torture.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
	if !report.OK() {
		t.Error("promises were broken")
	}
	if want := cmp.Or(o.Workers, 3) + 1; report.Ended != want { // and the last one
		t.Errorf("%d workers have come to the end, want %d", report.Ended, want)
	}
	return report
}

func onMemory(context.Context) (evento.Executor, error) { return memory.New(nil), nil }

func TestMemory(t *testing.T) {
	t.Parallel()
	tortured(t, torture.Options{Name: "memory", Open: onMemory, For: 2 * time.Second, Kills: number(t, killsVariable, 8)})
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	tortured(t, onStore(t, "sqlite", filepath.Join(t.TempDir(), "events.db")))
}

func TestPebble(t *testing.T) {
	t.Parallel()
	o := onStore(t, "pebble", t.TempDir())
	o.Workers = 1 // one process alone can open it
	tortured(t, o)
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	server := testserver.StartPostgres(t)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := testserver.NewProxy(t, u.Host, nil)
	u.Host = proxy.Address()
	o := onStore(t, "postgres", u.String())
	// Of three faults one cuts all connections, in the middle of what is sent.
	o.Faults = number(t, faultsVariable, 2) * 3 / 2
	n := 0
	o.Fault = func(context.Context) error {
		switch n++; n % 3 {
		case 0:
			proxy.Cut()
			proxy.Heal()
			return nil
		case 1:
			server.Kill()
		default:
			server.StopAtOnce()
		}
		server.Restart()
		return nil
	}
	tortured(t, o)
}

func TestMariaDB(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	dsn := server.DSN("root", "")
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(dsn)
	proxy := testserver.NewProxy(t, address, nil)
	o := onStore(t, "mariadb", strings.ReplaceAll(dsn, address, proxy.Address()))
	o.Faults = number(t, faultsVariable, 2) * 3 / 2
	n := 0
	o.Fault = func(context.Context) error {
		if n++; n%3 == 0 {
			proxy.Cut()
			proxy.Heal()
			return nil
		}
		server.Kill()
		server.Start()
		return nil
	}
	tortured(t, o)
}

func TestJetStream(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{})
	o := onStore(t, "jetstream", strings.Join([]string{cluster.URL(), "torture"}, " "))
	o.Faults = number(t, faultsVariable, 1) * len(cluster.Nodes)
	n := 0
	o.Fault = func(context.Context) error { // each node in its turn
		node := cluster.Nodes[n%len(cluster.Nodes)]
		n++
		node.Kill()
		node.Start()
		return nil
	}
	tortured(t, o)
}
