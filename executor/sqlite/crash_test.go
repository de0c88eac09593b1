package sqlite_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

// ledger is what was acknowledged: "aggregate version" by position.
type ledger map[uint64]string

func (l ledger) note(t *testing.T, line string) {
	t.Helper()
	var id string
	var version, position uint64
	if _, err := fmt.Sscan(line, &id, &version, &position); err != nil {
		t.Fatalf("a child said %q: %v", line, err)
	}
	if other, taken := l[position]; taken {
		t.Errorf("position %d was acknowledged twice: for %s, and for %s version %d", position, other, id, version)
	}
	l[position] = fmt.Sprint(id, " ", version)
}

// check holds the store to what was acknowledged and to its own order, and
// returns how many events it has.
func (l ledger) check(t *testing.T, ex evento.Executor) uint64 {
	t.Helper()
	last, found := uint64(0), 0
	versions := map[string]uint64{}
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Position != last+1 {
			t.Errorf("position %d comes after %d", e.Position, last)
		}
		last = e.Position
		if versions[e.AggregateID]++; versions[e.AggregateID] != e.Version {
			t.Errorf("position %d: %s version %d, want %d", e.Position, e.AggregateID, e.Version, versions[e.AggregateID])
		}
		if acked, ok := l[e.Position]; ok {
			found++
			if got := fmt.Sprint(e.AggregateID, " ", e.Version); got != acked {
				t.Errorf("position %d has %s, acknowledged was %s", e.Position, got, acked)
			}
		}
	}
	if found != len(l) {
		t.Errorf("%d of %d acknowledged events are lost", len(l)-found, len(l))
	}
	return last
}

// Processes that append and handle are killed at random moments, again and
// again: what they acknowledged is there, and what was handled is complete and
// in order.
func TestKill(t *testing.T) {
	t.Parallel()
	const kills, writers = 20, 6
	dir := t.TempDir()
	path, handledPath := filepath.Join(dir, "a.db"), filepath.Join(dir, "handled")
	acked := ledger{}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for k := range kills {
		before := len(acked)
		p := startChild(t, path, writers, 0, handledPath)
		after := 1 + random.IntN(60)
		for line := range p.lines {
			acked.note(t, line)
			if after--; after == 0 {
				if err := p.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := p.wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("kill %d: the process ended with %v", k, err)
		}
		if len(acked) == before {
			t.Fatalf("kill %d: nothing was acknowledged before", k)
		}
		ex := openFile(t, path)
		stored := acked.check(t, ex)
		if surplus := int(stored) - len(acked); surplus > (k+1)*writers {
			t.Errorf("kill %d: %d events were stored but not acknowledged, more than were under way", k, surplus)
		}
		closeAll(t, ex)
		if t.Failed() {
			return
		}
	}
	checkHandled(t, path, handledPath)
	t.Logf("kill -9 x %d: acknowledged %d, lost 0", kills, len(acked))
}

// checkHandled lets the subscription finish, and looks at all that was handled
// in all of its lives.
func checkHandled(t *testing.T, path, handledPath string) {
	t.Helper()
	ex := openFile(t, path)
	defer closeAll(t, ex)
	text, err := os.ReadFile(handledPath)
	if err != nil {
		t.Fatal(err)
	}
	var positions []uint64
	for line := range strings.Lines(string(text)) {
		var p uint64
		if _, err := fmt.Sscan(line, &p); err != nil {
			t.Fatalf("handled %q: %v", line, err)
		}
		positions = append(positions, p)
	}
	if len(positions) == 0 {
		t.Fatal("nothing was handled before the kills")
	}
	err = evento.NewSubscription(childKey).Handler(evento.Handle(func(_ context.Context, e evento.Event[happened]) error {
		positions = append(positions, e.Position)
		return nil
	})).Execute(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	// What comes again comes from a cursor that was stored, so a delivery
	// never skips ahead of the first that was not made yet.
	next := uint64(1)
	for i, p := range positions {
		if p > next {
			t.Fatalf("delivery %d is of position %d, but %d was never handled", i, p, next)
		}
		next = max(next, p+1)
	}
	if stored := uint64(count(t, ex)); next != stored+1 {
		t.Errorf("handled up to %d of %d events", next-1, stored)
	}
}

// Four processes with 32 goroutines each write one file, while subscriptions
// tail it from here.
func TestProcesses(t *testing.T) {
	t.Parallel()
	const processes, writers, commits, subscriptions = 4, 32, 8, 3
	const all = processes * writers * commits
	path := filepath.Join(t.TempDir(), "a.db")
	ex := openFile(t, path)
	defer closeAll(t, ex)

	var mu sync.Mutex
	got := make([][]uint64, subscriptions)
	done := make(chan struct{}, subscriptions)
	for s := range subscriptions {
		sub, err := evento.NewSubscription(fmt.Sprint("tail-", s)).ChunkSize(1+100*s).
			Handler(evento.Handle(func(_ context.Context, e evento.Event[happened]) error {
				mu.Lock()
				defer mu.Unlock()
				if got[s] = append(got[s], e.Position); len(got[s]) == all {
					done <- struct{}{}
				}
				return nil
			})).Start(t.Context(), ex)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := sub.Shutdown(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}()
	}

	acked := ledger{}
	children := make([]*process, processes)
	for i := range children {
		children[i] = startChild(t, path, writers, commits, "")
	}
	for _, p := range children {
		for line := range p.lines {
			acked.note(t, line)
		}
		if err := p.wait(); err != nil {
			t.Errorf("a child: %v", err)
		}
	}
	if len(acked) != all {
		t.Fatalf("%d commits were acknowledged, want %d", len(acked), all)
	}
	if stored := acked.check(t, ex); stored != all {
		t.Errorf("%d events are stored, want %d", stored, all)
	}
	for range subscriptions {
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatal("a subscription did not get everything")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for s := range got {
		for i, p := range got[s] {
			if p != uint64(i+1) {
				t.Fatalf("subscription %d: delivery %d is of position %d", s, i+1, p)
			}
		}
	}
}
