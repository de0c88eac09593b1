package pebble_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/evento-go/evento"
)

const thing evento.AggregateType = "test/Thing"

type happened struct{ N int }

func (happened) AggregateType() evento.AggregateType { return thing }
func (happened) EventName() string                   { return "Happened" }

func commit(t *testing.T, ex evento.Executor, n int) evento.Receipt {
	t.Helper()
	r, err := evento.Create().Event(happened{n}).Commit(t.Context(), ex)
	if err != nil {
		t.Fatalf("Commit() = %v", err)
	}
	return r
}

// count reads every event.
func count(t *testing.T, ex evento.Executor) int {
	t.Helper()
	n := 0
	for _, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatalf("Events() = %v", err)
		}
		n++
	}
	return n
}

func closeAll(t *testing.T, executors ...evento.Executor) {
	t.Helper()
	for _, ex := range executors {
		if err := ex.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
}

// is works like errors.Is. It fails the test if the text of the error does not begin with
// evento:, or has it twice.
func is(t *testing.T, err, target error) bool {
	t.Helper()
	if err != nil && (!strings.HasPrefix(err.Error(), "evento: ") || strings.Count(err.Error(), "evento: ") != 1) {
		t.Errorf("an error says %q, want evento: once, at the front", err)
	}
	return errors.Is(err, target)
}
