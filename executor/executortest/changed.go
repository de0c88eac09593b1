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
	for i := range uint64(10) {
		changed := ex.Changed()
		must(t, ex.Swap(ctx, evento.Swap{Wake: true, Changes: []evento.Change{set(k, i, "value")}}))
		await(ctx, t, changed, "a Swap")
	}
	changed := ex.Changed()
	must(t, ex.Swap(ctx, evento.Swap{Wake: true, Changes: []evento.Change{unset(k, 10)}}))
	await(ctx, t, changed, "a Swap that removes")
}

// Who is woken by a swap sees what it did.
func changedSwapSeen(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const rounds = 25
	k, seen := recordKey("key", ""), make(chan struct{}, rounds)
	together(t, 2, func(i int) error {
		for round := range uint64(rounds) {
			if i == 0 {
				if err := ex.Swap(ctx, evento.Swap{Wake: true, Changes: []evento.Change{set(k, round, "value")}}); err != nil {
					return err
				}
				select {
				case <-seen:
				case <-ctx.Done():
					return fmt.Errorf("swap %d was not seen: %w", round+1, ctx.Err())
				}
				continue
			}
			for {
				changed := ex.Changed()
				r, err := readRecord(ctx, ex, k)
				if err != nil {
					return err
				}
				if r.Revision > round {
					break
				}
				select {
				case <-changed:
				case <-ctx.Done():
					return fmt.Errorf("waiting for swap %d: %w", round+1, ctx.Err())
				}
			}
			seen <- struct{}{}
		}
		return nil
	})
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
	together(t, 2*pairs, func(i int) error {
		id := fmt.Sprint(i / 2)
		if i%2 == 0 { // the writer
			for n := range uint64(rounds) {
				if _, err := tryCommit(ctx, ex, write(to(id, n, "Happened"))); err != nil {
					return err
				}
				select {
				case <-seen[i/2]:
				case <-ctx.Done():
					return fmt.Errorf("event %d was not read: %w", n+1, ctx.Err())
				}
			}
			return nil
		}
		q := filtered(evento.ByID(thing, id))
		at := cursor.Value("")
		for n := 0; n < rounds; {
			changed := ex.Changed()
			p, err := tryRead(ctx, ex, q, cursor.Onward(10, at))
			if err != nil {
				return err
			}
			at = p.PageInfo.EndCursor
			for range p.Edges {
				seen[i/2] <- struct{}{}
				n++
			}
			if len(p.Edges) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return fmt.Errorf("waiting for event %d: %w", n+1, ctx.Err())
			}
		}
		return nil
	})
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
