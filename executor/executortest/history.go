// Random histories, compared step by step with executor/memory.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

func testHistory(t *testing.T, c Config) {
	steps := int(fromEnv(t, "EVENTO_STEPS", 500))
	run := func(name string, seed uint64) {
		c.run(t, name, func(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
			history(ctx, t, c, ex, seed, steps)
		})
	}
	if seed := fromEnv(t, "EVENTO_SEED", 0); os.Getenv("EVENTO_SEED") != "" {
		run("Replayed", seed)
		return
	}
	run("Fixed", 2) // which meets every fault that the mutants have
	run("Random", rand.Uint64())
}

// fromEnv is a number of the environment, or otherwise where it is not set.
func fromEnv(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// past is a store with what was done to it, beside the model with the same.
// An event has the same index in log, which is of the store, and in places,
// which are the model's cursors.
type past struct {
	c       Config
	r       *rand.Rand
	store   evento.Executor
	sharing evento.Executor // another executor on the store; nil without Share
	model   evento.Executor
	log     model
	places  []cursor.Value
	writes  []evento.Write
}

func history(ctx context.Context, t *testing.T, c Config, ex evento.Executor, seed uint64, steps int) {
	step := 0
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("failed at step %d; play it again with EVENTO_SEED=%d EVENTO_STEPS=%d", step, seed, steps)
		}
	})
	h := &past{
		c: c, r: rand.New(rand.NewPCG(seed, 0)), store: ex,
		model: closing(t, memory.New(nil)),
	}
	if c.Share != nil {
		h.sharing = c.share(t, ex)
	}
	for step = range steps {
		switch n := h.r.IntN(100); {
		case n < 40:
			h.write(ctx, t, h.randomWrite(ctx, t))
		case n < 50 && len(h.writes) > 0:
			h.write(ctx, t, h.randomRetry())
		case n < 80:
			h.read(ctx, t)
		case n < 90:
			h.swap(ctx, t)
		case n < 99:
			h.snapshot(ctx, t)
		case c.Reopen != nil:
			h.reopen(ctx, t)
		}
	}
	checkLog(t, c, readAll(ctx, t, h.store, evento.Query{}))
}

// either is one of the executors on the store.
func (h *past) either() evento.Executor {
	if h.sharing != nil && h.r.IntN(2) == 0 {
		return h.sharing
	}
	return h.store
}

func (h *past) id() string { return fmt.Sprint("id ", h.r.IntN(6)) }

// randomWrite mostly fits.
func (h *past) randomWrite(ctx context.Context, t testing.TB) evento.Write {
	t.Helper()
	w := evento.Write{}
	for _, n := range h.r.Perm(6)[:max(1, h.r.IntN(9)-4)] {
		a := to(fmt.Sprint("id ", n), 0, randomNames(h.r, 1+h.r.IntN(3))...)
		if h.r.IntN(3) == 0 {
			a.AggregateType = other
		}
		a.RoutingKey = []string{"", "", "left", "right"}[h.r.IntN(4)]
		for j := range a.Events {
			a.Events[j].Tags = randomTags(h.r)
		}
		if h.r.IntN(3) == 0 {
			a.Metadata.Values = map[string]string{"n": fmt.Sprint(n)}
		}
		for _, e := range h.log {
			if e.Node.AggregateType == a.AggregateType && e.Node.AggregateID == a.AggregateID {
				a.Expected = e.Node.Version
			}
		}
		switch h.r.IntN(8) {
		case 0:
			a.Expected = uint64(h.r.IntN(6))
		case 1, 2:
			a.Expected, a.AnyVersion = 0, true
		}
		w.Appends = append(w.Appends, a)
	}
	for n := h.r.IntN(9) - 6; n > 0 && !h.c.NoPositions; n-- {
		w.Unless = append(w.Unless, evento.Condition{Query: randomQuery(h.r), After: h.log.place(len(h.log) - min(len(h.log), h.r.IntN(12)))})
	}
	if h.r.IntN(6) == 0 {
		_, s := h.randomSwap(ctx, t)
		w.Swap = &s
	}
	return w
}

// randomRetry is an earlier write, stored or not.
func (h *past) randomRetry() evento.Write {
	w := h.writes[h.r.IntN(len(h.writes))]
	w.Retry = slices.ContainsFunc(w.Appends, func(a evento.Append) bool { return a.AnyVersion }) || h.r.IntN(2) == 0
	return w
}

func (h *past) write(ctx context.Context, t testing.TB, w evento.Write) {
	t.Helper()
	h.writes = append(h.writes, w)
	got, err := h.either().Write(ctx, w)
	want, wantErr := h.model.Write(ctx, h.ofModel(w))
	h.follow(ctx, t, show(w))
	var conflict, wantConflict *evento.ConflictError
	switch {
	case w.Swap != nil && isRefusal(err) && isRefusal(wantErr): // for any of its reasons
	case wantErr == nil && err == nil:
		for i := range want {
			want[i].Position = h.log[want[i].Position-1].Node.Position
		}
		if !slices.Equal(got, want) {
			t.Fatalf("Write(%s): got %v, want %v", show(w), got, want)
		}
	case !errors.As(wantErr, &wantConflict) || !errors.As(err, &conflict) || *conflict != h.ofStore(*wantConflict) && !h.neither(w, *conflict):
		t.Fatalf("Write(%s): got %v, %v, want %v, %v", show(w), got, err, want, wantErr)
	}
}

// ofModel is a write with the model's places.
func (h *past) ofModel(w evento.Write) evento.Write {
	w.Unless = slices.Clone(w.Unless)
	for i := range w.Unless {
		if at := slices.IndexFunc(h.log, func(e edge) bool { return e.Cursor == w.Unless[i].After }); at >= 0 {
			w.Unless[i].After = h.places[at]
		}
	}
	return w
}

// ofStore is a conflict with the store's position.
func (h *past) ofStore(c evento.ConflictError) evento.ConflictError {
	if c.Condition > 0 {
		c.Position = h.log[c.Position-1].Node.Position // the model has no gaps
	}
	return c
}

// neither reports whether a version does not fit and a condition does not hold: then
// the store may name the condition, where the model names the version.
func (h *past) neither(w evento.Write, got evento.ConflictError) bool {
	if got.Condition == 0 {
		return false
	}
	condition := w.Unless[got.Condition-1]
	after := slices.IndexFunc(h.log, func(e edge) bool { return e.Cursor == condition.After }) + 1
	return h.log.excludedBy(condition.Query, after) == got.Position
}

// follow reads what was added to the store and to the model.
func (h *past) follow(ctx context.Context, t testing.TB, after string) {
	t.Helper()
	at, modelAt := cursor.Value(""), cursor.Value("")
	if n := len(h.log); n > 0 {
		at, modelAt = h.log[n-1].Cursor, h.places[n-1]
	}
	got := read(ctx, t, h.either(), evento.Query{}, cursor.Onward(cursor.MaxPage, at)).Edges
	want := read(ctx, t, h.model, evento.Query{}, cursor.Onward(cursor.MaxPage, modelAt)).Edges
	same(t, "after "+after, got, want, func(got, want edge) string {
		want.Node.Timestamp = got.Node.Timestamp
		if h.c.Gaps {
			want.Node.Position = got.Node.Position
		}
		return differ(got.Node, want.Node)
	})
	h.log = append(h.log, got...)
	for _, e := range want {
		h.places = append(h.places, e.Cursor)
	}
}

func (h *past) read(ctx context.Context, t testing.TB) {
	t.Helper()
	q, args := randomQuery(h.r), randomArgs(h.r, h.log)
	got := read(ctx, t, h.either(), q, args)
	if len(h.log) > 0 {
		i, j := h.r.IntN(len(h.log)), h.r.IntN(len(h.log))
		wantEarlier(t, h.either(), h.log[min(i, j)].Cursor, h.log[max(i, j)].Cursor)
	}

	modelAt := cursor.Value("")
	if i := slices.IndexFunc(h.log, func(e edge) bool { return e.Cursor == args.At() }); i >= 0 {
		modelAt = h.places[i]
	}
	modelArgs := cursor.Forward(args.Limit(), modelAt)
	if args.IsBackward() {
		modelArgs = cursor.Backward(args.Limit(), modelAt)
	}
	want := read(ctx, t, h.model, q, modelArgs)
	for i, e := range want.Edges {
		want.Edges[i] = h.log[e.Node.Position-1] // the model has no gaps
	}
	for _, v := range []*cursor.Value{&want.PageInfo.StartCursor, &want.PageInfo.EndCursor} {
		if *v != "" {
			*v = h.log[slices.Index(h.places, *v)].Cursor
		}
	}
	samePage(t, q, args, got, want)
}

func isRefusal(err error) bool {
	return errors.Is(err, evento.ErrConflict) || errors.Is(err, evento.ErrSwapped) || errors.Is(err, evento.ErrInvalid)
}

// randomSwap is a swap that mostly fits, and the records that there are.
func (h *past) randomSwap(ctx context.Context, t testing.TB) (all []evento.Record, s evento.Swap) {
	t.Helper()
	all = readRecords(ctx, t, h.model, evento.RecordQuery{Kind: kind})
	for range 1 + h.r.IntN(4) {
		c := set(recordKey(fmt.Sprint("key ", h.r.IntN(3)), []string{"", "a", "b"}[h.r.IntN(3)]), 0, fmt.Sprint(h.r.IntN(1000)))
		if i := slices.IndexFunc(all, func(r evento.Record) bool { return r.RecordKey == c.RecordKey }); i >= 0 {
			c.Revision = all[i].Revision
			c.Remove = h.r.IntN(3) == 0
		}
		if h.r.IntN(12) == 0 {
			c.Revision = uint64(h.r.IntN(4))
		}
		s.Changes = append(s.Changes, c) // now and then twice the same
	}
	return all, s
}

// swap makes a swap, and reads a page of records.
func (h *past) swap(ctx context.Context, t testing.TB) {
	t.Helper()
	all, s := h.randomSwap(ctx, t)
	err, wantErr := h.either().Swap(ctx, s), h.model.Swap(ctx, s)
	if !alike(err, wantErr) {
		t.Fatalf("Swap(%s): got %v, want %v", showChanges(s.Changes), err, wantErr)
	}
	q := randomRecordQuery(h.r, all)
	got, want := recordPage(ctx, t, h.either(), q), recordPage(ctx, t, h.model, q)
	sameRecords(t, fmt.Sprintf("Records(%+v) after Swap(%s)", q, showChanges(s.Changes)), got.Records, untimed(want.Records))
	if got.More != want.More {
		t.Fatalf("Records(%+v): got more %t, want %t", q, got.More, want.More)
	}
}

// untimed is the model's records without their times, as each store has its own
// clock.
func untimed(records []evento.Record) []evento.Record {
	for i := range records {
		records[i].ChangedAt = time.Time{}
	}
	return records
}

func (h *past) snapshot(ctx context.Context, t testing.TB) {
	t.Helper()
	key := snapshotKeyOf(h.id())
	key.Revision = uint64(h.r.IntN(2))
	if h.r.IntN(2) == 0 {
		s := evento.Snapshot{Version: uint64(h.r.IntN(5)), Position: uint64(h.r.IntN(5)), Cursor: "place", Data: fmt.Append(nil, h.r.IntN(1000))}
		saveSnapshot(ctx, t, h.either(), key, s)
		saveSnapshot(ctx, t, h.model, key, s)
	}
	switch h.r.IntN(8) {
	case 0:
		removeSnapshots(ctx, t, h.either(), key)
		removeSnapshots(ctx, t, h.model, key)
	case 1, 2:
		q := evento.SnapshotQuery{States: h.r.IntN(2) == 0, Limit: h.r.IntN(5)}
		if h.r.IntN(2) == 0 {
			q.After = key
		}
		got, want := snapshotPage(ctx, t, h.either(), q), snapshotPage(ctx, t, h.model, q)
		sameSnapshots(t, fmt.Sprintf("Snapshots(%+v)", q), got.Snapshots, want.Snapshots)
		if got.More != want.More {
			t.Fatalf("Snapshots(%+v): got more %t, want %t", q, got.More, want.More)
		}
	}
	want, wantErr := h.model.Snapshot(ctx, key)
	if wantErr != nil {
		wantNoSnapshot(ctx, t, h.either(), key)
		return
	}
	wantSnapshot(ctx, t, h.either(), key, want)
}

// alike: both fail for the same reason, or neither does.
func alike(got, want error) bool {
	for _, target := range []error{evento.ErrNotFound, evento.ErrSwapped, evento.ErrInvalid} {
		if errors.Is(got, target) != errors.Is(want, target) {
			return false
		}
	}
	return (got == nil) == (want == nil)
}

func (h *past) reopen(ctx context.Context, t testing.TB) {
	t.Helper()
	if h.sharing != nil {
		must(t, h.sharing.Close())
	}
	h.store = h.c.reopen(t, h.store)
	if h.sharing != nil {
		h.sharing = h.c.share(t, h.store)
	}
	wantLog(ctx, t, h.store, h.log)
	for _, k := range []string{"key 0", "key 1", "key 2"} {
		q := evento.RecordQuery{Kind: kind, Key: k}
		sameRecords(t, fmt.Sprintf("Records(%+v) after reopening", q), readRecords(ctx, t, h.store, q), untimed(readRecords(ctx, t, h.model, q)))
	}
}
