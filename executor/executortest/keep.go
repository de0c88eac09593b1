// States that are kept, on the store.

package executortest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/evento-go/evento"
)

// totals is a projection that has no handler for the opening of an account.
func totals(revision uint64) *evento.Projection[balance] {
	return evento.NewProjection[balance]("totals", account).Revision(revision).Handler(
		evento.Apply(func(b *balance, e evento.Event[deposited]) error {
			b.Total += e.Data.Amount
			return nil
		}))
}

// wantStates checks that the states of these accounts are listed, in the order of
// their ids, and that each is the one that its events make.
func wantStates(ctx context.Context, t testing.TB, what string, ex evento.Executor, p *evento.Projection[balance], ids ...string) {
	t.Helper()
	var listed []string
	for got, err := range p.States(ctx, ex) {
		must(t, err)
		if want, err := p.Load(ctx, ex, got.ID); err != nil || *got != *want {
			t.Errorf("%s: States: got %+v, want %+v, %v", what, *got, want, err)
		}
		listed = append(listed, got.ID)
	}
	slices.Sort(ids)
	wantTexts(t, what+": States", listed, ids...)
}

// The states are those that the events make, whatever way the subscription runs,
// and when events are handled again.
func libraryKeep(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	var ids []string
	for i := range 70 { // more than a page
		ids = append(ids, fmt.Sprint("account ", i))
	}
	opening := func(ids ...string) {
		var all []*evento.CommitBuilder
		for i, id := range ids {
			b := evento.Aggregate(id).Event(opened{Owner: "Ada"})
			if i%2 == 1 {
				b.RoutingKey("odd")
			}
			all = append(all, b)
		}
		_, err := evento.CommitAll(ctx, ex, all...)
		must(t, err)
	}
	opening(ids[:60]...)
	deposit(ctx, t, ex, ids[3], 400) // more than a chunk
	ways := []func(*evento.SubscriptionBuilder){
		func(*evento.SubscriptionBuilder) {},
		func(b *evento.SubscriptionBuilder) { b.Partitions(4) },
		func(b *evento.SubscriptionBuilder) { b.ChunkSize(7).Transactional() },
	}
	if !c.Transactor {
		ways = ways[:2]
	}
	for i, way := range ways {
		p := totals(uint64(i))
		keep := func() {
			t.Helper()
			b := p.Keep(fmt.Sprint("key ", i))
			way(b)
			must(t, b.Execute(ctx, ex))
		}
		keep()
		if i == 0 {
			wantStates(ctx, t, "at first", ex, p, ids[:60]...)
			opening(ids[60:]...)
		}
		deposit(ctx, t, ex, ids[5], 2)
		deposit(ctx, t, ex, ids[65], 1)
		keep()
		wantStates(ctx, t, fmt.Sprintf("way %d", i), ex, p, ids...)
		must(t, evento.ControlOf(ex, fmt.Sprint("key ", i)).ResetToStart(ctx))
		keep()
		wantStates(ctx, t, fmt.Sprintf("way %d, again", i), ex, p, ids...)
	}
}

// A key that is taken by another revision builds its states; those of the one
// before are deleted when nothing keeps them.
func libraryKeepRevisions(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	old, next := totals(0), totals(1)
	deposit(ctx, t, ex, "a", 2)
	deposit(ctx, t, ex, "b", 1)
	_, err := old.SnapshotEvery(1).Load(ctx, ex, "a", evento.Related(account, "b"))
	must(t, err)
	must(t, old.Keep("key").Execute(ctx, ex))
	unused := func(what string, want int) {
		t.Helper()
		if n, err := next.DeleteUnusedSnapshots(ctx, ex); err != nil || n != want {
			t.Errorf("%s: DeleteUnusedSnapshots: got %d, %v, want %d", what, n, err, want)
		}
	}
	unused("when others keep the old states", 1)
	for _, err := range next.States(ctx, ex) {
		wantError(t, err, evento.ErrNotKept, "States that nobody keeps")
	}
	must(t, next.Keep("key").Execute(ctx, ex))
	wantStates(ctx, t, "the next revision", ex, next, "a", "b")
	unused("when nobody keeps the old states", 2)
	wantStates(ctx, t, "when the old ones are gone", ex, next, "a", "b")
	n, err := evento.DeleteSnapshots(ctx, ex, evento.SnapshotsOfAggregate(account, "a"))
	if err != nil || n != 1 {
		t.Errorf("DeleteSnapshots: got %d, %v, want 1", n, err)
	}
	wantStates(ctx, t, "without the one that was deleted", ex, next, "b")
	deposit(ctx, t, ex, "a", 1)
	must(t, next.Keep("key").Execute(ctx, ex))
	wantStates(ctx, t, "with a new event", ex, next, "a", "b")
	for s, err := range evento.Snapshots(ctx, ex) {
		must(t, err)
		if s.Projection != "totals" || s.Revision != 1 || s.Size == 0 {
			t.Errorf("Snapshots: got %+v, want those of revision 1", s)
		}
	}
}

// Workers share the key, and loads store the same snapshots, while writers write.
func libraryKeepTogether(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	second := c.another(t, ex)
	p := totals(0).SnapshotEvery(1)
	var subs []*evento.Subscription
	for _, ex := range []evento.Executor{ex, second} {
		sub, err := p.Keep("key").Partitions(3).Start(ctx, ex)
		must(t, err)
		subs = append(subs, sub)
	}
	ids := []string{"a", "b", "c", "d", "e"}
	together(t, 4, func(t testing.TB, i int) {
		for range 10 {
			for _, id := range ids {
				deposit(ctx, t, ex, id, 1)
			}
			must(t, discard(p.Load(ctx, second, ids[i])))
		}
	})
	must(t, evento.ControlOf(ex, "key").WaitForCursor(ctx, last(ctx, t, ex)))
	wantStates(ctx, t, "together", ex, p, ids...)
	for _, sub := range subs {
		must(t, sub.Shutdown(ctx))
	}
}
