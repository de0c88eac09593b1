// Package postgres is the evento executor on PostgreSQL 13 and later, through
// github.com/jackc/pgx/v5.
//
//	ex, err := postgres.Open(ctx, "postgres://app@localhost/app", nil)
//	if err != nil {
//		return err
//	}
//	defer ex.Close()
//
// [Open] makes and migrates the tables in a schema of their own. Positions are
// handed out by one row that a commit locks for one round trip, so they rise in
// the order of commits whatever other transactions do; concurrent commits of a
// process share a transaction, which is what makes that fast. Any number of
// processes may use one store.
//
// It works through PgBouncer in transaction mode, and polls for the commits of other
// processes then. The only state of a session is prepared statements: PgBouncer carries
// them since 1.21, and "default_query_exec_mode=cache_describe" in the connection string
// switches them off for older ones. PgBouncer needs more connections to the server than
// handlers hold, or the leases of their subscriptions wait for them.
package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/appendqueue"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// Options are the settings of [Open] and [New]. The zero Options are the
// defaults.
type Options struct {
	// Schema is where the tables are, so that one database may hold several
	// stores. It is made if it is missing. "": evento.
	Schema string
	// NoMigrate leaves the schema as it is; a store that lacks a migration
	// is an error then. Default: migrations are applied.
	NoMigrate bool
	// AllowLoss accepts a server with synchronous_commit off, which may lose
	// what was acknowledged when it crashes. Default: it is refused.
	AllowLoss bool
	// NoNotify neither tells other processes of commits nor listens for
	// theirs: they are polled for only. Default: a NOTIFY follows the commits,
	// at most every 5 ms, and an executor whose changes somebody waits for
	// keeps a connection of its own, outside of the pool, that listens.
	NoNotify bool
	// PollInterval is how often the server is asked for commits of other
	// processes while a subscription waits. After a quiet second, and while
	// notifications arrive, it is 250 ms at least. 0: 10 ms.
	PollInterval time.Duration
	// Logger takes warnings. nil: [slog.Default].
	Logger *slog.Logger

	patience time.Duration // that of the queue; 0: its default
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.PollInterval < 0 {
		return opts, fmt.Errorf("%w postgres options: negative PollInterval", evento.ErrInvalid)
	}
	if opts.Schema == "" {
		opts.Schema = "evento"
	}
	const most = 63 // bytes of an identifier; the server cuts longer ones
	if len(opts.Schema) > most {
		return opts, fmt.Errorf("%w postgres options: Schema %q is longer than %d bytes", evento.ErrInvalid, opts.Schema, most)
	}
	if opts.PollInterval == 0 {
		opts.PollInterval = 10 * time.Millisecond
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return opts, nil
}

// Executor is an [evento.Executor] on PostgreSQL. It is safe for concurrent use.
type Executor struct {
	opts       Options
	pool       *pgxpool.Pool
	ownsPool   bool
	reserve    *reserve
	sql        statements
	positions  cursor.Positions
	names      *sqlstore.Dictionary
	scratches  sync.Pool // of *scratch
	queue      *appendqueue.Queue[*appendOp]
	recent     store.Recent
	flushed    connections
	changed    store.Signal
	feed       evento.Feed
	gate       store.Gate
	replicated bool // commits wait for standbys
	// readOnlyUntil is until when, since began, the server counts as read-only.
	readOnlyUntil atomic.Int64
	roundTrip     roundTrip // the queue's

	closing     context.Context
	close       context.CancelFunc
	background  sync.WaitGroup
	head        atomic.Int64 // the highest position seen
	channel     string       // of notifications
	self        string       // the payload of this executor's
	began       time.Time
	publishing  atomic.Bool   // on a connection of its own
	publishedAt atomic.Int64  // when others were told of commits, since began
	announced   chan struct{} // has room for one
	awaited     chan struct{} // closed when somebody first waits for changes
	await       func()        // closes it
	aliveEvery  time.Duration // a listener is tried
	listening   atomic.Bool   // notifications arrive
}

var _ evento.Transactor = (*Executor)(nil)

// Open connects to the server at a URL or connection string and migrates the
// store. nil options are the defaults. "schema" in it is Options.Schema, as in
// postgres://user@host/database?schema=evento.
//
// Errors: [evento.ErrInvalid] for an option; [evento.ErrReadOnly];
// [evento.ErrNewerStore]; else what the server says, never with the password.
func Open(ctx context.Context, url string, o *Options) (*Executor, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, store.Errorf("postgres: %w", err)
	}
	var opts Options
	if o != nil {
		opts = *o
	}
	if schema := config.ConnConfig.RuntimeParams["schema"]; schema != "" && opts.Schema != "" && schema != opts.Schema {
		return nil, fmt.Errorf("%w postgres options: Schema is %q, and the URL says %q", evento.ErrInvalid, opts.Schema, schema)
	} else if schema != "" {
		opts.Schema = schema
	}
	delete(config.ConnConfig.RuntimeParams, "schema") // the server does not know it
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, store.Errorf("postgres: %w", err)
	}
	ex, err := New(ctx, pool, &opts)
	if err != nil {
		pool.Close()
		return nil, err
	}
	ex.ownsPool = true
	return ex, nil
}

// New is [Open] on a pool that the caller has opened, and closes after the
// executor. Beside the pool the executor has up to two connections of its own,
// with the settings and hooks of the pool: one that listens, see
// Options.NoNotify, and one in reserve, for the Records and Swap by which the
// leases of subscriptions are renewed: handlers may hold every connection of the
// pool. It is made when it is needed.
func New(ctx context.Context, pool *pgxpool.Pool, o *Options) (*Executor, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, fmt.Errorf("%w postgres pool: nil", evento.ErrInvalid)
	}
	if err := checkPool(pool.Config()); err != nil {
		return nil, err
	}
	ex := &Executor{opts: opts, pool: pool, sql: newStatements(opts.Schema), names: sqlstore.NewDictionary(nil), announced: make(chan struct{}, 1), began: time.Now()}
	ex.flushed.forget = ex.recent.Forget
	ex.awaited, ex.aliveEvery = make(chan struct{}), aliveEvery
	ex.await = sync.OnceFunc(func() { close(ex.awaited) })
	if err := ex.prepare(ctx); err != nil {
		return nil, store.Errorf("postgres: open schema %q: %w", opts.Schema, classify(err))
	}
	if ex.reserve, err = newReserve(ctx, pool, &ex.opts); err != nil {
		return nil, store.Errorf("postgres: %w", err)
	}
	ex.closing, ex.close = context.WithCancel(context.WithoutCancel(ctx))
	ex.queue = appendqueue.New(appendqueue.Options{Closed: evento.ErrClosed, Panicked: evento.ErrOutcomeUnknown, Unknown: evento.ErrOutcomeUnknown, GaveUp: ex.roundTrip.recall, Patience: opts.patience}, ex.flush)
	ex.background.Go(ex.watch)
	if !opts.NoNotify {
		ex.background.Go(ex.publishLate)
		ex.background.Go(ex.listen)
	}
	return ex, nil
}

// Close implements [evento.Executor]: it waits for the calls under way. A pool
// that was given to [New] stays open.
func (ex *Executor) Close() error {
	return ex.gate.Close(func() error {
		ex.close()
		ex.queue.Close()
		ex.gate.Wait()
		ex.background.Wait()
		ex.reserve.pool.Close()
		ex.changed.Close()
		if ex.ownsPool {
			ex.pool.Close()
		}
		return nil
	})
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
// those of others when they are notified of, and else by Options.PollInterval.
func (ex *Executor) Changed() <-chan struct{} {
	changed := ex.changed.Wait()
	ex.await()
	return changed
}

// Feed implements [evento.Executor].
func (ex *Executor) Feed() *evento.Feed { return &ex.feed }

// quietPoll is the least interval of polling when nothing happens, or is notified
// of.
const quietPoll = 250 * time.Millisecond

// watch asks for commits of other processes while somebody waits for them.
func (ex *Executor) watch() {
	store.Watch{
		Changed: &ex.changed, Interval: ex.opts.PollInterval, Quiet: quietPoll,
		Notified: ex.listening.Load, Ask: ex.readHead,
		Failed: func(err error) {
			ex.opts.Logger.Warn("evento: postgres: looking for commits of other processes", "error", err)
		},
	}.Run(ex.closing)
}

// noteHead notes a position that was read or written.
func (ex *Executor) noteHead(position int64) { store.Raise(&ex.head, position) }
