package sqlstore_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver" // to change a store by hand

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// taggedStore makes a store of 200 events, and returns its path and events.
func taggedStore(t *testing.T) (path string, events []evento.RawEvent) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "events.db")
	ex, err := sqlite.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		e := evento.NewEvent{ID: evento.NewID(), Name: "n", Codec: "json", Data: []byte("{}")}
		for n := range i % 5 {
			e.Tags = append(e.Tags, fmt.Sprint("tag ", n, ":", i*n))
		}
		w := evento.Write{Appends: []evento.Append{{AggregateType: "t", AggregateID: fmt.Sprint(i % 7), AnyVersion: true, Events: []evento.NewEvent{e}}}}
		if _, err := ex.Write(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	return path, events
}

// The sums of the events are those of the index, up to each position.
func TestTagSums(t *testing.T) {
	t.Parallel()
	path, events := taggedStore(t)
	in, err := sqlite.Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	var want sqlstore.TagSums
	for _, e := range events {
		want.Add(e.Position, e.Tags)
		if got, err := in.TagSums(t.Context(), e.Position); err != nil || got != want {
			t.Fatalf("TagSums(%d) = %+v, %v, want %+v", e.Position, got, err, want)
		}
	}
	if want.Rows != 400 {
		t.Errorf("%+v, want 400 rows", want)
	}
	if got, err := in.TagSums(t.Context(), 0); err != nil || got != (sqlstore.TagSums{}) {
		t.Errorf("TagSums(0) = %+v, %v, want none", got, err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	twice := sqlstore.TagSums{}
	twice.Add(3, []string{"a", "a"})
	if twice.Rows != 1 {
		t.Errorf("a tag that is there twice: %+v, want one row", twice)
	}
}

// A row of which any bit was changed has other sums.
func TestTagSumsOfChangedRows(t *testing.T) {
	t.Parallel()
	path, events := taggedStore(t)
	in, err := sqlite.Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	e := events[104] // whose second tag no other event has
	was, at := store.TagNumber(e.Tags[1]), int64(e.Position)
	const all = 1 << 62
	want, err := in.TagSums(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	change := func(from, to [2]int64) {
		t.Helper()
		result, err := db.ExecContext(t.Context(), "UPDATE evento_tag SET tag = ?, position = ? WHERE tag = ? AND position = ?", to[0], to[1], from[0], from[1])
		if err != nil {
			t.Fatal(err)
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			t.Fatalf("%d rows changed, %v, want 1", n, err)
		}
	}
	for bit := range 64 {
		for _, to := range [][2]int64{{was ^ 1<<bit, at}, {was, at ^ 1<<min(bit, 61)}} {
			change([2]int64{was, at}, to)
			if got, err := in.TagSums(t.Context(), all); err != nil || got == want {
				t.Errorf("bit %d, %v instead of %v: %+v, %v, want other sums", bit, to, [2]int64{was, at}, got, err)
			}
			change(to, [2]int64{was, at})
		}
	}
	if got, err := in.TagSums(t.Context(), all); err != nil || got != want {
		t.Errorf("TagSums() = %+v, %v, want %+v", got, err, want)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}

func TestCheckTags(t *testing.T) {
	t.Parallel()
	c := sqlstore.CheckTags("index", "evento_")
	if f := c.Judge([]string{"0"}); f != nil || !strings.Contains(c.Query, "FROM index ") || !strings.Contains(c.Query, "FROM evento_event") {
		t.Errorf("%s found %v of none", c.Query, f)
	}
	if f := c.Judge([]string{"3"}); f == nil || !strings.HasPrefix(f.Detail, "3 rows") {
		t.Errorf("found %v of 3", f)
	}
}
