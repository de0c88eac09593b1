//go:build unix

package testserver

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// MariaDBServer is a MariaDB server of one test, for what cannot be done to a
// server that tests share: killing it, stopping it, changing its settings.
type MariaDBServer struct {
	t       testing.TB
	dir     string
	port    int
	options []string
	server  *process
}

// MariaDB starts a server with further options of mariadbd, on a loopback port
// and with its data in a temporary folder. It holds the empty database evento,
// and is killed when the test ends. Without the program mariadbd the
// test is left out.
func MariaDB(t testing.TB, options ...string) *MariaDBServer {
	t.Helper()
	install, err := exec.LookPath("mariadb-install-db")
	if err == nil {
		_, err = findMariaDB()
	}
	if err != nil {
		leaveOut(t, "mariadbd: "+err.Error())
		return nil
	}
	had.Add(1)
	s := &MariaDBServer{t: t, dir: temporary(t), port: freePort(t), options: options}
	// It has its own folder for temporary tables, because a server that starts
	// removes those that it finds.
	out, err := command(s.dir, install, "--no-defaults", "--datadir="+s.data(), "--auth-root-authentication-method=normal", "--skip-test-db",
		"--tmpdir="+s.dir, "--innodb-log-file-size=8M").CombinedOutput()
	if err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	s.Start()
	s.Exec("CREATE DATABASE evento")
	return s
}

func (s *MariaDBServer) data() string { return filepath.Join(s.dir, "data") }

// findMariaDB also looks where Debian has it, which is not in every user's path.
func findMariaDB() (string, error) {
	const debian = "/usr/sbin/mariadbd"
	if _, err := os.Stat(debian); err == nil {
		return debian, nil
	}
	return exec.LookPath("mariadbd")
}

// Start starts the server again after Kill or Stop, and returns when it takes
// connections. Options overrule those that it had.
func (s *MariaDBServer) Start(options ...string) {
	s.t.Helper()
	s.options = append(s.options, options...)
	program, err := findMariaDB()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := command(s.dir, program, append([]string{
		"--no-defaults", "--datadir=" + s.data(), "--tmpdir=" + s.dir, "--socket=" + filepath.Join(s.dir, "s"), "--pid-file=" + filepath.Join(s.dir, "pid"),
		"--bind-address=127.0.0.1", fmt.Sprint("--port=", s.port), "--skip-name-resolve",
		"--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M", "--performance-schema=OFF",
	}, s.options...)...)
	db := s.open("")
	defer func() { _ = db.Close() }()
	s.server = start(s.t, cmd, os.Kill, func(string) error { return db.PingContext(context.Background()) })
}

// Kill ends the server by SIGKILL, in the middle of what it does.
func (s *MariaDBServer) Kill() { s.server.end(os.Kill) }

// Stop shuts the server down in order.
func (s *MariaDBServer) Stop() { s.server.end(syscall.SIGTERM) }

// Freeze makes the server answer nothing, until Thaw.
func (s *MariaDBServer) Freeze() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	// A thread may go on for a moment. All are stopped when the parent is notified.
	var status syscall.WaitStatus
	for !status.Stopped() {
		if _, err := syscall.Wait4(s.server.Pid, &status, syscall.WUNTRACED, nil); err != nil && err != syscall.EINTR {
			s.t.Error(err)
			return
		}
	}
}

// Thaw undoes Freeze.
func (s *MariaDBServer) Thaw() { s.signal(syscall.SIGCONT) }

func (s *MariaDBServer) signal(n os.Signal) {
	s.t.Helper()
	if err := s.server.Signal(n); err != nil {
		s.t.Fatal(err)
	}
}

// Exec runs statements as the superuser, in a connection of their own.
func (s *MariaDBServer) Exec(texts ...string) {
	s.t.Helper()
	db := s.open("")
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	for _, text := range texts {
		if _, err := db.ExecContext(context.Background(), text); err != nil {
			s.t.Fatalf("%s: %v", text, err)
		}
	}
}

func (s *MariaDBServer) open(database string) *sql.DB {
	s.t.Helper()
	cfg := s.config("root", "", database)
	cfg.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return sql.OpenDB(connector)
}

func (s *MariaDBServer) config(user, password, database string) *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", fmt.Sprintf("127.0.0.1:%d", s.port)
	cfg.User, cfg.Passwd, cfg.DBName = user, password, database
	return cfg
}

// DSN returns the DSN of the database evento for a user; root has no password.
func (s *MariaDBServer) DSN(user, password string) string {
	return s.config(user, password, "evento").FormatDSN()
}
