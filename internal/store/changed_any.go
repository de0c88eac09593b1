// The Changed of an executor made of executors.

package store

import (
	"reflect"
	"sync"
)

// AnySignal hands out a channel that is closed when one of several sources closes
// theirs: the Changed of an executor made of executors. [NewAnySignal] makes it; it
// is safe for concurrent use.
type AnySignal struct {
	sources []func() <-chan struct{}
	closing chan struct{}

	mu     sync.Mutex
	next   chan struct{} // nil: nobody waits
	closed bool
}

// NewAnySignal returns the AnySignal of these sources.
func NewAnySignal(sources ...func() <-chan struct{}) *AnySignal {
	return &AnySignal{sources: sources, closing: make(chan struct{})}
}

// Wait returns a channel that is closed when a source gives its signal after the call,
// or shortly before it. After Close it returns a closed channel. One goroutine watches
// the sources for all who wait.
func (a *AnySignal) Wait() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return a.closing
	case a.next != nil:
		return a.next
	}
	a.next = make(chan struct{})
	// The sources are asked before Wait returns, so that nothing that comes
	// after it is missed.
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(a.closing)}}
	for _, source := range a.sources {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(source())})
	}
	go a.watch(cases)
	return a.next
}

func (a *AnySignal) watch(cases []reflect.SelectCase) {
	reflect.Select(cases)
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.next)
	a.next = nil
}

// Close wakes all who wait, now and from now on. Closing again does nothing.
func (a *AnySignal) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.closed = true
		close(a.closing)
	}
}
