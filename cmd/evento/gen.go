package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento/internal/gen"
)

// genCommand generates the code for an application's events, as evento-gen does.
func genCommand() *cobra.Command {
	var options gen.Options
	c := &cobra.Command{
		Use:   "gen [packages]",
		Short: "Write the code around an application's events",
		Long:  gen.About,
		Example: `  evento gen
  evento gen ./...
  evento gen -check ./...    # in CI: fails if something is out of date

In a module, the generator alone is a tool, which builds in seconds:

  go get -tool github.com/evento-go/evento/cmd/evento-gen
  //go:generate go tool evento-gen`,
		RunE: func(c *cobra.Command, patterns []string) error {
			options.Patterns = patterns
			return gen.Print(c.Context(), options, c.OutOrStdout(), c.ErrOrStderr())
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
