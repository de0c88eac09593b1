package testserver

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// PgBouncer starts a private PgBouncer in transaction mode before the server at
// a URL, and returns the URL through it. It has few connections to the server
// for many clients, so that statements of one client meet different sessions.
// The end of the test stops it. Without the program the test is left out.
func PgBouncer(t testing.TB, server string) string {
	t.Helper()
	program := "/usr/sbin/pgbouncer"
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("pgbouncer"); err != nil {
			leaveOut(t, "no PgBouncer on this machine: install it, such as Debian's package pgbouncer")
		}
	}
	had.Add(1)
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	home, port := temporary(t), freePort(t)
	const settings = `[databases]
* = host=%s port=%s user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 1000
ignore_startup_parameters = extra_float_digits
`
	file := filepath.Join(home, "pgbouncer.ini")
	if err := os.WriteFile(file, fmt.Appendf(nil, settings, u.Hostname(), u.Port(), u.User.Username(), port), 0o600); err != nil {
		t.Fatal(err)
	}
	if owner := servant(); owner != nil {
		uid, _ := strconv.Atoi(owner.Uid)
		gid, _ := strconv.Atoi(owner.Gid)
		if err := os.Chown(file, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	said, err := os.Create(filepath.Join(home, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := unprivileged(program, file)
	cmd.Dir, cmd.Stdout, cmd.Stderr = home, said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = said.Close()
		if text, err := os.ReadFile(said.Name()); err == nil && t.Failed() {
			t.Logf("PgBouncer said:\n%s", text[max(0, len(text)-4000):])
		}
	})
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", u.Host)
		if err == nil {
			_ = conn.Close()
			return u.String()
		}
		select {
		case <-ended:
			text, _ := os.ReadFile(said.Name())
			t.Fatalf("PgBouncer did not start:\n%s", text)
		default:
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("PgBouncer does not listen: %v", err)
		}
	}
}
