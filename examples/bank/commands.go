// The commands of the command line.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/evento-go/evento/examples/bank/bank"
)

func storyCommand(ctx context.Context, o *options, out io.Writer) (err error) {
	path := o.db
	if path == "" {
		dir, derr := os.MkdirTemp("", "bank")
		if derr != nil {
			return derr
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		path = filepath.Join(dir, "bank.db")
	}
	s, err := openStore(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	empty, err := isEmpty(ctx, s.ex)
	if err != nil {
		return err
	}
	if !empty {
		return usageError(fmt.Sprintf("the story begins in an empty database, and %s is not; was a command meant?", bank.Show(path)))
	}
	return tellStory(ctx, s, out)
}

func applyCommand(ctx context.Context, o *options, out, stderr io.Writer) (err error) {
	path := o.args[0]
	name := path
	if path == "-" {
		name = "/dev/stdin" // and not os.Stdin: a file that is opened by its name has deadlines
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	// Whoever writes into a pipe may take long: Ctrl-C does not wait for the next line.
	defer context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Now()) })() // of a file it is an error, and nothing waits
	var size int64
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	counting := &countingReader{r: file}
	statements, err := newStatementReader(counting)
	if err != nil {
		return fmt.Errorf("%s: %w", bank.Show(path), err)
	}

	s, err := openStore(ctx, o.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	// First complete the transfers that were in flight when a program ended.
	if err := s.bank.Transfers().Execute(ctx, s.ex); err != nil {
		return err
	}

	bar := newProgress(stderr, size, func() int64 { return counting.n })
	counts, err := newApplier(s.bank).applyAll(ctx, statements,
		func(line int, reason string) {
			bar.clear()
			fmt.Fprintf(stderr, "%s:%d: %s\n", bank.Show(path), line, reason)
		},
		bar.draw)
	bar.clear()
	fmt.Fprintln(out, counts)
	if err != nil {
		return fmt.Errorf("%s: %w", bank.Show(path), err)
	}
	if counts.Refused > 0 {
		return errRefused
	}
	return nil
}

// errRefused is that all lines were judged and some were refused. Each was reported.
var errRefused = errors.New("lines were refused")

func balancesCommand(ctx context.Context, o *options, out io.Writer) (err error) {
	s, err := openExisting(ctx, o.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.balances.Subscription().Execute(ctx, s.ex); err != nil {
		return err
	}
	return printBalances(ctx, s.balances, out)
}

func historyCommand(ctx context.Context, o *options, out io.Writer) (err error) {
	s, err := openExisting(ctx, o.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if o.at > 0 {
		return printVersion(ctx, s.bank, o.args[0], o.at, out)
	}
	return printHistory(ctx, s.ex, o.args[0], out)
}
