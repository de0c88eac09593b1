package eventotest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotest"
)

// An application: events, a projection, a decision, a command and a subscription.

type (
	AccountOpened  struct{ Owner string }
	MoneyDeposited struct{ Amount int }
	MoneyWithdrawn struct{ Amount int }
)

const accountType evento.AggregateType = "bank/Account"

func (AccountOpened) AggregateType() evento.AggregateType  { return accountType }
func (MoneyDeposited) AggregateType() evento.AggregateType { return accountType }
func (MoneyWithdrawn) AggregateType() evento.AggregateType { return accountType }

func (AccountOpened) EventName() string  { return "AccountOpened" }
func (MoneyDeposited) EventName() string { return "MoneyDeposited" }
func (MoneyWithdrawn) EventName() string { return "MoneyWithdrawn" }

type Account struct {
	Owner   string
	Balance int
}

var accounts = evento.NewProjection[Account]("account", accountType).
	Handler(
		evento.Apply(func(a *Account, e evento.Event[AccountOpened]) error { a.Owner = e.Data.Owner; return nil }),
		evento.Apply(func(a *Account, e evento.Event[MoneyDeposited]) error { a.Balance += e.Data.Amount; return nil }),
		evento.Apply(func(a *Account, e evento.Event[MoneyWithdrawn]) error { a.Balance -= e.Data.Amount; return nil }),
	).
	SafetyCheck().
	SnapshotEvery(100)

var errPoor = errors.New("not enough money")

// withdraw is a decision.
func withdraw(amount int) func(*evento.Loaded[Account]) ([]evento.Payload, error) {
	return func(a *evento.Loaded[Account]) ([]evento.Payload, error) {
		if a.State.Balance < amount {
			return nil, errPoor
		}
		return []evento.Payload{MoneyWithdrawn{amount}}, nil
	}
}

// transfer is a command: it commits events itself.
func transfer(ctx context.Context, ex evento.Executor, from, to string, amount int) error {
	a, err := accounts.Load(ctx, ex, from)
	if err != nil {
		return err
	}
	if a.State.Balance < amount {
		return errPoor
	}
	_, err = evento.CommitAll(ctx, ex,
		a.Aggregate().Event(MoneyWithdrawn{amount}),
		evento.Aggregate(to).AnyVersion().Event(MoneyDeposited{amount}))
	return err
}

// welcome is a subscription: it gives every new account a present, once.
func welcome() *evento.SubscriptionBuilder {
	return evento.NewSubscription("welcome").Handler(
		evento.Handle(func(ctx context.Context, e evento.Event[AccountOpened]) error {
			_, err := evento.Aggregate(e.AggregateID).OriginalVersion(1).
				Event(MoneyDeposited{10}).CausedBy(e.RawEvent).Commit(ctx, evento.ExecutorFrom(ctx))
			if errors.Is(err, evento.ErrConflict) {
				return nil // not at its first event any more: it has the present, or others were faster
			}
			return err
		}))
}

// exampleT replaces *testing.T in examples: it prints.
type exampleT struct {
	testing.TB
	failed bool
}

func (*exampleT) Helper()                  {}
func (*exampleT) Cleanup(func())           {}
func (*exampleT) Context() context.Context { return context.Background() }
func (t *exampleT) Failed() bool           { return t.failed }
func (t *exampleT) Errorf(format string, args ...any) {
	t.failed = true
	fmt.Printf(format+"\n", args...)
}

func Example() {
	t := &exampleT{} // in a test: the *testing.T

	// A state.
	eventotest.Project(t, accounts).
		Given(AccountOpened{"Ann"}, MoneyDeposited{5}).
		Then(Account{Owner: "Ann", Balance: 5})

	// A decision, and one that is refused.
	eventotest.Project(t, accounts).
		Given(AccountOpened{"Ann"}, MoneyDeposited{5}).
		When(withdraw(2)).
		Then(MoneyWithdrawn{2})
	eventotest.Project(t, accounts).
		Given(AccountOpened{"Ann"}).
		When(withdraw(2)).
		ThenError(errPoor)

	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// A command commits to several accounts: each event names its account.
func ExampleCommand() {
	t := &exampleT{} // in a test: the *testing.T

	eventotest.Command(t).
		Given(
			eventotest.Of("ann", AccountOpened{"Ann"}),
			eventotest.Of("ann", MoneyDeposited{5}),
			eventotest.Of("ben", AccountOpened{"Ben"}),
		).
		When(func(ctx context.Context, ex evento.Executor) error {
			return transfer(ctx, ex, "ann", "ben", 2)
		}).
		Then(
			eventotest.Of("ann", MoneyWithdrawn{2}),
			eventotest.Of("ben", MoneyDeposited{2}),
		)

	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// A decision over several aggregates, with a deadline; and what becomes of that.
func ExampleCommandTest_Decide() {
	t := &exampleT{} // in a test: the *testing.T
	due := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	payment := eventotest.Deadline{AggregateID: "o1", Name: "payment", At: due, Payload: Overdue{}}

	eventotest.Command(t).
		Given(eventotest.Of("rock", Announced{Seats: 1})).
		Decide(reserve("rock", "o1", "ann", due)).
		Then(
			eventotest.Of("rock", Reserved{Order: "o1"}),
			eventotest.Of("o1", Placed{Concert: "rock", Customer: "ann"}),
			payment,
		)
	eventotest.Command(t).
		Given(eventotest.Of("o1", Placed{Concert: "rock", Customer: "ann"}), payment).
		Decide(pay("o1")).
		Then(eventotest.Of("o1", Paid{}), eventotest.Cleared("o1", "payment"))
	eventotest.Command(t).
		Given(eventotest.Of("o1", Placed{Concert: "rock", Customer: "ann"}), payment).
		At(due).
		Then(eventotest.Of("o1", Overdue{}))

	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// A subscription reacts to an event, and only once if the event comes again.
func ExampleSubscribe() {
	t := &exampleT{} // in a test: the *testing.T

	eventotest.Subscribe(t, welcome()).
		Given(eventotest.Of("ann", AccountOpened{"Ann"})).
		Redelivered(nil).
		Then(eventotest.Of("ann", MoneyDeposited{10})).
		ThenHandled(AccountOpened{"Ann"})

	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// A subscription sets a deadline, and handles the event when it comes true.
func ExampleSubscriptionTest_At() {
	t := &exampleT{} // in a test: the *testing.T
	noon := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	placed := eventotest.Event{Payload: Placed{Concert: "rock", Customer: "ann"}, AggregateID: "o1", Timestamp: noon}
	payment := eventotest.Deadline{AggregateID: "o1", Name: "payment", At: noon.AddDate(0, 0, 1), Payload: Overdue{}}

	// It is set, cleared when the order is paid, and due otherwise.
	eventotest.Subscribe(t, collect()).
		Given(placed).
		Then(eventotest.Of("o1", Requested{}), payment)
	eventotest.Subscribe(t, collect()).
		Given(placed, eventotest.Of("o1", Requested{}), payment, eventotest.Of("o1", Paid{})).
		Then(eventotest.Of("o1", Closed{}), eventotest.Cleared("o1", "payment"))
	eventotest.Subscribe(t, collect()).
		Given(placed).
		At(noon.AddDate(0, 0, 1)).
		Then(eventotest.Of("o1", Requested{}), eventotest.Of("o1", Overdue{}), eventotest.Of("o1", Cancelled{}))

	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// The handler of a transactional subscription fails once, behind its commits: nothing is
// stored. When it is called again, everything is stored once.
func ExampleSubscriptionTest_ThenRecords() {
	t := &exampleT{} // in a test: the *testing.T

	eventotest.Subscribe(t, shaky(1, "")).
		Given(eventotest.Of("o1", Placed{Concert: "rock", Customer: "ann"})).
		ThenError(errPoor).
		ThenRecords()
	eventotest.Subscribe(t, shaky(1, "")).
		Retries(1).
		Given(eventotest.Of("o1", Placed{Concert: "rock", Customer: "ann"})).
		Then(eventotest.Of("o1", Requested{}), eventotest.Deadline{AggregateID: "o1", Name: "payment", Payload: Overdue{}}).
		ThenRecords(evento.Record{RecordKey: evento.RecordKey{Kind: "requests", Key: "ann"}, Value: []byte("1")})

	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// Further fields of an event can be given; those that are set are compared.
func ExampleEvent() {
	t := &exampleT{} // in a test: the *testing.T
	id := evento.ID{15: 7}

	eventotest.Subscribe(t, welcome()).
		Given(eventotest.Event{Payload: AccountOpened{"Ann"}, ID: id}).
		Then(eventotest.Event{
			Payload:  MoneyDeposited{10},
			Metadata: evento.Metadata{CausationID: id.String(), CorrelationID: id.String()},
		})

	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// A failure lists the given events.
func ExampleProjectionTest_ThenError() {
	t := &exampleT{} // in a test: the *testing.T

	eventotest.Project(t, accounts).
		Given(AccountOpened{"Ann"}, MoneyDeposited{5}).
		ThenError(evento.ErrUnhandledEvent)
	// Output:
	// the load did not fail, want the error: evento: unhandled event
	// given
	//   1. bank/Account AccountOpened of "1": AccountOpened{Owner: "Ann"}
	//   2. bank/Account MoneyDeposited of "1": MoneyDeposited{Amount: 5}
}
