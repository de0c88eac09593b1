package testserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
)

// Postgres returns the URL of the PostgreSQL server that EVENTO_TEST_POSTGRES
// names. Without one the test is left out. The tests of a package share the
// server, each with schemas of its own.
func Postgres(t testing.TB) string {
	t.Helper()
	return shared(t, "EVENTO_TEST_POSTGRES", "postgres://user@127.0.0.1:5432/postgres?sslmode=disable")
}

// PostgresDatabase returns the URL of a new, empty database on the server of [Postgres],
// which is dropped when the test ends.
func PostgresDatabase(t testing.TB) string {
	t.Helper()
	server, err := url.Parse(Postgres(t))
	if err != nil {
		t.Fatalf("EVENTO_TEST_POSTGRES: %v", err)
	}
	name := "evento_test_" + strings.ToLower(evento.NewID().String())
	postgresStatement(t, server.String(), "CREATE DATABASE "+name)
	t.Cleanup(func() { postgresStatement(t, server.String(), "DROP DATABASE "+name+" WITH (FORCE)") })
	database := *server
	database.Path = "/" + name
	return database.String()
}

func postgresStatement(t testing.TB, url, text string) {
	t.Helper()
	// Not the test's context, which has ended when it cleans up.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err == nil {
		_, err = conn.Exec(ctx, text)
		err = errors.Join(err, conn.Close(ctx))
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// PostgresServer is a private PostgreSQL server on a loopback port of its own,
// for tests that stop, kill or replicate it. Its methods are called from the goroutine of
// the test that started it, and fail that test.
type PostgresServer struct {
	// URL is the server's address, the same after Restart.
	URL string

	t        testing.TB
	programs string // the folder of PostgreSQL's programs
	home     string // the temporary folder; its data is below
	port     int
	settings []string
	process  *process
}

// StartPostgres starts a new, empty server with settings such as
// "max_connections=50". The end of the test stops it and removes its data.
// Without PostgreSQL's programs the test is left out.
func StartPostgres(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	s := newPostgres(t, settings)
	s.run("initdb", "-D", s.data(), "-U", "evento", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	s.Restart()
	return s
}

// Replica starts a streaming replica of a running server. It is a server of its own,
// and can be stopped, killed and restarted like any other.
func (s *PostgresServer) Replica(settings ...string) *PostgresServer {
	s.t.Helper()
	r := newPostgres(s.t, append(s.settings[:len(s.settings):len(s.settings)], settings...))
	r.run("pg_basebackup", "-D", r.data(), "-d", s.URL, "-R", "-X", "stream", "--checkpoint=fast", "--no-sync")
	r.Restart()
	return r
}

// Kill ends the server as kill -9 does, and returns when none of its processes runs.
func (s *PostgresServer) Kill() { s.process.end(os.Kill) }

// Stop ends the server in an orderly way, breaking off its connections.
func (s *PostgresServer) Stop() { s.process.end(os.Interrupt) }

// StopAtOnce ends the server in its immediate mode: it waits for nobody, and recovers
// when it starts again.
func (s *PostgresServer) StopAtOnce() { s.process.end(syscall.SIGQUIT) }

// Restart stops the server if it runs, starts it again on the same data and port, and
// returns when it accepts connections.
func (s *PostgresServer) Restart() {
	s.t.Helper()
	s.Stop()
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port)}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=32MB"}, s.settings...) {
		args = append(args, "-c", setting)
	}
	s.process = start(s.t, s.command("postgres", args...), os.Interrupt, func(said string) error {
		if strings.Contains(said, "ready to accept") {
			return nil
		}
		return errors.New("it has not said that it is ready")
	})
}

func newPostgres(t testing.TB, settings []string) *PostgresServer {
	t.Helper()
	programs := postgresPrograms()
	if programs == "" {
		leaveOut(t, "no PostgreSQL on this machine: install it, such as Debian's package postgresql")
	}
	had.Add(1)
	s := &PostgresServer{t: t, programs: programs, home: temporary(t), port: freePort(t), settings: settings}
	s.URL = fmt.Sprintf("postgres://evento@127.0.0.1:%d/postgres?sslmode=disable", s.port)
	return s
}

// postgresPrograms is the folder of the newest version; "": there is none.
func postgresPrograms() string {
	newest, version := "", 0.0
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	for _, path := range folders {
		folder := filepath.Dir(path)
		if v, err := strconv.ParseFloat(filepath.Base(filepath.Dir(folder)), 64); err == nil && v > version {
			newest, version = folder, v
		}
	}
	if path, err := exec.LookPath("postgres"); newest == "" && err == nil {
		newest = filepath.Dir(path)
	}
	return newest
}

func (s *PostgresServer) data() string { return filepath.Join(s.home, "data") }

func (s *PostgresServer) command(program string, args ...string) *exec.Cmd {
	return command(s.home, filepath.Join(s.programs, program), args...)
}

func (s *PostgresServer) run(program string, args ...string) {
	s.t.Helper()
	if out, err := s.command(program, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", program, err, out)
	}
}
