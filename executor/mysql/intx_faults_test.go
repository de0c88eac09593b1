//go:build unix

// Transactions of callers that end in the middle, or have to wait.

package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/testserver"
)

// A connection that is lost in a transaction: nothing is stored unless the
// commit may have been made, and then InTx with the same builders settles it,
// for the table too.
func TestInTxLostReplies(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	p, through := newProxy(t, dsn)
	b := booksOf(t, openSilent(t, through), dsn)
	rows := 0
	for _, c := range []struct {
		name string
		cut
		unknown bool
	}{
		{"row", cut{text: insertEntry, forward: true}, false},
		{"lock not made", cut{text: "FOR UPDATE"}, false},
		{"lock made", cut{text: "FOR UPDATE", forward: true}, false},
		{"events made", cut{text: "INSERT INTO evento_event", forward: true}, false},
		{"commit not made", cut{text: "; COMMIT"}, true},
		{"commit made", cut{text: "; COMMIT", forward: true, packets: 3}, true},
		{"commit half made", cut{text: "; COMMIT", forward: true, race: true}, true},
	} {
		for _, shared := range []bool{false, true} {
			// On a fresh executor the statements are prepared again.
			b := booksOf(t, openSilent(t, through), dsn)
			before := rows
			builders := []*evento.CommitBuilder{
				evento.Aggregate("own "+evento.NewID().String()).Event(happened{}, happened{}),
				evento.Aggregate("entries").AnyVersion().Event(happened{}),
				evento.Aggregate("entries").AnyVersion().Event(happened{}),
			}
			if shared {
				builders = builders[1:]
			}
			fn := func(ctx context.Context) error {
				if err := enter(ctx, insertEntry); err != nil {
					return err
				}
				for _, builder := range builders {
					if _, err := builder.Commit(ctx, b); err != nil {
						return err
					}
				}
				return nil
			}
			p.next.Store(&c.cut)
			err := b.InTx(t.Context(), fn)
			switch {
			case p.next.Load() != nil:
				t.Fatalf("%s: nothing was cut", c.name)
			case err == nil, c.unknown != errors.Is(err, evento.ErrOutcomeUnknown):
				t.Fatalf("%s: InTx() = %v, want unknown: %v", c.name, err, c.unknown)
			case !c.unknown:
				b.want(t, before)
			}
			rows++
			for range 2 {
				if err := b.InTx(t.Context(), fn); err != nil {
					t.Fatalf("%s: InTx() again = %v", c.name, err)
				}
				if b.want(t, rows); t.Failed() {
					t.Fatal(c.name)
				}
			}
		}
	}
	log(t, b)
}

// A deadlock over rows of the caller is told to the one that the server has
// given up, and the other goes on. One that does not tell gets an error too.
func TestInTxDeadlock(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]bool{"Told": true, "Hidden": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := testserver.MySQL(t)
			if dsn == "" {
				return
			}
			b := openBooks(t, dsn)
			if _, err := b.db.ExecContext(t.Context(), "CREATE TABLE stock (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB"); err != nil {
				t.Fatal(err)
			}
			if _, err := b.db.ExecContext(t.Context(), "INSERT INTO stock VALUES (1, 0), (2, 0)"); err != nil {
				t.Fatal(err)
			}
			var locked sync.WaitGroup
			locked.Add(2)
			errs := make([]error, 2)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() {
					errs[i] = b.InTx(t.Context(), func(ctx context.Context) error {
						err := errors.Join(b.both(ctx), enter(ctx, "UPDATE stock SET n = n + 1 WHERE id = ?", i+1))
						locked.Done()
						if err != nil {
							return err
						}
						locked.Wait()
						if err := enter(ctx, "UPDATE stock SET n = n + 1 WHERE id = ?", 2-i); err != nil && tell {
							return err
						}
						return enter(ctx, "UPDATE stock SET n = n + 1 WHERE id = ?", 2-i)
					})
				})
			}
			wg.Wait()
			lost := errs[0]
			if lost == nil {
				lost = errs[1]
			}
			if lost == nil || (errs[0] == nil) == (errs[1] == nil) || errors.Is(lost, evento.ErrOutcomeUnknown) {
				t.Fatalf("InTx() = %v and %v, want one error", errs[0], errs[1])
			}
			if tell {
				wantNumber(t, "InTx()", lost, 1213)
			} else if wantNumber(t, "InTx()", lost, 1213); !strings.Contains(lost.Error(), "could not be committed because of what was done in it") {
				t.Errorf("InTx() = %v", lost)
			}
			b.want(t, 1)
		})
	}
}

// Whatever becomes of a transaction, no connection is left in one, and none is
// more than allowed.
func TestInTxLeaks(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	root := raw(t, dsn)
	cfg, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = &driver.NopLogger{}
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	const most = 4
	ex, err := mysql.New(t.Context(), db, &mysql.Options{Connections: most - 2, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	b := booksOf(t, ex, dsn)
	const rows = "SELECT a.n FROM (SELECT 1 n UNION SELECT 2 UNION SELECT 3) a JOIN (SELECT 1 m UNION SELECT 2 UNION SELECT 3) b"
	ways := []func(ctx context.Context, cancel func()) error{
		func(ctx context.Context, _ func()) error { return b.both(ctx) },
		func(ctx context.Context, _ func()) error {
			return errors.Join(b.both(ctx), errors.New("failure"))
		},
		func(ctx context.Context, cancel func()) error {
			defer cancel()
			return b.both(ctx)
		},
		func(ctx context.Context, cancel func()) error {
			if err := b.both(ctx); err != nil {
				return err
			}
			cancel()
			return enter(ctx, insertEntry)
		},
		func(ctx context.Context, _ func()) error {
			if err := b.both(ctx); err != nil {
				return err
			}
			open, err := mysql.Tx(ctx).QueryContext(context.Background(), rows) //nolint:sqlclosecheck,rowserrcheck // not closing is what is tested
			if err != nil || !open.Next() {
				return fmt.Errorf("no rows: %w", err)
			}
			return nil
		},
		func(ctx context.Context, _ func()) error {
			if err := b.both(ctx); err != nil {
				return err
			}
			prepared, err := mysql.Tx(ctx).PrepareContext(ctx, rows+" WHERE a.n > ?") //nolint:sqlclosecheck // as above
			if err != nil {
				return err
			}
			open, err := prepared.QueryContext(context.Background(), 1) //nolint:sqlclosecheck,rowserrcheck // as above
			if err != nil || !open.Next() {
				return fmt.Errorf("no rows: %w", err)
			}
			return nil
		},
		func(ctx context.Context, _ func()) error {
			if err := b.both(ctx); err != nil {
				return err
			}
			panic("panic")
		},
		func(ctx context.Context, _ func()) error {
			_ = mysql.Tx(ctx).Commit()
			return b.both(ctx)
		},
		func(ctx context.Context, _ func()) error {
			for _, err := range evento.Events(ctx, b, evento.Query{}) {
				if err == nil {
					break
				}
			}
			return b.InTx(ctx, b.both)
		},
	}
	var made sync.Map
	var wg sync.WaitGroup
	for g := range 5 {
		wg.Go(func() {
			for i := range 5 * len(ways) {
				func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					defer func() { _ = recover() }()
					if err := b.InTx(ctx, func(ctx context.Context) error { return ways[(i+g)%len(ways)](ctx, cancel) }); err == nil {
						made.Store([2]int{g, i}, true)
					} else if errors.Is(err, evento.ErrOutcomeUnknown) {
						t.Errorf("InTx() = %v", err)
					}
				}()
			}
		})
	}
	wg.Wait()
	n := 0
	made.Range(func(any, any) bool { n++; return true })
	if n < 5*5*3 {
		t.Errorf("%d transactions were committed", n)
	}
	b.want(t, n)
	create(t, b)
	eventually(t, "no transaction is open", func() bool { return !inTransaction(t, root) })
	if s := db.Stats(); s.InUse > most || s.OpenConnections > most {
		t.Errorf("%+v, want at most %d connections", s, most)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
	if s := db.Stats(); s.InUse != 0 || s.OpenConnections != 0 {
		t.Errorf("after Close: %+v, want no connection", s)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// One who gives up while others have the counter, or rows, returns at once and
// stores nothing.
func TestInTxGivingUp(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	b := openBooks(t, dsn)
	for _, lock := range []func(f foreign){
		func(f foreign) { f.lockCounter() },
		func(f foreign) { f.exec("LOCK TABLES entry WRITE") },
	} {
		f := begin(t, b.db)
		lock(f)
		ctx, cancel := context.WithCancel(t.Context())
		var done []<-chan error
		for range 12 { // more than there are connections
			d := make(chan error, 1)
			go func() { d <- b.InTx(ctx, b.both) }()
			done = append(done, d)
		}
		eventually(t, "some wait", func() bool {
			var n int
			if err := f.tx.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND (info LIKE 'SELECT%FOR UPDATE' OR state LIKE 'Waiting for table%')").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n > 0
		})
		cancel()
		for _, d := range done {
			if err := receive(t, "InTx", d); !errors.Is(err, context.Canceled) || errors.Is(err, evento.ErrOutcomeUnknown) {
				t.Errorf("InTx() of one who gave up = %v, want %v", err, context.Canceled)
			}
		}
		f.exec("UNLOCK TABLES")
		f.end(f.tx.Rollback)
		b.want(t, 0)
	}
	if err := b.InTx(t.Context(), b.both); err != nil {
		t.Errorf("InTx() = %v", err)
	}
	b.want(t, 1)
}

// A server is killed while many are in the middle of transactions. What was
// acknowledged is there, rows and events alike; the same again settles the
// rest, exactly once.
func TestInTxServerKilled(t *testing.T) {
	t.Parallel()
	s := testserver.MariaDB(t)
	if s == nil {
		return
	}
	dsn := s.DSN("root", "")
	p, through := newProxy(t, dsn)
	b := booksOf(t, openSilent(t, through), dsn)
	type attempt struct {
		fn  func(ctx context.Context) error
		err error
	}
	next := 0
	for _, c := range []cut{
		{text: "; COMMIT"},
		{text: "; COMMIT", forward: true, packets: 3},
		{text: "; COMMIT", forward: true, race: true},
		{text: "entries", forward: true, race: true}, // a parameter of a prepared statement
	} {
		ended := make(chan struct{})
		c.end = func() { s.Kill(); close(ended) }
		const callers, least = 6, 30
		var mu sync.Mutex
		acknowledged := map[int]bool{}
		var failed []*attempt
		enough := make(chan struct{})
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for {
					mu.Lock()
					next++
					n := next
					mu.Unlock()
					own, common := evento.Create().Event(happened{n}), evento.Aggregate("entries").AnyVersion().Event(happened{n}, happened{n})
					a := &attempt{fn: func(ctx context.Context) error {
						if err := enter(ctx, "INSERT INTO entry (n) VALUES (?)", n); err != nil {
							return err
						}
						_, err := own.Commit(ctx, b)
						_, err2 := common.Commit(ctx, b)
						return errors.Join(err, err2)
					}}
					a.err = b.InTx(t.Context(), a.fn)
					mu.Lock()
					if a.err != nil {
						failed = append(failed, a)
					} else if acknowledged[n] = true; len(acknowledged) == least {
						close(enough)
					}
					mu.Unlock()
					if a.err != nil {
						return
					}
				}
			})
		}
		<-enough
		p.next.Store(&c)
		<-ended
		wg.Wait()
		s.Start()
		there := stored(t, log(t, b))
		for n := range acknowledged {
			if there[n] != 3 {
				t.Errorf("transaction %d was acknowledged, and %d of its events are there", n, there[n])
			}
		}
		unknown := 0
		for _, a := range failed {
			if errors.Is(a.err, evento.ErrOutcomeUnknown) {
				unknown++
			}
			wg.Go(func() {
				for range 2 {
					if err := b.InTx(t.Context(), a.fn); err != nil {
						t.Errorf("InTx() again = %v", err)
					}
				}
			})
		}
		wg.Wait()
		t.Logf("killed at %q: %d acknowledged, %d unknown, %d refused", c.text, len(acknowledged), unknown, len(failed)-unknown)
		if strings.HasPrefix(c.text, ";") && unknown == 0 {
			t.Error("no outcome was unknown")
		}
		b.want(t, next)
		var distinct int
		if err := b.db.QueryRowContext(t.Context(), "SELECT COUNT(DISTINCT n) FROM entry").Scan(&distinct); err != nil || distinct != next {
			t.Errorf("%d different rows, %v, want %d", distinct, err, next)
		}
		for n, times := range stored(t, log(t, b)) {
			if times != 3 {
				t.Errorf("%d events of transaction %d", times, n)
			}
		}
		if t.Failed() {
			return
		}
	}
}
