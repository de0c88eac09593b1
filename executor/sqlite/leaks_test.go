package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
)

// A store that is refused is left as it was: no file of it stays open, and no
// connection is kept.
func TestRefusedLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx   context.Context
		spoil string // what is done to a sound store
		opts  sqlite.Options
		bare  bool // there is no store
	}{
		"newer":                   {spoil: "INSERT INTO evento_migration VALUES (9000, 0)"},
		"newer, read only":        {spoil: "INSERT INTO evento_migration VALUES (9000, 0)", opts: sqlite.Options{ReadOnly: true}},
		"without identity":        {spoil: "DELETE FROM evento_store"},
		"without its table":       {spoil: "DROP TABLE evento_store"},
		"migrations without name": {spoil: "DROP TABLE evento_migration; CREATE TABLE evento_migration (x)"},
		"not migrated":            {bare: true, opts: sqlite.Options{NoMigrate: true}},
		"other tables":            {bare: true, spoil: "CREATE TABLE evento_event (x); CREATE TABLE evento_store (x); CREATE TABLE evento_migration (version INTEGER PRIMARY KEY, applied_at INTEGER)"},
		"an ended context":        {ctx: ended},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "a.db")
			if !tt.bare {
				closeAll(t, openFile(t, path))
			}
			execFile(t, path, "PRAGMA journal_mode = wal; "+tt.spoil)
			ctx := t.Context()
			if tt.ctx != nil {
				ctx = tt.ctx
			}
			if ex, err := sqlite.Open(ctx, path, &tt.opts); err == nil {
				closeAll(t, ex)
				t.Errorf("Open() = nil, want an error")
			}
			if open := openFiles(t, dir); len(open) > 0 {
				t.Errorf("after Open() they are open: %q", open)
			}
			for _, most := range []int{0, 20} {
				db, err := sql.Open("sqlite3", "file:"+path)
				if err != nil {
					t.Fatal(err)
				}
				db.SetMaxOpenConns(most)
				if ex, err := sqlite.New(ctx, db, &tt.opts); err == nil {
					closeAll(t, ex)
					t.Errorf("New() = nil, want an error")
				}
				if n := db.Stats().InUse; n > 0 {
					t.Errorf("New() has kept %d connections", n)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
				if open := openFiles(t, dir); len(open) > 0 {
					t.Errorf("after New() they are open: %q", open)
				}
			}
		})
	}
}

// countdown is a context that ends when it is asked for the nth time whether it has.
type countdown struct {
	context.Context
	end  context.CancelFunc
	left atomic.Int64
}

func newCountdown(t *testing.T, n int64) *countdown {
	t.Helper()
	c := &countdown{}
	c.Context, c.end = context.WithCancel(t.Context())
	c.left.Store(n)
	t.Cleanup(c.end)
	return c
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		c.end()
	}
	return c.Context.Err()
}

// Wherever opening is given up, nothing stays open.
func TestOpenGivenUpLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, open := range map[string]func(ctx context.Context, path string) (evento.Executor, func() error, error){
		"Open": func(ctx context.Context, path string) (evento.Executor, func() error, error) {
			ex, err := sqlite.Open(ctx, path, nil)
			return ex, func() error { return nil }, err
		},
		"New": func(ctx context.Context, path string) (evento.Executor, func() error, error) {
			db, err := sql.Open("sqlite3", "file:"+path)
			if err != nil {
				t.Fatal(err)
			}
			db.SetMaxOpenConns(20)
			ex, err := sqlite.New(ctx, db, nil)
			return ex, func() error {
				if n := db.Stats().InUse; n > 0 {
					t.Errorf("New() has kept %d connections", n)
				}
				return db.Close()
			}, err
		},
	} {
		opened := 0
		for n := int64(0); opened < 3; n++ {
			ctx := newCountdown(t, n)
			ex, after, err := open(ctx, filepath.Join(dir, "a.db"))
			if err == nil {
				opened++
				closeAll(t, ex)
			}
			if err := after(); err != nil {
				t.Error(err)
			}
			if left := openFiles(t, dir); len(left) > 0 {
				t.Fatalf("%s given up at the %d. look: %v; they are open: %q", name, n+1, err, left)
			}
		}
	}
}
