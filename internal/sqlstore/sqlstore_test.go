package sqlstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

func TestMigrations(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	files := fstest.MapFS{"0002_b.sql": file("two"), "0001_a.sql": file("one")}
	all, err := sqlstore.Migrations(files)
	want := []sqlstore.Migration{{Number: 1, Name: "0001_a.sql", Text: "one"}, {Number: 2, Name: "0002_b.sql", Text: "two"}}
	if err != nil || !slices.Equal(all, want) {
		t.Errorf("Migrations() = %v, %v, want %v", all, err, want)
	}
	if all, err := sqlstore.Migrations(fstest.MapFS{"0001_a.sql": file(""), "0003_c.sql": file("")}); err == nil {
		t.Errorf("Migrations() with a gap = %v, want an error", all)
	}
	for _, tt := range []struct {
		at    int
		apply bool
		want  []sqlstore.Migration
		is    error
	}{
		{0, true, want, nil},
		{1, true, want[1:], nil},
		{2, true, nil, nil},
		{3, true, nil, evento.ErrNewerStore},
		{0, false, nil, evento.ErrInvalid},
		{1, false, nil, evento.ErrInvalid},
		{2, false, nil, nil},
		{3, false, nil, evento.ErrNewerStore},
	} {
		if missing, err := sqlstore.Missing(files, tt.at, tt.apply); !slices.Equal(missing, tt.want) || !errors.Is(err, tt.is) {
			t.Errorf("Missing(%d, %v) = %v, %v, want %v, %v", tt.at, tt.apply, missing, err, tt.want, tt.is)
		}
	}
}

func TestRecordsAfter(t *testing.T) {
	t.Parallel()
	key := func(kind, key, part string) evento.RecordKey {
		return evento.RecordKey{Kind: kind, Key: key, Part: part}
	}
	for _, tt := range []struct {
		q     evento.RecordQuery
		after evento.RecordKey
		rows  int
	}{
		{evento.RecordQuery{Kind: "b"}, evento.RecordKey{}, evento.MaxRecords + 1},
		{evento.RecordQuery{Kind: "b", Limit: 3}, evento.RecordKey{}, 4},
		{evento.RecordQuery{Kind: "b", After: key("a", "z", "z"), Limit: 3}, evento.RecordKey{}, 4},
		{evento.RecordQuery{Kind: "b", After: key("b", "k", "p"), Limit: 3}, key("b", "k", "p"), 4},
		{evento.RecordQuery{Kind: "b", After: key("c", "", ""), Limit: 3}, key("c", "", ""), 0},
		{evento.RecordQuery{Kind: "b", Key: "k", After: key("b", "j", "p"), Limit: 3}, key("b", "j", "p"), 4},
		{evento.RecordQuery{Kind: "b", Key: "k", After: key("b", "k", "p"), Limit: 3}, key("b", "k", "p"), 4},
		{evento.RecordQuery{Kind: "b", Key: "k", After: key("b", "l", ""), Limit: 3}, key("b", "l", ""), 0},
		{evento.RecordQuery{Kind: "b", Key: "k", After: key("a", "l", ""), Limit: 3}, evento.RecordKey{}, 4},
	} {
		if after, rows := sqlstore.RecordsAfter(tt.q); after != tt.after || rows != tt.rows {
			t.Errorf("RecordsAfter(%+v) = %v, %d, want %v, %d", tt.q, after, rows, tt.after, tt.rows)
		}
	}
}

func TestSnapshotsAfter(t *testing.T) {
	t.Parallel()
	key := func(projection, id string) evento.SnapshotKey {
		return evento.SnapshotKey{Projection: projection, Revision: 3, Variant: "v", AggregateType: "t", AggregateID: id}
	}
	for _, tt := range []struct {
		q     evento.SnapshotQuery
		after evento.SnapshotKey
		rows  int
	}{
		{evento.SnapshotQuery{}, evento.SnapshotKey{}, evento.MaxRecords + 1},
		{evento.SnapshotQuery{Limit: 3, After: key("b", "i")}, key("b", "i"), 4},
		{evento.SnapshotQuery{Limit: 3, Projection: "b"}, evento.SnapshotKey{Projection: "b"}, 4},
		{evento.SnapshotQuery{Limit: 3, Projection: "b", After: key("a", "z")}, evento.SnapshotKey{Projection: "b"}, 4},
		{evento.SnapshotQuery{Limit: 3, Projection: "b", After: key("b", "i")}, key("b", "i"), 4},
		{evento.SnapshotQuery{Limit: 3, Projection: "b", After: key("c", "")}, key("c", ""), 0},
	} {
		if after, rows := sqlstore.SnapshotsAfter(tt.q); after != tt.after || rows != tt.rows {
			t.Errorf("SnapshotsAfter(%+v) = %v, %d, want %v, %d", tt.q, after, rows, tt.after, tt.rows)
		}
	}
}

func TestRecordPage(t *testing.T) {
	t.Parallel()
	noon := time.Date(2024, 5, 6, 12, 0, 0, 0, time.UTC)
	found := []evento.Record{{Revision: 1, ChangedAt: noon}, {Revision: 2, ChangedAt: noon.Add(time.Hour)}}
	for _, tt := range []struct {
		found []evento.Record
		rows  int
		now   time.Time
		want  evento.RecordPage
	}{
		{nil, 0, noon, evento.RecordPage{Now: noon}},
		{nil, 1, noon, evento.RecordPage{Now: noon}},
		{found, 3, noon, evento.RecordPage{Records: found, Now: noon}}, // set back since
		{found, 3, noon.Add(2 * time.Hour), evento.RecordPage{Records: found, Now: noon.Add(2 * time.Hour)}},
		{found, 2, noon.Add(2 * time.Hour), evento.RecordPage{Records: found[:1], More: true, Now: noon.Add(2 * time.Hour)}},
	} {
		if page := sqlstore.RecordPage(tt.found, tt.rows, tt.now); !reflect.DeepEqual(*page, tt.want) {
			t.Errorf("RecordPage(%v, %d, %v) = %+v, want %+v", tt.found, tt.rows, tt.now, *page, tt.want)
		}
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	some := evento.Metadata{ID: "c"}
	event := []evento.NewEvent{{}}
	all := sqlstore.MetadataOf([]evento.Append{{Events: event}, {Events: event, Metadata: some}})
	if len(all) != 2 || all.Of(0).Text != "" {
		t.Fatalf("MetadataOf() = %+v", all)
	}
	var got, none evento.RawEvent
	if err := errors.Join(sqlstore.DecodeMetadata([]byte(all.Behind(1).Of(0).Text), 7, &got), sqlstore.DecodeMetadata(nil, 7, &none)); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(got.Metadata, some) || !none.Metadata.IsZero() || got.Tags != nil {
		t.Errorf("decoded %+v and %+v, want %+v and none", got, none, some)
	}
	if none := sqlstore.MetadataOf([]evento.Append{{Events: event}, {Events: event}}); none != nil || none.Behind(1).Of(0).Text != "" {
		t.Errorf("MetadataOf() of none = %+v, want nil", none)
	}
	for _, tags := range [][]string{{"a"}, {"course:go", "student:1"}, {`a"b`, "c"}, {`a\b`}, {`","`, "]}"}, {"<>&", "日本"}, {`{"tags":[`}, {"\x7f"}} {
		for _, metadata := range []evento.Metadata{{}, some} {
			m := sqlstore.MetadataOf([]evento.Append{{Events: []evento.NewEvent{{Tags: tags}}, Metadata: metadata}}).Of(0)
			text := []byte(m.Text)
			if inJSON, _ := json.Marshal(tags); !bytes.Contains(text, inJSON) || !slices.Equal(m.Tags, store.TagNumbers(tags)) {
				t.Errorf("%q are stored as %s and %d", tags, text, m.Tags)
			}
			var e evento.RawEvent
			if err := sqlstore.DecodeMetadata(text, 7, &e); err != nil || !slices.Equal(e.Tags, tags) || !reflect.DeepEqual(e.Metadata, metadata) {
				t.Errorf("%s was decoded as %q, %+v, %v", text, e.Tags, e.Metadata, err)
			}
			if got := sqlstore.TagsIn(text); !slices.Equal(got, tags) {
				t.Errorf("TagsIn(%s) = %q", text, got)
			}
		}
	}
	if err := sqlstore.DecodeMetadata([]byte("{"), 7, &got); !errors.Is(err, evento.ErrDecode) {
		t.Errorf("DecodeMetadata() of half an object = %v, want %v", err, evento.ErrDecode)
	}
}
