package executortest_test

import (
	"context"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/internal/store"
)

// The suite on a store that keeps the contract, opened again and shared.
func TestContract(t *testing.T) {
	t.Parallel()
	executortest.Test(t, handles(func(h *handle) evento.Executor { return h }))
}

// handles are the stores of this package's own tests; each executor on them
// is given to open, which returns the one to test.
func handles(open func(*handle) evento.Executor) executortest.Config {
	var opened sync.Map // evento.Executor to *handle
	on := func(s *shared) evento.Executor {
		h := s.handle()
		ex := open(h)
		opened.Store(ex, h)
		return ex
	}
	of := func(t testing.TB, ex evento.Executor) *handle {
		h, ok := opened.Load(ex)
		if !ok {
			t.Fatalf("%T was not opened here", ex)
		}
		return h.(*handle)
	}
	return executortest.Config{
		Open: func(t testing.TB) evento.Executor {
			s := &shared{memory: memory.New(nil), handles: map[*handle]bool{}}
			t.Cleanup(func() {
				if err := s.memory.Close(); err != nil {
					t.Error(err)
				}
			})
			return on(s)
		},
		Reopen: func(t testing.TB, ex evento.Executor) evento.Executor {
			if err := ex.Close(); err != nil {
				t.Fatal(err)
			}
			return on(of(t, ex).store)
		},
		Share: func(t testing.TB, ex evento.Executor) evento.Executor { return on(of(t, ex).store) },
	}
}

// shared is a store in memory that outlives the executors on it.
type shared struct {
	memory *memory.Executor

	mu      sync.Mutex
	handles map[*handle]bool
}

func (s *shared) handle() *handle {
	h := &handle{store: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handles[h] = true
	return h
}

func (s *shared) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for h := range s.handles {
		h.changed.Notify()
	}
}

// handle is one of the executors on a shared store.
type handle struct {
	store   *shared
	changed store.Signal
	feed    evento.Feed

	mu     sync.RWMutex // read-locked by calls under way
	closed bool
}

func (h *handle) begin() error {
	h.mu.RLock()
	if h.closed {
		h.mu.RUnlock()
		return evento.ErrClosed
	}
	return nil
}

func (h *handle) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := h.begin(); err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	defer h.store.notify()
	return h.store.memory.Write(ctx, w)
}

func (h *handle) Import(ctx context.Context, events []evento.RawEvent) error {
	if err := h.begin(); err != nil {
		return err
	}
	defer h.mu.RUnlock()
	defer h.store.notify()
	return h.store.memory.Import(ctx, events)
}

func (h *handle) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if err := h.begin(); err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	return h.store.memory.Read(ctx, q, args)
}

func (h *handle) Changed() <-chan struct{} { return h.changed.Wait() }

func (h *handle) CursorAt(position uint64) (cursor.Value, error) {
	if err := h.begin(); err != nil {
		return "", err
	}
	defer h.mu.RUnlock()
	return h.store.memory.CursorAt(position)
}

func (h *handle) Earlier(a, b cursor.Value) (cursor.Value, error) {
	if err := h.begin(); err != nil {
		return "", err
	}
	defer h.mu.RUnlock()
	return h.store.memory.Earlier(a, b)
}

func (h *handle) Feed() *evento.Feed { return &h.feed }

func (h *handle) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if err := h.begin(); err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	return h.store.memory.Records(ctx, q)
}

func (h *handle) Swap(ctx context.Context, s evento.Swap) error {
	if err := h.begin(); err != nil {
		return err
	}
	defer h.mu.RUnlock()
	err := h.store.memory.Swap(ctx, s)
	if err == nil && s.Wake {
		h.store.notify()
	}
	return err
}

func (h *handle) Snapshot(ctx context.Context, key evento.SnapshotKey) (evento.Snapshot, error) {
	if err := h.begin(); err != nil {
		return evento.Snapshot{}, err
	}
	defer h.mu.RUnlock()
	return h.store.memory.Snapshot(ctx, key)
}

func (h *handle) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	if err := h.begin(); err != nil {
		return err
	}
	defer h.mu.RUnlock()
	return h.store.memory.SaveSnapshot(ctx, key, s)
}

func (h *handle) Snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	if err := h.begin(); err != nil {
		return nil, err
	}
	defer h.mu.RUnlock()
	return h.store.memory.Snapshots(ctx, q)
}

func (h *handle) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	if err := h.begin(); err != nil {
		return err
	}
	defer h.mu.RUnlock()
	return h.store.memory.RemoveSnapshots(ctx, keys)
}

func (h *handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.changed.Close()
	return nil
}
