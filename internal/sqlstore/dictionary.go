// Names that tables hold as numbers.

package sqlstore

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
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
	Types    Names[evento.AggregateType]
	Kinds    Names[Kind]
	Routings Names[string]

	base     *Dictionary // nil: it is the executor's
	mu       sync.RWMutex
	kindsOf  map[int64][]int64 // by type, in the order in which they were added
	complete int64             // every kind up to here is in it
}

// NewDictionary returns an empty one, over another if base is not nil.
func NewDictionary(base *Dictionary) *Dictionary {
	d := &Dictionary{}
	d.Over(base)
	return d
}

// Over makes the zero value an empty one over another, or over none.
func (d *Dictionary) Over(base *Dictionary) {
	d.base = base
	d.Types.of, d.Kinds.of, d.Routings.of = d, d, d
	d.Kinds.added = (*Dictionary).addedKind
	if base == nil {
		d.Routings.names = store.NewCache[int64, string](mostRoutings)
		d.Routings.ids = store.NewCache[string, int64](mostRoutings)
		return
	}
	d.Types.base, d.Kinds.base, d.Routings.base = &base.Types, &base.Kinds, &base.Routings
}

// mostRoutings is how many routing keys a generation has. Types and kinds are as many as
// programs define; routing keys may be as many as there are customers.
const mostRoutings = 1 << 16

func (d *Dictionary) addedKind(id int64, k Kind) {
	if d.kindsOf == nil {
		d.kindsOf = map[int64][]int64{}
	}
	d.kindsOf[k.TypeID] = append(d.kindsOf[k.TypeID], id)
}

// Names are the names of one sort in a dictionary.
type Names[N comparable] struct {
	of    *Dictionary // its mutex guards them
	base  *Names[N]   // those of the dictionary below; nil: there is none
	names store.Cache[int64, N]
	ids   store.Cache[N, int64]
	added func(d *Dictionary, id int64, name N) // nil: nobody has to know
}

// ID is the number of a name; 0: it is not known.
func (n *Names[N]) ID(name N) int64 {
	n.of.mu.RLock()
	id, _ := n.ids.Get(name)
	n.of.mu.RUnlock()
	if id == 0 && n.base != nil {
		return n.base.ID(name)
	}
	return id
}

// Name is the name with a number.
func (n *Names[N]) Name(id int64) (name N, known bool) {
	n.of.mu.RLock()
	name, known = n.names.Get(id)
	n.of.mu.RUnlock()
	if !known && n.base != nil {
		return n.base.Name(id)
	}
	return name, known
}

// Find is ID, and asks read when the name is not known; 0: there is none.
func (n *Names[N]) Find(name N, read func() (int64, error)) (int64, error) {
	if id := n.ID(name); id != 0 {
		return id, nil
	}
	id, err := read()
	if err != nil || id == 0 {
		return 0, err
	}
	n.Add(id, name)
	return id, nil
}

// Add adds a name.
func (n *Names[N]) Add(id int64, name N) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	n.add(id, name)
}

func (n *Names[N]) add(id int64, name N) {
	if _, known := n.names.Get(id); known {
		return
	}
	n.names.Put(id, name)
	n.ids.Put(name, id)
	if n.added != nil {
		n.added(n.of, id, name)
	}
}

// publish adds the names to those below, in the order of their numbers.
func (n *Names[N]) publish() {
	names := n.names.Young()
	for _, id := range slices.Sorted(maps.Keys(names)) {
		n.base.add(id, names[id])
	}
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
		if id := d.Kinds.ID(Kind{d.Types.ID(f.AggregateType), f.Name}); id != 0 {
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
	return d.KindsOf(d.Types.ID(f.AggregateType)), nil
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
		d.Types.add(k.TypeID, k.Type)
		d.Kinds.add(k.ID, k.Kind)
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

// Numberer is a transaction that reads the numbers of names, and gives them out.
type Numberer interface {
	// Number finds the number of a name, or with add inserts the name; 0: there is
	// none.
	Number(add bool, find, insert string, name ...any) (int64, error)
}

// FindType is the statement that reads the number of a type.
const FindType = "SELECT id FROM evento_type WHERE name = ?"

// TypeIn finds a type in a transaction, or with add makes it; 0: there is none.
func (d *Dictionary) TypeIn(tx Numberer, t evento.AggregateType, add bool) (int64, error) {
	return d.Types.Find(t, func() (int64, error) {
		return tx.Number(add, FindType, "INSERT INTO evento_type (name) VALUES (?)", string(t))
	})
}

// KindIn finds a kind in a transaction, or makes it.
func (d *Dictionary) KindIn(tx Numberer, k Kind) (int64, error) {
	return d.Kinds.Find(k, func() (int64, error) {
		return tx.Number(true, "SELECT id FROM evento_kind WHERE type_id = ? AND name = ?", "INSERT INTO evento_kind (type_id, name) VALUES (?, ?)", k.TypeID, k.Name)
	})
}

// Publish gives what was added to the one below, when that is committed.
func (d *Dictionary) Publish() {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.Types.names.Young())+len(d.Kinds.names.Young())+len(d.Routings.names.Young()) == 0 {
		return
	}
	d.base.mu.Lock()
	defer d.base.mu.Unlock()
	d.base.complete = max(d.base.complete, d.complete)
	d.Types.publish()
	d.Kinds.publish()
	d.Routings.publish()
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
	k, knownKind := d.Kinds.Name(n.KindID)
	t, knownType := d.Types.Name(k.TypeID)
	key, knownKey := "", true
	if n.RoutingID != 0 {
		key, knownKey = d.Routings.Name(n.RoutingID)
	}
	n.aggregateType, n.name, n.routingKey = t, k.Name, key
	return knownKind && knownType && knownKey
}
