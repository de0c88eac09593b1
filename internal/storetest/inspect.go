package storetest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/examine"
	"github.com/evento-go/evento/internal/sqlstore"
)

// Inspector tests an inspector of a store that open makes. Tables is what the names of
// tables begin with.
func Inspector(t *testing.T, in *sqlstore.Inspector, tables string, open func() evento.Executor) {
	t.Helper()
	ctx := t.Context()
	defer func() {
		if err := in.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}()
	at, latest, _ := in.Version(ctx) // an error where a file is missing
	if at != 0 || latest == 0 {
		t.Errorf("of no store: Version() = %d, %d, want 0 and some", at, latest)
	}
	ex := open()
	defer func() {
		if err := ex.Close(); err != nil {
			t.Errorf("closing the executor: %v", err)
		}
	}()
	ids := []evento.ID{evento.NewID(), evento.NewID()}
	for i, aggregate := range []evento.AggregateType{"z", "a"} {
		w := evento.Write{Appends: []evento.Append{{AggregateType: aggregate, AggregateID: "i", Events: []evento.NewEvent{{ID: ids[i], Name: "n", Codec: "json", Data: []byte("{}")}}}}}
		if _, err := ex.Write(ctx, w); err != nil {
			t.Fatalf("Write() = %v", err)
		}
	}
	list, err := in.Applied(ctx)
	if err != nil || len(list) != latest || time.Since(list[0].At).Abs() > time.Hour {
		t.Errorf("Applied() = %v, %v, want %d of now", list, err, latest)
	}
	if list, err := in.Types(ctx); err != nil || !slices.Equal(list, []evento.AggregateType{"a", "z"}) {
		t.Errorf("Types() = %v, %v, want a and z", list, err)
	}
	for id, want := range map[evento.ID]uint64{ids[0]: 1, ids[1]: 2, evento.NewID(): 0} {
		if got, err := in.Position(ctx, id); err != nil || got != want {
			t.Errorf("Position(%s) = %d, %v, want %d", id, got, err, want)
		}
	}
	for _, c := range in.Checks {
		err := in.Examine(ctx, c, func(f sqlstore.Finding) error {
			t.Errorf("%s found %v, want nothing", c.Name, f)
			return nil
		})
		if err != nil {
			t.Errorf("Examine(%s) = %v", c.Name, err)
		}
	}
	made, err := in.Made(ctx)
	if err != nil || len(made) < 60 {
		t.Fatalf("Made() = %v, %v, want many parts", made, err)
	}
	if schema, err := in.Schema(ctx); err != nil || len(schema.Differences(made)) > 0 {
		t.Errorf("Schema() = %v, %v, which differs from what migrations make in %v", schema, err, schema.Differences(made))
	}
	asTheyAre(t, in, ids)
	// Whatever a check asks for, nothing changes.
	if err := in.Examine(ctx, sqlstore.Check{Query: "DELETE FROM " + tables + "migration"}, nil); err == nil {
		t.Error("a check changed the store")
	}
	if at, _, err := in.Version(ctx); err != nil || at != latest {
		t.Errorf("Version() = %d, %v, want %d", at, err, latest)
	}
}

// asTheyAre reads all that the tables have, in which nothing is wrong.
func asTheyAre(t *testing.T, in *sqlstore.Inspector, ids []evento.ID) {
	t.Helper()
	ctx := t.Context()
	schema, err := in.Schema(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tables := in.TablesOf(schema)
	for from := range uint64(3) {
		var got []evento.ID
		err := tables.Events(ctx, from, func(e *examine.Event) error {
			if e.Check(); len(e.Faults) > 0 || e.Position != uint64(slices.Index(ids, e.ID)+1) || string(e.Data) != "{}" {
				t.Errorf("Events(%d): %+v, want nothing wrong", from, e)
			}
			got = append(got, e.ID)
			return nil
		})
		if want := ids[max(from, 1)-1:]; err != nil || !slices.Equal(got, want) {
			t.Errorf("Events(%d) = %v, %v, want %v", from, got, err, want)
		}
	}
	for n, want := range map[int]uint64{1: 2, 2: 1, 3: 0} {
		if got, known, err := tables.Last(ctx, n); err != nil || got != want || !known {
			t.Errorf("Last(%d) = %d, %v, want %d", n, got, err, want)
		}
	}
	if now, err := tables.Now(ctx); err != nil || time.Since(now).Abs() > time.Hour {
		t.Errorf("Now() = %v, %v", now, err)
	}
	for _, kind := range []string{"", "k"} {
		if err := tables.Records(ctx, kind, func(r *examine.Record) error { return fmt.Errorf("%+v", r) }); err != nil {
			t.Errorf("Records(%q) = %v, want none", kind, err)
		}
	}
	if r, err := tables.Record(ctx, evento.RecordKey{Kind: "k", Key: "k", Part: "p"}); r != nil || err != nil {
		t.Errorf("Record() = %v, %v, want none", r, err)
	}
	if err := tables.Snapshots(ctx, func(s *examine.Snapshot) error { return fmt.Errorf("%+v", s) }); err != nil {
		t.Errorf("Snapshots() = %v, want none", err)
	}
	if err := tables.Names(ctx, func(which, fault string) error { return fmt.Errorf("%s: %s", which, fault) }); err != nil {
		t.Errorf("Names() = %v, want nothing wrong", err)
	}
}

// Judge tests the check whose query contains a text: in this row it finds something with
// these words; "": nothing.
func Judge(t *testing.T, in *sqlstore.Inspector, query, words string, row ...string) {
	t.Helper()
	for _, c := range in.Checks {
		if !strings.Contains(c.Query, query) {
			continue
		}
		if f := c.Judge(row); (f != nil) != (words != "") || f != nil && !strings.Contains(f.Detail, words) {
			t.Errorf("%s: %v of %q, want %q", c.Query, f, row, words)
		}
		return
	}
	t.Errorf("no check asks for %s", query)
}

// Recorded holds the recorded schema in a file against what migrations have made in a store.
// With update it is recorded anew.
func Recorded(t *testing.T, in *sqlstore.Inspector, file string, update bool) {
	t.Helper()
	schema, err := in.Schema(t.Context())
	if err != nil {
		t.Fatalf("Schema() = %v", err)
	}
	if update {
		if err := os.WriteFile(file, []byte(schema.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	made, err := in.Made(t.Context())
	if err != nil || made.String() != schema.String() {
		t.Errorf("%s is not what the migrations make, %v: look at what changed and run go test -run SchemaIsRecorded -update\n%v%v", file, err, schema.Differences(made), made.Differences(schema))
	}
}
