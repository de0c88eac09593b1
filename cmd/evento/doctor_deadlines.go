// How doctor reads the records of deadlines.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/examine"
)

// A deadline has two records, which are written together. The own record is that of the
// aggregate, and names the due record, which has the fact.
const (
	deadlineKind = "deadline" // hash of the aggregate, name → ownDeadline
	dueKind      = "due"      // time, hash of aggregate, name and cause → dueDeadline

	dueFormat = "2006-01-02T15:04:05.000000Z" // of the time
)

// ownDeadline is the value of an own record: the key of the due one.
type ownDeadline struct {
	Due  string `json:"due"`
	Part string `json:"part"`
}

// dueDeadline is the value of a due record.
type dueDeadline struct {
	Type     string          `json:"type"`
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Revision uint64          `json:"revision"`
	Event    string          `json:"event"`
	Codec    string          `json:"codec"`
	Data     []byte          `json:"data"`
	Tags     []string        `json:"tags"`
	Metadata evento.Metadata `json:"metadata"`

	at time.Time
}

// deadlinePair are the keys of the records of a deadline. Each record has both.
type deadlinePair struct{ own, due evento.RecordKey }

// pairOfOwn reads an own record.
func pairOfOwn(r *evento.Record) (p deadlinePair, err error) {
	var own ownDeadline
	if err := json.Unmarshal(r.Value, &own); err != nil {
		return p, err
	}
	p = deadlinePair{r.RecordKey, evento.RecordKey{Kind: dueKind, Key: own.Due, Part: own.Part}}
	if _, err := dueTime(own.Due); err != nil {
		return p, err
	}
	return p, p.check()
}

// pairOfDue reads a due record.
func pairOfDue(r *evento.Record) (p deadlinePair, d dueDeadline, err error) {
	if err := json.Unmarshal(r.Value, &d); err != nil {
		return p, d, err
	}
	p = deadlinePair{evento.RecordKey{Kind: deadlineKind, Key: evento.HashIDs(d.Type, d.ID), Part: d.Name}, r.RecordKey}
	if d.at, err = dueTime(r.Key); err != nil {
		return p, d, err
	}
	if evento.HashIDs(d.Type, d.ID, d.Name, d.Metadata.CausationID) != r.Part {
		return p, d, errors.New("it is of another deadline")
	}
	return p, d, p.check()
}

func dueTime(text string) (time.Time, error) {
	at, err := time.Parse(dueFormat, text)
	if err == nil && at.Format(dueFormat) != text {
		err = fmt.Errorf("%q is not a time in microseconds", text)
	}
	return at, err
}

// check returns an error for keys that the library cannot have written.
func (p *deadlinePair) check() error {
	if p.own.Part == "" || p.due.Part == "" {
		return errors.New("a part is empty")
	}
	var swap evento.Swap
	for _, key := range []evento.RecordKey{p.own, p.due} {
		swap.Changes = append(swap.Changes, evento.Change{RecordKey: key, Revision: 1, Remove: true})
	}
	return swap.Check()
}

// deadlines reports deadlines that do not come true, and damaged records. It reads the own
// records, and then the due ones. Others may change them meanwhile, so it looks again at
// those that seem to be alone. When there are too many for the memory, it does so again for
// the rest.
func (d *doctor) deadlines(ctx context.Context, x examined) (err error) {
	c := &deadlineCheck{d: d, x: x, seed: maphash.MakeSeed(), alone: map[uint64]bool{}, most: max(d.memory<<20/deadlineBytes, 1), first: true}
	if c.now, err = x.Now(ctx); err != nil {
		return err
	}
	for more := true; more; more = c.share.Next() {
		for _, pass := range []func(context.Context) error{c.readOwn, c.readDue, c.readAlone} {
			if err := pass(ctx); err != nil {
				return err
			}
		}
		c.first = false
		clear(c.alone)
	}
	if c.overdue == 0 {
		return nil
	}
	return d.found(finding{warning, "deadline", "", fmt.Sprintf("%d deadlines have been due for more than a minute; the first is %s", c.overdue, c.firstDue),
		"run evento.RunDeadlines in a process of the application; if one does, its log says why they do not come true"})
}

const (
	// mostLate is how late a deadline may be.
	mostLate = time.Minute
	// deadlineBytes is about the memory that a deadline takes in the map of those that are alone.
	deadlineBytes = 24
)

type deadlineCheck struct {
	d        *doctor
	x        examined
	now      time.Time
	seed     maphash.Seed
	share    examine.Share
	most     int
	alone    map[uint64]bool // hashes of the pairs of which only the own record was read
	first    bool            // it is the first pass
	overdue  int
	firstDue string // of those that are overdue
}

func (c *deadlineCheck) hash(p deadlinePair) uint64 { return maphash.Comparable(c.seed, p) }

// records calls each for the records of a kind. Those that are damaged are told of by
// themselves.
func (c *deadlineCheck) records(ctx context.Context, kind string, each func(*evento.Record) error) error {
	return c.x.Records(ctx, kind, func(r *examine.Record) error {
		if len(r.Faults) > 0 {
			return nil
		}
		return each(&r.Record)
	})
}

func (c *deadlineCheck) readOwn(ctx context.Context) error {
	return c.records(ctx, deadlineKind, func(r *evento.Record) error {
		p, err := pairOfOwn(r)
		if err != nil {
			return c.unreadable(r, err)
		}
		hash := c.hash(p)
		for c.share.Has(hash) && len(c.alone) >= c.most && c.share.Halve(0) {
			maps.DeleteFunc(c.alone, func(hash uint64, _ bool) bool { return !c.share.Has(hash) })
		}
		if c.share.Has(hash) {
			c.alone[hash] = true
		}
		return nil
	})
}

func (c *deadlineCheck) readDue(ctx context.Context) error {
	return c.records(ctx, dueKind, func(r *evento.Record) error {
		p, due, err := pairOfDue(r)
		if err != nil {
			return c.unreadable(r, err)
		}
		if hash := c.hash(p); c.share.Has(hash) {
			return c.due(ctx, r, p, &due, hash)
		}
		return nil
	})
}

func (c *deadlineCheck) due(ctx context.Context, r *evento.Record, p deadlinePair, due *dueDeadline, hash uint64) error {
	if c.alone[hash] {
		delete(c.alone, hash)
	} else if lacks, err := c.lacksOwn(ctx, r, p); err != nil {
		return err
	} else if lacks {
		return c.damaged(due.Type+" "+due.ID, fmt.Sprintf("deadline %s, due at %s: no record of kind %s names its record, so it does not come true", due.Name, p.due.Key, deadlineKind))
	}
	if c.now.Sub(due.at) > mostLate {
		if c.overdue++; c.overdue == 1 {
			c.firstDue = fmt.Sprintf("%s of %s %s, of %s", due.Name, due.Type, due.ID, p.due.Key)
		}
	}
	return nil
}

// readAlone reports the own records whose due ones were not read, and that are there still:
// a deadline that is set again has another due record.
func (c *deadlineCheck) readAlone(ctx context.Context) error {
	if len(c.alone) == 0 {
		return nil
	}
	return c.records(ctx, deadlineKind, func(r *evento.Record) error {
		p, err := pairOfOwn(r)
		if err != nil || !c.alone[c.hash(p)] {
			return nil //nolint:nilerr // readOwn has told of it
		}
		return c.damaged("", fmt.Sprintf("record %s %q %q: the record that it names, of %s, is missing or damaged, so the deadline does not come true, and setting or clearing it fails", deadlineKind, p.own.Key, p.own.Part, p.due.Key))
	})
}

// lacksOwn reports whether a due record is alone: no own record names it, and it was the
// same before and after that was looked for.
func (c *deadlineCheck) lacksOwn(ctx context.Context, due *evento.Record, p deadlinePair) (bool, error) {
	own, err := c.x.Record(ctx, p.own)
	if err != nil {
		return false, err
	}
	if own != nil {
		if other, err := pairOfOwn(&own.Record); err == nil && other == p {
			return false, nil
		}
	}
	now, err := c.x.Record(ctx, p.due)
	return now != nil && now.ChangedAt.Equal(due.ChangedAt) && bytes.Equal(now.Value, due.Value), err
}

func (c *deadlineCheck) unreadable(r *evento.Record, why error) error {
	if !c.first {
		return nil
	}
	return c.damaged("", fmt.Sprintf("record %s %q %q cannot be read: %s", r.Kind, r.Key, r.Part, strings.TrimPrefix(why.Error(), "evento: ")))
}

func (c *deadlineCheck) damaged(subject, detail string) error {
	return c.d.found(finding{severe, "deadline", subject, detail, "restore a backup, or remove the record in the database, which gives the deadline up"})
}
