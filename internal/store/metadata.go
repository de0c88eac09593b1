// Metadata in JSON.

package store

import (
	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/strictjson"
)

// ReadMetadata reads the fields of metadata in an object that was begun. What is not set has no
// field.
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
			r.NotEmpty(*f.into != "")
		}
	}
	if r.Next("values") {
		m.Values = r.Map()
		r.NotEmpty(len(m.Values) > 0)
	}
	return m
}
