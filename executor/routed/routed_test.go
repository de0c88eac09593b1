package routed_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/routed"
)

const note evento.AggregateType = "test/Note"

type noted struct{ N int }

func (noted) AggregateType() evento.AggregateType { return note }
func (noted) EventName() string                   { return "Noted" }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks that an error matches want.
func wantError(t testing.TB, err, want error, what string, args ...any) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got the error %v, want %q", fmt.Sprintf(what, args...), err, want)
	}
}

// wantOthers checks that an error is that of a write to an aggregate of another tenant, of
// which nothing else is said.
func wantOthers(t testing.TB, err error, id, what string) {
	t.Helper()
	if !errors.Is(err, evento.ErrInvalid) || errors.Is(err, evento.ErrConflict) || !strings.Contains(err.Error(), id) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%s: got the error %v, want ErrInvalid that names %q", what, err, id)
	}
}

// to appends n events to a note.
func to(id string, expected uint64, n int) evento.Append {
	a := evento.Append{AggregateType: note, AggregateID: id, Expected: expected}
	for range n {
		a.Events = append(a.Events, evento.NewEvent{ID: evento.NewID(), Name: "Noted", Codec: "json", Data: []byte("{}")})
	}
	return a
}

func toAny(id string, n int) evento.Append {
	a := to(id, 0, n)
	a.AnyVersion = true
	return a
}

func with(key string, a evento.Append) evento.Append {
	a.RoutingKey = key
	return a
}

func write(ctx context.Context, ex evento.Executor, appends ...evento.Append) error {
	_, err := ex.Write(ctx, evento.Write{Appends: appends})
	return err
}

// events is what a query reads, as texts.
func events(ctx context.Context, t testing.TB, ex evento.Executor, q evento.Query) []string {
	t.Helper()
	var all []string
	for e, err := range evento.Events(ctx, ex, q) {
		must(t, err)
		all = append(all, fmt.Sprintf("%s %d %s", e.AggregateID, e.Version, e.RoutingKey))
	}
	return all
}

func wantTexts(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func ofNote(id string) evento.Query {
	return evento.Query{Filters: []evento.Filter{evento.ByID(note, id)}}
}

func TestNew(t *testing.T) {
	t.Parallel()
	store := memory.New(nil)
	for _, tt := range []struct {
		ex   evento.Executor
		key  string
		text string
	}{
		{nil, "acme", `"acme"`},
		{store, "", "empty"},
		{store, "a\nb", `a\nb`},
		{store, "\xff", `\xff`},
		{store, strings.Repeat("x", evento.MaxName+1), "256 bytes"},
		{tenant(t, store, "first"), "acme", `"first"`},
	} {
		ex, err := routed.New(tt.ex, tt.key)
		if ex != nil || !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("New(%T, %.20q) = %v, %v, want ErrInvalid and %s", tt.ex, tt.key, ex, err, tt.text)
		}
	}
	if key := tenant(t, store, "acme").RoutingKey(); key != "acme" {
		t.Errorf("RoutingKey() = %q", key)
	}
}

// shared is a store with events of the tenants left and right, and of none, by turns.
func shared(t testing.TB) evento.Executor {
	t.Helper()
	store := memory.New(nil)
	for range 3 {
		must(t, write(t.Context(), store, with("left", toAny("l", 1)), with("right", toAny("r", 1)), toAny("n", 1)))
	}
	return store
}

func TestRead(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), shared(t)
	left := tenant(t, store, "left")
	own := []string{"l 1 ", "l 2 ", "l 3 "}
	for name, q := range map[string]evento.Query{
		"everything": {}, "unrouted": {Unrouted: true}, "by type": {Filters: []evento.Filter{evento.ByType(note)}}, "by id": ofNote("l"),
	} {
		wantTexts(t, name, events(ctx, t, left, q), own...)
	}
	last, err := store.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
	must(t, err)
	head := last.PageInfo.EndCursor
	for _, q := range []evento.Query{{RoutingKey: "right"}, {RoutingKey: "nowhere", Filters: ofNote("l").Filters}, ofNote("r"), ofNote("n")} {
		page, err := left.Read(ctx, q, cursor.Forward(5, ""))
		must(t, err)
		if len(page.Edges) > 0 || page.PageInfo.EndCursor != head || page.PageInfo.HasNextPage || page.PageInfo.HasPreviousPage {
			t.Errorf("Read(%+v): got %d events, %+v, want none, and the end of the store %q", q, len(page.Edges), page.PageInfo, head)
		}
	}
	for _, q := range []evento.Query{{RoutingKey: "left"}, {RoutingKey: "left", Unrouted: true}, {RoutingKey: "a\nb"}} {
		_, err := left.Read(ctx, q, cursor.Forward(5, ""))
		wantError(t, err, evento.ErrInvalid, "Read(%+v)", q)
	}

	// Places are those of the store.
	page, err := left.Read(ctx, evento.Query{}, cursor.Onward(1, ""))
	must(t, err)
	if e := page.Edges[0]; e.Node.Position != 1 || !page.PageInfo.HasNextPage {
		t.Errorf("the first event: got %+v, %+v", e.Node, page.PageInfo)
	}
	page, err = store.Read(ctx, evento.Query{}, cursor.Onward(1, page.Edges[0].Cursor))
	must(t, err)
	if page.Edges[0].Node.AggregateID != "r" {
		t.Errorf("the store's next event is of %q, want r", page.Edges[0].Node.AggregateID)
	}
}

// conditions are judged by the events of the routing key alone.
func TestConditions(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), shared(t)
	left := tenant(t, store, "left")
	last, err := left.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
	must(t, err)
	end := last.PageInfo.EndCursor
	unless := func(q evento.Query, after cursor.Value) error {
		w := evento.Write{Appends: []evento.Append{toAny("l", 1)}, Unless: []evento.Condition{{Query: evento.Query{}, After: end}, {Query: q, After: after}}}
		_, err := left.Write(ctx, w)
		if err == nil {
			page, err := left.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
			must(t, err)
			end = page.PageInfo.EndCursor
		}
		if w.Unless[1].Query.RoutingKey != q.RoutingKey || w.Appends[0].RoutingKey != "" {
			t.Errorf("the caller's write was changed: %+v", w)
		}
		return err
	}
	for _, q := range []evento.Query{ofNote("r"), ofNote("n"), {RoutingKey: "right"}, {RoutingKey: "nowhere"}} {
		if err := unless(q, ""); err != nil {
			t.Errorf("Write unless %+v: %v", q, err)
		}
	}
	for _, q := range []evento.Query{ofNote("l"), {}, {Unrouted: true}} {
		var over *evento.ConflictError
		if err := unless(q, ""); !errors.As(err, &over) || *over != (evento.ConflictError{Condition: 2, Position: 1}) {
			t.Errorf("Write unless %+v: got %v, want the conflict of condition 2 at position 1", q, err)
		}
	}
	wantError(t, unless(evento.Query{RoutingKey: "left"}, ""), evento.ErrInvalid, "Write unless there are events of the own key")
	wantError(t, unless(evento.Query{RoutingKey: "right"}, "malformed"), cursor.ErrInvalid, "Write unless there are events behind no place")
}

// A decision is not disturbed by what others commit meanwhile, but by what its tenant does.
func TestDecide(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), shared(t)
	left, right := tenant(t, store, "left"), tenant(t, store, "right")
	for _, tt := range []struct {
		name string
		by   evento.Executor
		runs int
	}{{"another tenant", right, 1}, {"none", store, 1}, {"the tenant itself", tenant(t, store, "left"), 2}} {
		runs := 0
		_, err := evento.Decide(ctx, left, func(ctx context.Context, d evento.Executor) error {
			runs++
			var before []string
			for e, err := range evento.Events(ctx, d, evento.Query{Filters: []evento.Filter{evento.ByType(note)}}) {
				if err != nil {
					return err
				}
				before = append(before, e.AggregateID)
			}
			if runs == 1 {
				must(t, write(ctx, tt.by, to("meanwhile by "+tt.name, 0, 1)))
			}
			_, err := evento.Aggregate(fmt.Sprint("decided besides ", len(before))).Event(noted{}).Commit(ctx, d)
			return err
		})
		if err != nil || runs != tt.runs {
			t.Errorf("Decide while there is a commit of %s: %d runs, %v, want %d", tt.name, runs, err, tt.runs)
		}
	}
	wantTexts(t, "decided", events(ctx, t, store, evento.Query{RoutingKey: "left"})[3:],
		"decided besides 3 1 left", "decided besides 4 1 left", "meanwhile by the tenant itself 1 left", "decided besides 6 1 left")
	// An id that another tenant uses is no conflict, after which it would be decided again.
	runs := 0
	_, err := evento.Decide(ctx, left, func(ctx context.Context, d evento.Executor) error {
		runs++
		if has, err := evento.HasEvent[noted](ctx, d, "r"); err != nil || has {
			return fmt.Errorf("HasEvent: %t, %w", has, err)
		}
		_, err := evento.Aggregate("r").Event(noted{}).Commit(ctx, d)
		return err
	})
	wantOthers(t, err, `"r"`, "Decide to create what another tenant has")
	if runs != 1 {
		t.Errorf("Decide to create what another tenant has: %d runs, want 1", runs)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), shared(t)
	left, right := tenant(t, store, "left"), tenant(t, store, "right")
	following := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		n := 0
		for _, err := range evento.Follow(ctx, left, evento.Query{}, "") {
			if err != nil {
				ended <- err
				return
			}
			if n++; n == 3 {
				close(following)
			}
		}
	}()
	<-following
	changed := left.Changed()
	must(t, left.Close())
	must(t, left.Close())
	for _, woken := range []<-chan struct{}{changed, left.Changed()} {
		select {
		case <-woken:
		case <-ctx.Done():
			t.Error("Changed does not wake when the tenant is closed")
		}
	}
	wantError(t, <-ended, evento.ErrClosed, "Follow of a tenant that is closed")
	wantError(t, write(ctx, left, toAny("l", 1)), evento.ErrClosed, "Write after Close")
	must(t, write(ctx, right, toAny("r", 1)))
	must(t, write(ctx, store, toAny("n", 1)))
	must(t, store.Close())
	wantError(t, write(ctx, right, toAny("r", 1)), evento.ErrClosed, "Write after Close of the store")
	select {
	case <-right.Changed():
	case <-ctx.Done():
		t.Error("Changed does not wake when the store is closed")
	}
}

// In a transaction of the store, by its own InTx or the tenant's.
func TestInTx(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), openSQLite(t, filepath.Join(t.TempDir(), "events.db"))
	defer func() { must(t, store.Close()) }()
	left, right := tenant(t, store, "left"), tenant(t, store, "right")
	must(t, write(ctx, right, to("r", 0, 3)))
	failure := errors.New("failure")
	for name, tx := range map[string]evento.Transactor{"store": store, "tenant": left} {
		id := "new by " + name
		err := tx.InTx(ctx, func(ctx context.Context) error {
			must(t, write(ctx, left, toAny(id, 1)))
			wantTexts(t, "in the transaction", events(ctx, t, left, ofNote(id)), id+" 1 ")
			must(t, write(ctx, left, to(id, 1, 1)))
			must(t, write(ctx, left, toAny(id, 1)))
			for _, a := range []evento.Append{to("r", 0, 1), to("r", 3, 1), toAny("r", 1)} {
				wantOthers(t, write(ctx, left, a), `"r"`, fmt.Sprintf("Write at %d in a transaction", a.Expected))
			}
			var over *evento.ConflictError
			want := evento.ConflictError{AggregateType: note, AggregateID: "none", Expected: 3}
			if err := write(ctx, left, to("none", 3, 1)); !errors.As(err, &over) || *over != want {
				t.Errorf("Write to what does not exist in a transaction: got %v, want %v", err, &want)
			}
			return failure
		})
		if err != failure { //nolint:errorlint // as it is
			t.Fatalf("InTx of the %s: %v", name, err)
		}
		// What was rolled back is not known to be the tenant's.
		must(t, write(ctx, right, to(id, 0, 1)))
		wantOthers(t, write(ctx, left, to(id, 1, 1)), id, "Write to what another tenant has made since")
	}
	must(t, left.InTx(ctx, func(ctx context.Context) error {
		must(t, write(ctx, left, toAny("kept", 1)))
		return write(ctx, left, toAny("kept", 1))
	}))
	wantTexts(t, "after the transaction", events(ctx, t, store, evento.Query{RoutingKey: "left"}), "kept 1 left", "kept 2 left")
}

// Close waits for a transaction, whose calls go on.
func TestCloseInTx(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), openSQLite(t, filepath.Join(t.TempDir(), "events.db"))
	defer func() { must(t, store.Close()) }()
	left := tenant(t, store, "left")
	closed := make(chan error, 1)
	must(t, left.InTx(ctx, func(ctx context.Context) error {
		go func() { closed <- left.Close() }()
		for {
			if _, err := left.CursorAt(1); err != nil { // Close has begun
				break
			}
		}
		for range 1000 {
			select {
			case err := <-closed:
				t.Fatalf("Close has ended before the transaction: %v", err)
			default:
				runtime.Gosched()
			}
		}
		return write(ctx, left, to("l", 0, 1))
	}))
	must(t, <-closed)
	wantTexts(t, "after Close", events(ctx, t, store, evento.Query{}), "l 1 left")
}

// transactor is a Transactor whose transactions end in an error.
type transactor struct {
	evento.Executor
	err error
}

func (x transactor) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := fn(evento.TxContext(ctx)); err != nil {
		return err
	}
	return x.err
}

// A conflict at the end of a transaction is explained.
func TestInTxLateConflict(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), shared(t)
	nothing := func(context.Context) error { return nil }
	conflict := func(id string) error {
		return &evento.ConflictError{AggregateType: note, AggregateID: id, Actual: 3}
	}
	condition := &evento.ConflictError{Condition: 1, Position: 2}
	left := tenant(t, transactor{store, conflict("r")}, "left")
	wantOthers(t, left.InTx(ctx, nothing), `"r"`, "InTx that conflicts with another tenant")
	if err := left.InTx(ctx, func(context.Context) error { return conflict("r") }); !errors.Is(err, evento.ErrConflict) {
		t.Errorf("InTx of a function that returns a conflict: %v", err)
	}
	for _, err := range []error{conflict("l"), conflict("none"), condition} {
		if got := tenant(t, transactor{store, err}, "left").InTx(ctx, nothing); got != err { //nolint:errorlint // as it is
			t.Errorf("InTx: got %v, want %v", got, err)
		}
	}
}

func TestInTxUnsupported(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, store := range []evento.Executor{memory.New(nil), group.New(memory.New(nil))} {
		for _, ctx := range []context.Context{t.Context(), ended} {
			err := tenant(t, store, "left").InTx(ctx, func(context.Context) error { t.Error("the function ran"); return nil })
			if !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, context.Canceled) {
				t.Errorf("InTx on %T: %v, want %v", store, err, errors.ErrUnsupported)
			}
		}
	}
}
