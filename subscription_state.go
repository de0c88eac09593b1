// What a subscription is doing, in a word.

package evento

// SubscriptionState is what a subscription is doing, in a word.
type SubscriptionState string

// The states of a subscription.
const (
	// SubscriptionRunning: each partition has a worker that is alive.
	SubscriptionRunning SubscriptionState = "running"
	// SubscriptionPartly: some partitions have a worker that is alive, others have none.
	SubscriptionPartly SubscriptionState = "partly running"
	// SubscriptionRetrying: a worker tries an event again that has failed.
	SubscriptionRetrying SubscriptionState = "retrying"
	// SubscriptionFailed: a worker has stopped at an event that has failed.
	SubscriptionFailed SubscriptionState = "failed"
	// SubscriptionDead: a worker has given no sign of life within its lease.
	SubscriptionDead SubscriptionState = "dead"
	// SubscriptionStopped: no partition has a worker.
	SubscriptionStopped SubscriptionState = "stopped"
	// SubscriptionPaused: [Control.Pause] has paused it.
	SubscriptionPaused SubscriptionState = "paused"
)

// State returns what the subscription is doing: of several partitions, what is most urgent.
func (s *Status) State() SubscriptionState {
	has := map[SubscriptionState]bool{}
	for i := range s.Partitions {
		if s.Partitions[i].Paused {
			return SubscriptionPaused
		}
		has[s.Partitions[i].State()] = true
	}
	for _, urgent := range []SubscriptionState{SubscriptionFailed, SubscriptionRetrying, SubscriptionDead} {
		if has[urgent] {
			return urgent
		}
	}
	switch {
	case has[SubscriptionRunning] && has[SubscriptionStopped]:
		return SubscriptionPartly
	case has[SubscriptionRunning]:
		return SubscriptionRunning
	}
	return SubscriptionStopped
}

// State returns what the partition is doing.
func (p *PartitionStatus) State() SubscriptionState {
	switch {
	case p.Paused:
		return SubscriptionPaused
	case p.Owner != "" && !p.Live:
		return SubscriptionDead
	case p.Owner != "" && p.Error != "":
		return SubscriptionRetrying
	case p.Owner != "":
		return SubscriptionRunning
	case p.Error != "":
		return SubscriptionFailed
	}
	return SubscriptionStopped
}
