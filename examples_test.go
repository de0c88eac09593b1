package evento_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

// must keeps the examples short; an application handles its errors.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func ExampleCreate() {
	ctx, ex := context.Background(), memory.New(nil)

	opened := must(evento.Create().
		Event(AccountOpened{Owner: "Alice"}).
		RoutingKey("eu").
		RequestedBy("user-42").
		Metadata("ip", "10.0.0.1").
		Commit(ctx, ex))
	fmt.Println("version", opened.Version)

	for e, err := range evento.Events(ctx, ex, evento.Query{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Name, e.RoutingKey, e.Metadata.RequestedBy, e.Metadata.Values["ip"])
	}
	// Output:
	// version 1
	// AccountOpened eu user-42 10.0.0.1
}

// A list of accounts without a table: a subscription keeps the state of each, and
// they are listed page by page.
func ExampleProjection_Keep() {
	ctx, ex := context.Background(), memory.New(nil)
	balances := evento.NewProjection[Balance]("balances", Account).Handler(
		evento.Apply(func(b *Balance, e evento.Event[AccountOpened]) error { b.Owner = e.Data.Owner; return nil }),
		evento.Apply(func(b *Balance, e evento.Event[MoneyDeposited]) error { b.Cents += e.Data.Amount; return nil }))

	kept := must(balances.Keep("kept-balances").Start(ctx, ex))
	must(evento.Aggregate("a").Event(AccountOpened{Owner: "Alice"}, MoneyDeposited{Amount: 20}).Commit(ctx, ex))
	must(evento.Aggregate("b").Event(AccountOpened{Owner: "Bob"}).Commit(ctx, ex))
	last := must(evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{Amount: 5}).Commit(ctx, ex))

	// Read one's own writes.
	if err := evento.WaitFor(ctx, ex, "kept-balances", last.Position); err != nil {
		log.Fatal(err)
	}
	for a, err := range balances.States(ctx, ex) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(a.ID, a.State.Owner, a.State.Cents, "version", a.Version)
	}
	for a, err := range balances.States(ctx, ex, evento.StatesAfter("a")) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("after a:", a.ID)
	}
	if err := kept.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// a Alice 25 version 3
	// b Bob 0 version 1
	// after a: b
}

// A commit says at which version it was decided. Who is late is refused, and
// is told where the aggregate is.
func ExampleCommitBuilder_OriginalVersion() {
	ctx, ex := context.Background(), memory.New(nil)
	opened := must(evento.Create().Event(AccountOpened{Owner: "Alice"}).Commit(ctx, ex))

	deposit := func(version uint64) error {
		_, err := evento.Aggregate(opened.AggregateID).
			OriginalVersion(version).
			Event(MoneyDeposited{Amount: 100}).
			Commit(ctx, ex)
		return err
	}
	fmt.Println(deposit(1))

	var conflict *evento.ConflictError
	err := deposit(1)
	fmt.Println(errors.Is(err, evento.ErrConflict), errors.As(err, &conflict) && conflict.Actual == 2)
	// Output:
	// <nil>
	// true true
}

// Several aggregates, all or nothing.
func ExampleCommitAll() {
	ctx, ex := context.Background(), memory.New(nil)
	alice := must(evento.Aggregate("alice").Event(AccountOpened{Owner: "Alice"}, MoneyDeposited{Amount: 100}).Commit(ctx, ex))
	bob := must(evento.Aggregate("bob").Event(AccountOpened{Owner: "Bob"}).Commit(ctx, ex))

	receipts := must(evento.CommitAll(ctx, ex,
		evento.Aggregate("alice").OriginalVersion(alice.Version).Event(MoneyWithdrawn{Amount: 60}),
		evento.Aggregate("bob").OriginalVersion(bob.Version).Event(MoneyDeposited{Amount: 60}),
	))
	for _, r := range receipts {
		fmt.Println(r.AggregateID, "is at version", r.Version)
	}
	fmt.Println(must(balance.Load(ctx, ex, "alice")).State.Cents, must(balance.Load(ctx, ex, "bob")).State.Cents)
	// Output:
	// alice is at version 3
	// bob is at version 2
	// 40 60
}

// After a lost answer the same builder is committed again: the event is there
// once, and the first receipt comes back.
func ExampleCommitBuilder_Commit_again() {
	ctx, ex := context.Background(), memory.New(nil)
	opening := evento.Create().Event(AccountOpened{Owner: "Alice"})

	first := must(opening.Commit(ctx, ex))
	again := must(opening.Commit(ctx, ex))
	fmt.Println(first == again)
	// Output: true
}

func ExampleProjection_Load() {
	ctx, ex := context.Background(), memory.New(nil)
	opened := must(evento.Create().Event(AccountOpened{Owner: "Alice"}, MoneyDeposited{Amount: 70}, MoneyWithdrawn{Amount: 30}).Commit(ctx, ex))

	now := must(balance.Load(ctx, ex, opened.AggregateID))
	fmt.Println(now.State.Cents, now.Version)

	then := must(balance.Load(ctx, ex, opened.AggregateID, evento.AtVersion(2)))
	fmt.Println(then.State.Cents, then.Version)

	_, err := balance.Load(ctx, ex, "nobody")
	fmt.Println(errors.Is(err, evento.ErrNotFound))
	// Output:
	// 40 3
	// 70 2
	// true
}

// With snapshots a load begins at the last stored state, not at the first
// event.
func ExampleProjection_SnapshotEvery() {
	ctx, ex := context.Background(), memory.New(nil)
	deposits := evento.NewProjection[Balance]("deposits", Account).
		SnapshotEvery(100).
		Handler(evento.Apply(func(b *Balance, e evento.Event[MoneyDeposited]) error {
			b.Cents += e.Data.Amount
			return nil
		}))
	b := evento.Aggregate("alice").Event(AccountOpened{Owner: "Alice"})
	for range 1000 {
		b.Event(MoneyDeposited{Amount: 1})
	}
	must(b.Commit(ctx, ex))

	fmt.Println(must(deposits.Load(ctx, ex, "alice")).State.Cents) // reads 1001 events
	fmt.Println(must(deposits.Load(ctx, ex, "alice")).State.Cents) // reads none
	// Output:
	// 1000
	// 1000
}

// Update loads, decides and commits. When another writer was faster, it
// decides again on the newer state.
func ExampleProjection_Update() {
	ctx, ex := context.Background(), memory.New(nil)
	must(evento.Aggregate("alice").Event(AccountOpened{Owner: "Alice"}, MoneyDeposited{Amount: 100}).Commit(ctx, ex))

	tries := 0
	r := must(balance.Update(ctx, ex, "alice", func(account *evento.Loaded[Balance]) ([]evento.Payload, error) {
		if tries++; tries == 1 { // another writer, just now
			must(account.Aggregate().Event(MoneyDeposited{Amount: 11}).Commit(ctx, ex))
		}
		return []evento.Payload{MoneyWithdrawn{Amount: account.State.Cents}}, nil
	}))
	fmt.Println("decided", tries, "times, version", r.Version)
	fmt.Println(must(balance.Load(ctx, ex, "alice")).State.Cents)
	// Output:
	// decided 2 times, version 4
	// 0
}

// A customer may owe on one account what another one covers. No aggregate has both: the
// decision depends on what it has read of either.
func ExampleDecide() {
	ctx := context.Background()
	ex := memory.New(nil)
	for _, id := range []string{"giro", "savings"} {
		if _, err := evento.Aggregate(id).Event(AccountOpened{Owner: "Alice"}, MoneyDeposited{Amount: 100}).Commit(ctx, ex); err != nil {
			log.Fatal(err)
		}
	}
	withdraw := func(from string, amount int64) error {
		_, err := evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
			giro, err := balance.Load(ctx, d, "giro")
			if err != nil {
				return err
			}
			savings, err := balance.Load(ctx, d, "savings")
			if err != nil {
				return err
			}
			if giro.State.Cents+savings.State.Cents < amount {
				return errPoor
			}
			_, err = evento.Aggregate(from).AnyVersion().Event(MoneyWithdrawn{Amount: amount}).Commit(ctx, d)
			return err
		})
		return err
	}
	fmt.Println(withdraw("giro", 150), "/", withdraw("savings", 100), "/", withdraw("giro", 50))
	// Output: <nil> / not enough money / <nil>
}

// A subscription in the background: it handles what comes, in order, until it
// is shut down, and goes on from there when it is started again.
func ExampleSubscriptionBuilder_Start() {
	ctx, ex := context.Background(), memory.New(nil)
	deposits := make(chan int64)
	subscription := evento.NewSubscription("deposits").
		Handler(evento.Handle(func(_ context.Context, e evento.Event[MoneyDeposited]) error {
			deposits <- e.Data.Amount
			return nil
		}))

	running := must(subscription.Start(ctx, ex))
	must(evento.Create().Event(AccountOpened{Owner: "Alice"}, MoneyDeposited{Amount: 5}).Commit(ctx, ex))
	fmt.Println(<-deposits)

	stop, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	fmt.Println(running.Shutdown(stop), running.Err())

	must(evento.Create().Event(AccountOpened{Owner: "Bob"}, MoneyDeposited{Amount: 7}).Commit(ctx, ex))
	running = must(subscription.Start(ctx, ex))
	fmt.Println(<-deposits)
	fmt.Println(running.Shutdown(stop))
	// Output:
	// 5
	// <nil> <nil>
	// 7
	// <nil>
}

// What handlers need is given to the subscription, and read from the context.
func ExampleData() {
	ctx, ex := context.Background(), memory.New(nil)
	must(evento.Create().Event(AccountOpened{Owner: "Alice"}).Commit(ctx, ex))

	type mailer struct{ from string }
	err := evento.NewSubscription("welcome").
		Data(&mailer{from: "bank@example.com"}).
		Handler(evento.Handle(func(ctx context.Context, e evento.Event[AccountOpened]) error {
			m, ok := evento.Data[*mailer](ctx)
			fmt.Println(ok, m.from, "to", e.Data.Owner)
			return nil
		})).
		Execute(ctx, ex)
	fmt.Println(err)
	// Output:
	// true bank@example.com to Alice
	// <nil>
}

// Pages of events, forward and backward: the shape of GraphQL connections.
func ExampleExecutor() {
	ctx, ex := context.Background(), evento.Executor(memory.New(nil))
	b := evento.Create().Event(AccountOpened{Owner: "Alice"})
	for i := range 4 {
		b.Event(MoneyDeposited{Amount: int64(i)})
	}
	must(b.Commit(ctx, ex))

	show := func(page *cursor.Page[evento.RawEvent]) *cursor.Page[evento.RawEvent] {
		for _, e := range page.Edges {
			fmt.Print(e.Node.Version, " ")
		}
		fmt.Println(page.PageInfo.HasPreviousPage, page.PageInfo.HasNextPage)
		return page
	}
	all := evento.Query{Filters: []evento.Filter{evento.ByType(Account)}}
	page := show(must(ex.Read(ctx, all, cursor.Forward(2, ""))))
	show(must(ex.Read(ctx, all, cursor.Forward(2, page.PageInfo.EndCursor))))
	show(must(ex.Read(ctx, all, cursor.Backward(2, ""))))
	// Output:
	// 1 2 false true
	// 3 4 true true
	// 4 5 true false
}

// One id of several, for what has no id of its own.
func ExampleHashIDs() {
	id := evento.HashIDs("tenant-1", "order-9")
	fmt.Println(id == evento.HashIDs("tenant-1", "order-9"), id == evento.HashIDs("tenant-1o", "rder-9"))
	// Output: true false
}
