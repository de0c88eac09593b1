// Names that the tables hold as small integers.

package mysql

import (
	"context"
	"database/sql"
	"slices"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// dictionary caches names that are committed and durable: a name that a crash
// of the server took back could get another number. They never change, so what
// is in it is right for every connection; what is not in it may still be in
// the tables. It is safe for concurrent use.
type dictionary struct {
	// base, if not nil, is looked in too. It is that of the executor, for one
	// of a caller's transaction, of which the names are not durable yet.
	base     *dictionary
	settle   func(context.Context, *session) error // makes what was read durable
	durable  *durable                              // nil for that of a transaction
	mu       sync.RWMutex
	names    sqlstore.Names
	lastKind int64 // every kind up to here is in the cache
	upTo     int64 // the kinds of all events up to this position are in the cache
}

func newDictionary(base *dictionary, settle func(context.Context, *session) error) *dictionary {
	return &dictionary{base: base, settle: settle}
}

// refresh reads the kinds and types that were added since. Their ids rise in
// the order of commits, as they are made under the lock of the counter. A
// writer reads its own names too, which may be rolled back, hence outside.
func (d *dictionary) refresh(ctx context.Context, s *session) error {
	last := d.knownUpTo()
	type added struct {
		sqlstore.Kind
		id       int64
		typeName evento.AggregateType
	}
	var list []added
	err := s.query(ctx, "SELECT k.id, k.type_id, k.name, t.name FROM evento_kind k JOIN evento_type t ON t.id = k.type_id WHERE k.id > ? ORDER BY k.id", []any{last},
		func(rows *sql.Rows) error {
			var a added
			if err := rows.Scan(&a.id, &a.TypeID, &a.Name, (*string)(&a.typeName)); err != nil {
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
		d.names.AddType(a.TypeID, a.typeName)
		d.names.AddKind(a.id, a.Kind)
		d.lastKind = max(d.lastKind, a.id)
	}
	return nil
}

// learn takes over names that have become durable. Every kind up to the last is
// known with them.
func (d *dictionary) learn(names *sqlstore.Names, lastKind int64) {
	if names.Empty() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names.Merge(names)
	d.lastKind = max(d.lastKind, lastKind)
}

// knownType returns 0 for a type that is not known.
func (d *dictionary) knownType(t evento.AggregateType) int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if id, ok := d.names.TypeID(t); ok || d.base == nil {
		return id
	}
	return d.base.knownType(t)
}

func (d *dictionary) knownKind(k sqlstore.Kind) (int64, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if id, ok := d.names.KindID(k); ok || d.base == nil {
		return id, ok
	}
	return d.base.knownKind(k)
}

// knownRouting returns 0 for a key that is not known.
func (d *dictionary) knownRouting(key string) int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if id, ok := d.names.RoutingID(key); ok || d.base == nil {
		return id
	}
	return d.base.knownRouting(key)
}

// knownKinds lists the kinds of a type.
func (d *dictionary) knownKinds(typeID int64) []int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.base == nil {
		return d.names.KindsOf(typeID)
	}
	kinds := slices.Concat(d.base.knownKinds(typeID), d.names.KindsOf(typeID))
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
func (d *dictionary) kind(id int64) (sqlstore.Kind, evento.AggregateType, bool) {
	k, t, ok := d.names.Kind(id)
	if !ok && d.base != nil {
		d.base.mu.RLock()
		defer d.base.mu.RUnlock()
		return d.base.kind(id)
	}
	return k, t, ok
}

// routing finds a routing key; the lock is held.
func (d *dictionary) routing(id int64) (string, bool) {
	key, ok := d.names.Routing(id)
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
	return d.keep(ctx, s, id, err, func() { d.names.AddType(id, t) })
}

// routingID finds a routing key; 0 when there is none.
func (d *dictionary) routingID(ctx context.Context, s *session, key string) (int64, error) {
	if id := d.knownRouting(key); id != 0 {
		return id, nil
	}
	id, err := s.routingID(ctx, key)
	return d.keep(ctx, s, id, err, func() { d.names.AddRouting(id, key) })
}

// keep adds a name whose number was read, when it is durable. 0: it was not
// there.
func (d *dictionary) keep(ctx context.Context, s *session, id int64, err error, add func()) (int64, error) {
	if err == nil && id != 0 {
		err = d.settle(ctx, s)
	}
	if err != nil || id == 0 {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	add()
	return id, nil
}

// cover is refresh for a head that was read before. That it was known up to
// there is kept of what a crash cannot take back.
func (d *dictionary) cover(ctx context.Context, s *session, head int64) error {
	d.mu.RLock()
	covered := head <= d.upTo
	d.mu.RUnlock()
	if covered {
		return nil
	}
	if err := d.refresh(ctx, s); err != nil {
		return err
	}
	if d.durable != nil && head <= d.durable.position.Load() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.upTo = max(d.upTo, head)
	}
	return nil
}

// kindsFor lists the kinds that a filter asks for, of those of the events up to
// head. Of a filter by aggregate and without a name, none: its kinds need not be
// known.
func (d *dictionary) kindsFor(ctx context.Context, s *session, f evento.Filter, head int64) ([]int64, error) {
	if f.Name == "" && f.AggregateID != "" {
		return nil, nil
	}
	if f.Name != "" {
		if id, ok := d.knownKind(sqlstore.Kind{TypeID: d.knownType(f.AggregateType), Name: f.Name}); ok {
			return []int64{id}, nil
		}
	}
	if err := d.cover(ctx, s, head); err != nil {
		return nil, err
	}
	typeID := d.knownType(f.AggregateType)
	if f.Name == "" {
		return d.knownKinds(typeID), nil
	}
	if id, ok := d.knownKind(sqlstore.Kind{TypeID: typeID, Name: f.Name}); ok {
		return []int64{id}, nil
	}
	return nil, nil
}
