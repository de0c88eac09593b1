package main

import (
	"slices"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

// The state for each status, and the owners shown.
func TestStates(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	owned := func(owner string, live bool, text string) evento.PartitionStatus {
		return evento.PartitionStatus{Owner: owner, Host: "host/" + owner, Live: live, ChangedAt: now.Add(-200 * time.Second), Error: text}
	}
	pausedOne := owned("1", true, "")
	pausedOne.Paused = true
	ahead := owned("1", false, "")
	ahead.ChangedAt = now.Add(time.Hour)
	pause := evento.ControlChange{What: "Pause", By: "ops/7", At: now}
	for _, test := range []struct {
		partitions   []evento.PartitionStatus
		changed      evento.ControlChange
		state, owner string
	}{
		{[]evento.PartitionStatus{{}}, pause, string(evento.SubscriptionStopped), "-"},
		{[]evento.PartitionStatus{owned("1", true, "")}, pause, string(evento.SubscriptionRunning), "host/1"},
		{[]evento.PartitionStatus{owned("1", true, ""), owned("1", true, "")}, pause, string(evento.SubscriptionRunning), "host/1"},
		{[]evento.PartitionStatus{owned("1", true, ""), owned("2", true, "")}, pause, string(evento.SubscriptionRunning), "2 workers"},
		{[]evento.PartitionStatus{owned("1", true, ""), {}}, pause, string(evento.SubscriptionPartly), "host/1"},
		{[]evento.PartitionStatus{owned("1", true, ""), owned("2", false, "")}, pause, string(evento.SubscriptionDead), "2 workers, 1 dead"},
		{[]evento.PartitionStatus{owned("1", false, "")}, pause, string(evento.SubscriptionDead), "dead (host/1), not heard of for 3m20s"},
		{[]evento.PartitionStatus{owned("1", false, "no mail")}, pause, string(evento.SubscriptionDead), "dead (host/1), not heard of for 3m20s"},
		{[]evento.PartitionStatus{ahead}, pause, string(evento.SubscriptionDead), "dead (host/1), heard of 1h0m0s ahead of the store's clock"},
		{[]evento.PartitionStatus{owned("1", true, ""), owned("1", true, "no mail")}, pause, string(evento.SubscriptionRetrying), "host/1"},
		{[]evento.PartitionStatus{owned("1", true, "no mail"), {Error: "no mail"}}, pause, string(evento.SubscriptionFailed), "host/1"},
		{[]evento.PartitionStatus{pausedOne, owned("2", true, "no mail")}, pause, "paused by ops/7", "2 workers"},
		{[]evento.PartitionStatus{pausedOne}, evento.ControlChange{What: "ResetToStart", By: "ops/8", At: now}, string(evento.SubscriptionPaused), "host/1"},
	} {
		v := subscriptionViewOf(&evento.Status{Key: "k", Partitions: test.partitions, Changed: test.changed, Now: now})
		if got := []string{v.showState(), v.owners()}; !slices.Equal(got, []string{test.state, test.owner}) {
			t.Errorf("%+v: %q, want %q by %q", test.partitions, got, test.state, test.owner)
		}
	}
}
