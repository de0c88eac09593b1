package transfer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
	"github.com/evento-go/evento/internal/strictjson"
)

// parse reads the line of an event. It refuses what an import would change, and names the
// field. Whether the event can be stored, [evento.CheckImport] says.
func parse(line []byte) (e evento.RawEvent, err error) {
	r := strictjson.New(line)
	r.Open()
	r.Need("position")
	e.Position = r.Number()
	r.Need("id")
	e.ID = parseID(r)
	r.Need("type")
	e.AggregateType = evento.AggregateType(r.Text())
	r.Need("aggregate")
	e.AggregateID = r.Text()
	r.Need("version")
	e.Version = r.Number()
	r.Need("name")
	e.Name = r.Text()
	if r.Next("routingKey") {
		e.RoutingKey = r.Text()
		r.NotEmpty(e.RoutingKey != "")
	}
	if r.Next("tags") {
		e.Tags = r.Texts()
		r.NotEmpty(len(e.Tags) > 0)
	}
	r.Need("timestamp")
	e.Timestamp = parseTime(r)
	r.Need("codec")
	e.Codec = r.Text()
	if r.Next("metadata") {
		r.Open()
		e.Metadata = store.ReadMetadata(r)
		r.NotEmpty(!e.Metadata.IsZero())
		r.Close()
	}
	r.Need("data")
	e.Data = parseData(r)
	r.Close()
	return e, r.End()
}

// parseID reads a ULID in the one form that it is written in.
func parseID(r *strictjson.Reader) evento.ID {
	text := r.Text()
	id, err := ulid.ParseStrict(text)
	switch {
	case err != nil:
		r.Fail(fmt.Errorf("%.100q: %w", text, err))
	case id.String() != text:
		r.Fail(fmt.Errorf("%q has to be written %s", text, id))
	}
	return id
}

// parseTime reads a time in the one form that it is written in.
func parseTime(r *strictjson.Reader) time.Time {
	text := r.Text()
	at, err := time.Parse(timeFormat, text)
	switch {
	case err != nil:
		r.Fail(fmt.Errorf("%.100q is not a time of the form %s", text, timeFormat))
	case at.Format(timeFormat) != text:
		r.Fail(fmt.Errorf("%q has to be written %s", text, at.Format(timeFormat)))
	}
	return at
}

// exactBase64 refuses bits behind the end. It is immutable.
var exactBase64 = base64.StdEncoding.Strict()

// parseData reads base64 in the one form that stands for the bytes.
func parseData(r *strictjson.Reader) []byte {
	text, escaped := r.Raw()
	if escaped {
		r.Fail(errors.New("it has escapes, which base64 has no need of"))
		return nil
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := exactBase64.Decode(data, text)
	if err != nil {
		r.Fail(fmt.Errorf("it is not base64 with its padding, without white space and with no bits behind its end: %w", err))
	}
	return data[:n]
}
