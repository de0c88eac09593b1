// Whether the keys of a store agree with its events.

package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/examine"
)

// Meta calls found if the store's description is not one, and for keys of no kind that there
// is.
func (in *Inspector) Meta(ctx context.Context, found func(detail string) error) error {
	value, err := get(in.db, in.keys.meta())
	switch {
	case err != nil:
		return err
	case value == nil:
		err = found("the key of the store's description, with its identity, is missing")
	case len(value) != 4+len(evento.ID{}):
		err = found(fmt.Sprintf("the store's description has %d bytes and not %d", len(value), 4+len(evento.ID{})))
	case binary.BigEndian.Uint32(value) != format:
		err = found(fmt.Sprintf("the store's description says that it has format %d, and there is %d", binary.BigEndian.Uint32(value), format))
	}
	if err != nil {
		return err
	}
	prefix := []byte(in.keys.prefix)
	from := prefix
	known := []byte{aggregateKey, recordKey, eventKey, tagKey, kindKey, metaKey, routingKey, snapshotKey}
	if in.keys.prefix == indexPrefix {
		known = append(known, entryKey)
	}
	slices.Sort(known)
	for _, letter := range known {
		section := in.keys.begin(letter)
		if err := in.strangers(ctx, from, section, found); err != nil {
			return err
		}
		if from = end(section); letter == metaKey {
			from = slices.Concat(section, []byte{0})
		}
	}
	return in.strangers(ctx, from, end(prefix), found)
}

// strangers calls found for the keys in a range where there are to be none.
func (in *Inspector) strangers(ctx context.Context, from, to []byte, found func(detail string) error) error {
	return in.scan(ctx, from, to, func(key, _ []byte) error {
		return found(fmt.Sprintf("the key %q is of no kind that there is", key))
	})
}

// Indexes calls found for each key of an index that is no event's, for each event under its
// aggregate that is not the event at its position, and for each event that an index lacks. It
// needs the memory of a few events.
//
// It goes through events and indexes in the order of their keys, and compares sums. Only if
// these differ, it looks for the event of each key, which takes ten times as long.
func (in *Inspector) Indexes(ctx context.Context, found func(detail string) error) error {
	c := &indexCheck{in: in, found: found, seed: maphash.MakeSeed()}
	if same, err := c.sums(ctx); err != nil || same {
		return err
	}
	err := in.scan(ctx, in.keys.events(), end(in.keys.events()), func(key, value []byte) error {
		c.want += len(c.keysOf(key, value))
		return nil
	})
	if err == nil {
		err = in.indexes(ctx, c.index)
	}
	if err != nil || c.good == c.want {
		return err
	}
	// Some event lacks a key: which?
	return in.scan(ctx, in.keys.events(), end(in.keys.events()), c.lacking)
}

// indexes calls each for the keys of all indexes.
func (in *Inspector) indexes(ctx context.Context, each func(key, value []byte) error) error {
	for _, letter := range []byte{aggregateKey, kindKey, routingKey, tagKey} {
		beginning := in.keys.begin(letter)
		if err := in.scan(ctx, beginning, end(beginning), each); err != nil {
			return err
		}
	}
	return nil
}

// indexCheck counts the keys that events have and are to have.
type indexCheck struct {
	in         *Inspector
	found      func(string) error
	seed       maphash.Seed
	want, good int
}

// sums reports whether the keys of the indexes, and the events under their aggregates, are
// those that the events are to have, by their number and the sum of their hashes.
func (c *indexCheck) sums(ctx context.Context) (same bool, err error) {
	var want, is [2]uint64
	add := func(to *[2]uint64, key, value []byte) {
		sum := maphash.Bytes(c.seed, key)
		if key[len(c.in.keys.prefix)] == aggregateKey {
			sum = maphash.Comparable(c.seed, [2]uint64{sum, maphash.Bytes(c.seed, value)})
		}
		to[0]++
		to[1] += sum
	}
	err = c.in.scan(ctx, c.in.keys.events(), end(c.in.keys.events()), func(key, value []byte) error {
		for _, k := range c.keysOf(key, value) {
			add(&want, k, value)
		}
		return nil
	})
	if err == nil {
		err = c.in.indexes(ctx, func(key, value []byte) error {
			add(&is, key, value)
			return nil
		})
	}
	return want == is, err
}

// keysOf are the keys that an event has in the indexes; nil: it cannot be read.
func (c *indexCheck) keysOf(key, value []byte) [][]byte {
	e := c.in.event(key, value)
	if e.Lacks(examine.Position, examine.Data, examine.Tags) {
		return nil
	}
	k := c.in.keys
	list := [][]byte{at(k.aggregate(e.AggregateType, e.AggregateID), e.Position), at(k.kind(e.AggregateType, e.Name), e.Position)}
	if e.RoutingKey != "" {
		list = append(list, at(k.routing(e.RoutingKey), e.Position))
	}
	for _, tag := range e.Tags {
		list = append(list, at(k.tag(tag), e.Position))
	}
	return list
}

// index looks at a key of an index.
func (c *indexCheck) index(key, value []byte) error {
	what := map[byte]string{aggregateKey: "aggregates", kindKey: "kinds of events", routingKey: "routing keys", tagKey: "tags"}[key[len(c.in.keys.prefix)]]
	if len(key) < len(c.in.keys.prefix)+1+positionLen {
		return c.found(fmt.Sprintf("the key %q of the index of %s has no position", key, what))
	}
	eventsKey := at(c.in.keys.events(), positionOf(key))
	event, closer, err := c.in.db.Get(eventsKey)
	if errors.Is(err, lsm.ErrNotFound) {
		return c.found(fmt.Sprintf("the index of %s has position %d, where there is no event: the key %q", what, positionOf(key), key))
	}
	if err != nil {
		return err
	}
	keys := c.keysOf(eventsKey, event)
	same := key[len(c.in.keys.prefix)] != aggregateKey || bytes.Equal(event, value)
	if err := closer.Close(); err != nil || keys == nil { // that event is told of by itself
		return err
	}
	switch {
	case !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) }):
		return c.found(fmt.Sprintf("the index of %s has position %d under a name that the event there does not have: the key %q", what, positionOf(key), key))
	case !same:
		c.good++ // it is there
		return c.found(fmt.Sprintf("the event under the key %q is not the one at position %d", key, positionOf(key)))
	}
	c.good++
	return nil
}

// lacking looks for the keys of an event.
func (c *indexCheck) lacking(key, value []byte) error {
	for _, k := range c.keysOf(key, value) {
		_, closer, err := c.in.db.Get(k)
		switch {
		case errors.Is(err, lsm.ErrNotFound):
			err = c.found(fmt.Sprintf("the event at position %d is missing in an index: the key %q", positionOf(key), k))
		case err == nil:
			err = closer.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
