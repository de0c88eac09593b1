package sqlstore

import (
	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
	"github.com/evento-go/evento/internal/strictjson"
)

// StrictMetadata reads the metadata and tags of an event, as [DecodeMetadata] does, and refuses
// what the library does not write: what would be read as something else than it says.
func StrictMetadata(text []byte, e *evento.RawEvent) error {
	r := strictjson.New(text)
	r.Open()
	if r.Next("tags") {
		e.Tags = r.Texts()
		r.NotEmpty(len(e.Tags) > 0)
	}
	e.Metadata = store.ReadMetadata(r)
	r.Close()
	return r.End()
}
