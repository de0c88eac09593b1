// Waiting for what a subscription makes of an event.

package evento

import (
	"context"
	"fmt"
	"time"

	"github.com/evento-go/evento/cursor"
)

const (
	firstWait = time.Millisecond
	mostWait  = 50 * time.Millisecond
)

// WaitFor returns when the subscription has handled, passed over or parked every
// event up to a position, such as that of a [Receipt]: to read what one has
// written from what the subscription makes of it. It waits for a subscription
// that was not started yet. A place that holds nothing for the subscription is
// stored only every 10 seconds, so give it the position of an event that it
// handles.
//
// Errors: the context's; those of [Executor].
func WaitFor(ctx context.Context, ex Executor, key string, position uint64) error {
	c := ControlOf(ex, key)
	for wait := firstWait; ; wait = min(2*wait, mostWait) {
		done, err := c.reached(ctx, position)
		if err != nil || done {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("evento: subscription %q has not reached position %d: %w", key, position, ctx.Err())
		}
	}
}

func (c *Control) reached(ctx context.Context, position uint64) (bool, error) {
	state, err := readSubscription(ctx, c.ex, c.key)
	if err != nil || state.revision == 0 {
		return false, err
	}
	for i := range state.partitions {
		p := &state.partitions[i]
		if p.revision == 0 {
			return false, nil
		}
		if p.Position >= position {
			continue
		}
		if done, err := c.nothing(ctx, state, i, position); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}

// nothing reports whether between the cursor of a partition and a position is
// no event that is the partition's.
func (c *Control) nothing(ctx context.Context, state *subscriptionState, partition int, position uint64) (bool, error) {
	n, at := 1, state.partitions[partition].Cursor
	for {
		page, err := c.ex.Read(ctx, Query{}, cursor.Onward(n, at))
		if err != nil {
			return false, err
		}
		for i := range page.Edges {
			e := &page.Edges[i].Node
			if e.Position > position {
				return true, nil
			}
			if partitionOf(e.AggregateType, e.AggregateID, len(state.partitions)) == partition {
				return false, nil
			}
		}
		if !page.PageInfo.HasNextPage {
			return true, nil
		}
		n, at = 4*len(state.partitions), page.PageInfo.EndCursor
	}
}
