package rw_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/rw"
	"github.com/evento-go/evento/executor/sqlite"
)

type noted struct{ N int }

func (noted) AggregateType() evento.AggregateType { return "test/Note" }
func (noted) EventName() string                   { return "Noted" }

// behind is a read side that shows nothing for some reads, and refuses those
// with a transaction's context.
type behind struct {
	evento.Executor
	t     *testing.T
	reads atomic.Int64 // that are left to show nothing
}

func (b *behind) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if sqlite.Tx(ctx) != nil {
		b.t.Error("a read of the transaction came to the read side")
	}
	if b.reads.Add(-1) < 0 {
		return b.Executor.Read(ctx, q, args)
	}
	if args.At() != "" {
		return nil, fmt.Errorf("%w: nothing is shown yet", cursor.ErrBeyondHead)
	}
	return &cursor.Page[evento.RawEvent]{}, nil
}

// What a transaction stored is read after it, and what it was shown too, though
// the read side lags.
func TestInTx(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events.db")
	read := &behind{Executor: openSQLite(t, path), t: t}
	other := openSQLite(t, path)
	ex := rw.New(read, openSQLite(t, path))
	seen := func(ctx context.Context, what string, want bool) {
		t.Helper()
		if got, err := evento.HasEvent[noted](ctx, ex, what); err != nil || got != want {
			t.Errorf("HasEvent(%q) = %t, %v, want %t", what, got, err, want)
		}
	}
	note := func(ctx context.Context, ex evento.Executor, what string) {
		t.Helper()
		if _, err := evento.Aggregate(what).Event(noted{}).Commit(ctx, ex); err != nil {
			t.Error(err)
		}
	}
	seen(t.Context(), "mine", false)

	const late = 3
	if err := ex.InTx(t.Context(), func(ctx context.Context) error {
		note(ctx, ex, "mine")
		seen(ctx, "mine", true)
		seen(t.Context(), "mine", false)
		read.reads.Store(late)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	seen(t.Context(), "mine", true)

	note(t.Context(), other, "theirs")
	read.reads.Store(late)
	failure := errors.New("failure")
	if err := ex.InTx(t.Context(), func(ctx context.Context) error {
		seen(ctx, "theirs", true)
		return failure
	}); err != failure { //nolint:errorlint // as it is
		t.Fatalf("InTx() = %v, want %v", err, failure)
	}
	seen(t.Context(), "theirs", true)
	if err := errors.Join(ex.Close(), other.Close()); err != nil {
		t.Error(err)
	}
}

// A mistake in New is told by InTx too.
func TestInTxOfNil(t *testing.T) {
	t.Parallel()
	err := rw.New(nil, nil).InTx(t.Context(), func(context.Context) error { t.Error("the function ran"); return nil })
	if !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("InTx() = %v, want %v", err, evento.ErrInvalid)
	}
}

// counted counts the reads of a side.
type counted struct {
	evento.Transactor
	reads atomic.Int64
}

func (c *counted) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	c.reads.Add(1)
	return c.Transactor.Read(ctx, q, args)
}

// To ask for transactions with a context that has ended costs nothing, neither
// then nor at the next read.
func TestInTxProbe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events.db")
	write := &counted{Transactor: openSQLite(t, path)}
	ex := rw.New(openSQLite(t, path), write)
	defer func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	}()
	never := func(context.Context) error { t.Error("the function ran"); return nil }
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	read := func() int64 {
		t.Helper()
		if _, err := ex.Read(t.Context(), evento.Query{}, cursor.Onward(1, "")); err != nil {
			t.Fatal(err)
		}
		return write.reads.Load()
	}
	if _, err := evento.Aggregate("a").Event(noted{}).Commit(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	read()
	before := read()
	for range 3 {
		if err := ex.InTx(ended, never); !errors.Is(err, context.Canceled) {
			t.Errorf("InTx() = %v, want %v", err, context.Canceled)
		}
	}
	if after := read(); after != before {
		t.Errorf("%d reads of the write side after InTx that did nothing, want none", after-before)
	}
	if err := ex.InTx(t.Context(), func(context.Context) error { return context.Canceled }); !errors.Is(err, context.Canceled) {
		t.Errorf("InTx() = %v", err)
	}
	if after := read(); after == before {
		t.Error("no read of the write side after InTx: the test tested nothing")
	}

	// However deep the executor without transactions is.
	for name, of := range map[string]evento.Executor{
		"group":             group.New(memory.New(nil)),
		"group of groups":   group.New(group.New(memory.New(nil)), memory.New(nil)),
		"rw of a group":     rw.New(memory.New(nil), group.New(memory.New(nil))),
		"group of rw":       group.New(rw.New(memory.New(nil), memory.New(nil))),
		"without InTx":      memory.New(nil),
		"group of SQLite 2": group.New(memory.New(nil), openSQLite(t, filepath.Join(t.TempDir(), "archive.db"))),
	} {
		ex := rw.New(memory.New(nil), of)
		for _, ctx := range []context.Context{ended, t.Context()} {
			if err := ex.InTx(ctx, never); !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, context.Canceled) {
				t.Errorf("InTx() of %s = %v, want %v", name, err, errors.ErrUnsupported)
			}
		}
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	}
}
