// The transfer process: a subscription that brings money in flight to where
// it was sent, or back.

package bank

import (
	"context"
	"errors"
	"time"

	"github.com/evento-go/evento"
)

// Lease is how long the next program must wait for a subscription if a program was
// killed while it ran; it logs that it waits. Here it is short, as people who start
// the program by hand do not want to wait. A service keeps the default of 15
// seconds: a process that is halted for some seconds then keeps its subscription.
const Lease = 2 * time.Second

// Transfers returns the transfer process, to be started, or executed once.
func (b *Bank) Transfers() *evento.SubscriptionBuilder {
	return evento.NewSubscription("bank-transfers").
		Lease(Lease).
		Handler(evento.Handle(b.Settle))
}

// SettledKey is the key of metadata that marks a sender's commit that also settles every transfer that it
// sends. The process can skip these transfers.
const SettledKey = "transfers-settled"

// Settle ends a transfer. It may be called repeatedly for one transfer: it commits
// only while the money is in flight, and only at the sender's version at which it
// has read that.
func (b *Bank) Settle(ctx context.Context, sent evento.Event[TransferSent]) error {
	if sent.Metadata.Values[SettledKey] != "" {
		return nil
	}
	for {
		err := b.trySettle(ctx, sent)
		if !errors.Is(err, evento.ErrConflict) || ctx.Err() != nil {
			return err
		}
	}
}

func (b *Bank) trySettle(ctx context.Context, sent evento.Event[TransferSent]) error {
	from, err := b.accounts.Load(ctx, b.ex, sent.AggregateID)
	if err != nil {
		return err
	}
	if _, open := from.State.InFlight[sent.Data.TransferID]; !open {
		return nil
	}
	to, err := b.Load(ctx, sent.Data.To)
	if err != nil {
		return err
	}

	received, err := to.State.Receive(from.State.Number, sent.Data)
	var refusal RefusalError
	if errors.As(About(sent.Data.To, err), &refusal) {
		_, err = from.Aggregate().Event(TransferReturned{
			TransferID: sent.Data.TransferID, Amount: sent.Data.Amount, Reason: refusal.Error(), At: sent.Data.At,
		}).CausedBy(sent.RawEvent).Commit(ctx, b.ex)
		return err
	}
	_, err = evento.CommitAll(ctx, b.ex,
		to.Aggregate().Event(received).CausedBy(sent.RawEvent),
		from.Aggregate().Event(Completed(sent.Data)).CausedBy(sent.RawEvent))
	return err
}

// Completed is the sender's event when a transfer has arrived.
func Completed(sent TransferSent) TransferCompleted {
	return TransferCompleted{TransferID: sent.TransferID, Amount: sent.Amount, At: sent.At}
}

// TransferFilter matches the events of a transfer, on both accounts.
func TransferFilter(id string) evento.Filter { return evento.ByTags("transfer:" + id) }
