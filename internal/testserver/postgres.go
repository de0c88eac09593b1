package testserver

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Postgres returns the URL of the PostgreSQL server that EVENTO_TEST_POSTGRES
// names. Without one the test is left out. The tests of a package share the
// server, each with schemas of its own.
func Postgres(t testing.TB) string {
	t.Helper()
	return shared(t, "EVENTO_TEST_POSTGRES", "postgres://user@127.0.0.1:5432/postgres?sslmode=disable")
}

// PostgresServer is a private PostgreSQL server on a loopback port of its own,
// for tests that stop, kill or replicate it. Its methods fail the test that
// started it, and are called from that test's goroutine.
type PostgresServer struct {
	// URL is the server's address, the same after Restart.
	URL string

	t        testing.TB
	programs string // the folder of PostgreSQL's programs
	home     string // the temporary folder; its data is below
	port     int
	settings []string

	process *os.Process   // nil: not running
	ended   chan struct{} // closed when the process and its children are gone

	mu   sync.Mutex
	last []string // of what the server said
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

// Replica starts a streaming replica of a server that runs. It is a server of
// its own, to be stopped, killed and restarted as any.
func (s *PostgresServer) Replica(settings ...string) *PostgresServer {
	s.t.Helper()
	r := newPostgres(s.t, append(s.settings[:len(s.settings):len(s.settings)], settings...))
	r.run("pg_basebackup", "-D", r.data(), "-d", s.URL, "-R", "-X", "stream", "--checkpoint=fast", "--no-sync")
	r.Restart()
	return r
}

// Kill ends the server as kill -9 does, and returns when nothing of it runs any
// more.
func (s *PostgresServer) Kill() {
	s.t.Helper()
	s.end(os.Kill)
}

// Stop ends the server in an orderly way, breaking off its connections.
func (s *PostgresServer) Stop() {
	s.t.Helper()
	s.end(os.Interrupt)
}

// StopAtOnce ends the server in its immediate mode: nobody is waited for, and
// it recovers when it starts again.
func (s *PostgresServer) StopAtOnce() {
	s.t.Helper()
	s.end(syscall.SIGQUIT)
}

// Restart starts the server again on the same data and port, stopping it first
// if it runs, and returns when it accepts connections.
func (s *PostgresServer) Restart() {
	s.t.Helper()
	s.Stop()
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port)}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=32MB"}, s.settings...) {
		args = append(args, "-c", setting)
	}
	out, in, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := s.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = in, in
	err = cmd.Start()
	_ = in.Close()
	if err != nil {
		_ = out.Close()
		s.t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		open := sync.OnceFunc(func() { close(ready) })
		// It ends when the last process of the server has.
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			s.said(line)
			if strings.Contains(line, "ready to accept") {
				open()
			}
			if err != nil {
				break
			}
		}
		_ = out.Close()
		_ = cmd.Wait()
	}()
	s.process, s.ended = cmd.Process, ended
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	select {
	case <-ready:
		return
	case <-ended:
		s.process = nil
	case <-late.C:
		s.Kill()
	}
	s.t.Fatalf("PostgreSQL did not start:\n%s", s.log())
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
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("the last that PostgreSQL at port %d said:\n%s", s.port, s.log())
		}
	})
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
	cmd := unprivileged(filepath.Join(s.programs, program), args...)
	cmd.Dir = s.home
	return cmd
}

func (s *PostgresServer) run(program string, args ...string) {
	s.t.Helper()
	if out, err := s.command(program, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func (s *PostgresServer) end(signal os.Signal) {
	s.t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.Signal(signal); err != nil {
		s.t.Errorf("ending PostgreSQL: %v", err)
	}
	<-s.ended
	s.process = nil
}

func (s *PostgresServer) said(line string) {
	const most = 30
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last = append(s.last, line); len(s.last) > most {
		s.last = s.last[1:]
	}
}

func (s *PostgresServer) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.last, "")
}
