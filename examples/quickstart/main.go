// Quickstart is the program in the README.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
)

const Account evento.AggregateType = "bank/Account"

// What can happen to an account.
type (
	Opened    struct{ Owner string }
	Deposited struct{ Cents int64 }
)

func (Opened) AggregateType() evento.AggregateType    { return Account }
func (Opened) EventName() string                      { return "Opened" }
func (Deposited) AggregateType() evento.AggregateType { return Account }
func (Deposited) EventName() string                   { return "Deposited" }

// What an account looks like now, computed from what happened.
type View struct {
	Owner string
	Cents int64
}

var accounts = evento.NewProjection[View]("account", Account).Handler(
	evento.Apply(func(v *View, e evento.Event[Opened]) error { v.Owner = e.Data.Owner; return nil }),
	evento.Apply(func(v *View, e evento.Event[Deposited]) error { v.Cents += e.Data.Cents; return nil }),
)

func main() {
	if err := run(context.Background(), "quickstart.db"); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, path string) error {
	store, err := sqlite.Open(ctx, path, nil) // one file, durable, migrated
	if err != nil {
		return err
	}
	defer store.Close()

	// Record a fact: a new account.
	opened, err := evento.Create().Event(Opened{Owner: "Ada"}).RequestedBy("ada").Commit(ctx, store)
	if err != nil {
		return err
	}

	// Decide on its state. If another writer is faster, Update decides again.
	_, err = accounts.Update(ctx, store, opened.AggregateID, func(a *evento.Loaded[View]) ([]evento.Payload, error) {
		return []evento.Payload{Deposited{Cents: 50_00}, Deposited{Cents: 25_00}}, nil
	})
	if err != nil {
		return err
	}

	// Replay it.
	ada, err := accounts.Load(ctx, store, opened.AggregateID)
	if err != nil {
		return err
	}
	fmt.Println(ada.State.Owner, "has", ada.State.Cents, "cents at version", ada.Version)

	// React to every event, in order, each time going on where it stopped.
	return evento.NewSubscription("welcome").Handler(
		evento.Handle(func(ctx context.Context, e evento.Event[Opened]) error {
			fmt.Println("Welcome,", e.Data.Owner)
			return nil
		}),
	).Execute(ctx, store) // .Start(ctx, store) keeps going in the background
}
