// The sessions that calls use, and the one that is kept apart for those that may
// not wait.

package mysql

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/evento-go/evento"
)

// pool lends sessions. Handlers of subscriptions may hold all of them for long, while
// the leases of these subscriptions have to be renewed. So there is one more, the
// reserve, which is lent only to calls that give it back soon. Where the caller's
// handle is limited, handlers may also hold every connection that it has left: there
// the reserve is made at the beginning. Why: docs/decisions.md, "Leases: one
// connection in reserve".
//
// Slots and turn are semaphores: who has put something in holds them.
type pool struct {
	db      *sql.DB
	logger  *slog.Logger
	closing <-chan struct{}
	slots   chan struct{} // held for each session, lent or idle
	idle    chan *session // those that are not lent
	turn    chan struct{} // who has it uses the rest
	reserve *session      // nil: there is none now
	failing bool          // to make it
}

func newPool(db *sql.DB, size int, closing <-chan struct{}, logger *slog.Logger) *pool {
	return &pool{
		db: db, logger: logger, closing: closing,
		slots: make(chan struct{}, size), idle: make(chan *session, size), turn: make(chan struct{}, 1),
	}
}

// get lends a session, as soon as one is free. It is for calls that may keep it.
func (p *pool) get(ctx context.Context) (*session, error) {
	if s, err := p.wait(ctx, p.slots); s != nil || err != nil {
		return s, err
	}
	opening, cancel := until(ctx, p.closing)
	defer cancel()
	s, err := newSession(opening, p.db)
	if err != nil {
		<-p.slots
		if opening.Err() != nil && ctx.Err() == nil {
			err = evento.ErrClosed
		}
	}
	return s, err
}

// wait waits for an idle session, which is taken first, or a semaphore, which is held
// when it returns nil.
func (p *pool) wait(ctx context.Context, semaphore chan<- struct{}) (*session, error) {
	select {
	case <-p.closing:
		return nil, evento.ErrClosed
	default:
	}
	select {
	case s := <-p.idle:
		return s, nil
	default:
	}
	select {
	case s := <-p.idle:
		return s, nil
	case semaphore <- struct{}{}:
		return nil, nil //nolint:nilnil // as said above
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closing:
		return nil, evento.ErrClosed
	}
}

// beside lends a session to a call that gives it back soon: one that is idle, or
// the reserve, and else whatever is free first. It makes none for the pool,
// which handlers might keep waiting.
func (p *pool) beside(ctx context.Context) (*session, error) {
	if s, err := p.wait(ctx, p.turn); s != nil || err != nil {
		return s, err
	}
	s, err := p.reserved(ctx)
	if err == nil || ctx.Err() != nil {
		return s, err
	}
	return p.get(ctx)
}

// openTimeout is how long a session may take that nobody waits for.
const openTimeout = 30 * time.Second

// reserved returns the reserve; the caller has the turn. If it has to be made, it is
// made to the end even when the context ends before, for the next caller: contexts of
// renewals are short. After an error the turn is given up.
func (p *pool) reserved(ctx context.Context) (*session, error) {
	if p.reserve != nil {
		return p.reserve, nil
	}
	made := make(chan error) // nobody may be there to receive
	go func() {
		opening, cancel := context.WithTimeout(context.WithoutCancel(ctx), openTimeout)
		defer cancel()
		opening, end := until(opening, p.closing)
		defer end()
		s, err := newSession(opening, p.db)
		if err == nil {
			s.reserved, p.reserve, p.failing = true, s, false
		} else if !p.failing && opening.Err() == nil { // once, until it works again
			p.failing = true
			p.logger.Warn("evento: mysql: all connections are in use, and none was made beside them; leases of subscriptions may lapse", "error", err)
		}
		select {
		case made <- err:
		case <-ctx.Done():
			<-p.turn
		}
	}()
	select {
	case err := <-made:
		if err != nil {
			<-p.turn
			return nil, err
		}
		return p.reserve, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// keepReserve makes the reserve before it is needed.
func (p *pool) keepReserve(ctx context.Context) error {
	p.turn <- struct{}{}
	s, err := p.reserved(ctx)
	if err == nil {
		p.put(s)
	}
	return err
}

// put takes a session back.
func (p *pool) put(s *session) {
	if s.broken {
		s.close()
	}
	switch {
	case s.reserved:
		if s.broken {
			p.reserve = nil
		}
		<-p.turn
	case s.broken:
		<-p.slots
	default:
		p.idle <- s
	}
}

// forget drops the idle sessions: where one was lost others may be.
func (p *pool) forget() {
	for {
		select {
		case s := <-p.idle:
			s.close()
			<-p.slots
		default:
			return
		}
	}
}

// close waits until all sessions are back.
func (p *pool) close() {
	for range cap(p.slots) {
		select {
		case s := <-p.idle: // its slot stays taken
			s.close()
		case p.slots <- struct{}{}:
		}
	}
	p.turn <- struct{}{}
	if p.reserve != nil {
		p.reserve.close()
	}
}

// until ends a context when a channel is closed.
func until(ctx context.Context, closing <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// attempts is how often something is tried whose connection is lost under it.
// Sessions may have idled for so long that the server has ended all of them.
const attempts = 3

// use lends fn a session, that of the transaction to which ctx belongs if it
// does. Fn may be called again, on another session, when the connection is
// lost: doing it twice must be the same as once.
func (ex *Executor) use(ctx context.Context, fn func(s *session) error) error {
	return ex.useOf(ctx, ex.sessions.get, fn)
}

// useBeside is use for calls that may not wait for what handlers hold.
func (ex *Executor) useBeside(ctx context.Context, fn func(s *session) error) error {
	return ex.useOf(ctx, ex.sessions.beside, fn)
}

// from is how a session is lent.
type from func(context.Context) (*session, error)

func (ex *Executor) useOf(ctx context.Context, get from, fn func(s *session) error) error {
	if err := ex.gate.Check(ctx); err != nil {
		return err
	}
	if t := ex.openTransactionOf(ctx); t != nil {
		return t.do(ctx, fn)
	}
	s, err := ex.lend(ctx, get, fn)
	if err != nil {
		return err
	}
	ex.sessions.put(s)
	return nil
}

// lend is use for a session that is to be put back after fn has succeeded.
func (ex *Executor) lend(ctx context.Context, get from, fn func(s *session) error) (*session, error) {
	for attempt := 1; ; attempt++ {
		s, err := get(ctx)
		if err == nil {
			if err = fn(s); err == nil {
				return s, nil
			}
			ex.sessions.put(s)
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case disconnected(err):
			ex.sessions.forget()
		case !transient(err):
			return nil, classify(err)
		}
		if attempt >= attempts {
			return nil, classify(err)
		}
	}
}
