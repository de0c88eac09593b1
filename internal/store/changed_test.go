package store_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/evento-go/evento/internal/store"
)

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestNotifyWakesAllWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s store.Signal
		var woken sync.WaitGroup
		for range 10 {
			ch := s.Wait()
			woken.Go(func() { <-ch })
		}
		synctest.Wait()
		s.Notify()
		woken.Wait() // a waiter left behind is a deadlock, which synctest reports
	})
}

func TestNotifyWakesOnlyEarlierWaiters(t *testing.T) {
	t.Parallel()
	var s store.Signal
	s.Notify() // nobody waits
	before := s.Wait()
	if closed(before) {
		t.Error("Wait after Notify gives a closed channel: a signal was kept for who had not asked")
	}
	if again := s.Wait(); again != before {
		t.Error("two waits without a signal between them gave two channels")
	}
	s.Notify()
	if !closed(before) {
		t.Error("Notify did not close the channel that was asked for before it")
	}
	if after := s.Wait(); closed(after) {
		t.Error("Notify closed a channel that was asked for after it")
	}
}

func TestAwaited(t *testing.T) {
	t.Parallel()
	var s store.Signal
	if s.Awaited() {
		t.Error("awaited before anybody asked")
	}
	s.Wait()
	if !s.Awaited() {
		t.Error("not awaited after Wait")
	}
	s.Notify()
	if s.Awaited() {
		t.Error("still awaited after Notify")
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	var asked, fresh store.Signal
	before := asked.Wait()
	asked.Close()
	fresh.Close()
	if !closed(before) {
		t.Error("Close did not wake a waiter")
	}
	for name, s := range map[string]*store.Signal{"asked before": &asked, "not asked before": &fresh} {
		if !closed(s.Wait()) {
			t.Errorf("%s: Wait after Close gives an open channel", name)
		}
		s.Notify()
		s.Close()
		if !closed(s.Wait()) {
			t.Errorf("%s: Wait after Close, Notify and Close gives an open channel", name)
		}
	}
}

// A signal between Wait and the look at the state is not lost, from however
// many sides it comes.
func TestConcurrentNotify(t *testing.T) {
	t.Parallel()
	var s store.Signal
	var mu sync.Mutex
	count := 0
	const writers, each = 4, 500
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				mu.Lock()
				count++
				mu.Unlock()
				s.Notify()
			}
		})
	}
	for range 3 {
		all.Go(func() {
			for {
				ch := s.Wait()
				mu.Lock()
				n := count
				mu.Unlock()
				if n == writers*each {
					return
				}
				<-ch
			}
		})
	}
	all.Wait()
}
