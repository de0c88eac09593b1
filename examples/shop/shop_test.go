package main

import (
	"context"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotest"
)

var (
	due     = time.Date(2026, time.March, 2, 20, 0, 0, 0, time.UTC)
	placed  = eventotest.Of("order", Placed{Concert: "concert", Customer: "ada", Seat: 1})
	payment = eventotest.Deadline{AggregateID: "order", Name: "payment", At: due, Payload: Overdue{}}
)

func TestRegister(t *testing.T) {
	t.Parallel()
	registered := func(t *testing.T, email string) *eventotest.Outcome {
		t.Helper()
		return eventotest.Command(t).Given(Registered{Name: "Ada", Email: "ada@example.com"}).
			When(func(ctx context.Context, ex evento.Executor) error {
				_, err := register(ctx, ex, "Eve", email)
				return err
			})
	}
	registered(t, "Eve@example.com").Then(eventotest.Event{
		Payload: Registered{Name: "Eve", Email: "eve@example.com"}, Tags: []string{"email:eve@example.com"},
	})
	registered(t, "ADA@example.com").ThenError(errTaken)
}

func TestReserve(t *testing.T) {
	t.Parallel()
	reserved := func(t *testing.T, given ...evento.Payload) *eventotest.Outcome {
		t.Helper()
		return eventotest.Command(t).ID("concert").Given(Announced{Seats: 3}).Given(given...).
			When(func(ctx context.Context, ex evento.Executor) error {
				return reserve(ctx, ex, "concert", "ada", "order", due)
			})
	}
	order := func(id, customer string) evento.Payload {
		return eventotest.Of(id, Placed{Concert: "concert", Customer: customer})
	}
	reserved(t).Then(eventotest.Of("concert", Reserved{Seat: 1, Order: "order"}), placed, payment)
	reserved(t, Reserved{1, "a"}, Reserved{2, "b"}, Released{1, "a"}).
		Then(Reserved{Seat: 1, Order: "order"}, placed, payment)
	reserved(t, Reserved{1, "a"}, Reserved{2, "b"}, Reserved{3, "c"}).ThenError(errSoldOut)
	reserved(t, order("a", "ada"), order("b", "ada")).ThenError(errEnough)
	reserved(t, order("a", "ada"), order("b", "ben")).Then(Reserved{Seat: 1, Order: "order"}, placed, payment)
	reserved(t, order("a", "ada"), order("b", "ada"), eventotest.Of("a", Cancelled{Concert: "concert", Customer: "ada"})).
		Then(Reserved{Seat: 1, Order: "order"}, placed, payment)
}

func TestPay(t *testing.T) {
	t.Parallel()
	paid := func(t *testing.T, given ...evento.Payload) *eventotest.Outcome {
		t.Helper()
		return eventotest.Command(t).ID("order").Given(placed).Given(given...).
			When(func(ctx context.Context, ex evento.Executor) error { return pay(ctx, ex, "order") })
	}
	paid(t, payment).Then(Paid{}, eventotest.Cleared("order", "payment"))
	paid(t, Paid{}).ThenError(refusalError("the order is paid"))
	paid(t, Overdue{}).ThenError(refusalError("the order is overdue"))
}

func TestOverdue(t *testing.T) {
	t.Parallel()
	eventotest.Command(t).Given(placed, payment).At(due).Then(eventotest.Of("order", Overdue{}))

	eventotest.Subscribe(t, cancelOverdue()).ID("order").Given(placed, Overdue{}).Redelivered(nil).Then(
		eventotest.Event{
			Payload: Cancelled{Concert: "concert", Customer: "ada"}, AggregateID: "order",
			Tags: []string{"concert:concert", "customer:ada"},
		},
		eventotest.Of("concert", Released{Seat: 1, Order: "order"}))
}
