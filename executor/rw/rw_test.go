package rw_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/rw"
)

const counter evento.AggregateType = "rw/Counter"

type added struct{ N int }

func (added) AggregateType() evento.AggregateType { return counter }
func (added) EventName() string                   { return "Added" }

type total struct{ N int }

var totals = evento.NewProjection[total]("total", counter).SafetyCheck().
	Handler(evento.Apply(func(v *total, e evento.Event[added]) error { v.N += e.Data.N; return nil }))

// spy counts the reads of a store, and can fail them.
type spy struct {
	evento.Executor
	reads  atomic.Int64
	closes atomic.Int64
	fail   error
}

func (s *spy) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	s.reads.Add(1)
	if s.fail != nil {
		return nil, s.fail
	}
	return s.Executor.Read(ctx, q, args)
}

func (s *spy) Close() error {
	s.closes.Add(1)
	if s.fail != nil {
		return s.fail
	}
	return s.Executor.Close()
}

func add(t *testing.T, ex evento.Executor, id string, n int) evento.Receipt {
	t.Helper()
	r, err := evento.Aggregate(id).AnyVersion().Event(added{N: n}).Commit(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func count(t *testing.T, ex evento.Executor) int {
	t.Helper()
	all, err := readAll(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// pair is a store with a replica that shows what it is told to.
func pair(t *testing.T) (*rw.Executor, *lagging, *spy) {
	t.Helper()
	store := newPrimary()
	write, read := &spy{Executor: store}, store.replica(0)
	ex := rw.New(read, write)
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	})
	return ex, read, write
}

// What this executor has not written is seen when the replica shows it, and
// costs the write side nothing.
func TestReadsGoToTheReadSide(t *testing.T) {
	t.Parallel()
	ex, read, write := pair(t)
	for i := range 5 {
		add(t, write.Executor, "one", i) // another process
	}
	for shown := range 6 {
		read.show(shown)
		if got := count(t, ex); got != shown {
			t.Errorf("got %d events, the replica shows %d", got, shown)
		}
		if got := write.reads.Load(); got != 1 {
			t.Errorf("got %d reads of the write side, want the one look at its identity", got)
		}
	}
}

// A read after a write waits for the replica.
func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex, read, write := pair(t)
		for n := 1; n <= 10; n++ {
			add(t, ex, "one", 1)
			go func() {
				time.Sleep(30 * time.Millisecond)
				read.show(n)
			}()
			before := time.Now()
			l, err := totals.Load(t.Context(), ex, "one")
			if err != nil {
				t.Fatal(err)
			}
			if l.State.N != n {
				t.Fatalf("after commit %d: got %d", n, l.State.N)
			}
			if d := time.Since(before); d != 30*time.Millisecond {
				t.Errorf("the load took %s, want it to end when the replica shows the commit", d)
			}
		}
		reads := write.reads.Load()
		if got := count(t, ex); got != 10 || write.reads.Load() != reads {
			t.Errorf("got %d events and %d reads of the write side, want 10 and none", got, write.reads.Load()-reads)
		}
	})
}

// Once the replica has shown a commit, a read is one read.
func TestSettled(t *testing.T) {
	t.Parallel()
	store := memory.New(nil)
	read, write := &spy{Executor: store}, &spy{Executor: store}
	ex := rw.New(read, write)
	add(t, ex, "one", 1)
	count(t, ex)
	reads, writes := read.reads.Load(), write.reads.Load()
	count(t, ex)
	if r, w := read.reads.Load()-reads, write.reads.Load()-writes; r != 1 || w != 0 {
		t.Errorf("reading again took %d reads of the read side and %d of the write side, want 1 and 0", r, w)
	}
}

// A replica that stands still is waited for once; then events are read from the
// write side, until it is back.
func TestStandstill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex, read, write := pair(t)
		add(t, ex, "one", 1)
		begin := time.Now()
		for n := 2; n <= 20; n++ {
			if got := count(t, ex); got != n-1 {
				t.Fatalf("got %d events, want %d", got, n-1)
			}
			add(t, write.Executor, "one", 1) // another process
		}
		if d := time.Since(begin); d != time.Second {
			t.Errorf("19 reads took %s, want a second in all", d)
		}
		if got := count(t, ex); got != 20 {
			t.Fatalf("got %d events, want 20", got)
		}
		read.show(19) // less than was read already
		if got := count(t, ex); got != 20 {
			t.Fatalf("got %d events, want the 20 that were read before", got)
		}
		read.show(20)
		count(t, ex) // settles that
		reads := write.reads.Load()
		if got := count(t, ex); got != 20 || write.reads.Load() != reads {
			t.Errorf("got %d events and %d reads of the write side, want 20 and none", got, write.reads.Load()-reads)
		}
		// Waiting is worth it again.
		add(t, ex, "one", 1)
		go func() {
			time.Sleep(time.Millisecond)
			read.show(21)
		}()
		reads = write.reads.Load()
		if got := count(t, ex); got != 21 || write.reads.Load() != reads+1 {
			t.Errorf("got %d events and %d reads of the write side, want 21 and one, of its end", got, write.reads.Load()-reads)
		}
	})
}

// A context that ends, ends the wait.
func TestWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex, _, _ := pair(t)
		add(t, ex, "one", 1)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if _, err := totals.Load(ctx, ex, "one"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 100*time.Millisecond {
			t.Errorf("Load with 100 ms left: got %v after %s", err, time.Since(begin))
		}
		// Who comes next has as much to wait for.
		if l, err := totals.Load(t.Context(), ex, "one"); err != nil || l.State.N != 1 {
			t.Errorf("Load after one that was cut short: got %+v, %v, want the commit", l, err)
		}
	})
}

// Update on a replica that is late decides again once for each conflict, also
// when the replica never catches up.
func TestUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex, read, write := pair(t)
		for range 3 {
			add(t, write.Executor, "one", 1)
		}
		read.show(2)
		var decided []uint64
		r, err := totals.Update(t.Context(), ex, "one", func(l *evento.Loaded[total]) ([]evento.Payload, error) {
			decided = append(decided, l.Version)
			return []evento.Payload{added{N: l.State.N}}, nil
		})
		if err != nil || r.Version != 4 || !slices.Equal(decided, []uint64{2, 3}) {
			t.Errorf("got %+v, %v after deciding at %v, want version 4 after 2 and 3", r, err, decided)
		}
		// Of an aggregate that the replica does not know of at all.
		add(t, write.Executor, "two", 5)
		decided = nil
		r, err = totals.Update(t.Context(), ex, "two", func(l *evento.Loaded[total]) ([]evento.Payload, error) {
			decided = append(decided, l.Version)
			return []evento.Payload{added{N: 1}}, nil
		}, evento.OrNew())
		if err != nil || r.Version != 2 || len(decided) > 2 {
			t.Errorf("got %+v, %v after deciding at %v", r, err, decided)
		}
	})
}

// Places that other processes stored on the write side may be ahead of the
// replica: they are no error, and nothing is handled twice or left out.
func TestPlacesAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex, read, write := pair(t)
		snapshots := evento.NewProjection[total]("snapshots", counter).SnapshotEvery(1).
			Handler(evento.Apply(func(v *total, e evento.Event[added]) error { v.N += e.Data.N; return nil }))
		var handled []int
		subscription := evento.NewSubscription("all").Handler(evento.Handle(func(_ context.Context, e evento.Event[added]) error {
			handled = append(handled, e.Data.N)
			return nil
		}))
		for i := range 4 {
			add(t, write.Executor, "one", i)
		}
		// In another process.
		if _, err := snapshots.Load(t.Context(), write.Executor, "one"); err != nil {
			t.Fatal(err)
		}
		if err := subscription.Execute(t.Context(), write.Executor); err != nil {
			t.Fatal(err)
		}
		add(t, write.Executor, "one", 4)

		read.show(1)
		if l, err := snapshots.Load(t.Context(), ex, "one"); err != nil || l.State.N != 10 || l.Version != 5 {
			t.Errorf("got %+v, %v, want 10 at version 5", l, err)
		}
		read.show(2)
		if err := subscription.Execute(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
		read.show(5)
		add(t, ex, "one", 5)
		read.show(6)
		if err := subscription.Execute(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
		if want := []int{0, 1, 2, 3, 4, 5}; !slices.Equal(handled, want) {
			t.Errorf("handled %v, want %v", handled, want)
		}
	})
}

// A running subscription on a replica is woken by it.
func TestSubscriptionWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex, read, write := pair(t)
		handled := make(chan int, 100)
		s, err := evento.NewSubscription("all").Handler(evento.Handle(func(_ context.Context, e evento.Event[added]) error {
			handled <- e.Data.N
			return nil
		})).Start(t.Context(), ex)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			add(t, write.Executor, "one", i)
			synctest.Wait() // its wake comes too early
			begin := time.Now()
			read.show(i + 1)
			if got := <-handled; got != i || time.Since(begin) != 0 {
				t.Fatalf("got %d after %s, want %d when the replica shows it", got, time.Since(begin), i)
			}
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A place that the write side does not have either is refused, at once.
func TestBeyondHead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex, read, write := pair(t)
		add(t, ex, "one", 1)
		read.show(1)
		other := memory.New(nil)
		add(t, other, "one", 1)
		foreign, err := readAll(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for _, tt := range []struct {
			at   cursor.Value
			want error
		}{
			{beyond(t, write), cursor.ErrBeyondHead},
			{foreign[0].Cursor, cursor.ErrForeign},
			{"nonsense", cursor.ErrMalformed},
		} {
			if p, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, tt.at)); !errors.Is(err, tt.want) {
				t.Errorf("reading from %q: got %v, %v, want the error %q", tt.at, p, err, tt.want)
			}
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("refusing took %s, want no wait", d)
		}
	})
}

// beyond is the place after a store's end.
func beyond(t *testing.T, ex evento.Executor) cursor.Value {
	t.Helper()
	all, err := readAll(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	b, err := base64.RawURLEncoding.DecodeString(string(all[0].Cursor))
	if err != nil {
		t.Fatal(err)
	}
	return cursor.NewPositions([16]byte(b[2:18])).Value(uint64(len(all) + 1))
}

// Two stores are told apart, whichever has events, and as soon as one has.
func TestDifferentStores(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ read, write int }{{0, 1}, {1, 0}, {1, 1}, {3, 1}, {1, 3}} {
		read, write := memory.New(nil), memory.New(nil)
		ex := rw.New(read, write)
		if got := count(t, ex); got != 0 {
			t.Errorf("got %d events of empty stores", got)
		}
		for range tt.read {
			add(t, read, "one", 1)
		}
		for range tt.write {
			add(t, write, "one", 1)
		}
		for _, args := range []cursor.Args{cursor.Forward(5, ""), cursor.Backward(5, "")} {
			if p, err := ex.Read(t.Context(), evento.Query{}, args); !errors.Is(err, cursor.ErrForeign) {
				t.Errorf("%+v: got %v, %v, want the error %q", tt, p, err, cursor.ErrForeign)
			}
		}
	}
}

// A read side with more than the write side is no replica of it, unless that
// passes: a replica may show a commit a moment before its primary does.
func TestReadSideAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for late, want := range map[time.Duration]error{30 * time.Millisecond: nil, time.Minute: cursor.ErrBeyondHead} {
			store := newPrimary()
			write := store.replica(0)
			add(t, store, "one", 1)
			shown := time.AfterFunc(late, func() { write.show(1) })
			p, err := rw.New(store, write).Read(t.Context(), evento.Query{}, cursor.Forward(1, ""))
			if !errors.Is(err, want) || want == nil && len(p.Edges) != 1 {
				t.Errorf("%s ahead: got %+v, %v, want the error %v", late, p, err, want)
			}
			shown.Stop()
		}
	})
}

// The sides may be groups: a place is then one in each member.
func TestOfGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, two := newPrimary(), newPrimary()
		first, second := one.replica(0), two.replica(0)
		ex := rw.New(group.New(first, second), group.New(one, two))
		add(t, two, "there", 1)
		second.show(1)
		for n := 1; n <= 5; n++ {
			add(t, ex, "here", 1)
			add(t, two, "there", 1) // before the end that is waited for, or not
			go func() {
				time.Sleep(10 * time.Millisecond)
				first.show(n)
				second.show(n + 1)
			}()
			if l, err := totals.Load(t.Context(), ex, "here"); err != nil || l.State.N != n {
				t.Fatalf("after commit %d: got %+v, %v", n, l, err)
			}
		}
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	})
}

// An error of the write side is the read's, and one that says that the call is wrong.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	failure := errors.New("the network is down")
	store := memory.New(nil)
	add(t, store, "one", 1)
	bad, good := &spy{Executor: store, fail: failure}, &spy{Executor: store}
	for _, ex := range []*rw.Executor{rw.New(bad, bad), rw.New(good, bad), rw.New(bad, &spy{Executor: store, fail: failure})} {
		if p, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, "")); !errors.Is(err, failure) {
			t.Errorf("got %v, %v, want the error %q", p, err, failure)
		}
	}
	for fail, want := range map[error]error{cursor.ErrMalformed: cursor.ErrInvalid, cursor.ErrForeign: cursor.ErrForeign, evento.ErrDamaged: evento.ErrDamaged} {
		ex := rw.New(&spy{Executor: store, fail: fmt.Errorf("%w: for a test", fail)}, good)
		if p, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, "")); !errors.Is(err, want) {
			t.Errorf("got %v, %v, want the error %q", p, err, want)
		}
	}
}

// While the replica fails, events are read from the write side; it is tried again every
// second, and serves when it is back and shows what was read meanwhile.
func TestReplicaGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newPrimary()
		shown := store.replica(0)
		read, write := &spy{Executor: shown}, &spy{Executor: store}
		ex := rw.New(read, write)
		defer func() { _ = ex.Close() }()
		add(t, ex, "one", 1)
		shown.show(1)
		want := 1
		check := func(when string, reads, writes int64) {
			t.Helper()
			read.reads.Store(0)
			write.reads.Store(0)
			if got := count(t, ex); got != want {
				t.Errorf("%s: got %d events, want %d", when, got, want)
			}
			if r, w := read.reads.Load(), write.reads.Load(); r > reads || w > writes || reads > 0 && r == 0 || writes > 0 && w == 0 {
				t.Errorf("%s: %d reads of the replica and %d of the write side, want up to %d and %d, and none where it is 0", when, r, w, reads, writes)
			}
		}
		check("before", 3, 2)
		check("before, again", 1, 0)
		read.fail = errors.New("the replica is gone")
		check("when it goes", 1, 1)
		for range 3 {
			add(t, ex, "one", 1)
			want++
			check("when it is gone", 0, 1)
		}
		time.Sleep(time.Second)
		check("a second later", 1, 2)
		read.fail = nil
		check("when it is back, at first", 0, 1)
		shown.show(want)
		time.Sleep(time.Second)
		check("when it is back", 2, 1)
		check("when it is back, again", 1, 0)
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	one, two := &spy{Executor: memory.New(nil)}, &spy{Executor: memory.New(nil)}
	for _, ex := range []*rw.Executor{rw.New(one, two), rw.New(one, one)} {
		one.closes.Store(0)
		c := ex.Changed()
		for range 2 {
			if err := ex.Close(); err != nil {
				t.Error(err)
			}
		}
		<-c
		<-ex.Changed()
		if got := one.closes.Load(); got != 1 {
			t.Errorf("closed a side %d times, want once", got)
		}
	}
	if got := two.closes.Load(); got != 1 {
		t.Errorf("closed the write side %d times, want once", got)
	}
}

// Errors of closing say which side failed, and evento: once, at the front. A side is
// closed if the other is nil, too.
func TestCloseErrors(t *testing.T) {
	t.Parallel()
	failure := errors.New("evento: sqlite: the disk is broken")
	one, two := &spy{Executor: memory.New(nil), fail: failure}, &spy{Executor: memory.New(nil), fail: failure}
	const want = "evento: rw: read side: sqlite: the disk is broken\nwrite side: sqlite: the disk is broken"
	if err := rw.New(one, two).Close(); !errors.Is(err, failure) || err.Error() != want {
		t.Errorf("Close = %v, want %s", err, want)
	}
	for _, ex := range []*rw.Executor{rw.New(one, nil), rw.New(nil, two)} {
		if err := ex.Close(); !errors.Is(err, failure) {
			t.Errorf("Close with a nil side = %v, want %v", err, failure)
		}
	}
	if a, b := one.closes.Load(), two.closes.Load(); a != 2 || b != 2 {
		t.Errorf("the sides were closed %d and %d times, want 2 and 2", a, b)
	}
}

func swapAt(revision uint64) evento.Swap {
	return evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "kind", Key: "key"}, Revision: revision}}}
}

// Records are the write side's, and a swap there is seen at once: a replica is
// never waited for.
func TestRecords(t *testing.T) {
	t.Parallel()
	ex, _, write := pair(t)
	add(t, ex, "one", 1) // which the replica does not show
	for i := range uint64(3) {
		if err := ex.Swap(t.Context(), swapAt(i)); err != nil {
			t.Fatal(err)
		}
		for name, side := range map[string]evento.Executor{"rw": ex, "the write side": write} {
			p, err := side.Records(t.Context(), evento.RecordQuery{Kind: "kind"})
			if err != nil || len(p.Records) != 1 || p.Records[0].Revision != i+1 {
				t.Errorf("Records of %s after %d swaps: got %+v, %v", name, i+1, p, err)
			}
		}
		if err := ex.Swap(t.Context(), swapAt(i)); !errors.Is(err, evento.ErrSwapped) {
			t.Errorf("Swap at an old revision: got %v, want %q", err, evento.ErrSwapped)
		}
	}
}

func TestNilSide(t *testing.T) {
	t.Parallel()
	for _, ex := range []*rw.Executor{rw.New(nil, nil), rw.New(memory.New(nil), nil), rw.New(nil, memory.New(nil))} {
		if _, err := totals.Load(t.Context(), ex, "one"); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Load: got %v, want %q", err, evento.ErrInvalid)
		}
		if _, err := evento.Create().Event(added{}).Commit(t.Context(), ex); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Commit: got %v, want %q", err, evento.ErrInvalid)
		}
		if v, err := ex.CursorAt(0); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("CursorAt: got %q, %v, want %q", v, err, evento.ErrInvalid)
		}
		if v, err := ex.Earlier("", ""); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Earlier: got %q, %v, want %q", v, err, evento.ErrInvalid)
		}
		if p, err := ex.Snapshots(t.Context(), evento.SnapshotQuery{}); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Snapshots: got %v, %v, want %q", p, err, evento.ErrInvalid)
		}
		if err := ex.RemoveSnapshots(t.Context(), nil); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("RemoveSnapshots: got %v, want %q", err, evento.ErrInvalid)
		}
		if p, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind"}); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Records: got %v, %v, want %q", p, err, evento.ErrInvalid)
		}
		if err := ex.Swap(t.Context(), swapAt(0)); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Swap: got %v, want %q", err, evento.ErrInvalid)
		}
		if err := ex.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		<-ex.Changed()
	}
}

// Here both sides are one store in memory; they would be a replica and its
// primary.
func ExampleNew() {
	ctx := context.Background()
	primary := memory.New(nil)
	replica := primary

	ex := rw.New(replica, primary)
	r, err := evento.Create().Event(added{N: 3}).Commit(ctx, ex) // to the primary
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := totals.Load(ctx, ex, r.AggregateID) // from the replica
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(l.State.N)
	if err := ex.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: 3
}
