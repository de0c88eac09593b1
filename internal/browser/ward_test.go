package browser

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/executor/memory"
)

// The facts of accounts.
type (
	deposited struct{ Amount int64 }
	withdrawn struct{ Amount int64 }
	warned    struct{ Text string }
)

func (deposited) AggregateType() evento.AggregateType { return account }
func (deposited) EventName() string                   { return "MoneyDeposited" }
func (withdrawn) AggregateType() evento.AggregateType { return account }
func (withdrawn) EventName() string                   { return "MoneyWithdrawn" }
func (warned) AggregateType() evento.AggregateType    { return account }
func (warned) EventName() string                      { return "OwnerWarned" }

// purse is the state of an account.
type purse struct {
	Balance  int64
	Movement int64 // the last one
	Warnings []string
}

func purses() *evento.Projection[purse] {
	return evento.NewProjection[purse]("purse", account).Handler(
		evento.Apply(func(p *purse, e evento.Event[deposited]) error {
			p.Movement = e.Data.Amount
			p.Balance += p.Movement
			return nil
		}),
		evento.Apply(func(p *purse, e evento.Event[withdrawn]) error {
			p.Movement = -e.Data.Amount
			p.Balance += p.Movement
			return nil
		}),
		evento.Apply(func(p *purse, e evento.Event[warned]) error {
			p.Warnings = append(p.Warnings, e.Data.Text)
			return nil
		}))
}

// payouts is a handler that cannot bear an account below zero, until it is fixed.
type payouts struct {
	fixed atomic.Bool

	mu       sync.Mutex
	balances map[string]int64
}

func newPayouts() *payouts { return &payouts{balances: map[string]int64{}} }

func (h *payouts) handlers() []evento.SubscriptionHandler {
	return []evento.SubscriptionHandler{
		evento.Handle(func(_ context.Context, e evento.Event[deposited]) error { return h.move(e.AggregateID, e.Data.Amount) }),
		evento.Handle(func(_ context.Context, e evento.Event[withdrawn]) error { return h.move(e.AggregateID, -e.Data.Amount) }),
	}
}

func (h *payouts) move(id string, by int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if after := h.balances[id] + by; after < 0 && !h.fixed.Load() {
		return fmt.Errorf("%s would owe %d: nobody may owe\nledger.check\n\t/src/shop/ledger.go:42 +0x1b", id, -after)
	}
	h.balances[id] += by
	return nil
}

func (h *payouts) balance(id string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.balances[id]
}

func (h *payouts) subscription() *evento.SubscriptionBuilder {
	return quiet(evento.NewSubscription("payouts").Skip(warned{}).AcceptFailure().Handler(h.handlers()...))
}

func quiet(b *evento.SubscriptionBuilder) *evento.SubscriptionBuilder {
	return b.Retry(0).Logger(slog.New(slog.DiscardHandler))
}

// commit appends facts to an account.
func commit(t *testing.T, ex evento.Executor, id string, facts ...evento.Payload) {
	t.Helper()
	if _, err := evento.Aggregate(id).AnyVersion().Event(facts...).MetadataFrom(evento.Metadata{CorrelationID: "req-" + id}).Commit(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
}

// start runs a subscription until the test ends.
func start(t *testing.T, ex evento.Executor, b *evento.SubscriptionBuilder) {
	t.Helper()
	s, err := b.Start(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// everything allows all changes, and shows the state of accounts.
func everything() console.Options {
	return console.Options{
		Allow:       func(*http.Request, console.Action) bool { return true },
		Projections: []console.Projection{console.Show(purses())},
	}
}

// newWard is a store in which all is ill that can be: parked events of two accounts, and
// subscriptions that have stopped, that lag, and that are paused.
func newWard(t *testing.T) (evento.Executor, *payouts) {
	t.Helper()
	ex := memory.New(nil)
	t.Cleanup(func() { _ = ex.Close() })
	for n := range 60 {
		deposit(t, ex, fmt.Sprint("account-", n%7), n)
	}
	for _, id := range []string{"ill", "worse"} {
		commit(t, ex, id, deposited{20}, withdrawn{50}, deposited{40}, warned{"a <b>warning</b>"})
	}
	commit(t, ex, "worse", withdrawn{5})
	h := newPayouts()
	for _, b := range []*evento.SubscriptionBuilder{
		h.subscription(),
		quiet(evento.NewSubscription("mailer").Handler(evento.HandleAll(account, func(context.Context, evento.RawEvent) error { return nil }))),
		quiet(evento.NewSubscription("paused").Partitions(3).Handler(evento.HandleAll(account, func(context.Context, evento.RawEvent) error { return nil }))),
	} {
		if err := b.Execute(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
	}
	stopped := quiet(evento.NewSubscription("stopped").Handler(evento.HandleAll(account, func(_ context.Context, e evento.RawEvent) error {
		if e.Position == 9 {
			return errors.New("the printer is on fire")
		}
		return nil
	})))
	if err := stopped.Execute(t.Context(), ex); err == nil {
		t.Fatal("the handler of an event fails, and its subscription does not")
	}
	if err := evento.ControlOf(ex, "paused").Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := evento.Aggregate("account-1").AnyVersion().Event(deposited{1}).
		Deadline("remind", time.Now().Add(time.Hour), warned{"it is time"}).Commit(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	return ex, h
}

// parkedOf counts the parked events of payouts.
func parkedOf(t *testing.T, ex evento.Executor) (n int) {
	t.Helper()
	for _, err := range evento.ControlOf(ex, "payouts").Parked(t.Context(), evento.AllParked()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// findings is a doctor that has found something.
func findings(context.Context) ([]console.Finding, error) {
	return slices.Clone([]console.Finding{
		{Severity: "error", Check: "subscription", Subject: "payouts", Detail: "its place is beyond the end\nat 4711", Remedy: "evento subscriptions reset payouts"},
		{Severity: "note", Check: "events", Detail: "a gap before position 17"},
	}), nil
}
