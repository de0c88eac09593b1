package jetstream

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

// A client that removes a record clears its last message away. It may do so late, when another
// client has made the record again: what that has stored stays.
func TestLateCleanOfARecord(t *testing.T) {
	t.Parallel()
	url := testserver.NATS(t, testserver.NATSOptions{Nodes: 1}).URL()
	a, b := openAlone(t, url, "a"), openAlone(t, url, "a")
	swap := func(ex *Executor, s evento.Swap) {
		t.Helper()
		if err := ex.Swap(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	key := swapOf("k", 0, "").Changes[0].RecordKey
	swap(a, swapOf("k", 0, "one"))
	swap(a, swapOf("k", 1, "two"))
	was, err := a.recordState(key)
	if err != nil {
		t.Fatal(err)
	}
	gone := swapOf("k", 2, "")
	gone.Changes[0].Remove = true
	swap(b, gone)
	swap(b, swapOf("k", 0, "again"))
	swap(b, swapOf("k", 1, "more"))
	if _, err := a.Records(t.Context(), evento.RecordQuery{Kind: "kind"}); err != nil { // it has come that far
		t.Fatal(err)
	}
	a.clean(t.Context(), key, was.posted.born)
	page, err := openAlone(t, url, "a").Records(t.Context(), evento.RecordQuery{Kind: "kind"})
	if err != nil || len(page.Records) != 1 || page.Records[0].Revision != 2 || string(page.Records[0].Value) != "more" {
		t.Errorf("the record is %+v, %v, want the one that was made again, at revision 2", page, err)
	}
}

// Who removes a snapshot does not remove parts of one that is saved meanwhile. A snapshot of which
// parts are missing is none.
func TestLatePurgeOfASnapshot(t *testing.T) {
	t.Parallel()
	ex := openAlone(t, testserver.NATS(t, testserver.NATSOptions{Nodes: 1}).URL(), "a")
	key := evento.SnapshotKey{Projection: "p", AggregateType: "t/T", AggregateID: "x"}
	save := func(version uint64) *storedMessage {
		t.Helper()
		if err := ex.SaveSnapshot(t.Context(), key, evento.Snapshot{Version: version, Position: version, Data: bytes.Repeat([]byte{byte(version)}, 2*snapshotPart)}); err != nil {
			t.Fatal(err)
		}
		m, err := ex.message(t.Context(), ex.names.snapshots, bySubject{ex.names.subjectOf(key, 0)})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	was := save(1)
	save(2)
	if err := ex.removeSnapshot(t.Context(), key, was); err != nil {
		t.Fatal(err)
	}
	if s, err := ex.Snapshot(t.Context(), key); err != nil || s.Version != 2 || len(s.Data) != 2*snapshotPart {
		t.Errorf("the later snapshot: version %d of %d bytes, %v", s.Version, len(s.Data), err)
	}
	if err := ex.purge(t.Context(), ex.names.snapshots, ex.names.subjectOf(key, 1), 1<<40); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := ex.Snapshot(ctx, key); !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("a part is missing: %v", err)
	}
	save(3)
	if s, err := ex.Snapshot(t.Context(), key); err != nil || s.Version != 3 {
		t.Errorf("saved again: version %d, %v", s.Version, err)
	}
}
