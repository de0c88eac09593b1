// Command evolution is an example of events that change from one version of an application to
// the next: they get other names and fields, parts of fields, and one becomes two.
//
//	go run ./examples/evolution   on SQLite, in files that are removed
//
// Package v1 has the events as they were, package v2 as they are, and rewrite.go writes the
// past anew. It prints:
//
//	Version 1 has stored an order, and version 2 another one.
//	  order 1: 1 Created 2 Addressed 3 Completed
//	    {Placed:{Customer:Ada Item:a lamp Currency:EUR} Addressed:{Street:1 Main Street Town:Springfield} Delivered:true Paid:4000}
//	  order 2: 4 Placed 5 AddressedV2 6 Delivered 7 Paid
//	    {Placed:{Customer:Ben Item:a chair Currency:USD} Addressed:{Street:2 High Street Town:Shelbyville} Delivered:true Paid:2500}
//	  The receipts are of 6500 cents in all.
//
//	The same in a new store, where the past is told anew.
//	  order 1: 1 Created 2 Addressed 3 Delivered 4 Paid
//	    {Placed:{Customer:Ada Item:a lamp Currency:EUR} Addressed:{Street:1 Main Street Town:Springfield} Delivered:true Paid:4000}
//	  order 2: 5 Placed 6 AddressedV2 7 Delivered 8 Paid
//	    {Placed:{Customer:Ben Item:a chair Currency:USD} Addressed:{Street:2 High Street Town:Shelbyville} Delivered:true Paid:2500}
//	  The receipts are of 6500 cents in all.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/evento-go/evento"
	v1 "github.com/evento-go/evento/examples/evolution/v1"
	v2 "github.com/evento-go/evento/examples/evolution/v2"
	"github.com/evento-go/evento/executor/sqlite"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "evolution")
	if err != nil {
		return err
	}
	return errors.Join(tellStory(ctx, dir, out), os.RemoveAll(dir))
}

func tellStory(ctx context.Context, dir string, out io.Writer) (err error) {
	store, err := sqlite.Open(ctx, filepath.Join(dir, "orders.db"), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	_, err = evento.Aggregate("1").Event(
		v1.Created{Client: "Ada", Item: "a lamp"},
		v1.Addressed{Address: "1 Main Street, Springfield"},
		v1.Completed{Cents: 40_00},
	).Commit(ctx, store)
	if err != nil {
		return err
	}
	_, err = evento.Aggregate("2").Event(
		v2.Placed{Customer: "Ben", Item: "a chair", Currency: "USD"},
		v2.Addressed{Street: "2 High Street", Town: "Shelbyville"},
		v2.Delivered{},
		v2.Paid{Cents: 25_00},
	).Commit(ctx, store)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "Version 1 has stored an order, and version 2 another one.")
	if err := show(ctx, store, out); err != nil {
		return err
	}

	rewritten, err := sqlite.Open(ctx, filepath.Join(dir, "rewritten.db"), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rewritten.Close()) }()
	if err := rewrite(ctx, store, rewritten); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nThe same in a new store, where the past is told anew.")
	return show(ctx, rewritten, out)
}

// show prints what version 2 reads.
func show(ctx context.Context, store evento.Executor, out io.Writer) error {
	for _, id := range []string{"1", "2"} {
		fmt.Fprintf(out, "  order %s:", id)
		for e, err := range evento.Events(ctx, store, evento.Query{Filters: []evento.Filter{v2.OrderFilter(id)}}) {
			if err != nil {
				return err
			}
			fmt.Fprintf(out, " %d %s", e.Position, e.Name)
		}
		order, err := v2.Orders.Load(ctx, store, id)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n    %+v\n", order.State)
	}
	cents, err := receipts(ctx, store)
	fmt.Fprintf(out, "  The receipts are of %d cents in all.\n", cents)
	return err
}

// receipts is what a subscription has to know of the past: that who was Completed has paid.
func receipts(ctx context.Context, store evento.Executor) (cents int64, err error) {
	err = evento.NewSubscription("receipts").Handler(
		evento.Handle(func(_ context.Context, e evento.Event[v2.Paid]) error { cents += e.Data.Cents; return nil }),
		evento.Handle(func(_ context.Context, e evento.Event[v2.Completed]) error { cents += e.Data.Cents; return nil }),
	).Execute(ctx, store)
	return cents, err
}
