// Package pebble is the evento executor on Pebble, an embedded
// log-structured store in Go (github.com/cockroachdb/pebble/v2): events
// in a directory, for one process that writes and reads much.
//
//	ex, err := pebble.Open(ctx, "events", nil)
//	if err != nil {
//		return err
//	}
//	defer ex.Close()
//
// [Open] makes the directory. Commits are durable when they return, and shown
// to readers only then: Pebble itself shows a batch before its log is synced,
// so reads end at the last position that is known to be on the disk.
// Concurrent commits share a batch and its sync. When the context of a commit ends, the commit
// is given up as long as it has not reached Pebble's log; from then on it waits for
// the disk.
//
// A directory has one process, and one executor in it, at a time; a second is
// refused. It must be on a local disk. For several processes on one store use
// executor/sqlite or a server.
//
// When the log cannot be written or synced, nobody knows what is on the disk:
// the executor closes itself, calls under way get [evento.ErrOutcomeUnknown]
// and later ones [evento.ErrClosed], until it is opened again.
package pebble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Options are the settings of [Open] and [New]. The zero Options are the
// defaults.
type Options struct {
	// Prefix is what every key of the store begins with. A database may so hold
	// an application's own keys too, or several stores. No prefix may begin with
	// another. "": "evento/".
	Prefix string
	// ReadOnly makes [Open] open a store to look at it: nothing is made or
	// changed, and writing is refused with [evento.ErrReadOnly]. Still no
	// other executor may have the directory open. Default: false.
	ReadOnly bool
	// FS is the file system of [Open]. nil: the operating system's.
	FS vfs.FS
	// CacheSize is how many bytes of blocks [Open] keeps in memory. 0: 64 MiB.
	CacheSize int64
	// MinFree is how many bytes [Open] keeps free on the disk. A write that
	// would use them is refused with [evento.ErrFull] before anything is written,
	// because Pebble cannot go on once its log finds no space. 0: 64 MiB;
	// negative: none.
	MinFree int64
	// Clock gives the time of events and records. When it goes back, new events
	// get the time of the last event. nil: [time.Now].
	Clock func() time.Time
	// Logger gets the errors that Pebble logs about [Open]'s database. nil:
	// [slog.Default].
	Logger *slog.Logger

	identity *[16]byte // of the store that an index is of; nil: it is no index
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.CacheSize < 0 {
		return opts, fmt.Errorf("%w pebble options: negative CacheSize", evento.ErrInvalid)
	}
	opts.Prefix = cmp.Or(opts.Prefix, "evento/")
	opts.FS = cmp.Or(opts.FS, vfs.Default)
	opts.CacheSize = cmp.Or(opts.CacheSize, 64<<20)
	opts.MinFree = cmp.Or(opts.MinFree, 64<<20)
	opts.Logger = cmp.Or(opts.Logger, slog.Default())
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	return opts, nil
}

// Executor is an [evento.Executor] on Pebble. It is safe for concurrent use.
type Executor struct {
	opts      Options
	db        *lsm.DB
	disk      *disk // nil when the database is the caller's
	keys      keys
	positions cursor.Positions
	heads     *heads
	state     state
	gate      store.Gate
	recent    store.Recent
	changed   store.Signal
	feed      evento.Feed

	// visible is the last position that is known to be durable.
	visible atomic.Uint64

	// order is the lock under which batches get their positions and reach the
	// log, so that both have one order. It is a channel, so that a caller can
	// give up waiting for it.
	order chan struct{}
	queue queue
	// applied is the last position given; written under order.
	applied atomic.Uint64
	// latest is the time of the last event, in microseconds since 1970; read
	// and written under order.
	latest int64
}

var _ evento.Executor = (*Executor)(nil)

// Open opens the store in a directory, making it if there is none. nil options
// are the defaults.
//
// Errors: [evento.ErrInvalid] for a path or option, or a directory that another
// executor has open; [evento.ErrReadOnly]; [evento.ErrFull];
// [evento.ErrNewerStore]; else what the file system or Pebble says, with the
// path.
func Open(ctx context.Context, dir string, opts *Options) (*Executor, error) {
	if dir == "" || strings.ContainsRune(dir, 0) {
		return nil, fmt.Errorf("%w pebble directory %q: empty, or with a NUL", evento.ErrInvalid, dir)
	}
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ex, err := open(ctx, dir, o)
	if err != nil {
		return nil, store.Errorf("pebble: open %s: %w", dir, explain(err))
	}
	return ex, nil
}

func open(ctx context.Context, dir string, o Options) (_ *Executor, err error) {
	d := &disk{FS: o.FS, dir: dir, minFree: o.MinFree, logger: o.Logger}
	if err := checkDirectory(o.FS, dir, o.ReadOnly); err != nil {
		return nil, err
	}
	db, err := lsm.Open(dir, o.database(d))
	if err != nil {
		return nil, err
	}
	ex, err := newExecutor(ctx, db, d, o)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return ex, nil
}

// New is [Open] on a database that the caller has opened with Pebble's default
// comparer, and closes after the executor. All keys of the store begin with
// Options.Prefix, and a prefix has one executor at a time. On a read-only database
// writing gives [evento.ErrReadOnly].
//
// The database's own options decide what happens when the disk fails: by default
// Pebble's logger ends the process, and a log that cannot be synced may make Pebble
// panic.
func New(ctx context.Context, db *lsm.DB, opts *Options) (*Executor, error) {
	if db == nil {
		return nil, fmt.Errorf("%w pebble database: nil", evento.ErrInvalid)
	}
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	ex, err := newExecutor(ctx, db, nil, o)
	return ex, failure(err)
}

func newExecutor(ctx context.Context, db *lsm.DB, d *disk, o Options) (*Executor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ex := &Executor{opts: o, db: db, disk: d, keys: keys{prefix: o.Prefix}, heads: newHeads(headsMost), order: make(chan struct{}, 1)}
	ex.state.pending = map[string]durable{}
	ex.queue.look = make(chan struct{}, 1)
	if err := ex.recover(); err != nil {
		return nil, err
	}
	if d != nil {
		d.arm(ex.fail)
	}
	return ex, nil
}

// Close implements [evento.Executor]: it waits for the calls under way. After
// a failure of the disk it releases what it can, and returns an error for the rest.
func (ex *Executor) Close() error {
	return ex.gate.Close(func() error {
		ex.gate.Wait()
		ex.changed.Close()
		if ex.disk == nil {
			return nil
		}
		if err := ex.closeDB(); err != nil {
			return store.Errorf("pebble: close: %w", err)
		}
		return nil
	})
}

// closeDB returns Pebble's panic as an error. It first writes what is in the log into
// tables: a bit that is flipped in a log would lose all that is behind it without a word,
// and in a table it is an error.
func (ex *Executor) closeDB() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if ex.gate.Failed() == nil {
		if err = ex.db.Flush(); errors.Is(err, lsm.ErrReadOnly) {
			err = nil
		}
	}
	return errors.Join(err, ex.db.Close())
}

// fail closes the executor to its callers, after an error that leaves unknown
// what is on the disk.
func (ex *Executor) fail(cause error) {
	ex.gate.Fail(cause)
	ex.changed.Notify()
}

// CursorAt implements [evento.Executor].
func (ex *Executor) CursorAt(position uint64) (cursor.Value, error) {
	if err := ex.gate.Check(context.Background()); err != nil {
		return "", err
	}
	return ex.positions.At(position), nil
}

// Earlier implements [evento.Executor].
func (ex *Executor) Earlier(a, b cursor.Value) (cursor.Value, error) {
	if err := ex.gate.Check(context.Background()); err != nil {
		return "", err
	}
	return ex.positions.Earlier(a, b)
}

// Changed implements [evento.Executor].
func (ex *Executor) Changed() <-chan struct{} { return ex.changed.Wait() }

// Feed implements [evento.Executor].
func (ex *Executor) Feed() *evento.Feed { return &ex.feed }
