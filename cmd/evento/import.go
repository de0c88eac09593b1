package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/transfer"
)

// importCommand imports the lines of an export into a store.
func importCommand() *cobra.Command {
	var resume, renumber, progress bool
	cmd := &cobra.Command{
		Use:   "import --store URL [FILE]",
		Short: "Take over the events that evento export wrote",
		Long: `Import takes over events as they are, with their ids, positions, versions and
timestamps, from a file or from standard input. The store is a new one, or one
that ends where the export begins.

A file is read before anything of it is imported: whether it is whole, and whether
a store can take each of its events. Standard input is read once: what comes before
a line that is refused may be imported, that it was cut off is found at its end, and
event ids that do not rise are compared with those of some 100,000 events before.
A refused line is named with its number and the field. After an interruption
--resume goes on: what is in the store already is compared, and passed over.`,
		Example: `  evento import --store postgres://localhost/app backup.jsonl
  evento export --store old.db | evento import --store new.db --resume`,
		Args: arguments(0, 1, "one file at most"),
	}
	flags := cmd.Flags()
	flags.String("store", "", storeUsage)
	flags.BoolVar(&resume, "resume", false, "go on with an import that was interrupted")
	flags.BoolVar(&renumber, "renumber", false, "give new positions, behind the events that the store has")
	flags.BoolVar(&progress, "progress", false, "show progress although standard error is not a terminal")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := storeOf(cmd); err != nil { // before anything is read
			return err
		}
		return readFrom(cmd.Context(), args, cmd.InOrStdin(), func(in io.Reader, file *os.File) error {
			opts := transfer.ImportOptions{Resume: resume, Renumber: renumber}
			if file != nil {
				if err := transfer.Verify(cmd.Context(), file, opts); err != nil {
					return fmt.Errorf("%s: %w", file.Name(), err)
				}
				if _, err := file.Seek(0, io.SeekStart); err != nil {
					return err
				}
			}
			in, err := transfer.Begin(in)
			if err != nil {
				return err
			}
			show := newProgress(cmd.ErrOrStderr(), progress)
			if file != nil {
				info, err := file.Stat()
				if err != nil {
					return err
				}
				show.part = func(at transfer.Progress) float64 { return float64(at.Bytes) / float64(info.Size()) }
			}
			return withStore(cmd, creating, func(s *session) error {
				opts.Progress = show.update
				done, err := transfer.Import(cmd.Context(), s.ex, in, opts)
				show.end()
				if err != nil && done.Events > done.Skipped {
					fmt.Fprintln(cmd.ErrOrStderr(), "interrupted; what was imported stays, and --resume goes on from it:", summary(done))
				}
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.ErrOrStderr(), "imported", summary(done))
				return nil
			})
		})
	}
	return cmd
}

// readFrom calls fn with the named file, or with stdin. file is nil if the input
// cannot be read twice.
func readFrom(ctx context.Context, args []string, stdin io.Reader, fn func(in io.Reader, file *os.File) error) (err error) {
	if len(args) == 0 || args[0] == "-" {
		return fn(stdin, nil)
	}
	s, err := openStream(ctx, args[0], os.O_RDONLY)
	if err != nil {
		return err
	}
	f := s.file
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return usageError{fmt.Errorf("%w input: %s is a directory", evento.ErrInvalid, args[0])}
	case !info.Mode().IsRegular():
		return fn(s, nil)
	}
	return fn(f, f)
}
