package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/storetest"
)

// handle is a database of the caller's.
func handle(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func newOn(t *testing.T, db *sql.DB, readers int) *sqlite.Executor {
	t.Helper()
	ex, err := sqlite.New(t.Context(), db, &sqlite.Options{Readers: readers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, ex) })
	return ex
}

// holdAll takes what connections the database has left.
func holdAll(ctx context.Context, db *sql.DB) (release func() error, err error) {
	var held []*sql.Conn
	release = func() error {
		var errs []error
		for _, conn := range held {
			errs = append(errs, conn.Close())
		}
		return errors.Join(errs...)
	}
	for db.Stats().InUse < db.Stats().MaxOpenConnections {
		conn, err := db.Conn(ctx)
		if err != nil {
			return nil, errors.Join(err, release())
		}
		held = append(held, conn)
	}
	return release, nil
}

// No standby takes over while a handler holds the transaction, which has the
// lock of the file, nor while handlers hold all connections of a limited
// database.
func TestLeasesBesideHandlers(t *testing.T) {
	t.Parallel()
	holdTx := storetest.Holder{Transactional: true, Hold: func(ctx context.Context, released func() bool) error {
		return storetest.Until(ctx, released, func(ctx context.Context) error { return enter(ctx, "SELECT 1") })
	}}
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "a.db")
		var all [3]evento.Executor
		for i := range all {
			all[i] = openFile(t, path)
			t.Cleanup(func() { closeAll(t, all[i]) })
		}
		storetest.Leases(t, all[0], all[1], all[2], true, holdTx)
	})
	t.Run("handle", func(t *testing.T) {
		t.Parallel()
		const readers, most = 2, 8
		path := filepath.Join(t.TempDir(), "a.db")
		var all [3]evento.Executor
		var db *sql.DB
		for i := range all {
			handle := handle(t, path)
			handle.SetMaxOpenConns(most)
			all[i] = newOn(t, handle, readers)
			if i == 0 {
				db = handle
			}
		}
		holder := storetest.Holder{Hold: func(ctx context.Context, released func() bool) error {
			release, err := holdAll(ctx, db)
			if err != nil {
				return err
			}
			return errors.Join(storetest.Until(ctx, released, func(context.Context) error { return nil }), release())
		}}
		storetest.Leases(t, all[0], all[1], all[2], false, holder)
	})
}

// An executor on a limited database needs no connection more once it is open.
func TestNewTakesItsConnections(t *testing.T) {
	t.Parallel()
	const readers = 3
	path := filepath.Join(t.TempDir(), "a.db")
	db := handle(t, path)
	for most := 1; most < readers+3; most++ {
		db.SetMaxOpenConns(most)
		_, err := sqlite.New(t.Context(), db, &sqlite.Options{Readers: readers})
		if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "SetMaxOpenConns") {
			t.Errorf("New() with %d connections = %v, want %v", most, err, evento.ErrInvalid)
		}
	}
	db.SetMaxOpenConns(readers + 5)
	ex := newOn(t, db, readers)
	if n := db.Stats().InUse; n != readers+3 {
		t.Errorf("%d connections are in use, want %d", n, readers+3)
	}
	release, err := holdAll(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	other := openFile(t, path)
	defer closeAll(t, other)
	if err := ex.InTx(ctx, func(ctx context.Context) error { return enter(ctx, createEntries) }); err != nil {
		t.Errorf("InTx() = %v", err)
	}
	var wg sync.WaitGroup
	for i := range 4 * readers {
		wg.Go(func() {
			key := evento.RecordKey{Kind: "test", Key: fmt.Sprint(i)}
			if err := ex.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: key}}}); err != nil {
				t.Errorf("Swap() = %v", err)
			}
			if _, err := ex.Records(ctx, evento.RecordQuery{Kind: "test"}); err != nil {
				t.Errorf("Records() = %v", err)
			}
			if err := ex.InTx(ctx, both(ex)); err != nil {
				t.Errorf("InTx() = %v", err)
			}
			if _, err := ex.Read(ctx, evento.Query{}, cursor.Onward(1, "")); err != nil {
				t.Errorf("Read() = %v", err)
			}
		})
	}
	wg.Wait()
	changed := ex.Changed()
	commit(t, other, 1)
	select {
	case <-changed:
	case <-ctx.Done():
		t.Error("a commit of another executor did not wake")
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	closeAll(t, ex)
	if s := db.Stats(); s.InUse != 0 {
		t.Errorf("after Close: %+v, want no connection", s)
	}
}

// Close does not wait for connections that the application holds.
func TestCloseOfExhausted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	db := handle(t, path)
	ex := newOn(t, db, 1)
	db.SetMaxOpenConns(1) // too late to be refused
	waits := db.Stats().WaitCount
	_ = ex.Changed()                    // the watch wants a connection
	for db.Stats().WaitCount == waits { // and waits for it
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	closed := make(chan error, 1)
	go func() { closed <- ex.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("Close() does not return")
	}
}
