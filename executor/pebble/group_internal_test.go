package pebble

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
)

// grouped is a store whose order the test has, so that writes wait for it.
type grouped struct {
	*Executor
	t *testing.T
}

func newGrouped(t *testing.T) grouped {
	t.Helper()
	ex, err := Open(t.Context(), "store", &Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	})
	ex.order <- struct{}{}
	return grouped{ex, t}
}

type outcome struct {
	receipts []evento.Receipt
	err      error
}

// write begins to append an event, and returns when so many writes wait.
func (g grouped) write(ctx context.Context, a evento.Append, waiting int) <-chan outcome {
	g.t.Helper()
	done := make(chan outcome, 1)
	a.AggregateType = "test/Thing"
	a.Events = []evento.NewEvent{{ID: evento.NewID(), Name: "Happened", Codec: "raw", Tags: []string{"tag"}}}
	go func() {
		receipts, err := g.Write(ctx, evento.Write{Appends: []evento.Append{a}})
		done <- outcome{receipts, err}
	}()
	g.wait(waiting)
	return done
}

func (g grouped) wait(waiting int) {
	g.t.Helper()
	for n := -1; n != waiting; runtime.Gosched() {
		if g.t.Context().Err() != nil {
			g.t.Fatal("the test has ended")
		}
		g.queue.mu.Lock()
		n = len(g.queue.waiting)
		g.queue.mu.Unlock()
	}
}

// Writes that share a batch are judged one after the other: each sees those before it.
func TestGroupIsJudgedInOrder(t *testing.T) {
	t.Parallel()
	g := newGrouped(t)
	first := g.write(t.Context(), evento.Append{AggregateID: "a", RoutingKey: "left"}, 1)
	conflicts := g.write(t.Context(), evento.Append{AggregateID: "a"}, 2)
	second := g.write(t.Context(), evento.Append{AggregateID: "a", Expected: 1}, 3)
	other := g.write(t.Context(), evento.Append{AggregateID: "b"}, 4)
	third := g.write(t.Context(), evento.Append{AggregateID: "a", AnyVersion: true, RoutingKey: "right"}, 5)
	g.unlock()
	for i, tt := range []struct {
		done              <-chan outcome
		version, position uint64
	}{{first, 1, 1}, {second, 2, 2}, {other, 1, 3}, {third, 3, 4}} {
		o := <-tt.done
		if o.err != nil || o.receipts[0].Version != tt.version || o.receipts[0].Position != tt.position {
			t.Errorf("Write() %d = %v, %v, want version %d at position %d", i, o.receipts, o.err, tt.version, tt.position)
		}
	}
	var conflict *evento.ConflictError
	if o := <-conflicts; !errors.As(o.err, &conflict) || conflict.Actual != 1 {
		t.Errorf("Write() of a version that is taken = %v, want a conflict with version 1", o.err)
	}
	// Every index has the events, as they were written.
	for _, q := range []evento.Query{
		{}, {Filters: []evento.Filter{{AggregateType: "test/Thing"}}}, {Filters: []evento.Filter{{Tags: []string{"tag"}}}},
	} {
		var got []string
		for e, err := range evento.Events(t.Context(), g, q) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.AggregateID+e.RoutingKey)
		}
		if want := []string{"aleft", "aleft", "b", "aleft"}; !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", q, got, want)
		}
	}
}

// A write that waits for a batch is given up with its context, whether it leads or not,
// and the others go on.
func TestGroupGivesUp(t *testing.T) {
	t.Parallel()
	for _, gone := range []string{"leader", "follower", "both"} {
		t.Run(gone, func(t *testing.T) {
			t.Parallel()
			g := newGrouped(t)
			ctx, cancel := context.WithCancel(t.Context())
			of := func(name string) context.Context {
				if gone == name || gone == "both" {
					return ctx
				}
				return t.Context()
			}
			outcomes := map[string]<-chan outcome{
				"leader":   g.write(of("leader"), evento.Append{AggregateID: "leader"}, 1),
				"follower": g.write(of("follower"), evento.Append{AggregateID: "follower"}, 2),
				"last":     g.write(t.Context(), evento.Append{AggregateID: "last"}, 3),
			}
			cancel()
			for name, done := range outcomes {
				if of(name) != ctx || name == "last" {
					continue
				}
				if o := <-done; !errors.Is(o.err, context.Canceled) {
					t.Errorf("Write() of the %s = %v, want %v", name, o.err, context.Canceled)
				}
				delete(outcomes, name)
			}
			g.wait(len(outcomes))
			g.unlock()
			for name, done := range outcomes {
				if o := <-done; o.err != nil {
					t.Errorf("Write() of the %s = %v", name, o.err)
				}
			}
			if last := g.visible.Load(); last != uint64(len(outcomes)) {
				t.Errorf("%d events, want %d", last, len(outcomes))
			}
		})
	}
}

// What is enough depends on whether the disk or the processors take longer.
func TestGroupIsLargeEnough(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		whole                          bool
		syncing, waiting, under, crowd int
		ended                          time.Duration // before now
		want                           bool
	}{
		{false, 0, 1, 64, 64, 0, true}, {false, 1, 1, 64, 64, 0, false}, {false, 1, 31, 64, 64, 0, false},
		{false, 1, 32, 64, 64, 0, true}, {false, 2, 1, 2, 2, 0, true}, {false, 1, 1, 1, 1, 0, true},
		{true, 1, 64, 64, 64, 0, false}, {true, 0, 63, 64, 64, 0, false}, {true, 0, 64, 64, 64, 0, true},
		{true, 0, 1, 64, 64, time.Hour, true}, {true, 0, 1, 1, 1, 0, true},
	} {
		q := &queue{
			waiting: make([]*pending, tt.waiting), syncing: tt.syncing, crowd: tt.crowd,
			ended: time.Now().Add(-tt.ended), sync: time.Minute,
		}
		if tt.whole {
			q.fast = fastGroups
		}
		q.under.Store(int64(tt.under))
		if got, _ := q.enough(); got != tt.want {
			t.Errorf("enough() = %v, want %v: %+v", got, tt.want, tt)
		}
	}
}

// Groups become whole when writers gather in a fraction of a sync, and halves when they do
// not.
func TestGroupsFollowTheDisk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fast, syncing int
		ended         time.Duration // before now
		want          bool
	}{
		{fastGroups - 1, 1, 20 * time.Second, true}, {fastGroups - 2, 1, 20 * time.Second, false},
		{fastGroups - 1, 1, 25 * time.Second, false}, {fastGroups - 1, 0, 0, false},
		{fastGroups, 0, 30 * time.Second, true}, {fastGroups, 0, 50 * time.Second, false},
	} {
		q := &queue{fast: tt.fast, syncing: tt.syncing, ended: time.Now().Add(-tt.ended), sync: time.Minute}
		if q.take(); q.whole() != tt.want {
			t.Errorf("whole() = %v, want %v: %+v", q.whole(), tt.want, tt)
		}
	}
}

// The time of a sync is a mean. A group that was synced together with the one before says
// nothing of it.
func TestTimeOfASync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{look: make(chan struct{}, 1)}
		begin := func() *group {
			q.syncing++
			return &group{began: time.Now()}
		}
		want := func(d time.Duration) {
			t.Helper()
			if q.sync != d {
				t.Errorf("a sync takes %v, want %v", q.sync, d)
			}
		}
		for _, took := range []time.Duration{160 * time.Millisecond, 320 * time.Millisecond} {
			g := begin()
			time.Sleep(took)
			q.synced(g)
		}
		want(170 * time.Millisecond)
		first, second, third := begin(), begin(), begin()
		time.Sleep(170 * time.Millisecond)
		q.synced(first)
		time.Sleep(time.Millisecond)
		q.synced(second)
		want(170 * time.Millisecond)
		time.Sleep(330 * time.Millisecond) // behind the second
		q.synced(third)
		want(180 * time.Millisecond)
	})
}
