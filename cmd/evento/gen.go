package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento/internal/gen"
)

// genCommand generates the code for an application's events.
func genCommand() *cobra.Command {
	var options gen.Options
	c := &cobra.Command{
		Use:   "gen [packages]",
		Short: "Write the code around an application's events",
		Long: `Write the code around an application's events.

A package's events are the exported structs below a comment:

	//evento:aggregate bank/Account
	type (
		AccountOpened struct{ Owner string }
		MoneyDeposited struct{ Cents int64 }
	)

For each package with such events, PACKAGE_evento.go is written beside them:
the payload methods, filters, fast encoding, and interfaces by which the
compiler names the projections that do not handle every event. evento.lock
remembers how events are stored: a change that would make stored ones
unreadable is refused, with the way out named. Commit both files.

Packages are named as for the go command; without any it is the one in the
current folder. If anything is refused, nothing is written.`,
		Example: `  evento gen
  evento gen ./...
  evento gen -check ./...    # in CI: fails if something is out of date

  //go:generate go run github.com/evento-go/evento/cmd/evento gen`,
		RunE: func(c *cobra.Command, patterns []string) error {
			options.Patterns = patterns
			result, err := gen.Run(c.Context(), options)
			var refused gen.RefusedError
			if errors.As(err, &refused) {
				for _, p := range refused {
					fmt.Fprintln(c.ErrOrStderr(), p)
				}
				return fmt.Errorf("gen: %s; nothing was written", count(len(refused), "problem"))
			}
			if err != nil {
				return fmt.Errorf("gen: %w", err)
			}
			for _, f := range result.Changed {
				switch {
				case !options.Check:
					fmt.Fprintln(c.OutOrStdout(), "wrote", f.Path)
				case f.New:
					fmt.Fprintln(c.ErrOrStderr(), f.Path, "is missing")
				default:
					fmt.Fprintln(c.ErrOrStderr(), f.Path, "is out of date")
				}
			}
			if options.Check && len(result.Changed) > 0 {
				return errors.New("gen: run evento gen and commit what it writes")
			}
			return nil
		},
	}
	c.Flags().BoolVar(&options.Check, "check", false, "write nothing, and fail if something would be written")
	return c
}

// genArgs accepts flags with one dash, as Go's own tools do.
func genArgs(args []string) []string {
	if len(args) == 0 || args[0] != "gen" {
		return args
	}
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "-check" {
			args[i] = "--check"
		}
	}
	return args
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
