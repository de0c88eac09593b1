// What all commands share.

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

// group makes a command with subcommands; called without one, it shows its help.
func group(cmd *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(subcommands...)
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return noCommand(cmd, args[0])
	}
	return cmd
}

// noCommand is the error for a subcommand that a command has not.
func noCommand(cmd *cobra.Command, name string) error {
	hint := "; " + cmd.CommandPath() + " -h lists what there is"
	if s := cmd.SuggestionsFor(name); len(s) > 0 {
		hint = "; is it " + strings.Join(s, " or ") + "?"
	}
	return usagef("%s has no command %s%s", cmd.CommandPath(), printable.Text(name), hint)
}

// addDefaults adds cobra's own commands, which are to refuse what others refuse.
func addDefaults(root *cobra.Command, args []string) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			group(cmd)
			for _, shell := range cmd.Commands() {
				shell.Args = arguments(0, 0, "no arguments")
			}
		case "help":
			cmd.RunE = func(_ *cobra.Command, args []string) error {
				about, rest, err := root.Find(args)
				switch {
				case err != nil:
					return usageError{err}
				case len(rest) > 0 && about.HasSubCommands():
					return noCommand(about, rest[0])
				}
				about.InitDefaultHelpFlag()
				about.InitDefaultVersionFlag()
				return about.Help()
			}
		}
	}
}

// arguments checks the number of arguments, and flags that are empty.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			given := "1 argument"
			if len(args) != 1 {
				given = fmt.Sprintf("%d arguments", len(args))
			}
			return usagef("%s takes %s, not %s; %[1]s -h shows how", cmd.CommandPath(), what, given)
		}
		return selects(cmd)
	}
}

// selects refuses a flag that is given to select something, and is empty, as a variable of
// a script is that was never set: without the flag the command is about everything.
func selects(cmd *cobra.Command) error {
	for _, name := range []string{"type", "id", "name", "event", "tag", "routing-key", "correlation-id"} {
		flag := cmd.Flags().Lookup(name)
		if flag == nil || !flag.Changed {
			continue
		}
		values := []string{flag.Value.String()}
		if list, ok := flag.Value.(interface{ GetSlice() []string }); ok {
			values = list.GetSlice()
		}
		if slices.Contains(values, "") {
			return usagef("--%s is empty", name)
		}
	}
	return nil
}

// onStore completes a command on a store: it adds the flags --store and -o, and
// runs do.
func onStore(cmd *cobra.Command, how access, do func(ctx context.Context, s *session, args []string) error) *cobra.Command {
	cmd.Flags().String("store", "", storeUsage)
	outputFlag(cmd)
	if cmd.Args == nil {
		cmd.Args = arguments(0, 0, "no arguments")
	}
	if cmd.Long != "" {
		cmd.Long += "\n\n" + exitCodes
	}
	run := onStoreRun(do)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return run(cmd, how, args) }
	return cmd
}

// onStoreRun returns the function that runs such a command.
func onStoreRun(do func(ctx context.Context, s *session, args []string) error) func(*cobra.Command, access, []string) error {
	return func(cmd *cobra.Command, how access, args []string) (err error) {
		out, err := newOutput(cmd)
		if err != nil {
			return err
		}
		return withStore(cmd, how, func(s *session) error {
			s.out = out
			return errors.Join(do(cmd.Context(), s, args), out.flush())
		})
	}
}

// withStore opens the store of the flag --store, calls do, and closes the store.
func withStore(cmd *cobra.Command, how access, do func(*session) error) (err error) {
	s := &session{cmd: cmd}
	if s.address, err = storeOf(cmd); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(cmd.Context(), how); err != nil {
		return err
	}
	return do(s)
}

func storeOf(cmd *cobra.Command) (address, error) {
	text, err := cmd.Flags().GetString("store")
	if err != nil {
		return address{}, err
	}
	if completed, ok := cmd.Context().Value(completedStore{}).(string); ok && text == "" {
		text = completed
	}
	return parseStore(text)
}

// session is a running command and its store.
type session struct {
	cmd     *cobra.Command
	out     *output
	address address
	ex      evento.Executor
	now     time.Time // of clock; zero: it was not asked for
}

func (s *session) open(ctx context.Context, how access) error {
	ex, err := s.address.open(ctx, how)
	if err != nil {
		return fmt.Errorf("%s: %w", s.address, err)
	}
	s.ex = ex
	return nil
}

func (s *session) close() error {
	if s.ex == nil {
		return nil
	}
	return s.ex.Close()
}

func (s *session) flag(name string) string { return s.cmd.Flag(name).Value.String() }

func (s *session) yes(name string) bool { return s.flag(name) == "true" }

// confirm asks, unless --yes was given.
func (s *session) confirm(question string) error {
	if s.yes("yes") {
		return nil
	}
	in := s.cmd.InOrStdin()
	if !atTerminal(in) {
		return usagef("there is nobody to ask: %s Give --yes to do it", question)
	}
	if _, err := fmt.Fprintf(s.cmd.ErrOrStderr(), "%s [y/N] ", question); err != nil {
		return err
	}
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed; --yes does it without asking")
}

// atTerminal reports whether an input or output of the command is a terminal.
func atTerminal(stream any) bool {
	info, err := stat(stream)
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// stat describes the file of an input or output; an error if it is none.
func stat(stream any) (os.FileInfo, error) {
	if f, ok := stream.(interface{ Stat() (os.FileInfo, error) }); ok {
		return f.Stat()
	}
	return nil, errors.ErrUnsupported
}
