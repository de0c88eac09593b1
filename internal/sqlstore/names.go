// Names that tables hold as numbers.

package sqlstore

import (
	"maps"
	"slices"

	"github.com/evento-go/evento"
)

// Kind is an event name of an aggregate type.
type Kind struct {
	TypeID int64
	Name   string
}

// Names are aggregate types, kinds of events and routing keys with their
// numbers, which never change. The zero Names are none. They are not safe for
// concurrent use.
type Names struct {
	types    numbered[evento.AggregateType]
	kinds    numbered[Kind]
	routings numbered[string]
	kindsOf  map[int64][]int64 // by type
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

// Type finds a type by its number.
func (n *Names) Type(id int64) (evento.AggregateType, bool) {
	t, ok := n.types.names[id]
	return t, ok
}

// TypeID finds the number of a type.
func (n *Names) TypeID(t evento.AggregateType) (int64, bool) {
	id, ok := n.types.ids[t]
	return id, ok
}

// AddType adds a type.
func (n *Names) AddType(id int64, t evento.AggregateType) { n.types.add(id, t) }

// Kind finds a kind by its number, with the name of its type.
func (n *Names) Kind(id int64) (Kind, evento.AggregateType, bool) {
	k, ok := n.kinds.names[id]
	return k, n.types.names[k.TypeID], ok
}

// KindID finds the number of a kind.
func (n *Names) KindID(k Kind) (int64, bool) {
	id, ok := n.kinds.ids[k]
	return id, ok
}

// KindsOf lists the kinds of a type in the order in which they were added. What
// it has returned is never written over.
func (n *Names) KindsOf(typeID int64) []int64 { return n.kindsOf[typeID] }

// AddKind adds a kind.
func (n *Names) AddKind(id int64, k Kind) {
	if _, known := n.kinds.names[id]; known {
		return
	}
	n.kinds.add(id, k)
	if n.kindsOf == nil {
		n.kindsOf = map[int64][]int64{}
	}
	n.kindsOf[k.TypeID] = append(n.kindsOf[k.TypeID], id)
}

// Routing finds a routing key by its number.
func (n *Names) Routing(id int64) (string, bool) {
	key, ok := n.routings.names[id]
	return key, ok
}

// RoutingID finds the number of a routing key.
func (n *Names) RoutingID(key string) (int64, bool) {
	id, ok := n.routings.ids[key]
	return id, ok
}

// AddRouting adds a routing key.
func (n *Names) AddRouting(id int64, key string) { n.routings.add(id, key) }

// Empty reports whether there are none.
func (n *Names) Empty() bool {
	return len(n.types.names)+len(n.kinds.names)+len(n.routings.names) == 0
}

// Merge adds those of m, kinds in the order of their numbers.
func (n *Names) Merge(m *Names) {
	for id, t := range m.types.names {
		n.AddType(id, t)
	}
	for _, id := range slices.Sorted(maps.Keys(m.kinds.names)) {
		n.AddKind(id, m.kinds.names[id])
	}
	for id, key := range m.routings.names {
		n.AddRouting(id, key)
	}
}
