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
	"github.com/evento-go/evento/internal/payload"
	"github.com/evento-go/evento/internal/printable"
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
	text, cut, err := payload.JSON(v.event, payload.Whole)
	switch {
	case cut:
		v.Data, v.Error = v.event.Data, fmt.Sprintf("as JSON it has more than %d bytes", payload.Whole)
	case err == nil:
		v.Payload = text
	case errors.Is(err, payload.ErrCodec):
		v.Data = v.event.Data
	default:
		v.Data, v.Error = v.event.Data, err.Error()
	}
}

// payload returns the payload in one line, for people.
func (v *eventView) payload() string { return payload.Text(v.event, payload.InLine) }

var eventColumns = []string{"POSITION", "TIME", "TYPE", "ID", "VERSION", "NAME"}

func (v *eventView) row() []string {
	return []string{number(v.Position), printable.Time(v.Timestamp), printable.Text(string(v.AggregateType)), printable.Text(v.AggregateID), number(v.Version), printable.Text(v.Name)}
}

// tags returns the tags in one cell, for people.
func (v *eventView) tags() string {
	if len(v.Tags) == 0 {
		return "-"
	}
	cells := make([]string, len(v.Tags))
	for i, tag := range v.Tags {
		if cells[i] = printable.Text(tag); cells[i] == tag && strings.Contains(tag, " ") {
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
		{"aggregate", printable.Text(string(v.AggregateType)) + " " + printable.Text(v.AggregateID)},
		{"version", number(v.Version)},
		{"name", printable.Text(v.Name)},
		{"routing key", printable.OrDash(v.RoutingKey)},
		{"recorded", printable.Time(v.Timestamp)},
		{"codec", printable.Text(v.Codec)},
	}
	for _, tag := range v.Tags {
		rows = append(rows, []string{"tag", printable.Text(tag)})
	}
	if m := v.Metadata; m != nil {
		for _, f := range [][2]string{
			{"metadata id", m.ID}, {"requested by", m.RequestedBy}, {"requested as", m.RequestedAs},
			{"correlation", m.CorrelationID}, {"causation", m.CausationID},
		} {
			if f[1] != "" {
				rows = append(rows, []string{f[0], printable.Text(f[1])})
			}
		}
		for _, k := range sortedKeys(m.Values) {
			rows = append(rows, []string{"metadata", printable.Text(k) + " = " + printable.Text(m.Values[k])})
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

// writePayload prints a payload for people, indented where it is JSON.
func writePayload(o *output, e *evento.RawEvent) error {
	text, cut, err := payload.JSON(e, payload.Alone)
	if err != nil || cut && e.Codec == "json" { // which cannot be indented
		return o.printf("payload  %s\n", payload.Text(e, payload.Alone))
	}
	if err := o.printf("payload\n"); err != nil {
		return err
	}
	if err := payload.Indent(o.w, text); err != nil || !cut {
		return err
	}
	return o.printf("%s; -o json has all of it\n", strings.TrimSpace(payload.CutNote(e.Data)))
}
