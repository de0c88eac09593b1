// Cursors that are not of this store, or of nowhere.

package executortest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testCursors(t *testing.T, c Config) {
	c.run(t, "Form", cursorsForm)
	c.run(t, "Foreign", cursorsForeign)
	c.run(t, "Malformed", cursorsMalformed)
	c.run(t, "Damaged", cursorsDamaged)
	c.run(t, "BeyondTheEnd", cursorsBeyondTheEnd)
}

// refuseCursor reads from a place, in each direction, which must be refused,
// and not keep the store from working.
func refuseCursor(ctx context.Context, t testing.TB, ex evento.Executor, at cursor.Value, want error) {
	t.Helper()
	for _, args := range []cursor.Args{cursor.Forward(3, at), cursor.Onward(3, at), cursor.Backward(3, at)} {
		p, err := ex.Read(ctx, evento.Query{}, args)
		if !errors.Is(err, want) {
			t.Errorf("Read(%s): got %v, %v, want an error that matches %q", showArgs(args), p, err, want)
		}
		if err != nil && !errors.Is(err, cursor.ErrInvalid) {
			t.Errorf("Read(%s): got %v, want an error that matches %q too", showArgs(args), err, cursor.ErrInvalid)
		}
	}
}

// Cursors go into addresses and forms as they are.
func cursorsForm(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for _, e := range fill(ctx, t, ex, 20) {
		unsafe := strings.ContainsFunc(string(e.Cursor), func(r rune) bool {
			return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", r)
		})
		if e.Cursor == "" || unsafe || len(e.Cursor) > 500 {
			t.Errorf("position %d has the cursor %q, want a URL-safe text of at most a few hundred bytes", e.Node.Position, e.Cursor)
		}
	}
}

func cursorsForeign(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	elsewhere := c.open(t)
	foreign := fill(ctx, t, elsewhere, 3)
	refuseCursor(ctx, t, ex, foreign[0].Cursor, cursor.ErrForeign) // while this store is empty
	m := fill(ctx, t, ex, 10)
	for _, e := range foreign {
		refuseCursor(ctx, t, ex, e.Cursor, cursor.ErrForeign)
	}
	refuseCursor(ctx, t, elsewhere, m[0].Cursor, cursor.ErrForeign)
	wantLog(ctx, t, ex, m)
	wantLog(ctx, t, elsewhere, foreign)
}

// malformedCursors are like the cursor at, or not at all, and none.
func malformedCursors(at cursor.Value) []cursor.Value {
	return []cursor.Value{
		"0", "1", "4", "-1", "x", " ", "null", "undefined", "\x00", "\xff\xfe", "é",
		"' OR 1=1 --", "18446744073709551616",
		" " + at, at + " ", at + "\n", at + "=", at + "A", at + at, "/" + at,
		cursor.Value(strings.Repeat("A", len(at))),
		cursor.Value(strings.Repeat("A", 1<<20)),
		cursor.Value(base64.RawURLEncoding.EncodeToString([]byte(`{"position":4}`))),
	}
}

func cursorsMalformed(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 10)
	for _, bad := range malformedCursors(m[4].Cursor) {
		refuseCursor(ctx, t, ex, bad, cursor.ErrMalformed)
	}
	wantLog(ctx, t, ex, m)
}

// A cursor that was cut, or of which a character was mistyped, is told from
// every right one: going on from a wrong place would leave events out.
func cursorsDamaged(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 40)
	at := m[9].Cursor
	for i := 1; i < len(at); i++ {
		refuseCursor(ctx, t, ex, at[:i], cursor.ErrInvalid)
		refuseCursor(ctx, t, ex, at[i:], cursor.ErrInvalid)
	}
	for i := range len(at) {
		for bit := range 8 {
			b := []byte(at)
			b[i] ^= 1 << bit
			refuseCursor(ctx, t, ex, cursor.Value(b), cursor.ErrInvalid)
		}
		for _, c := range "Aa09-_" {
			b := []byte(at)
			if b[i] == byte(c) {
				continue
			}
			b[i] = byte(c)
			refuseCursor(ctx, t, ex, cursor.Value(b), cursor.ErrInvalid)
		}
	}
	wantLog(ctx, t, ex, m)
	commit(ctx, t, ex, toAny("id 0", "Later"))
}

// A place that the store has not reached: an older state of it was restored,
// and who goes on from there would miss what is written first.
func cursorsBeyondTheEnd(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	for range 3 {
		commit(ctx, t, ex, toAny("one", "A", "B"))
		beyond := c.Beyond(t, ex, last(ctx, t, ex))
		refuseCursor(ctx, t, ex, beyond, cursor.ErrBeyondHead)
	}
	m := model(readAll(ctx, t, ex, evento.Query{}))
	m.wantPage(ctx, t, ex, evento.Query{}, cursor.Forward(5, m[len(m)-1].Cursor))
	commit(ctx, t, ex, toAny("one", "C"))
}

// beyondPositions finds the store's identity in a cursor of the form that
// cursor.Positions describes, and makes the cursor of the next position.
func beyondPositions(t testing.TB, ex evento.Executor, last cursor.Value) cursor.Value {
	t.Helper()
	p, err := ex.Read(t.Context(), evento.Query{}, cursor.Backward(1, ""))
	must(t, err)
	head := p.Edges[0].Node.Position
	b, err := base64.RawURLEncoding.DecodeString(string(last))
	if err == nil && len(b) < 18 {
		err = fmt.Errorf("%d bytes", len(b))
	}
	if err != nil {
		t.Fatalf("the cursor %q is not of cursor.Positions (%v); set Config.Beyond", last, err)
	}
	positions := cursor.NewPositions([16]byte(b[2:18]))
	if got := positions.Value(head); got != last {
		t.Fatalf("the cursor %q is not of cursor.Positions, which would give %q; set Config.Beyond", last, got)
	}
	return positions.Value(head + 1)
}
