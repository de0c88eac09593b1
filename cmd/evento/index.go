// evento index: the index that a process keeps of a store on NATS.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/printable"
)

func indexCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "index",
		Short: "Check and copy the index of a store on NATS",
		Long: `Check and copy the index that a process keeps of a store on NATS: what it has decided
of the log, from which it reads. An index can be removed at any time while no process has
it open, and is made anew from the log.`,
	}, indexVerifyCommand(), indexCopyCommand())
}

func indexVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare an index with the log",
		Long: `Decide the whole log anew, in memory, up to where the index in the directory dir of the
URL is, and compare the two: the hash of all decisions, and every event, record and key.
Nothing is changed. It takes the memory of the whole store, and the index must not be open
in another process.

An index that differs is wrong: remove its directory, and the process that had it makes
it anew when it opens the store.

With -o json each difference is a document on a line of its own, with detail, and the last
line has summary. 20 differences are listed, and the others counted. With differences the
exit code is 1.`,
		Example: `  evento index verify --store 'nats://n1,n2,n3/shop?dir=index'
  evento index verify --store 'nats://n1,n2,n3/shop?dir=index' -o json`,
	}
	return onIndex(cmd, func(ctx context.Context, a address, o *output) error {
		options, err := a.natsOptions(looking)
		if err != nil {
			return err
		}
		differences := 0
		at, err := jetstream.VerifyIndex(ctx, a.place, options, func(detail string) error {
			if differences++; differences > mostListed {
				return nil
			}
			if o.json {
				return o.line(map[string]string{"detail": detail})
			}
			return o.printf("%s\n", printable.Text(detail))
		})
		if err != nil {
			return err
		}
		if err := writeVerified(o, a, at, differences); err != nil {
			return err
		}
		if differences > 0 {
			return errFindings
		}
		return nil
	})
}

func writeVerified(o *output, a address, at jetstream.Verified, differences int) error {
	if o.json {
		type summary struct {
			jetstream.Verified
			Differences int `json:"differences"`
		}
		return o.line(map[string]summary{"summary": {at, differences}})
	}
	if n := differences - mostListed; n > 0 {
		if err := o.printf("and %s more\n", printable.Thousands(uint64(n))); err != nil {
			return err
		}
	}
	return o.printf("%s: compared up to message %d of %d, %d events, %d differences\n", a, at.Sequence, at.Head, at.Events, differences)
}

func indexCopyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "copy --to DIR",
		Short: "Copy an index for another process",
		Long: `Make a directory with a copy of the index in the directory dir of the URL. A process
that opens the store with it reads only what the log has had since, and not all of it.

The index must not be open in another process; one that has it open can copy it with
Executor.CopyIndex. The new directory must not exist, must not be in the index, and is
for its owner alone.

The copy gets its name when it is complete. A process that is killed before may leave a
directory .evento-* beside it, which can be removed.`,
		Example: `  evento index copy --store 'nats://n1,n2,n3/shop?dir=index' --to index2`,
	}
	to := cmd.Flags().String("to", "", "the `DIR` to make")
	return onIndex(cmd, func(ctx context.Context, a address, o *output) error {
		if *to == "" {
			return usagef("where to? Give --to DIR")
		}
		if isWithin(*to, a.nats.dir) { // Pebble opens no directory with others in it
			return usagef("--to %s is in the index itself: give a directory outside of it", printable.Text(*to))
		}
		options, err := a.natsOptions(looking)
		if err != nil {
			return err
		}
		if err := jetstream.CopyIndex(ctx, a.place, options, *to); err != nil {
			return err
		}
		if o.json {
			return o.line(map[string]string{"copied_to": *to})
		}
		return o.printf("%s: its index was copied to %s\n", a, printable.Text(*to))
	})
}

// onIndex completes a command on the index of a store.
func onIndex(cmd *cobra.Command, do func(context.Context, address, *output) error) *cobra.Command {
	return onMigrations(cmd, func(ctx context.Context, a address, o *output) error {
		switch {
		case a.kind != natsStore:
			return usagef("only stores on NATS have an index: %s", natsForm)
		case a.nats.dir == "":
			return usagef("the URL names no index; the form is %s", natsForm)
		}
		if err := checkIndex(a.nats.dir); err != nil {
			return err
		}
		return errors.Join(do(ctx, a, o), o.flush())
	})
}

// checkIndex refuses a directory without an index. Pebble would leave a file in it.
func checkIndex(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("there is no index: %s is not a directory", printable.Text(dir))
	}
	var list []os.DirEntry
	if err == nil {
		list, err = os.ReadDir(dir)
	}
	if err != nil {
		return fmt.Errorf("there is no index: %w", err)
	}
	if !slices.ContainsFunc(list, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "MANIFEST-") }) {
		return fmt.Errorf("there is no index in %s: a command that reads the store makes one there, such as evento events list", printable.Text(dir))
	}
	return nil
}

// isWithin reports whether a path that need not be there is in a directory, or is it.
func isWithin(path, dir string) bool {
	path, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	for {
		if sameFile(path, dir) {
			return true
		}
		parent := filepath.Dir(path)
		if parent == path {
			return false
		}
		path = parent
	}
}
