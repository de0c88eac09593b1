package transfer

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/strictjson"
)

// The format is described in docs/formats.md.
const (
	formatVersion = 1
	// timeFormat has the precision of the stores: UTC, in microseconds.
	timeFormat = "2006-01-02T15:04:05.000000Z"
	// maxLine is larger than the line of the largest event: base64 takes four bytes
	// for three of the payload, and escaping up to six for one of metadata and
	// names.
	maxLine = evento.MaxPayload/3*4 + evento.MaxMetadata*6 + evento.MaxName*6*(5+evento.MaxTags) + 4096

	kindHeader = "events"
	kindFooter = "end"
)

// header is the first line.
// Why: docs/decisions.md, "Exports do not name their store".
type header struct {
	Kind    string `json:"evento"`
	Version int    `json:"version"`
}

// footer is the last line.
type footer struct {
	Kind   string `json:"evento"`
	Events uint64 `json:"events"`
	// SHA256 is the hash of all lines before.
	SHA256 string `json:"sha256"`
}

// isOwn reports whether a line is a header or footer, and not an event.
func isOwn(line []byte) bool { return bytes.HasPrefix(line, []byte(`{"evento":`)) }

// record is an event's line. The reader of lines is parse.
type record struct {
	Position   uint64           `json:"position"`
	ID         string           `json:"id"`
	Type       string           `json:"type"`
	Aggregate  string           `json:"aggregate"`
	Version    uint64           `json:"version"`
	Name       string           `json:"name"`
	RoutingKey string           `json:"routingKey,omitempty"`
	Tags       []string         `json:"tags,omitempty"`
	Timestamp  string           `json:"timestamp"`
	Codec      string           `json:"codec"`
	Metadata   *evento.Metadata `json:"metadata,omitempty"`
	Data       []byte           `json:"data"`
}

func recordOf(e *evento.RawEvent) record {
	r := record{
		Position: e.Position, ID: e.ID.String(), Type: string(e.AggregateType), Aggregate: e.AggregateID, Version: e.Version,
		Name: e.Name, RoutingKey: e.RoutingKey, Tags: e.Tags, Timestamp: e.Timestamp.UTC().Format(timeFormat), Codec: e.Codec, Data: e.Data,
	}
	if r.Data == nil {
		r.Data = []byte{} // nil would be null
	}
	if !e.Metadata.IsZero() {
		r.Metadata = &e.Metadata
	}
	return r
}

// checkHeader checks the first line.
func checkHeader(line []byte) error {
	r := strictjson.New(line)
	r.Open()
	r.Need("evento")
	kind := r.Text()
	r.Need("version")
	version := r.Number()
	r.Close()
	err := r.End()
	switch {
	case err != nil:
		return fmt.Errorf("line 1: %w export: it is not the first line of one: %w", evento.ErrInvalid, err)
	case kind != kindHeader:
		return fmt.Errorf("line 1: %w export: it is not the first line of one", evento.ErrInvalid)
	case version != formatVersion:
		return fmt.Errorf("line 1: %w export: format %d, this release reads %d", evento.ErrInvalid, version, formatVersion)
	}
	return nil
}

// checkFooter compares the last line with what was read.
func checkFooter(line []byte, no, events uint64, sum hash.Hash) error {
	var f footer
	r := strictjson.New(line)
	r.Open()
	r.Need("evento")
	if f.Kind = r.Text(); !r.Failed() && f.Kind != kindFooter {
		return fmt.Errorf("line %d: %w export: a line of kind %q in the middle; import the files one by one", no, evento.ErrInvalid, f.Kind)
	}
	r.Need("events")
	f.Events = r.Number()
	r.Need("sha256")
	f.SHA256 = r.Text()
	r.Close()
	if err := r.End(); err != nil {
		return fmt.Errorf("line %d: %w export: its last line: %w", no, evento.ErrInvalid, err)
	}
	if f.Events != events {
		return fmt.Errorf("line %d: %w export: it has %d events, and its last line says %d: lines were lost or added", no, evento.ErrInvalid, events, f.Events)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("line %d: %w export: its lines have the SHA-256 %s, and its last line says %s: it was changed or damaged", no, evento.ErrInvalid, got, f.SHA256)
	}
	return nil
}
