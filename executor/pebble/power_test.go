// Power cuts, on a file system in memory that knows what was synced.

package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/pebble"
)

const dir = "store"

func openOn(t *testing.T, fs vfs.FS) *pebble.Executor {
	t.Helper()
	ex, err := pebble.Open(t.Context(), dir, &pebble.Options{FS: fs})
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	return ex
}

// append is one event more for an aggregate.
func anyVersion(id string, events int) evento.Append {
	a := evento.Append{AggregateType: thing, AggregateID: id, AnyVersion: true}
	for range events {
		a.Events = append(a.Events, evento.NewEvent{ID: evento.NewID(), Name: "Happened", Codec: "raw", Data: make([]byte, 300)})
	}
	return a
}

// promised is what was acknowledged or shown before the power was cut.
type promised struct {
	mu      sync.Mutex
	writes  map[evento.ID]evento.Write // by the first event's id
	places  map[evento.ID]uint64       // the positions of events
	swapped uint64                     // revision of the records that are swapped together
	saved   uint64                     // version of the snapshot
}

func (p *promised) acknowledged(w evento.Write, receipts []evento.Receipt) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, a := range w.Appends {
		for j, e := range a.Events {
			p.places[e.ID] = receipts[i].Position - uint64(len(a.Events)-1-j)
		}
	}
	return len(p.places)
}

func (p *promised) made(w evento.Write) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes[w.Appends[0].Events[0].ID] = w
}

func (p *promised) shown(e evento.RawEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places[e.ID] = e.Position
}

// check holds a store to it.
func (p *promised) check(t *testing.T, ex evento.Executor) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	there := map[evento.ID]uint64{}
	versions := map[string]uint64{}
	last := uint64(0)
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		there[e.ID] = e.Position
		if versions[e.AggregateID]++; e.Position != last+1 || e.Version != versions[e.AggregateID] {
			t.Fatalf("position %d after %d, %s at version %d, want %d", e.Position, last, e.AggregateID, e.Version, versions[e.AggregateID])
		}
		last = e.Position
	}
	for id, position := range p.places {
		if there[id] != position {
			t.Fatalf("event %s is at position %d, promised was %d", id, there[id], position)
		}
	}
	for _, w := range p.writes {
		whole := there[w.Appends[0].Events[0].ID] != 0
		for _, a := range w.Appends {
			for _, e := range a.Events {
				if (there[e.ID] != 0) != whole {
					t.Fatalf("half of a write is there: %v", w)
				}
			}
		}
	}
	checkIndexes(t, ex, versions)
}

// checkIndexes reads each aggregate, and the kind, by their indexes.
func checkIndexes(t *testing.T, ex evento.Executor, versions map[string]uint64) {
	t.Helper()
	all := uint64(0)
	for id, version := range versions {
		all += version
		n := uint64(0)
		for e, err := range evento.Events(t.Context(), ex, evento.Query{Filters: []evento.Filter{evento.ByID(thing, id)}}) {
			if n++; err != nil || e.Version != n {
				t.Fatalf("%s: version %d is %d, %v", id, n, e.Version, err)
			}
		}
		if n != version {
			t.Fatalf("%s has %d events in its index, %d in the log", id, n, version)
		}
	}
	n := uint64(0)
	for _, err := range evento.Events(t.Context(), ex, evento.Query{Filters: []evento.Filter{evento.ByEvent(happened{})}}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != all {
		t.Fatalf("the kind has %d events, the log %d", n, all)
	}
}

// The power is cut while writers write and readers read, again and again; each
// life goes on with what the one before left.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	const cuts = 24
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewCrashableMem()
	p := &promised{writes: map[evento.ID]evento.Write{}, places: map[evento.ID]uint64{}}
	for cut := range cuts {
		ex := openOn(t, fs)
		before := len(p.places)
		p.check(t, ex)
		checkState(t, ex, p)
		// What a new life shows at once must be durable at once.
		if again := openOn(t, fs.CrashClone(vfs.CrashCloneCfg{})); true {
			p.check(t, again)
			closeAll(t, again)
		}
		fs = live(t, ex, fs, p, before+1+random.IntN(150), vfs.CrashCloneCfg{
			UnsyncedDataPercent: []int{0, 50, 100}[cut%3], RNG: random,
		})
		closeAll(t, ex) // of the other world
	}
	closeAll(t, checked(t, fs, p))
	t.Logf("power cuts x %d: promised %d events, lost 0", cuts, len(p.places))
}

func checked(t *testing.T, fs vfs.FS, p *promised) evento.Executor {
	t.Helper()
	ex := openOn(t, fs)
	p.check(t, ex)
	checkState(t, ex, p)
	return ex
}

var key = evento.SnapshotKey{Projection: "p", Revision: 1, Variant: "v", AggregateType: thing, AggregateID: "0"}

func checkState(t *testing.T, ex evento.Executor, p *promised) {
	t.Helper()
	swapped, err := swappedTogether(t.Context(), ex)
	if err != nil || swapped < p.swapped {
		t.Fatalf("records are at revision %d, %v, promised was %d", swapped, err, p.swapped)
	}
	s, err := ex.Snapshot(t.Context(), key)
	if err != nil && p.saved != 0 || s.Version < p.saved {
		t.Fatalf("Snapshot() = version %d, %v, promised was %d", s.Version, err, p.saved)
	}
	p.swapped, p.saved = swapped, s.Version
}

// swapTogether brings two records from a revision to the next, with a third
// that is removed and made under another name.
func swapTogether(ctx context.Context, ex evento.Executor, revision uint64) error {
	s := setting(revision, "a", "b")
	if revision > 0 {
		s.Changes = append(s.Changes, evento.Change{RecordKey: recordKey(fmt.Sprint("c", revision)), Revision: 1, Remove: true})
	}
	s.Changes = append(s.Changes, evento.Change{RecordKey: recordKey(fmt.Sprint("c", revision+1))})
	return ex.Swap(ctx, s)
}

// swappedTogether returns the revision, and an error when the records are not
// as one swap left them.
func swappedTogether(ctx context.Context, ex evento.Executor) (uint64, error) {
	page, err := ex.Records(ctx, evento.RecordQuery{Kind: "kind"})
	if err != nil || len(page.Records) == 0 {
		return 0, err
	}
	rs := page.Records
	if len(rs) != 3 || rs[0].Revision != rs[1].Revision || rs[2].Part != fmt.Sprint("c", rs[0].Revision) {
		return 0, fmt.Errorf("half of a swap is there: %+v", page)
	}
	return rs[0].Revision, nil
}

// live writes and reads until so many events are promised, and cuts the power.
func live(t *testing.T, ex evento.Executor, fs *vfs.MemFS, p *promised, until int, cfg vfs.CrashCloneCfg) *vfs.MemFS {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	enough := make(chan struct{})
	var once sync.Once
	run := func(do func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := do(); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
					once.Do(func() { close(enough) })
					return
				}
			}
		})
	}
	for i := range 8 {
		run(func() error {
			w := evento.Write{Appends: []evento.Append{anyVersion(fmt.Sprint("own ", i), 2), anyVersion("shared", 1)}}
			p.made(w)
			receipts, err := ex.Write(ctx, w)
			if err == nil && p.acknowledged(w, receipts) >= until {
				once.Do(func() { close(enough) })
			}
			return err
		})
	}
	at := cursor.Value("")
	run(func() error {
		page, err := ex.Read(ctx, evento.Query{}, cursor.Onward(50, at))
		if err != nil {
			return err
		}
		for _, e := range page.Edges {
			p.shown(e.Node)
		}
		at = page.PageInfo.EndCursor
		return nil
	})
	swap := func(swapped uint64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.swapped = max(p.swapped, swapped)
	}
	revision := p.swapped
	run(func() error {
		err := swapTogether(ctx, ex, revision)
		if err == nil {
			revision++
			swap(revision)
		}
		return err
	})
	run(func() error {
		changed := ex.Changed()
		swapped, err := swappedTogether(ctx, ex)
		swap(swapped)
		select {
		case <-changed:
		case <-ctx.Done():
		}
		return err
	})
	var version atomic.Uint64
	version.Store(p.saved)
	run(func() error {
		n := version.Load() + 1
		err := ex.SaveSnapshot(ctx, key, evento.Snapshot{Version: n})
		if err == nil {
			version.Store(n)
		}
		return err
	})
	<-enough
	// Everything up to now is promised; what comes from now on is of the world
	// in which the power stayed.
	p.mu.Lock()
	swapped, saved := p.swapped, version.Load()
	writes, places := maps.Clone(p.writes), maps.Clone(p.places)
	after := fs.CrashClone(cfg)
	p.mu.Unlock()
	stop()
	wg.Wait()
	p.writes, p.places = writes, places
	p.swapped, p.saved = swapped, saved
	return after
}

// gate stops the syncs of the log while it is closed, and makes them fail when
// it is opened with an error.
type gate struct {
	entered chan struct{} // a value for each sync that waits
	open    chan struct{}
	isOpen  atomic.Bool
	err     error
}

func (g *gate) hook(op, name string) error {
	if op != "sync" || !isLog(name) {
		return nil
	}
	select {
	case g.entered <- struct{}{}:
	default:
	}
	<-g.open
	return g.err
}

func (g *gate) release(err error) {
	g.err = err
	g.isOpen.Store(true)
	close(g.open)
}

func newGate() *gate {
	return &gate{entered: make(chan struct{}, 1), open: make(chan struct{})}
}

// While a sync is under way, what waits for it is not shown in any way: not
// its events, not as a conflict, not as made before.
func TestDurableBeforeVisible(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	fs := &faulty{FS: mem}
	ex := openOn(t, fs)
	defer closeAll(t, ex)
	ctx := t.Context()
	if err := swapTogether(ctx, ex, 0); err != nil {
		t.Fatal(err)
	}
	commit(t, ex, 1)
	keys := []evento.SnapshotKey{key, key}
	keys[1].AggregateID = "1"
	if err := ex.SaveSnapshot(ctx, keys[1], evento.Snapshot{Version: 1}); err != nil {
		t.Fatal(err)
	}
	// snapshots wants those with these ids.
	snapshots := func(when string, want ...string) {
		t.Helper()
		for _, states := range []bool{false, true} {
			page, err := ex.Snapshots(ctx, evento.SnapshotQuery{States: states})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range page.Snapshots {
				got = append(got, s.AggregateID)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s: Snapshots() has those of %q, want %q", when, got, want)
			}
		}
	}
	g := newGate()
	fs.on(g.hook)

	first := evento.Write{Appends: []evento.Append{anyVersion("one", 2)}}
	first.Appends[0].AnyVersion = false
	other := evento.Write{Appends: []evento.Append{anyVersion("one", 1)}}
	other.Appends[0].AnyVersion = false
	results := make(chan error, 8)
	try := func(name string, call func() error) {
		go func() {
			err := call()
			if !g.isOpen.Load() {
				err = fmt.Errorf("%s was answered before the disk was: %w", name, err)
			}
			results <- err
		}()
	}
	write := func(w evento.Write, want error) func() error {
		return func() error {
			if _, err := ex.Write(ctx, w); !errors.Is(err, want) {
				return fmt.Errorf("Write() = %w, want %w", err, want)
			}
			return nil
		}
	}
	try("the write", write(first, nil))
	<-g.entered
	try("the same write again", write(first, nil))
	again := first
	again.Retry = true
	try("its retry", write(again, nil))
	try("a write that conflicts with it", write(other, evento.ErrConflict))
	try("Swap", func() error { return swapTogether(ctx, ex, 1) })
	try("SaveSnapshot", func() error { return ex.SaveSnapshot(ctx, keys[0], evento.Snapshot{Version: 1}) })
	try("RemoveSnapshots", func() error { return ex.RemoveSnapshots(ctx, keys[1:]) })

	for range 200 { // the others come on the way meanwhile
		if n := count(t, ex); n != 1 {
			t.Fatalf("%d events are shown while the sync is under way, want 1", n)
		}
		page, err := ex.Read(ctx, evento.Query{Filters: []evento.Filter{evento.ByID(thing, "one")}}, cursor.Backward(5, ""))
		if err != nil || len(page.Edges) != 0 || page.PageInfo.HasPreviousPage {
			t.Fatalf("Read() = %+v, %v while the sync is under way", page, err)
		}
		if swapped, err := swappedTogether(ctx, ex); err != nil || swapped != 1 {
			t.Fatalf("records are at revision %d, %v while the sync is under way", swapped, err)
		}
		if s, err := ex.Snapshot(ctx, key); !errors.Is(err, evento.ErrNotFound) {
			t.Fatalf("Snapshot() = %+v, %v while the sync is under way", s, err)
		}
		if _, err := ex.Snapshot(ctx, keys[1]); err != nil {
			t.Fatalf("Snapshot() = %v while the sync of its removal is under way", err)
		}
		snapshots("while the sync is under way", "1")
	}
	after := openOn(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	if n := count(t, after); n != 1 {
		t.Errorf("%d events are there after a power cut, want 1", n)
	}
	closeAll(t, after)

	g.release(nil)
	for range 7 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	snapshots("afterwards", "0")
	if n := count(t, ex); n != 3 {
		t.Errorf("%d events are there afterwards, want 3", n)
	}
	if swapped, err := swappedTogether(ctx, ex); err != nil || swapped != 2 {
		t.Errorf("records are at revision %d, %v afterwards", swapped, err)
	}
}
