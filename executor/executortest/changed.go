// What wakes those who wait for events.

package executortest

import (
	"context"
	"fmt"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testChanged(t *testing.T, c Config) {
	c.run(t, "Commit", changedCommit)
	c.run(t, "Swap", changedSwap)
	c.run(t, "SwapSeen", changedSwapSeen)
	c.run(t, "Close", changedClose)
	c.run(t, "NeverMissed", changedNeverMissed)
	if c.Share != nil {
		c.run(t, "Shared", changedShared)
	}
}

func changedCommit(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for i := range 10 {
		first, second := ex.Changed(), ex.Changed()
		commit(ctx, t, ex, to("one", uint64(i), "Happened"))
		await(ctx, t, first, "a commit")
		await(ctx, t, second, "a commit")
	}
}

// A swap wakes when it is to.
func changedSwap(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	k := recordKey("key", "")
	for i := range uint64(11) {
		change := set(k, i, "value")
		if i == 10 {
			change = unset(k, i)
		}
		changed := ex.Changed()
		must(t, ex.Swap(ctx, evento.Swap{Wake: true, Changes: []evento.Change{change}}))
		await(ctx, t, changed, "Swap("+showChanges([]evento.Change{change})+")")
	}
}

// Who is woken by a swap sees what it did.
func changedSwapSeen(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const rounds = 25
	k, seen := recordKey("key", ""), make(chan struct{}, rounds)
	concurrently(t, goroutines{1, func(t testing.TB, _ int) {
		for round := range uint64(rounds) {
			must(t, ex.Swap(ctx, evento.Swap{Wake: true, Changes: []evento.Change{set(k, round, "value")}}))
			await(ctx, t, seen, fmt.Sprint("the reader of swap ", round+1))
		}
	}}, goroutines{1, func(t testing.TB, _ int) {
		for round := range uint64(rounds) {
			for {
				changed := ex.Changed()
				if readRecord(ctx, t, ex, k).Revision > round {
					break
				}
				await(ctx, t, changed, fmt.Sprint("swap ", round+1))
			}
			seen <- struct{}{}
		}
	}})
}

func changedClose(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	fill(ctx, t, ex, 3)
	before := ex.Changed()
	must(t, ex.Close())
	await(ctx, t, before, "Close")
	await(ctx, t, ex.Changed(), "Close, which was before")
	await(ctx, t, ex.Changed(), "Close, which was before")
}

// Who asks first, then reads, then waits, is woken for everything it did not
// read: writers here wait for their reader before they write again, so that
// one lost wake-up is the last thing that happens.
func changedNeverMissed(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const pairs, rounds = 4, 25
	seen := make([]chan struct{}, pairs)
	for i := range seen {
		seen[i] = make(chan struct{}, rounds)
	}
	concurrently(t, goroutines{pairs, func(t testing.TB, i int) {
		for n := range uint64(rounds) {
			commit(ctx, t, ex, to(fmt.Sprint(i), n, "Happened"))
			await(ctx, t, seen[i], fmt.Sprint("the reader of event ", n+1))
		}
	}}, goroutines{pairs, func(t testing.TB, i int) {
		q, at := filtered(evento.ByID(thing, fmt.Sprint(i))), cursor.Value("")
		for n := 0; n < rounds; {
			changed := ex.Changed()
			p := read(ctx, t, ex, q, cursor.Onward(10, at))
			at = p.PageInfo.EndCursor
			for range p.Edges {
				seen[i] <- struct{}{}
				n++
			}
			if len(p.Edges) == 0 {
				await(ctx, t, changed, fmt.Sprint("event ", n+1))
			}
		}
	}})
}

// Commits of another executor on the store wake too, if later.
func changedShared(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	writer := c.share(t, ex)
	for i := range 5 {
		changed := ex.Changed()
		commit(ctx, t, writer, to("one", uint64(i), "Happened"))
		await(ctx, t, changed, "a commit of another executor")
	}
}
