// Command process is an example of a process over several aggregates: an order reserves an
// article, is paid in time, and is delivered; when something fails, what was done is undone.
//
//	go run ./examples/process                 on SQLite, in a file that is removed
//	go run ./examples/process -postgres URL   on PostgreSQL
//
// events.go has what can happen, process.go the steps, and outside.go what customers and the
// carrier do. It prints:
//
//	Four customers order a lamp, of which there are 3.
//	  Ada's order: completed
//	  Ben's order: cancelled, not paid in time
//	  Cleo's order: cancelled, the parcel came back
//	  Dan's order: cancelled, sold out
//	  Lamps left: 2
//
//	What happened to Ada's order:
//	  orders/Order Placed
//	  orders/Article Reserved
//	  orders/Invoice Sent
//	  orders/Invoice Paid
//	  orders/Parcel Packed
//	  orders/Parcel Delivered
//	  orders/Order Completed
//
//	What happened to Ben's order:
//	  orders/Order Placed
//	  orders/Article Reserved
//	  orders/Invoice Sent
//	  orders/Invoice Overdue
//	  orders/Article Released
//	  orders/Order Cancelled
//
//	What happened to Cleo's order:
//	  orders/Order Placed
//	  orders/Article Reserved
//	  orders/Invoice Sent
//	  orders/Invoice Paid
//	  orders/Parcel Packed
//	  orders/Parcel Returned
//	  orders/Invoice Refunded
//	  orders/Article Released
//	  orders/Order Cancelled
//
//	What happened to Dan's order:
//	  orders/Order Placed
//	  orders/Order Cancelled
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
	"time"

	"github.com/evento-go/evento"
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

// run tells the story on PostgreSQL or, without a URL, on SQLite.
func run(ctx context.Context, url string, out io.Writer) error {
	if url != "" {
		store, err := postgres.Open(ctx, url, nil)
		if err != nil {
			return err
		}
		return errors.Join(tellStory(ctx, store, out), store.Close())
	}
	dir, err := os.MkdirTemp("", "process")
	if err != nil {
		return err
	}
	store, err := sqlite.Open(ctx, filepath.Join(dir, "orders.db"), nil)
	if err == nil {
		err = errors.Join(tellStory(ctx, store, out), store.Close())
	}
	return errors.Join(err, os.RemoveAll(dir))
}

var customers = []string{"Ada", "Ben", "Cleo", "Dan"}

func tellStory(ctx context.Context, ex evento.Executor, out io.Writer) error {
	if err := fulfil(ctx, ex); err != nil {
		return err
	}
	fmt.Fprintln(out, "Four customers order a lamp, of which there are 3.")
	for _, customer := range customers {
		order, err := orders.Load(ctx, ex, "order of "+customer)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s's order: %s\n", customer, order.State.End)
	}
	lamp, err := articles.Load(ctx, ex, "lamp")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  Lamps left: %d\n", lamp.State.Free)
	for _, customer := range customers {
		fmt.Fprintf(out, "\nWhat happened to %s's order:\n", customer)
		if err := history(ctx, ex, "order of "+customer, out); err != nil {
			return err
		}
	}
	return nil
}

// fulfil places the orders, and works until each has come to its end. It may be ended, or
// killed, and begun again at any time.
func fulfil(ctx context.Context, ex evento.Executor) error {
	_, err := evento.Aggregate("lamp").Event(Stocked{Pieces: 3}).Commit(ctx, ex)
	if err != nil && !errors.Is(err, evento.ErrConflict) {
		return err
	}
	for _, customer := range customers {
		payBy := time.Now().Add(time.Hour)
		if customer == "Ben" {
			payBy = time.Now() // his time is over at once
		}
		if err := place(ctx, ex, "order of "+customer, "lamp", customer, payBy); err != nil {
			return err
		}
	}
	working, stop := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() {
		worked <- work(working, ex)
		stop()
	}()
	ends := evento.Query{Filters: []evento.Filter{evento.ByEvent(Completed{}), evento.ByEvent(Cancelled{})}}
	ended := 0
	for _, err := range evento.Follow(working, ex, ends, "") {
		if ended++; err != nil || ended == len(customers) {
			break
		}
	}
	stop()
	return <-worked
}

// history prints what happened to an order in all of its aggregates.
func history(ctx context.Context, ex evento.Executor, id string, out io.Writer) error {
	all := evento.Query{Filters: []evento.Filter{OrderFilter(id), InvoiceFilter(id), ParcelFilter(id), evento.ByTags("order:" + id)}}
	for e, err := range evento.Events(ctx, ex, all) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s %s\n", e.AggregateType, e.Name)
	}
	return nil
}
