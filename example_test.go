package evento_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

// Account is the type of the entity that the events are about.
const Account evento.AggregateType = "bank/Account"

// The facts about an account, as an application writes them.
type (
	AccountOpened  struct{ Owner string }
	MoneyDeposited struct{ Amount int64 }
	MoneyWithdrawn struct{ Amount int64 }
)

func (AccountOpened) AggregateType() evento.AggregateType  { return Account }
func (AccountOpened) EventName() string                    { return "AccountOpened" }
func (MoneyDeposited) AggregateType() evento.AggregateType { return Account }
func (MoneyDeposited) EventName() string                   { return "MoneyDeposited" }
func (MoneyWithdrawn) AggregateType() evento.AggregateType { return Account }
func (MoneyWithdrawn) EventName() string                   { return "MoneyWithdrawn" }

// Balance is a state that is computed from the events: a plain struct.
type Balance struct {
	Owner string
	Cents int64
}

// balance says what each event does to the state.
var balance = evento.NewProjection[Balance]("balance", Account).Handler(
	evento.Apply(func(b *Balance, e evento.Event[AccountOpened]) error {
		b.Owner = e.Data.Owner
		return nil
	}),
	evento.Apply(func(b *Balance, e evento.Event[MoneyDeposited]) error {
		b.Cents += e.Data.Amount
		return nil
	}),
	evento.Apply(func(b *Balance, e evento.Event[MoneyWithdrawn]) error {
		b.Cents -= e.Data.Amount
		return nil
	}),
)

var errPoor = errors.New("not enough money")

// The whole of it: events are committed, a state is computed from them, a
// decision is made on that state, and a subscription reacts to what happened.
func Example() {
	ctx := context.Background()
	ex := memory.New(nil) // executor/sqlite has the one for a file

	opened, err := evento.Create().Event(AccountOpened{Owner: "Alice"}, MoneyDeposited{Amount: 500}).Commit(ctx, ex)
	if err != nil {
		log.Fatal(err)
	}

	account, err := balance.Load(ctx, ex, opened.AggregateID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(account.State.Owner, "has", account.State.Cents, "at version", account.Version)

	withdraw := func(amount int64) error {
		_, err := balance.Update(ctx, ex, opened.AggregateID, func(account *evento.Loaded[Balance]) ([]evento.Payload, error) {
			if account.State.Cents < amount {
				return nil, errPoor
			}
			return []evento.Payload{MoneyWithdrawn{Amount: amount}}, nil
		})
		return err
	}
	fmt.Println(withdraw(300), "/", withdraw(300))

	err = evento.NewSubscription("letters").
		Handler(
			evento.Handle(func(_ context.Context, e evento.Event[AccountOpened]) error {
				fmt.Println("dear", e.Data.Owner+", welcome")
				return nil
			}),
			evento.Handle(func(_ context.Context, e evento.Event[MoneyWithdrawn]) error {
				fmt.Println("you took", e.Data.Amount)
				return nil
			})).
		Execute(ctx, ex)
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// Alice has 500 at version 2
	// <nil> / not enough money
	// dear Alice, welcome
	// you took 300
}

// What happens to an account is shown as it happens: to a user who has it open,
// say. Another program commits here in the loop's body.
func ExampleFollow() {
	ctx := context.Background()
	ex := memory.New(nil)
	opened, err := evento.Create().Event(AccountOpened{Owner: "Alice"}, MoneyDeposited{Amount: 500}).Commit(ctx, ex)
	if err != nil {
		log.Fatal(err)
	}
	account := evento.Query{Filters: []evento.Filter{evento.ByID(Account, opened.AggregateID)}}
	for e, err := range evento.Follow(ctx, ex, account, "") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Version, e.Name)
		switch e.Version {
		case 2:
			fmt.Println("that is all for now")
			_, err = evento.Aggregate(opened.AggregateID).AnyVersion().Event(MoneyWithdrawn{Amount: 300}).Commit(ctx, ex)
			if err != nil {
				log.Fatal(err)
			}
		case 3:
			return // closes the page, and leaves nothing open
		}
	}
	// Output:
	// 1 AccountOpened
	// 2 MoneyDeposited
	// that is all for now
	// 3 MoneyWithdrawn
}
