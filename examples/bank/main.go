// Command bank is an example of event sourcing with evento: bank accounts.
//
//	go run ./examples/bank                                  tell a short story
//	go run ./examples/bank -db bank.db apply statements.csv apply a file
//	go run ./examples/bank -db bank.db balances             list the accounts
//	go run ./examples/bank -db bank.db history 1001         an account's events
//
// Where to begin reading:
//
//   - package bank has the domain, which examples/bank-web shows in a browser:
//     bank/events.go has what can happen, bank/account.go what it makes of an
//     account, and bank/rules.go what an account allows;
//   - bank/bank.go has the commands, and bank/transfers.go the process that brings a
//     transfer from one account to the other, a subscription;
//   - bank/readmodel.go has the accounts as rows of an SQL table, kept by another
//     subscription; balances.go and history.go print;
//   - apply.go, drafts.go, ledger.go and statement.go apply files, each line
//     once, whatever happens.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/evento-go/evento/examples/bank/bank"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitInterrupted = 130
)

// run is the program, and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out := bufio.NewWriter(stdout)
	err := command(ctx, args, out, stderr)
	if errors.Is(err, flag.ErrHelp) {
		_, err = out.WriteString(help)
	}
	if failed := out.Flush(); failed != nil && (err == nil || errors.Is(err, errRefused)) {
		err = failed
	}
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errRefused):
		return exitRefused
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "bank: %v\nRun bank -h for help.\n", usage)
		return exitUsage
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded)):
		fmt.Fprintln(stderr, "bank: interrupted")
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "bank: %v\n", err)
	return exitFailed
}

func command(ctx context.Context, args []string, out io.Writer, stderr io.Writer) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	switch o.command {
	case "":
		return storyCommand(ctx, o, out)
	case "apply":
		return applyCommand(ctx, o, out, stderr)
	case "balances":
		return balancesCommand(ctx, o, out)
	case "history":
		return historyCommand(ctx, o, out)
	case "sample":
		return writeSample(out, o.lines, o.seed)
	}
	return usageError(fmt.Sprintf("there is no command %s", bank.Show(o.command)))
}
