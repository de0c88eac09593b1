// Names that the tables hold as small integers.

package postgres

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
)

// kind is an event name of an aggregate type.
type kind struct {
	typeID int32
	name   string
}

// dictionary caches names that are committed. They never change, so what is in
// it is right for everybody; what is not in it may still be in the store. It is
// safe for concurrent use.
type dictionary struct {
	mu         sync.RWMutex
	types      map[int32]evento.AggregateType
	typeIDs    map[evento.AggregateType]int32
	kinds      map[int32]kind
	kindIDs    map[kind]int32
	typeKinds  map[int32][]int32 // of a type; their order is of no matter
	routings   map[int32]string
	routingIDs map[string]int32
}

func newDictionary() *dictionary {
	return &dictionary{
		types:      map[int32]evento.AggregateType{},
		typeIDs:    map[evento.AggregateType]int32{},
		kinds:      map[int32]kind{},
		kindIDs:    map[kind]int32{},
		typeKinds:  map[int32][]int32{},
		routings:   map[int32]string{},
		routingIDs: map[string]int32{},
	}
}

func (d *dictionary) addType(id int32, t evento.AggregateType) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.types[id], d.typeIDs[t] = t, id
}

func (d *dictionary) addKind(id int32, k kind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kindIDs[k] == 0 {
		d.typeKinds[k.typeID] = append(d.typeKinds[k.typeID], id)
	}
	d.kinds[id], d.kindIDs[k] = k, id
}

func (d *dictionary) addRouting(id int32, key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.routings[id], d.routingIDs[key] = key, id
}

// merge adds what is in other.
func (d *dictionary) merge(other *dictionary) {
	other.mu.RLock()
	defer other.mu.RUnlock()
	for id, t := range other.types {
		d.addType(id, t)
	}
	for id, k := range other.kinds {
		d.addKind(id, k)
	}
	for id, key := range other.routings {
		d.addRouting(id, key)
	}
}

// learned is where names go that are looked up with ctx: those of a transaction
// may be its own, and are not everybody's before it is committed.
func (ex *Executor) learned(ctx context.Context) *dictionary {
	if t := ex.transactionOf(ctx); t != nil && !t.Ended() {
		return t.names
	}
	return ex.names
}

// known looks into one dictionary and then another; 0: it is in neither.
func known[N comparable](name N, first *dictionary, ids map[N]int32, second *dictionary, more map[N]int32) int32 {
	first.mu.RLock()
	id := ids[name]
	first.mu.RUnlock()
	if id == 0 && second != first {
		second.mu.RLock()
		id = more[name]
		second.mu.RUnlock()
	}
	return id
}

// typeID finds a type, or with add makes it; 0: there is none. What is made
// stays, also when the write that needs it is refused: it stands for nothing
// until an event has it.
func (ex *Executor) typeID(ctx context.Context, t evento.AggregateType, add bool) (int32, error) {
	learned := ex.learned(ctx)
	if id := known(t, ex.names, ex.names.typeIDs, learned, learned.typeIDs); id != 0 {
		return id, nil
	}
	id, err := ex.lookUp(ctx, add, ex.sql.typeID, ex.sql.addType, string(t))
	if id != 0 {
		learned.addType(id, t)
	}
	return id, err
}

// kindID finds a kind, or with add makes it; 0: there is none.
func (ex *Executor) kindID(ctx context.Context, k kind, add bool) (int32, error) {
	learned := ex.learned(ctx)
	if id := known(k, ex.names, ex.names.kindIDs, learned, learned.kindIDs); id != 0 {
		return id, nil
	}
	id, err := ex.lookUp(ctx, add, ex.sql.kindID, ex.sql.addKind, k.typeID, k.name)
	if id != 0 {
		learned.addKind(id, k)
	}
	return id, err
}

// routingID finds a routing key, or with add makes it; 0: there is none.
func (ex *Executor) routingID(ctx context.Context, key string, add bool) (int32, error) {
	learned := ex.learned(ctx)
	if id := known(key, ex.names, ex.names.routingIDs, learned, learned.routingIDs); id != 0 {
		return id, nil
	}
	id, err := ex.lookUp(ctx, add, ex.sql.routingID, ex.sql.addRouting, key)
	if id != 0 {
		learned.addRouting(id, key)
	}
	return id, err
}

// makeNames makes the names that writes need. Transactions wait for each other's
// new names until they are committed: all make them in one order, so that no two
// wait for one another.
func (ex *Executor) makeNames(ctx context.Context, ops []*appendOp) error {
	types, kinds, routings := map[evento.AggregateType]int32{}, map[kind]bool{}, map[string]bool{}
	for _, op := range ops {
		for _, a := range op.write.Appends {
			types[a.AggregateType] = 0
			if a.RoutingKey != "" {
				routings[a.RoutingKey] = true
			}
		}
	}
	for _, t := range slices.Sorted(maps.Keys(types)) {
		id, err := ex.typeID(ctx, t, true)
		if err != nil {
			return err
		}
		types[t] = id
	}
	for _, op := range ops {
		for _, a := range op.write.Appends {
			for _, e := range a.Events {
				kinds[kind{types[a.AggregateType], e.Name}] = true
			}
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(kinds), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.typeID, b.typeID), cmp.Compare(a.name, b.name))
	}) {
		if _, err := ex.kindID(ctx, k, true); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(routings)) {
		if _, err := ex.routingID(ctx, key, true); err != nil {
			return err
		}
	}
	return nil
}

func (ex *Executor) lookUp(ctx context.Context, add bool, find, insert string, args ...any) (id int32, err error) {
	err = ex.again(ctx, func() error {
		err := ex.db(ctx).QueryRow(ctx, find, args...).Scan(&id)
		if !errors.Is(err, pgx.ErrNoRows) || !add {
			return orNone(err)
		}
		if _, err := ex.db(ctx).Exec(ctx, insert, args...); err != nil {
			return err
		}
		return ex.db(ctx).QueryRow(ctx, find, args...).Scan(&id)
	})
	return id, err
}

// orNone takes "no row" for an answer.
func orNone(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// kindsOf lists the kinds of a type that there are now.
func (ex *Executor) kindsOf(ctx context.Context, t evento.AggregateType) ([]int32, error) {
	rows, err := ex.db(ctx).Query(ctx, ex.sql.kindsOf, string(t))
	if err != nil {
		return nil, err
	}
	var ids []int32
	var id, typeID int32
	var name string
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &typeID}, func() error {
		ids = append(ids, id)
		ex.names.addType(typeID, t)
		ex.names.addKind(id, kind{typeID, name})
		return nil
	})
	return ids, err
}

// named are the names of an event.
type named struct {
	kindID, routingID int32
	aggregateType     evento.AggregateType
	name, routingKey  string
}

// resolve finds the names that n has the ids of.
func (ex *Executor) resolve(ctx context.Context, n *named) error {
	d := ex.names
	for range 2 {
		d.mu.RLock()
		k, knownKind := d.kinds[n.kindID]
		t, knownType := d.types[k.typeID]
		key, knownKey := d.routings[n.routingID]
		d.mu.RUnlock()
		if knownKind && knownType && (knownKey || n.routingID == 0) {
			n.aggregateType, n.name, n.routingKey = t, k.name, key
			return nil
		}
		if err := ex.learn(ctx, n.kindID, n.routingID); err != nil {
			return err
		}
	}
	return errors.New("the dictionary forgot a name") // it never does
}

// learn reads what an event refers to.
func (ex *Executor) learn(ctx context.Context, kindID, routingID int32) error {
	var typeID int32
	var t, name, key string
	if err := ex.db(ctx).QueryRow(ctx, ex.sql.kind, kindID).Scan(&typeID, &t, &name); err != nil {
		return err
	}
	ex.names.addType(typeID, evento.AggregateType(t))
	ex.names.addKind(kindID, kind{typeID, name})
	if routingID == 0 {
		return nil
	}
	if err := ex.db(ctx).QueryRow(ctx, ex.sql.routing, routingID).Scan(&key); err != nil {
		return err
	}
	ex.names.addRouting(routingID, key)
	return nil
}
