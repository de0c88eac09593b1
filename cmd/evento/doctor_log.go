// How doctor reads the events.

package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
)

// logCheck reads the events up to a head, in one pass or several.
type logCheck struct {
	d        *doctor
	head     uint64
	versions *versions
	codecs   map[string]bool // codecs of the application that were reported
	told     map[uint64]bool // hashes of aggregates that were reported
	partial  bool            // reading did not begin at the first event

	position uint64 // of the last event
	at       time.Time
	tags     sqlstore.TagSums // of the events
}

func newLogCheck(d *doctor, head uint64) *logCheck {
	return &logCheck{d: d, head: head, versions: newVersions(d.memory << 20 / versionBytes), codecs: map[string]bool{}, told: map[uint64]bool{}}
}

// tail reads the last events.
func (l *logCheck) tail(ctx context.Context) error {
	page, err := l.d.s.ex.Read(ctx, evento.Query{}, cursor.Backward(fastEvents, ""))
	if err != nil {
		return err
	}
	l.partial = page.PageInfo.HasPreviousPage
	for i := range page.Edges {
		e := &page.Edges[i].Node
		if l.partial && i == 0 {
			l.position = e.Position - 1
		}
		if err := l.event(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// all reads every event, and reads again for the aggregates that did not fit in
// memory.
//
// Why: docs/decisions.md, "Doctor counts versions by hash".
func (l *logCheck) all(ctx context.Context) error {
	check := l.event
	for {
		for e, err := range l.d.s.edges(ctx, evento.Query{}) {
			if err != nil {
				return err
			}
			if e.Node.Position > l.head {
				break // committed since
			}
			if err := check(ctx, &e.Node); err != nil {
				return err
			}
		}
		if !l.versions.next() {
			return nil
		}
		check = l.version
	}
}

// event makes all checks of an event.
func (l *logCheck) event(ctx context.Context, e *evento.RawEvent) error {
	l.d.events++
	l.tags.Add(e.Position, e.Tags)
	for _, check := range []func(*evento.RawEvent) error{l.order, l.payload} {
		if err := check(e); err != nil {
			return err
		}
	}
	return l.version(ctx, e)
}

func (l *logCheck) order(e *evento.RawEvent) error {
	last, at := l.position, l.at
	l.position, l.at = e.Position, e.Timestamp
	switch {
	case e.Position <= last:
		return l.d.found(finding{severe, "position", "", fmt.Sprintf("event %s has position %d and comes behind %d", e.ID, e.Position, last), "the store's index is damaged: restore a backup"})
	case e.Position > last+1:
		err := l.d.found(finding{warning, "position", "", fmt.Sprintf("there are no events from position %d to %d", last+1, e.Position-1), "they were removed by hand, if the store was not imported so: compare with a backup"})
		if err != nil {
			return err
		}
	}
	if e.Timestamp.Before(at) {
		return l.d.found(finding{severe, "timestamp", "", fmt.Sprintf("position %d is of %s, earlier than the event before it, of %s", e.Position, showTime(e.Timestamp), showTime(at)), "AsOf and resets to a time may miss events around it: restore a backup"})
	}
	return nil
}

func (l *logCheck) payload(e *evento.RawEvent) error {
	err := checkPayload(e)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errCodec):
		if l.codecs[e.Codec] {
			return nil
		}
		l.codecs[e.Codec] = true
		return l.d.found(finding{note, "payload", "codec " + e.Codec, fmt.Sprintf("payloads of this codec, the first at position %d, cannot be checked", e.Position), ""})
	}
	return l.d.found(finding{severe, "payload", subjectOf(e), fmt.Sprintf("%s, version %d at position %d, is no %s: %s", e.Name, e.Version, e.Position, e.Codec, err), "what loads it fails; evento events show " + number(e.Position) + " shows its bytes"})
}

func subjectOf(e *evento.RawEvent) string { return string(e.AggregateType) + " " + e.AggregateID }

func (l *logCheck) version(ctx context.Context, e *evento.RawEvent) error {
	last, known, hash := l.versions.put(e)
	switch {
	case hash == 0: // checked in another pass
		return nil
	case e.Version == last+1, !known && l.partial:
		return nil
	case l.told[hash]:
		return nil
	}
	l.told[hash] = true
	// Two aggregates may have one hash: read the aggregate itself.
	want := uint64(1)
	for e, err := range l.d.s.edges(ctx, evento.Query{Filters: []evento.Filter{evento.ByID(e.AggregateType, e.AggregateID)}}) {
		if err != nil {
			return err
		}
		if e.Node.Version != want {
			return l.d.found(finding{severe, "version", subjectOf(&e.Node), fmt.Sprintf("version %d at position %d stands where version %d is expected", e.Node.Version, e.Node.Position, want), "events were removed, added or changed by hand: restore a backup"})
		}
		want++
	}
	return nil
}

// versionBytes is about the memory that one aggregate takes in the map of versions.
const versionBytes = 40

// versions are the last versions of aggregates, by hash. If there are too many,
// half of the hashes are left to a later pass.
type versions struct {
	seed maphash.Seed
	most int
	last map[uint64]uint64
	// This pass handles the hashes whose lowest bits equal part.
	bits uint
	part uint64
	todo []versionPart
}

type versionPart struct {
	bits uint
	part uint64
}

func newVersions(most int) *versions {
	return &versions{seed: maphash.MakeSeed(), most: most, last: map[uint64]uint64{}}
}

// put stores an event's version, and returns the aggregate's version before it and
// whether there was one. hash is 0 for an aggregate of another pass.
func (v *versions) put(e *evento.RawEvent) (last uint64, known bool, hash uint64) {
	var h maphash.Hash
	h.SetSeed(v.seed)
	_, _ = h.WriteString(string(e.AggregateType)) // never fails
	_ = h.WriteByte(0)
	_, _ = h.WriteString(e.AggregateID)
	hash = h.Sum64() | 1<<63 // never 0
	if !v.has(hash) {
		return 0, false, 0
	}
	last, known = v.last[hash]
	for !known && len(v.last) >= v.most && v.bits < 62 {
		if v.halve(); !v.has(hash) {
			return 0, false, 0
		}
	}
	v.last[hash] = e.Version
	return last, known, hash
}

func (v *versions) has(hash uint64) bool { return hash&(1<<v.bits-1) == v.part }

func (v *versions) halve() {
	v.todo = append(v.todo, versionPart{v.bits + 1, v.part | 1<<v.bits})
	v.bits++
	for hash := range v.last {
		if !v.has(hash) {
			delete(v.last, hash)
		}
	}
}

// next begins the next pass, and reports whether there is one.
func (v *versions) next() bool {
	n := len(v.todo)
	if n == 0 {
		return false
	}
	v.bits, v.part = v.todo[n-1].bits, v.todo[n-1].part
	v.todo = v.todo[:n-1]
	clear(v.last)
	return true
}
