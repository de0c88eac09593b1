// Command evento-gen writes the code around an application's events. It is the command
// gen of evento alone, without the drivers of stores: small enough to be a module's tool.
//
//	go get -tool github.com/evento-go/evento/cmd/evento-gen
//
//	//go:generate go tool evento-gen
//
// With -check it writes nothing, and fails if something is out of date. docs/generator.md
// describes the comments that it reads.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	// What generated code imports: go get of this command brings the checksums for it.
	_ "github.com/evento-go/evento/cborwire"
	"github.com/evento-go/evento/internal/gen"
	"github.com/evento-go/evento/internal/replace"
	"github.com/evento-go/evento/internal/signals"
)

// Exit codes, as those of evento.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = signals.Interrupted
)

const usage = `

Usage: evento-gen [-check] [packages]

  -check  write nothing, and fail if something would be written

Exit codes: 0 done, 1 refused or out of date, 2 called wrongly, 130 interrupted.
`

func main() {
	ctx, removeTemporary := replace.Watch(context.Background())
	os.Exit(run(signals.Until(ctx, removeTemporary), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program, and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var options gen.Options
	flags := flag.NewFlagSet("evento-gen", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the errors are printed below
	flags.BoolVar(&options.Check, "check", false, "write nothing, and fail if something would be written")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, gen.About+usage)
		return exitOK
	case err != nil:
		fmt.Fprintln(stderr, "evento-gen:", err)
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	options.Patterns = flags.Args()
	err := gen.Print(ctx, options, stdout, stderr)
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		return exitInterrupted
	}
	fmt.Fprintln(stderr, "evento-gen:", err)
	return exitFailed
}
