package store_test

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/evento-go/evento/internal/store"
)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestAny(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var one, two store.Signal
		both := store.NewAnySignal(one.Wait, two.Wait)
		for range 3 {
			for i, s := range []*store.Signal{&one, &two} {
				c, same := both.Wait(), both.Wait()
				synctest.Wait()
				if isClosed(c) || isClosed(same) {
					t.Fatalf("source %d: woken before it gave a signal", i)
				}
				s.Notify()
				synctest.Wait()
				if !isClosed(c) || !isClosed(same) {
					t.Fatalf("source %d gave a signal and did not wake", i)
				}
			}
		}
		one.Notify() // nobody waits
		c := both.Wait()
		synctest.Wait()
		if isClosed(c) {
			t.Error("woken by what came before")
		}
		both.Close()
		both.Close()
		synctest.Wait()
		if !isClosed(c) || !isClosed(both.Wait()) {
			t.Error("not woken by Close")
		}
	})
}

// The end of a source wakes, and leaves no goroutine behind: synctest would
// report it.
func TestAnyOfClosedSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var one, two store.Signal
		both := store.NewAnySignal(one.Wait, two.Wait)
		c := both.Wait()
		two.Close()
		<-c
		<-both.Wait()
	})
}

func TestAnyConcurrent(t *testing.T) {
	t.Parallel()
	const rounds = 200
	var one, two store.Signal
	both := store.NewAnySignal(one.Wait, two.Wait)
	turn, wg := make(chan struct{}), sync.WaitGroup{}
	for range 3 {
		wg.Go(func() {
			for range turn {
				<-both.Wait()
			}
		})
	}
	stop := make(chan struct{})
	for _, s := range []*store.Signal{&one, &two} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.Notify()
					runtime.Gosched()
				}
			}
		})
	}
	for range rounds {
		turn <- struct{}{}
	}
	close(turn)
	both.Close()
	close(stop)
	wg.Wait()
}
