package routed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

// watched is a store whose calls are counted, and before or after which something happens.
type watched struct {
	evento.Executor
	reads       atomic.Int64
	beforeWrite func() // once
	writeError  error  // of the next write, though it is stored
}

func (w *watched) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	w.reads.Add(1)
	return w.Executor.Read(ctx, q, args)
}

func (w *watched) Write(ctx context.Context, wr evento.Write) ([]evento.Receipt, error) {
	if do := w.beforeWrite; do != nil {
		w.beforeWrite = nil
		do()
	}
	receipts, err := w.Executor.Write(ctx, wr)
	if failed := w.writeError; failed != nil {
		w.writeError = nil
		return nil, failed
	}
	return receipts, err
}

func TestWrite(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memory.New(nil)
	left := tenant(t, store, "left")
	must(t, write(ctx, left, to("a", 0, 2), with("left", to("b", 0, 1)), toAny("c", 1)))
	must(t, write(ctx, left, to("a", 2, 1), toAny("b", 1), with("left", to("c", 1, 1))))
	all := []string{"a 1 left", "a 2 left", "b 1 left", "c 1 left", "a 3 left", "b 2 left", "c 2 left"}
	wantTexts(t, "the store", events(ctx, t, store, evento.Query{}), all...)
	err := write(ctx, left, to("a", 3, 1), with("right", to("d", 0, 1)))
	if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), `"left"`) || !strings.Contains(err.Error(), `"right"`) {
		t.Errorf("Write to another routing key: got %v, want ErrInvalid that names both", err)
	}
	var over *evento.ConflictError
	for _, a := range []evento.Append{to("a", 0, 1), to("a", 2, 1), to("a", 4, 1)} {
		want := evento.ConflictError{AggregateType: note, AggregateID: "a", Expected: a.Expected, Actual: 3}
		if err := write(ctx, left, toAny("e", 1), a); !errors.As(err, &over) || *over != want {
			t.Errorf("Write at %d: got %v, want %v", a.Expected, err, &want)
		}
	}
	want := evento.ConflictError{AggregateType: note, AggregateID: "none", Expected: 2}
	if err := write(ctx, left, to("none", 2, 1)); !errors.As(err, &over) || *over != want {
		t.Errorf("Write to what does not exist: got %v, want %v", err, &want)
	}
	wantTexts(t, "the store after writes that were refused", events(ctx, t, store, evento.Query{}), all...)
}

// No write comes to an aggregate of another tenant or none, whatever it expects, and whether
// the aggregate is known already.
func TestOthersAggregates(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, key := range []string{"secret", "", "Left", "left "} {
		store := memory.New(nil)
		left := tenant(t, store, "left")
		must(t, write(ctx, store, with(key, to("theirs", 0, 3))))
		before := events(ctx, t, store, evento.Query{})
		for range 2 {
			for _, a := range []evento.Append{to("theirs", 0, 1), to("theirs", 3, 1), to("theirs", 2, 1), to("theirs", 9, 1), toAny("theirs", 1)} {
				for _, retry := range []bool{false, true} {
					for _, appends := range [][]evento.Append{{a}, {to("mine", 0, 1), a, toAny("mine too", 1)}} {
						_, err := left.Write(ctx, evento.Write{Appends: appends, Retry: retry})
						wantOthers(t, err, `"theirs"`, fmt.Sprintf("Write at %d, any %t, retry %t, to an aggregate of routing key %q", a.Expected, a.AnyVersion, retry, key))
					}
				}
			}
		}
		wantTexts(t, "the store", events(ctx, t, store, evento.Query{}), before...)
		_, err := count().Load(ctx, left, "theirs")
		wantError(t, err, evento.ErrNotFound, "Load")
	}
}

// Somebody creates the aggregate right after the tenant has looked.
func TestCreatedMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, tt := range []struct {
		append evento.Append
		by     string
		want   uint64 // version; 0: it is refused
	}{
		{toAny("a", 1), "secret", 0},
		{toAny("a", 1), "", 0},
		{toAny("a", 1), "left", 4},
		{to("a", 3, 1), "secret", 0}, // which fits
		{to("a", 3, 1), "", 0},
		{to("a", 3, 1), "left", 4},
		{to("a", 0, 1), "secret", 0},
	} {
		store := &watched{Executor: memory.New(nil)}
		left := tenant(t, store, "left")
		must(t, write(ctx, left, to("other", 0, 1)))
		store.beforeWrite = func() { must(t, write(ctx, store.Executor, with(tt.by, to("a", 0, 3)))) }
		receipts, err := left.Write(ctx, evento.Write{Appends: []evento.Append{to("other", 1, 1), tt.append}})
		what := fmt.Sprintf("Write at %d, any %t, to what routing key %q has made meanwhile", tt.append.Expected, tt.append.AnyVersion, tt.by)
		if tt.want == 0 {
			wantOthers(t, err, `"a"`, what)
		} else if err != nil || receipts[1].Version != tt.want {
			t.Errorf("%s: got %+v, %v, want version %d", what, receipts, err, tt.want)
		}
		if n := len(events(ctx, t, store, ofNote("a"))); n != max(3, int(tt.want)) {
			t.Errorf("%s: %d events, want %d", what, n, max(3, int(tt.want)))
		}
	}
	// Of its own tenant, with a version that does not fit then either.
	store := &watched{Executor: memory.New(nil)}
	store.beforeWrite = func() { must(t, write(ctx, store.Executor, with("left", to("a", 0, 3)))) }
	var over *evento.ConflictError
	want := evento.ConflictError{AggregateType: note, AggregateID: "a", Expected: 2, Actual: 3}
	if err := write(ctx, tenant(t, store, "left"), to("a", 2, 1)); !errors.As(err, &over) || *over != want {
		t.Errorf("Write: got %v, want %v", err, &want)
	}
}

// hiding is a store whose transactions are not shown what they conflict with.
type hiding struct{ evento.Executor }

func (hiding) Write(context.Context, evento.Write) ([]evento.Receipt, error) {
	return nil, &evento.ConflictError{AggregateType: note, AggregateID: "a", Actual: 1}
}

// Then the conflict is the caller's, and is not met again and again.
func TestConflictThatIsNotShown(t *testing.T) {
	t.Parallel()
	left := tenant(t, hiding{memory.New(nil)}, "left")
	err := write(evento.TxContext(t.Context()), left, toAny("a", 1))
	wantError(t, err, evento.ErrConflict, "Write in a transaction")
}

// Of many tenants that write to one new id at once, the first has it.
func TestCreatedTogether(t *testing.T) {
	t.Parallel()
	const tenants, ids, each = 4, 25, 3
	ctx, store := t.Context(), memory.New(nil)
	var wg sync.WaitGroup
	var stored atomic.Int64
	for i := range tenants {
		key := fmt.Sprint("tenant ", i)
		for range 2 { // two executors of one tenant do not hinder each other
			ex := tenant(t, store, key)
			wg.Go(func() {
				for n := range ids * each {
					id := fmt.Sprint("id ", n/each)
					if err := write(ctx, ex, toAny(id, 1)); err == nil {
						stored.Add(1)
					} else {
						wantOthers(t, err, id, "Write to what another tenant has made")
					}
				}
			})
		}
	}
	wg.Wait()
	owners := map[string]string{}
	n := int64(0)
	for e, err := range evento.Events(ctx, store, evento.Query{}) {
		must(t, err)
		n++
		if owner, known := owners[e.AggregateID]; known && owner != e.RoutingKey || e.RoutingKey == "" {
			t.Errorf("%s has events of %q and %q", e.AggregateID, owner, e.RoutingKey)
		}
		owners[e.AggregateID] = e.RoutingKey
	}
	if len(owners) != ids || n != stored.Load() || n != 2*ids*each {
		t.Errorf("%d events of %d aggregates are stored, and %d writes have succeeded; want %d of %d", n, len(owners), stored.Load(), 2*ids*each, ids)
	}
}

// A write that may be stored already is found, though the aggregate exists since.
func TestRetry(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, before := range []int{0, 2} {
		for _, after := range []bool{false, true} {
			store := &watched{Executor: memory.New(nil)}
			left := tenant(t, store, "left")
			if before > 0 {
				must(t, write(ctx, left, to("a", 0, before)))
			}
			w := evento.Write{Appends: []evento.Append{toAny("a", 2), to("b", 0, 1), toAny("c", 1)}}
			store.writeError = evento.ErrOutcomeUnknown
			_, err := left.Write(ctx, w)
			wantError(t, err, evento.ErrOutcomeUnknown, "the first attempt")
			if after {
				must(t, write(ctx, left, toAny("a", 1), toAny("c", 3)))
			}
			stored := events(ctx, t, store, evento.Query{})
			w.Retry = true
			for range 2 {
				want := []evento.Receipt{
					{AggregateID: "a", Version: uint64(before + 2), Position: uint64(before + 2)},
					{AggregateID: "b", Version: 1, Position: uint64(before + 3)},
					{AggregateID: "c", Version: 1, Position: uint64(before + 4)},
				}
				if receipts, err := left.Write(ctx, w); err != nil || !slices.Equal(receipts, want) {
					t.Errorf("the second attempt: got %+v, %v, want %+v", receipts, err, want)
				}
			}
			wantTexts(t, "the store after the second attempt", events(ctx, t, store, evento.Query{}), stored...)
		}
	}
}

// What is known of an aggregate costs no read, and what is not known one for the whole write.
func TestReadsOfWrites(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), &watched{Executor: memory.New(nil)}
	left := tenant(t, store, "left")
	reads := func(what string, want int64, do func() error) {
		t.Helper()
		before := store.reads.Load()
		must(t, do())
		if n := store.reads.Load() - before; n != want {
			t.Errorf("%s: %d reads, want %d", what, n, want)
		}
	}
	writing := func(appends ...evento.Append) func() error {
		return func() error { return write(ctx, left, appends...) }
	}
	must(t, write(ctx, store.Executor, with("left", to("long", 0, 50)), with("left", to("a", 0, 1)), with("left", to("b", 0, 1)), with("left", to("c", 0, 1))))
	reads("new ones", 0, writing(to("new", 0, 1), to("new 2", 0, 1)))
	reads("one that is not known", 1, writing(to("a", 1, 1)))
	reads("one that is known", 0, writing(to("a", 2, 1)))
	reads("one that is known, at any version", 0, writing(toAny("a", 1)))
	reads("any version of five that do not exist, and of two", 1, writing(toAny("d", 1), toAny("e", 1), toAny("f", 1), toAny("g", 1), toAny("h", 1), toAny("a", 1), toAny("b", 1)))
	reads("a load, and what it is for", 1, func() error {
		l, err := count().Load(ctx, left, "c")
		if err != nil {
			return err
		}
		return write(ctx, left, to("c", l.Version, 1))
	})
	// One with many events, which fill a page, does not hide others.
	reads("several, of which one is long", 2, writing(toAny("long", 1), toAny("i", 1), to("new", 1, 1), to("new 2", 1, 1)))
	all := events(ctx, t, left, evento.Query{})
	wantTexts(t, "the last events", all[len(all)-4:], "long 51 ", "i 1 ", "new 2 ", "new 2 2 ")
}

// What is known is bounded.
func TestForgets(t *testing.T) {
	t.Parallel()
	const many = 3 * evento.MaxFilters
	ctx, store := t.Context(), &watched{Executor: memory.New(nil)}
	left := tenant(t, store, "left")
	must(t, write(ctx, left, to("first", 0, 1)))
	must(t, write(ctx, left, to("first", 1, 1)))
	appends := make([]evento.Append, many)
	for i := range appends {
		appends[i] = toAny(fmt.Sprint(i), 1)
	}
	must(t, write(ctx, left, appends...)) // more than a query can ask for
	must(t, write(ctx, left, appends...))
	before := store.reads.Load()
	must(t, write(ctx, left, to("first", 2, 1)))
	if n := store.reads.Load() - before; n != 1 {
		t.Errorf("%d reads for an aggregate that was known long ago, want 1", n)
	}
}

// The records that a write changes are the tenant's.
func TestWriteWithSwap(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), memory.New(nil)
	left, right := tenant(t, store, "left"), tenant(t, store, "right")
	s := swapOf("swapped")
	for _, ex := range []evento.Executor{left, right, store} {
		_, err := ex.Write(ctx, evento.Write{Appends: []evento.Append{toAny(fmt.Sprintf("of %p", ex), 1)}, Swap: &s})
		must(t, err)
		_, err = ex.Write(ctx, evento.Write{Appends: []evento.Append{toAny(fmt.Sprintf("of %p", ex), 1)}, Swap: &s})
		wantError(t, err, evento.ErrSwapped, "Write with a record that exists")
		wantTexts(t, "the records", keysOf(ctx, t, ex), "kind key swapped")
	}
	if s.Changes[0].Kind != "kind" {
		t.Errorf("the caller's swap was changed: %+v", s)
	}
}
