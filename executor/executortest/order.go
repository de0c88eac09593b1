// The total order, under concurrent writers and readers.

package executortest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testOrder(t *testing.T, c Config) {
	c.run(t, "Concurrent", func(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
		order(ctx, t, c, []evento.Executor{ex})
	})
	if c.Share != nil {
		c.run(t, "Shared", func(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
			order(ctx, t, c, []evento.Executor{ex, c.share(t, ex)})
		})
	}
}

// attempt is a write as its caller saw it. Invoked and answered are readings
// of one clock that ticks with each.
type attempt struct {
	write             evento.Write
	receipts          []evento.Receipt
	err               error
	invoked, answered int64
}

// order lets writers of large and small commits race each other, and readers
// that follow the end. What each of them saw must agree with the order that
// the store ends up with.
func order(ctx context.Context, t *testing.T, c Config, exs []evento.Executor) {
	const writers, tails, peeks = 8, 3, 2
	var (
		clock    atomic.Int64
		attempts [writers][]attempt
		tailed   [tails][]edge
		peeked   [peeks][][]edge
		written  = make(chan struct{}) // closed when the writers are done
		running  sync.WaitGroup
	)
	running.Add(writers)
	go func() { running.Wait(); close(written) }()
	concurrently(t, goroutines{writers, func(t testing.TB, i int) {
		defer running.Done()
		attempts[i] = orderWrite(ctx, t, exs[i%len(exs)], &clock, i)
	}}, goroutines{tails, func(t testing.TB, i int) {
		tailed[i] = orderTail(ctx, t, exs[i%len(exs)], written, i)
	}}, goroutines{peeks, func(t testing.TB, i int) {
		peeked[i] = orderPeek(ctx, t, exs[i%len(exs)], written)
	}})
	log := soundLog(ctx, t, c, exs[0])
	for i, got := range tailed {
		sameEdges(t, fmt.Sprintf("reader %d, which followed the end", i), got, log)
	}
	for _, got := range slices.Concat(peeked[:]...) {
		sameEdges(t, "a reader that had seen the last of these", got, log[:min(len(got), len(log))])
	}
	checkAttempts(t, log, slices.Concat(attempts[:]...))
}

// orderWrite is one writer: mostly small commits, now and then one that takes
// the store long; some expect what is not so.
func orderWrite(ctx context.Context, t testing.TB, ex evento.Executor, clock *atomic.Int64, seed int) []attempt {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	attempts := make([]attempt, 25)
	versions := map[string]uint64{} // where this writer believes aggregates are
	for i := range attempts {
		a := &attempts[i]
		aggregates, events := 1, 1
		if r.IntN(8) == 0 {
			aggregates, events = 1+r.IntN(4), 5+r.IntN(15)
		}
		for _, n := range r.Perm(6)[:aggregates] {
			id := fmt.Sprint("shared ", n)
			part := to(id, versions[id], many(events, "Happened")...)
			if r.IntN(2) == 0 {
				part.AnyVersion, part.Expected = true, 0
			}
			a.write.Appends = append(a.write.Appends, part)
		}
		a.invoked = clock.Add(1)
		a.receipts, a.err = tryCommit(ctx, ex, a.write)
		a.answered = clock.Add(1)
		var conflict *evento.ConflictError
		if errors.As(a.err, &conflict) {
			versions[conflict.AggregateID] = conflict.Actual
			continue
		}
		must(t, a.err)
		for _, r := range a.receipts {
			versions[r.AggregateID] = r.Version
		}
	}
	return attempts
}

// orderTail reads onward from place to place until the writers are done, and
// returns what it met.
func orderTail(ctx context.Context, t testing.TB, ex evento.Executor, written <-chan struct{}, seed int) []edge {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	var seen []edge
	at, done := cursor.Value(""), false
	for {
		changed := ex.Changed()
		p := read(ctx, t, ex, evento.Query{}, cursor.Onward(1+r.IntN(20), at))
		seen = append(seen, p.Edges...)
		at = p.PageInfo.EndCursor
		switch {
		case len(p.Edges) > 0:
			continue
		case done:
			return seen
		}
		select {
		case <-changed:
		case <-written:
			done = true
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}

// orderPeek looks at the end, and then at everything up to there: what it
// cannot read now must never appear.
func orderPeek(ctx context.Context, t testing.TB, ex evento.Executor, written <-chan struct{}) [][]edge {
	t.Helper()
	const most = 12 // as each reads all
	var seen [][]edge
	for range most {
		for _, end := range read(ctx, t, ex, evento.Query{}, cursor.Backward(1, "")).Edges {
			// Once forward and once backward, of which neither may know more.
			for _, args := range []cursor.Args{cursor.Onward(cursor.MaxPage, ""), cursor.Backward(cursor.MaxPage, "")} {
				edges := read(ctx, t, ex, evento.Query{}, args).Edges
				i := slices.IndexFunc(edges, func(e edge) bool { return e.Node.Position == end.Node.Position })
				if i < 0 {
					t.Fatalf("Read(%s): position %d, read before, is not there", showArgs(args), end.Node.Position)
				}
				seen = append(seen, edges[:i+1])
			}
		}
		select {
		case <-written:
			return seen
		case <-ex.Changed():
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	return seen
}

// checkAttempts compares what writers were told with what is there.
func checkAttempts(t testing.TB, log []edge, attempts []attempt) {
	t.Helper()
	there := byID(log)
	events, stored := 0, 0
	for _, a := range attempts {
		if a.err != nil {
			checkAbsent(t, there, a.write, a.err)
			continue
		}
		stored++
		events += len(idsOf(a.write))
		checkStored(t, there, a.write, a.receipts)
	}
	if events != len(log) {
		t.Errorf("writers were told of %d events, the store has %d", events, len(log))
	}
	if stored < len(attempts)/4 {
		t.Errorf("only %d of %d writes succeeded", stored, len(attempts))
	}
	if err := realTime(log, attempts); err != nil {
		t.Error(err)
	}
}

// realTime looks for a write that comes before another in the order, though
// it was invoked after that one had been answered.
func realTime(log []edge, attempts []attempt) error {
	stored := byID(log)
	type span struct {
		attempt
		first, last uint64
	}
	var byInvoked []span
	for _, a := range attempts {
		if a.err != nil {
			continue
		}
		s := span{attempt: a, first: ^uint64(0)}
		for _, id := range idsOf(a.write) {
			s.first, s.last = min(s.first, stored[id].Position), max(s.last, stored[id].Position)
		}
		byInvoked = append(byInvoked, s)
	}
	byAnswered := slices.Clone(byInvoked)
	slices.SortFunc(byInvoked, func(a, b span) int { return cmp.Compare(a.invoked, b.invoked) })
	slices.SortFunc(byAnswered, func(a, b span) int { return cmp.Compare(a.answered, b.answered) })
	var highest span // of those answered so far
	for _, s := range byInvoked {
		for len(byAnswered) > 0 && byAnswered[0].answered < s.invoked {
			if byAnswered[0].last > highest.last {
				highest = byAnswered[0]
			}
			byAnswered = byAnswered[1:]
		}
		if s.first < highest.last {
			return fmt.Errorf("Write(%s) was invoked after Write(%s) had been answered, but begins at position %d, below %d",
				show(s.write), show(highest.write), s.first, highest.last)
		}
	}
	return nil
}
