package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/sqlite"
)

// A relative path stays that of the working directory in which it was opened.
func TestChangedDirectory(t *testing.T) { //nolint:paralleltest // it changes the working directory
	const name = "the events?.db"
	ours, theirs := t.TempDir(), t.TempDir()
	other := openFile(t, filepath.Join(theirs, name))
	commit(t, other, 1)
	commit(t, other, 2)
	closeAll(t, other)
	for _, path := range []string{name, "./" + name, "file:the%20events%3f.db", "file:./the events%3f.db?cache=private"} {
		t.Chdir(ours)
		ex := openFile(t, path).(*sqlite.Executor)
		before := count(t, ex)
		commit(t, ex, 3)
		t.Chdir(theirs)
		readAtOnce(t, ex, before+1)
		if err := ex.InTx(t.Context(), func(ctx context.Context) error {
			_, err := evento.Create().Event(happened{4}).Commit(ctx, ex)
			return err
		}); err != nil {
			t.Errorf("%s: InTx() = %v", path, err)
		}
		readAtOnce(t, ex, before+2)
		closeAll(t, ex)
	}
	if ex := openFile(t, filepath.Join(theirs, name)); count(t, ex) != 2 {
		t.Error("the other store has changed")
	}

	// The connections of a caller's database are opened by it.
	t.Chdir(ours)
	db, err := sql.Open("sqlite3", "file:./the events%3f.db")
	if err != nil {
		t.Fatal(err)
	}
	ex, err := sqlite.New(t.Context(), db, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(theirs)
	if p, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, "")); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("Read() = %+v, %v, want %v", p, err, evento.ErrInvalid)
	}
	closeAll(t, ex)
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// readAtOnce reads on several connections.
func readAtOnce(t *testing.T, ex evento.Executor, want int) {
	t.Helper()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			p, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(100, ""))
			if err != nil || len(p.Edges) != want {
				t.Errorf("Read() = %+v, %v, want %d events", p, err, want)
			}
		})
	}
	wg.Wait()
}

// waysToLose are what can become of a file while it is open.
func waysToLose(t *testing.T) map[string]func(path string) error {
	t.Helper()
	return map[string]func(path string) error{
		"removed": os.Remove,
		"replaced": func(path string) error {
			another := path + ".another"
			closeAll(t, openFile(t, another))
			return os.Rename(another, path)
		},
	}
}

// What is committed into a file that was removed or replaced is not acknowledged.
func TestLostFile(t *testing.T) {
	t.Parallel()
	for name, lose := range waysToLose(t) {
		for how, write := range map[string]func(ctx context.Context, ex *sqlite.Executor) error{
			"Commit": func(ctx context.Context, ex *sqlite.Executor) error {
				_, err := evento.Create().Event(happened{2}).Commit(ctx, ex)
				return err
			},
			"InTx": func(ctx context.Context, ex *sqlite.Executor) error {
				return ex.InTx(ctx, func(ctx context.Context) error {
					_, err := evento.Create().Event(happened{2}).Commit(ctx, ex)
					return err
				})
			},
		} {
			path := filepath.Join(t.TempDir(), "a.db")
			ex := openFile(t, path).(*sqlite.Executor)
			if err := write(t.Context(), ex); err != nil {
				t.Fatal(err)
			}
			if err := lose(path); err != nil {
				t.Fatal(err)
			}
			if err := write(t.Context(), ex); !errors.Is(err, evento.ErrOutcomeUnknown) {
				t.Errorf("%s on a file that was %s = %v, want %v", how, name, err, evento.ErrOutcomeUnknown)
			}
			if err := write(t.Context(), ex); !errors.Is(err, evento.ErrClosed) {
				t.Errorf("%s again = %v, want %v", how, err, evento.ErrClosed)
			}
			_ = ex.Close()
		}
	}
}

// Who only reads, or waits for events, learns that the file was removed or replaced.
func TestLostFileOfReaders(t *testing.T) {
	t.Parallel()
	for name, lose := range waysToLose(t) {
		for _, readOnly := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "a.db")
			writer := openFile(t, path)
			commit(t, writer, 1)
			ex, err := sqlite.Open(t.Context(), path, &sqlite.Options{ReadOnly: readOnly})
			if err != nil {
				t.Fatal(err)
			}
			readAtOnce(t, ex, 1)
			if err := lose(path); err != nil {
				t.Fatal(err)
			}
			<-ex.Changed() // the watch has noticed
			for ctx := t.Context(); ; {
				_, err := ex.Read(ctx, evento.Query{}, cursor.Forward(1, ""))
				if errors.Is(err, evento.ErrClosed) && strings.Contains(err.Error(), name+" while it was open") {
					break
				}
				if err != nil {
					t.Errorf("%s, read-only: %t: Read() = %v, want %v with the cause", name, readOnly, err, evento.ErrClosed)
					break
				}
			}
			_ = ex.Close()
			_ = writer.Close()
		}
	}
}

// A file that is gone is not made anew by a connection that is opened later.
func TestLostFileIsNotMade(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	ex := openFile(t, path).(*sqlite.Executor)
	commit(t, ex, 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := ex.InTx(t.Context(), func(context.Context) error { t.Error("the function ran"); return nil }); err == nil {
		t.Error("InTx() = nil")
	}
	if p, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, "")); err == nil {
		t.Errorf("Read() on a new connection = %+v", p)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file: %v, want it not to be there", err)
	}
	_ = ex.Close()
}

// A file may be made by somebody who wants to keep a program busy for ever: no call goes
// on after its context has ended.
func TestEndlessTables(t *testing.T) {
	t.Parallel()
	for table, columns := range map[string][]string{
		"evento_store":     {"id", "identity"},
		"evento_migration": {"version", "applied_at"},
		"evento_kind":      {"id", "type_id", "name"},
		"evento_event":     {"position", "recorded_at", "version", "kind_id", "aggregate_key", "id", "codec", "data", "metadata"},
		"evento_record":    {"kind", "key", "part", "revision", "changed_at", "value"},
	} {
		path := filepath.Join(t.TempDir(), "a.db")
		ex := openFile(t, path)
		commit(t, ex, 1)
		closeAll(t, ex)
		db := handle(t, path)
		one := strings.TrimSuffix(strings.Repeat("1000000,", len(columns)), ",")
		list := strings.Join(columns, ",")
		execDB(t, db, "PRAGMA foreign_keys = OFF; ALTER TABLE "+table+" RENAME TO was_"+table+"; CREATE VIEW "+table+" AS WITH RECURSIVE n("+list+") AS (SELECT "+one+" UNION ALL SELECT "+list+" FROM n) SELECT "+list+" FROM n")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		opened, err := sqlite.Open(ctx, path, nil)
		if err == nil {
			_, err = opened.Read(ctx, evento.Query{Filters: []evento.Filter{evento.ByType("a/A")}}, cursor.Forward(10, ""))
			if err == nil {
				_, err = opened.Records(ctx, evento.RecordQuery{Kind: "a"})
			}
			closeAll(t, opened)
		}
		cancel()
		if err == nil {
			t.Errorf("%s has no end, and nobody noticed", table)
		}
	}
}
