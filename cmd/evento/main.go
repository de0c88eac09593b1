// Command evento generates the code for an application's events, and inspects and
// maintains their stores.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/internal/replace"
	"github.com/evento-go/evento/internal/signals"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = signals.Interrupted
	// exitClosedPipe is the exit code of a program that was ended by SIGPIPE.
	exitClosedPipe = 141
)

func main() {
	ctx, removeTemporary := replace.Watch(context.Background())
	ctx = signals.Until(ctx, removeTemporary)
	os.Exit(run(ctx, os.Args[1:], newStream(ctx, os.Stdin), newStream(ctx, os.Stdout), newStream(ctx, os.Stderr)))
}

// usageError is a mistake in the command line.
type usageError struct{ error }

// exitCodes is in the help of the commands on stores; doctor has its own text.
const exitCodes = `Exit codes: 0 done, 1 failed, 2 called wrongly, 130 interrupted, 141 nobody reads the output.`

// run is the program, and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := group(&cobra.Command{
		Use:   "evento",
		Short: "Generate code for events, and look after stores of them",
		Long: `Generate code for events, and look after stores of them.

A store is named by --store URL, or by the environment variable ` + storeVariable + `:
  sqlite:FILE or FILE                             one file
  pebble:DIR                                      one directory
  postgres://user:password@host/db?schema=evento  PostgreSQL
  mysql:user:password@tcp(host:3306)/db           MySQL and MariaDB,
  mysql://user:password@host:3306/db              the same as a URL
  nats://user:password@host,host/STORE?dir=DIR    NATS JetStream

Commands that only look change nothing: they neither make nor migrate a store.
With -o json the output is for programs: one document, or one a line.

` + exitCodes,
		Version:       release(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}, commands()...)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	stderr = careful{stderr}
	ctx, args = completing(ctx, args)
	addDefaults(root, args)
	root.SetArgs(genArgs(args))
	root.SetIn(stdin)
	out := &pipe{w: stdout}
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = out.failed
	}
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case out.closed.Load():
		return exitClosedPipe
	case ctx.Err() != nil:
		return exitInterrupted
	}
	if !errors.Is(err, errFindings) {
		fmt.Fprintln(stderr, "evento: "+strings.ReplaceAll(printable.Err(err), "evento: ", ""))
	}
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// release is the version of the module that the command was built from.
func release() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// commands are the subcommands, each in a file of its own.
func commands() []*cobra.Command {
	return []*cobra.Command{
		genCommand(),
		migrateCommand(),
		eventsCommand(),
		aggregateCommand(),
		subscriptionsCommand(),
		snapshotsCommand(),
		deadlinesCommand(),
		doctorCommand(),
		exportCommand(),
		importCommand(),
		indexCommand(),
		consoleCommand(),
		tortureCommand(),
	}
}
