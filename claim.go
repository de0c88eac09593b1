// Who owns a part of a subscription, and how far it is: the records behind it.

package evento

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/evento-go/evento/cursor"
)

// subscriptionKind is that of the records of subscriptions. The part "" has
// what all partitions share, the part of a partition is its number.
const subscriptionKind = "subscription"

// sharedState is the record of a whole subscription.
type sharedState struct {
	// Partitions is into how many its events are split.
	Partitions int `json:"partitions"`
}

// claimState is the record of a partition. Whoever wants to change it swaps it
// at the revision that they have read; so the record's revision fences off all
// who acted on an older state.
type claimState struct {
	// Epoch rises with each owner, and with each change that owners did not
	// make: who holds an older one must take the state as it is now.
	Epoch uint64 `json:"epoch"`
	// Owner is the worker; "" is nobody. Host helps people to find it.
	Owner string `json:"owner,omitempty"`
	Host  string `json:"host,omitempty"`
	// LeaseMillis is how long after the record's last change others have to
	// leave it to the owner, unless they take over on purpose.
	LeaseMillis int64 `json:"lease_ms,omitempty"`
	// Cursor is the place up to which everything is handled, and Position that
	// of the last event there that was handled.
	Cursor   cursor.Value `json:"cursor"`
	Position uint64       `json:"position,omitempty"`
	Paused   bool         `json:"paused,omitempty"`
	// Error is why the last owner stopped.
	Error string `json:"error,omitempty"`
	// Retry counts the requests to handle parked events again.
	Retry uint64 `json:"retry,omitempty"`
}

func encodeState(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // structs of texts and numbers
	}
	return text
}

func decodeState(r Record, v any) error {
	if err := json.Unmarshal(r.Value, v); err != nil {
		return fmt.Errorf("evento: record %s %q %q: %w", r.Kind, r.Key, r.Part, err)
	}
	return nil
}

func partName(partition int) string { return fmt.Sprintf("%04d", partition) }

// claimed is the record of a partition as it was read.
type claimed struct {
	claimState
	revision  uint64 // 0: there is none
	changedAt time.Time
	asked     time.Time // when the change to this was asked for, by the local clock
}

// lapsed reports whether nobody has a right to it at a time of the store.
func (c *claimed) lapsed(now time.Time) bool {
	return c.Owner == "" || now.Sub(c.changedAt) >= time.Duration(c.LeaseMillis)*time.Millisecond
}

func (c *claimed) change(key string, partition int) Change {
	return Change{RecordKey: RecordKey{subscriptionKind, key, partName(partition)}, Revision: c.revision, Value: encodeState(c.claimState)}
}

// subscriptionState is all records of a subscription.
type subscriptionState struct {
	shared     sharedState
	revision   uint64 // of shared; 0: there is none
	partitions []claimed
	instances  []instanceRecord
	now        time.Time
}

// readSubscription reads the state of a subscription; without partitions it is
// new.
func readSubscription(ctx context.Context, ex Executor, key string) (*subscriptionState, error) {
	s := &subscriptionState{}
	for q := (RecordQuery{Kind: subscriptionKind, Key: key}); ; {
		page, err := ex.Records(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			if err := s.add(r); err != nil {
				return nil, err
			}
			q.After = r.RecordKey
		}
		s.now = page.Now
		if !page.More {
			return s, nil
		}
	}
}

func (s *subscriptionState) add(r Record) error {
	if r.Part == "" {
		s.revision = r.Revision
		if err := decodeState(r, &s.shared); err != nil {
			return err
		}
		s.partitions = make([]claimed, s.shared.Partitions)
		return nil
	}
	if n, err := strconv.Atoi(r.Part); err == nil {
		if n < 0 || n >= len(s.partitions) {
			return fmt.Errorf("evento: record %s %q %q: of %d partitions", r.Kind, r.Key, r.Part, len(s.partitions))
		}
		c := &s.partitions[n]
		c.revision, c.changedAt = r.Revision, r.ChangedAt
		return decodeState(r, &c.claimState)
	}
	i := instanceRecord{part: r.Part, revision: r.Revision, changedAt: r.ChangedAt}
	s.instances = append(s.instances, i)
	return decodeState(r, &s.instances[len(s.instances)-1].instanceState)
}

// claim is a worker's hold on a partition. It is used by the worker and by the
// goroutine that renews its lease.
type claim struct {
	ex        Executor
	key       string
	partition int
	worker    ID
	lease     time.Duration

	mu        sync.Mutex
	at        claimed
	confirmed time.Time // when the store was asked that last said it holds
}

// hostName is where this process runs, and its number.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return fmt.Sprintf("%s/%d", name, os.Getpid())
}

// take makes the worker the owner, if the claim may be taken: always, or with
// standby only when nobody else's lease runs. It reports whether it did, and
// else how long that lease runs.
func (c *claim) take(ctx context.Context, partitions int, standby bool) (taken bool, wait time.Duration, err error) {
	for {
		asked := time.Now()
		s, err := readSubscription(ctx, c.ex, c.key)
		if err != nil {
			return false, 0, err
		}
		var changes []Change
		if s.revision == 0 {
			s.shared.Partitions = partitions
			s.partitions = make([]claimed, partitions)
			changes = append(changes, Change{RecordKey: RecordKey{Kind: subscriptionKind, Key: c.key}, Value: encodeState(s.shared)})
		}
		if s.shared.Partitions != partitions {
			return false, 0, fmt.Errorf("subscription %s: %w partitions: it has %d, not %d; see Control.Repartition", shorten(c.key), ErrInvalid, s.shared.Partitions, partitions)
		}
		at := s.partitions[c.partition]
		if standby && !at.lapsed(s.now) && at.Owner != c.worker.String() {
			left := time.Duration(at.LeaseMillis)*time.Millisecond - s.now.Sub(at.changedAt)
			return false, left, nil
		}
		at.Epoch++
		at.Owner, at.Host, at.LeaseMillis, at.Error = c.worker.String(), hostName(), c.lease.Milliseconds(), ""
		changes = append(changes, at.change(c.key, c.partition))
		err = c.ex.Swap(ctx, Swap{Changes: changes, Wake: true})
		if errors.Is(err, ErrSwapped) {
			continue // somebody was faster
		}
		if err != nil {
			return false, 0, err
		}
		at.revision++
		c.mu.Lock()
		c.at, c.confirmed = at, asked
		c.mu.Unlock()
		return true, 0, nil
	}
}

// state is what the worker knows of its partition.
func (c *claim) state() claimState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at.claimState
}

// held reports for how long the lease was not confirmed.
func (c *claim) unconfirmed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.confirmed)
}

// errMoved: somebody else has moved the cursor, or paused the subscription, and
// the worker still owns it.
var errMoved = errors.New("evento: subscription was changed")

// confirm asks the store whether the worker still owns the partition. It
// returns [ErrTakenOver], or errMoved.
func (c *claim) confirm(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reload(ctx)
}

// reload is confirm, under the mutex.
func (c *claim) reload(ctx context.Context) error {
	asked := time.Now()
	s, err := readSubscription(ctx, c.ex, c.key)
	if err != nil {
		return err
	}
	if c.partition >= len(s.partitions) || s.partitions[c.partition].Owner != c.worker.String() {
		return fmt.Errorf("%w: key %q", ErrTakenOver, c.key)
	}
	epoch := c.at.Epoch
	c.at, c.confirmed = s.partitions[c.partition], asked
	if c.at.Epoch != epoch {
		return errMoved
	}
	return nil
}

// renew extends the lease.
func (c *claim) renew(ctx context.Context) error {
	return c.swap(ctx, Swap{}, func(*claimState) {})
}

// swap changes the state, with other records, if the worker still owns the
// partition in the epoch that it knows. A change whose outcome was lost is
// looked for and made again.
func (c *claim) swap(ctx context.Context, more Swap, change func(*claimState)) error {
	next, err := c.swapIn(ctx, more, change)
	if err == nil {
		c.adopt(next)
	}
	return err
}

// swapIn is swap in a transaction that is not committed yet. When it is, adopt
// takes what it returned.
func (c *claim) swapIn(ctx context.Context, more Swap, change func(*claimState)) (*claimed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		next := c.at
		change(&next.claimState)
		asked := time.Now()
		swap := Swap{Wake: more.Wake, Changes: append([]Change{next.change(c.key, c.partition)}, more.Changes...)}
		err := c.ex.Swap(ctx, swap)
		if err == nil {
			next.revision++
			next.asked = asked
			return &next, nil
		}
		if !errors.Is(err, ErrSwapped) {
			return nil, err
		}
		before := c.at.revision
		if err := c.reload(ctx); err != nil {
			return nil, err
		}
		switch {
		case c.at.revision == before+1 && c.at.claimState == next.claimState:
			next.revision = c.at.revision
			return &next, nil // an earlier attempt, whose answer was lost
		case c.at.revision == before: // another of the records
			return nil, err
		}
	}
}

// adopt takes a state that is stored now, unless a later one is known.
func (c *claim) adopt(next *claimed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if next.revision > c.at.revision {
		c.at = *next
	}
	if next.asked.After(c.confirmed) {
		c.confirmed = next.asked
	}
}

// release gives the partition up, for whoever waits for it.
func (c *claim) release(ctx context.Context, reason string) error {
	return c.swap(ctx, Swap{Wake: true}, func(s *claimState) { s.Owner, s.Host, s.LeaseMillis, s.Error = "", "", 0, reason })
}
