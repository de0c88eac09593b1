package docs_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/routed"
)

const (
	concertType  evento.AggregateType = "shop/Concert"
	orderType    evento.AggregateType = "shop/Order"
	customerType evento.AggregateType = "shop/Customer"
)

type (
	Announced  struct{ Seats int }
	Reserved   struct{ Order string }
	Placed     struct{ Concert string }
	Paid       struct{}
	Overdue    struct{}
	Cancelled  struct{}
	Registered struct{ Email string }
)

func (Announced) AggregateType() evento.AggregateType  { return concertType }
func (Announced) EventName() string                    { return "Announced" }
func (Reserved) AggregateType() evento.AggregateType   { return concertType }
func (Reserved) EventName() string                     { return "Reserved" }
func (Placed) AggregateType() evento.AggregateType     { return orderType }
func (Placed) EventName() string                       { return "Placed" }
func (Paid) AggregateType() evento.AggregateType       { return orderType }
func (Paid) EventName() string                         { return "Paid" }
func (Overdue) AggregateType() evento.AggregateType    { return orderType }
func (Overdue) EventName() string                      { return "Overdue" }
func (Cancelled) AggregateType() evento.AggregateType  { return orderType }
func (Cancelled) EventName() string                    { return "Cancelled" }
func (Registered) AggregateType() evento.AggregateType { return customerType }
func (Registered) EventName() string                   { return "Registered" }

func (e Registered) Tags() []string { return []string{"email:" + e.Email} }

type (
	concert struct{ Free int }
	order   struct{ Paid, Cancelled bool }
)

var concerts = evento.NewProjection[concert]("concert", concertType).Handler(
	evento.Apply(func(c *concert, e evento.Event[Announced]) error { c.Free = e.Data.Seats; return nil }),
	evento.Apply(func(c *concert, e evento.Event[Reserved]) error { c.Free--; return nil }),
)

var orders = evento.NewProjection[order]("order", orderType).Handler(
	evento.Apply(func(o *order, e evento.Event[Paid]) error { o.Paid = true; return nil }),
	evento.Apply(func(o *order, e evento.Event[Cancelled]) error { o.Cancelled = true; return nil }),
)

var (
	errSoldOut = errors.New("sold out")
	errTaken   = errors.New("the email is taken")
)

func reserve(ctx context.Context, store evento.Executor, concertID, orderID string) error {
	_, err := evento.Decide(ctx, store, func(ctx context.Context, d evento.Executor) error {
		concert, err := concerts.Load(ctx, d, concertID)
		if err != nil {
			return err
		}
		if concert.State.Free == 0 {
			return errSoldOut
		}
		if _, err := concert.Aggregate().Event(Reserved{Order: orderID}).Commit(ctx, d); err != nil {
			return err
		}
		_, err = evento.Aggregate(orderID).Event(Placed{Concert: concertID}).Commit(ctx, d)
		return err
	})
	return err
}

func register(ctx context.Context, store evento.Executor, email string) error {
	_, err := evento.Decide(ctx, store, func(ctx context.Context, d evento.Executor) error {
		taken, err := evento.Fold(ctx, d, []string{"email:" + email},
			evento.Apply(func(n *int, e evento.Event[Registered]) error { *n++; return nil }))
		if err != nil {
			return err
		}
		if taken > 0 {
			return errTaken
		}
		_, err = evento.Create().Event(Registered{Email: email}).Commit(ctx, d)
		return err
	})
	return err
}

// An order that is paid in time, or not.
func place(ctx context.Context, store evento.Executor, concertID, orderID string, paid bool) error {
	_, err := evento.Aggregate(orderID).Event(Placed{Concert: concertID}).
		Deadline("payment", time.Now().Add(time.Hour), Overdue{}).Commit(ctx, store)
	if err != nil || !paid {
		return err
	}
	_, err = orders.Update(ctx, store, orderID, func(o *evento.Loaded[order]) ([]evento.Payload, error) {
		return []evento.Payload{Paid{}}, nil
	}, evento.WithCommit(func(b *evento.CommitBuilder) { b.ClearDeadline("payment") }))
	return err
}

func TestDeciding(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	now := time.Now()
	store := memory.New(&memory.Options{Clock: func() time.Time { return now }})
	noErr := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := evento.Aggregate("concert").Event(Announced{Seats: 1}).Commit(ctx, store)
	noErr(err)
	noErr(reserve(ctx, store, "concert", "a"))
	if err := reserve(ctx, store, "concert", "b"); !errors.Is(err, errSoldOut) {
		t.Errorf("the second seat of one: %v", err)
	}
	noErr(register(ctx, store, "ada@example.org"))
	if err := register(ctx, store, "ada@example.org"); !errors.Is(err, errTaken) {
		t.Errorf("the same email again: %v", err)
	}
	noErr(place(ctx, store, "concert", "paid", true))
	noErr(place(ctx, store, "concert", "unpaid", false))
	now = now.Add(2 * time.Hour)
	running, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- evento.RunDeadlines(running, store) }()
	for e, err := range evento.Follow(running, store, evento.Query{Filters: evento.EventsOf(Overdue{})}, "") {
		noErr(err)
		if e.AggregateID != "unpaid" {
			t.Errorf("%s is overdue", e.AggregateID)
		}
		break
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	cancel := evento.NewSubscription("cancel-overdue").Transactional().Handler(
		evento.Handle(func(ctx context.Context, e evento.Event[Overdue]) error {
			_, err := orders.Update(ctx, evento.ExecutorFrom(ctx), e.AggregateID, func(o *evento.Loaded[order]) ([]evento.Payload, error) {
				if o.State.Paid {
					return nil, nil
				}
				return []evento.Payload{Cancelled{}}, nil
			})
			return err
		}))
	noErr(cancel.Execute(ctx, store))
	for id, want := range map[string]order{"paid": {Paid: true}, "unpaid": {Cancelled: true}} {
		if o, err := orders.Load(ctx, store, id); err != nil || o.State != want {
			t.Errorf("%s: %v, %v, want %+v", id, o, err, want)
		}
	}
	acme, err := routed.New(store, "acme")
	noErr(err)
	if has, err := evento.HasEvent[Announced](ctx, acme, "concert"); has || err != nil {
		t.Errorf("a tenant sees another's concert: %t, %v", has, err)
	}
}
