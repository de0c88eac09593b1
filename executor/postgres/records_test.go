package postgres_test

import (
	"testing"
	"time"

	"github.com/evento-go/evento"
)

// A record that was changed before the server's clock was set back keeps that
// time, which is after Now, until it is changed again.
func TestRecordsAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	ex := openSchema(t, schema)
	t.Cleanup(func() { closeAll(t, ex) })
	swap := func(revision uint64) {
		t.Helper()
		if err := ex.Swap(t.Context(), evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "kind", Key: "key"}, Revision: revision}}}); err != nil {
			t.Fatal(err)
		}
	}
	ahead := func() time.Duration {
		t.Helper()
		page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind"})
		if err != nil {
			t.Fatal(err)
		}
		return page.Records[0].ChangedAt.Sub(page.Now)
	}
	swap(0)
	if _, err := newPool(t).Exec(t.Context(), inSchema("UPDATE SCHEMA.record SET changed_at = changed_at + interval '1 hour'", schema)); err != nil {
		t.Fatal(err)
	}
	if d := ahead(); d < time.Hour/2 {
		t.Errorf("the change is %v after Now, want about an hour", d)
	}
	swap(1)
	if d := ahead(); d > time.Minute {
		t.Errorf("the next change is %v after Now, want the time of then", d)
	}
}
