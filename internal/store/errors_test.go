package store_test

import (
	"errors"
	"io"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

func TestErrorf(t *testing.T) {
	t.Parallel()
	inner := store.Errorf("disk %q: %w", "d", evento.ErrFull)
	for want, err := range map[string]error{
		`evento: disk "d": no space left for the store`:                    inner,
		`evento: pebble: disk "d": no space left for the store`:            store.Errorf("pebble: %w", inner),
		`evento: outcome unknown: disk "d": no space left for the store`:   store.Errorf("%w: %w", evento.ErrOutcomeUnknown, inner),
		"evento: disk \"d\": no space left for the store\nexecutor closed": store.Errorf("%w\n%w", inner, evento.ErrClosed),
		`evento: EOF`: store.Errorf("%w", io.EOF),
	} {
		if err.Error() != want {
			t.Errorf("the text is %q, want %q", err, want)
		}
	}
	both := store.Errorf("pebble: %w", store.Errorf("%w: %w", evento.ErrOutcomeUnknown, inner))
	if !errors.Is(both, evento.ErrOutcomeUnknown) || !errors.Is(both, evento.ErrFull) {
		t.Errorf("%v matches not all that it wraps", both)
	}
}
