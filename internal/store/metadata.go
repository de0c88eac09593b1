// Metadata in JSON.

package store

import (
	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/strictjson"
)

// ReadMetadata reads the fields of metadata in an object that was begun.
func ReadMetadata(r *strictjson.Reader) (m evento.Metadata) {
	for _, f := range [...]struct {
		name string
		into *string
	}{
		{"id", &m.ID}, {"requestedBy", &m.RequestedBy}, {"requestedAs", &m.RequestedAs},
		{"correlationId", &m.CorrelationID}, {"causationId", &m.CausationID},
	} {
		if r.Next(f.name) {
			*f.into = r.Text()
		}
	}
	if r.Next("values") {
		m.Values = r.Map()
	}
	return m
}
