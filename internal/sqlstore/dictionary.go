// Names that tables hold as numbers.

package sqlstore

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/evento-go/evento"
)

// Kind is an event name of an aggregate type.
type Kind struct {
	TypeID int64
	Name   string
}

// Aggregate is an aggregate as tables have it.
type Aggregate struct {
	TypeID int64
	ID     string
}

// Dictionary caches the numbers of aggregate types, kinds of events and routing
// keys, which are from 1 and never change: what is in it is right for everybody;
// what is not in it may still be in the store. It is safe for concurrent use.
//
// The executor's has what is committed (and durable, where a crash could give a
// number to another name). One of a transaction lies over it: it finds what
// either has, and keeps what is added until [Dictionary.Publish].
type Dictionary struct {
	base *Dictionary // nil: it is the executor's

	mu       sync.RWMutex
	types    numbered[evento.AggregateType]
	kinds    numbered[Kind]
	routings numbered[string]
	kindsOf  map[int64][]int64 // by type, in the order in which they were added
	complete int64             // every kind up to here is in it
}

// numbered are names of one sort.
type numbered[N comparable] struct {
	names map[int64]N
	ids   map[N]int64
}

func (n *numbered[N]) add(id int64, name N) {
	if n.names == nil {
		n.names, n.ids = map[int64]N{}, map[N]int64{}
	}
	n.names[id], n.ids[name] = name, id
}

// NewDictionary returns an empty one, over another if base is not nil.
func NewDictionary(base *Dictionary) *Dictionary { return &Dictionary{base: base} }

// Over lays an empty one over another.
func (d *Dictionary) Over(base *Dictionary) { d.base = base }

// TypeID is the number of a type; 0: it is not known.
func (d *Dictionary) TypeID(t evento.AggregateType) int64 {
	d.mu.RLock()
	id := d.types.ids[t]
	d.mu.RUnlock()
	if id == 0 && d.base != nil {
		return d.base.TypeID(t)
	}
	return id
}

// KindID is the number of a kind; 0: it is not known.
func (d *Dictionary) KindID(k Kind) int64 {
	d.mu.RLock()
	id := d.kinds.ids[k]
	d.mu.RUnlock()
	if id == 0 && d.base != nil {
		return d.base.KindID(k)
	}
	return id
}

// RoutingID is the number of a routing key; 0: it is not known.
func (d *Dictionary) RoutingID(key string) int64 {
	d.mu.RLock()
	id := d.routings.ids[key]
	d.mu.RUnlock()
	if id == 0 && d.base != nil {
		return d.base.RoutingID(key)
	}
	return id
}

// Routing is the routing key with a number.
func (d *Dictionary) Routing(id int64) (key string, known bool) {
	d.mu.RLock()
	key, known = d.routings.names[id]
	d.mu.RUnlock()
	if !known && d.base != nil {
		return d.base.Routing(id)
	}
	return key, known
}

// FindType is TypeID, and asks read when the type is not known; 0: there is none.
func (d *Dictionary) FindType(t evento.AggregateType, read func() (int64, error)) (int64, error) {
	return find(d.TypeID(t), read, func(id int64) { d.AddType(id, t) })
}

// FindKind is KindID, and asks read when the kind is not known; 0: there is none.
func (d *Dictionary) FindKind(k Kind, read func() (int64, error)) (int64, error) {
	return find(d.KindID(k), read, func(id int64) { d.AddKind(id, k) })
}

// FindRouting is RoutingID, and asks read when the key is not known; 0: there is
// none.
func (d *Dictionary) FindRouting(key string, read func() (int64, error)) (int64, error) {
	return find(d.RoutingID(key), read, func(id int64) { d.AddRouting(id, key) })
}

// find returns a number that is known, or else the one that was read, and adds that.
func find(known int64, read func() (int64, error), add func(id int64)) (int64, error) {
	if known != 0 {
		return known, nil
	}
	id, err := read()
	if err != nil || id == 0 {
		return 0, err
	}
	add(id)
	return id, nil
}

// KindsOf lists the known kinds of a type. The list must not be changed.
func (d *Dictionary) KindsOf(typeID int64) []int64 {
	d.mu.RLock()
	kinds := d.kindsOf[typeID] // what it was is never written over
	d.mu.RUnlock()
	if d.base == nil {
		return kinds
	}
	kinds = slices.Concat(d.base.KindsOf(typeID), kinds)
	slices.Sort(kinds) // the base may have learned since
	return slices.Compact(kinds)
}

// KindsFor lists the kinds that a filter asks for. Of one that names an aggregate
// and no event it lists none: its kinds need not be known. Refresh adds what the
// store has meanwhile; it is not called when the kind is known.
func (d *Dictionary) KindsFor(f evento.Filter, refresh func() error) ([]int64, error) {
	if f.Name == "" && f.AggregateID != "" {
		return nil, nil
	}
	find := func() []int64 {
		if id := d.KindID(Kind{d.TypeID(f.AggregateType), f.Name}); id != 0 {
			return []int64{id}
		}
		return nil
	}
	if f.Name != "" {
		if kinds := find(); kinds != nil {
			return kinds, nil
		}
	}
	if err := refresh(); err != nil {
		return nil, err
	}
	if f.Name != "" {
		return find(), nil
	}
	return d.KindsOf(d.TypeID(f.AggregateType)), nil
}

// NumberedKind is a kind as the tables have it.
type NumberedKind struct {
	Kind
	ID   int64
	Type evento.AggregateType
}

// AddKinds adds all kinds behind [Dictionary.Complete].
func (d *Dictionary) AddKinds(list []NumberedKind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range list {
		d.types.add(k.TypeID, k.Type)
		d.addKind(k.ID, k.Kind)
		d.complete = max(d.complete, k.ID)
	}
}

// Complete is the number of a kind up to which all are known.
func (d *Dictionary) Complete() int64 {
	d.mu.RLock()
	complete := d.complete
	d.mu.RUnlock()
	if d.base != nil {
		return max(complete, d.base.Complete())
	}
	return complete
}

// AddType adds a type.
func (d *Dictionary) AddType(id int64, t evento.AggregateType) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.types.add(id, t)
}

// AddKind adds a kind.
func (d *Dictionary) AddKind(id int64, k Kind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addKind(id, k)
}

func (d *Dictionary) addKind(id int64, k Kind) {
	if _, known := d.kinds.names[id]; known {
		return
	}
	d.kinds.add(id, k)
	if d.kindsOf == nil {
		d.kindsOf = map[int64][]int64{}
	}
	d.kindsOf[k.TypeID] = append(d.kindsOf[k.TypeID], id)
}

// AddRouting adds a routing key.
func (d *Dictionary) AddRouting(id int64, key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.routings.add(id, key)
}

// Publish gives what was added to the one below, when that is committed.
func (d *Dictionary) Publish() {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.types.names)+len(d.kinds.names)+len(d.routings.names) == 0 {
		return
	}
	b := d.base
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complete = max(b.complete, d.complete)
	for id, t := range d.types.names {
		b.types.add(id, t)
	}
	for _, id := range slices.Sorted(maps.Keys(d.kinds.names)) {
		b.addKind(id, d.kinds.names[id])
	}
	for id, key := range d.routings.names {
		b.routings.add(id, key)
	}
}

// EventNames are the names of an event, with their numbers.
type EventNames struct {
	KindID, RoutingID int64 // RoutingID 0: none
	aggregateType     evento.AggregateType
	name, routingKey  string
}

// Into puts the names into an event.
func (n *EventNames) Into(e *evento.RawEvent) {
	e.AggregateType, e.Name, e.RoutingKey = n.aggregateType, n.name, n.routingKey
}

// Resolve finds the names of which n has the numbers. Fetch adds what is not
// known.
func (d *Dictionary) Resolve(n *EventNames, fetch func() error) error {
	if d.resolve(n) {
		return nil
	}
	if err := fetch(); err != nil {
		return err
	}
	if !d.resolve(n) {
		return fmt.Errorf("kind %d or routing key %d is not in the dictionary", n.KindID, n.RoutingID)
	}
	return nil
}

func (d *Dictionary) resolve(n *EventNames) bool {
	d.mu.RLock()
	k, knownKind := d.kinds.names[n.KindID]
	t, knownType := d.types.names[k.TypeID]
	key, knownKey := d.routings.names[n.RoutingID]
	d.mu.RUnlock()
	if base := d.base; base != nil {
		base.mu.RLock()
		defer base.mu.RUnlock()
		if !knownKind {
			k, knownKind = base.kinds.names[n.KindID]
		}
		if !knownType {
			t, knownType = base.types.names[k.TypeID]
		}
		if !knownKey {
			key, knownKey = base.routings.names[n.RoutingID]
		}
	}
	n.aggregateType, n.name, n.routingKey = t, k.Name, key
	return knownKind && knownType && (knownKey || n.RoutingID == 0)
}
