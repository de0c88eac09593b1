package group_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
)

// What a transaction has yet to commit comes after everything else, however
// small the pages are, without a cursor, and once.
func TestInTxReads(t *testing.T) {
	t.Parallel()
	archive, first := memory.New(nil), openSQLite(t, filepath.Join(t.TempDir(), "events.db"))
	// So many that a member is read again for the rest of its share.
	ex := group.New(group.New(first, memory.New(nil)), archive, memory.New(nil), memory.New(nil), memory.New(nil), memory.New(nil))
	add := func(ctx context.Context, ex evento.Executor, id string) {
		t.Helper()
		if _, err := evento.Aggregate(id).Event(measured{}, measured{}).Commit(ctx, ex); err != nil {
			t.Error(err)
		}
	}
	add(t.Context(), first, "a")
	add(t.Context(), archive, "b")
	add(t.Context(), first, "c")
	err := ex.InTx(t.Context(), func(ctx context.Context) error {
		add(ctx, ex, "d")
		add(ctx, ex, "e")
		want := []string{"a1", "a2", "b1", "b2", "c1", "c2", "d1", "d2", "e1", "e2"}
		const stored = 6
		for size := 1; size <= len(want)+1; size++ {
			var got []string
			for at, more := cursor.Value(""), true; more; {
				page, err := ex.Read(ctx, evento.Query{}, cursor.Onward(size, at))
				if err != nil {
					return err
				}
				for _, e := range page.Edges {
					got = append(got, fmt.Sprint(e.Node.AggregateID, e.Node.Version))
					if waits := len(got) > stored; waits != (e.Cursor == "") || waits != (e.Node.Position == 0) {
						t.Errorf("pages of %d: %s has cursor %q and position %d", size, got[len(got)-1], e.Cursor, e.Node.Position)
					}
				}
				at, more = page.PageInfo.EndCursor, page.PageInfo.HasNextPage
				if len(got) > len(want) {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d: %v, want %v", size, got, want)
			}
			// Pages in both directions do not have them, nor say that they do.
			forward, err := ex.Read(ctx, evento.Query{}, cursor.Forward(size, ""))
			if err != nil {
				return err
			}
			backward, err := ex.Read(ctx, evento.Query{}, cursor.Backward(size, ""))
			if err != nil {
				return err
			}
			if n := min(size, stored); len(forward.Edges) != n || len(backward.Edges) != n || backward.PageInfo.HasNextPage || forward.PageInfo.HasNextPage != (size < stored) {
				t.Errorf("pages of %d: %d forward, %d backward, %+v, %+v", size, len(forward.Edges), len(backward.Edges), forward.PageInfo, backward.PageInfo)
			}
			for _, e := range backward.Edges { // before each of the stored
				before, err := ex.Read(ctx, evento.Query{}, cursor.Backward(size, e.Cursor))
				if err != nil {
					return err
				}
				if !before.PageInfo.HasNextPage || slices.ContainsFunc(before.Edges, func(e cursor.Edge[evento.RawEvent]) bool { return e.Cursor == "" }) {
					t.Errorf("before %s: %+v, %d events", e.Node.AggregateID, before.PageInfo, len(before.Edges))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
}

// An aggregate of another member is read-only at the end of a transaction too,
// while a conflict that the function returns stays what it is.
func TestInTxReadOnly(t *testing.T) {
	t.Parallel()
	archive := memory.New(nil)
	ex := group.New(openSQLite(t, filepath.Join(t.TempDir(), "events.db")), archive)
	if _, err := evento.Aggregate("b").Event(measured{}).Commit(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	again := evento.Aggregate("b").OriginalVersion(1).Event(measured{})
	for range 2 { // the second time it is judged at the end
		err := ex.InTx(t.Context(), func(ctx context.Context) error {
			_, err := again.Commit(ctx, ex)
			return err
		})
		if !errors.Is(err, evento.ErrReadOnly) {
			t.Errorf("InTx() = %v, want %v", err, evento.ErrReadOnly)
		}
	}
	own := &evento.ConflictError{AggregateType: sensor, AggregateID: "b", Expected: 1}
	if err := ex.InTx(t.Context(), func(context.Context) error { return own }); err != own { //nolint:errorlint // as it is
		t.Errorf("InTx() = %v, want %v", err, own)
	}
	if err := group.New(nil).InTx(t.Context(), nil); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("InTx() of a group of nil = %v, want %v", err, evento.ErrInvalid)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
}
