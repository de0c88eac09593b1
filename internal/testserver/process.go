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
	"sync"
	"testing"
	"time"
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
	give(t, home)
	return home
}

// give makes the user that runs servers the owner of a file or folder.
func give(t testing.TB, path string) {
	t.Helper()
	if u := servant(); u != nil {
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
}

// servant is the user as whom servers run if we are the superuser, as whom they refuse
// to run. nil: they run as our user.
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

// command is one in a folder that does not run as the superuser and, where the
// system can see to it, ends when the tests do, however they end.
func command(dir, program string, args ...string) *exec.Cmd {
	if setpriv, err := exec.LookPath("setpriv"); err == nil {
		as := []string{"--pdeathsig", "KILL"}
		if u := servant(); u != nil {
			as = append(as, "--reuid="+u.Uid, "--regid="+u.Gid, "--clear-groups")
		}
		args = append(append(as, program), args...)
		program = setpriv
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	return cmd
}

// process is a server that was started. A nil process has ended.
type process struct {
	*os.Process
	ended chan struct{} // closed when it is gone, and those that it started
	mu    sync.Mutex
	said  []byte
}

// start starts a server and returns when ready gives no error for what the server has
// said so far. The end of the test ends the server by a signal, and shows what it said
// if the test has failed.
func start(t testing.TB, cmd *exec.Cmd, last os.Signal, ready func(said string) error) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.Process = cmd.Process
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // it is ended by a signal, or says why
	}()
	t.Cleanup(func() {
		p.end(last)
		if said := p.text(); t.Failed() {
			t.Logf("%s said:\n%s", cmd, said[max(0, len(said)-8000):])
		}
	})
	ask := time.NewTicker(10 * time.Millisecond)
	defer ask.Stop()
	for late := time.After(time.Minute); ; {
		err := ready(p.text())
		if err == nil {
			return p
		}
		select {
		case <-ask.C:
		case <-p.ended:
			t.Fatalf("%s ended: %v", cmd, err)
		case <-late:
			t.Fatalf("%s does not take connections: %v", cmd, err)
		}
	}
}

// end ends the process and returns when it is gone.
func (p *process) end(by os.Signal) {
	if p != nil {
		_ = p.Signal(by) // it may have ended
		<-p.ended
	}
}

// Write takes what the process says.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, b...)
	return len(b), nil
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.said)
}

// freePort finds a loopback port below those that systems use for outgoing
// connections, so that it is still free when a server restarts.
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
