// Columns of events.

package sqlstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
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

// Metadata is the JSON of the metadata of appends; nil: none has any.
type Metadata []string

// Of is that of append i; "": it has none.
func (m Metadata) Of(i int) string {
	if m == nil {
		return ""
	}
	return m[i]
}

// EncodeMetadata returns the metadata of appends.
func EncodeMetadata(appends []evento.Append) (texts Metadata) {
	for i := range appends {
		if appends[i].Metadata.IsZero() {
			continue
		}
		if texts == nil {
			texts = make(Metadata, len(appends))
		}
		text, _ := json.Marshal(appends[i].Metadata) // of strings alone: that does not fail
		texts[i] = string(text)
	}
	return texts
}

// NotNull is data for a column: nil would be NULL.
func NotNull(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// WithTags is the metadata of an event, with the tags that it has: a further field, the
// first one.
func WithTags(metadata string, tags []string) string {
	if len(tags) == 0 {
		return metadata
	}
	b := append(make([]byte, 0, 256), onlyTags...)
	for i, tag := range tags {
		if i > 0 {
			b = append(b, ',')
		}
		text, _ := json.Marshal(tag) // of a string: that does not fail
		b = append(b, text...)
	}
	b = append(b, ']')
	if metadata == "" {
		return string(append(b, '}'))
	}
	return string(append(append(b, ','), metadata[1:]...))
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
