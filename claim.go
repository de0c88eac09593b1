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
	"sync/atomic"
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
	// Resets counts how often somebody else has set the cursor.
	Resets uint64 `json:"resets,omitempty"`
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
	asked     time.Duration // when this was asked for, by the claim's clock
}

// lapsed reports whether nobody has a right to it at a time of the store.
func (c *claimed) lapsed(now time.Time) bool {
	return c.Owner == "" || leaseLapsed(c.changedAt, now, c.LeaseMillis)
}

// leaseLapsed allows for times that are rounded down to the millisecond: a lease
// is never shorter than it says.
func leaseLapsed(changedAt, now time.Time, leaseMillis int64) bool {
	return now.Sub(changedAt) > time.Duration(leaseMillis+1)*time.Millisecond
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
// goroutine that renews its lease; neither waits for a call of the other.
type claim struct {
	ex        Executor
	key       string
	partition int
	worker    ID
	lease     time.Duration
	began     time.Time // times below are since then, by the monotonic clock

	renewed   atomic.Int64 // when the store was asked that last began the lease
	confirmed atomic.Int64 // when the store was asked that last knew this owner

	mu    sync.Mutex
	at    claimed // the latest that is known
	epoch uint64  // the one that the worker acts in
}

// hostName is where this process runs, and its number.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return fmt.Sprintf("%s/%d", name, os.Getpid())
}

// newStates are the changes that make the records of a subscription. All are
// made together, so that what removes it finds all of them.
func newStates(key string, partitions int) []Change {
	changes := []Change{{RecordKey: RecordKey{Kind: subscriptionKind, Key: key}, Value: encodeState(sharedState{Partitions: partitions})}}
	for p := range partitions {
		changes = append(changes, (&claimed{}).change(key, p))
	}
	return changes
}

// take makes the worker the owner, if the claim may be taken: always, or with
// standby only when nobody else's lease runs. It reports whether it did, and
// else how long that lease runs.
func (c *claim) take(ctx context.Context, partitions int, standby bool) (taken bool, wait time.Duration, err error) {
	for {
		asked := c.clock()
		s, err := readSubscription(ctx, c.ex, c.key)
		if err != nil {
			return false, 0, err
		}
		if s.revision == 0 {
			if err := c.ex.Swap(ctx, Swap{Changes: newStates(c.key, partitions)}); err != nil && !errors.Is(err, ErrSwapped) {
				return false, 0, err
			}
			continue
		}
		if err := s.check(c.key, partitions); err != nil {
			return false, 0, err
		}
		at := s.partitions[c.partition]
		if standby && !at.lapsed(s.now) && at.Owner != c.worker.String() {
			left := time.Duration(at.LeaseMillis+2)*time.Millisecond - s.now.Sub(at.changedAt)
			return false, left, nil
		}
		at.Epoch++
		at.Owner, at.Host, at.LeaseMillis, at.Error = c.worker.String(), hostName(), c.lease.Milliseconds(), ""
		err = c.ex.Swap(ctx, Swap{Changes: []Change{at.change(c.key, c.partition)}, Wake: true})
		if errors.Is(err, ErrSwapped) {
			continue // somebody was faster
		}
		if err != nil {
			return false, 0, err
		}
		at.revision++
		at.asked = asked
		c.adopt(&at)
		return true, 0, nil
	}
}

// check refuses another number of partitions.
func (s *subscriptionState) check(key string, partitions int) error {
	if n := s.shared.Partitions; n != partitions {
		return fmt.Errorf("subscription %s: %w partitions: it has %d, not %d; see Control.Repartition", shorten(key), ErrInvalid, n, partitions)
	}
	return nil
}

// clock is the time since the claim was made.
func (c *claim) clock() time.Duration { return time.Since(c.began) }

// leased is how long ago, at a time of the clock, the lease may have begun.
func (c *claim) leased(now time.Duration) time.Duration {
	return now - time.Duration(c.renewed.Load())
}

// unconfirmed is how long ago, at a time of the clock, the store knew this owner.
func (c *claim) unconfirmed(now time.Duration) time.Duration {
	return now - time.Duration(c.confirmed.Load())
}

// enter makes the worker act in the epoch that is known, and returns the state.
func (c *claim) enter() claimState {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch = c.at.Epoch
	return c.at.claimState
}

// state is what is known of the partition.
func (c *claim) state() claimState {
	at, _ := c.known()
	return at.claimState
}

func (c *claim) known() (at claimed, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at, c.epoch
}

// errMoved: the state was changed by somebody else, such as by a reset, and the
// worker still owns it. It is returned until the worker enters the new epoch.
var errMoved = errors.New("evento: subscription was changed")

// confirm asks the store whether the worker still owns the partition. It
// returns [ErrTakenOver], or errMoved.
func (c *claim) confirm(ctx context.Context) error {
	if err := c.reload(ctx); err != nil {
		return err
	}
	if at, epoch := c.known(); at.Epoch != epoch {
		return errMoved
	}
	return nil
}

func (c *claim) reload(ctx context.Context) error {
	asked := c.clock()
	s, err := readSubscription(ctx, c.ex, c.key)
	if err != nil {
		return err
	}
	if c.partition >= len(s.partitions) || s.partitions[c.partition].Owner != c.worker.String() {
		return fmt.Errorf("%w: key %q", ErrTakenOver, c.key)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := s.partitions[c.partition]
	if at.revision > c.at.revision {
		c.at = at
	}
	later(&c.confirmed, asked)
	later(&c.renewed, asked-s.now.Sub(at.changedAt)) // that is no sign of life
	return nil
}

// later moves a time forward. The mutex is held.
func later(t *atomic.Int64, to time.Duration) { t.Store(max(t.Load(), int64(to))) }

// renew extends the lease, in whatever epoch.
func (c *claim) renew(ctx context.Context) error {
	next, _ := c.known()
	err := c.put(ctx, Swap{}, &next)
	switch {
	case err == nil:
		c.adopt(&next)
	case errors.Is(err, ErrSwapped): // by the worker itself, or by somebody else
		return c.reload(ctx)
	}
	return err
}

// swap changes the state, with other records, if the worker still owns the
// partition in the epoch that it acts in.
func (c *claim) swap(ctx context.Context, more Swap, change func(*claimState)) error {
	for {
		next, err := c.swapOnce(ctx, more, change)
		if err == nil {
			c.adopt(next)
			return nil
		}
		if !errors.Is(err, ErrSwapped) {
			return err
		}
		if err := c.confirm(ctx); err != nil {
			return err
		}
		if at, _ := c.known(); at.revision == next.revision {
			return err // for another of the records
		}
	}
}

// swapOnce is swap for what is known of the state. In a transaction the state
// that it returns is stored when that is committed; then adopt takes it.
func (c *claim) swapOnce(ctx context.Context, more Swap, change func(*claimState)) (*claimed, error) {
	next, epoch := c.known()
	if next.Epoch != epoch {
		return nil, errMoved
	}
	change(&next.claimState)
	return &next, c.put(ctx, more, &next)
}

// put stores the next state.
func (c *claim) put(ctx context.Context, more Swap, next *claimed) error {
	next.asked = c.clock()
	swap := Swap{Wake: more.Wake, Changes: append([]Change{next.change(c.key, c.partition)}, more.Changes...)}
	if err := c.ex.Swap(ctx, swap); err != nil {
		return err
	}
	next.revision++
	return nil
}

// adopt takes a state that is stored now, unless a later one is known.
func (c *claim) adopt(next *claimed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if next.revision > c.at.revision {
		c.at = *next
	}
	later(&c.confirmed, next.asked)
	later(&c.renewed, next.asked)
}
