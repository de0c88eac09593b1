// Columns of events.

package sqlstore

import (
	"encoding/json"
	"fmt"

	"github.com/evento-go/evento"
)

// EncodeMetadata returns the JSON of each append's metadata, "" where it has
// none; nil: none has any.
func EncodeMetadata(appends []evento.Append) (texts []string, err error) {
	for i := range appends {
		if appends[i].Metadata.IsZero() {
			continue
		}
		text, err := json.Marshal(appends[i].Metadata)
		if err != nil {
			return nil, fmt.Errorf("encoding metadata: %w", err)
		}
		if texts == nil {
			texts = make([]string, len(appends))
		}
		texts[i] = string(text)
	}
	return texts, nil
}

// DecodeMetadata reads the column of the event at a position, if it has any.
func DecodeMetadata(text []byte, position int64, m *evento.Metadata) error {
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, m); err != nil {
		return fmt.Errorf("%w: metadata of the event at position %d: %w", evento.ErrDecode, position, err)
	}
	return nil
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
