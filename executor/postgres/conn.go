// The connection beside the pool.
//
// Handlers of subscriptions hold connections for as long as they like, and the
// leases of these subscriptions are renewed meanwhile, by Records and Swap. A
// renewal that waited for a handler's connection would come when the lease has
// lapsed. So one connection is kept in reserve: a call that the pool does not
// serve at once waits for both, and takes what it gets first.

package postgres

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// reserve is one connection beside the pool, for calls that must not wait for
// those that handlers hold. It is a pool of one: with the settings and hooks of
// the other, made when it is needed, to the end also when the caller cannot wait
// for it, lent in turn, and made again when it breaks.
//
// Why: docs/decisions.md, "Leases: one connection in reserve".
type reserve struct {
	pool    *pgxpool.Pool
	opts    *Options
	failing atomic.Bool
}

// reserveIdle is how long the connection is kept when nobody needs it.
const reserveIdle = time.Minute

// newReserve makes no connection yet. Of the context only the values count.
func newReserve(ctx context.Context, pool *pgxpool.Pool, opts *Options) (*reserve, error) {
	config := pool.Config()
	config.MaxConns, config.MinConns, config.MinIdleConns = 1, 0, 0
	config.MaxConnIdleTime = min(config.MaxConnIdleTime, reserveIdle)
	one, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &reserve{pool: one, opts: opts}, nil
}

// acquire waits for its turn.
func (r *reserve) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := r.pool.Acquire(ctx)
	switch {
	case err == nil:
		r.failing.Store(false)
	case ctx.Err() == nil && !r.failing.Swap(true): // once, until it works again
		r.opts.Logger.Warn("evento: postgres: the pool is exhausted, and there is no connection beside it; leases of subscriptions may lapse", "error", err)
	}
	return conn, err
}

// beside lends fn a connection, soon also when all of the pool are held. A call
// that is part of a transaction has that of the transaction instead.
func (ex *Executor) beside(ctx context.Context, fn func(conn *pgxpool.Conn) error) error {
	conn, err := first(ctx, ex.pool.Acquire, ex.reserve.acquire, (*pgxpool.Conn).Release)
	if err != nil {
		return err
	}
	defer conn.Release()
	return fn(conn)
}

// patience is how long a call waits for the pool alone. It is short beside the
// shortest lease, and long for a pool that is only busy.
const patience = 5 * time.Millisecond

// first asks pool. When that takes longer than patience it asks spare too, and returns
// what comes first; what comes second is given back. When both fail the error is the
// pool's, or the context's.
//
// The contexts of pool and spare end when first returns. Pool and spare must not drop a
// connection that is being made then: the contexts of renewals are short, and none would
// ever be ready.
func first[T any](ctx context.Context, pool, spare func(context.Context) (T, error), giveBack func(T)) (T, error) {
	waiting, cancel := context.WithCancel(ctx)
	s := &second[T]{done: make(chan struct{})}
	timer := time.AfterFunc(patience, func() { s.get(waiting, cancel, spare) })
	returned := false
	defer func() {
		cancel()
		if !returned && !timer.Stop() { // a panic
			s.release(giveBack)
		}
	}()
	got, err := pool(waiting)
	returned = true
	switch {
	case timer.Stop():
		return got, err
	case err == nil:
		cancel()
		s.release(giveBack)
		return got, nil
	}
	<-s.done
	switch {
	case s.panicked != nil:
		panic(s.panicked)
	case s.got:
		return s.value, nil
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return got, err
}

// second is what the reserve gives. All but done is set before done is closed.
type second[T any] struct {
	done     chan struct{}
	value    T
	got      bool
	panicked any
}

func (s *second[T]) get(ctx context.Context, cancel func(), spare func(context.Context) (T, error)) {
	defer close(s.done)
	defer func() { s.panicked = recover() }()
	var err error
	if s.value, err = spare(ctx); err == nil {
		s.got = true
		cancel() // the pool is not waited for any more
	}
}

// release waits for the reserve to have given up, and gives back what it has
// given.
func (s *second[T]) release(giveBack func(T)) {
	if <-s.done; s.got {
		giveBack(s.value)
	}
}
