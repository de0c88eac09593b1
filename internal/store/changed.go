// Waking any number of waiters at once: the channels that executors return from
// Changed.

package store

import "sync"

// Signal hands out a channel that is closed at the next Notify. The zero
// Signal is ready; it is safe for concurrent use.
type Signal struct {
	mu     sync.Mutex
	next   chan struct{}
	closed bool
}

// Wait returns the channel that the next Notify closes; after Close, one that
// is closed.
func (s *Signal) Wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = make(chan struct{})
		if s.closed {
			close(s.next)
		}
	}
	return s.next
}

// Awaited reports whether somebody asked for a channel since the last Notify.
func (s *Signal) Awaited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next != nil
}

// Notify wakes all who wait. When none does, it costs a mutex.
func (s *Signal) Notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil && !s.closed {
		close(s.next)
		s.next = nil
	}
}

// Close wakes all who wait, now and from now on.
func (s *Signal) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.next != nil {
		close(s.next)
	}
}
