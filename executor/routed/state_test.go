package routed_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

// alike are routing keys that a careless prefix would mix up.
func alike() []string {
	return []string{"a", "a/b", "a%2Fb", "a%", "a/", "A", "ab", "a/kind", "é", "a b"}
}

func swapOf(part string) evento.Swap {
	return evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "kind", Key: "key", Part: part}, Value: []byte(part)}}}
}

// keysOf are the keys of all records of a kind.
func keysOf(ctx context.Context, t testing.TB, ex evento.Executor) []string {
	t.Helper()
	page, err := ex.Records(ctx, evento.RecordQuery{Kind: "kind"})
	must(t, err)
	var keys []string
	for _, r := range page.Records {
		keys = append(keys, r.Kind+" "+r.Key+" "+r.Part)
	}
	return keys
}

func TestRecords(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memory.New(nil)
	must(t, store.Swap(ctx, swapOf("of the store")))
	for _, key := range alike() {
		s := swapOf("of " + key)
		must(t, tenant(t, store, key).Swap(ctx, s))
		if s.Changes[0].Kind != "kind" {
			t.Errorf("the caller's swap was changed: %+v", s)
		}
	}
	for _, key := range alike() {
		ex := tenant(t, store, key)
		wantTexts(t, "records of "+key, keysOf(ctx, t, ex), "kind key of "+key)
		wantError(t, ex.Swap(ctx, swapOf("of "+key)), evento.ErrSwapped, "Swap of a record that exists")
		gone := swapOf("of " + key)
		gone.Changes[0].Revision, gone.Changes[0].Remove = 1, true
		must(t, ex.Swap(ctx, gone))
		wantTexts(t, "records of "+key, keysOf(ctx, t, ex))
	}
	wantTexts(t, "records of the store", keysOf(ctx, t, store), "kind key of the store")
}

// The stored name of a kind and of a projection has the routing key before it, which makes no
// name of none.
func TestNames(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), tenant(t, memory.New(nil), "100%")
	long := strings.Repeat("x", evento.MaxName-len("100%25/"))
	key := func(projection string) evento.SnapshotKey { return evento.SnapshotKey{Projection: projection} }
	for name, call := range map[string]func(name string) error{
		"Swap": func(name string) error {
			return ex.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: name, Key: "key"}}}})
		},
		"Records":      func(name string) error { _, err := ex.Records(ctx, evento.RecordQuery{Kind: name}); return err },
		"SaveSnapshot": func(name string) error { return ex.SaveSnapshot(ctx, key(name), evento.Snapshot{}) },
		"Snapshot": func(name string) error {
			if _, err := ex.Snapshot(ctx, key(name)); !errors.Is(err, evento.ErrNotFound) {
				return err
			}
			return nil
		},
		"Snapshots": func(name string) error {
			_, err := ex.Snapshots(ctx, evento.SnapshotQuery{Projection: name})
			return err
		},
	} {
		if err := call(long); err != nil {
			t.Errorf("%s of a name of %d bytes: %v", name, len(long), err)
		}
		if err := call(long + "x"); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "100%25/xxx") {
			t.Errorf("%s of a name of %d bytes: got %v, want ErrInvalid that names it", name, len(long)+1, err)
		}
		if err := call(""); name != "Snapshots" && !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("%s of no name: got %v, want ErrInvalid", name, err)
		}
	}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memory.New(nil)
	key := evento.SnapshotKey{Projection: "kind", AggregateType: note, AggregateID: "one"}
	save := func(ex evento.Executor, version uint64) {
		must(t, ex.SaveSnapshot(ctx, key, evento.Snapshot{Version: version}))
	}
	version := func(ex evento.Executor) (all []uint64) {
		page, err := ex.Snapshots(ctx, evento.SnapshotQuery{})
		must(t, err)
		for _, s := range page.Snapshots {
			if s.SnapshotKey != key && ex != evento.Executor(store) {
				t.Errorf("got the key %+v, want %+v", s.SnapshotKey, key)
			}
			all = append(all, s.Version)
		}
		return all
	}
	save(store, 99)
	for i, k := range alike() {
		ex := tenant(t, store, k)
		_, err := ex.Snapshot(ctx, key)
		wantError(t, err, evento.ErrNotFound, "Snapshot of %s before it is saved", k)
		save(ex, uint64(i+1))
	}
	for i, k := range alike() {
		ex := tenant(t, store, k)
		if got := version(ex); !slices.Equal(got, []uint64{uint64(i + 1)}) {
			t.Errorf("snapshots of %s: got the versions %d, want %d", k, got, i+1)
		}
		must(t, ex.RemoveSnapshots(ctx, []evento.SnapshotKey{key}))
		if got := version(ex); got != nil {
			t.Errorf("snapshots of %s after they were removed: got the versions %d", k, got)
		}
	}
	if got := version(store); !slices.Equal(got, []uint64{99}) {
		t.Errorf("snapshots of the store: got the versions %d", got)
	}
}

// counted is a store whose listed snapshots are counted.
type counted struct {
	evento.Executor
	calls, listed int
}

func (c *counted) Snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	page, err := c.Executor.Snapshots(ctx, q)
	if err == nil {
		c.calls++
		c.listed += len(page.Snapshots)
	}
	return page, err
}

// A tenant with few snapshots does not read the many of the next one, and one with many does
// not need many calls.
func TestSnapshotsOfOthersAreNotRead(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), &counted{Executor: memory.New(nil)}
	for key, n := range map[string]int{"a": 3, "b": 900} {
		for i := range n {
			k := evento.SnapshotKey{Projection: "count", AggregateType: note, AggregateID: fmt.Sprint(i)}
			must(t, tenant(t, store, key).SaveSnapshot(ctx, k, evento.Snapshot{}))
		}
	}
	for _, tt := range []struct {
		key                 string
		want, calls, listed int
	}{{"a", 3, 1, 50}, {"b", 900, 8, 900}} {
		store.calls, store.listed = 0, 0
		page, err := tenant(t, store, tt.key).Snapshots(ctx, evento.SnapshotQuery{})
		must(t, err)
		if len(page.Snapshots) != tt.want || page.More || store.calls > tt.calls || store.listed > tt.listed {
			t.Errorf("%s: got %d snapshots of %d in %d calls, more %t; want %d of up to %d in up to %d",
				tt.key, len(page.Snapshots), store.listed, store.calls, page.More, tt.want, tt.listed, tt.calls)
		}
	}
}

var counting = evento.Apply(func(n *int, _ evento.Event[noted]) error { *n++; return nil })

// count is the number of a note's events.
func count() *evento.Projection[int] {
	return evento.NewProjection[int]("count", note).Handler(counting).SnapshotEvery(1)
}

// A load goes on from the tenant's own snapshot.
func TestLoad(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memory.New(nil)
	left, right := tenant(t, store, "left"), tenant(t, store, "right")
	p := count()
	for i, ex := range []evento.Executor{left, right} {
		id := fmt.Sprint("note ", i)
		for range i + 2 {
			_, err := p.Update(ctx, ex, id, func(*evento.Loaded[int]) ([]evento.Payload, error) { return []evento.Payload{noted{}}, nil }, evento.OrNew())
			must(t, err)
		}
		l, err := p.Load(ctx, ex, id)
		must(t, err)
		if l.State != i+2 || l.Version != uint64(i+2) {
			t.Errorf("Load of %s: got %d at version %d, want %d", id, l.State, l.Version, i+2)
		}
	}
	for i, ex := range []evento.Executor{left, right} {
		page, err := ex.Snapshots(ctx, evento.SnapshotQuery{Projection: "count"})
		must(t, err)
		if len(page.Snapshots) != 1 || page.Snapshots[0].AggregateID != fmt.Sprint("note ", i) {
			t.Errorf("snapshots: got %+v, want one of note %d", page.Snapshots, i)
		}
		_, err = p.Load(ctx, ex, fmt.Sprint("note ", 1-i))
		wantError(t, err, evento.ErrNotFound, "Load of another tenant's")
	}
}

// Subscriptions of two tenants with one key are two, and the store has none.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), shared(t)
	tenants := map[string]evento.Executor{"l": tenant(t, store, "left"), "r": tenant(t, store, "right")}
	got := map[string][]string{}
	subscribe := func(id string, change ...func(*evento.SubscriptionBuilder)) *evento.SubscriptionBuilder {
		b := evento.NewSubscription("key").Handler(evento.HandleAll(note, func(ctx context.Context, e evento.RawEvent) error {
			got[id] = append(got[id], fmt.Sprint(e.AggregateID, e.Version))
			if evento.ExecutorFrom(ctx) != tenants[id] {
				t.Errorf("the handler of %s has %T", id, evento.ExecutorFrom(ctx))
			}
			return nil
		}))
		for _, c := range change {
			c(b)
		}
		return b
	}
	must(t, subscribe("l").Execute(ctx, tenants["l"]))
	wantTexts(t, "left", got["l"], "l1", "l2", "l3")
	_, err := evento.ControlOf(tenants["r"], "key").Status(ctx)
	wantError(t, err, evento.ErrNotFound, "Status of what another tenant has started")
	must(t, write(ctx, tenants["l"], toAny("l", 2)))
	must(t, subscribe("r").Execute(ctx, tenants["r"]))
	wantTexts(t, "right", got["r"], "r1", "r2", "r3")
	s, err := evento.ControlOf(tenants["l"], "key").Status(ctx)
	must(t, err)
	if s.Behind != 2 {
		t.Errorf("left is %d events behind, want 2", s.Behind)
	}
	must(t, subscribe("l").Execute(ctx, tenants["l"]))
	wantTexts(t, "left", got["l"], "l1", "l2", "l3", "l4", "l5")
	wantTexts(t, "right", got["r"], "r1", "r2", "r3")
	for name, err := range evento.Subscriptions(ctx, store) {
		t.Errorf("the store has the subscription %+v, %v", name, err)
	}
	for _, ex := range tenants {
		var names []string
		for name, err := range evento.Subscriptions(ctx, ex) {
			must(t, err)
			names = append(names, name.Key)
		}
		wantTexts(t, "the tenant's subscriptions", names, "key")
	}
	// One for the tenant's own routing key would never get an event: it is told so.
	err = evento.NewSubscription("routed").RoutingKey("left").Handler(evento.HandleAll(note, func(context.Context, evento.RawEvent) error { return nil })).Execute(ctx, tenants["l"])
	wantError(t, err, evento.ErrInvalid, "Execute with the own routing key")
}

// Those who subscribe and follow get new events of their tenant, and none of others.
func TestLive(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memory.New(nil)
	type seen struct{ who, what string }
	came := make(chan seen, 100)
	want := map[seen]bool{}
	for _, key := range []string{"left", "right"} {
		ex := tenant(t, store, key)
		sub, err := evento.NewSubscription("key").Handler(evento.HandleAll(note, func(_ context.Context, e evento.RawEvent) error {
			came <- seen{key + " subscribes", e.AggregateID + fmt.Sprint(e.Version)}
			return nil
		})).Start(ctx, ex)
		must(t, err)
		defer func() { must(t, sub.Shutdown(ctx)) }()
		following, stop := context.WithCancel(ctx)
		defer stop()
		for name, q := range map[string]evento.Query{"everything": {}, "unrouted": {Unrouted: true}, "its note": ofNote(key)} {
			go func() {
				for e, err := range evento.Follow(following, ex, q, "") {
					if err != nil {
						return
					}
					came <- seen{key + " follows " + name, e.AggregateID + fmt.Sprint(e.Version)}
				}
			}()
			for i := range 3 {
				want[seen{key + " follows " + name, key + fmt.Sprint(i+1)}] = true
			}
		}
		for i := range 3 {
			want[seen{key + " subscribes", key + fmt.Sprint(i+1)}] = true
		}
	}
	for range 3 {
		left := len(want)
		for _, key := range []string{"left", "right", ""} {
			must(t, write(ctx, store, with(key, toAny(cmp.Or(key, "none"), 1))))
		}
		for range 8 { // wait for all, so that the next come to those who wait
			s := <-came
			if !want[s] {
				t.Fatalf("%s: got %s, which is wrong or the second time", s.who, s.what)
			}
			delete(want, s)
		}
		if len(want) != left-8 {
			t.Errorf("%d are left of %d", len(want), left)
		}
	}
}

// A tenant's subscription that keeps states says nothing of the store's.
func TestKeep(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memory.New(nil)
	left := tenant(t, store, "left")
	for _, ex := range []evento.Executor{left, tenant(t, store, "right"), store} {
		_, err := evento.Create().Event(noted{}).Commit(ctx, ex)
		must(t, err)
	}
	p := evento.NewProjection[int]("kept", note).Handler(counting)
	must(t, p.Keep("keeper").Execute(ctx, left))
	states := func(ex evento.Executor) (n int, err error) {
		for _, err := range p.States(ctx, ex) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	if n, err := states(left); err != nil || n != 1 {
		t.Errorf("States of the tenant: got %d, %v, want 1", n, err)
	}
	n, err := states(store)
	wantError(t, err, evento.ErrNotKept, "States of the store: got %d", n)
	must(t, p.Keep("keeper").Execute(ctx, store))
	if n, err := states(store); err != nil || n != 3 {
		t.Errorf("States of the store: got %d, %v, want 3", n, err)
	}
	if n, err := states(left); err != nil || n != 1 {
		t.Errorf("States of the tenant: got %d, %v, want 1", n, err)
	}
}

// The places of a tenant are those of the store.
func TestPlaces(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), shared(t)
	left := tenant(t, store, "left")
	for position := range uint64(5) {
		want, err := store.CursorAt(position)
		must(t, err)
		if got, err := left.CursorAt(position); err != nil || got != want {
			t.Errorf("CursorAt(%d) = %q, %v, want %q", position, got, err, want)
		}
		next, err := store.CursorAt(position + 1)
		must(t, err)
		if got, err := left.Earlier(next, want); err != nil || got != want {
			t.Errorf("Earlier = %q, %v, want %q", got, err, want)
		}
		page, err := left.Read(ctx, evento.Query{}, cursor.Onward(1, want))
		must(t, err)
		if len(page.Edges) != 1 || page.Edges[0].Node.Position <= position {
			t.Errorf("after position %d: %+v", position, page.Edges)
		}
	}
}
