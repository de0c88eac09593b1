//go:build unix

package torture_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/torture"
)

// cutStore is a Pebble store on a disk in memory that loses with the power what was not synced, but
// for a random part of it. A call that is under way when the power is cut has no known outcome. It
// is safe for concurrent use.
type cutStore struct {
	evento.Executor // nil: there is one for each life
	// early: it acknowledges what is not synced yet. The disk has lost some of that after a cut.
	early bool
	acked chan struct{} // has a value when something was acknowledged

	mu   sync.RWMutex
	disk *vfs.MemFS
	life evento.Executor // until the power is cut
	feed evento.Feed
}

var errCut = errors.New("the power was cut")

func newCutStore(t *testing.T, early bool) *cutStore {
	t.Helper()
	c := &cutStore{early: early, acked: make(chan struct{}, 1), disk: vfs.NewCrashableMem()}
	ex, err := pebble.Open(t.Context(), "store", &pebble.Options{FS: c.disk})
	if err != nil {
		t.Fatal(err)
	}
	c.life = ex
	return c
}

// cut cuts the power, and opens what the disk has then.
func (c *cutStore) cut(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	after := c.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * rand.IntN(3), RNG: rand.New(rand.NewPCG(rand.Uint64(), 0))})
	if c.early {
		c.mu.Unlock()
		c.acknowledge(ctx)
		c.mu.Lock()
	}
	ex, err := pebble.Open(ctx, "store", &pebble.Options{FS: after})
	if err != nil {
		return err
	}
	before := c.life
	c.life, c.disk = ex, after
	return before.Close() // of the other world
}

// acknowledge waits until something was acknowledged that the disk is to lose.
func (c *cutStore) acknowledge(ctx context.Context) {
	for range cap(c.acked) + 1 { // the first may be from before
		select {
		case <-c.acked:
		case <-ctx.Done():
		}
	}
}

func (c *cutStore) now() evento.Executor {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.life
}

// alive makes a call. Nobody is told what it has returned after the power was cut.
func alive[T any](c *cutStore, do func(evento.Executor) (T, error)) (none T, err error) {
	ex := c.now()
	v, err := do(ex)
	if c.now() != ex {
		return none, errCut
	}
	return v, err
}

func (c *cutStore) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	receipts, err := alive(c, func(ex evento.Executor) ([]evento.Receipt, error) { return ex.Write(ctx, w) })
	switch {
	case errors.Is(err, errCut):
		return nil, evento.ErrOutcomeUnknown
	case err == nil:
		select {
		case c.acked <- struct{}{}:
		default:
		}
	}
	return receipts, err
}

func (c *cutStore) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	return alive(c, func(ex evento.Executor) (*cursor.Page[evento.RawEvent], error) { return ex.Read(ctx, q, args) })
}

func (c *cutStore) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	return alive(c, func(ex evento.Executor) (*evento.RecordPage, error) { return ex.Records(ctx, q) })
}

func (c *cutStore) Swap(ctx context.Context, s evento.Swap) error {
	_, err := alive(c, func(ex evento.Executor) (struct{}, error) { return struct{}{}, ex.Swap(ctx, s) })
	return err
}

func (c *cutStore) CursorAt(position uint64) (cursor.Value, error)  { return c.now().CursorAt(position) }
func (c *cutStore) Earlier(a, b cursor.Value) (cursor.Value, error) { return c.now().Earlier(a, b) }
func (c *cutStore) Changed() <-chan struct{}                        { return c.now().Changed() }
func (c *cutStore) Feed() *evento.Feed                              { return &c.feed }
func (c *cutStore) Close() error                                    { return c.now().Close() }
func (c *cutStore) open(context.Context) (evento.Executor, error)   { return c, nil }

// The power is cut while workers write, follow and handle.
func TestPower(t *testing.T) {
	t.Parallel()
	c := newCutStore(t, false)
	tortured(t, torture.Options{Name: "pebble, power cuts", Open: c.open, Kills: 3, Fault: c.cut, Faults: number(t, faultsVariable, 10)})
}

// A store that acknowledges before it has synced is found: what was acknowledged is gone. Time is
// simulated, as followers wait for what the log has no more.
func TestAcknowledgedBeforeSynced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCutStore(t, true)
		report, err := torture.Run(t.Context(), torture.Options{Open: c.open, Fault: c.cut, Faults: 5, Dir: t.TempDir(), Patience: mutantPatience})
		if err != nil {
			t.Fatal(err)
		}
		if report.Violations[torture.Durable] == 0 {
			t.Error(report)
		}
	})
}
