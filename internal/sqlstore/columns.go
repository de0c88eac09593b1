// Columns of events.

package sqlstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Row is an event as the tables have it, with numbers for names.
type Row struct {
	Position, RecordedAt, Version int64
	KindID, RoutingID             int64 // RoutingID 0: none
	AggregateKey                  int64 // where aggregates are numbered
	AggregateID                   string
	ID                            evento.ID
	Codec                         string
	Data, Metadata                []byte
}

// ErrID is the error of an event whose id has not 16 bytes: with fewer it would be shown as
// another one.
func ErrID(position int64, bytes int) error {
	return fmt.Errorf("%w: the id of the event at position %d has %d bytes and not %d", evento.ErrDamaged, position, bytes, len(evento.ID{}))
}

// Events makes events of rows, without cursors. Fetch adds to the dictionary what
// it lacks of a row.
func (d *Dictionary) Events(rows []Row, fetch func(*Row) error) ([]cursor.Edge[evento.RawEvent], error) {
	if len(rows) == 0 {
		return nil, nil
	}
	edges := make([]cursor.Edge[evento.RawEvent], len(rows))
	var names EventNames
	for i := range rows {
		r, e := &rows[i], &edges[i].Node
		if r.KindID != names.KindID || r.RoutingID != names.RoutingID {
			names.KindID, names.RoutingID = r.KindID, r.RoutingID
			if err := d.Resolve(&names, func() error { return fetch(r) }); err != nil {
				return nil, fmt.Errorf("event at position %d: %w", r.Position, err)
			}
		}
		names.Into(e)
		e.ID, e.AggregateID, e.Codec, e.Data = r.ID, r.AggregateID, r.Codec, r.Data
		e.Position, e.Version = uint64(r.Position), uint64(r.Version)
		e.Timestamp = time.UnixMicro(r.RecordedAt).UTC()
		if i > 0 && len(r.Metadata) > 0 && bytes.Equal(r.Metadata, rows[i-1].Metadata) {
			e.Metadata, e.Tags = edges[i-1].Node.Metadata.Clone(), slices.Clone(edges[i-1].Node.Tags) // as within a commit
		} else if err := DecodeMetadata(r.Metadata, r.Position, e); err != nil {
			return nil, err
		}
	}
	return edges, nil
}

// Metadata is what is stored of the metadata and the tags of events, in the order of
// their appends; nil: none has any.
type Metadata []EventMetadata

// EventMetadata is that of one event.
type EventMetadata struct {
	Text string  // JSON; "": it has neither
	Tags []int64 // their numbers
}

// Of is that of event i.
func (m Metadata) Of(i int) (e EventMetadata) {
	if m == nil {
		return e
	}
	return m[i]
}

// Behind is that of the events behind the first n.
func (m Metadata) Behind(n int) Metadata {
	if m == nil {
		return nil
	}
	return m[n:]
}

// MetadataOf returns what is stored with the events of appends.
func MetadataOf(appends []evento.Append) (all Metadata) {
	if !described(appends) {
		return nil
	}
	for i := range appends {
		text := ""
		if !appends[i].Metadata.IsZero() {
			b, _ := json.Marshal(appends[i].Metadata) // of strings alone: that does not fail
			text = string(b)
		}
		for j := range appends[i].Events {
			tags := appends[i].Events[j].Tags
			if len(tags) == 0 {
				all = append(all, EventMetadata{Text: text})
				continue
			}
			all = append(all, EventMetadata{Text: withTags(text, tags), Tags: store.TagNumbers(tags)})
		}
	}
	return all
}

// described reports whether an event has metadata or tags.
func described(appends []evento.Append) bool {
	return slices.ContainsFunc(appends, func(a evento.Append) bool {
		return !a.Metadata.IsZero() || slices.ContainsFunc(a.Events, func(e evento.NewEvent) bool { return len(e.Tags) > 0 })
	})
}

// NotNull is data for a column: nil would be NULL.
func NotNull(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// withTags is the metadata of an event, with the tags that it has: a further field, the
// first one.
func withTags(metadata string, tags []string) string {
	b := append(make([]byte, 0, 256), onlyTags...)
	for i, tag := range tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, tag)
	}
	b = append(b, ']')
	if metadata == "" {
		return string(append(b, '}'))
	}
	return string(append(append(b, ','), metadata[1:]...))
}

// appendText appends the JSON of a text, as [json.Marshal] writes it.
func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			quoted, _ := json.Marshal(text) // of a string: that does not fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

const onlyTags = `{"tags":[`

// DecodeMetadata reads the column of the event at a position, if it has any.
func DecodeMetadata(text []byte, position int64, e *evento.RawEvent) error {
	if len(text) == 0 {
		return nil
	}
	var simple bool
	if e.Tags, simple = simpleTags(text); simple {
		return nil
	}
	both := struct {
		Tags []string `json:"tags"`
		*evento.Metadata
	}{Metadata: &e.Metadata}
	if err := json.Unmarshal(text, &both); err != nil {
		return fmt.Errorf("%w: metadata of the event at position %d: %w", evento.ErrDecode, position, err)
	}
	e.Tags = both.Tags
	return nil
}

// TagsIn are the tags in the metadata of an event; none if it cannot be read.
func TagsIn(text []byte) []string {
	if !bytes.Contains(text, []byte(onlyTags[1:])) {
		return nil
	}
	var e evento.RawEvent
	if DecodeMetadata(text, 0, &e) != nil {
		return nil
	}
	return e.Tags
}

// simpleTags reads metadata that has tags alone, and those without escapes: a JSON decoder
// takes longer than the rest of the event.
func simpleTags(text []byte) (tags []string, simple bool) {
	rest, tagged := bytes.CutPrefix(text, []byte(onlyTags))
	if !tagged || bytes.IndexByte(rest, '\\') >= 0 {
		return nil, false
	}
	if rest, tagged = bytes.CutSuffix(rest, []byte(`"]}`)); !tagged {
		return nil, false
	}
	for {
		rest, tagged = bytes.CutPrefix(rest, []byte(`"`))
		if !tagged {
			return nil, false
		}
		tag, behind, more := bytes.Cut(rest, []byte(`",`))
		if bytes.IndexByte(tag, '"') >= 0 {
			return nil, false
		}
		tags = append(tags, string(tag))
		if !more {
			return tags, true
		}
		rest = behind
	}
}

// CodecName spares an allocation for the codecs that nearly all events have.
func CodecName(text []byte) string {
	switch string(text) {
	case "cbor":
		return "cbor"
	case "json":
		return "json"
	}
	return string(text)
}
