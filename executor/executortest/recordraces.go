// Records that many change at once.

package executortest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
)

// Of those who change the same record at once, one does.
func recordsOneWins(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const workers, rounds = 8, 8
	exs := c.all(t, ex)
	k := recordKey("key", "")
	var made []evento.Change
	for round := range uint64(rounds) {
		changes := func(i int) []evento.Change {
			return []evento.Change{set(k, round, fmt.Sprint("by ", i)), set(recordKey("of", fmt.Sprint(round, i)), 0, "won")}
		}
		won := make([]bool, workers)
		together(t, workers, func(t testing.TB, i int) {
			cs := changes(i)
			if i%2 == 0 {
				slices.Reverse(cs)
			}
			err := exs[i%len(exs)].Swap(ctx, swapOf(cs...))
			if won[i] = err == nil; !won[i] {
				wantError(t, err, evento.ErrSwapped, "Swap(%s)", showChanges(cs))
			}
		})
		winner := slices.Index(won, true)
		if winner < 0 || slices.Contains(won[winner+1:], true) {
			t.Fatalf("round %d: Swap succeeded for the workers %v, want it for one", round+1, won)
		}
		cs := changes(winner)
		made = append(made, cs[1])
		wantRecords(ctx, t, ex, append(slices.Clone(made), cs[0])...)
	}
}

// increment adds 1 to the numbers in some records, as one, until that succeeds.
func increment(ctx context.Context, t testing.TB, ex evento.Executor, keys ...evento.RecordKey) {
	t.Helper()
	for {
		var changes []evento.Change
		for _, k := range keys {
			r := readRecord(ctx, t, ex, k)
			n, err := strconv.Atoi(cmp.Or(string(r.Value), "0"))
			must(t, err)
			changes = append(changes, set(k, r.Revision, fmt.Sprint(n+1)))
		}
		err := ex.Swap(ctx, swapOf(changes...))
		if err == nil {
			return
		}
		if !errors.Is(err, evento.ErrSwapped) {
			t.Fatal(err)
		}
	}
}

// Many who count in one record, from before it is there, lose nothing.
func recordsCounter(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const counters, each = 8, 10
	exs := c.all(t, ex)
	together(t, counters, func(t testing.TB, i int) {
		for range each {
			increment(ctx, t, exs[i%len(exs)], recordKey("count", ""))
		}
	})
	wantRecords(ctx, t, ex, set(recordKey("count", ""), counters*each-1, fmt.Sprint(counters*each)))
}

// Records that are changed together are never seen apart: a page is as the
// store was at one moment.
func recordsTogether(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, readers, each = 3, 3, 12
	reader := c.another(t, ex)
	ends := []evento.RecordKey{recordKey("pair", "0"), recordKey("pair", "9")}
	var between []evento.Change
	for i := range 30 {
		between = append(between, set(recordKey("pair", fmt.Sprint("5 ", i)), 0, "between"))
	}
	swap(ctx, t, ex, between...)
	swap(ctx, t, ex, set(ends[0], 0, "0"), set(ends[1], 0, "0"))
	var writing atomic.Int32
	writing.Store(writers)
	crowds(t, crowd{writers, func(t testing.TB, i int) {
		defer writing.Add(-1)
		keys := slices.Clone(ends)
		if i%2 == 0 {
			slices.Reverse(keys)
		}
		for range each {
			increment(ctx, t, ex, keys...)
		}
	}}, crowd{readers, func(t testing.TB, _ int) {
		for more := true; more; {
			more = writing.Load() > 0
			for _, q := range []evento.RecordQuery{{Kind: kind, Key: "pair"}, {Kind: kind, Limit: len(between) + 2}} {
				p := recordPage(ctx, t, reader, q)
				if len(p.Records) != len(between)+2 {
					t.Fatalf("Records(%+v): got %d records, want %d", q, len(p.Records), len(between)+2)
				}
				a, b := p.Records[0], p.Records[len(p.Records)-1]
				if a.Revision != b.Revision || !bytes.Equal(a.Value, b.Value) {
					t.Fatalf("Records(%+v): got %s and %s, which change together", q, showRecord(a), showRecord(b))
				}
			}
		}
	}})
	if r := readRecord(ctx, t, ex, ends[0]); string(r.Value) != fmt.Sprint(writers*each) {
		t.Errorf("got %s, want the value %d", showRecord(r), writers*each)
	}
}

// What one executor swapped, another on the store shows from then on, and
// swaps.
func recordsShared(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := []evento.Executor{ex, c.share(t, ex), c.share(t, ex)}
	a, b := recordKey("key", ""), recordKey("key", "part")
	for i := range uint64(9) {
		on, beside := exs[i%3], exs[(i+1)%3]
		cs := []evento.Change{set(a, i, fmt.Sprint(i)), set(b, 0, fmt.Sprint(i))}
		swap(ctx, t, on, cs...)
		for _, ex := range exs {
			wantRecords(ctx, t, ex, cs...)
		}
		refuseSwap(ctx, t, beside, swapOf(set(a, i, "stale")), evento.ErrSwapped)
		swap(ctx, t, beside, unset(b, 1))
		refuseSwap(ctx, t, on, swapOf(unset(b, 1)), evento.ErrSwapped)
	}
}
