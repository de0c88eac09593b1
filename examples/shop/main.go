// Command shop is an example of decisions with evento: a shop for tickets of concerts.
//
//	go run ./examples/shop                 on SQLite, in a file that is removed
//	go run ./examples/shop -postgres URL   on PostgreSQL
//
// events.go has what can happen, and shop.go the decisions: over a concert and an order, over
// an email that nobody may have, and over a deadline. story.go tells a story of it, and prints:
//
//	Customers register, each email once.
//	  Ada registers.
//	  Ben registers.
//	  Eve registers with Ada's email? No: the email is registered already.
//
//	A concert has 3 seats. Who reserves one has a quarter of an hour to pay.
//	  Ada reserves a seat.
//	  Ada reserves another.
//	  Ada reserves one more? No: two seats are enough.
//	  Ben reserves a seat.
//	  Ben reserves another? No: it is sold out.
//	  Ada pays for her first.
//	  Ada pays for it again? No: the order is paid.
//	    seat 1: paid
//	    seat 2: placed
//	    seat 3: placed
//
//	Ben does not pay in time: his order is cancelled, and the seat given back.
//	    seat 1: paid
//	    seat 2: placed
//	    seat 3: free
//	  Ben pays? No: the order is cancelled.
//	  Ben reserves a seat.
//
//	The next concert has 10 seats, and 40 people want one, all at once.
//	  10 orders have 10 seats, and 30 customers are told that it is sold out.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
)

func main() {
	url := flag.String("postgres", "", "the `URL` of a database of PostgreSQL")
	flag.Parse()
	if err := run(context.Background(), *url, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run tells the story on PostgreSQL or, without a URL, on SQLite.
func run(ctx context.Context, url string, out io.Writer) error {
	if url == "" {
		return onSQLite(ctx, out)
	}
	store, err := postgres.Open(ctx, url, &postgres.Options{Schema: "tickets"})
	if err != nil {
		return err
	}
	return errors.Join(tellStory(ctx, store, out), store.Close())
}

func onSQLite(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "tickets")
	if err != nil {
		return err
	}
	store, err := sqlite.Open(ctx, filepath.Join(dir, "tickets.db"), nil)
	if err == nil {
		err = errors.Join(tellStory(ctx, store, out), store.Close())
	}
	return errors.Join(err, os.RemoveAll(dir))
}
