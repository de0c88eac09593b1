package evento_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

type accountErased struct{}

func (accountErased) AggregateType() evento.AggregateType { return Account }
func (accountErased) EventName() string                   { return "AccountErased" }

// erasable is the balance of accounts that can be erased.
func erasable() *evento.Projection[Balance] {
	return evento.NewProjection[Balance]("erasable", Account).Tombstone(accountErased{}).SafetyCheck().Handler(
		evento.Apply(func(b *Balance, e evento.Event[MoneyDeposited]) error { b.Cents += e.Data.Amount; return nil }),
	)
}

func wantDeleted(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, evento.ErrDeleted) || !errors.Is(err, evento.ErrNotFound) || !strings.Contains(err.Error(), "AccountErased") {
		t.Errorf("%s: %v, want ErrDeleted, which is an ErrNotFound and names the event", what, err)
	}
}

// After a tombstone the aggregate is deleted, whatever comes then.
func TestTombstone(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	store := memory.New(&memory.Options{Clock: func() time.Time { now = now.Add(time.Second); return now }})
	commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{1}, MoneyDeposited{2}))
	before := now
	commit(t, store, evento.Aggregate("a").OriginalVersion(2).Event(accountErased{}))
	for _, after := range []int{0, 1} {
		if after > 0 {
			commit(t, store, evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{4}))
		}
		p := erasable()
		for what, opts := range map[string][]evento.LoadOption{"Load": nil, "OrNew": {evento.OrNew()}, "AtVersion": {evento.AtVersion(3)}, "AsOf": {evento.AsOf(now.Add(time.Hour))}} {
			_, err := p.Load(t.Context(), store, "a", opts...)
			wantDeleted(t, what, err)
		}
		_, err := p.Update(t.Context(), store, "a", deposited, evento.OrNew())
		wantDeleted(t, "Update", err)
		for what, opt := range map[string]evento.LoadOption{"AtVersion": evento.AtVersion(2), "AsOf": evento.AsOf(before)} {
			if l, err := p.Load(t.Context(), store, "a", opt); err != nil || l.State.Cents != 3 {
				t.Errorf("%s before it: %+v, %v, want 3", what, l, err)
			}
		}
	}
	if _, err := erasable().Load(t.Context(), store, "b"); !errors.Is(err, evento.ErrNotFound) || errors.Is(err, evento.ErrDeleted) {
		t.Errorf("Load of what never was: %v", err)
	}
}

// A tombstone of a related aggregate is an event like others.
func TestTombstoneOfRelated(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{1}))
	commit(t, store, evento.Aggregate("b").Event(MoneyDeposited{2}, accountErased{}))
	p := evento.NewProjection[Balance]("p", Account).Tombstone(accountErased{}).Handler(
		evento.Apply(func(b *Balance, e evento.Event[MoneyDeposited]) error { b.Cents += e.Data.Amount; return nil }))
	if l, err := p.Load(t.Context(), store, "a", evento.Related(Account, "b")); err != nil || l.State.Cents != 3 {
		t.Errorf("Load = %+v, %v, want 3", l, err)
	}
}

// Snapshots go, also those of a time when the event was no tombstone.
func TestTombstoneRemovesSnapshots(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{1}))
	skipping := evento.NewProjection[Balance]("erasable", Account).Skip(accountErased{}).SnapshotEvery(1).Handler(
		evento.Apply(func(b *Balance, e evento.Event[MoneyDeposited]) error { b.Cents += e.Data.Amount; return nil }))
	p := erasable().SnapshotEvery(1)
	if _, err := p.Load(t.Context(), store, "a"); err != nil {
		t.Fatal(err)
	}
	commit(t, store, evento.Aggregate("a").OriginalVersion(1).Event(accountErased{}))
	if _, err := skipping.Load(t.Context(), store, "a"); err != nil {
		t.Fatal(err)
	}
	_, err := p.Load(t.Context(), store, "a")
	wantDeleted(t, "Load", err)
	left := 0
	for s, err := range evento.Snapshots(t.Context(), store, evento.SnapshotsOf("erasable")) {
		if left++; err != nil || s.Version != 2 {
			t.Errorf("snapshot %+v, %v, want the one of those who skip the event alone", s, err)
		}
	}
	if left != 1 {
		t.Errorf("%d snapshots are left, want 1", left)
	}
}

// A kept state goes with its aggregate, and does not come back.
func TestTombstoneOfKept(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	p := erasable()
	keep := func() { noErr(t, keeping(p).Execute(t.Context(), store)) }
	commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{1}))
	commit(t, store, evento.Aggregate("b").Event(MoneyDeposited{2}))
	keep()
	wantKept(t, "before", store, p, "a", "b")
	commit(t, store, evento.Aggregate("a").OriginalVersion(1).Event(MoneyDeposited{4}, accountErased{}))
	commit(t, store, evento.Aggregate("c").Event(MoneyDeposited{2}, accountErased{}))
	keep()
	wantKept(t, "deleted", store, p, "b")
	commit(t, store, evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{8}))
	keep()
	wantKept(t, "after an event of what is deleted", store, p, "b")
}

func TestTombstoneMistakes(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").Event(MoneyDeposited{1}))
	apply := evento.Apply(func(*Balance, evento.Event[accountErased]) error { return nil })
	for name, p := range map[string]*evento.Projection[Balance]{
		"a handler before": evento.NewProjection[Balance]("p", Account).Handler(apply).Tombstone(accountErased{}),
		"a handler after":  evento.NewProjection[Balance]("p", Account).Tombstone(accountErased{}).Handler(apply),
		"another type":     evento.NewProjection[Balance]("p", "bank/Other").Tombstone(accountErased{}),
		"nil":              evento.NewProjection[Balance]("p", Account).Tombstone(nil),
	} {
		if _, err := p.Load(t.Context(), store, "a"); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}
