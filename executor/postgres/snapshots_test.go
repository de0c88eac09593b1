package postgres_test

import (
	"fmt"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

// A page without states moves none, and one with states not those that do not fit
// on it.
func TestStatesThatAreNotSent(t *testing.T) {
	t.Parallel()
	p := newProxy(t, testserver.Postgres(t))
	ex, _ := openOn(t, p.url, newSchema(t), 2)
	const snapshots, size = 200, 200 << 10
	for i := range snapshots {
		key := evento.SnapshotKey{Projection: "large", Variant: "v", AggregateType: "t", AggregateID: fmt.Sprint(i)}
		if err := ex.SaveSnapshot(t.Context(), key, evento.Snapshot{Version: 1, Data: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		q         evento.SnapshotQuery
		snapshots int
		most      int64
	}{
		{evento.SnapshotQuery{}, snapshots, 1 << 20},
		{evento.SnapshotQuery{Projection: "large"}, snapshots, 1 << 20},
		{evento.SnapshotQuery{States: true}, evento.PageBytes / size, 5 * evento.PageBytes}, // and what is on its way then
		{evento.SnapshotQuery{Projection: "large", States: true}, evento.PageBytes / size, 5 * evento.PageBytes},
	} {
		before := p.sent.Load()
		page, err := ex.Snapshots(t.Context(), tt.q)
		if err != nil || len(page.Snapshots) != tt.snapshots {
			t.Fatalf("Snapshots(%+v): got %d snapshots, %v, want %d", tt.q, len(page.Snapshots), err, tt.snapshots)
		}
		if sent := p.sent.Load() - before; sent > tt.most {
			t.Errorf("Snapshots(%+v): the server sent %d bytes, want at most %d", tt.q, sent, tt.most)
		}
	}
}
