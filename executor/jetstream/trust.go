// Whether who answers for a stream still leads it.

package jetstream

import "time"

// trust is for how long the answers of one leader have given no cause for doubt. A leader that was
// halted, or cut off, does not know that another was elected, and answers with an old head. It can
// be told from one that leads, as long as these hold of the servers:
//
//   - A server seeks election four seconds or more after it has heard of its leader the last
//     time, or when another seeks it. So nobody seeks it while all have heard of the leader within
//     four seconds. That a majority has is not enough: servers vote for whoever asks, also
//     just after they have heard of their leader.
//   - A leader sends something to each other server at least every two seconds, and an answer tells
//     when it has last heard of each (heardMost).
//   - What it has heard then was sent when it was heard, or at most answerGap earlier. A leader
//     that was halted, or a network that has kept messages back, takes more. It is seen by the
//     pause before: between two answers, or in when the leader has heard of the others. After a
//     pause it takes a while until what was kept back has arrived (trustAfter).
//   - The server says 0 of another that the leader has never heard of, but also of one that it
//     has heard of in this very moment. So a leader must have said more of each before.
//
// They do not hold of a server that was removed from the stream and does not know it yet, and of
// one that was asked to take over and could not: it seeks election later, though it hears of
// the leader. An old end is then answered only if the leader is halted in that moment as well.
//
// So no other leads while an answer is trusted: it was heard of within heardMost, what it heard was
// sent answerGap before at most, and together that is less than four seconds. One who does not
// trust an answer makes sure by a message of its own (see makeSure).
//
// The clock of this machine counts for it, but not the clocks of the servers.
type trust struct {
	leader      string
	others      int       // servers that the leader has told of
	since, last time.Time // the first and the last of the answers without cause for doubt
}

const (
	// heardMost is how long ago a leader has heard of each other server at most.
	heardMost = 2200 * time.Millisecond
	// answerGap is how long after the one before an answer comes at most.
	answerGap = 1500 * time.Millisecond
	// trustAfter is for how long there is no cause for doubt before a leader is trusted.
	trustAfter = 5 * time.Second
)

// take takes an answer that has come now, and reports whether it is trusted.
func (t *trust) take(i *streamInfo, now time.Time) bool {
	if i.Config.Replicas <= 1 {
		return true
	}
	others := len(i.Cluster.Replicas)
	begins := t.since.IsZero() || i.Cluster.Leader != t.leader || others != t.others || between(t.last, now) > answerGap
	if !i.heardOfAll(begins) {
		t.doubt()
		return false
	}
	if begins {
		t.leader, t.others, t.since = i.Cluster.Leader, others, now
	}
	t.last = now
	return now.Sub(t.since) >= trustAfter
}

// doubt notes a cause for doubt.
func (t *trust) doubt() { t.since = time.Time{} }

// heardOfAll reports whether the answer is that of a leader that has heard of all others lately;
// ever: and says so of each.
func (i *streamInfo) heardOfAll(ever bool) bool {
	if i.Cluster.Leader == "" || len(i.Cluster.Replicas) < i.Config.Replicas-1 {
		return false
	}
	for _, r := range i.Cluster.Replicas {
		// A leader does not list itself.
		if r.Name == i.Cluster.Leader || r.Offline || r.Active > heardMost || ever && r.Active == 0 {
			return false
		}
	}
	return true
}

// between is the time between two moments, by the clock that says more: one of the two stands
// still while the machine does.
func between(a, b time.Time) time.Duration { return max(b.Sub(a), b.Round(0).Sub(a.Round(0))) }
