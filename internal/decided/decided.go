// Package decided is what passes between an executor that keeps its events in a replicated
// log and the index that it reads from: the log has decided what is stored, and where. The
// index of executor/jetstream is executor/pebble's.
package decided

import "github.com/evento-go/evento"

// Batch is what is stored together.
type Batch struct {
	// Appends are in the order of their positions, and follow on what is stored.
	Appends []Append
	// Records are records as they are from now on. One of revision 0 is removed.
	Records []evento.Record
	// Keys are entries of the executor's own.
	Keys []Entry
	// Wake tells those who wait for changes, though there may be no events.
	Wake bool
}

// Append is the events of one aggregate of a write.
type Append struct {
	*evento.Append
	Head              // where the aggregate is before it
	First      uint64 // the position of its first event
	RecordedAt int64  // microseconds since 1970
}

// Head is the last event of an aggregate; the zero value: it has none.
type Head struct {
	Version    uint64
	RoutingKey string
}

// Entry is a key with a value. A nil value removes it.
type Entry struct{ Key, Value []byte }

// After is where the aggregate is with the append.
func (a *Append) After() Head {
	return Head{Version: a.Version + uint64(len(a.Events)), RoutingKey: a.Routing()}
}

// Routing is the routing key that the events get.
func (a *Append) Routing() string {
	if a.Version > 0 {
		return a.Head.RoutingKey
	}
	return a.Append.RoutingKey
}

// Last is the position of its last event.
func (a *Append) Last() uint64 { return a.First + uint64(len(a.Events)) - 1 }

// Receipt says where its events are.
func (a *Append) Receipt() evento.Receipt {
	return evento.Receipt{AggregateID: a.AggregateID, Version: a.After().Version, Position: a.Last()}
}
