// Names that the tables hold as small integers.

package mysql

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"sync"

	"github.com/evento-go/evento"
)

// kind is an event name of an aggregate type.
type kind struct {
	typeID int64
	name   string
}

// dictionary caches names that are committed and durable: a name that a crash
// of the server took back could get another number. They never change, so what
// is in it is right for every connection; what is not in it may still be in
// the tables. It is safe for concurrent use.
type dictionary struct {
	// base, if not nil, is looked in too. It is that of the executor, for one
	// of a caller's transaction, of which the names are not durable yet.
	base       *dictionary
	settle     func(context.Context, *session) error // makes what was read durable
	mu         sync.RWMutex
	types      map[int64]evento.AggregateType
	typeIDs    map[evento.AggregateType]int64
	kinds      map[int64]kind
	kindIDs    map[kind]int64
	kindsOf    map[int64][]int64 // by type; appended to, never written over
	lastKind   int64             // every kind up to here is in the cache
	routings   map[int64]string
	routingIDs map[string]int64
}

func newDictionary(base *dictionary, settle func(context.Context, *session) error) *dictionary {
	return &dictionary{
		base:       base,
		settle:     settle,
		types:      map[int64]evento.AggregateType{},
		typeIDs:    map[evento.AggregateType]int64{},
		kinds:      map[int64]kind{},
		kindIDs:    map[kind]int64{},
		kindsOf:    map[int64][]int64{},
		routings:   map[int64]string{},
		routingIDs: map[string]int64{},
	}
}

// refresh reads the kinds and types that were added since. Their ids rise in
// the order of commits, as they are made under the lock of the counter. A
// writer reads its own names too, which may be rolled back, hence outside.
func (d *dictionary) refresh(ctx context.Context, s *session) error {
	last := d.knownUpTo()
	type added struct {
		kind
		id       int64
		typeName evento.AggregateType
	}
	var list []added
	err := s.query(ctx, "SELECT k.id, k.type_id, k.name, t.name FROM evento_kind k JOIN evento_type t ON t.id = k.type_id WHERE k.id > ? ORDER BY k.id", []any{last},
		func(rows *sql.Rows) error {
			var a added
			if err := rows.Scan(&a.id, &a.typeID, &a.name, (*string)(&a.typeName)); err != nil {
				return err
			}
			list = append(list, a)
			return nil
		})
	if err != nil || len(list) == 0 {
		return err
	}
	if err := d.settle(ctx, s); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range list {
		d.addType(a.typeID, a.typeName)
		d.addKind(a.id, a.kind)
		d.lastKind = max(d.lastKind, a.id)
	}
	return nil
}

// merge takes over names that have become durable.
func (d *dictionary) merge(m *dictionary) {
	if len(m.types)+len(m.kinds)+len(m.routings) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, t := range m.types {
		d.addType(id, t)
	}
	for _, id := range slices.Sorted(maps.Keys(m.kinds)) {
		d.addKind(id, m.kinds[id])
	}
	d.lastKind = max(d.lastKind, m.lastKind)
	for id, key := range m.routings {
		d.routings[id], d.routingIDs[key] = key, id
	}
}

// learn takes over the names that a transaction has committed.
func (d *dictionary) learn(tx *transaction) {
	if len(tx.types)+len(tx.kinds)+len(tx.routings) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for t, id := range tx.types {
		d.addType(id, t)
	}
	for k, id := range tx.kinds {
		d.addKind(id, k)
	}
	for key, id := range tx.routings {
		d.routings[id], d.routingIDs[key] = key, id
	}
}

func (d *dictionary) addType(id int64, t evento.AggregateType) {
	d.types[id], d.typeIDs[t] = t, id
}

func (d *dictionary) addKind(id int64, k kind) {
	if _, known := d.kinds[id]; known {
		return
	}
	d.kinds[id], d.kindIDs[k] = k, id
	d.kindsOf[k.typeID] = append(d.kindsOf[k.typeID], id)
}

// knownType returns 0 for a type that is not known.
func (d *dictionary) knownType(t evento.AggregateType) int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if id, ok := d.typeIDs[t]; ok || d.base == nil {
		return id
	}
	return d.base.knownType(t)
}

func (d *dictionary) knownKind(k kind) (int64, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if id, ok := d.kindIDs[k]; ok || d.base == nil {
		return id, ok
	}
	return d.base.knownKind(k)
}

// knownRouting returns 0 for a key that is not known.
func (d *dictionary) knownRouting(key string) int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if id, ok := d.routingIDs[key]; ok || d.base == nil {
		return id
	}
	return d.base.knownRouting(key)
}

// knownKinds lists the kinds of a type.
func (d *dictionary) knownKinds(typeID int64) []int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.base == nil {
		return d.kindsOf[typeID]
	}
	kinds := slices.Concat(d.base.knownKinds(typeID), d.kindsOf[typeID])
	slices.Sort(kinds) // the base may have learned since
	return slices.Compact(kinds)
}

// knownUpTo is the last kind up to which all are known.
func (d *dictionary) knownUpTo() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.base == nil {
		return d.lastKind
	}
	return max(d.lastKind, d.base.knownUpTo())
}

// kind finds a kind and the name of its type; the lock is held.
func (d *dictionary) kind(id int64) (kind, evento.AggregateType, bool) {
	k, ok := d.kinds[id]
	if !ok && d.base != nil {
		d.base.mu.RLock()
		defer d.base.mu.RUnlock()
		return d.base.kind(id)
	}
	return k, d.types[k.typeID], ok
}

// routing finds a routing key; the lock is held.
func (d *dictionary) routing(id int64) (string, bool) {
	key, ok := d.routings[id]
	if !ok && d.base != nil {
		d.base.mu.RLock()
		defer d.base.mu.RUnlock()
		return d.base.routing(id)
	}
	return key, ok
}

// typeID reads the number of a type; 0: there is none.
func (s *session) typeID(ctx context.Context, t evento.AggregateType) (id int64, err error) {
	_, err = s.row(ctx, "SELECT id FROM evento_type WHERE name = ?", []any{string(t)}, &id)
	return id, err
}

// routingID reads the number of a routing key; 0: there is none.
func (s *session) routingID(ctx context.Context, key string) (id int64, err error) {
	_, err = s.row(ctx, "SELECT id FROM evento_routing WHERE name = ?", []any{key}, &id)
	return id, err
}

// typeID finds a type; 0 when there is none.
func (d *dictionary) typeID(ctx context.Context, s *session, t evento.AggregateType) (int64, error) {
	if id := d.knownType(t); id != 0 {
		return id, nil
	}
	id, err := s.typeID(ctx, t)
	if err == nil && id != 0 {
		err = d.settle(ctx, s)
	}
	if err != nil || id == 0 {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addType(id, t)
	return id, nil
}

// routingID finds a routing key; 0 when there is none.
func (d *dictionary) routingID(ctx context.Context, s *session, key string) (int64, error) {
	if id := d.knownRouting(key); id != 0 {
		return id, nil
	}
	id, err := s.routingID(ctx, key)
	if err == nil && id != 0 {
		err = d.settle(ctx, s)
	}
	if err != nil || id == 0 {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.routings[id], d.routingIDs[key] = key, id
	return id, nil
}

// kindsFor lists the kinds that a filter asks for. Of a filter by aggregate
// and without a name, none: its kinds need not be known.
func (d *dictionary) kindsFor(ctx context.Context, s *session, f evento.Filter) ([]int64, error) {
	if f.Name == "" && f.AggregateID != "" {
		return nil, nil
	}
	if f.Name != "" {
		if id, ok := d.knownKind(kind{d.knownType(f.AggregateType), f.Name}); ok {
			return []int64{id}, nil
		}
	}
	if err := d.refresh(ctx, s); err != nil {
		return nil, err
	}
	typeID := d.knownType(f.AggregateType)
	if f.Name == "" {
		return d.knownKinds(typeID), nil
	}
	if id, ok := d.knownKind(kind{typeID, f.Name}); ok {
		return []int64{id}, nil
	}
	return nil, nil
}
