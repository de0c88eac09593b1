// Running a private server.

package testserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"testing"
)

// temporary makes a folder for a server's data, which the end of the test
// removes. Not t.TempDir, which other users may not enter.
func temporary(t testing.TB) string {
	t.Helper()
	home, err := os.MkdirTemp("", "evento-server-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	if u := servant(); u != nil {
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(home, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

// servant is the user that runs servers for the superuser, as whom they refuse
// to run; nil: they run as who we are.
func servant() *user.User {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil // the server will say why it does not start
	}
	return u
}

// unprivileged is a command that does not run as the superuser and, where the
// system can see to it, ends when the tests do, however they end.
func unprivileged(program string, args ...string) *exec.Cmd {
	if setpriv, err := exec.LookPath("setpriv"); err == nil {
		as := []string{"--pdeathsig", "KILL"}
		if u := servant(); u != nil {
			as = append(as, "--reuid="+u.Uid, "--regid="+u.Gid, "--clear-groups")
		}
		args = append(append(as, program), args...)
		program = setpriv
	}
	return exec.Command(program, args...)
}

// freePort finds a loopback port below those that systems give to outgoing
// connections, so that a server can have it again after a restart.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port was found")
	return 0
}
