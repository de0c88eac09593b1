// Reading events whatever they are.

package sqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/examine"
)

// pageOfEvents is how many events are asked for at once: the server keeps what one statement
// sees until it ends.
const pageOfEvents = 10_000

// Events calls each for every event, in the order of positions, and for events at no number
// at their end. It needs the memory of one event. From is the position of the first event;
// 0: those before 1 are among them. It may be that each is called for events that were
// committed since.
func (t *Tables) Events(ctx context.Context, from uint64, each func(*examine.Event) error) error {
	s := t.choose("e")
	typeID := t.in.Layout.TypeID
	if t.in.Layout.Aggregates {
		s.join("a", "key", "e.agg_key")
	}
	s.join("k", "id", "e.kind_id")
	s.join("kt", "id", "k.type_id")
	s.join("t", "id", typeID)
	s.join("r", "id", "e.routing_id")
	s.add("e.position", "e.recorded_at", "e.version", "e.event_id", "e.codec", "e.data", "e.metadata",
		"e.kind_id", "k.name", "k.type_id", "kt.name", "e.routing_id", "r.key", typeID, "t.name", t.in.Layout.Aggregate, "e.agg_key", "a.routing_id")
	if s.absent["e.position"] {
		return fmt.Errorf("%w store: its events have no positions", evento.ErrDamaged)
	}
	order := fmt.Sprintf(" ORDER BY e.position LIMIT %d", pageOfEvents)
	text, args := s.text()+order, []any(nil)
	if from > 0 {
		text, args = s.text()+" WHERE e.position >= "+t.in.Layout.param(1)+order, []any{int64(from)}
	}
	for {
		var last any
		n := 0
		err := t.in.query(ctx, text, func(rows *sql.Rows) error {
			values, err := s.values(rows)
			if err != nil {
				return err
			}
			n++
			last = values[0]
			return each((&eventRow{selection: s, values: values}).event())
		}, args...)
		if err != nil || n < pageOfEvents {
			return err
		}
		text, args = s.text()+" WHERE e.position > "+t.in.Layout.param(1)+order, []any{last}
		if last == nil { // NULL comes before all numbers, and enough of these were read
			text, args = s.text()+" WHERE e.position IS NOT NULL"+order, nil
		}
	}
}

// eventRow is a row of the statement of Events.
type eventRow struct {
	*selection
	values []any
	e      examine.Event
}

// The columns of eventRow.
const (
	atPosition = iota
	atRecorded
	atVersion
	atID
	atCodec
	atData
	atMetadata
	atKind
	atName
	atKindsType
	atKindsTypeName
	atRouting
	atRoutingKey
	atType
	atTypeName
	atAggregate
	atAggregateKey
	atAggregateRouting
)

func (r *eventRow) event() *examine.Event {
	e := &r.e
	e.Position = r.count(atPosition, examine.Position)
	e.Version = r.count(atVersion, examine.Version)
	if n, ok := r.number(atRecorded, examine.Timestamp); ok {
		e.Timestamp = time.UnixMicro(n).UTC()
	}
	r.id()
	e.Codec = r.text(atCodec, examine.Codec)
	e.Data = r.bytes(atData, examine.Data)
	r.metadata()
	r.aggregate()
	r.kind()
	r.routing()
	return e
}

// missing reports whether a column is missing, so that the part is not known.
func (r *eventRow) missing(at int, part examine.Part) bool {
	if r.columns[at] != "NULL" {
		return false
	}
	r.e.Unknown(part)
	return true
}

// number is a column that is to be a number.
func (r *eventRow) number(at int, part examine.Part) (n int64, ok bool) {
	if r.missing(at, part) {
		return 0, false
	}
	if n, ok = r.values[at].(int64); !ok {
		r.e.Add(part, "its %s is %s and no whole number", part, describe(r.values[at]))
	}
	return n, ok
}

// count is a number that is not negative.
func (r *eventRow) count(at int, part examine.Part) uint64 {
	n, ok := r.number(at, part)
	if ok && n < 0 {
		r.e.Add(part, "its %s is %d", part, n)
		return 0
	}
	return uint64(n)
}

func (r *eventRow) text(at int, part examine.Part) string {
	if r.missing(at, part) {
		return ""
	}
	text, ok := r.in.textOf(r.values[at])
	if !ok {
		r.e.Add(part, "its %s is %s and no text", part, describe(r.values[at]))
	}
	return text
}

func (r *eventRow) bytes(at int, part examine.Part) []byte {
	if r.missing(at, part) {
		return nil
	}
	b, ok := r.values[at].([]byte)
	if !ok {
		r.e.Add(part, "its %s is %s and no bytes", part, describe(r.values[at]))
	}
	return b
}

// textOf is a text: in SQLite and PostgreSQL of that type, in MySQL bytes.
func (in *Inspector) textOf(v any) (text string, ok bool) {
	if b, is := v.([]byte); is && in.Layout.BytesAreTexts {
		return string(b), true
	}
	text, ok = v.(string)
	return text, ok
}

// describe says what a value is, for a finding.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case int64:
		return fmt.Sprintf("the number %d", v)
	case float64:
		return fmt.Sprintf("the number %g", v)
	case string:
		return fmt.Sprintf("the text %.60q", v)
	case []byte:
		return fmt.Sprintf("the %d bytes %.30x", len(v), v)
	}
	return fmt.Sprintf("the value %.60v", v)
}

// same compares values, which may be bytes.
func same(a, b any) bool {
	return a == nil && b == nil || a != nil && b != nil && describe(a) == describe(b)
}

// id reads 16 bytes, which PostgreSQL shows as the text of a UUID.
func (r *eventRow) id() {
	if r.missing(atID, examine.ID) {
		return
	}
	b, ok := r.values[atID].([]byte)
	if text, is := r.values[atID].(string); is && r.in.Layout.UUIDs {
		var err error
		b, err = hex.DecodeString(strings.ReplaceAll(text, "-", ""))
		ok = err == nil
	}
	if !ok || len(b) != len(r.e.ID) {
		r.e.Add(examine.ID, "its event id is %s and not 16 bytes", describe(r.values[atID]))
		return
	}
	r.e.ID = evento.ID(b)
}

func (r *eventRow) metadata() {
	if r.missing(atMetadata, examine.Metadata) {
		r.e.Unknown(examine.Tags)
		return
	}
	if r.values[atMetadata] == nil {
		return
	}
	text, ok := r.in.textOf(r.values[atMetadata])
	if !ok {
		r.e.Add(examine.Metadata, "its metadata are %s and no text", describe(r.values[atMetadata]))
		r.e.Unknown(examine.Tags)
		return
	}
	if err := StrictMetadata([]byte(text), &r.e.RawEvent); err != nil {
		r.e.Add(examine.Metadata, "its metadata %.100q cannot be read: %s", text, err)
		r.e.Unknown(examine.Tags)
	}
}

// aggregate reads the aggregate's id and type.
func (r *eventRow) aggregate() {
	prefix := r.in.Layout.Prefix
	if r.in.Layout.Aggregates && !r.absent["a"] && !r.absent["e.agg_key"] && r.values[atAggregate] == nil && r.values[atType] == nil {
		r.e.Add(examine.Aggregate, "its aggregate, %s, is not in the table %saggregate", describe(r.values[atAggregateKey]), prefix)
		r.e.Unknown(examine.Type)
		return
	}
	r.e.AggregateID = r.text(atAggregate, examine.Aggregate)
	switch {
	case r.missing(atTypeName, examine.Type):
	case r.values[atTypeName] == nil:
		r.e.Add(examine.Type, "its aggregate type, %s, is not in the table %stype", describe(r.values[atType]), prefix)
	default:
		r.e.AggregateType = evento.AggregateType(r.text(atTypeName, examine.Type))
	}
}

// kind reads the event's name, which is one of an aggregate type.
func (r *eventRow) kind() {
	switch {
	case r.missing(atName, examine.Name):
	case r.values[atName] == nil:
		r.e.Add(examine.Name, "its kind, %s, is not in the table %skind", describe(r.values[atKind]), r.in.Layout.Prefix)
	default:
		r.e.Name = r.text(atName, examine.Name)
		if !r.absent["k.type_id"] && !r.e.Lacks(examine.Type) && !same(r.values[atKindsType], r.values[atType]) {
			of, _ := r.in.textOf(r.values[atKindsTypeName])
			r.e.Add(examine.Name, "its kind, %s %q, is one of the aggregate type %q, and its aggregate is of the type %q", describe(r.values[atKind]), r.e.Name, of, r.e.AggregateType)
		}
	}
}

func (r *eventRow) routing() {
	id := r.values[atRouting]
	if r.missing(atRouting, examine.RoutingKey) || r.missing(atRoutingKey, examine.RoutingKey) {
		return
	}
	switch {
	case same(id, r.in.Layout.Unrouted):
	case r.values[atRoutingKey] == nil:
		r.e.Add(examine.RoutingKey, "its routing key, %s, is not in the table %srouting", describe(id), r.in.Layout.Prefix)
	default:
		r.e.RoutingKey = r.text(atRoutingKey, examine.RoutingKey)
		if r.e.RoutingKey == "" && !r.e.Lacks(examine.RoutingKey) {
			r.e.Add(examine.RoutingKey, "its routing key is empty")
		}
	}
	if r.in.Layout.Aggregates && !r.absent["a"] && !r.e.Lacks(examine.Aggregate) && !same(r.values[atAggregateRouting], r.values[atRouting]) {
		r.e.Add(examine.RoutingKey, "its routing key is %s, and that of its aggregate %s", describe(r.values[atRouting]), describe(r.values[atAggregateRouting]))
	}
}
