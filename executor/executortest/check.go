// What every topic checks with.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/evento-go/evento"
)

// must fails the test at an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// discard is the error of a call whose other result is of no interest.
func discard[T any](_ T, err error) error { return err }

// wantError checks that a call failed with an error that matches want. What
// says which call it was.
func wantError(t testing.TB, err, want error, what string, args ...any) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got the error %v, want %q", fmt.Sprintf(what, args...), err, want)
	}
}

// await waits until a channel is closed or has something, which it is to be
// by what happened.
func await(ctx context.Context, t testing.TB, ch <-chan struct{}, by string) {
	t.Helper()
	select {
	case <-ch:
	case <-ctx.Done():
		t.Fatalf("waiting for %s: %v", by, ctx.Err())
	}
}

// soundLog reads the whole store, and holds it to what is true of every one.
func soundLog(ctx context.Context, t testing.TB, c Config, ex evento.Executor) []edge {
	t.Helper()
	log := readAll(ctx, t, ex, evento.Query{})
	checkLog(t, c, log)
	return log
}

// wantStore is soundLog of a store that must have n events.
func wantStore(ctx context.Context, t testing.TB, c Config, ex evento.Executor, n int) []edge {
	t.Helper()
	log := soundLog(ctx, t, c, ex)
	if len(log) != n {
		t.Fatalf("got %d events, want %d", len(log), n)
	}
	return log
}

// everyByte has each byte once.
func everyByte() []byte {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return every
}

// goroutineT is the T of one of the goroutines of a test: Fatal ends that
// goroutine, and the test when all of them have ended.
type goroutineT struct {
	testing.TB
	i int
}

func (g goroutineT) FailNow() {
	g.Fail()
	runtime.Goexit()
}

func (g goroutineT) Fatal(args ...any) {
	g.Helper()
	g.Fatalf("%s", fmt.Sprint(args...))
}

func (g goroutineT) Fatalf(format string, args ...any) {
	g.Helper()
	g.Errorf("goroutine %d: "+format, append([]any{g.i}, args...)...)
	runtime.Goexit()
}

// goroutines are n of them that do the same.
type goroutines struct {
	n  int
	do func(t testing.TB, i int)
}

// together runs do in n goroutines that begin at once, each with a T of its
// own. It waits for them, and ends the test when one has failed.
func together(t testing.TB, n int, do func(t testing.TB, i int)) {
	t.Helper()
	concurrently(t, goroutines{n, do})
}

// concurrently is together for goroutines that do different things.
func concurrently(t testing.TB, all ...goroutines) {
	t.Helper()
	start := make(chan struct{})
	var wg sync.WaitGroup
	for _, g := range all {
		for i := range g.n {
			wg.Go(func() {
				<-start
				g.do(goroutineT{t, i}, i)
			})
		}
	}
	close(start)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
