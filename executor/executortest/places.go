// Places: the cursors of positions, which of two comes first, and cursors that are
// not of this store, or of nowhere.

package executortest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testPlaces(t *testing.T, c Config) {
	c.run(t, "OfPositions", placesOfPositions)
	c.run(t, "Earlier", placesEarlier)
	c.run(t, "Refused", placesRefused)
}

// cursorAt is CursorAt, which must succeed.
func cursorAt(t testing.TB, ex evento.Executor, position uint64) cursor.Value {
	t.Helper()
	v, err := ex.CursorAt(position)
	if err != nil {
		t.Fatalf("CursorAt(%d): %v", position, err)
	}
	return v
}

// The cursor of a position is the same before the position is reached and
// after, and the one that Read gives to the event there.
func placesOfPositions(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex)
	beginning := func() {
		t.Helper()
		for _, ex := range exs {
			if v := cursorAt(t, ex, 0); v != "" {
				t.Errorf(`CursorAt(0): got %q, want ""`, v)
			}
		}
	}
	beginning()
	if c.NoPositions {
		for _, position := range []uint64{1, 2, math.MaxUint64} {
			wantError(t, discard(ex.CursorAt(position)), errors.ErrUnsupported, "CursorAt(%d)", position)
		}
		return
	}
	early := make([]cursor.Value, 31)
	for i := range early {
		early[i] = cursorAt(t, ex, uint64(i))
	}
	m := fill(ctx, t, ex, 20)
	for _, e := range m {
		position := e.Node.Position
		for _, ex := range exs {
			if got := cursorAt(t, ex, position); got != e.Cursor {
				t.Errorf("CursorAt(%d): got %q, want %q, the cursor of the event there", position, got, e.Cursor)
			}
		}
		if position < uint64(len(early)) && early[position] != e.Cursor {
			t.Errorf("CursorAt(%d) before there was an event: got %q, want %q, the cursor that it has now", position, early[position], e.Cursor)
		}
	}
	head := m[len(m)-1].Node.Position
	for _, position := range []uint64{head + 1, head + 1000, 1<<62 - 1} {
		refuseCursor(ctx, t, ex, cursorAt(t, ex, position), cursor.ErrBeyondHead)
	}
	beginning()
	wantLog(ctx, t, ex, m)
}

// wantEarlier compares two places, in each order.
func wantEarlier(t testing.TB, ex evento.Executor, first, second cursor.Value) {
	t.Helper()
	for _, tt := range [][2]cursor.Value{{first, second}, {second, first}} {
		if got, err := ex.Earlier(tt[0], tt[1]); err != nil || got != first {
			t.Errorf("Earlier(%q, %q): got %q, %v, want %q", tt[0], tt[1], got, err, first)
		}
	}
}

func placesEarlier(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	wantEarlier(t, ex, "", "")
	m := fill(ctx, t, ex, 20)
	places := []cursor.Value{""}
	for _, e := range m {
		places = append(places, e.Cursor)
	}
	last := places[len(places)-1]
	places = append(places, c.Beyond(t, ex, last))
	for _, ex := range c.all(t, ex) {
		for i, first := range places {
			for _, second := range places[i:] {
				wantEarlier(t, ex, first, second)
			}
		}
	}
	// Where a page without events ends is the place of the last event, in
	// whatever words: at the same place, the first that is given is returned.
	end := read(ctx, t, ex, evento.Query{RoutingKey: "nowhere"}, cursor.Onward(5, "")).PageInfo.EndCursor
	for _, tt := range [][2]cursor.Value{{last, end}, {end, last}} {
		if got, err := ex.Earlier(tt[0], tt[1]); err != nil || got != tt[0] {
			t.Errorf("Earlier(%q, %q) of one place: got %q, %v, want the first", tt[0], tt[1], got, err)
		}
	}
	wantLog(ctx, t, ex, m)
}

// What Read refuses, Earlier does, wherever it is given.
func placesRefused(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 3)
	refuse := func(bad cursor.Value, want error) {
		t.Helper()
		for _, tt := range [][2]cursor.Value{{bad, ""}, {"", bad}, {bad, m[1].Cursor}, {m[1].Cursor, bad}, {bad, bad}} {
			err := discard(ex.Earlier(tt[0], tt[1]))
			wantError(t, err, want, "Earlier(%.200q, %.200q)", tt[0], tt[1])
			wantError(t, err, cursor.ErrInvalid, "Earlier(%.200q, %.200q)", tt[0], tt[1])
		}
	}
	for _, e := range fill(ctx, t, c.open(t), 3) {
		refuse(e.Cursor, cursor.ErrForeign)
	}
	at := m[2].Cursor
	for _, bad := range malformedCursors(at) {
		refuse(bad, cursor.ErrMalformed)
	}
	for i := range len(at) {
		b := []byte(at)
		b[i] ^= 1
		refuse(cursor.Value(b), cursor.ErrInvalid)
	}
}

func testCursors(t *testing.T, c Config) {
	c.run(t, "Form", cursorsForm)
	c.run(t, "Foreign", cursorsForeign)
	c.run(t, "Malformed", cursorsMalformed)
	c.run(t, "Damaged", cursorsDamaged)
	c.run(t, "BeyondTheEnd", cursorsBeyondTheEnd)
}

// refuseCursor reads from a place, in each way, which must be refused, and not
// keep the store from working.
func refuseCursor(ctx context.Context, t testing.TB, ex evento.Executor, at cursor.Value, want error) {
	t.Helper()
	for _, args := range everyWay(3, at) {
		err := discard(ex.Read(ctx, evento.Query{}, args))
		wantError(t, err, want, "Read(%s)", showArgs(args))
		wantError(t, err, cursor.ErrInvalid, "Read(%s)", showArgs(args))
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
		mistyped := []byte("Aa09-_")
		for bit := range 8 {
			mistyped = append(mistyped, at[i]^1<<bit)
		}
		for _, b := range mistyped {
			if b != at[i] {
				refuseCursor(ctx, t, ex, at[:i]+cursor.Value([]byte{b})+at[i+1:], cursor.ErrInvalid)
			}
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
	head := read(t.Context(), t, ex, evento.Query{}, cursor.Backward(1, "")).Edges[0].Node.Position
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
