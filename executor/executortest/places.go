// Places: the cursors of positions, and which of two comes first.

package executortest

import (
	"context"
	"errors"
	"math"
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
			_, err := ex.CursorAt(position)
			wantError(t, err, errors.ErrUnsupported, "CursorAt(%d)", position)
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
	exs := c.all(t, ex)
	for _, ex := range exs {
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
	foreign := fill(ctx, t, c.open(t), 3)
	refuse := func(bad cursor.Value, want error) {
		t.Helper()
		for _, tt := range [][2]cursor.Value{{bad, ""}, {"", bad}, {bad, m[1].Cursor}, {m[1].Cursor, bad}, {bad, bad}} {
			if got, err := ex.Earlier(tt[0], tt[1]); !errors.Is(err, want) || !errors.Is(err, cursor.ErrInvalid) {
				t.Errorf("Earlier(%.200q, %.200q): got %.200q, %v, want the error %q", tt[0], tt[1], got, err, want)
			}
		}
	}
	for _, e := range foreign {
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
