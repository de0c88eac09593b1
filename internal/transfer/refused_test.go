package transfer_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/internal/transfer"
)

// Lines with a right checksum that no store could give back as they are: the error has the
// number of the line and names the field, and nothing is stored.
func TestRefusedFields(t *testing.T) {
	t.Parallel()
	lines := linesOf(export(t, many(t, 20), transfer.ExportOptions{}))
	for name, tt := range map[string]struct{ from, to, want string }{
		"invalid UTF-8":              {`"Deposited"`, "\"Depos\xffted\"", `field "name"`},
		"half a pair of surrogates":  {`"Deposited"`, `"Depos\ud83dted"`, `field "name"`},
		"a field twice":              {`"codec"`, `"name":"Deposited","codec"`, `field "name"`},
		"another field":              {`"codec"`, `"seen":true,"codec"`, `field "seen"`},
		"other capitals":             {`"codec"`, `"Codec"`, `field "Codec" has to be written "codec"`},
		"null":                       {`"codec":"raw"`, `"codec":null`, `field "codec"`},
		"a real number":              {`"version":1`, `"version":1.0`, `field "version"`},
		"an exponent":                {`"version":1`, `"version":1e0`, `field "version"`},
		"bits behind the base64":     {`"data":"Nw=="`, `"data":"Nx=="`, `field "data"`},
		"white space in the base64":  {`"data":"Nw=="`, `"data":"Nw= ="`, `field "data"`},
		"no padding":                 {`"data":"Nw=="`, `"data":"Nw"`, `field "data"`},
		"an id in small letters":     {`"id":"0`, `"id":"z`, `field "id"`},
		"an id that is over":         {`"id":"0`, `"id":"8`, `field "id"`},
		"something behind":           {"}\n", "}}\n", "after its end"},
		"a byte order mark":          {`{"position"`, "\ufeff" + `{"position"`, "byte order mark"},
		"position 0":                 {`"position":8`, `"position":0`, "position: 0"},
		"a position beyond reason":   {`"position":8`, `"position":9223372036854775807`, "position: 9223372036854775807"},
		"version 0":                  {`"version":1`, `"version":0`, "version: 0"},
		"a time before 1970":         {`"timestamp":"2020`, `"timestamp":"1969`, "timestamp"},
		"a NUL in a name":            {`"Deposited"`, `"Depos\u0000ted"`, "event name"},
		"a line feed in an id":       {`"account 7"`, `"account\n7"`, "aggregate id"},
		"a codec that is too long":   {`"codec":"raw"`, `"codec":"` + strings.Repeat("r", 33) + `"`, "codec name"},
		"an empty name":              {`"Deposited"`, `""`, "event name: empty"},
		"a NUL in metadata":          {`"data"`, `"metadata":{"id":"\u0000"},"data"`, "metadata id"},
		"an empty key of metadata":   {`"data"`, `"metadata":{"values":{"":"x"}},"data"`, "metadata key"},
		"positions in another order": {`"position":8`, `"position":9`, "position 9"},
		"a time earlier than before": {`"timestamp":"2020-09-13T12:26:40.000007Z"`, `"timestamp":"2020-09-13T12:26:40.000001Z"`, "earlier than the event before it"},
		"a time that is a number":    {`"timestamp":"2020-09-13T12:26:40.000007Z"`, `"timestamp":1600000000`, `field "timestamp"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := slices.Clone(lines)
			if l[8] = strings.Replace(l[8], tt.from, tt.to, 1); l[8] == lines[8] {
				t.Fatalf("no %s in %s", tt.from, l[8])
			}
			text := sign(l)
			ex := memory.New(nil)
			_, err := transfer.Import(t.Context(), ex, strings.NewReader(text), transfer.ImportOptions{})
			for _, err := range []error{err, transfer.Verify(t.Context(), strings.NewReader(text), transfer.ImportOptions{})} {
				if !errors.Is(err, evento.ErrInvalid) || !strings.HasPrefix(err.Error(), "line 9: evento: ") || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %v, line 9 and %q", err, evento.ErrInvalid, tt.want)
				}
			}
			if page, err := ex.Read(t.Context(), evento.Query{}, cursor.Onward(1, "")); err != nil || len(page.Edges) > 0 {
				t.Errorf("the store has %v, %v, want nothing", page, err)
			}
		})
	}
}

// An event id that is there twice is refused, however far apart the two lines are, and although
// no batch has both: one that comes late only where the export can be read again.
func TestRefusedIDs(t *testing.T) {
	t.Parallel()
	ex := memory.New(nil)
	var ids []evento.ID
	for range 18 {
		a := evento.Append{AggregateType: "t", AggregateID: "a", AnyVersion: true}
		for range evento.MaxCommitEvents {
			e := evento.NewEvent{ID: evento.NewID(), Name: "n", Codec: "json", Data: []byte("{}")}
			ids = append(ids, e.ID)
			a.Events = append(a.Events, e)
		}
		if _, err := ex.Write(t.Context(), evento.Write{Appends: []evento.Append{a}}); err != nil {
			t.Fatal(err)
		}
	}
	lines := linesOf(export(t, ex, transfer.ExportOptions{}))
	for name, tt := range map[string]struct {
		as    int // the last event has the id of this one
		found bool
	}{"recent": {len(ids) - 20_000, true}, "long ago": {1000, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := slices.Clone(lines)
			l[len(ids)] = strings.Replace(l[len(ids)], ids[len(ids)-1].String(), ids[tt.as-1].String(), 1)
			text, want := sign(l), fmt.Sprintf("line %d: evento: invalid event at position %d: it has the event id %s, as the event at position %d has", len(ids)+1, len(ids), ids[tt.as-1], tt.as)
			for _, opts := range []transfer.ImportOptions{{}, {Renumber: true}} {
				if err := transfer.Verify(t.Context(), strings.NewReader(text), opts); !errors.Is(err, evento.ErrInvalid) || err.Error() != want {
					t.Errorf("Verify() with %+v = %v, want %s", opts, err, want)
				}
			}
			_, err := transfer.Import(t.Context(), memory.New(nil), strings.NewReader(text), transfer.ImportOptions{})
			if tt.found && (!errors.Is(err, evento.ErrInvalid) || err.Error() != want) || !tt.found && err != nil {
				t.Errorf("Import() = %v, want %s: %v", err, want, tt.found)
			}
		})
	}
}

// What an export leaves out where it is not set is not taken when it is empty.
func TestRefusedEmpty(t *testing.T) {
	t.Parallel()
	lines := linesOf(export(t, many(t, 20), transfer.ExportOptions{}))
	for from, more := range map[string][]string{
		`"timestamp"`: {`"routingKey":""`, `"tags":[]`},
		`"data"`:      {`"metadata":{}`, `"metadata":{"id":""}`, `"metadata":{"requestedBy":""}`, `"metadata":{"id":"x","values":{}}`},
	} {
		for _, field := range more {
			l := slices.Clone(lines)
			l[8] = strings.Replace(l[8], from, field+","+from, 1)
			_, err := transfer.Import(t.Context(), memory.New(nil), strings.NewReader(sign(l)), transfer.ImportOptions{})
			if !errors.Is(err, evento.ErrInvalid) || !strings.HasPrefix(err.Error(), "line 9: ") || !strings.Contains(err.Error(), "empty") {
				t.Errorf("with %s: Import() = %v, want %v and that it is empty", field, err, evento.ErrInvalid)
			}
		}
	}
}
