// Package mysql is the evento executor on MySQL 8 and MariaDB 10.6 or later.
//
//	ex, err := mysql.Open(ctx, "app:secret@tcp(db:3306)/shop", nil)
//	if err != nil {
//		return err
//	}
//	defer ex.Close()
//
// [Open] makes and migrates the tables, which begin with evento_, in the
// database that the DSN names; the view evento_events shows the events in
// words. Commits are durable when they return, and those of concurrent callers
// share a transaction, which is what makes them fast. Any number of processes
// may use one database at the same time.
//
// Positions are handed out under the lock of one row, so that no reader ever
// passes over an event that is committed later. All processes of a store must
// write to the same server: it is not for multi-primary clusters.
package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/appendqueue"
	"github.com/evento-go/evento/internal/store"
)

// Options are the settings of [Open] and [New]. The zero Options are the
// defaults.
type Options struct {
	// NoMigrate leaves the schema as it is; a store that lacks a migration
	// is an error then. Default: migrations are applied.
	NoMigrate bool
	// AllowLoss accepts a server that may lose what it has committed when it
	// crashes: innodb_flush_log_at_trx_commit other than 1 or, with a binary
	// log, sync_binlog other than 1. Default: such a server is refused.
	AllowLoss bool
	// Connections is how many calls other than Write go on at the same time,
	// InTx included, each on a connection of its own. Write has one more, and
	// one is in reserve, so that Records and Swap, which renew the leases of
	// subscriptions, do not wait for handlers that hold all others. 0: 8.
	Connections int
	// PollInterval is how often the server is asked for commits of other
	// processes while somebody waits for them. After a quiet second, or while
	// asking fails, it is 250 ms at least. 0: 10 ms.
	PollInterval time.Duration
	// Clock gives the time for timestamps. nil: [time.Now].
	Clock func() time.Time
	// Logger takes warnings. nil: [slog.Default].
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Connections < 0 || opts.PollInterval < 0 {
		return opts, fmt.Errorf("%w mysql options: negative Connections or PollInterval", evento.ErrInvalid)
	}
	if opts.Connections == 0 {
		opts.Connections = 8
	}
	if opts.PollInterval == 0 {
		opts.PollInterval = 10 * time.Millisecond
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return opts, nil
}

// Executor is an [evento.Executor] on MySQL or MariaDB. It is safe for
// concurrent use.
type Executor struct {
	opts           Options
	own            *sql.DB // closed with the executor; nil: the caller's
	positions      cursor.Positions
	server         server
	names          *dictionary
	ends           ends
	sessions       *pool
	writer         *writer
	queue          *appendqueue.Queue[*appendOp]
	recent         store.Recent
	changed        store.Signal
	feed           evento.Feed
	durable        durable
	durableRecords durableRecords
	closing        chan struct{}
	gate           store.Gate
	watched        chan struct{} // closed when the watch has ended
}

var _ evento.Transactor = (*Executor)(nil)

// Open connects to the database of a DSN in the form of
// github.com/go-sql-driver/mysql, user:password@tcp(host:port)/database, and
// migrates it. The database must exist. Settings of the DSN that would change
// what statements mean are overruled. nil options are the defaults.
//
// Errors: [evento.ErrInvalid] for a DSN or option; [evento.ErrReadOnly];
// [evento.ErrNewerStore]; else what the server or the network says.
func Open(ctx context.Context, dsn string, opts *Options) (*Executor, error) {
	db, err := openDSN(dsn)
	if err != nil {
		return nil, err
	}
	ex, err := open(ctx, db, opts)
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	ex.own = db
	return ex, nil
}

// New is [Open] on a database that the caller has opened with the driver of
// github.com/go-sql-driver/mysql, and closes after the executor. The executor
// takes up to Connections + 2 of its connections for itself until Close: a
// limit set with SetMaxOpenConns must leave room for them, beside those that
// the application uses, and is refused with [evento.ErrInvalid] when it cannot.
func New(ctx context.Context, db *sql.DB, opts *Options) (*Executor, error) {
	if db == nil {
		return nil, fmt.Errorf("%w mysql database: nil", evento.ErrInvalid)
	}
	return open(ctx, db, opts)
}

func open(ctx context.Context, db *sql.DB, o *Options) (*Executor, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	most, need := db.Stats().MaxOpenConnections, opts.Connections+2
	if most > 0 && most < need {
		return nil, fmt.Errorf("%w mysql database: at most %d open connections, %d are needed: raise SetMaxOpenConns or lower Options.Connections", evento.ErrInvalid, most, need)
	}
	closing := make(chan struct{})
	ex := &Executor{
		opts:           opts,
		sessions:       newPool(db, opts.Connections, closing, opts.Logger),
		closing:        closing,
		watched:        make(chan struct{}),
		ends:           ends{versions: store.NewCache[place, int64](1 << 10)},
		durableRecords: durableRecords{records: store.NewCache[evento.RecordKey, state](1 << 12)},
	}
	ex.names = newDictionary(ex, nil)
	ex.gate.Inside = func(ctx context.Context) bool { return ex.openTransactionOf(ctx) != nil }
	err = ex.prepare(ctx)
	if err == nil && most > 0 {
		err = ex.sessions.keepReserve(ctx)
	}
	if err != nil {
		ex.sessions.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, store.Errorf("mysql: open: %w", classify(err))
	}
	ex.writer = newWriter(ex, db)
	ex.queue = appendqueue.New(appendqueue.Options{
		Closed:   evento.ErrClosed,
		Panicked: evento.ErrOutcomeUnknown,
		Unknown:  evento.ErrOutcomeUnknown,
		Patience: 2 * abandonAfter,
		MaxBytes: 8 << 20,
	}, ex.writer.flush)
	go ex.watch()
	return ex, nil
}

// prepare looks at the server and brings the tables up to date.
func (ex *Executor) prepare(ctx context.Context) error {
	s, err := ex.sessions.get(ctx)
	if err != nil {
		return err
	}
	defer ex.sessions.put(s)
	if ex.server, err = s.server(ctx); err != nil {
		return err
	}
	if err := ex.server.check(ex.opts.AllowLoss); err != nil {
		return err
	}
	if err := s.migrate(ctx, !ex.opts.NoMigrate); err != nil {
		return err
	}
	identity, err := s.identity(ctx)
	ex.positions = cursor.NewPositions(identity)
	return err
}

// Close implements [evento.Executor]: it waits for the calls under way.
func (ex *Executor) Close() error {
	return ex.gate.Close(func() error {
		close(ex.closing)
		ex.queue.Close()
		<-ex.watched
		ex.sessions.close()
		ex.writer.close()
		ex.changed.Close()
		if ex.own != nil {
			if err := ex.own.Close(); err != nil {
				return store.Errorf("mysql: close: %w", err)
			}
		}
		return nil
	})
}

// untilClosed ends a context with the executor.
func (ex *Executor) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	return until(ctx, ex.closing)
}

// notify wakes those who wait for a change; for one that was made in a
// transaction, when that is committed.
func (ex *Executor) notify(ctx context.Context) {
	if t := ex.openTransactionOf(ctx); t != nil {
		t.notify = true
		return
	}
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

// Changed implements [evento.Executor]. Commits of this process wake at once,
// those of others when they are asked for: see Options.PollInterval.
func (ex *Executor) Changed() <-chan struct{} { return ex.changed.Wait() }

// Feed implements [evento.Executor].
func (ex *Executor) Feed() *evento.Feed { return &ex.feed }

// quietPoll is the interval when nothing comes, or asking fails.
const quietPoll = 250 * time.Millisecond

// watch notifies of commits of other processes while somebody waits for them.
func (ex *Executor) watch() {
	defer close(ex.watched)
	ctx, cancel := ex.untilClosed(context.Background())
	defer cancel()
	store.Watch{
		Changed: &ex.changed, Interval: ex.opts.PollInterval, Quiet: quietPoll,
		Ask: func(ctx context.Context) (int64, error) {
			var c counter
			err := ex.use(ctx, func(s *session) (err error) {
				c, err = s.counter(ctx)
				return err
			})
			return c.position, err
		},
		Failed: func(err error) {
			ex.opts.Logger.Warn("evento: mysql: asking for commits of other processes", "error", err)
		},
	}.Run(ctx)
}
