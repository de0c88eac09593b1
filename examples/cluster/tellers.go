// Tellers, who make transfers all the time, and what they were told.

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/evento-go/evento"
)

// tellers are some who work until they are stopped. The mutex guards what they were told.
type tellers struct {
	ex   evento.Executor // one of their clients
	stop context.CancelFunc
	all  sync.WaitGroup

	mu        sync.Mutex
	told      map[uint64]evento.Receipt // by position
	transfers int
	slowest   time.Duration
	err       error
}

// startTellers lets some work at each client.
func startTellers(ctx context.Context, clients []evento.Executor, each int) *tellers {
	working, stop := context.WithCancel(ctx)
	t := &tellers{ex: clients[0], stop: stop, told: map[uint64]evento.Receipt{}}
	for _, client := range clients {
		for range each {
			t.all.Go(func() {
				for working.Err() == nil && t.one(ctx, client) {
				}
			})
		}
	}
	return t
}

// one makes a transfer. It has no deadline: while there is no leader it waits.
func (t *tellers) one(ctx context.Context, ex evento.Executor) bool {
	from, to := rand.IntN(accounts), rand.IntN(accounts-1)
	if to >= from {
		to++
	}
	began := time.Now()
	receipts, err := transfer(ctx, ex, number(from), number(to), 1+rand.Int64N(100_00))
	if errors.Is(err, errPoor) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.err = cmp.Or(t.err, err) // the first says what it was
		return false
	}
	for _, r := range receipts {
		if _, twice := t.told[r.Position]; twice {
			t.err = cmp.Or(t.err, fmt.Errorf("two events were acknowledged at position %d", r.Position))
		}
		t.told[r.Position] = r
	}
	t.transfers++
	t.slowest = max(t.slowest, time.Since(began))
	return true
}

// await waits until so many further transfers are acknowledged, and returns how long that took.
func (t *tellers) await(ctx context.Context, further int) (time.Duration, error) {
	began, target := time.Now(), 0
	for {
		changed := t.ex.Changed()
		t.mu.Lock()
		now, err := t.transfers, t.err
		t.mu.Unlock()
		if target == 0 {
			target = now + further
		}
		if err != nil || now >= target {
			return time.Since(began), err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// end lets each finish its transfer.
func (t *tellers) end() error {
	t.stop()
	t.all.Wait()
	return t.err
}
