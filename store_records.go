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

// RecordKey names a record. Records with different keys never meet.
type RecordKey struct {
	// Kind says what it is about, such as "subscription".
	Kind string
	// Key is whose it is, such as the subscription's.
	Key string
	// Part tells several of one Key apart; "" is one too.
	Part string
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

// Record is a small piece of state that is neither an event nor a snapshot:
// who owns a subscription and how far it is. It is changed by comparing and
// swapping, so that whoever acted on an old state changes nothing.
type Record struct {
	RecordKey
	// Revision counts its changes: 1 when it was made.
	Revision uint64
	// ChangedAt is when that was, by the store's clock as it was then, which may
	// be set back; in UTC, to the millisecond or finer.
	ChangedAt time.Time
	Value     []byte
}

// RecordQuery chooses records of one kind.
type RecordQuery struct {
	Kind string
	// Key chooses those of one Key; "" chooses all.
	Key string
	// After goes on behind a record, which need not exist; the zero value begins
	// with the first. Unlike what is stored, it may have empty and long texts and
	// control characters: whoever reads page by page has it from the store, which
	// others can write to.
	After RecordKey
	// Limit is the most records in the page, up to [MaxRecords]. 0: MaxRecords.
	Limit int
}

// Check returns an error for a query that no store takes. Executors call it
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
	Records []Record
	// More: there are records behind these.
	More bool
	// Now is the time of the store's clock. It is before ChangedAt of a record
	// that was changed before the clock was set back.
	Now time.Time
}

// Swap changes records together.
type Swap struct {
	Changes []Change
	// Wake wakes those who wait on Changed, once it is done.
	Wake bool
}

// Change is what a Swap does to one record.
type Change struct {
	RecordKey
	// Revision is what the record is expected to be at; 0: there is none.
	// Afterwards it is one higher.
	Revision uint64
	Value    []byte
	// Remove removes the record instead. One of the same key made later
	// begins at revision 1 again.
	Remove bool
}

// Check returns an error for a swap that some store could not make. Executors
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

// readRecord is a record as a page had it.
type readRecord struct {
	Record
	now time.Time // of the store's clock, when the page was read
}

// records ranges over the records of a query, page after page. At most one error is
// yielded, and it is last; records that are changed meanwhile are in it or not.
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
