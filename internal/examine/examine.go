// Package examine is for tools that look at what a store has, whatever that is: what reads a
// store for applications ends at the first thing that cannot be read, or makes the best of
// it.
//
// Its nouns are [Event], [Record] and [Snapshot], each with what is [Wrong] with it, and
// [Rules], which hold events against what an import wants of them:
//
//	rules := examine.NewRules(examine.Options{})
//	for more := true; more; more = rules.Next() {
//		for e := range events {
//			rules.Event(e, func(b examine.Breach) { … })
//		}
//	}
package examine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/evento-go/evento"
)

// Part is a part of an event, record or snapshot, in words.
type Part string

// The parts of an event.
const (
	Position   Part = "position"
	ID         Part = "id"
	Type       Part = "aggregate type"
	Aggregate  Part = "aggregate id"
	Version    Part = "version"
	Name       Part = "event name"
	RoutingKey Part = "routing key"
	Tags       Part = "tags"
	Timestamp  Part = "timestamp"
	Codec      Part = "codec"
	Metadata   Part = "metadata"
	Data       Part = "payload"
)

// Wrong is a part that is not what the library writes.
type Wrong struct {
	Part Part
	// Detail is a sentence without its end. "": the part is not known, for a reason that is
	// said elsewhere.
	Detail string
}

// Faults is what is wrong with something.
type Faults []Wrong

// Add adds a fault.
func (f *Faults) Add(part Part, format string, args ...any) {
	*f = append(*f, Wrong{part, fmt.Sprintf(format, args...)})
}

// Unknown adds a part that is not known, for a reason that is said elsewhere.
func (f *Faults) Unknown(part Part) { *f = append(*f, Wrong{Part: part}) }

// Lacks reports whether one of the parts is wrong.
func (f Faults) Lacks(parts ...Part) bool {
	return slices.ContainsFunc(f, func(w Wrong) bool { return slices.Contains(parts, w.Part) })
}

// Event is an event as its store has it. Parts that are wrong may be zero. Its bytes are valid
// until the next event is read.
type Event struct {
	evento.RawEvent
	Faults
}

// Record is a record as its store has it.
type Record struct {
	evento.Record
	Faults
}

// Snapshot is a snapshot as its store has it. Its data are valid until the next one is read.
type Snapshot struct {
	evento.StoredSnapshot
	Faults
}

// Check adds what makes the event one that no store imports, part by part.
func (e *Event) Check() {
	if len(e.Faults) == 0 && evento.CheckImport([]evento.RawEvent{e.RawEvent}) == nil {
		return
	}
	for part, put := range fields {
		if e.Lacks(part) {
			continue
		}
		if fault := faultOf(&e.RawEvent, put); fault != "" {
			e.Add(part, "%s", fault)
		}
	}
}

// fields puts each part of an event that is checked into another event.
func fields(yield func(Part, func(to, from *evento.RawEvent)) bool) {
	_ = yield(Position, func(to, from *evento.RawEvent) { to.Position = from.Position }) &&
		yield(Type, func(to, from *evento.RawEvent) { to.AggregateType = from.AggregateType }) &&
		yield(Aggregate, func(to, from *evento.RawEvent) { to.AggregateID = from.AggregateID }) &&
		yield(Version, func(to, from *evento.RawEvent) { to.Version = from.Version }) &&
		yield(Name, func(to, from *evento.RawEvent) { to.Name = from.Name }) &&
		yield(RoutingKey, func(to, from *evento.RawEvent) { to.RoutingKey = from.RoutingKey }) &&
		yield(Tags, func(to, from *evento.RawEvent) { to.Tags = from.Tags }) &&
		yield(Timestamp, func(to, from *evento.RawEvent) { to.Timestamp = from.Timestamp }) &&
		yield(Codec, func(to, from *evento.RawEvent) { to.Codec = from.Codec }) &&
		yield(Metadata, func(to, from *evento.RawEvent) { to.Metadata = from.Metadata }) &&
		yield(Data, func(to, from *evento.RawEvent) { to.Data = from.Data })
}

// faultOf says what is wrong with one part of an event; "": nothing.
func faultOf(e *evento.RawEvent, put func(to, from *evento.RawEvent)) string {
	one := evento.RawEvent{Position: 1, AggregateType: "t", AggregateID: "i", Version: 1, Name: "n", Codec: "c", Timestamp: time.UnixMicro(0)}
	put(&one, e)
	err := evento.CheckImport([]evento.RawEvent{one})
	if err == nil {
		return ""
	}
	// Without what the other event is called.
	text := strings.TrimPrefix(Plain(err, fmt.Sprintf("event at position %d: ", one.Position)), `event "n": `)
	return strings.TrimSuffix(text, ` of t "i"`)
}

// partFault says what is wrong with a part of an event; "": nothing.
func partFault(part Part, e *evento.RawEvent) string {
	for p, put := range fields {
		if p == part {
			return faultOf(e, put)
		}
	}
	return ""
}

// NameFault says what is wrong with a name; "": nothing. Part is what it names.
func NameFault(part Part, name string) string {
	if name == "" {
		return "it is empty"
	}
	return partFault(part, &evento.RawEvent{AggregateType: evento.AggregateType(name), AggregateID: name, Name: name, RoutingKey: name})
}

// Check adds what makes the record one that no store takes.
func (r *Record) Check() {
	if r.Lacks("key") {
		return
	}
	c := evento.Change{RecordKey: r.RecordKey, Revision: r.Revision, Value: r.Value}
	if err := (evento.Swap{Changes: []evento.Change{c}}).Check(); err != nil {
		r.Add("key", "%s", Plain(err, ""))
	}
	if r.Revision == 0 && !r.Lacks("revision") {
		r.Add("revision", "its revision is 0")
	}
	if fault := partFault(Timestamp, &evento.RawEvent{Timestamp: r.ChangedAt}); fault != "" && !r.Lacks("time") {
		r.Add("time", "the time of its last change: %s", fault)
	}
}

// Check adds what makes the snapshot one that no projection has stored.
func (s *Snapshot) Check() {
	if !s.Lacks("key") {
		if err := s.SnapshotKey.Check(); err != nil {
			s.Add("key", "%s", Plain(err, ""))
		}
	}
	for _, part := range []Part{Version, Position} {
		if fault := partFault(part, &evento.RawEvent{Version: s.Version, Position: s.Position}); fault != "" && !s.Lacks(part) {
			s.Add(part, "%s", fault)
		}
	}
	if s.Cursor == "" && !s.Lacks("cursor") {
		s.Add("cursor", "its cursor is empty")
	}
	if !s.Lacks("state") {
		if err := evento.CBOR().Unmarshal(s.Data, new(cbor.RawMessage)); err != nil {
			s.Add("state", "its state of %d bytes is no CBOR: %s", len(s.Data), Plain(err, ""))
		}
	}
}

// Plain is the text of an error of the library within another text: without the library's
// name, and without what it begins with.
func Plain(err error, beginning string) string {
	text := strings.TrimPrefix(err.Error(), "evento: ")
	return strings.TrimPrefix(text, beginning)
}
