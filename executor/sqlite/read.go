// Reading pages of events.

package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Read implements [evento.Executor].
func (ex *Executor) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if err := ex.gate.Check(ctx); err != nil {
		return nil, err
	}
	at, err := store.Begin(q, args, ex.positions)
	if err != nil {
		return nil, err
	}
	var page *cursor.Page[evento.RawEvent]
	err = ex.read(ctx, func(c *conn) (err error) {
		page, err = ex.readPage(c, q, args, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	if t := ex.openTransactionOf(ctx); t != nil {
		t.Overlay(page, q, args)
	}
	return page, nil
}

// read lends a connection to fn, that of the transaction to which ctx belongs
// if it does.
func (ex *Executor) read(ctx context.Context, fn func(c *conn) error) error {
	if err := ex.gate.Check(ctx); err != nil {
		return err
	}
	if t := ex.openTransactionOf(ctx); t != nil {
		return t.do(ctx, func(tx *transaction) error { return fn(tx.conn) })
	}
	if err := ex.file.lostMeanwhile(); err != nil {
		ex.fail(err)
		return ex.gate.Check(ctx)
	}
	c, err := ex.readers.get(ctx, ex.closing)
	if err != nil {
		return ex.readError(ctx, err)
	}
	defer ex.readers.put(c)
	if err := fn(c); err != nil {
		return ex.readError(ctx, err)
	}
	return nil
}

// readError says why a read failed, in the caller's terms.
func (ex *Executor) readError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

// snapshot runs fn in one read transaction, so that all it reads is of one moment. In
// a caller's transaction that is so already.
func (c *conn) snapshot(fn func() error) error {
	if !c.GetAutocommit() {
		return fn()
	}
	if err := c.exec("BEGIN"); err != nil {
		return err
	}
	err := fn()
	// Ends also when the context has.
	old := c.SetInterrupt(context.Background())
	defer c.SetInterrupt(old)
	return errors.Join(err, c.exec("COMMIT"))
}

func (ex *Executor) readPage(c *conn, q evento.Query, args cursor.Args, at uint64) (page *cursor.Page[evento.RawEvent], err error) {
	if s := ex.cachedSearch(c, q); s != nil {
		return ex.search(s, args, int64(at))
	}
	err = c.snapshot(func() error {
		// The names are looked up in the transaction in which the events are read:
		// a name that came between the two would be passed over for good.
		p, err := ex.names.plan(c, q)
		if err != nil {
			return err
		}
		page, err = ex.search(newSearch(c, p), args, int64(at))
		return err
	})
	return page, err
}

// search reads the page and looks at what lies around it.
func (ex *Executor) search(s *search, args cursor.Args, at int64) (*cursor.Page[evento.RawEvent], error) {
	// The head is read before the events: then all events up to it are seen, also
	// where the two reads do not share a snapshot. It is not needed to load an
	// aggregate from its beginning.
	load := at == 0 && !args.IsBackward() && s.aggregatesOnly()
	if !load {
		if err := s.readHead(); err != nil {
			return nil, err
		}
		if at > s.head {
			return nil, fmt.Errorf("%w: position %d, the store is at %d", cursor.ErrBeyondHead, at, s.head)
		}
	}
	from, backward := store.From(args, at, s.head)
	rows, more, err := s.rows(from, backward, args.Limit())
	if err == nil && load && len(rows) == 0 {
		if err = s.readHead(); err == nil {
			rows, more, err = s.rows(from, backward, args.Limit())
		}
	}
	if err != nil {
		return nil, err
	}
	found := store.Found{More: more, At: uint64(at), Head: uint64(s.head)}
	found.Edges, err = ex.names.events(s.conn, rows)
	s.conn.keep(rows)
	if err != nil {
		return nil, err
	}
	if err := found.LookBehind(args, from, s.any); err != nil {
		return nil, err
	}
	return found.Page(args, ex.positions), nil
}
