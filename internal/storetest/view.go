package storetest

import (
	"crypto/rand"
	"database/sql"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
)

// EventIDs tests that the view of a store's events writes ids as ULIDs, as
// [evento.ID]'s String does. The store is empty.
func EventIDs(t *testing.T, db *sql.DB, view string, ex evento.Executor) {
	t.Helper()
	ids := []evento.ID{{}, ulid.MustParse("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), ulid.MustParse("0123456789ABCDEFGHJKMNPQRS"), evento.NewID()}
	for bit := range 8 * len(ids[0]) { // each bit alone, and each missing
		var one, others evento.ID
		for i := range others {
			others[i] = 0xff
		}
		one[bit/8] |= 1 << (bit % 8)
		others[bit/8] ^= 1 << (bit % 8)
		ids = append(ids, one, others)
	}
	for range 1000 {
		var id evento.ID
		if _, err := rand.Read(id[:]); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	events, want := make([]evento.NewEvent, len(ids)), make([]string, len(ids))
	for i, id := range ids {
		events[i], want[i] = evento.NewEvent{ID: id, Name: "Made", Codec: "json", Data: []byte("{}")}, id.String()
	}
	if _, err := ex.Write(t.Context(), evento.Write{Appends: []evento.Append{{AggregateType: "t", AggregateID: "i", Events: events}}}); err != nil {
		t.Fatalf("Write() = %v", err)
	}
	rows, err := db.QueryContext(t.Context(), "SELECT event_id FROM "+view+" ORDER BY position") //nolint:gosec // the tests name it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var got []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		got = append(got, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("event %d: the view %s shows the id %q, want %q", i+1, view, got[i], want[i])
		}
	}
	t.Fatalf("the view %s shows %d events, want %d", view, len(got), len(want))
}
