//go:build unix

package torture

import (
	"os"
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
