// A process that is killed in the handlers of its transactional subscriptions.

package pebble_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
)

const (
	handlersPath  = "EVENTO_TEST_HANDLERS_PATH"
	handlersBlock = "EVENTO_TEST_HANDLERS_BLOCK" // the key of a subscription, and which call of its handler never returns

	handledThings = 5
)

// letter is the type of what the handlers commit, for each thing to an aggregate of the
// subscription's own.
const letter evento.AggregateType = "test/Letter"

type written struct{ About string }

func (written) AggregateType() evento.AggregateType { return letter }
func (written) EventName() string                   { return "Written" }

// One subscription takes its time for each event; the other takes many events at once.
const (
	slowly    = "slowly"
	inBatches = "in-batches"
)

// letterWriting is a subscription, whose handler commits a letter about each event.
func letterWriting(key string) *evento.SubscriptionBuilder {
	write := func(ctx context.Context, es []evento.RawEvent) error {
		for _, e := range es {
			b := evento.Aggregate(key + " " + e.AggregateID).AnyVersion().Event(written{fmt.Sprint(e.AggregateID, " ", e.Version)})
			if _, err := b.Commit(ctx, evento.ExecutorFrom(ctx)); err != nil {
				return err
			}
		}
		return nil
	}
	h := evento.HandleAllBatch(thing, write)
	if key == slowly {
		h = evento.HandleAll(thing, func(ctx context.Context, e evento.RawEvent) error { return write(ctx, []evento.RawEvent{e}) })
	}
	return evento.NewSubscription(key).Transactional().Lease(100 * time.Millisecond).ChunkSize(20).Logger(slog.New(slog.DiscardHandler)).Handler(h)
}

// happen commits an event of some thing.
func happen(ctx context.Context, ex evento.Executor) error {
	_, err := evento.Aggregate(fmt.Sprint("thing ", rand.N(handledThings))).AnyVersion().Event(happened{1}).Commit(ctx, ex)
	return err
}

// handleUntilKilled runs the subscriptions, and commits an event for each that the slow one
// handles. It prints a line where a handler begins, where it has committed, and where it
// ends.
func handleUntilKilled(ctx context.Context, path string) error {
	var blockKey string
	var blockCall int
	if _, err := fmt.Sscan(os.Getenv(handlersBlock), &blockKey, &blockCall); err != nil {
		return err
	}
	ex, err := pebble.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	errs := make(chan error, 3)
	next := make(chan struct{}, 20)
	for range cap(next) {
		next <- struct{}{}
	}
	go func() {
		for range next {
			if err := happen(ctx, ex); err != nil {
				errs <- err
			}
		}
	}()
	for _, key := range []string{slowly, inBatches} {
		calls := 0
		sub, err := letterWriting(key).Hooks(evento.SubscriptionHooks{
			Handle: func(ctx context.Context, _ string, _ []evento.RawEvent, handle func(context.Context) error) error {
				fmt.Println(key, "begins")
				err := handle(ctx)
				fmt.Println(key, "has-committed")
				if calls++; key == blockKey && calls == blockCall {
					fmt.Println(key, "is-blocked")
					select {}
				}
				if key == slowly {
					select {
					case <-time.After(rand.N(4 * time.Millisecond)):
					case <-ctx.Done():
					}
					select {
					case next <- struct{}{}:
					default:
					}
				}
				fmt.Println(key, "ends")
				return err
			},
		}).Start(ctx, ex)
		if err != nil {
			return err
		}
		go func() {
			<-sub.Done()
			errs <- fmt.Errorf("subscription %s has ended: %w", key, sub.Err())
		}()
	}
	return <-errs
}

// startHandlers starts this test as a process that handles until it is killed.
func startHandlers(t *testing.T, path, blockKey string, blockCall int) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestTransactionalKilled$")
	cmd.Env = append(os.Environ(), handlersPath+"="+path, fmt.Sprint(handlersBlock, "=", blockKey, " ", blockCall))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, lines: bufio.NewScanner(out)}
	t.Cleanup(func() { p.once.Do(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) })
	return p
}

// atWork is what the lines of a process say: which handlers have begun and not ended.
type atWork map[string]bool

func (a atWork) line(t *testing.T, line string) (blocked bool) {
	t.Helper()
	key, what, _ := strings.Cut(line, " ")
	switch {
	case key != slowly && key != inBatches:
		t.Logf("a child said %q", line) // the last line may be cut
	case what == "begins":
		a[key] = true
	case what == "ends":
		delete(a, key)
	}
	return what == "is-blocked"
}

// wantHandled checks that a subscription has committed a letter about each event of each
// thing, once and in order; before the end, about the first ones. It returns how many.
func wantHandled(t *testing.T, ex evento.Executor, key string, end bool) (handled int) {
	t.Helper()
	events, letters := map[string][]string{}, map[string][]string{}
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.AggregateType == thing {
			events[key+" "+e.AggregateID] = append(events[key+" "+e.AggregateID], fmt.Sprint(e.AggregateID, " ", e.Version))
		} else if strings.HasPrefix(e.AggregateID, key) {
			l, err := evento.Decode[written](e)
			if err != nil {
				t.Fatal(err)
			}
			letters[e.AggregateID] = append(letters[e.AggregateID], l.Data.About)
		}
	}
	for id, got := range letters {
		want := events[id]
		if !end {
			want = want[:min(len(want), len(got))]
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: the letters are about %v, want %v", id, got, want)
		}
		handled += len(got)
	}
	if end && len(letters) != handledThings {
		t.Errorf("%s: letters about %d things, want %d", key, len(letters), handledThings)
	}
	return handled
}

// handlerKills is how often a process is killed.
func handlerKills(t *testing.T) int {
	t.Helper()
	s := os.Getenv("EVENTO_KILLS")
	if s == "" {
		return 5
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("EVENTO_KILLS: %q is no number of kills", s)
	}
	return n
}

// Wherever a process is killed, what its handlers have committed is stored once for each
// event. Every second time it is killed in a handler that has committed; else somewhere.
// EVENTO_KILLS is how often, such as 50.
func TestTransactionalKilled(t *testing.T) {
	if path := os.Getenv(handlersPath); path != "" { // a process of this test
		t.Fatal(handleUntilKilled(t.Context(), path))
	}
	t.Parallel()
	kills, hits := handlerKills(t), 0
	path := t.TempDir()
	began := time.Now()
	for k := range kills {
		blockKey, blockCall := []string{slowly, inBatches}[k/2%2], 0
		if k%2 == 0 {
			blockCall = 1 + rand.N(10)
		}
		c := startHandlers(t, path, blockKey, blockCall)
		working, blocked := atWork{}, false
		for lines := 1 + rand.N(150); lines > 0 || blockCall > 0 && !blocked; lines-- {
			if !c.lines.Scan() {
				t.Fatalf("kill %d: the child ended by itself", k+1)
			}
			blocked = working.line(t, c.lines.Text())
			if blocked {
				break
			}
		}
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for c.lines.Scan() { // what it said before
			working.line(t, c.lines.Text())
		}
		c.kill(t)
		if len(working) > 0 {
			hits++
		}
		ex := openDir(t, path)
		for _, key := range []string{slowly, inBatches} {
			wantHandled(t, ex, key, false)
		}
		for range 3 {
			if err := happen(t.Context(), ex); err != nil {
				t.Fatal(err)
			}
		}
		closeAll(t, ex)
	}
	ex := openDir(t, path)
	defer closeAll(t, ex)
	handled := 0
	for _, key := range []string{slowly, inBatches} {
		if err := letterWriting(key).Execute(t.Context(), ex); err != nil {
			t.Fatal(errors.Join(errors.New(key), err))
		}
		n := wantHandled(t, ex, key, true)
		if n == 0 {
			t.Errorf("%s: no event was handled", key)
		}
		handled += n
	}
	if hits < kills/2 {
		t.Errorf("%d of %d kills hit a handler, want every second one", hits, kills)
	}
	t.Logf("kill -9 x %d in %s: %d hit a handler; %d events handled, each once", kills, time.Since(began).Round(time.Second/10), hits, handled)
}
