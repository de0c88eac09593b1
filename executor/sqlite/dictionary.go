// Names that the tables hold as small integers.

package sqlite

import (
	"errors"
	"fmt"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// aggregate is what an aggregate's key stands for.
type aggregate struct {
	typeID int64
	id     string
}

// dictionary caches names that are committed. They never change, so what is
// in it is right for every connection; what is not in it may still be in the
// file. It is safe for concurrent use.
type dictionary struct {
	mu         sync.RWMutex
	names      sqlstore.Names
	lastKind   int64                         // every kind up to here is in the cache
	aggregates store.Cache[int64, aggregate] // by key
	keys       store.Cache[aggregate, int64]
}

func newDictionary() *dictionary {
	return &dictionary{
		aggregates: store.NewCache[int64, aggregate](1 << 16),
		keys:       store.NewCache[aggregate, int64](1 << 16),
	}
}

// refresh reads the kinds and types that were added since.
func (d *dictionary) refresh(c *conn) error {
	v, _, err := c.query("SELECT max(id) FROM evento_kind", 1)
	if err != nil {
		return err
	}
	d.mu.RLock()
	last := d.lastKind
	d.mu.RUnlock()
	if v[0] <= last {
		return nil
	}
	s, err := c.stmt("SELECT k.id, k.type_id, k.name, t.name FROM evento_kind k JOIN evento_type t ON t.id = k.type_id WHERE k.id > ? ORDER BY k.id")
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	err = s.BindInt64(1, last)
	for err == nil && s.Step() {
		d.names.AddType(s.ColumnInt64(1), evento.AggregateType(s.ColumnText(3)))
		d.names.AddKind(s.ColumnInt64(0), sqlstore.Kind{TypeID: s.ColumnInt64(1), Name: s.ColumnText(2)})
	}
	if err = errors.Join(err, s.Err()); err == nil {
		d.lastKind = max(d.lastKind, v[0])
	}
	return errors.Join(err, c.done(s))
}

// learn takes over names that are committed.
func (d *dictionary) learn(names *sqlstore.Names) {
	if names.Empty() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names.Merge(names)
}

// typeID finds a type; 0 when no event has it.
func (d *dictionary) typeID(c *conn, t evento.AggregateType) (int64, error) {
	d.mu.RLock()
	id, ok := d.names.TypeID(t)
	d.mu.RUnlock()
	if ok {
		return id, nil
	}
	v, found, err := c.query("SELECT id FROM evento_type WHERE name = ?", 1, string(t))
	if err != nil || !found {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names.AddType(v[0], t)
	return v[0], nil
}

// routingID finds a routing key; 0 when no aggregate has it.
func (d *dictionary) routingID(c *conn, key string) (int64, error) {
	d.mu.RLock()
	id, ok := d.names.RoutingID(key)
	d.mu.RUnlock()
	if ok {
		return id, nil
	}
	v, found, err := c.query("SELECT id FROM evento_routing WHERE key = ?", 1, key)
	if err != nil || !found {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names.AddRouting(v[0], key)
	return v[0], nil
}

// routingKey is the key that an id stands for; "" for 0.
func (d *dictionary) routingKey(c *conn, id int64) (key string, err error) {
	d.mu.RLock()
	key, ok := d.names.Routing(id)
	d.mu.RUnlock()
	if ok || id == 0 {
		return key, nil
	}
	s, err := c.stmt("SELECT key FROM evento_routing WHERE id = ?")
	if err != nil {
		return "", err
	}
	if err = s.BindInt64(1, id); err == nil && s.Step() {
		key = s.ColumnText(0)
	}
	return key, errors.Join(err, s.Err(), c.done(s))
}

// kindsFor lists the kinds that a filter asks for; of a filter that names an
// aggregate and no event, none, as its kinds need not be known.
func (d *dictionary) kindsFor(c *conn, f evento.Filter) ([]int64, error) {
	if f.Name == "" && f.AggregateID != "" {
		return nil, nil
	}
	if f.Name != "" {
		d.mu.RLock()
		typeID, _ := d.names.TypeID(f.AggregateType)
		id, ok := d.names.KindID(sqlstore.Kind{TypeID: typeID, Name: f.Name})
		d.mu.RUnlock()
		if ok {
			return []int64{id}, nil
		}
	}
	if err := d.refresh(c); err != nil {
		return nil, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	typeID, _ := d.names.TypeID(f.AggregateType)
	if f.Name == "" {
		return d.names.KindsOf(typeID), nil
	}
	if id, ok := d.names.KindID(sqlstore.Kind{TypeID: typeID, Name: f.Name}); ok {
		return []int64{id}, nil
	}
	return nil, nil
}

// aggregateKey finds an aggregate; 0 when it has no events.
func (d *dictionary) aggregateKey(c *conn, t evento.AggregateType, id string) (int64, error) {
	typeID, err := d.typeID(c, t)
	if err != nil || typeID == 0 {
		return 0, err
	}
	a := aggregate{typeID, id}
	d.mu.RLock()
	key, ok := d.keys.Get(a)
	d.mu.RUnlock()
	if ok {
		return key, nil
	}
	v, found, err := c.query("SELECT key FROM evento_aggregate WHERE type_id = ? AND id = ?", 1, typeID, id)
	if err != nil || !found {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys.Put(a, v[0])
	return v[0], nil
}

// resolve fills in the names of events, reading those that the cache has not.
func (d *dictionary) resolve(c *conn, rows []row, edges []cursor.Edge[evento.RawEvent]) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for i := range rows {
		r, e := &rows[i], &edges[i].Node
		k, typeName, kindKnown := d.names.Kind(r.kindID)
		a, known := d.aggregates.Get(r.aggKey)
		routingKnown := r.routingID == 0
		if !routingKnown {
			e.RoutingKey, routingKnown = d.names.Routing(r.routingID)
		}
		if !kindKnown || !known || !routingKnown {
			d.mu.RUnlock()
			var err error
			a, e.RoutingKey, err = d.fetch(c, r)
			d.mu.RLock()
			if err != nil {
				return err
			}
			k, typeName, _ = d.names.Kind(r.kindID)
		}
		e.AggregateType, e.Name = typeName, k.Name
		e.AggregateID = a.id
	}
	return nil
}

// fetch reads what one event refers to.
func (d *dictionary) fetch(c *conn, r *row) (a aggregate, routingKey string, err error) {
	if err := d.refresh(c); err != nil {
		return a, "", err
	}
	d.mu.RLock()
	_, _, known := d.names.Kind(r.kindID)
	d.mu.RUnlock()
	if !known {
		return a, "", fmt.Errorf("event at position %d: kind %d is not in the dictionary", r.position, r.kindID)
	}
	s, err := c.stmt("SELECT a.type_id, a.id, r.id, r.key FROM evento_aggregate a LEFT JOIN evento_routing r ON r.id = a.routing_id WHERE a.key = ?")
	if err != nil {
		return a, "", err
	}
	err = s.BindInt64(1, r.aggKey)
	switch {
	case err != nil:
	case s.Step():
		a, routingKey = aggregate{s.ColumnInt64(0), s.ColumnText(1)}, s.ColumnText(3)
		d.mu.Lock()
		d.aggregates.Put(r.aggKey, a)
		if id := s.ColumnInt64(2); id != 0 {
			d.names.AddRouting(id, routingKey)
		}
		d.mu.Unlock()
	case s.Err() == nil:
		err = fmt.Errorf("event at position %d: aggregate %d is not in the dictionary", r.position, r.aggKey)
	}
	return a, routingKey, errors.Join(err, s.Err(), c.done(s))
}
