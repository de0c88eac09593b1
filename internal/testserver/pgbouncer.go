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
)

// PgBouncer starts a private PgBouncer in transaction mode in front of the server at a
// URL, and returns the URL through it. It has few connections to the server for many
// clients, so that statements of one client run in different sessions.
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
	give(t, file)
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	start(t, command(home, program, file), os.Kill, func(string) error {
		conn, err := net.Dial("tcp", u.Host)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	return u.String()
}
