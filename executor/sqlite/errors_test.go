package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/sqlite"
)

const thing evento.AggregateType = "test/Thing"

type happened struct{ N int }

func (happened) AggregateType() evento.AggregateType { return thing }
func (happened) EventName() string                   { return "Happened" }

func commit(t *testing.T, ex evento.Executor, n int) evento.Receipt {
	t.Helper()
	r, err := evento.Create().Event(happened{n}).Commit(t.Context(), ex)
	if err != nil {
		t.Fatalf("Commit() = %v", err)
	}
	return r
}

// count reads every event.
func count(t *testing.T, ex evento.Executor) int {
	t.Helper()
	n := 0
	for _, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatalf("Events() = %v", err)
		}
		n++
	}
	return n
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newer := filepath.Join(dir, "newer.db")
	closeAll(t, openFile(t, newer))
	execFile(t, newer, "INSERT INTO evento_migration VALUES (9000, 0)")
	for _, tt := range []struct {
		name, path string
		opts       *sqlite.Options
		is         error
		says       string
	}{
		{"empty path", "", nil, evento.ErrInvalid, "empty"},
		{"NUL", "a\x00b", nil, evento.ErrInvalid, "NUL"},
		{"memory", ":memory:", nil, evento.ErrInvalid, "executor/memory"},
		{"memory URI", "file::memory:?cache=shared", nil, evento.ErrInvalid, "executor/memory"},
		{"directory", dir, nil, evento.ErrInvalid, "directory"},
		{"missing folder", filepath.Join(dir, "no", "a.db"), nil, nil, filepath.Join("no", "a.db")},
		{"not a database", write("text.db", strings.Repeat("this is no database\n", 100)), nil, sqlite3.NOTADB, "text.db"},
		{"newer", newer, nil, evento.ErrNewerStore, "9000"},
		{"read-only URI", "file:" + newer + "?mode=ro", nil, evento.ErrReadOnly, "newer.db"},
		{"not migrated", filepath.Join(dir, "bare.db"), &sqlite.Options{NoMigrate: true}, evento.ErrInvalid, "migration 0"},
		{"negative readers", filepath.Join(dir, "n.db"), &sqlite.Options{Readers: -1}, evento.ErrInvalid, "Readers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ex, err := sqlite.Open(t.Context(), tt.path, tt.opts)
			if err == nil {
				closeAll(t, ex)
				t.Fatalf("Open(%q) = nil, want an error", tt.path)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("Open(%q) = %v, want %v", tt.path, err, tt.is)
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Open(%q) = %v, want it to say %q", tt.path, err, tt.says)
			}
		})
	}
}

func closeAll(t *testing.T, executors ...evento.Executor) {
	t.Helper()
	for _, ex := range executors {
		if err := ex.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
}

// execFile changes a file behind the executor's back.
func execFile(t *testing.T, path, text string) {
	t.Helper()
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Exec(text), c.Close()); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	fs := newFaultyFS(t)
	path := "file:" + filepath.Join(t.TempDir(), "a.db") + "?vfs=" + t.Name()
	ex := openFile(t, path)
	first := commit(t, ex, 1)

	fs.full.Store(true)
	b := evento.Create().Event(happened{2})
	_, err := b.Commit(t.Context(), ex)
	if !errors.Is(err, evento.ErrFull) {
		t.Errorf("Commit() on a full disk = %v, want %v", err, evento.ErrFull)
	}
	if n := count(t, ex); n != 1 {
		t.Errorf("%d events on a full disk, want 1", n)
	}

	fs.full.Store(false)
	r, err := b.Commit(t.Context(), ex)
	if err != nil {
		t.Fatalf("Commit() with space again = %v", err)
	}
	if r.Position != first.Position+1 {
		t.Errorf("position %d, want %d: the failed commit left a gap", r.Position, first.Position+1)
	}
	closeAll(t, ex)
	ex = openFile(t, path)
	if n := count(t, ex); n != 2 {
		t.Errorf("%d events after reopening, want 2", n)
	}
	closeAll(t, ex)
}

// After a sync has failed nobody knows what is on the disk: the executor closes
// itself, and the same commit after reopening settles it.
func TestFailedSync(t *testing.T) {
	t.Parallel()
	fs := newFaultyFS(t)
	path := "file:" + filepath.Join(t.TempDir(), "a.db") + "?vfs=" + t.Name()
	ex := openFile(t, path)
	commit(t, ex, 1)
	changed := ex.Changed()

	fs.badSync.Store(true)
	b := evento.Create().Event(happened{2})
	_, err := b.Commit(t.Context(), ex)
	if !errors.Is(err, evento.ErrOutcomeUnknown) {
		t.Fatalf("Commit() with a failed sync = %v, want %v", err, evento.ErrOutcomeUnknown)
	}
	if fs.syncFails.Load() == 0 {
		t.Fatal("no sync failed: the test tests nothing")
	}
	fs.badSync.Store(false)
	if _, err := evento.Create().Event(happened{3}).Commit(t.Context(), ex); !errors.Is(err, evento.ErrClosed) {
		t.Errorf("Commit() after a failed sync = %v, want %v", err, evento.ErrClosed)
	}
	if _, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, "")); !errors.Is(err, evento.ErrClosed) {
		t.Errorf("Read() after a failed sync = %v, want %v", err, evento.ErrClosed)
	}
	select {
	case <-changed:
	case <-t.Context().Done():
		t.Error("Changed did not wake")
	}
	closeAll(t, ex)

	ex = openFile(t, path)
	if _, err := b.Commit(t.Context(), ex); err != nil {
		t.Errorf("Commit() again after reopening = %v", err)
	}
	if n := count(t, ex); n != 2 {
		t.Errorf("%d events, want 2: the commit is there once", n)
	}
	closeAll(t, ex)
}

// Each acknowledged commit was synced before.
func TestEveryCommitSyncs(t *testing.T) {
	t.Parallel()
	fs := newFaultyFS(t)
	ex := openFile(t, "file:"+filepath.Join(t.TempDir(), "a.db")+"?vfs="+t.Name())
	defer closeAll(t, ex)
	const commits = 50
	for n := range commits {
		before := fs.syncs.Load()
		commit(t, ex, n)
		if fs.syncs.Load() == before {
			t.Fatalf("commit %d returned without a sync", n)
		}
	}
}

// A writer waits for a lock that somebody else holds, as long as its context
// lets it, and what it gave up is not stored.
func TestLockedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	ex := openFile(t, path)
	other, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := evento.Create().Event(happened{1}).Commit(ctx, ex); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Commit() of a locked file = %v, want %v", err, context.DeadlineExceeded)
	}
	done := make(chan error)
	go func() {
		_, err := evento.Create().Event(happened{2}).Commit(t.Context(), ex)
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("Commit() of a locked file returned %v", err)
	default:
	}
	if err := errors.Join(other.Exec("COMMIT"), other.Close()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Commit() after the lock was released = %v", err)
	}
	if n := count(t, ex); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	closeAll(t, ex)
}

// Close does not wait for a lock that is never released.
func TestCloseWhileLocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	ex := openFile(t, path)
	other, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for range 3 {
		go func() {
			_, err := evento.Create().Event(happened{1}).Commit(context.Background(), ex)
			done <- err
		}()
	}
	closed := make(chan error)
	go func() { closed <- ex.Close() }()
	for range 3 {
		if err := <-done; !errors.Is(err, evento.ErrClosed) {
			t.Errorf("Commit() of a closed executor = %v, want %v", err, evento.ErrClosed)
		}
	}
	if err := errors.Join(<-closed, other.Exec("ROLLBACK"), other.Close()); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := sqlite.New(t.Context(), nil, nil); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("New(nil) = %v, want %v", err, evento.ErrInvalid)
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	db.SetMaxOpenConns(1)
	if _, err := sqlite.New(t.Context(), db, nil); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "SetMaxOpenConns") {
		t.Errorf("New() of one connection = %v, want %v with SetMaxOpenConns", err, evento.ErrInvalid)
	}
	memory, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.New(t.Context(), memory, nil); err == nil || !strings.Contains(err.Error(), "write-ahead log") {
		t.Errorf("New() in memory = %v, want an error about the write-ahead log", err)
	}
	if err := memory.Close(); err != nil {
		t.Error(err)
	}
}

// Events cannot be changed at the shell, and are readable there.
func TestShell(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	ex := openFile(t, path)
	if _, err := evento.Aggregate("x").RoutingKey("eu").Codec(evento.JSON()).RequestedBy("me").Event(happened{7}).Commit(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	closeAll(t, ex)
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"DELETE FROM evento_event", "UPDATE evento_event SET data = x''"} {
		if err := c.Exec(text); err == nil || !strings.Contains(err.Error(), "immutable") {
			t.Errorf("%s = %v, want a refusal", text, err)
		}
	}
	s, _, err := c.Prepare("SELECT aggregate_type || ' ' || aggregate_id || ' ' || version || ' ' || name || ' ' || routing_key || ' ' || data || ' ' || metadata FROM evento_events")
	if err != nil {
		t.Fatal(err)
	}
	s.Step()
	if got, want := s.ColumnText(0), `test/Thing x 1 Happened eu {"N":7} {"requestedBy":"me"}`; got != want {
		t.Errorf("the view shows %q, want %q", got, want)
	}
	if err := errors.Join(s.Close(), c.Close()); err != nil {
		t.Error(err)
	}
}

// A position that leaves no room for others is somebody else's doing: nothing is committed
// behind it, where no reader would see it.
func TestPositionBeyondReason(t *testing.T) {
	t.Parallel()
	for _, position := range []string{"9223372036854775797", "4611686018427387904"} {
		path := filepath.Join(t.TempDir(), "a.db")
		ex := openFile(t, path)
		commit(t, ex, 1)
		execFile(t, path, "INSERT INTO evento_event (position, agg_key, version, kind_id, routing_id, event_id, recorded_at, codec, data, metadata) SELECT "+position+
			", agg_key, version + 1, kind_id, routing_id, randomblob(16), recorded_at, codec, data, metadata FROM evento_event")
		again := openFile(t, path)
		for _, ex := range []evento.Executor{ex, again} {
			if r, err := evento.Create().Event(happened{2}).Commit(t.Context(), ex); !errors.Is(err, evento.ErrDamaged) {
				t.Errorf("Commit() behind position %s = %+v, %v, want %v", position, r, err, evento.ErrDamaged)
			}
		}
		closeAll(t, ex, again)
	}
}

// Opening from many sides at once makes one store.
func TestConcurrentOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	const openers = 8
	opened := make(chan *sqlite.Executor, openers)
	for range openers {
		go func() {
			ex, err := sqlite.Open(context.Background(), path, nil)
			if err != nil {
				t.Errorf("Open() = %v", err)
			}
			opened <- ex
		}()
	}
	var all []*sqlite.Executor
	for range openers {
		if ex := <-opened; ex != nil {
			all = append(all, ex)
		}
	}
	for i, ex := range all {
		commit(t, ex, i)
	}
	first, err := all[0].Read(t.Context(), evento.Query{}, cursor.Forward(1, ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, ex := range all {
		// A cursor of one is one of all: they have the same identity.
		page, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(openers, first.PageInfo.EndCursor))
		if err != nil || len(page.Edges) != openers-1 {
			t.Errorf("Read() = %v, %v, want %d events", page, err, openers-1)
		}
		closeAll(t, ex)
	}
}

// Migrations leaves nothing to do for Open with NoMigrate.
func TestMigrate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sqlite.Migrate(t.Context(), db); err != nil {
			t.Fatalf("Migrate() = %v", err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	ex, err := sqlite.Open(t.Context(), path, &sqlite.Options{NoMigrate: true})
	if err != nil {
		t.Fatalf("Open() after Migrate = %v", err)
	}
	commit(t, ex, 1)
	closeAll(t, ex)
}

// The log is gone after Close: the file alone is the store.
func TestCloseLeavesOneFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	ex := openFile(t, path)
	commit(t, ex, 1)
	if count(t, ex) != 1 {
		t.Fatal("the event is missing")
	}
	closeAll(t, ex)
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%s%s after Close: %v", filepath.Base(path), suffix, err)
		}
	}
}

// Clocks that fall leave timestamps where they were.
func TestClockFalls(t *testing.T) {
	t.Parallel()
	times := []time.Time{time.Unix(100, 0), time.Unix(50, 0), time.Unix(150, 123456789)}
	n := 0
	path := filepath.Join(t.TempDir(), "a.db")
	ex, err := sqlite.Open(t.Context(), path, &sqlite.Options{Clock: func() time.Time { n++; return times[n-1] }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range times {
		commit(t, ex, i)
	}
	want := []time.Time{time.Unix(100, 0).UTC(), time.Unix(100, 0).UTC(), time.Unix(150, 123456000).UTC()}
	i := 0
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Timestamp != want[i] {
			t.Errorf("event %d: %v, want %v", i, e.Timestamp, want[i])
		}
		i++
	}
	closeAll(t, ex)
}

// A record that is changed after the clock was set back has the time of then,
// and Now follows the clock.
func TestClockOfRecordsFalls(t *testing.T) {
	t.Parallel()
	noon := time.Unix(1<<30, 123456000).UTC()
	now := noon
	ex, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), &sqlite.Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []time.Time{noon, noon.Add(-time.Hour), noon.Add(time.Minute)} {
		now = tt
		swap := evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "kind", Key: "key"}, Revision: uint64(i)}}}
		if err := ex.Swap(t.Context(), swap); err != nil {
			t.Fatal(err)
		}
		now = tt.Add(-time.Second)
		page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind"})
		if err != nil || page.Records[0].ChangedAt != tt || page.Now != now {
			t.Errorf("a change at %v, and the clock at %v: got %+v, %v", tt, now, page, err)
		}
	}
	closeAll(t, ex)
}
