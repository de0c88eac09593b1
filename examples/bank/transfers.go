// The transfer process: a subscription that brings money in flight to where
// it was sent, or back.

package main

import (
	"context"
	"errors"

	"github.com/evento-go/evento"
)

// Transfers returns the transfer process, to be started, or executed once.
func (b *Bank) Transfers() *evento.SubscriptionBuilder {
	return evento.NewSubscription("bank-transfers").
		Lease(lease).
		Handler(evento.Handle(b.settle))
}

// settledKey marks a sender's commit that also settles every transfer that it
// sends. The process can skip these transfers.
const settledKey = "transfers-settled"

// settle ends a transfer. It may be called repeatedly for one transfer: it commits
// only while the money is in flight, and only at the sender's version at which it
// has read that.
func (b *Bank) settle(ctx context.Context, sent evento.Event[TransferSent]) error {
	if sent.Metadata.Values[settledKey] != "" {
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
	if errors.As(about(sent.Data.To, err), &refusal) {
		_, err = from.Aggregate().Event(TransferReturned{
			TransferID: sent.Data.TransferID, Amount: sent.Data.Amount, Reason: refusal.Error(), At: sent.Data.At,
		}).CausedBy(sent.RawEvent).Commit(ctx, b.ex)
		return err
	}
	_, err = evento.CommitAll(ctx, b.ex,
		to.Aggregate().Event(received).CausedBy(sent.RawEvent),
		from.Aggregate().Event(completed(sent.Data)).CausedBy(sent.RawEvent))
	return err
}

func completed(sent TransferSent) TransferCompleted {
	return TransferCompleted{TransferID: sent.TransferID, Amount: sent.Amount, At: sent.At}
}
