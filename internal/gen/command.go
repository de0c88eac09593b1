// The generator as a command.

package gen

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// About is what the commands say of the generator.
const About = `Write the code around an application's events.

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
current folder. If anything is refused, nothing is written.`

// Print runs the generator. It says on out what was written, and on problems what was
// refused or, with Check, is out of date: then it returns an error.
func Print(ctx context.Context, o Options, out, problems io.Writer) error {
	result, err := Run(ctx, o)
	var refused RefusedError
	if errors.As(err, &refused) {
		for _, p := range refused {
			fmt.Fprintln(problems, p)
		}
		found := "1 problem"
		if len(refused) > 1 {
			found = fmt.Sprintf("%d problems", len(refused))
		}
		return fmt.Errorf("gen: %s; nothing was written", found)
	}
	if err != nil {
		return fmt.Errorf("gen: %w", err)
	}
	for _, f := range result.Changed {
		switch {
		case !o.Check:
			fmt.Fprintln(out, "wrote", f.Path)
		case f.New:
			fmt.Fprintln(problems, f.Path, "is missing")
		default:
			fmt.Fprintln(problems, f.Path, "is out of date")
		}
	}
	if o.Check && len(result.Changed) > 0 {
		return errors.New("gen: generate, and commit what is written")
	}
	return nil
}
