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
		attempts = make([][]attempt, writers)
		tailed   = make([][]edge, tails)
		peeked   = make([][][]edge, peeks)
		written  = make(chan struct{}) // closed when the writers are done
		running  sync.WaitGroup
	)
	running.Add(writers)
	go func() { running.Wait(); close(written) }()

	together(t, writers+tails+peeks, func(i int) (err error) {
		ex := exs[i%len(exs)]
		switch {
		case i < writers:
			defer running.Done()
			attempts[i], err = orderWrite(ctx, ex, &clock, i)
		case i < writers+tails:
			tailed[i-writers], err = orderTail(ctx, ex, written, i)
		default:
			peeked[i-writers-tails], err = orderPeek(ctx, ex, written)
		}
		return err
	})

	log := readAll(ctx, t, exs[0], evento.Query{})
	checkLog(t, c, log)
	for i, got := range tailed {
		sameEdges(t, fmt.Sprintf("reader %d, which followed the end", i), got, log)
	}
	for _, seen := range peeked {
		for _, got := range seen {
			sameEdges(t, "a reader that had seen the last of these", got, log[:min(len(got), len(log))])
		}
	}
	checkAttempts(t, log, slices.Concat(attempts...))
}

// orderWrite is one writer: mostly small commits, now and then one that takes
// the store long; some expect what is not so.
func orderWrite(ctx context.Context, ex evento.Executor, clock *atomic.Int64, seed int) ([]attempt, error) {
	const commits = 25
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	var attempts []attempt
	versions := map[string]uint64{} // where this writer believes aggregates are
	for range commits {
		a := attempt{}
		aggregates, events := 1, 1
		if r.IntN(8) == 0 {
			aggregates, events = 1+r.IntN(4), 5+r.IntN(15)
		}
		for _, n := range r.Perm(6)[:aggregates] {
			id := fmt.Sprint("shared ", n)
			if r.IntN(2) == 0 {
				a.write.Appends = append(a.write.Appends, toAny(id, many(events, "Happened")...))
			} else {
				a.write.Appends = append(a.write.Appends, to(id, versions[id], many(events, "Happened")...))
			}
		}
		a.invoked = clock.Add(1)
		a.receipts, a.err = tryCommit(ctx, ex, a.write)
		a.answered = clock.Add(1)
		attempts = append(attempts, a)

		var conflict *evento.ConflictError
		switch {
		case errors.As(a.err, &conflict):
			versions[conflict.AggregateID] = conflict.Actual
		case a.err != nil:
			return nil, a.err
		}
		for _, r := range a.receipts {
			versions[r.AggregateID] = r.Version
		}
	}
	return attempts, nil
}

// orderTail reads onward from place to place until the writers are done, and
// returns what it met.
func orderTail(ctx context.Context, ex evento.Executor, written <-chan struct{}, seed int) ([]edge, error) {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	var seen []edge
	at, done := cursor.Value(""), false
	for {
		changed := ex.Changed()
		p, err := tryRead(ctx, ex, evento.Query{}, cursor.Onward(1+r.IntN(20), at))
		if err != nil {
			return nil, err
		}
		seen = append(seen, p.Edges...)
		at = p.PageInfo.EndCursor
		switch {
		case len(p.Edges) > 0:
			continue
		case done:
			return seen, nil
		}
		select {
		case <-changed:
		case <-written:
			done = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// orderPeek looks at the end, and then at everything up to there: what it
// cannot read now must never appear.
func orderPeek(ctx context.Context, ex evento.Executor, written <-chan struct{}) ([][]edge, error) {
	const most = 12 // as each reads all
	var seen [][]edge
	for range most {
		end, err := tryRead(ctx, ex, evento.Query{}, cursor.Backward(1, ""))
		if err != nil {
			return nil, err
		}
		if len(end.Edges) == 1 {
			// Once forward and once backward, of which neither may know more.
			position := end.Edges[0].Node.Position
			for _, args := range []cursor.Args{cursor.Onward(cursor.MaxPage, ""), cursor.Backward(cursor.MaxPage, "")} {
				p, err := tryRead(ctx, ex, evento.Query{}, args)
				if err != nil {
					return nil, err
				}
				i, ok := slices.BinarySearchFunc(p.Edges, position, func(e edge, position uint64) int {
					return cmp.Compare(e.Node.Position, position)
				})
				if !ok {
					return nil, fmt.Errorf("Read(%s): position %d, read before, is not there", showArgs(args), position)
				}
				seen = append(seen, p.Edges[:i+1])
			}
		}
		select {
		case <-written:
			return seen, nil
		case <-ex.Changed():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return seen, nil
}

// checkAttempts compares what writers were told with what is there.
func checkAttempts(t testing.TB, log []edge, attempts []attempt) {
	t.Helper()
	events, stored := 0, 0
	for _, a := range attempts {
		if a.err != nil {
			checkAbsent(t, log, a.write, a.err)
			continue
		}
		stored++
		checkStored(t, log, a.write, a.receipts)
		for _, w := range a.write.Appends {
			events += len(w.Events)
		}
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
	places := map[evento.ID]uint64{}
	for _, e := range log {
		places[e.Node.ID] = e.Node.Position
	}
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
		for _, w := range a.write.Appends {
			for _, e := range w.Events {
				s.first, s.last = min(s.first, places[e.ID]), max(s.last, places[e.ID])
			}
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
