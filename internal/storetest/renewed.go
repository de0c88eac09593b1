// A lease that is renewed while a transaction stores the place.

package storetest

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

// RenewedMeanwhile tests a transactional Execute whose lease is renewed just before a
// transaction stores the place, and again while it tries once more: that costs more
// attempts and nothing else.
func RenewedMeanwhile(t *testing.T, ex evento.Transactor) {
	t.Helper()
	const events = 5
	var want, got []uint64
	for range events {
		r, err := evento.Create().Event(chore{}).Commit(t.Context(), ex)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, r.Position)
	}
	renewing := &renewing{Transactor: ex, t: t}
	err := evento.NewSubscription("renewed").Transactional().ChunkSize(1).Logger(slog.New(slog.DiscardHandler)).
		Handler(evento.Handle(func(_ context.Context, e evento.Event[chore]) error {
			if !slices.Contains(got, e.Position) { // its first attempt
				renewing.left.Store(2)
			}
			got = append(got, e.Position)
			return nil
		})).Execute(t.Context(), renewing)
	if err != nil {
		t.Error(err)
	}
	if slices.Sort(got); !slices.Equal(slices.Compact(got), want) {
		t.Errorf("events at %v were handled, want those at %v", got, want)
	}
	s, err := evento.ControlOf(ex, "renewed").Status(t.Context())
	if err != nil || s.Behind != 0 || s.Position != want[events-1] {
		t.Errorf("afterwards: %+v, %v; want nothing behind position %d", s, err, want[events-1])
	}
	if renewing.renewed == 0 {
		t.Error("no lease was renewed meanwhile: nothing was tested")
	}
}

// renewing is an executor that stores the record which a transaction is about to swap,
// unchanged and outside of the transaction.
type renewing struct {
	evento.Transactor
	t       *testing.T
	left    atomic.Int32
	renewed int
}

type within struct{}

func (r *renewing) InTx(ctx context.Context, fn func(context.Context) error) error {
	return r.Transactor.InTx(ctx, func(tx context.Context) error {
		return fn(context.WithValue(tx, within{}, true))
	})
}

func (r *renewing) Swap(ctx context.Context, s evento.Swap) error {
	if ctx.Value(within{}) == nil || r.left.Add(-1) < 0 {
		return r.Transactor.Swap(ctx, s)
	}
	outside, cancel := context.WithTimeout(r.t.Context(), 5*time.Minute)
	defer cancel()
	page, err := r.Records(outside, evento.RecordQuery{Kind: s.Changes[0].Kind, Key: s.Changes[0].Key})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(page.Records, func(rec evento.Record) bool { return rec.RecordKey == s.Changes[0].RecordKey })
	rec := page.Records[i]
	change := evento.Change{RecordKey: rec.RecordKey, Revision: rec.Revision, Value: rec.Value}
	if err := r.Transactor.Swap(outside, evento.Swap{Changes: []evento.Change{change}}); err != nil {
		return err
	}
	r.renewed++
	return r.Transactor.Swap(ctx, s)
}
