// The records of a subscription: their keys, its selection, and the owner and
// cursor of each partition.

package evento

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/evento-go/evento/cursor"
)

// subscriptionKind is the kind of the records of subscriptions.
const subscriptionKind = "subscription"

// subscriptionName identifies a subscription. Its records have its key, and parts
// that begin with the prefix of its routing key.
type subscriptionName struct {
	key, routingKey string
	prefix          string // "": without a routing key
}

const routePrefix = "route-"

func nameOf(key, routingKey string) subscriptionName {
	n := subscriptionName{key: key, routingKey: routingKey}
	if routingKey != "" {
		hash := sha256.Sum256([]byte(routingKey))
		n.prefix = fmt.Sprintf("%s%x-", routePrefix, hash[:16])
	}
	return n
}

// String is the name as it is in errors.
func (n subscriptionName) String() string {
	if n.routingKey == "" {
		return shorten(n.key)
	}
	return shorten(n.key) + " of routing key " + shorten(n.routingKey)
}

func (n subscriptionName) check() error {
	if err := checkName("subscription key", n.key); err != nil || n.routingKey == "" {
		return err
	}
	return checkName("routing key", n.routingKey)
}

// shared is the record of the whole subscription.
func (n subscriptionName) shared() RecordKey {
	if n.prefix == "" {
		return RecordKey{Kind: subscriptionKind, Key: n.key}
	}
	return RecordKey{subscriptionKind, n.key, n.prefix + "shared"}
}

func (n subscriptionName) partition(p int) RecordKey {
	return RecordKey{subscriptionKind, n.key, fmt.Sprintf("%s%04d", n.prefix, p)}
}

func (n subscriptionName) instance(part string) RecordKey {
	return RecordKey{subscriptionKind, n.key, n.prefix + part}
}

// before returns a key before all of the subscription's records of a kind, and
// after those of the subscriptions that sort before it.
func (n subscriptionName) before(kind string) RecordKey {
	if n.prefix == "" {
		return RecordKey{}
	}
	return RecordKey{kind, n.key, strings.TrimSuffix(n.prefix, "-")}
}

// owns reports whether a part is one of the subscription's, and returns it without
// the prefix.
func (n subscriptionName) owns(part string) (rest string, ok bool) {
	if n.prefix == "" {
		return part, !strings.HasPrefix(part, routePrefix)
	}
	return strings.CutPrefix(part, n.prefix)
}

// records ranges over the subscription's records of a kind, in the order of their
// keys. At most one error is yielded, and it is last.
func (n subscriptionName) records(ctx context.Context, ex Executor, kind string, limit int) iter.Seq2[ownRecord, error] {
	return func(yield func(ownRecord, error) bool) {
		for r, err := range records(ctx, ex, RecordQuery{Kind: kind, Key: n.key, After: n.before(kind), Limit: limit}) {
			part, ok := n.owns(r.Part)
			if err == nil && !ok || !yield(ownRecord{r, part}, err) {
				return
			}
		}
	}
}

// ownRecord is a record of a subscription.
type ownRecord struct {
	readRecord
	rest string // its part, without the subscription's prefix
}

// maxLease is the longest lease that a record may have.
const maxLease = 365 * 24 * time.Hour

// sharedState is the record of a whole subscription.
type sharedState struct {
	// Partitions is the number of partitions.
	Partitions int
	Selection
}

// storedShared is a sharedState as it is in its record.
type storedShared struct {
	Partitions int                        `json:"partitions"`
	RoutingKey string                     `json:"routing_key,omitempty"`
	All        bool                       `json:"all,omitempty"`
	Aggregates map[AggregateType][]string `json:"aggregates,omitempty"`
	Events     map[AggregateType][]string `json:"events,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (s sharedState) MarshalJSON() ([]byte, error) {
	return json.Marshal(storedShared{s.Partitions, s.RoutingKey, s.All, s.Aggregates, s.Events})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *sharedState) UnmarshalJSON(text []byte) error {
	var stored storedShared
	if err := json.Unmarshal(text, &stored); err != nil {
		return err
	}
	*s = sharedState{stored.Partitions, Selection{stored.RoutingKey, stored.All, stored.Aggregates, stored.Events}}
	return nil
}

// partitionState is the record of a partition. It is changed by compare-and-swap at
// the revision that was read, so the revision fences off everybody who acts on an
// older state.
type partitionState struct {
	// Epoch rises with each new owner, and with each change by others than the
	// owner: a worker in an older epoch must first adopt the new state.
	Epoch uint64 `json:"epoch"`
	// Owner is the worker; "" is nobody. Host helps people to find it.
	Owner string `json:"owner,omitempty"`
	Host  string `json:"host,omitempty"`
	// LeaseMillis is how long the owner may leave the record unchanged.
	LeaseMillis int64 `json:"lease_ms,omitempty"`
	// Next is the worker that asks for a hand-over.
	Next string `json:"next,omitempty"`
	// Cursor is the place up to which everything is handled, and Position that of
	// the last handled event before it.
	Cursor   cursor.Value `json:"cursor"`
	Position uint64       `json:"position,omitempty"`
	// Furthest is the place up to which everything had been handled before a reset;
	// "": there was no reset.
	Furthest cursor.Value `json:"furthest,omitempty"`
	Paused   bool         `json:"paused,omitempty"`
	// Resets counts how often somebody other than the worker has set the cursor.
	Resets uint64 `json:"resets,omitempty"`
	// Error is why the last owner stopped, or why the present one tries again;
	// ErrorEvent is the event concerned.
	Error      string `json:"error,omitempty"`
	ErrorEvent string `json:"error_event,omitempty"`
	// Retry counts the requests to retry parked events.
	Retry uint64 `json:"retry,omitempty"`
	// Kept identifies the states that were kept up to Cursor and Furthest.
	Kept keptState `json:"kept,omitzero"`
	// Changed is the last change made with [Control].
	Changed ControlChange `json:"changed,omitzero"`
}

// ControlChange describes the last change of a subscription with [Control].
type ControlChange struct {
	// What is the name of the method.
	What string `json:"what"`
	// By is the host and process id, and At the time of that host.
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// check refuses states that no release of the library writes.
func (s *partitionState) check() error {
	switch {
	case s.LeaseMillis < 0 || s.LeaseMillis > maxLease.Milliseconds():
		return fmt.Errorf("lease_ms: %d", s.LeaseMillis)
	case s.Position > maxVersion || s.Epoch > maxVersion || s.Resets > maxVersion || s.Retry > maxVersion:
		return fmt.Errorf("a number is over %d", uint64(maxVersion))
	case s.Cursor == "" && s.Position > 0:
		return fmt.Errorf("position %d at the beginning", s.Position)
	}
	return s.Kept.check()
}

func (s *sharedState) check() error {
	if s.Partitions < 1 || s.Partitions > maxPartitions {
		return fmt.Errorf("partitions: %d is not 1 to %d", s.Partitions, maxPartitions)
	}
	return s.query().Check()
}

func (s *instanceState) check() error {
	if s.LeaseMillis < 0 || s.LeaseMillis > maxLease.Milliseconds() {
		return fmt.Errorf("lease_ms: %d", s.LeaseMillis)
	}
	return nil
}

func encodeState(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // cannot happen: structs of strings and numbers
	}
	return text
}

// decodeState reads and checks a record's value. What is not known in it is refused: to do
// without it could begin a subscription anew.
func decodeState(r Record, v interface{ check() error }) error {
	err := json.Unmarshal(r.Value, v)
	if err == nil {
		err = onlyKnown(r.Value, v)
	}
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return damaged(r.RecordKey, bare(err))
	}
	return nil
}

// onlyKnown returns an error if a valid text is no object, or has a field that the value
// has not.
func onlyKnown(text []byte, v any) error {
	if text = bytes.TrimSpace(text); text[0] != '{' {
		return fmt.Errorf("it is %s, and no object", shorten(string(text)))
	}
	if _, ok := v.(*sharedState); ok { // it is stored as another type
		v = &storedShared{}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func damaged(key RecordKey, what string) error {
	return fmt.Errorf("%w: record %s %q %q: %s", ErrDamaged, key.Kind, key.Key, key.Part, what)
}

// partitionRecord is the record of a partition as it was read.
type partitionRecord struct {
	partitionState
	revision  uint64
	changedAt time.Time
	asked     time.Duration // when the record was requested, by the lease's clock
	again     bool          // a transaction has changed the record twice
}

func (r *partitionRecord) lease() time.Duration {
	return time.Duration(r.LeaseMillis) * time.Millisecond
}

// live reports whether the owner has given a sign of life within its lease, if the
// store's clock is right.
func (r *partitionRecord) live(now time.Time) bool {
	// The owner may have renewed its lease after now was read.
	return r.Owner != "" && now.Sub(r.changedAt).Abs() <= r.lease()
}

func (r *partitionRecord) change(n subscriptionName, partition int) Change {
	return Change{RecordKey: n.partition(partition), Revision: r.revision, Value: encodeState(r.partitionState)}
}

// subscriptionState is all records of a subscription.
type subscriptionState struct {
	name       subscriptionName
	shared     sharedState
	revision   uint64 // of shared; 0: the subscription was never started
	partitions []partitionRecord
	instances  []instanceRecord
	now        time.Time
}

// subscriptionRecords is how many records most subscriptions have at most.
const subscriptionRecords = maxPartitions + 16

// read reads the state of the subscription.
func (n subscriptionName) read(ctx context.Context, ex Executor) (*subscriptionState, error) {
	s := &subscriptionState{name: n}
	found := map[int]partitionRecord{}
	for r, err := range n.records(ctx, ex, subscriptionKind, subscriptionRecords) {
		if err != nil {
			return nil, err
		}
		s.now = r.now
		if err := s.add(r.rest, r.Record, found); err != nil {
			return nil, err
		}
	}
	for p, r := range found {
		if p < 0 || p >= s.shared.Partitions {
			return nil, damaged(n.partition(p), fmt.Sprintf("of %d partitions; revision %d", s.shared.Partitions, r.revision))
		}
	}
	s.partitions = make([]partitionRecord, s.shared.Partitions)
	for p := range s.partitions {
		r, ok := found[p]
		if !ok {
			return nil, damaged(n.partition(p), "it is missing")
		}
		s.partitions[p] = r
	}
	return s, nil
}

func (s *subscriptionState) add(part string, r Record, partitions map[int]partitionRecord) error {
	switch p, err := strconv.Atoi(part); {
	case r.RecordKey == s.name.shared():
		s.revision = r.Revision
		return decodeState(r, &s.shared)
	case err == nil && r.RecordKey == s.name.partition(p):
		record, err := partitionOfRecord(r)
		partitions[p] = record
		return err
	case strings.HasPrefix(part, instancePrefix):
		s.instances = append(s.instances, instanceRecord{part: part, revision: r.Revision, changedAt: r.ChangedAt})
		return decodeState(r, &s.instances[len(s.instances)-1].instanceState)
	}
	return damaged(r.RecordKey, "no subscription has such a part")
}

func partitionOfRecord(r Record) (partitionRecord, error) {
	record := partitionRecord{revision: r.Revision, changedAt: r.ChangedAt}
	return record, decodeState(r, &record.partitionState)
}

// readPartition reads the record of one partition; its revision is 0 if there is
// none.
func (n subscriptionName) readPartition(ctx context.Context, ex Executor, partition int) (r partitionRecord, err error) {
	q := RecordQuery{Kind: subscriptionKind, Key: n.key, Limit: 1}
	switch {
	case partition > 0:
		q.After = n.partition(partition - 1)
	case n.prefix != "":
		q.After = n.before(subscriptionKind)
	default:
		q.After = n.shared()
	}
	page, err := ex.Records(ctx, q)
	if err != nil || len(page.Records) == 0 || page.Records[0].RecordKey != n.partition(partition) {
		return r, err
	}
	return partitionOfRecord(page.Records[0])
}

// newRecords returns the changes that make a subscription's records. They are made
// together, so that Remove finds all of them.
func (n subscriptionName) newRecords(shared sharedState, at cursor.Value, position uint64) []Change {
	changes := []Change{{RecordKey: n.shared(), Value: encodeState(shared)}}
	for p := range shared.Partitions {
		r := partitionRecord{partitionState: partitionState{Cursor: at, Position: position}}
		changes = append(changes, r.change(n, p))
	}
	return changes
}
