package group_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
)

// Followers of a group come and go while all of its members are written to. They
// share a feed, which meets the members' events in another order than they do, and
// are given each event once, each member's in order.
func TestLiveFollow(t *testing.T) {
	t.Parallel()
	const followers = 6
	stores := []evento.Executor{memory.New(nil), memory.New(nil), memory.New(nil), memory.New(nil)}
	ex := group.New(stores[0], stores[1], group.New(stores[2], stores[3]))
	done := write(t, stores, 2, 80)
	go func() {
		<-done
		for _, s := range stores {
			if _, err := evento.Aggregate("last").Event(measured{}).Commit(context.WithoutCancel(t.Context()), s); err != nil {
				t.Error(err)
			}
		}
	}()
	var wg sync.WaitGroup
	seen := make([][]evento.RawEvent, followers)
	for i := range followers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 5))
			for n := 0; ; n++ {
				most := -1 // to the end
				if n < 5 {
					most = 1 + r.IntN(300)
				}
				events, ended := followGroup(t, ex, most, len(stores))
				checkPrefix(t, fmt.Sprint("follower ", i), events, stores)
				if ended || t.Failed() {
					seen[i] = events
					return
				}
			}
		})
	}
	wg.Wait()
	for i, events := range seen {
		checkEach(t, fmt.Sprint("follower ", i), events, stores)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
}

// followGroup follows until the last event of each member, or for so many.
func followGroup(t *testing.T, ex evento.Executor, most, members int) (events []evento.RawEvent, ended bool) {
	for e, err := range evento.Follow(t.Context(), ex, evento.Query{}, cursor.Value("")) {
		if err != nil {
			t.Error(err)
			return events, false
		}
		if events = append(events, e); e.AggregateID == "last" {
			members--
		}
		if members == 0 || len(events) == most {
			break
		}
	}
	return events, members == 0
}

// checkPrefix holds what a follower was given until it broke off to each member's
// own order.
func checkPrefix(t *testing.T, who string, got []evento.RawEvent, stores []evento.Executor) {
	t.Helper()
	total := 0
	for i, store := range stores {
		places := map[evento.ID]int{}
		for e, err := range evento.Events(t.Context(), store, evento.Query{}) {
			if err != nil {
				t.Error(err)
				return
			}
			places[e.ID] = len(places) + 1
		}
		n := 0
		for _, e := range got {
			switch places[e.ID] {
			case 0:
				continue // of another member
			case n + 1:
				n++
			default:
				t.Errorf("%s was given event %d of store %d after event %d", who, places[e.ID], i, n)
				return
			}
		}
		total += n
	}
	if total != len(got) {
		t.Errorf("%s was given %d events, of which %d are in the stores", who, len(got), total)
	}
}
