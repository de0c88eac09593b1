// Moving to another store: the events, where the subscriptions are, and records.

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// copyEvents copies the events of a store, with all that they have. What is there already is
// compared: so it may be called again, for what has come since, and after it was broken off.
func copyEvents(ctx context.Context, from evento.Executor, to evento.Importer) error {
	for at, more := cursor.Value(""), true; more; {
		page, err := from.Read(ctx, evento.Query{}, cursor.Onward(1000, at))
		if err != nil {
			return err
		}
		events := make([]evento.RawEvent, len(page.Edges))
		for i, edge := range page.Edges {
			events[i] = edge.Node
		}
		if err := to.Import(ctx, events); err != nil {
			return err
		}
		at, more = page.PageInfo.EndCursor, page.PageInfo.HasNextPage
	}
	return nil
}

// placesOf returns up to which position each subscription has handled the events.
func placesOf(ctx context.Context, from evento.Executor) (map[evento.SubscriptionName]uint64, error) {
	places := map[evento.SubscriptionName]uint64{}
	for name, err := range evento.Subscriptions(ctx, from) {
		if err != nil {
			return nil, err
		}
		status, err := evento.ControlOf(from, name.Key).RoutingKey(name.RoutingKey).Status(ctx)
		switch {
		case err != nil:
			return nil, err
		case slices.ContainsFunc(status.Partitions, func(p evento.PartitionStatus) bool { return p.Live }):
			return nil, fmt.Errorf("subscription %s is running: stop the application first", name.Key)
		case status.Parked > 0:
			return nil, fmt.Errorf("subscription %s has %d parked events: retry or drop them first", name.Key, status.Parked)
		}
		places[name] = status.Position
	}
	return places, nil
}

// deadlineKinds are the kinds of the records that deadlines are.
var deadlineKinds = []string{"deadline", "due"}

// move is what the application is stopped for. Begun again, it goes on.
func move(ctx context.Context, from evento.Executor, to evento.Importer) (places map[evento.SubscriptionName]uint64, err error) {
	if places, err = placesOf(ctx, from); err != nil {
		return nil, err
	}
	if err := copyEvents(ctx, from, to); err != nil {
		return nil, err
	}
	return places, copyRecords(ctx, from, to, deadlineKinds...)
}

// copyRecords copies records as they are: those of deadlines, and those of the application's
// own kinds. Those that are there already stay.
func copyRecords(ctx context.Context, from, to evento.Executor, kinds ...string) error {
	for _, kind := range kinds {
		for q, more := (evento.RecordQuery{Kind: kind}), true; more; {
			page, err := from.Records(ctx, q)
			if err != nil {
				return err
			}
			for _, r := range page.Records {
				made := evento.Change{RecordKey: r.RecordKey, Value: r.Value}
				err := to.Swap(ctx, evento.Swap{Changes: []evento.Change{made}})
				if err != nil && !errors.Is(err, evento.ErrSwapped) {
					return err
				}
				q.After = r.RecordKey
			}
			more = page.More
		}
	}
	return nil
}
