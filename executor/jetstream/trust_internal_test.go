package jetstream

import (
	"testing"
	"time"
)

// answer is what a leader says of the others.
func answer(leader string, replicas int, active ...time.Duration) *streamInfo {
	i := &streamInfo{}
	i.Config.Replicas, i.Cluster.Leader = replicas, leader
	for _, a := range active {
		i.Cluster.Replicas = append(i.Cluster.Replicas, Peer{Active: a})
	}
	return i
}

// A leader is trusted when its answers have given no cause for doubt for a while.
func TestTrust(t *testing.T) {
	t.Parallel()
	good := answer("a", 3, time.Second, 2*time.Second)
	offline := answer("a", 3, time.Second, time.Second)
	offline.Cluster.Replicas[1].Offline = true
	other := answer("a", 3, time.Second, time.Second)
	other.Cluster.Replicas[1].Name = "a"
	five := answer("a", 5, 1, 1, 1, 1)
	type step struct {
		after time.Duration
		info  *streamInfo
		want  bool
	}
	steady := []step{
		{0, good, false},
		{time.Second, good, false},
		{1500 * time.Millisecond, good, false},
		{1500 * time.Millisecond, good, false},
		{time.Second, good, true},
	}
	for _, c := range []struct {
		name string
		then []step
	}{
		{"it goes on", []step{{0, good, true}, {1500 * time.Millisecond, good, true}}},
		{"a pause", []step{{1501 * time.Millisecond, good, false}, {time.Second, good, false}}},
		{"another leads", []step{{0, answer("b", 3, 1, 1), false}, {0, good, false}}},
		{"nobody leads", []step{{0, answer("", 3, 1, 1), false}, {0, good, false}}},
		{"one was not heard of", []step{{0, answer("a", 3, 1, 2201*time.Millisecond), false}, {0, good, false}}},
		{"one was never heard of", []step{{0, answer("b", 3, 1, 0), false}, {1500 * time.Millisecond, answer("b", 3, 1, 0), false}}},
		{"one is heard of now", []step{{0, answer("a", 3, 1, 0), true}, {0, answer("a", 3, 0, 0), true}}},
		{"one more, never heard of", []step{{0, answer("a", 3, 1, 1, 0), false}, {0, good, false}}},
		{"who answers does not lead", []step{{0, other, false}, {0, good, false}}},
		{"one is offline", []step{{0, offline, false}, {0, good, false}}},
		{"one is missing", []step{{0, answer("a", 3, 1), false}, {0, good, false}}},
		{"five servers", []step{
			{0, five, false}, {1250 * time.Millisecond, five, false}, {1250 * time.Millisecond, five, false}, {1250 * time.Millisecond, five, false},
			{1250 * time.Millisecond, five, true}, {0, answer("a", 5, 1, 1, 1, time.Minute), false},
		}},
		{"one alone", []step{{time.Hour, answer("", 1), true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var trust trust
			now := time.Now()
			for i, s := range append(steady[:len(steady):len(steady)], c.then...) {
				now = now.Add(s.after)
				if got := trust.take(s.info, now); got != s.want {
					t.Errorf("answer %d: trusted: %t, want %t", i+1, got, s.want)
				}
			}
		})
	}
}

// A leader that has never heard of another says 0 of it, as long as that lasts.
func TestTrustOfOneThatWasNeverHeardOf(t *testing.T) {
	t.Parallel()
	var trust trust
	now := time.Now()
	for range 20 {
		if now = now.Add(time.Second); trust.take(answer("a", 3, time.Second, 0), now) {
			t.Fatal("it is trusted")
		}
	}
	if answer("a", 3, 0, 0).current() {
		t.Error("it has heard of no majority, and is current")
	}
}

// The clock of a machine that was halted, or that was set, is not what an answer is trusted by.
func TestTrustByEitherClock(t *testing.T) {
	t.Parallel()
	a := time.Now()
	if got := between(a, a.Add(2*time.Second)); got != 2*time.Second {
		t.Errorf("both clocks: %s", got)
	}
	halted := a.Round(0).Add(time.Minute) // the other clock stood still
	if got := between(a, halted); got != time.Minute {
		t.Errorf("the time of day: %s", got)
	}
}
