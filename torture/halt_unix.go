//go:build unix

package torture

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// canHalt reports whether processes can be halted on this system.
const canHalt = true

// halt stops a process for some time, as a machine does that swaps or is moved.
func halt(p *os.Process, d time.Duration) {
	if p.Signal(syscall.SIGSTOP) != nil {
		return // it has ended
	}
	time.Sleep(d)
	_ = p.Signal(syscall.SIGCONT)
}

// ownGroup gives a process a process group of its own. So Ctrl-C in a terminal does not reach it,
// but the process that runs it alone, which ends it; and if that one is killed while this one is
// halted, the system lets it go on, and ends it: its group has become an orphan.
func ownGroup(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}
