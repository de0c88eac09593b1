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
