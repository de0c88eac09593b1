package evento

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// AggregateType names a kind of aggregate, such as "bank/Account". By
// convention it is the name of the application or module, a slash, and the
// entity.
type AggregateType string

// AggregateKey names one aggregate: ids are unique within a type.
type AggregateKey struct {
	Type AggregateType `json:"type"`
	ID   string        `json:"id"`
}

// ID is an event's identity, a ULID (https://github.com/ulid/spec): 48 bits of
// milliseconds and 80 random bits, printed as 26 characters.
type ID = ulid.ULID

// RawEvent is an event as it is stored: an immutable fact about one aggregate.
//
// In JSON, its ID is a text of 26 characters and Data is in base64; what the event does
// not have of RoutingKey, Tags and Metadata is left out. Positions and versions are
// numbers, here and in all types: they count from 1, so that they stay below 2^53, up to
// which JavaScript is exact, for 285 years at a million events a second.
//
// Why: docs/decisions.md, "JSON has the names of GraphQL, and positions are numbers".
type RawEvent struct {
	// ID is unique, and rises within the process that made it.
	ID ID `json:"id"`
	// Position is the event's place in the store's single total order, from 1.
	Position uint64 `json:"position"`

	AggregateType AggregateType `json:"aggregateType"`
	AggregateID   string        `json:"aggregateId"`
	// Version counts the events of the aggregate: 1, 2, 3, … without gaps.
	Version uint64 `json:"version"`

	// Name is the payload's EventName when the event was committed.
	Name string `json:"name"`
	// RoutingKey is that of the aggregate's first event; "" is none.
	RoutingKey string `json:"routingKey,omitempty"`
	// Tags are what the event is about besides its aggregate, see [Tagged]. The reader
	// must not write to them: events may share them.
	Tags []string `json:"tags,omitempty"`
	// Codec is the name of the codec that wrote Data.
	Codec string `json:"codec"`
	// Data is the encoded payload. The reader may write to it; that changes nothing
	// in the store. Events of one page may share an array.
	Data []byte `json:"data"`

	Metadata Metadata `json:"metadata,omitzero"`

	// Timestamp is when the store recorded the event: UTC, in microseconds. It
	// never decreases from one position to the next, even when clocks are set back.
	//
	// Why: docs/decisions.md, "Timestamps are the store's".
	Timestamp time.Time `json:"timestamp"`
}

// Aggregate returns the key of the event's aggregate.
func (e *RawEvent) Aggregate() AggregateKey { return AggregateKey{e.AggregateType, e.AggregateID} }

// Metadata describes a commit. Every field is optional; all events of a commit have
// the same metadata.
type Metadata struct {
	// ID identifies the request or message that led to the commit.
	ID string `json:"id,omitempty"`
	// RequestedBy is who asked for it, such as a user's id.
	RequestedBy string `json:"requestedBy,omitempty"`
	// RequestedAs is whom they acted as, when that is somebody else.
	RequestedAs string `json:"requestedAs,omitempty"`
	// CorrelationID is shared by everything that one request led to.
	CorrelationID string `json:"correlationId,omitempty"`
	// CausationID is the id of the event or message that directly led to this.
	CausationID string `json:"causationId,omitempty"`
	// Values holds anything else.
	Values map[string]string `json:"values,omitempty"`
}

// IsZero reports whether nothing is set.
func (m Metadata) IsZero() bool {
	return m.ID == "" && m.RequestedBy == "" && m.RequestedAs == "" &&
		m.CorrelationID == "" && m.CausationID == "" && len(m.Values) == 0
}

// Clone returns a copy that shares no map.
func (m Metadata) Clone() Metadata {
	m.Values = maps.Clone(m.Values)
	return m
}

// Event is a RawEvent with its payload decoded. In JSON, data is the decoded payload, and
// the encoded one is left out.
type Event[D Payload] struct {
	RawEvent
	// Data is the decoded payload; the encoded one is RawEvent.Data.
	Data D `json:"data"`
}

// Decode decodes the payload of a stored event, for programs that read events
// themselves; handlers get decoded events. The event must be of D's kind, or have
// one of its former names, see [Renamed]. The others are further codecs that may
// have written it, besides [CBOR] and [JSON].
//
// Errors: [ErrInvalid] when the event is not of D's kind; [ErrDecode].
func Decode[D Payload](raw RawEvent, others ...Codec) (Event[D], error) {
	kinds, err := kindsFor[D]()
	if err != nil {
		return Event[D]{}, err
	}
	if got := (eventKind{raw.AggregateType, raw.Name}); !slices.Contains(kinds, got) {
		return Event[D]{}, fmt.Errorf("%w event: %s is not %s", ErrInvalid, got, kinds[0])
	}
	return decoder[D]()(others, &raw)
}

// decoder returns the function that turns raw events into typed ones.
func decoder[D Payload]() func(codecs, *RawEvent) (Event[D], error) {
	pointer := reflect.TypeFor[D]().Kind() == reflect.Pointer
	return func(codecs codecs, raw *RawEvent) (Event[D], error) {
		var d D // separate, so that only the payload has to be on the heap
		payload := any(&d)
		if pointer {
			d = newPayload[D]()
			payload = d
		}
		if err := codecs.decode(raw, payload, &d); err != nil {
			return Event[D]{}, err
		}
		return Event[D]{RawEvent: *raw, Data: d}, nil
	}
}
