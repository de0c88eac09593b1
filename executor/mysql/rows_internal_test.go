package mysql

import "testing"

// A number of rows that comes again has a statement of its own, so that the server gets
// one statement for them, and not two.
func TestRowsAtOnce(t *testing.T) {
	t.Parallel()
	s := &session{}
	for i, c := range []struct{ rows, want int }{
		{1, 1}, {16, 16}, {32, 32}, {256, 256}, // always
		{100, 96}, {4, 4}, {100, 100}, {100, 100}, // from the second time on
		{77, 64}, {13, 13}, {100, 100}, {77, 64}, {13, 13}, {100, 100}, // until another comes twice
		{77, 64}, {13, 13}, {77, 77}, {100, 96}, {4, 4}, {77, 77},
	} {
		if got := s.rowsAtOnce(c.rows); got != c.want {
			t.Errorf("%d: rowsAtOnce(%d) = %d, want %d", i, c.rows, got, c.want)
		}
	}
}
