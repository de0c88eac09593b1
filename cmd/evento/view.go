// Printing events.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// eventView is an event for programs. The names of its fields are stable.
type eventView struct {
	Position      uint64               `json:"position"`
	ID            evento.ID            `json:"id"`
	AggregateType evento.AggregateType `json:"aggregateType"`
	AggregateID   string               `json:"aggregateId"`
	Version       uint64               `json:"version"`
	Name          string               `json:"name"`
	RoutingKey    string               `json:"routingKey,omitempty"`
	Tags          []string             `json:"tags,omitempty"`
	Timestamp     time.Time            `json:"timestamp"`
	Metadata      *evento.Metadata     `json:"metadata,omitempty"`
	Codec         string               `json:"codec"`
	// Payload is the payload as JSON. If it cannot be converted, Data is its bytes,
	// and Error says why. They are made by decode.
	Payload json.RawMessage `json:"payload,omitempty"`
	Data    []byte          `json:"data,omitempty"`
	Error   string          `json:"payloadError,omitempty"`
	Cursor  cursor.Value    `json:"cursor,omitempty"`

	event *evento.RawEvent
}

func viewOf(e *evento.RawEvent, at cursor.Value) eventView {
	v := eventView{
		Position: e.Position, ID: e.ID, AggregateType: e.AggregateType, AggregateID: e.AggregateID, Version: e.Version,
		Name: e.Name, RoutingKey: e.RoutingKey, Tags: e.Tags, Timestamp: e.Timestamp, Codec: e.Codec, Cursor: at, event: e,
	}
	if !e.Metadata.IsZero() {
		v.Metadata = &e.Metadata
	}
	return v
}

// decode adds the payload, for programs.
func (v *eventView) decode() {
	payload, cut, err := payloadJSON(v.event, mostProgram)
	switch {
	case cut:
		v.Data, v.Error = v.event.Data, fmt.Sprintf("as JSON it has more than %d bytes", mostProgram)
	case err == nil:
		v.Payload = payload
	case errors.Is(err, errCodec):
		v.Data = v.event.Data
	default:
		v.Data, v.Error = v.event.Data, err.Error()
	}
}

// payload returns the payload in one line, for people.
func (v *eventView) payload() string { return payloadText(v.event, mostInLine) }

var eventColumns = []string{"POSITION", "TIME", "TYPE", "ID", "VERSION", "NAME"}

func (v *eventView) row() []string {
	return []string{number(v.Position), showTime(v.Timestamp), show(string(v.AggregateType)), show(v.AggregateID), number(v.Version), show(v.Name)}
}

// tags returns the tags in one cell, for people.
func (v *eventView) tags() string {
	if len(v.Tags) == 0 {
		return "-"
	}
	cells := make([]string, len(v.Tags))
	for i, tag := range v.Tags {
		if cells[i] = show(tag); cells[i] == tag && strings.Contains(tag, " ") {
			cells[i] = strconv.Quote(tag) // it is not two
		}
	}
	return strings.Join(cells, " ")
}

// write prints everything about an event, for people.
func (v *eventView) write(o *output) error {
	rows := [][]string{
		{"position", number(v.Position)},
		{"id", v.ID.String()},
		{"aggregate", show(string(v.AggregateType)) + " " + show(v.AggregateID)},
		{"version", number(v.Version)},
		{"name", show(v.Name)},
		{"routing key", shown(v.RoutingKey)},
		{"recorded", showTime(v.Timestamp)},
		{"codec", show(v.Codec)},
	}
	for _, tag := range v.Tags {
		rows = append(rows, []string{"tag", show(tag)})
	}
	if m := v.Metadata; m != nil {
		for _, f := range [][2]string{
			{"metadata id", m.ID}, {"requested by", m.RequestedBy}, {"requested as", m.RequestedAs},
			{"correlation", m.CorrelationID}, {"causation", m.CausationID},
		} {
			if f[1] != "" {
				rows = append(rows, []string{f[0], show(f[1])})
			}
		}
		for _, k := range sortedKeys(m.Values) {
			rows = append(rows, []string{"metadata", show(k) + " = " + show(m.Values[k])})
		}
	}
	if err := o.table(rows); err != nil {
		return err
	}
	return writePayload(o, v.event)
}

func number[N ~uint64 | ~int | ~int64](n N) string {
	if n < 0 {
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatUint(uint64(n), 10)
}
