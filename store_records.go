// Records: the state of subscriptions, as executors store it.

package evento

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"time"
)

// Limits of records.
const (
	// MaxRecord is the most bytes in a record's value.
	MaxRecord = 64 << 10
	// MaxSwap is the most records in one Swap.
	MaxSwap = 100
	// MaxRecords is the most records in one page.
	MaxRecords = 1000
)

// RecordKey identifies a record.
type RecordKey struct {
	// Kind is the kind of state, such as "subscription".
	Kind string `json:"kind"`
	// Key is what the state belongs to, such as the subscription's key.
	Key string `json:"key"`
	// Part distinguishes several records of one Key; "" is a part too.
	Part string `json:"part"`
}

// Compare orders keys by Kind, Key and Part, each bytewise.
func (k RecordKey) Compare(other RecordKey) int {
	return cmp.Or(cmp.Compare(k.Kind, other.Kind), cmp.Compare(k.Key, other.Key), cmp.Compare(k.Part, other.Part))
}

func (k RecordKey) check() error {
	if err := checkName("record kind", k.Kind); err != nil {
		return err
	}
	if err := checkName("record key", k.Key); err != nil {
		return err
	}
	if k.Part == "" {
		return nil
	}
	return checkName("record part", k.Part)
}

// Record is a small piece of state that is neither an event nor a snapshot: who
// owns a subscription and how far it is. It is changed by compare-and-swap, so that
// nobody can change it on the basis of an older revision.
//
// Why: docs/decisions.md, "Subscriptions are records that are compared and swapped".
type Record struct {
	RecordKey
	// Revision counts the changes: 1 for a new record.
	Revision uint64 `json:"revision"`
	// ChangedAt is the time of the last change by the store's clock, which may have
	// been set back since; in UTC, to the millisecond or finer.
	ChangedAt time.Time `json:"changedAt"`
	Value     []byte    `json:"value"`
}

// RecordQuery chooses records of one kind.
type RecordQuery struct {
	Kind string
	// Key selects the records of one Key; "" selects all.
	Key string
	// After is the key after which the page begins. No record needs to have it; the
	// zero value begins at the first record. Its texts may be empty or long and
	// have control characters, unlike stored ones: readers take it from the page
	// before, and other programs may write to the store.
	After RecordKey
	// Limit is the most records in the page, up to [MaxRecords]. 0: MaxRecords.
	Limit int
}

// Check returns an error for a query that no store accepts. Executors call it
// first.
func (q RecordQuery) Check() error {
	if err := (RecordKey{Kind: q.Kind, Key: cmp.Or(q.Key, "-")}).check(); err != nil {
		return err
	}
	if err := checkAfter(q.After.Kind, q.After.Key, q.After.Part); err != nil {
		return err
	}
	if q.Limit < 0 || q.Limit > MaxRecords {
		return fmt.Errorf("%w limit: %d records, 0 to %d are allowed", ErrInvalid, q.Limit, MaxRecords)
	}
	return nil
}

// RecordPage is what Records returns.
type RecordPage struct {
	Records []Record `json:"records"`
	// More: there are further records after these.
	More bool `json:"more"`
	// Now is the time of the store's clock. A record may have a later ChangedAt, if
	// the clock was set back.
	Now time.Time `json:"now"`
}

// Swap changes records together.
type Swap struct {
	Changes []Change
	// Wake signals Changed after the swap.
	Wake bool
}

// Change is what a Swap does to one record.
type Change struct {
	RecordKey
	// Revision is the revision that the record must have; 0: it must not exist. The
	// change increments it.
	Revision uint64
	Value    []byte
	// Remove removes the record. A new record with the same key begins at revision
	// 1.
	Remove bool
}

// Check returns an error for a swap that some store could not execute. Executors
// call it first.
func (s Swap) Check() error {
	if len(s.Changes) == 0 || len(s.Changes) > MaxSwap {
		return fmt.Errorf("%w swap: %d records, 1 to %d are allowed", ErrInvalid, len(s.Changes), MaxSwap)
	}
	seen := make(map[RecordKey]bool, len(s.Changes))
	for _, c := range s.Changes {
		if err := c.check(); err != nil {
			return err
		}
		switch {
		case seen[c.RecordKey]:
			return fmt.Errorf("%w swap: record %s %s %q is in it twice", ErrInvalid, c.Kind, shorten(c.Key), c.Part)
		case c.Remove && c.Revision == 0:
			return fmt.Errorf("%w swap: record %s %s %q is to be removed and not to exist", ErrInvalid, c.Kind, shorten(c.Key), c.Part)
		case len(c.Value) > MaxRecord:
			return fmt.Errorf("%w: record %s %s %q of %d bytes, at most %d are allowed", ErrTooLarge, c.Kind, shorten(c.Key), c.Part, len(c.Value), MaxRecord)
		case c.Revision > maxVersion:
			return fmt.Errorf("%w revision: %d", ErrInvalid, c.Revision)
		}
		seen[c.RecordKey] = true
	}
	return nil
}

// readRecord is a record as it was read in a page.
type readRecord struct {
	Record
	now time.Time // of the store's clock, when the page was read
}

// records ranges over the records of a query, page after page. At most one error is
// yielded, and it is last. A record that is changed meanwhile may or may not be
// yielded.
func records(ctx context.Context, ex Executor, q RecordQuery) iter.Seq2[readRecord, error] {
	return func(yield func(readRecord, error) bool) {
		for q := q; ; {
			page, err := ex.Records(ctx, q)
			if err != nil {
				yield(readRecord{}, err)
				return
			}
			for _, r := range page.Records {
				if !yield(readRecord{r, page.Now}, nil) {
					return
				}
				q.After = r.RecordKey
			}
			if !page.More {
				return
			}
		}
	}
}
