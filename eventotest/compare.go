package eventotest

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/evento-go/evento"
)

// diff returns the difference of two values; "" if there is none.
func (h *history) diff(want, got any) string {
	diff, err := h.defaults.diff(want, got, h.compare)
	if err != nil {
		return incomparable(err)
	}
	return diff
}

// incomparable says why package cmp did not compare two values.
func incomparable(err error) string {
	return fmt.Sprintf("they cannot be compared: %v\nsee Compare\n", err)
}

// lost says that a payload does not come back from its codec as it was; "": it does.
func (h *history) lost(e Event) string {
	if e.Lossy {
		return ""
	}
	const changed = "does not come back from its codec as it was"
	codec := e.codec()
	data, err := codec.Marshal(e.Payload)
	if err != nil {
		return fmt.Sprintf("%s: codec %s cannot encode it: %v", changed, codec.Name(), err)
	}
	back, err := decodeAs(codec, data, reflect.TypeOf(e.Payload))
	if err != nil {
		return fmt.Sprintf("%s: codec %s cannot decode it: %v", changed, codec.Name(), err)
	}
	diff, err := h.defaults.diff(any(e.Payload), back, h.compare)
	switch {
	case err != nil:
		return "and what comes back from its codec: " + incomparable(err)
	case diff == "":
		return ""
	}
	return fmt.Sprintf("%s (-before +after, codec %s):\n%s"+
		"Unexported fields, and those tagged \"-\", are not stored. Export the field, leave it unset, or set Event.Lossy.", changed, codec.Name(), diff)
}

// How differences show stored events: the payload alone, unless the wanted event
// sets other fields.
type (
	event struct {
		Payload     any
		AggregateID string
		ID          string
		RoutingKey  string
		Tags        []string
		Metadata    evento.Metadata
		Timestamp   time.Time
		Codec       string
	}
	// unknown is a payload whose type the test does not know.
	unknown struct{ Kind, Data string }
)

// short returns what a difference shows of an event.
func (e *event) short() any {
	if e.AggregateID == "" && e.ID == "" && e.RoutingKey == "" && e.Tags == nil && e.Metadata.IsZero() && e.Timestamp.IsZero() && e.Codec == "" {
		return e.Payload
	}
	return *e
}

// same fails unless the stored events are the wanted ones, and reports whether they are.
// It finds the types of payloads among the wanted and the given events, and known.
func (h *history) same(what string, got []evento.RawEvent, want []evento.Payload, known ...Event) bool {
	h.t.Helper()
	wanted := make([]Event, len(want))
	for i, p := range want {
		e := asEvent(p)
		if e.missing() {
			h.misuse("wanted event %d is nil", i+1)
			return false
		}
		if why := h.lost(e); why != "" {
			h.misuse("wanted event %d %s", i+1, why)
			return false
		}
		wanted[i] = e
	}
	known = slices.Concat(wanted, known, h.known())
	wants, gots := make([]any, len(wanted)), make([]any, len(got))
	for i := range max(len(wants), len(gots)) {
		want := event{AggregateID: "shown"} // for an event that was not wanted
		if i < len(wanted) {
			want = wanted[i].shown()
			wants[i] = want.short()
		}
		if i < len(got) {
			e := shown(&got[i], &want)
			e.Payload = payload(&got[i], slices.Concat(wanted[min(i, len(wanted)):], known))
			gots[i] = e.short()
		}
	}
	if diff := h.diff(wants, gots); diff != "" {
		h.fail("%s are not those wanted (-want +got):\n%s", what, diff)
		return false
	}
	return true
}

// sorted returns tags in order, each once; not nil.
func sorted(tags []string) []string {
	tags = append([]string{}, tags...)
	slices.Sort(tags)
	return slices.Compact(tags)
}

func (e *Event) shown() event {
	s := event{
		Payload: e.Payload, AggregateID: e.AggregateID, RoutingKey: e.RoutingKey,
		Metadata: e.Metadata, Timestamp: e.Timestamp,
	}
	if e.Tags != nil {
		s.Tags = sorted(e.Tags)
	}
	if e.ID != (evento.ID{}) {
		s.ID = e.ID.String()
	}
	if e.Codec != nil {
		s.Codec = e.Codec.Name()
	}
	return s
}

// shown returns a stored event without its payload, with those fields that the
// wanted one sets.
func shown(e *evento.RawEvent, want *event) (s event) {
	if want.AggregateID != "" {
		s.AggregateID = e.AggregateID
	}
	if want.ID != "" {
		s.ID = e.ID.String()
	}
	if want.RoutingKey != "" {
		s.RoutingKey = e.RoutingKey
	}
	if want.Tags != nil {
		s.Tags = sorted(e.Tags)
	}
	if !want.Metadata.IsZero() {
		s.Metadata = e.Metadata
	}
	if !want.Timestamp.IsZero() {
		s.Timestamp = e.Timestamp
	}
	if want.Codec != "" {
		s.Codec = e.Codec
	}
	return s
}

// payload decodes a stored event into the type of the first known event of its
// kind.
func payload(e *evento.RawEvent, known []Event) any {
	k := kind{e.AggregateType, e.Name}
	codec := codecNamed(e.Codec, known)
	if codec == nil {
		return unknown{k.String(), fmt.Sprintf("of unknown codec %q", e.Codec)}
	}
	t := reflect.TypeFor[any]()
	at := slices.IndexFunc(known, func(e Event) bool { return e.kind() == k })
	if at >= 0 {
		t = reflect.TypeOf(known[at].Payload)
	}
	v, err := decodeAs(codec, e.Data, t)
	switch {
	case err != nil:
		return unknown{k.String(), err.Error()}
	case at < 0:
		return unknown{k.String(), describe(v)}
	}
	return v
}

// codecNamed finds a codec among those built in and those of the test's events;
// nil: there is none.
func codecNamed(name string, known []Event) evento.Codec {
	codecs := []evento.Codec{evento.CBOR(), evento.JSON()}
	for i := range known {
		codecs = append(codecs, known[i].codec())
	}
	at := slices.IndexFunc(codecs, func(c evento.Codec) bool { return c.Name() == name })
	if at < 0 {
		return nil
	}
	return codecs[at]
}
