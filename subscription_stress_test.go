package evento_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/evento-go/evento"
)

// seen is what the workers of one key have handled, all together.
type seen struct {
	mu      sync.Mutex
	handled map[evento.ID]int
	version map[string]uint64 // of each aggregate, the last handled without a gap
	again   int
	faults  []string
}

func (s *seen) handle(e evento.RawEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handled[e.ID]++
	switch v := s.version[e.AggregateID]; {
	case e.Version <= v:
		s.again++ // at least once, hence allowed
	case e.Version == v+1:
		s.version[e.AggregateID] = e.Version
	default:
		s.faults = append(s.faults, fmt.Sprintf("version %d of %s came after version %d", e.Version, e.AggregateID, v))
	}
}

// Writers write while subscriptions are started, stopped, cancelled, and taken
// over from, on a store that now and then does not take a cursor. At the end
// each key has handled every event of its own, each aggregate's in order.
func TestSubscriptionsUnderStress(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	errDisk := errors.New("disk on fire")
	ex := &hooked{Executor: store, swap: func(ctx context.Context, s evento.Swap) error {
		switch rand.N(40) {
		case 0:
			return errDisk
		case 1: // its answer is lost
			return errors.Join(store.Swap(ctx, s), errDisk)
		}
		return store.Swap(ctx, s)
	}}
	const writers, commits = 4, 250
	written := make(chan struct{})
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for range commits {
				id := fmt.Sprintf("account %d", r.IntN(12))
				b := evento.Aggregate(id).AnyVersion()
				if id > "account 5" {
					b.RoutingKey("eu")
				}
				for range 1 + r.IntN(3) {
					b.Event(MoneyDeposited{Amount: 1})
				}
				if _, err := b.Commit(t.Context(), ex); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { writing.Wait(); close(written) }()

	keys := map[string]func(*evento.SubscriptionBuilder){
		"unrouted": func(*evento.SubscriptionBuilder) {},
		"eu":       func(b *evento.SubscriptionBuilder) { b.RoutingKey("eu") },
		"all":      func(b *evento.SubscriptionBuilder) { b.All().ChunkSize(5) },
	}
	var subscribing sync.WaitGroup
	for key, set := range keys {
		s := &seen{handled: map[evento.ID]int{}, version: map[string]uint64{}}
		// builder returns a subscription, and a channel that is closed when
		// one of its workers has handled n events.
		builder := func(n int) (*evento.SubscriptionBuilder, <-chan struct{}) {
			enough := make(chan struct{})
			var mu sync.Mutex
			b := evento.NewSubscription(key).Logger(silent).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
				s.handle(e)
				mu.Lock()
				defer mu.Unlock()
				if n--; n == 0 {
					close(enough)
				}
				if n%17 == 0 {
					return errDisk // and again
				}
				return nil
			}))
			set(b)
			return b, enough
		}
		subscribing.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(len(key))))
			for working := true; working; {
				b, enough := builder(1 + r.IntN(40))
				ctx, cancel := context.WithCancel(t.Context())
				sub, err := b.Start(ctx, ex)
				if err != nil {
					cancel()
					if !errors.Is(err, errDisk) {
						t.Error(err)
						return
					}
					continue
				}
				select {
				case <-enough:
				case <-written:
					working = false
				}
				switch r.IntN(3) {
				case 0:
					if err := sub.Shutdown(t.Context()); err != nil {
						t.Error(err)
					}
				case 1:
					cancel()
				default: // the next one takes over, while this one works
					next, _ := builder(0)
					if err := next.Execute(t.Context(), ex); err != nil {
						if !errors.Is(err, errDisk) {
							t.Errorf("%s: Execute: %v", key, err)
						}
						cancel() // it may not have come to take over
					}
				}
				<-sub.Done()
				if err := sub.Err(); err != nil && !errors.Is(err, errDisk) && !errors.Is(err, context.Canceled) && !errors.Is(err, evento.ErrTakenOver) {
					t.Errorf("%s: ended with %v", key, err)
				}
				cancel()
			}
			for { // what is left
				b, _ := builder(0)
				err := b.Execute(t.Context(), ex)
				if err == nil {
					break
				}
				if !errors.Is(err, errDisk) {
					t.Errorf("%s: %v", key, err)
					return
				}
			}
			want := 0
			for _, e := range events(t, store) {
				if key == "all" || (key == "eu") == (e.RoutingKey == "eu") {
					want++
					if s.handled[e.ID] == 0 {
						t.Errorf("%s: the event at position %d was not handled", key, e.Position)
					}
				}
			}
			if len(s.handled) != want || len(s.faults) > 0 {
				t.Errorf("%s: %d events handled, want %d; %v", key, len(s.handled), want, s.faults)
			}
			if want < writers*commits/4 || s.again == 0 {
				t.Errorf("%s: %d events, %d handled again: the test tests nothing", key, want, s.again)
			}
		})
	}
	subscribing.Wait()
	<-written
}
