//go:build unix

// Servers that refuse, and that do not answer.

package mysql_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/testserver"
)

func wantNumber(t *testing.T, what string, err error, number uint16) {
	t.Helper()
	var said *driver.MySQLError
	if !errors.As(err, &said) || said.Number != number {
		t.Errorf("%s = %v, want error %d of the server", what, err, number)
	}
}

func wantEvents(t *testing.T, ex evento.Executor, n int) {
	t.Helper()
	if events := log(t, ex); len(events) != n {
		t.Errorf("%d events are there, want %d", len(events), n)
	}
}

func create(t *testing.T, ex evento.Executor) evento.Receipt {
	t.Helper()
	r, err := evento.Create().Event(happened{}).Commit(t.Context(), ex)
	if err != nil {
		t.Fatalf("Commit() = %v", err)
	}
	return r
}

// writes are the methods that write.
func writes(ctx context.Context, ex evento.Executor) map[string]error {
	_, commit := evento.Create().Event(happened{}).Commit(ctx, ex)
	_, all := evento.CommitAll(ctx, ex, evento.Aggregate("one").AnyVersion().Event(happened{}), evento.Create().Event(happened{}))
	one, two := record(evento.NewID().String(), 0), record(evento.NewID().String(), 0)
	gone := two
	gone.Revision, gone.Remove = 1, true
	return map[string]error{
		"Commit": commit, "CommitAll": all,
		"Swap of one":  swap(ctx, ex, one),
		"Swap of two":  swap(ctx, ex, two, record(evento.NewID().String(), 0)),
		"Swap again":   swap(ctx, ex, gone, record(one.Key, 1)),
		"SaveSnapshot": ex.SaveSnapshot(ctx, evento.SnapshotKey{Projection: "p"}, evento.Snapshot{Version: 1}),
	}
}

// record is a change of one.
func record(key string, revision uint64) evento.Change {
	return evento.Change{RecordKey: evento.RecordKey{Kind: "test", Key: key}, Revision: revision, Value: []byte(key)}
}

func swap(ctx context.Context, ex evento.Executor, changes ...evento.Change) error {
	return ex.Swap(ctx, evento.Swap{Changes: changes, Wake: true})
}

// processes counts the connections of a user.
func processes(t *testing.T, db *sql.DB, user string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE user = ?", user).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually asks until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	ask := time.NewTicker(5 * time.Millisecond)
	defer ask.Stop()
	for late := time.After(5 * time.Minute); !so(); {
		select {
		case <-ask.C:
		case <-late:
			t.Fatalf("still not: %s", what)
		}
	}
}

// What a server may refuse, on one server that is made to refuse it.
//
//nolint:tparallel // the parts change the settings of the server, in order
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := testserver.MariaDB(t)
	if s == nil {
		return
	}
	s.Exec("CREATE USER app IDENTIFIED BY 'right'", "GRANT ALL ON evento.* TO app", "CREATE USER stranger IDENTIFIED BY 'right'")
	root := raw(t, s.DSN("root", ""))
	app := s.DSN("app", "right")
	ex := openSilent(t, app)
	for name, err := range writes(t.Context(), ex) {
		if err != nil {
			t.Fatalf("%s = %v", name, err)
		}
	}
	const before = 3
	wantEvents(t, ex, before)

	t.Run("Login", func(t *testing.T) {
		for dsn, number := range map[string]uint16{
			s.DSN("app", "wrong"):      1045,
			s.DSN("nobody", "right"):   1045,
			s.DSN("stranger", "right"): 1044,
			strings.Replace(s.DSN("root", ""), "/evento", "/nowhere", 1): 1049,
		} {
			_, err := mysql.Open(t.Context(), dsn, nil)
			wantNumber(t, "Open("+dsn+")", err, number)
			if err != nil && (strings.Contains(err.Error(), "right") || strings.Contains(err.Error(), "wrong")) {
				t.Errorf("the error has the password: %v", err)
			}
		}
		eventually(t, "the connections that were refused are closed", func() bool {
			return processes(t, root, "stranger") == 0
		})
	})
	t.Run("Rights", func(t *testing.T) {
		// Few rights; TestLeastRights has those of docs/production.md.
		s.Exec("CREATE USER least", "GRANT SELECT, INSERT, UPDATE ON evento.* TO least", "GRANT DELETE ON evento.evento_record TO least")
		s.Exec("CREATE DATABASE made", "GRANT SELECT ON made.* TO least", "GRANT SELECT, INSERT ON evento.evento_event TO app")
		least := openSilent(t, s.DSN("least", ""))
		for name, err := range writes(t.Context(), least) {
			if err != nil {
				t.Errorf("%s with few rights = %v", name, err)
			}
		}
		_, err := mysql.Open(t.Context(), strings.Replace(s.DSN("least", ""), "/evento", "/made", 1), nil)
		wantNumber(t, "Open without the right to make tables", err, 1142)
		s.Exec("REVOKE INSERT ON evento.* FROM least")
		closeAllOf(t, root, "least")
		_, err = evento.Create().Event(happened{}).Commit(t.Context(), least)
		wantNumber(t, "Commit without the right to insert", err, 1142)
		wantEvents(t, ex, before+3)
	})
	t.Run("ReadOnly", func(t *testing.T) {
		s.Exec("SET GLOBAL read_only = 1", "CREATE DATABASE empty", "GRANT ALL ON empty.* TO app")
		fresh := openSilent(t, app)
		for _, ex := range []evento.Executor{ex, fresh} {
			for range 2 {
				for name, err := range writes(t.Context(), ex) {
					if !errors.Is(err, evento.ErrReadOnly) || errors.Is(err, evento.ErrOutcomeUnknown) {
						t.Errorf("%s on a read-only server = %v, want %v", name, err, evento.ErrReadOnly)
					}
				}
				wantEvents(t, ex, before+3)
			}
		}
		if _, err := mysql.Open(t.Context(), strings.Replace(app, "/evento", "/empty", 1), nil); !errors.Is(err, evento.ErrReadOnly) {
			t.Errorf("Open of an empty database on a read-only server = %v, want %v", err, evento.ErrReadOnly)
		}
		// It becomes read-only and writable again while many write.
		var wg sync.WaitGroup
		var stop context.CancelFunc
		running, stop := context.WithCancel(t.Context())
		defer stop()
		writable := make([]bool, 8)
		for i := range writable {
			wg.Go(func() {
				for running.Err() == nil {
					switch _, err := evento.Create().Event(happened{}).Commit(t.Context(), ex); {
					case err == nil:
						writable[i] = true
					case !errors.Is(err, evento.ErrReadOnly):
						t.Errorf("Commit() while the server becomes read-only = %v, want %v or none", err, evento.ErrReadOnly)
						return
					}
				}
			})
		}
		for range 5 {
			s.Exec("SET GLOBAL read_only = 0")
			// Not at once: it may join those whom the server has just refused.
			eventually(t, "a commit is taken", func() bool {
				_, err := evento.Create().Event(happened{}).Commit(t.Context(), ex)
				return err == nil
			})
			s.Exec("SET GLOBAL read_only = 1")
		}
		s.Exec("SET GLOBAL read_only = 0")
		create(t, fresh)
		stop()
		wg.Wait()
		log(t, fresh)
	})
	t.Run("Connections", func(t *testing.T) {
		n := len(log(t, ex))
		s.Exec("SET GLOBAL max_connections = 10")
		defer s.Exec("SET GLOBAL max_connections = 100")
		closeAllOf(t, root, "app")
		closeAllOf(t, root, "least")
		db := raw(t, app)
		var held []*sql.Conn
		release := func() {
			for _, c := range held {
				_ = c.Close()
			}
			held = nil
			db.SetMaxIdleConns(0)
		}
		defer release()
		for {
			c, err := db.Conn(t.Context())
			if err != nil {
				wantNumber(t, "connecting", err, 1040)
				break
			}
			held = append(held, c)
		}
		_, err := mysql.Open(t.Context(), app, nil)
		wantNumber(t, "Open", err, 1040)
		_, err = evento.Create().Event(happened{}).Commit(t.Context(), ex)
		wantNumber(t, "Commit", err, 1040)
		_, err = ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, ""))
		wantNumber(t, "Read", err, 1040)
		release()
		eventually(t, "a connection is free", func() bool {
			_, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, ""))
			return err == nil
		})
		eventually(t, "another connection is free", func() bool {
			_, err := evento.Aggregate("waiting").Event(happened{}).Commit(t.Context(), ex)
			return err == nil
		})
		wantEvents(t, ex, n+1)
	})
	t.Run("Packet", func(t *testing.T) {
		n := len(log(t, ex))
		s.Exec("SET GLOBAL max_allowed_packet = 65536")
		defer s.Exec("SET GLOBAL max_allowed_packet = 16777216")
		small := openSilent(t, app)
		large := evento.Create().Event(note{strings.Repeat("x", 70_000)})
		for range 2 {
			_, err := large.Commit(t.Context(), small)
			if !errors.Is(err, evento.ErrTooLarge) || !strings.Contains(err.Error(), "max_allowed_packet is 65536") {
				t.Errorf("Commit() of more than the server takes = %v, want %v with the setting and its value", err, evento.ErrTooLarge)
			}
		}
		key := evento.SnapshotKey{Projection: "large"}
		if err := small.SaveSnapshot(t.Context(), key, evento.Snapshot{Version: 1, Data: make([]byte, 70_000)}); !errors.Is(err, evento.ErrTooLarge) || !strings.Contains(err.Error(), "max_allowed_packet is 65536") {
			t.Errorf("SaveSnapshot() of more than the server takes = %v, want %v with the setting and its value", err, evento.ErrTooLarge)
		}
		if _, err := small.Snapshot(t.Context(), key); !errors.Is(err, evento.ErrNotFound) {
			t.Errorf("Snapshot() = %v, want %v", err, evento.ErrNotFound)
		}
		wantEvents(t, small, n)
		// Several events that fit one by one.
		if _, err := evento.Create().Event(note{strings.Repeat("x", 40_000)}, note{strings.Repeat("y", 40_000)}).Commit(t.Context(), small); err != nil {
			t.Errorf("Commit() of two events that are together more than a packet = %v", err)
		}
		wantEvents(t, small, n+2)
		// Tags count, and are more than one packet.
		tags := make([]string, evento.MaxTags)
		for i := range tags {
			tags[i] = fmt.Sprint(i, strings.Repeat("x", 200))
		}
		fits := labelled{Text: strings.Repeat("x", 61_000)}
		over := labelled{fits.Text, tags}
		if _, err := evento.Create().Event(over).Commit(t.Context(), small); !errors.Is(err, evento.ErrTooLarge) || !strings.Contains(err.Error(), "max_allowed_packet is 65536") {
			t.Errorf("Commit() of more than the server takes with its tags = %v, want %v with the setting and its value", err, evento.ErrTooLarge)
		}
		many := evento.Create().Event(fits)
		for range 120 {
			many.Event(labelled{Tagged: tags})
		}
		if _, err := many.Commit(t.Context(), small); err != nil {
			t.Errorf("Commit() of many events with tags = %v", err)
		}
		n += 121
		wantEvents(t, small, n+2)
		wantIndex(t, root, small)
		// An executor that was opened when the server took more.
		closeAllOf(t, root, "app")
		for range 2 {
			if _, err := large.Commit(t.Context(), ex); !errors.Is(err, evento.ErrTooLarge) || !strings.Contains(err.Error(), "max_allowed_packet") {
				t.Errorf("Commit() of more than the server takes now = %v, want %v with the setting", err, evento.ErrTooLarge)
			}
		}
		wantEvents(t, ex, n+2)
		create(t, ex)
	})
}

type note struct{ Text string }

func (note) AggregateType() evento.AggregateType { return thing }
func (note) EventName() string                   { return "Noted" }

// closeAllOf ends the connections of a user.
func closeAllOf(t *testing.T, root *sql.DB, user string) {
	t.Helper()
	if _, err := root.ExecContext(t.Context(), "KILL HARD CONNECTION USER "+user); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connections are closed", func() bool {
		return processes(t, root, user) == 0
	})
}

// The tables may not grow: the write is refused, and changes nothing, until
// there is room again.
func TestFull(t *testing.T) {
	t.Parallel()
	s := testserver.MariaDB(t, "--innodb-data-file-path=ibdata1:12M:autoextend:max:20M", "--innodb-file-per-table=0", "--innodb-undo-tablespaces=0")
	if s == nil {
		return
	}
	ex := openSilent(t, s.DSN("root", ""))
	stuffed := note{strings.Repeat("x", 100_000)}
	if err := swap(t.Context(), ex, record("key", 0)); err != nil {
		t.Fatal(err)
	}
	const writers = 4
	made := make([]int, writers)
	fullNow := func() {
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for {
					_, err := evento.Create().Event(stuffed, stuffed).Commit(t.Context(), ex)
					if err != nil {
						if !errors.Is(err, evento.ErrFull) || errors.Is(err, evento.ErrOutcomeUnknown) {
							t.Errorf("Commit() = %v, want %v", err, evento.ErrFull)
						}
						return
					}
					made[i]++
				}
			})
		}
		wg.Wait()
	}
	total := func() (n int) {
		for _, m := range made {
			n += 2 * m
		}
		return n
	}
	fullNow()
	first := total()
	if first < 10 {
		t.Errorf("the store was full after %d events", first)
	}
	wantEvents(t, ex, first)
	// The commits that were refused in one flush have given back what they had
	// taken, so that there may be room for one large snapshot or two. For as many
	// as the file is large there is not.
	refused := error(nil)
	for n := 0; refused == nil; n++ {
		key := evento.SnapshotKey{Projection: "p", AggregateID: fmt.Sprint(n)}
		refused = ex.SaveSnapshot(t.Context(), key, evento.Snapshot{Version: 1, Data: make([]byte, 2_000_000)})
		if refused == nil && n == 20/2 {
			t.Fatalf("%d snapshots of 2 MB are in 20 MB beside %d events of 100 kB", n+1, first)
		}
		if _, err := ex.Snapshot(t.Context(), key); refused != nil && !errors.Is(err, evento.ErrNotFound) {
			t.Errorf("Snapshot() after it was refused = %v, want %v", err, evento.ErrNotFound)
		}
	}
	if !errors.Is(refused, evento.ErrFull) {
		t.Errorf("SaveSnapshot() = %v, want %v", refused, evento.ErrFull)
	}
	s.Stop()
	s.Start("--innodb-data-file-path=ibdata1:12M:autoextend:max:24M")
	fullNow()
	if total() == first {
		t.Error("no commit was taken when there was room again")
	}
	wantEvents(t, ex, total())
	if err := swap(t.Context(), ex, record("key", 1)); err != nil && !errors.Is(err, evento.ErrFull) {
		t.Errorf("Swap() = %v, want %v or none", err, evento.ErrFull)
	}
}

// A server that answers nothing any more: calls end with their contexts, also
// those that have a commit under way, and Close does not wait for it.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s := testserver.MariaDB(t)
	if s == nil {
		return
	}
	dsn := s.DSN("root", "")
	p, through := newProxy(t, dsn)
	ex := openSilent(t, through)
	create(t, ex)
	direct := openSilent(t, dsn)

	// One gives up and the other does not, in the same flush or the next.
	frozen := make(chan struct{})
	p.next.Store(&cut{text: "; COMMIT", forward: true, race: true, end: func() {
		s.Freeze()
		close(frozen)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	given := evento.Create().Event(happened{1})
	gave := commitLater(ctx, ex, given)
	<-frozen
	other := evento.Create().Event(happened{2})
	patient := commitLater(t.Context(), ex, other)
	cancel()
	if err := receive(t, "Commit", gave); !errors.Is(err, evento.ErrOutcomeUnknown) || errors.Is(err, context.Canceled) {
		t.Errorf("Commit() with a commit under way = %v, want %v only", err, evento.ErrOutcomeUnknown)
	}
	var wg sync.WaitGroup
	for name, call := range map[string]func(ctx context.Context) error{
		"Commit": func(ctx context.Context) error {
			_, err := evento.Create().Event(happened{}).Commit(ctx, ex)
			return err
		},
		"Read": func(ctx context.Context) error {
			_, err := ex.Read(ctx, evento.Query{}, cursor.Forward(1, ""))
			return err
		},
		"Records": func(ctx context.Context) error {
			_, err := ex.Records(ctx, evento.RecordQuery{Kind: "test"})
			return err
		},
		"Swap": func(ctx context.Context) error { return swap(ctx, ex, record("key", 0)) },
		"InTx": func(ctx context.Context) error {
			return ex.InTx(ctx, func(ctx context.Context) error { return swap(ctx, ex, record("key", 0)) })
		},
		"Snapshot": func(ctx context.Context) error {
			_, err := ex.Snapshot(ctx, evento.SnapshotKey{Projection: "p"})
			return err
		},
		"SaveSnapshot": func(ctx context.Context) error {
			return ex.SaveSnapshot(ctx, evento.SnapshotKey{Projection: "p"}, evento.Snapshot{Version: 1})
		},
	} {
		for range 3 {
			wg.Go(func() {
				short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				began := time.Now()
				if err := call(short); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s = %v, want %v", name, err, context.DeadlineExceeded)
				}
				if took := time.Since(began); took > soon {
					t.Errorf("%s took %v", name, took)
				}
			})
		}
	}
	wg.Wait()
	closed := make(chan error, 1)
	go func() { closed <- direct.Close() }()
	if err := receive(t, "Close", closed); err != nil {
		t.Errorf("Close() = %v", err)
	}
	s.Thaw()
	if err := receive(t, "Commit", patient); err != nil && !errors.Is(err, evento.ErrOutcomeUnknown) {
		t.Errorf("Commit() of one who waited = %v", err)
	}
	for _, b := range []*evento.CommitBuilder{given, other} {
		for range 2 {
			if r, err := b.Commit(t.Context(), ex); err != nil || r.Version != 1 {
				t.Errorf("Commit() again = %+v, %v", r, err)
			}
		}
	}
	// Those whose context's error was returned have stored nothing.
	wantEvents(t, ex, 3)
}

// What was seen before it was durable, and is gone after a crash, is not
// remembered: its names get other numbers, and its versions other events.
func TestForgotten(t *testing.T) {
	t.Parallel()
	s := testserver.MariaDB(t)
	if s == nil {
		return
	}
	dsn := s.DSN("root", "")
	reader := openSilent(t, dsn)
	create(t, reader)
	const attempts = 20
	for attempt := 1; ; attempt++ {
		before := len(log(t, reader))
		gone := typed{fmt.Sprint("test/Gone", attempt)}
		// Its process ends with the server: it is not to have been told.
		lost := openSilent(t, dsn)
		s.Exec("SET GLOBAL innodb_flush_log_at_trx_commit = 0") // what lasts for a millisecond else lasts for a second
		if _, err := evento.Aggregate("one").Event(gone).Commit(t.Context(), lost); err != nil {
			t.Fatal(err)
		}
		// A conflict is judged by the type and the version that are not durable.
		if _, err := evento.Aggregate("one").OriginalVersion(2).Event(gone).Commit(t.Context(), reader); !errors.Is(err, evento.ErrConflict) {
			t.Fatalf("Commit() = %v, want %v", err, evento.ErrConflict)
		}
		s.Kill()
		s.Start()
		writer := openSilent(t, dsn)
		other, err := evento.Create().Event(typed{fmt.Sprint("test/Other", attempt)}).Commit(t.Context(), writer)
		if err != nil {
			t.Fatal(err)
		}
		if other.Position != uint64(before)+1 {
			if attempt == attempts {
				t.Fatal("the event was durable each time")
			}
			continue
		}
		// Another event has taken its position, and another type its number.
		if r, err := evento.Aggregate("one").OriginalVersion(1).Event(gone).Commit(t.Context(), reader); !errors.Is(err, evento.ErrConflict) {
			t.Errorf("Commit() at a version that is gone = %+v, %v, want %v", r, err, evento.ErrConflict)
		}
		if _, err := evento.Aggregate("one").Event(gone).Commit(t.Context(), reader); err != nil {
			t.Errorf("Commit() = %v", err)
		}
		for _, ex := range []evento.Executor{writer, reader, openSilent(t, dsn)} {
			for _, raw := range log(t, ex)[before:] {
				if !bytes.Contains(raw.Data, []byte(raw.AggregateType)) {
					t.Errorf("the event at %d is said to be of type %s: %q", raw.Position, raw.AggregateType, raw.Data)
				}
			}
		}
		wantEvents(t, reader, before+2)
		return
	}
}

// typed is an event of any type of aggregate.
type typed struct{ Type string }

func (e typed) AggregateType() evento.AggregateType { return evento.AggregateType(e.Type) }
func (typed) EventName() string                     { return "Typed" }
