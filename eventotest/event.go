package eventotest

import (
	"reflect"
	"slices"
	"time"

	"github.com/evento-go/evento"
)

// Event is a payload with further fields of the event. It can be used wherever a
// payload can; a plain payload is an Event with no other field set. In a given
// event, a field that is not set has the default that its comment states. In a
// wanted event, it is not compared.
type Event struct {
	evento.Payload

	// AggregateID is the id of the aggregate. Default: the test's, see ID.
	AggregateID string
	// ID is the event's. Default: an id that is the same in every run.
	ID evento.ID
	// RoutingKey is the aggregate's, if this is its first event. Default: none.
	RoutingKey string
	// Tags are the event's, in any order. Default: those of the payload's method Tags,
	// see [evento.Tagged]. An empty slice that is not nil: none.
	Tags []string
	// Metadata is the event's whole metadata. Default: none.
	Metadata evento.Metadata
	// Timestamp is when the event was stored, in microseconds, and not before the
	// timestamp of the preceding event. Default: one second after the preceding
	// event; for the first event, the beginning of the year 2000 in UTC.
	Timestamp time.Time
	// Codec encodes the payload. Default: [evento.CBOR].
	Codec evento.Codec
	// Lossy accepts that its codec changes the payload.
	Lossy bool
}

// Of returns an event of the aggregate with this id.
func Of(id string, p evento.Payload) Event {
	e := asEvent(p)
	e.AggregateID = id
	return e
}

func asEvent(p evento.Payload) Event {
	switch e := p.(type) {
	case Event:
		return e
	case *Event:
		if e == nil {
			return Event{}
		}
		return *e
	}
	return Event{Payload: p}
}

// missing reports whether there is no payload whose methods can be called.
func (e Event) missing() bool {
	v := reflect.ValueOf(e.Payload)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

func (e Event) kind() kind { return kind{e.AggregateType(), e.EventName()} }

func (e Event) codec() evento.Codec {
	if e.Codec == nil {
		return evento.CBOR()
	}
	return e.Codec
}

// tags returns the tags of a given event, each once.
func (e Event) tags() []string {
	tags := e.Tags
	if t, ok := e.Payload.(evento.Tagged); ok && tags == nil {
		tags = t.Tags()
	}
	var once []string
	for _, tag := range tags {
		if !slices.Contains(once, tag) {
			once = append(once, tag)
		}
	}
	return once
}

// kind identifies a kind of payload.
type kind struct {
	aggregateType evento.AggregateType
	name          string
}

func (k kind) String() string { return string(k.aggregateType) + " " + k.name }

// decodeAs decodes into a new value of a payload's type.
func decodeAs(codec evento.Codec, data []byte, t reflect.Type) (any, error) {
	pointer := t.Kind() == reflect.Pointer
	if pointer {
		t = t.Elem()
	}
	v := reflect.New(t)
	if err := codec.Unmarshal(data, v.Interface()); err != nil {
		return nil, err
	}
	if !pointer {
		v = v.Elem()
	}
	return v.Interface(), nil
}
