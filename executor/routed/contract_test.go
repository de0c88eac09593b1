package routed_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/routed"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/storetest"
)

// The contract of an executor of one routing key is that of a store without routing keys. As
// the suite uses some nearly everywhere, what it asks for is kept aside, see keyed. By what is
// kept aside a condition cannot be judged while others write: the topics with such
// conditions run with the routing keys left out.
func TestContract(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func(*asked) executortest.Config{"Memory": inMemory, "SQLite": inSQLite} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(&asked{})
			c.Without = append(c.Without, "Routing", "Conditions")
			executortest.Test(t, c)
		})
		t.Run(name+"Conditions", func(t *testing.T) {
			t.Parallel()
			c := config(nil)
			c.Without = []string{ // all but Conditions and Tags
				"Append", "Conflict", "Atomic", "Retry", "Order", "Pages", "Filters", "Routing", "Cursors", "Places", "Iteration",
				"Names", "Payloads", "Timestamps", "Snapshots", "Records", "Changed", "Follow", "Contexts", "Close", "Library",
				"Delivery", "InTx", "Import", "History", "WithRecords",
			}
			if c.Reopen != nil {
				c.Without = append(c.Without, "Reopen")
			}
			executortest.Test(t, c)
		})
	}
}

func inMemory(keys *asked) executortest.Config {
	return executortest.Config{
		Open: func(t testing.TB) evento.Executor { return newKeyed(t, memory.New(nil), keys) },
		Share: func(t testing.TB, ex evento.Executor) evento.Executor {
			t.Helper()
			of := ex.(*keyed)
			return &keyed{Executor: tenant(t, of.store, suitesKey), asked: of.asked}
		},
	}
}

func inSQLite(keys *asked) executortest.Config {
	c := storetest.Config(func(t testing.TB) string { return filepath.Join(t.TempDir(), "events.db") },
		func(t testing.TB, path string) evento.Executor {
			t.Helper()
			return newKeyed(t, openSQLite(t, path), keys)
		})
	c.Transactor, c.OneWriter = true, true
	// One whole run is enough for what is handed to the store, or returned as it has it.
	c.Without = []string{"Names", "Payloads", "Timestamps", "Pages", "Filters", "Places", "Iteration", "Tags", "Snapshots", "Records"}
	c.Spoil = storetest.SQLiteSpoil(func(ctx context.Context, text string) error {
		_, err := sqlite.Tx(ctx).ExecContext(ctx, text)
		return err
	})
	return c
}

// suitesKey is the tenant of the suite. It and its prefix have four bytes, see shorter.
const suitesKey = "ten"

// keyed adapts an executor of one routing key to a suite that uses several. The keys that the
// suite asks for are left out of what is written, and put into what is read.
type keyed struct {
	*routed.Executor
	store evento.Executor // to be closed too; nil: that is another's
	feed  evento.Feed
	asked *asked // nil: keys are left out

	mu    sync.Mutex
	known map[evento.AggregateKey]string
}

// asked are the routing keys that the suite has asked for.
type asked struct{ ofFirst sync.Map } // by aggregate and the id of the append's first event

type firstEvent struct {
	evento.AggregateKey
	id evento.ID
}

// newKeyed returns the tenant of a store that has records and snapshots of others.
func newKeyed(t testing.TB, store evento.Executor, keys *asked) evento.Executor {
	t.Helper()
	ctx := context.Background() // closed by the suite, after the test's own has ended
	const kind = "executortest"
	var s evento.Swap
	for i, k := range []string{kind, "te/" + kind, "tem/" + kind, "teo/" + kind, "ten" + kind, "ten0" + kind, "ten/ten/" + kind} {
		s.Changes = append(s.Changes, evento.Change{RecordKey: evento.RecordKey{Kind: k, Key: "key", Part: fmt.Sprint(i)}})
		key := evento.SnapshotKey{Projection: k, AggregateType: "executortest/Thing", AggregateID: "other's"}
		if k == "ten/ten/"+kind {
			key.Projection = "ten/" // of another program: no projection has this name
		}
		if err := store.SaveSnapshot(ctx, key, evento.Snapshot{Version: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if page, err := store.Records(ctx, evento.RecordQuery{Kind: kind}); err != nil {
		t.Fatal(err)
	} else if len(page.Records) == 0 { // else it is reopened
		if err := store.Swap(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	return &keyed{Executor: tenant(t, store, suitesKey), store: store, asked: keys}
}

func (k *keyed) Feed() *evento.Feed { return &k.feed }

func (k *keyed) Close() error {
	if err := k.Executor.Close(); err != nil || k.store == nil {
		return err
	}
	return k.store.Close()
}

func (k *keyed) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	w.Appends = slices.Clone(w.Appends)
	for i := range w.Appends {
		a := &w.Appends[i]
		if k.asked != nil {
			k.asked.ofFirst.LoadOrStore(firstEvent{a.Aggregate(), a.Events[0].ID}, a.RoutingKey)
		}
		a.RoutingKey = ""
	}
	if w.Swap != nil {
		s := shorterSwap(*w.Swap)
		w.Swap = &s
	}
	if k.asked != nil {
		w.Unless = slices.Clone(w.Unless)
		for i := range w.Unless {
			if err := k.plain(ctx, &w.Unless[i]); err != nil {
				return nil, err
			}
		}
	}
	return k.Executor.Write(ctx, w)
}

// plain replaces a condition on routing keys by another with the same outcome, if nobody else
// writes.
func (k *keyed) plain(ctx context.Context, c *evento.Condition) error {
	if c.Query.RoutingKey == "" && !c.Query.Unrouted {
		return nil
	}
	page, err := k.Read(ctx, c.Query, cursor.Onward(1, c.After))
	if err != nil {
		return err
	}
	if len(page.Edges) == 0 {
		c.Query = evento.Query{Filters: []evento.Filter{evento.ByType("executortest/Never")}}
		return nil
	}
	e := &page.Edges[0].Node
	c.Query = evento.Query{Filters: []evento.Filter{{AggregateType: e.AggregateType, AggregateID: e.AggregateID, Name: e.Name}}}
	c.After, err = k.CursorAt(e.Position - 1)
	return err
}

func (k *keyed) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if k.asked == nil {
		return k.Executor.Read(ctx, q, args)
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	plain := q
	plain.RoutingKey, plain.Unrouted = "", false
	page, err := k.Executor.Read(ctx, plain, args)
	if err != nil {
		return nil, err
	}
	if q.RoutingKey == "" && !q.Unrouted {
		return page, k.restore(ctx, page.Edges)
	}
	return k.selected(ctx, q, args)
}

// restore puts the keys that were asked for into events.
func (k *keyed) restore(ctx context.Context, edges []cursor.Edge[evento.RawEvent]) error {
	for i := range edges {
		e := &edges[i].Node
		if e.RoutingKey != "" {
			return fmt.Errorf("the routing key %q is shown", e.RoutingKey)
		}
		k.mu.Lock()
		key, known := k.known[e.Aggregate()]
		k.mu.Unlock()
		if !known {
			q := evento.Query{Filters: []evento.Filter{evento.ByID(e.AggregateType, e.AggregateID)}}
			page, err := k.Executor.Read(ctx, q, cursor.Onward(1, ""))
			if err != nil {
				return err
			}
			if len(page.Edges) == 0 {
				return fmt.Errorf("%s %q has no first event", e.AggregateType, e.AggregateID)
			}
			first := &page.Edges[0].Node
			of, _ := k.asked.ofFirst.Load(firstEvent{first.Aggregate(), first.ID})
			if key, known = of.(string); !known {
				return fmt.Errorf("%s %q begins with an event that was not written", e.AggregateType, e.AggregateID)
			}
			if first.Position > 0 { // else it may be rolled back
				k.mu.Lock()
				if k.known == nil {
					k.known = map[evento.AggregateKey]string{}
				}
				k.known[e.Aggregate()] = key
				k.mu.Unlock()
			}
		}
		e.RoutingKey = key
	}
	return nil
}

// selected is a page of those events of the whole store that match.
func (k *keyed) selected(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	var before, after []cursor.Edge[evento.RawEvent]
	end, passed := args.At(), args.At() == "" && !args.IsBackward()
	for at, more := cursor.Value(""), true; more; {
		page, err := k.Executor.Read(ctx, evento.Query{}, cursor.Onward(cursor.MaxPage, at))
		if err != nil {
			return nil, err
		}
		if err := k.restore(ctx, page.Edges); err != nil {
			return nil, err
		}
		for _, e := range page.Edges {
			here := args.At() != "" && e.Cursor == args.At()
			passed = passed || here && args.IsBackward()
			switch {
			case !q.Matches(e.Node):
			case passed:
				after = append(after, e)
			default:
				before = append(before, e)
			}
			passed = passed || here
		}
		at, more = page.PageInfo.EndCursor, page.PageInfo.HasNextPage
		if !args.IsBackward() {
			end = at
		}
	}
	page := &cursor.Page[evento.RawEvent]{PageInfo: cursor.PageInfo{StartCursor: args.At(), EndCursor: end}}
	if n := args.Limit(); args.IsBackward() {
		cut := max(0, len(before)-n)
		page.Edges = before[cut:]
		page.PageInfo.HasPreviousPage, page.PageInfo.HasNextPage = cut > 0, len(after) > 0
	} else {
		cut := min(n, len(after))
		page.Edges = after[:cut]
		page.PageInfo.HasPreviousPage, page.PageInfo.HasNextPage = len(before) > 0 && !args.IsOnward(), cut < len(after)
	}
	if n := len(page.Edges); n > 0 {
		page.PageInfo.StartCursor, page.PageInfo.EndCursor = page.Edges[0].Cursor, page.Edges[n-1].Cursor
	}
	return page, nil
}

// shorter makes room for the prefix in a name that is nearly as long as names may be. Of the
// suite's names it keeps the order: the longest repeat one letter.
func shorter(name string) string {
	if len(name) > evento.MaxName-5 {
		return name[4:]
	}
	return name
}

// longer undoes shorter, of the suite's names.
func longer(name string) string {
	if len(name) > evento.MaxName-9 {
		return name[:4] + name
	}
	return name
}

func (k *keyed) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	kind := q.Kind
	q.Kind, q.After.Kind = shorter(q.Kind), shorter(q.After.Kind)
	page, err := k.Executor.Records(ctx, q)
	if err != nil {
		return nil, err
	}
	for i := range page.Records {
		page.Records[i].Kind = kind
	}
	return page, nil
}

func (k *keyed) Swap(ctx context.Context, s evento.Swap) error {
	if err := s.Check(); err != nil {
		return err
	}
	return k.Executor.Swap(ctx, shorterSwap(s))
}

func shorterSwap(s evento.Swap) evento.Swap {
	s.Changes = slices.Clone(s.Changes)
	for i := range s.Changes {
		s.Changes[i].Kind = shorter(s.Changes[i].Kind)
	}
	return s
}

func shorterKey(key evento.SnapshotKey) evento.SnapshotKey {
	key.Projection = shorter(key.Projection)
	return key
}

func (k *keyed) Snapshot(ctx context.Context, key evento.SnapshotKey) (s evento.Snapshot, err error) {
	if err := key.Check(); err != nil {
		return s, err
	}
	return k.Executor.Snapshot(ctx, shorterKey(key))
}

func (k *keyed) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	if err := key.Check(); err != nil {
		return err
	}
	return k.Executor.SaveSnapshot(ctx, shorterKey(key), s)
}

func (k *keyed) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	short := make([]evento.SnapshotKey, len(keys))
	for i := range keys {
		short[i] = shorterKey(keys[i])
	}
	return k.Executor.RemoveSnapshots(ctx, short)
}

func (k *keyed) Snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	q.Projection, q.After = shorter(q.Projection), shorterKey(q.After)
	page, err := k.Executor.Snapshots(ctx, q)
	if err != nil {
		return nil, err
	}
	for i := range page.Snapshots {
		page.Snapshots[i].Projection = longer(page.Snapshots[i].Projection)
	}
	return page, nil
}

func openSQLite(t testing.TB, path string) *sqlite.Executor {
	t.Helper()
	ex, err := sqlite.Open(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ex
}

// tenant is the executor of a routing key.
func tenant(t testing.TB, ex evento.Executor, key string) *routed.Executor {
	t.Helper()
	one, err := routed.New(ex, key)
	if err != nil {
		t.Fatal(err)
	}
	return one
}
