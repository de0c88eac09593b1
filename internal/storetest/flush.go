package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// BrokenFlush tests what a flush leaves behind that panics, or whose goroutine ends,
// as a clock can make it: nothing is stored, and its callers are told. Open opens the
// same store each time. An executor that survives goes on; another is closed to its
// callers, and the next that is opened goes on.
func BrokenFlush(t *testing.T, survives bool, open func(clock func() time.Time) evento.Executor) {
	t.Helper()
	breaks := func() {}
	openBroken := func() evento.Executor {
		return open(func() time.Time {
			breaks()
			return time.Now()
		})
	}
	ex := openBroken()
	stored := 0
	for _, tt := range []struct {
		name   string
		breaks func()
		led    bool // by a goroutine, as the caller may give up
		want   string
	}{
		{"a panic", func() { panic("clock") }, false, "panic: clock"},
		{"a panic under another goroutine", func() { panic("clock") }, true, "panic: clock"},
		{"an end of the goroutine", runtime.Goexit, false, "ended"},
		{"an end of another goroutine", runtime.Goexit, true, "unknown: true"},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		caller := ctx
		if !tt.led {
			caller = context.Background()
		}
		breaks = tt.breaks
		if said := outcome(func() error { return write(caller, ex) }); said != tt.want {
			t.Errorf("%s: the caller was told %q, want %q", tt.name, said, tt.want)
		}
		cancel()
		breaks = func() {}
		if !survives {
			if err := write(t.Context(), ex); !errors.Is(err, evento.ErrClosed) {
				t.Errorf("%s: Write() afterwards = %v, want %v", tt.name, err, evento.ErrClosed)
			}
			if err := ex.Close(); err != nil {
				t.Errorf("%s: Close() = %v", tt.name, err)
			}
			ex = openBroken()
		}
		if err := write(t.Context(), ex); err != nil {
			t.Fatalf("%s: Write() = %v", tt.name, err)
		}
		stored++
	}
	page, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(100, ""))
	if err != nil || len(page.Edges) != stored {
		t.Errorf("Read() = %v, %v, want %d events", page, err, stored)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
}

// write stores an event of a new aggregate.
func write(ctx context.Context, ex evento.Executor) error {
	e := evento.NewEvent{ID: evento.NewID(), Name: "n", Codec: "json", Data: []byte("{}")}
	_, err := ex.Write(ctx, evento.Write{Appends: []evento.Append{{AggregateType: "t", AggregateID: e.ID.String(), Events: []evento.NewEvent{e}}}})
	return err
}

// outcome is what a caller in a goroutine of its own is told.
func outcome(call func() error) string {
	told := make(chan string)
	go func() {
		said := "ended"
		defer func() {
			if p := recover(); p != nil {
				said = fmt.Sprint("panic: ", p)
			}
			told <- said
		}()
		said = fmt.Sprint("unknown: ", errors.Is(call(), evento.ErrOutcomeUnknown))
	}()
	return <-told
}
