package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/store"
	"github.com/evento-go/evento/internal/testserver"
)

// many is a number of faults, and what a variable of the environment makes of it for a
// long run.
func many(t *testing.T, variable string, usual int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number", variable, text)
	}
	return n
}

// load is writers who write all the time, and what they were told.
type load struct {
	t     *testing.T
	ex    evento.Executor
	stop  chan struct{}
	wg    sync.WaitGroup
	acked atomic.Int64
	slow  atomic.Int64 // the slowest write, in nanoseconds
	lost  atomic.Int64 // outcomes that were unknown at first

	highest atomic.Uint64 // the last position of which a writer was told
	others  int           // events that others have written

	mu   sync.Mutex
	told map[evento.ID]told
	each map[string]int // writes that were acknowledged, by writer
}

// told is where a writer was told that an event is.
type told struct {
	aggregate         string
	position, version uint64
}

func startLoad(t *testing.T, ex evento.Executor, name string, writers int) *load {
	l := &load{t: t, ex: ex, stop: make(chan struct{}), told: map[evento.ID]told{}, each: map[string]int{}}
	for i := range writers {
		l.wg.Go(func() { l.write(fmt.Sprintf("%s-%d", name, i), rand.New(rand.NewPCG(7, uint64(i)))) })
	}
	return l
}

// write commits to an aggregate of the writer's, and now and then to one that all share.
func (l *load) write(name string, r *rand.Rand) {
	version := uint64(0)
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		default:
		}
		w := evento.Write{Appends: []evento.Append{{AggregateType: thing, AggregateID: name, Expected: version, Events: someEvents(1+r.IntN(3), n)}}}
		if r.IntN(3) == 0 {
			w.Appends = append(w.Appends, evento.Append{AggregateType: thing, AggregateID: "shared", AnyVersion: true, Events: someEvents(1, n)})
		}
		ctx, cancel := context.Background(), func() {}
		if r.IntN(10) == 0 { // a caller who does not wait
			ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(20))*time.Millisecond)
		}
		began := time.Now()
		receipts, err := l.ex.Write(ctx, w)
		cancel()
		for err != nil {
			if l.t.Context().Err() != nil {
				return
			}
			if !errors.Is(err, evento.ErrOutcomeUnknown) && !errors.Is(err, context.DeadlineExceeded) {
				l.t.Errorf("Write() = %v", err)
				return
			}
			if errors.Is(err, evento.ErrOutcomeUnknown) {
				l.lost.Add(1)
			}
			w.Retry = true
			receipts, err = l.ex.Write(l.t.Context(), w)
		}
		for slowest := l.slow.Load(); int64(time.Since(began)) > slowest && !l.slow.CompareAndSwap(slowest, int64(time.Since(began))); slowest = l.slow.Load() {
		}
		l.note(name, &w, receipts)
		version = receipts[0].Version
	}
}

func someEvents(count, n int) []evento.NewEvent {
	events := make([]evento.NewEvent, count)
	for i := range events {
		events[i] = evento.NewEvent{ID: evento.NewID(), Name: "Happened", Codec: "json", Data: fmt.Appendf(nil, `{"N":%d}`, n)}
	}
	return events
}

func (l *load) note(writer string, w *evento.Write, receipts []evento.Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.each[writer]++
	for i, r := range receipts {
		events := w.Appends[i].Events
		store.Raise(&l.highest, r.Position)
		for j := range events {
			back := uint64(len(events) - 1 - j)
			l.told[events[j].ID] = told{w.Appends[i].AggregateID, r.Position - back, r.Version - back}
		}
	}
	l.acked.Add(1)
}

// progress waits until so many further writes are acknowledged.
func (l *load) progress(n int64) {
	l.t.Helper()
	target := l.acked.Load() + n
	l.until(func() bool { return l.acked.Load() >= target })
}

// goOn waits until each writer has another write acknowledged, and returns how long that took.
func (l *load) goOn() time.Duration {
	l.t.Helper()
	began, before := time.Now(), l.writes()
	l.until(func() bool {
		for writer, n := range l.writes() {
			if n == before[writer] {
				return false
			}
		}
		return true
	})
	return time.Since(began)
}

// writes returns how many writes of each writer are acknowledged.
func (l *load) writes() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.each)
}

func (l *load) until(done func() bool) {
	l.t.Helper()
	for !done() && !l.t.Failed() {
		changed := l.ex.Changed()
		if done() {
			return
		}
		select {
		case <-changed:
		case <-time.After(2 * time.Minute):
			l.t.Fatalf("no event was stored for two minutes")
		}
	}
}

func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
}

// checkAll holds what clients read against what the writers were told.
func (l *load) checkAll(others ...evento.Executor) {
	l.t.Helper()
	all := allEvents(l.t, l.ex)
	for i, other := range others {
		if got := allEvents(l.t, other); !slices.EqualFunc(all, got, sameEvent) {
			l.t.Errorf("client %d has %d events, another has %d, or they differ", i+2, len(got), len(all))
		}
	}
	found := map[evento.ID]told{}
	last := time.Time{}
	for i, e := range all {
		if e.Position != uint64(i+1) {
			l.t.Fatalf("event %d is at position %d", i+1, e.Position)
		}
		if e.Timestamp.Before(last) {
			l.t.Errorf("the time falls at position %d", e.Position)
		}
		if _, twice := found[e.ID]; twice {
			l.t.Errorf("the event at position %d is there twice", e.Position)
		}
		last, found[e.ID] = e.Timestamp, told{e.AggregateID, e.Position, e.Version}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, want := range l.told {
		if got := found[id]; got != want {
			l.t.Errorf("an event is %+v, and its writer was told %+v", got, want)
		}
	}
	if len(found) != len(l.told)+l.others {
		l.t.Errorf("there are %d events, and the writers were told of %d", len(found), len(l.told)+l.others)
	}
	l.t.Logf("%d writes with %d events; %d outcomes were unknown at first; the slowest took %s", l.acked.Load(), len(all), l.lost.Load(), time.Duration(l.slow.Load()).Round(time.Millisecond))
}

func sameEvent(a, b evento.RawEvent) bool {
	return a.ID == b.ID && a.Position == b.Position && a.AggregateID == b.AggregateID && a.Version == b.Version && a.Timestamp.Equal(b.Timestamp) && string(a.Data) == string(b.Data)
}

func allEvents(t *testing.T, ex evento.Executor) []evento.RawEvent {
	t.Helper()
	var all []evento.RawEvent
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func openStore(t *testing.T, url, name, dir string) *jetstream.Executor {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ex, err := jetstream.Open(ctx, url, &jetstream.Options{Name: name, Dir: dir, CacheSize: 1 << 20, Logger: quiet()})
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return ex
}

// Nodes are killed while clients write, one or two at a time: nothing that was acknowledged is
// lost, moved or doubled, and all clients have the same. EVENTO_JETSTREAM_KILLS is how many.
func TestKilledNodes(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{})
	ex := openStore(t, cluster.URL(), "kills", filepath.Join(t.TempDir(), "index"))
	other := openStore(t, cluster.URL(), "kills", "")
	l := startLoad(t, ex, "writer", 8)
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	kills := many(t, "EVENTO_JETSTREAM_KILLS", 6)
	slowest := map[bool]time.Duration{}
	for done := 0; done < kills && !t.Failed(); {
		l.progress(1 + r.Int64N(100))
		victims := r.Perm(3)[:1+r.IntN(5)/4]
		one := len(victims) == 1 && r.IntN(2) == 0
		if one {
			whole(t, cluster, "kills")
		}
		for _, i := range victims {
			cluster.Nodes[i].Kill()
		}
		for _, i := range victims {
			cluster.Nodes[i].Start()
		}
		if one || r.IntN(2) == 0 { // else the next fault may come before all go on
			slowest[one] = max(slowest[one], l.goOn())
		}
		done += len(victims)
	}
	t.Logf("after a server of three was killed all writers went on within %s; after others, within %s", slowest[true], slowest[false])
	l.progress(10)
	l.end()
	l.checkAll(other, openStore(t, cluster.URL(), "kills", ""))
}

// A leader is halted for a while and goes on, in the belief that it still leads: what it
// answers then is not taken for the end of the log.
func TestHaltedNodes(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{})
	ex := openStore(t, cluster.URL(), "halts", filepath.Join(t.TempDir(), "index"))
	other := openStore(t, cluster.URL(), "halts", "")
	l := startLoad(t, ex, "writer", 4)
	for i := range many(t, "EVENTO_JETSTREAM_HALTS", 2) {
		l.progress(20)
		n := cluster.Nodes[i%3]
		n.Freeze()
		l.progress(200) // the others have elected another
		n.Thaw()
		before := l.acked.Load()
		head := headOf(t, ex)
		if got := headOf(t, other); got < head {
			t.Errorf("after %d writes: a client reads up to %d, when another had read up to %d", before, got, head)
		}
	}
	l.end()
	l.checkAll(other, openStore(t, cluster.URL(), "halts", ""))
}

func headOf(t *testing.T, ex evento.Executor) uint64 {
	t.Helper()
	last := uint64(0)
	page, err := ex.Read(t.Context(), evento.Query{}, backward)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Edges {
		last = e.Node.Position
	}
	return last
}
