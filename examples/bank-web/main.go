// Command bank-web is the bank of examples/bank in a browser, on the same domain code.
//
//	go run ./examples/bank-web               on a temporary store, which it removes
//	go run ./examples/bank-web -db bank.db   on a file, also one of examples/bank
//
// Where to begin reading:
//
//   - package examples/bank/bank has the domain;
//   - server.go starts and ends everything; main.go has the command line;
//   - accounts.go and transfers.go make pages, forms.go handles what they send, once
//     each; live.go tells open pages of new balances, with one follower for all;
//   - demo.go opens a few accounts in an empty store; telemetry.go prints traces.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const help = `bank-web is an example of event sourcing: a bank as a web application.

  bank-web [flags]

  -db FILE           the SQLite file of the store, also one of examples/bank; made
                     if it is not there. Default: a temporary one, which is removed
                     at the end
  -listen HOST:PORT  where to listen. Default: 127.0.0.1:8080 or, if that is taken,
                     any free port of 127.0.0.1
  -traffic DURATION  how often a payment is made, so that something happens; 0 for
                     never. Default: 3s on a temporary store, else 0
  -otel              print an OpenTelemetry span of each request, commit and handled
                     event to standard error

It has no login: who reaches it is the bank. Ctrl-C ends it.
`

// options is the command line.
type options struct {
	db      string
	listen  string // "": the default
	traffic time.Duration
	otel    bool
}

const defaultTraffic = 3 * time.Second

func parseOptions(args []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("bank-web", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.db, "db", "", "")
	flags.StringVar(&o.listen, "listen", "", "")
	flags.DurationVar(&o.traffic, "traffic", -1, "")
	flags.BoolVar(&o.otel, "otel", false, "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("there is no argument %q", flags.Arg(0))
	}
	switch {
	case o.traffic < 0 && o.db == "":
		o.traffic = defaultTraffic
	case o.traffic < 0:
		o.traffic = 0
	}
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program, and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, help)
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "bank-web: %v\nRun bank-web -h for help.\n", err)
		return 2
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	if err := serve(ctx, o, stdout, logger); err != nil {
		fmt.Fprintf(stderr, "bank-web: %v\n", err)
		return 1
	}
	return 0
}
