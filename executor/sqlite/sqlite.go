// Package sqlite is the evento executor on SQLite: events in one file, in pure
// Go, without a server and without cgo. It is the one to begin with.
//
//	ex, err := sqlite.Open(ctx, "app.db", nil)
//	if err != nil {
//		return err
//	}
//	defer ex.Close()
//
// [Open] makes and migrates the file. Commits are durable when they return
// (write-ahead log, synchronous=FULL), and those of concurrent callers share a
// sync, which is what makes them fast. Several processes may use one file at
// the same time; a writer waits for the others, as long as its context lets
// it, and "database is locked" is no error of this package. The file must be
// on a local disk: the write-ahead log needs shared memory.
//
// Its tables begin with evento_ and may share a file with an application's
// own, which [Executor.InTx] commits together with events; the view
// evento_events shows the events in words.
//
// SQLite is that of github.com/ncruces/go-sqlite3, in pure Go. Nothing is registered
// with database/sql, so that a program may use any other driver beside it.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/appendqueue"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// Options are the settings of [Open] and [New]. The zero Options are the
// defaults.
type Options struct {
	// NoMigrate leaves the schema as it is; a store that lacks a migration
	// is an error then. Default: migrations are applied.
	NoMigrate bool
	// ReadOnly opens a store to look at it: the file is not made, migrated or
	// changed in any way, and writing is refused with [evento.ErrReadOnly].
	// Default: false.
	ReadOnly bool
	// Readers is how many reads go on at the same time, each on a connection
	// of its own. 0: 8.
	Readers int
	// WatchInterval is how often the file is looked at for commits of other
	// processes while a subscription waits. After a quiet second it is five
	// times that. 0: 5 ms.
	WatchInterval time.Duration
	// Clock gives the time for events and records. Where it falls, events stay
	// at the latest time that one has. nil: [time.Now].
	Clock func() time.Time
	// Logger takes warnings. nil: [slog.Default].
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	opts.NoMigrate = opts.NoMigrate || opts.ReadOnly
	if opts.Readers < 0 || opts.WatchInterval < 0 {
		return opts, fmt.Errorf("%w sqlite options: negative Readers or WatchInterval", evento.ErrInvalid)
	}
	if opts.Readers == 0 {
		opts.Readers = 8
	}
	if opts.WatchInterval == 0 {
		opts.WatchInterval = 5 * time.Millisecond
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return opts, nil
}

// Executor is an [evento.Executor] on SQLite. It is safe for concurrent use.
type Executor struct {
	opts      Options
	positions cursor.Positions
	names     *dictionary
	readers   *pool
	identity  [16]byte
	file      *file
	writing   chan struct{} // a semaphore: who writes has it
	writer    *writer
	callers   *callers
	queue     *appendqueue.Queue[operation]
	recent    store.Recent
	changed   store.Signal
	feed      evento.Feed
	closing   chan struct{}
	gate      store.Gate
	watched   chan struct{} // closed when the watch has ended
}

var _ evento.Transactor = (*Executor)(nil)

// Open opens the file at path, making it if there is none, and migrates it.
// Path may also be a "file:" URI (https://sqlite.org/uri.html). nil options
// are the defaults.
//
// Errors: [evento.ErrInvalid] for a path or option; [evento.ErrReadOnly];
// [evento.ErrNewerStore]; else what the file system or SQLite says, with the
// path.
func Open(ctx context.Context, path string, opts *Options) (*Executor, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	at, err := absolute(path)
	if err != nil {
		return nil, store.Errorf("sqlite: open %s: %w", withoutSettings(path), err)
	}
	looking := opts != nil && opts.ReadOnly
	ex, err := open(ctx, fileSource(at, looking), opts, &callers{openDB: func() *sql.DB { return openFile(at, false) }})
	if err != nil {
		return nil, store.Errorf("sqlite: open %s: %w", withoutSettings(path), explainPath(path, looking, err))
	}
	return ex, nil
}

// New is [Open] on a database that the caller has opened with the driver
// github.com/ncruces/go-sqlite3/driver, and closes after the executor. The executor
// takes up to Readers + 3 of its connections for itself until Close: a limit
// set with SetMaxOpenConns must leave room for them, beside those that the
// application uses, and is refused with [evento.ErrInvalid] when it cannot. With
// a limit they are taken at once, so that the executor never waits for one that
// the application holds. On one of these, that of [Executor.InTx], SQLite's
// commit and rollback hooks are its own. Of an in-memory database use
// executor/memory instead.
func New(ctx context.Context, db *sql.DB, opts *Options) (*Executor, error) {
	if db == nil {
		return nil, fmt.Errorf("%w sqlite database: nil", evento.ErrInvalid)
	}
	checked, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	most, need := db.Stats().MaxOpenConnections, checked.Readers+3
	if most > 0 && most < need {
		return nil, fmt.Errorf("%w sqlite database: at most %d open connections, %d are needed: raise SetMaxOpenConns or lower Options.Readers", evento.ErrInvalid, most, need)
	}
	ex, err := open(ctx, dbSource(db), &checked, &callers{db: db, limited: most > 0})
	if err != nil {
		return nil, store.Errorf("sqlite: %w", err)
	}
	return ex, nil
}

// open takes, beside the source of connections, that of callers' transactions.
func open(ctx context.Context, src source, o *Options, of *callers) (_ *Executor, err error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c, err := src(ctx, true)
	if err != nil {
		return nil, classify(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if err := prepareStore(ctx, c, !opts.NoMigrate, opts.ReadOnly); err != nil {
		return nil, err
	}
	identity, err := storeIdentity(ctx, c)
	if err != nil {
		return nil, explain(ctx, err)
	}
	likeFile(c.Filename("main").String())
	ex := &Executor{
		opts:      opts,
		positions: cursor.NewPositions(identity),
		names:     newDictionary(),
		identity:  identity,
		writing:   make(chan struct{}, 1),
		file:      fileOf(c),
		closing:   make(chan struct{}),
		watched:   make(chan struct{}),
	}
	ex.readers = newPool(func(ctx context.Context) (*conn, error) { return ex.another(ctx, src) }, opts.Readers)
	ex.gate.Inside = func(ctx context.Context) bool { return ex.openTransactionOf(ctx) != nil }
	if err := c.giveUp(ex.closing); err != nil {
		return nil, classify(err)
	}
	ex.writer = &writer{ex: ex, conn: c, places: store.NewCache[evento.AggregateKey, sqlstore.Place](1 << 15)}
	ex.callers = of
	of.ex, of.turn, of.hint = ex, make(chan struct{}, 1), hintAfter
	var watching *conn
	if of.limited {
		if watching, err = ex.takeAll(ctx); err != nil {
			return nil, classify(err)
		}
	}
	ex.queue = appendqueue.New(appendqueue.Options{Closed: evento.ErrClosed, Panicked: evento.ErrOutcomeUnknown, Unknown: evento.ErrOutcomeUnknown}, ex.writer.flush)
	go ex.watch(watching)
	return ex, nil
}

// another opens a further connection, which has to be one to the same store: the file, or
// the working directory of a caller's database, may have changed.
func (ex *Executor) another(ctx context.Context, src source) (*conn, error) {
	c, err := src(ctx, false)
	if err != nil {
		return nil, err
	}
	if err := ex.isStore(ctx, c); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// isStore returns an error unless a connection is to the store that was opened.
func (ex *Executor) isStore(ctx context.Context, c *conn) error {
	identity, err := storeIdentity(ctx, c)
	if err == nil && identity != ex.identity {
		return fmt.Errorf("%w store: what a new connection has opened, %s, is not what was opened before", evento.ErrInvalid, c.Filename("main"))
	}
	return err
}

// takeAll opens all connections that are otherwise opened when they are needed,
// and returns that of the watch.
func (ex *Executor) takeAll(ctx context.Context) (watching *conn, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, ex.callers.close(), ex.readers.close())
		}
	}()
	if err := ex.readers.fill(ctx, ex.closing); err != nil {
		return nil, err
	}
	if !ex.opts.ReadOnly {
		if err := ex.callers.open(ctx); err != nil {
			return nil, err
		}
	}
	return ex.readers.src(ctx)
}

// Close implements [evento.Executor]: it waits for the calls under way. What
// is in the write-ahead log is brought into the file.
func (ex *Executor) Close() error {
	return ex.gate.Close(func() error {
		close(ex.closing)
		ex.queue.Close()
		<-ex.watched
		err := errors.Join(ex.callers.close(), ex.readers.close(), ex.writer.conn.close())
		ex.changed.Close()
		if err != nil {
			return store.Errorf("sqlite: close: %w", err)
		}
		return nil
	})
}

// fail closes the executor to its callers, after an error that leaves unknown
// what is in the file.
func (ex *Executor) fail(cause error) {
	ex.gate.Fail(cause)
	ex.changed.Notify()
}

// checkWrite is check for what changes the store.
func (ex *Executor) checkWrite(ctx context.Context) error {
	if err := ex.gate.Check(ctx); err != nil {
		return err
	}
	if ex.opts.ReadOnly {
		return fmt.Errorf("%w: Options.ReadOnly is set", evento.ErrReadOnly)
	}
	return nil
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

// Changed implements [evento.Executor]. Commits of this process wake at once,
// those of others within Options.WatchInterval.
func (ex *Executor) Changed() <-chan struct{} { return ex.changed.Wait() }

// Feed implements [evento.Executor].
func (ex *Executor) Feed() *evento.Feed { return &ex.feed }
