// The library at work on the store: commits, projections and subscriptions.

package executortest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testLibrary(t *testing.T, c Config) {
	c.run(t, "Commit", libraryCommit)
	c.run(t, "Load", libraryLoad)
	c.run(t, "Snapshots", librarySnapshots)
	c.run(t, "Update", libraryUpdate)
	c.run(t, "Execute", libraryExecute)
	c.run(t, "Start", libraryStart)
	c.run(t, "TakeOver", libraryTakeOver)
	c.run(t, "Keep", libraryKeep)
	c.run(t, "KeepRevisions", libraryKeepRevisions)
	c.run(t, "KeepTogether", libraryKeepTogether)
}

const account evento.AggregateType = "executortest/Account"

type opened struct{ Owner string }

func (opened) AggregateType() evento.AggregateType { return account }
func (opened) EventName() string                   { return "Opened" }

type deposited struct{ Amount int }

func (deposited) AggregateType() evento.AggregateType { return account }
func (deposited) EventName() string                   { return "Deposited" }

// balance is the state of an account.
type balance struct {
	Owner string
	Total int
}

// balances is their projection. Each event that it applies is counted.
func balances(applied *int) *evento.Projection[balance] {
	return evento.NewProjection[balance]("balance", account).Handler(
		evento.Apply(func(b *balance, e evento.Event[opened]) error {
			*applied++
			b.Owner = e.Data.Owner
			return nil
		}),
		evento.Apply(func(b *balance, e evento.Event[deposited]) error {
			*applied++
			b.Total += e.Data.Amount
			return nil
		}),
	)
}

func wantBalance(ctx context.Context, t testing.TB, ex evento.Executor, p *evento.Projection[balance], id string, version uint64, want balance, opts ...evento.LoadOption) {
	t.Helper()
	l, err := p.Load(ctx, ex, id, opts...)
	if err != nil {
		t.Fatalf("Load(%q): %v", id, err)
	}
	if l.SnapshotErr != nil {
		t.Errorf("Load(%q): storing the snapshot: %v", id, l.SnapshotErr)
	}
	if l.Version != version || l.State != want {
		t.Errorf("Load(%q): got version %d, %+v, want version %d, %+v", id, l.Version, l.State, version, want)
	}
}

// deposit commits deposits of 1 to an account.
func deposit(ctx context.Context, t testing.TB, ex evento.Executor, id string, n int) evento.Receipt {
	t.Helper()
	b := evento.Aggregate(id).AnyVersion()
	for range n {
		b.Event(deposited{Amount: 1})
	}
	r, err := b.Commit(ctx, ex)
	must(t, err)
	return r
}

func libraryCommit(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	created, err := evento.Create().Event(opened{Owner: "Ada"}, deposited{Amount: 5}).Metadata("key", "value").Commit(ctx, ex)
	if err != nil || created.Version != 2 {
		t.Fatalf("Create: got %+v, %v, want version 2", created, err)
	}
	wantHasEvent[deposited](ctx, t, ex, created.AggregateID, true)
	b := evento.Aggregate(created.AggregateID).OriginalVersion(2).Event(deposited{Amount: 6})
	first, err := b.Commit(ctx, ex)
	if err != nil || first.Version != 3 {
		t.Fatalf("Commit: got %+v, %v, want version 3", first, err)
	}
	if again, err := b.Commit(ctx, ex); err != nil || again != first {
		t.Errorf("Commit of the same builder again: got %+v, %v, want the first receipt %+v", again, err, first)
	}
	_, err = evento.CommitAll(ctx, ex,
		evento.Aggregate("new").Event(opened{}),
		evento.Aggregate(created.AggregateID).OriginalVersion(2).Event(deposited{Amount: 7}))
	wantError(t, err, evento.ErrConflict, "CommitAll at an old version")
	wantHasEvent[opened](ctx, t, ex, "new", false)
}

func wantHasEvent[P evento.Payload](ctx context.Context, t testing.TB, ex evento.Executor, id string, want bool) {
	t.Helper()
	if has, err := evento.HasEvent[P](ctx, ex, id); err != nil || has != want {
		t.Errorf("HasEvent of %q: got %t, %v, want %t", id, has, err, want)
	}
}

func libraryLoad(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	applied := 0
	p := balances(&applied)
	wantError(t, discard(p.Load(ctx, ex, "a")), evento.ErrNotFound, "Load of an account without events")
	must(t, discard(evento.Aggregate("a").Event(opened{Owner: "Ada"}).Commit(ctx, ex)))
	deposit(ctx, t, ex, "a", 3)
	deposit(ctx, t, ex, "b", 2)
	deposit(ctx, t, ex, "a", 1)
	wantBalance(ctx, t, ex, p, "a", 5, balance{"Ada", 4})
	wantBalance(ctx, t, ex, p, "b", 2, balance{"", 2})
	wantBalance(ctx, t, ex, p, "a", 3, balance{"Ada", 2}, evento.AtVersion(3))
	wantBalance(ctx, t, ex, p, "a", 5, balance{"Ada", 6}, evento.Related(account, "b"))
	log := readAll(ctx, t, ex, evento.Query{})
	wantBalance(ctx, t, ex, p, "a", 5, balance{"Ada", 4}, evento.AsOf(log[len(log)-1].Node.Timestamp))
}

// A load goes on from the snapshot, and comes to the same.
func librarySnapshots(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	applied := 0
	p := balances(&applied).SnapshotEvery(5)
	total := 0
	for _, tt := range []struct{ deposits, replayed int }{
		{4, 4}, {0, 4}, // too few to store one
		{3, 7}, {0, 0},
		{2, 2}, {0, 2}, {2, 4}, {3, 7}, {0, 0},
		{1200, 1200}, {1, 1},
	} {
		if tt.deposits > 0 {
			deposit(ctx, t, ex, "a", tt.deposits)
			deposit(ctx, t, ex, "b", 1)
		}
		total += tt.deposits
		applied = 0
		wantBalance(ctx, t, ex, p, "a", uint64(total), balance{Total: total})
		if applied != tt.replayed {
			t.Errorf("Load at version %d: replayed %d events, want %d", total, applied, tt.replayed)
		}
	}
	applied = 0
	wantBalance(ctx, t, ex, balances(&applied), "a", uint64(total), balance{Total: total})
	if applied != total {
		t.Errorf("Load without snapshots: replayed %d events, want %d", applied, total)
	}
}

// Many who decide on the same account, one after the other in the end.
func libraryUpdate(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const deciders, each, most = 6, 6, 30
	must(t, discard(evento.Aggregate("a").Event(opened{}).Commit(ctx, ex)))
	together(t, deciders, func(t testing.TB, _ int) {
		p := balances(new(int)).SnapshotEvery(10)
		for range each {
			must(t, discard(p.Update(ctx, ex, "a", func(l *evento.Loaded[balance]) ([]evento.Payload, error) {
				if l.State.Total == most { // which nobody may go over
					return nil, nil
				}
				return []evento.Payload{deposited{Amount: 1}}, nil
			})))
		}
	})
	wantBalance(ctx, t, ex, balances(new(int)), "a", most+1, balance{Total: most})
	soundLog(ctx, t, c, ex)
}

// delivered is what a subscription's handler was given.
type delivered struct {
	mu     sync.Mutex
	events []evento.RawEvent
	more   chan struct{} // closed and made anew with each
}

func (d *delivered) add(_ context.Context, e evento.RawEvent) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
	if d.more != nil {
		close(d.more)
		d.more = nil
	}
	return nil
}

// wait returns what there is once there are n.
func (d *delivered) wait(ctx context.Context, t testing.TB, n int) []evento.RawEvent {
	t.Helper()
	for {
		d.mu.Lock()
		events := slices.Clone(d.events)
		if d.more == nil {
			d.more = make(chan struct{})
		}
		more := d.more
		d.mu.Unlock()
		if len(events) >= n {
			return events
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("the subscription was given %d events of %d: %v", len(events), n, ctx.Err())
		}
	}
}

// want compares what was delivered with a part of the store.
func (d *delivered) want(t testing.TB, what string, log []edge) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	same(t, what, d.events, log, func(got evento.RawEvent, want edge) string { return differ(got, want.Node) })
}

// wantDelivered runs a subscription to all things until nothing is pending, which
// must be given these events.
func wantDelivered(ctx context.Context, t testing.TB, ex evento.Executor, want []edge) {
	t.Helper()
	var d delivered
	must(t, subscribeTo(&d).Execute(ctx, ex))
	d.want(t, "Execute", want)
}

func subscribeTo(d *delivered) *evento.SubscriptionBuilder {
	return evento.NewSubscription("key").All().ChunkSize(7).Handler(evento.HandleAll(thing, d.add))
}

// What is pending, once; then what came since.
func libraryExecute(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	q, from := filtered(evento.ByType(thing)), 0
	for _, n := range []int{0, 20, 0, 1, 7, 14} {
		commit(ctx, t, ex, routed("left", toAny("a", many(n+1, "Happened")...)), toAny("b", "Happened"))
		aside := toAny("aside", "Happened")
		aside.AggregateType = other // which is not subscribed to
		commit(ctx, t, ex, aside)
		all := readAll(ctx, t, ex, q)
		wantDelivered(ctx, t, ex, all[from:])
		from = len(all)
		status, err := evento.ControlOf(ex, "key").Status(ctx)
		must(t, err)
		// The place stored is one that others can read from.
		p := read(ctx, t, ex, q, cursor.Forward(5, status.Partitions[0].Cursor))
		if len(p.Edges) != 0 || !p.PageInfo.HasPreviousPage {
			t.Errorf("after Execute, from the stored cursor: got %d events, %+v, want none after it", len(p.Edges), p.PageInfo)
		}
	}
	wantDelivered(ctx, t, ex, nil)
}

// Exactly the events, in order, while writers write; then Shutdown, and what
// came meanwhile after it.
func libraryStart(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, each, events = 4, 10, 4 * 10 * 3
	reader := c.another(t, ex)
	var d delivered
	s, err := subscribeTo(&d).Start(ctx, reader)
	must(t, err)
	together(t, writers, func(t testing.TB, i int) {
		for range each {
			commit(ctx, t, ex, toAny("shared", "A"), toAny(fmt.Sprint(i), "A", "B"))
		}
	})
	d.wait(ctx, t, events)
	must(t, s.Shutdown(ctx))
	must(t, s.Err())
	log := readAll(ctx, t, ex, evento.Query{})
	d.want(t, "Start", log)

	commit(ctx, t, ex, toAny("shared", "Later", "Later"))
	wantDelivered(ctx, t, reader, readAll(ctx, t, ex, evento.Query{})[len(log):])
}

// A newer worker ends the older one and goes on; together they were given
// everything, each in order.
func libraryTakeOver(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	second := c.another(t, ex)
	var older, newer delivered
	first, err := subscribeTo(&older).Start(ctx, ex)
	must(t, err)
	commit(ctx, t, ex, toAny("a", many(20, "Happened")...))
	older.wait(ctx, t, 1)
	next, err := subscribeTo(&newer).Start(ctx, second)
	must(t, err)
	commit(ctx, t, ex, toAny("a", many(20, "Happened")...))
	wantTakenOver(ctx, t, first)
	commit(ctx, t, ex, toAny("a", "Last"))
	log := readAll(ctx, t, ex, evento.Query{})
	for got := newer.wait(ctx, t, 1); got[len(got)-1].ID != log[len(log)-1].Node.ID; { // until the last
		got = newer.wait(ctx, t, len(got)+1)
	}
	must(t, next.Shutdown(ctx))
	older.want(t, "the older worker", log[:min(len(log), len(older.events))])
	newer.want(t, "the newer worker", log[max(0, len(log)-len(newer.events)):])
	if len(older.events)+len(newer.events) < len(log) {
		t.Errorf("the older worker was given %d events and the newer %d, want all %d among them", len(older.events), len(newer.events), len(log))
	}
}

// wantTakenOver waits for the end of a worker whose key another one has taken.
func wantTakenOver(ctx context.Context, t testing.TB, s *evento.Subscription) {
	t.Helper()
	await(ctx, t, s.Done(), "the end of the older worker")
	wantError(t, s.Err(), evento.ErrTakenOver, "the older worker")
}
