// Connections: where they come from, and the pool of those that read.

package sqlite

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// conn is a connection with its prepared statements. One goroutine uses it at
// a time.
type conn struct {
	*sqlite3.Conn
	stmts   map[string][]*sqlite3.Stmt // by text; several when used at once
	rows    []sqlstore.Row             // kept from page to page
	release func() error               // gives the connection back to where it is from
}

// source opens a connection. Only the first may make the file.
type source func(ctx context.Context, first bool) (*conn, error)

func checkPath(path string) error {
	switch {
	case path == "":
		return fmt.Errorf("%w sqlite path: empty", evento.ErrInvalid)
	case strings.ContainsRune(path, 0):
		return fmt.Errorf("%w sqlite path %q: has a NUL", evento.ErrInvalid, withoutSettings(path))
	case path == ":memory:" || strings.HasPrefix(path, "file::memory:") || strings.HasPrefix(path, "file:") && strings.Contains(path, "mode=memory"):
		return fmt.Errorf("%w sqlite path %q: a file is needed; for events in memory use executor/memory", evento.ErrInvalid, withoutSettings(path))
	case strings.HasPrefix(path, "file:"):
		return checkURI(path)
	}
	return nil
}

// fileSource opens a file. Only a path that begins with "file:" is a URI of the
// caller's, so that a file name may have a question mark.
func fileSource(path string, readOnly bool) source {
	return func(ctx context.Context, first bool) (*conn, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		native, err := openNative(path, first, readOnly)
		if err != nil {
			return nil, err
		}
		return newConn(native, native.Close)
	}
}

func openNative(path string, first, readOnly bool) (*sqlite3.Conn, error) {
	uri := uriOf(path)
	switch {
	case readOnly:
		uri = withSetting(uri, "mode", "ro")
	case !first: // by whatever mode it was made
		uri = withSetting(uri, "mode", "rw")
	}
	return sqlite3.Open(withModeOf(uri))
}

// dbSource takes connections out of a caller's database for as long as they
// are used. They are not given back, as their settings were changed.
func dbSource(db *sql.DB) source {
	return func(ctx context.Context, _ bool) (*conn, error) {
		_, c, err := hold(ctx, db)
		return c, err
	}
}

// hold takes a connection out of a database, both as database/sql has it and
// as what it is. To close the latter closes both.
func hold(ctx context.Context, db *sql.DB) (*sql.Conn, *conn, error) {
	held, err := db.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	var native *sqlite3.Conn
	err = held.Raw(func(dc any) error {
		c, ok := dc.(rawConn)
		if !ok {
			return fmt.Errorf("%w sqlite database: its driver is %T, not that of github.com/ncruces/go-sqlite3", evento.ErrInvalid, dc)
		}
		native = c.Raw()
		return nil
	})
	if err != nil {
		return nil, nil, errors.Join(err, held.Close())
	}
	c, err := newConn(native, func() error {
		// A bad connection is closed rather than kept for others.
		if err := held.Raw(func(any) error { return sqldriver.ErrBadConn }); !errors.Is(err, sqldriver.ErrBadConn) {
			return errors.Join(err, held.Close())
		}
		return nil
	})
	return held, c, err
}

func newConn(native *sqlite3.Conn, release func() error) (*conn, error) {
	c := &conn{Conn: native, stmts: map[string][]*sqlite3.Stmt{}, release: release}
	if err := errors.Join(native.BusyHandler(beBusy), native.Exec(ownSettings)); err != nil {
		return nil, errors.Join(err, release())
	}
	return c, nil
}

// giveUp makes the connection no longer wait for other processes once a
// channel is closed.
func (c *conn) giveUp(closing <-chan struct{}) error {
	return c.BusyHandler(func(ctx context.Context, count int) bool {
		select {
		case <-closing:
			return false
		default:
			return beBusy(ctx, count)
		}
	})
}

// beBusy waits for other processes, until the context ends.
func beBusy(ctx context.Context, count int) bool {
	wait := min(time.Duration(count+1)*50*time.Microsecond, 2*time.Millisecond)
	t := time.NewTimer(wait/2 + rand.N(wait))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// stmt returns a prepared statement that is free for use. Give it back with
// done.
func (c *conn) stmt(text string) (*sqlite3.Stmt, error) {
	if free := c.stmts[text]; len(free) > 0 {
		s := free[len(free)-1]
		c.stmts[text] = free[:len(free)-1]
		return s, nil
	}
	s, _, err := c.PrepareFlags(text, sqlite3.PREPARE_PERSISTENT)
	return s, err
}

// done ends the use of a statement and keeps it for the next.
func (c *conn) done(s *sqlite3.Stmt) error {
	err := s.Reset()
	c.stmts[s.SQL()] = append(c.stmts[s.SQL()], s)
	return err
}

// scratch lends the slice for the rows of a page; keep takes it back.
func (c *conn) scratch() []sqlstore.Row {
	rows := c.rows
	c.rows = nil
	return rows
}

func (c *conn) keep(rows []sqlstore.Row) {
	clear(rows) // lets go of the data
	c.rows = rows[:0]
}

// exec runs a statement with integer and text parameters that returns no row.
func (c *conn) exec(text string, args ...any) error {
	_, _, err := c.query(text, 0, args...)
	return err
}

// query runs a statement and returns the integer columns of its first row, if
// it has one.
func (c *conn) query(text string, columns int, args ...any) (values [3]int64, found bool, err error) {
	s, err := c.stmt(text)
	if err != nil {
		return values, false, err
	}
	if err := bind(s, args...); err != nil {
		return values, false, errors.Join(err, c.done(s))
	}
	if found = s.Step(); found {
		for i := range columns {
			values[i] = s.ColumnInt64(i)
		}
	}
	err = s.Err()
	if e := c.done(s); err == nil {
		err = e
	}
	return values, found, err
}

func bind(s *sqlite3.Stmt, args ...any) error {
	for i, arg := range args {
		var err error
		switch v := arg.(type) {
		case int64:
			err = s.BindInt64(i+1, v)
		case uint64:
			err = s.BindInt64(i+1, int64(v))
		case string:
			err = s.BindText(i+1, v)
		case []byte:
			err = s.BindBlob(i+1, v)
		case nil:
			err = s.BindNull(i + 1)
		default:
			err = fmt.Errorf("parameter %d has type %T", i+1, arg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// close finalizes the statements first: SQLite keeps a connection that has
// any, and with it the write-ahead log.
func (c *conn) close() error {
	for _, free := range c.stmts {
		for _, s := range free {
			// Finalizing repeats the error of the last step, told already.
			_ = s.Close()
		}
	}
	c.stmts = nil
	c.SetInterrupt(context.Background())
	return c.release()
}

// pool lends connections for reading, and opens them when they are needed. The
// one that came back last is lent first: its cache is warm.
type pool struct {
	src    func(context.Context) (*conn, error)
	places chan struct{} // one for each connection that may be lent
	mu     sync.Mutex
	free   []*conn
}

func newPool(src func(context.Context) (*conn, error), size int) *pool {
	return &pool{src: src, places: make(chan struct{}, size)}
}

// get lends a connection whose statements end with the context.
func (p *pool) get(ctx context.Context, closing <-chan struct{}) (*conn, error) {
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-closing:
		return nil, evento.ErrClosed
	}
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		c.SetInterrupt(ctx)
		return c, nil
	}
	p.mu.Unlock()
	c, err := p.open(ctx, closing)
	if err != nil {
		<-p.places
		return nil, err
	}
	c.SetInterrupt(ctx)
	return c, nil
}

func (p *pool) open(ctx context.Context, closing <-chan struct{}) (*conn, error) {
	c, err := p.src(ctx)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.giveUp(closing), c.Exec("PRAGMA query_only = ON")); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// fill opens all connections, before any is lent.
func (p *pool) fill(ctx context.Context, closing <-chan struct{}) error {
	for range cap(p.places) {
		c, err := p.open(ctx, closing)
		if err != nil {
			return err
		}
		p.free = append(p.free, c)
	}
	return nil
}

// put takes a connection back.
func (p *pool) put(c *conn) {
	c.SetInterrupt(context.Background())
	p.mu.Lock()
	p.free = append(p.free, c)
	p.mu.Unlock()
	<-p.places
}

// close waits for every connection to be given back, lends none from then on,
// and closes them.
func (p *pool) close() error {
	for range cap(p.places) {
		p.places <- struct{}{}
	}
	var errs []error
	for _, c := range p.free {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}
