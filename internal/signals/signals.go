// Package signals ends commands: the first signal asks the process to end, the second one
// ends it.
package signals

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Interrupted is the exit code of a command that has ended in order after a signal.
const Interrupted = 130

// Until returns a context that ends with the first signal that asks the process
// to end. At the second one the process ends at once, by this signal, and only calls
// atLast before.
func Until(ctx context.Context, atLast func()) context.Context {
	ctx, end := context.WithCancel(ctx)
	asked, abort := make(chan os.Signal, 2), make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as nohup does
			signal.Notify(asked, s)
		}
	}
	signal.Notify(abort, syscall.SIGQUIT)
	// Writing to nobody is an error then, and does not end the process where it is.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		var last os.Signal
		select {
		case <-asked:
			end()
			select {
			case last = <-asked:
			case last = <-abort:
			}
		case last = <-abort:
		}
		atLast()
		dieOf(last)
	}()
	return ctx
}

// dieOf ends the process by a signal.
func dieOf(s os.Signal) {
	signal.Reset(s)
	if p, err := os.FindProcess(os.Getpid()); err == nil && p.Signal(s) == nil {
		select {} // it is on its way
	}
	os.Exit(Interrupted)
}
