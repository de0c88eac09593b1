package sqlstore_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento/internal/sqlstore"
)

func TestDifferences(t *testing.T) {
	t.Parallel()
	const made = "column event.data\tbytes\ncolumn event.id\tnumber\nindex of_ids on event\tunique (id)\ntable event\tlogged\ntable record\tlogged\ncolumn record.key\ttext\ntrigger keep on event\tbefore\nview events\t\nfunction keep\tnothing\n"
	want := sqlstore.ParseSchema(made)
	if again := sqlstore.ParseSchema(want.String()); again.String() != want.String() || len(want) != strings.Count(made, "\n") {
		t.Errorf("%q is read as %v", made, again)
	}
	for name, tt := range map[string]struct {
		change func(s sqlstore.Schema)
		want   []string
	}{
		"nothing":              {func(sqlstore.Schema) {}, nil},
		"a column changed":     {func(s sqlstore.Schema) { s["column event.id"] = "text" }, []string{"column event.id is text, and the migrations make it number"}},
		"a column less":        {func(s sqlstore.Schema) { delete(s, "column event.data") }, []string{"column event.data is missing: bytes"}},
		"a column more":        {func(s sqlstore.Schema) { s["column event.more"] = "text" }, []string{"column event.more is not of the migrations: text"}},
		"a table less":         {func(s sqlstore.Schema) { delete(s, "table record"); delete(s, "column record.key") }, []string{"table record is missing: logged"}},
		"an index less":        {func(s sqlstore.Schema) { delete(s, "index of_ids on event") }, []string{"index of_ids on event is missing: unique (id)"}},
		"an index more":        {func(s sqlstore.Schema) { s["index mine on event"] = "(data)" }, nil},
		"a unique index more":  {func(s sqlstore.Schema) { s["index mine on event"] = "unique (data)" }, []string{"index mine on event is not of the migrations: unique (data)"}},
		"a trigger less":       {func(s sqlstore.Schema) { delete(s, "trigger keep on event") }, []string{"trigger keep on event is missing: before"}},
		"a trigger more":       {func(s sqlstore.Schema) { s["trigger mine on event"] = "after" }, []string{"trigger mine on event is not of the migrations: after"}},
		"a view less":          {func(s sqlstore.Schema) { delete(s, "view events") }, []string{"view events is missing"}},
		"a function changed":   {func(s sqlstore.Schema) { s["function keep"] = "something" }, []string{"function keep is something, and the migrations make it nothing"}},
		"a column of nothing ": {func(s sqlstore.Schema) { s["column event.id"] = "" }, []string{"column event.id is nothing, and the migrations make it number"}},
		"somebody else's": {func(s sqlstore.Schema) {
			s["table own"], s["column own.id"], s["index i on own"], s["trigger t on own"], s["view own"], s["function own"] = "x", "x", "unique x", "x", "x", "x"
		}, nil},
		"long texts": {func(s sqlstore.Schema) {
			s["column event.id"] = strings.Repeat("a", 100) + "b" + strings.Repeat("c", 100)
			want["column event.id"] = strings.Repeat("a", 100) + "d"
		}, []string{"column event.id is …" + strings.Repeat("a", 20) + "b" + strings.Repeat("c", 39) + "…, and the migrations make it …" + strings.Repeat("a", 20) + "d"}},
	} {
		want = sqlstore.ParseSchema(made)
		is := sqlstore.ParseSchema(made)
		tt.change(is)
		var got []string
		for _, d := range is.Differences(want) {
			got = append(got, d.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// The same definition has one form, and another one another.
func TestNormalSQL(t *testing.T) {
	t.Parallel()
	const want = "create table evento_event ( position integer primary key , codec text not null default 'It''s -- A' , check ( length ( x ) = 16 ) ) strict"
	for _, text := range []string{
		"CREATE TABLE evento_event (position INTEGER PRIMARY KEY, codec TEXT NOT NULL DEFAULT 'It''s -- A', CHECK (length(x) = 16)) STRICT",
		"create  table \"evento_event\"(\n  position INTEGER PRIMARY KEY, -- where\n  [codec] TEXT /* which\n */ NOT NULL DEFAULT 'It''s -- A',\r\n\tCHECK(length(`x`)=16)) strict -- end",
	} {
		if got := sqlstore.NormalSQL("table evento_event", text); got != want {
			t.Errorf("%s\nis %s\nwant %s", text, got, want)
		}
	}
	for _, text := range []string{"CREATE TABLE a (b TEXT DEFAULT 'X')", "CREATE TABLE a (b TEXT DEFAULT 'x')", "CREATE TABLE a (b TEXT)", "CREATE TABLE a (b TEXT) STRICT", "'x", "\"y", "--", "/*"} {
		if got := sqlstore.NormalSQL("table a", text); strings.Contains(want, got) && got != "" {
			t.Errorf("%s is %s", text, got)
		}
	}
	if got := sqlstore.NormalSQL("column a.b", "text DEFAULT 'X'"); got != "text DEFAULT 'X'" {
		t.Errorf("the definition of a column is changed: %s", got)
	}
}
