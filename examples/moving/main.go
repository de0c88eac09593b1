// Command moving is an example of an application that changes its store: from SQLite to
// another one, where it goes on.
//
//	go run ./examples/moving                 to Pebble, in a folder that is removed
//	go run ./examples/moving -postgres URL   to PostgreSQL
//
// app.go has the application, and move.go what moves it. It prints:
//
//	On SQLite, Ada and Ben join.
//	  A mail to Ada.
//	  A mail to Ben.
//
//	The events are copied, while the application goes on: Cleo joins, and Dan.
//	  A mail to Cleo.
//
//	The application is stopped before Dan gets his mail, and the rest is moved.
//	  The subscription welcome is at position 3.
//
//	It goes on in the new store, and Eve joins.
//	  A mail to Dan.
//	  A mail to Eve.
//	  Her event has position 5.
//	  Ada's trial has ended, as was set in the old store.
//	  Ben's has not yet.
//	  Cleo's has not yet.
//	  Dan's has not yet.
//	  Eve's has not yet.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
)

func main() {
	url := flag.String("postgres", "", "the `URL` of an empty database of PostgreSQL")
	flag.Parse()
	if err := run(context.Background(), *url, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run tells the story of a move to PostgreSQL or, without a URL, to Pebble.
func run(ctx context.Context, url string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "moving")
	if err != nil {
		return err
	}
	return errors.Join(inFolder(ctx, dir, url, out), os.RemoveAll(dir))
}

func inFolder(ctx context.Context, dir, url string, out io.Writer) (err error) {
	from, err := sqlite.Open(ctx, filepath.Join(dir, "club.db"), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := openNew(ctx, dir, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	return tellStory(ctx, from, to, out)
}

func openNew(ctx context.Context, dir, url string) (evento.Importer, error) {
	if url == "" {
		return pebble.Open(ctx, filepath.Join(dir, "club.pebble"), nil)
	}
	return postgres.Open(ctx, url, nil)
}

func tellStory(ctx context.Context, from, to evento.Importer, out io.Writer) error {
	mail := func(name string) { fmt.Fprintf(out, "  A mail to %s.\n", name) }
	hours := func(n int) time.Time { return time.Now().Add(time.Duration(n) * time.Hour) }

	fmt.Fprintln(out, "On SQLite, Ada and Ben join.")
	if _, err := join(ctx, from, "Ada", hours(0)); err != nil {
		return err
	}
	if _, err := join(ctx, from, "Ben", hours(1)); err != nil {
		return err
	}
	if err := welcome(mail).Execute(ctx, from); err != nil {
		return err
	}

	fmt.Fprintln(out, "\nThe events are copied, while the application goes on: Cleo joins, and Dan.")
	if err := copyEvents(ctx, from, to); err != nil {
		return err
	}
	if _, err := join(ctx, from, "Cleo", hours(2)); err != nil {
		return err
	}
	if err := welcome(mail).Execute(ctx, from); err != nil {
		return err
	}
	if _, err := join(ctx, from, "Dan", hours(3)); err != nil {
		return err
	}

	fmt.Fprintln(out, "\nThe application is stopped before Dan gets his mail, and the rest is moved.")
	places, err := move(ctx, from, to)
	if err != nil {
		return err
	}
	place := places[evento.SubscriptionName{Key: "welcome"}]
	fmt.Fprintf(out, "  The subscription welcome is at position %d.\n", place)

	fmt.Fprintln(out, "\nIt goes on in the new store, and Eve joins.")
	eve, err := join(ctx, to, "Eve", hours(4))
	if err != nil {
		return err
	}
	if err := welcome(mail).StartAfter(place).Execute(ctx, to); err != nil {
		return err
	}
	fmt.Fprintf(out, "  Her event has position %d.\n", eve.Position)
	return trialEnds(ctx, to, out)
}

// trialEnds runs the deadlines until the first comes true.
func trialEnds(ctx context.Context, ex evento.Executor, out io.Writer) error {
	running, stop := context.WithCancel(ctx)
	var deadlines sync.WaitGroup
	deadlines.Go(func() { _ = evento.RunDeadlines(running, ex) })
	defer deadlines.Wait()
	defer stop()
	for e, err := range evento.Follow(ctx, ex, evento.Query{Filters: evento.EventsOf(TrialEnded{})}, "") {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s's trial has ended, as was set in the old store.\n", e.AggregateID)
		break
	}
	for d, err := range evento.Deadlines(ctx, ex) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s's has not yet.\n", d.AggregateID)
	}
	return nil
}
