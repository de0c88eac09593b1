package evento_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

func newStore(t *testing.T) *memory.Executor {
	t.Helper()
	ex := memory.New(nil)
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	})
	return ex
}

// hooked is an executor with some methods replaced.
type hooked struct {
	evento.Executor
	write        func(context.Context, evento.Write) ([]evento.Receipt, error)
	read         func(context.Context, evento.Query, cursor.Args) (*cursor.Page[evento.RawEvent], error)
	changed      func() <-chan struct{}
	records      func(context.Context, evento.RecordQuery) (*evento.RecordPage, error)
	swap         func(context.Context, evento.Swap) error
	snapshot     func(context.Context, evento.SnapshotKey) (evento.Snapshot, error)
	saveSnapshot func(context.Context, evento.SnapshotKey, evento.Snapshot) error
}

func (h *hooked) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if h.write != nil {
		return h.write(ctx, w)
	}
	return h.Executor.Write(ctx, w)
}

func (h *hooked) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if h.read != nil {
		return h.read(ctx, q, args)
	}
	return h.Executor.Read(ctx, q, args)
}

func (h *hooked) Changed() <-chan struct{} {
	if h.changed != nil {
		return h.changed()
	}
	return h.Executor.Changed()
}

func (h *hooked) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if h.records != nil {
		return h.records(ctx, q)
	}
	return h.Executor.Records(ctx, q)
}

func (h *hooked) Swap(ctx context.Context, s evento.Swap) error {
	if h.swap != nil {
		return h.swap(ctx, s)
	}
	return h.Executor.Swap(ctx, s)
}

func (h *hooked) Snapshot(ctx context.Context, key evento.SnapshotKey) (evento.Snapshot, error) {
	if h.snapshot != nil {
		return h.snapshot(ctx, key)
	}
	return h.Executor.Snapshot(ctx, key)
}

func (h *hooked) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	if h.saveSnapshot != nil {
		return h.saveSnapshot(ctx, key, s)
	}
	return h.Executor.SaveSnapshot(ctx, key, s)
}

// commit commits one aggregate and fails the test when that fails.
func commit(t *testing.T, ex evento.Executor, b *evento.CommitBuilder) evento.Receipt {
	t.Helper()
	r, err := b.Commit(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// events reads the whole store.
func events(t *testing.T, ex evento.Executor) []evento.RawEvent {
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

// writeRaw stores one event with the bytes and codec given, as some other
// program may have written it.
func writeRaw(t *testing.T, ex evento.Executor, id string, p evento.Payload, codec string, data []byte) evento.ID {
	t.Helper()
	e := evento.NewEvent{ID: evento.NewID(), Name: p.EventName(), Codec: codec, Data: data}
	_, err := ex.Write(t.Context(), evento.Write{Appends: []evento.Append{{
		AggregateType: p.AggregateType(), AggregateID: id, AnyVersion: true, Events: []evento.NewEvent{e},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return e.ID
}

// cursorOf is the cursor of a position in the whole store; 0 is none.
func cursorOf(t *testing.T, ex evento.Executor, position int) cursor.Value {
	t.Helper()
	if position == 0 {
		return ""
	}
	page, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(position, ""))
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Edges) != position {
		t.Fatalf("there are %d events, not %d", len(page.Edges), position)
	}
	return page.PageInfo.EndCursor
}

// wantStored checks the cursor that is stored for a subscription's key.
func wantStored(t *testing.T, ex evento.Executor, key string, position int) {
	t.Helper()
	wantStoredOf(t, evento.ControlOf(ex, key), ex, position)
}

func wantStoredOf(t *testing.T, c *evento.Control, ex evento.Executor, position int) {
	t.Helper()
	status, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := status.Partitions[0].Cursor
	if want := cursorOf(t, ex, position); got != want {
		t.Errorf("the cursor stored for %q is %q, want %q, of position %d", status.Key, got, want, position)
	}
}

var silent = slog.New(slog.DiscardHandler)

// list collects from several goroutines.
type list[T any] struct {
	mu    sync.Mutex
	items []T
}

func (l *list[T]) add(item T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, item)
}

func (l *list[T]) all() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.items)
}

// positions handles every event of an account by noting its position.
func positions(got *list[uint64]) evento.SubscriptionHandler {
	return evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
		got.add(e.Position)
		return nil
	})
}

// deposits commits an account with n deposits of 1 to n; its first event is
// the first deposit.
func deposits(t *testing.T, ex evento.Executor, id string, n int) {
	t.Helper()
	b := evento.Aggregate(id).AnyVersion()
	for i := range n {
		b.Event(MoneyDeposited{Amount: int64(i + 1)})
	}
	commit(t, ex, b)
}

// upTo is 1, 2, … n.
func upTo(n int) []uint64 {
	s := make([]uint64, n)
	for i := range s {
		s[i] = uint64(i + 1)
	}
	return s
}

// logged is a log that a test reads.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) has(parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			return true
		}
	}
	return false
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
