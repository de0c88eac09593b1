package cursor_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/evento-go/evento/cursor"
)

var store = [16]byte{0x01, 0x90, 0xfe, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff}

var places = []uint64{0, 1, 2, 255, 256, 1 << 20, 1<<63 - 1, 1 << 63, math.MaxUint64}

func TestPositionsRoundTrip(t *testing.T) {
	t.Parallel()
	p := cursor.NewPositions(store)
	if p.Store() != store {
		t.Errorf("Store() = %x, want %x", p.Store(), store)
	}
	values := p.Values(places)
	for i, pos := range places {
		v := p.Value(pos)
		if v != values[i] {
			t.Errorf("Value(%d) = %q, but Values gives %q", pos, v, values[i])
		}
		if got := p.AppendValue([]byte("x"), pos); string(got) != "x"+string(v) {
			t.Errorf("AppendValue(x, %d) = %q, want x and %q", pos, got, v)
		}
		if got, err := p.Position(v); got != pos || err != nil {
			t.Errorf("Position(Value(%d)) = %d, %v", pos, got, err)
		}
		if s := strings.Trim(string(v), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"); s != "" {
			t.Errorf("Value(%d) = %q: %q is not URL-safe", pos, v, s)
		}
	}
	if got := p.Values(nil); got != nil {
		t.Errorf("Values(nil) = %q, want nil", got)
	}
}

// Subscriptions store cursors, so their text may never change.
func TestPositionsFormat(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		store    [16]byte
		position uint64
		want     cursor.Value
	}{
		{store, 258, "AXABkP4DBAUGBwgJCgsMDQ7_AAAAAAAAAQLT"},
		{[16]byte{}, 1, "AXAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAGm"},
	} {
		p := cursor.NewPositions(test.store)
		if test.store == [16]byte{} {
			p = cursor.Positions{}
		}
		if got := p.Value(test.position); got != test.want {
			t.Errorf("store %x, position %d: %q, want %q", test.store, test.position, got, test.want)
		}
	}
}

func TestPositionsEmpty(t *testing.T) {
	t.Parallel()
	if got, err := cursor.NewPositions(store).Position(""); got != 0 || err != nil {
		t.Errorf(`Position("") = %d, %v, want 0`, got, err)
	}
}

func TestPositionsAt(t *testing.T) {
	t.Parallel()
	p := cursor.NewPositions(store)
	for _, pos := range places {
		want := p.Value(pos)
		if pos == 0 {
			want = ""
		}
		if got := p.At(pos); got != want {
			t.Errorf("At(%d) = %q, want %q", pos, got, want)
		}
	}
}

func TestPositionsEarlier(t *testing.T) {
	t.Parallel()
	p := cursor.NewPositions(store)
	for i, first := range places {
		for _, second := range places[i:] {
			a, b := p.Value(first), p.Value(second)
			for _, tt := range [][2]cursor.Value{{a, b}, {b, a}} {
				if got, err := p.Earlier(tt[0], tt[1]); got != a || err != nil {
					t.Errorf("Earlier(%q, %q) = %q, %v, want that of %d, not %d", tt[0], tt[1], got, err, first, second)
				}
			}
		}
	}
	// The beginning has two texts: Earlier returns the first argument.
	for _, tt := range [][2]cursor.Value{{"", p.Value(0)}, {p.Value(0), ""}} {
		if got, err := p.Earlier(tt[0], tt[1]); got != tt[0] || err != nil {
			t.Errorf("Earlier(%q, %q) = %q, %v, want the first", tt[0], tt[1], got, err)
		}
	}
	for bad, want := range map[cursor.Value]error{"?": cursor.ErrMalformed, cursor.NewPositions([16]byte{1}).Value(1): cursor.ErrForeign} {
		for _, tt := range [][2]cursor.Value{{bad, ""}, {"", bad}, {bad, p.Value(1)}, {p.Value(1), bad}, {bad, bad}} {
			if got, err := p.Earlier(tt[0], tt[1]); got != "" || !errors.Is(err, want) {
				t.Errorf("Earlier(%q, %q) = %q, %v, want %v", tt[0], tt[1], got, err, want)
			}
		}
	}
}

func TestPositionsForeign(t *testing.T) {
	t.Parallel()
	other := store
	for i := range other {
		other[i] ^= 0x40
		_, err := cursor.NewPositions(other).Position(cursor.NewPositions(store).Value(7))
		if !errors.Is(err, cursor.ErrForeign) || !errors.Is(err, cursor.ErrInvalid) || errors.Is(err, cursor.ErrMalformed) {
			t.Errorf("a cursor of %x read by %x: %v, want ErrForeign", store, other, err)
		}
		other[i] ^= 0x40
	}
}

func TestPositionsDamaged(t *testing.T) {
	t.Parallel()
	p := cursor.NewPositions(store)
	for _, pos := range places {
		damaged(t, p.Value(pos), func(v cursor.Value) error {
			_, err := p.Position(v)
			return err
		})
	}
	for _, v := range []cursor.Value{"x", "not a cursor", cursor.Value(strings.Repeat("A", 36)), cursor.Value(strings.Repeat("A", 1<<20))} {
		_, err := p.Position(v)
		if !errors.Is(err, cursor.ErrMalformed) {
			t.Errorf("Position(%.40q) = %v, want ErrMalformed", v, err)
			continue
		}
		if len(err.Error()) > 300 {
			t.Errorf("the error about a cursor of %d bytes has %d", len(v), len(err.Error()))
		}
	}
}

// damaged checks that every truncated or extended cursor, and every one with a
// flipped bit, is refused.
func damaged(t *testing.T, v cursor.Value, read func(cursor.Value) error) {
	t.Helper()
	if err := read(v); err != nil {
		t.Fatalf("the whole cursor %q: %v", v, err)
	}
	refused := func(what string, d cursor.Value) {
		t.Helper()
		if err := read(d); !errors.Is(err, cursor.ErrInvalid) {
			t.Errorf("%s of %q: %q is taken (%v), want ErrInvalid", what, v, d, err)
		}
	}
	for i := 1; i < len(v); i++ {
		refused("the beginning", v[:i])
		refused("the end", v[i:])
	}
	for i := range len(v) + 1 {
		for _, more := range []cursor.Value{"A", "=", "\n", "\r", " ", "\x00"} {
			refused("an addition", v[:i]+more+v[i:])
		}
	}
	for i := range len(v) {
		for bit := range 8 {
			b := []byte(v)
			b[i] ^= 1 << bit
			refused("a flipped bit", cursor.Value(b))
		}
	}
}

func FuzzPositions(f *testing.F) {
	p := cursor.NewPositions(store)
	for _, pos := range places {
		f.Add(string(p.Value(pos)))
	}
	f.Add("")
	f.Add(string(cursor.NewPositions([16]byte{}).Value(1)))
	f.Fuzz(func(t *testing.T, text string) {
		pos, err := p.Position(cursor.Value(text))
		if err != nil {
			if !errors.Is(err, cursor.ErrInvalid) {
				t.Errorf("Position(%q): %v does not match ErrInvalid", text, err)
			}
			return
		}
		if text != "" && p.Value(pos) != cursor.Value(text) {
			t.Errorf("position %d has two cursors, %q and %q", pos, text, p.Value(pos))
		}
	})
}

func TestArgs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args             cursor.Args
		limit            int
		at               cursor.Value
		backward, onward bool
		ok               bool
	}{
		{cursor.Forward(1, "a"), 1, "a", false, false, true},
		{cursor.Onward(2, "b"), 2, "b", false, true, true},
		{cursor.Backward(cursor.MaxPage, "c"), cursor.MaxPage, "c", true, false, true},
		{cursor.Forward(0, ""), 0, "", false, false, false},
		{cursor.Backward(-1, ""), -1, "", true, false, false},
		{cursor.Onward(cursor.MaxPage+1, ""), cursor.MaxPage + 1, "", false, true, false},
		{cursor.Args{}, 0, "", false, false, false},
	} {
		a := test.args
		if a.Limit() != test.limit || a.At() != test.at || a.IsBackward() != test.backward || a.IsOnward() != test.onward {
			t.Errorf("%+v: limit %d, at %q, backward %t, onward %t", test, a.Limit(), a.At(), a.IsBackward(), a.IsOnward())
		}
		if err := a.Check(); (err == nil) != test.ok || err != nil && !errors.Is(err, cursor.ErrInvalid) {
			t.Errorf("%+v: Check() = %v", test, err)
		}
	}
}

func TestPositionsOf(t *testing.T) {
	t.Parallel()
	p := cursor.NewPositions([16]byte{1, 2, 3, 255})
	got, err := cursor.PositionsOf(p.Value(7))
	if err != nil || got.Store() != p.Store() || got.Value(9) != p.Value(9) {
		t.Errorf("PositionsOf(%q) = %v, %v, want those of %v", p.Value(7), got, err, p.Store())
	}
	whole := p.Value(7)
	for _, v := range []cursor.Value{"", "x", whole[:24], whole[:35], whole + "A", "\n" + whole[1:], "AA" + whole[2:], whole[:30] + "AAAAAA", cursor.Value(strings.Repeat("A", 36))} {
		if got, err := cursor.PositionsOf(v); !errors.Is(err, cursor.ErrMalformed) {
			t.Errorf("PositionsOf(%q) = %v, %v, want %v", v, got, err, cursor.ErrMalformed)
		}
	}
}
