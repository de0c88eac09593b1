package evento_test

import (
	"context"
	"errors"
	"testing"

	"github.com/evento-go/evento"
)

// What is most urgent among the partitions is what the subscription is doing.
func TestSubscriptionStates(t *testing.T) {
	t.Parallel()
	live := evento.PartitionStatus{Owner: "a", Live: true}
	dead := evento.PartitionStatus{Owner: "a"}
	retrying := evento.PartitionStatus{Owner: "a", Live: true, Error: "no"}
	failed := evento.PartitionStatus{Error: "no"}
	paused := evento.PartitionStatus{Owner: "a", Live: true, Paused: true}
	for _, c := range []struct {
		want       evento.SubscriptionState
		partitions []evento.PartitionStatus
	}{
		{evento.SubscriptionStopped, nil},
		{evento.SubscriptionStopped, []evento.PartitionStatus{{}}},
		{evento.SubscriptionRunning, []evento.PartitionStatus{live, live}},
		{evento.SubscriptionPartly, []evento.PartitionStatus{live, {}}},
		{evento.SubscriptionDead, []evento.PartitionStatus{live, dead}},
		{evento.SubscriptionRetrying, []evento.PartitionStatus{dead, retrying}},
		{evento.SubscriptionFailed, []evento.PartitionStatus{retrying, failed}},
		{evento.SubscriptionPaused, []evento.PartitionStatus{failed, paused}},
	} {
		s := evento.Status{Partitions: c.partitions}
		if got := s.State(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.partitions, got, c.want)
		}
	}
}

// StatusWithin stops to count, says so, and knows the first pending event all the same.
func TestStatusWithin(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	fails := evento.NewSubscription("s").Retry(0).Logger(silent).Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error { return errPoor }))
	deposits(t, ex, "a", 5)
	if err := fails.Execute(t.Context(), ex); !errors.Is(err, errPoor) {
		t.Fatal(err)
	}
	control := evento.ControlOf(ex, "s")
	for most, want := range map[int]struct {
		behind uint64
		more   bool
	}{1: {1, true}, 4: {4, true}, 5: {5, false}, 100: {5, false}} {
		s, err := control.StatusWithin(t.Context(), most)
		if err != nil {
			t.Fatal(err)
		}
		if s.Behind != want.behind || s.More != want.more || s.Position != 0 || s.Head != 5 || s.Lag <= 0 {
			t.Errorf("within %d: %+v, want %+v", most, s, want)
		}
	}
	noErr(t, fails.AcceptFailure().Execute(t.Context(), ex))
	for most, want := range map[int]struct {
		parked int
		more   bool
	}{1: {1, true}, 4: {4, true}, 5: {5, false}, 100: {5, false}} {
		s, err := control.StatusWithin(t.Context(), most)
		if err != nil || s.Parked != want.parked || s.ParkedMore != want.more {
			t.Errorf("within %d, parked: %+v, %v, want %+v", most, s, err, want)
		}
	}
	if _, err := control.StatusWithin(t.Context(), 0); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("within 0: %v", err)
	}
}
