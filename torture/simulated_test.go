//go:build unix

package torture_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/torture"
)

// seedsVariable is how many seeds are simulated.
const seedsVariable = "EVENTO_TORTURE_SEEDS"

// faulty is a store whose calls take long now and then, also longer than a lease, fail before or
// after they have done their work, and have unknown outcomes. It is safe for concurrent use.
type faulty struct {
	evento.Executor
	until time.Time // from then on it works

	mu   sync.Mutex
	r    *rand.Rand
	feed evento.Feed
}

var errFaulty = errors.New("the store fails now and then")

// call waits, and reports whether the call fails before it is made, or after.
func (f *faulty) call(ctx context.Context) (before, after bool, err error) {
	if !time.Now().Before(f.until) {
		return false, false, nil
	}
	f.mu.Lock()
	n, wait := f.r.IntN(100), time.Duration(f.r.IntN(20))*time.Millisecond
	if f.r.IntN(200) == 0 {
		wait = time.Duration(f.r.IntN(3000)) * time.Millisecond
	}
	f.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return false, false, ctx.Err()
	}
	return n < 3, n >= 3 && n < 5, nil
}

func (f *faulty) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	before, after, err := f.call(ctx)
	switch {
	case err != nil:
		return nil, err
	case before:
		return nil, errFaulty
	}
	receipts, err := f.Executor.Write(ctx, w)
	if after {
		return nil, evento.ErrOutcomeUnknown
	}
	return receipts, err
}

func (f *faulty) Swap(ctx context.Context, s evento.Swap) error {
	before, after, err := f.call(ctx)
	switch {
	case err != nil:
		return err
	case before:
		return errFaulty
	}
	if err = f.Executor.Swap(ctx, s); after {
		return errFaulty // what became of it is not known
	}
	return err
}

func (f *faulty) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	before, after, err := f.call(ctx)
	switch {
	case err != nil:
		return nil, err
	case before || after:
		return nil, errFaulty
	}
	return f.Executor.Read(ctx, q, args)
}

func (f *faulty) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	before, after, err := f.call(ctx)
	switch {
	case err != nil:
		return nil, err
	case before || after:
		return nil, errFaulty
	}
	return f.Executor.Records(ctx, q)
}

func (f *faulty) Feed() *evento.Feed { return &f.feed }

// Subscriptions, followers and deadlines on a store that fails in many ways, with workers that come
// and go, on simulated time: one seed after the other.
func TestSimulated(t *testing.T) {
	t.Parallel()
	seeds, first := number(t, seedsVariable, 20), rand.Uint64()
	acked := 0
	for i := range seeds {
		seed := first + uint64(i)
		if i == 0 {
			seed = uint64(number(t, seedVariable, int(first>>1)))
		}
		synctest.Test(t, func(t *testing.T) {
			const work = 8 * time.Second
			f := &faulty{Executor: memory.New(nil), until: time.Now().Add(work), r: rand.New(rand.NewPCG(seed, 7))}
			report, err := torture.Run(t.Context(), torture.Options{
				Name: "simulated", Open: func(context.Context) (evento.Executor, error) { return f, nil }, For: work, Kills: 10, Writers: 1, Dir: t.TempDir(), Seed: seed,
				Again: fmt.Sprintf("%s=%d %s=1 go test -run '^TestSimulated$' ./torture", seedVariable, seed, seedsVariable),
			})
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if !report.OK() {
				t.Fatal(report)
			}
			acked += report.Acked
		})
	}
	t.Logf("simulated: %d seeds, %d events, nothing wrong", seeds, acked)
}
