package jetstream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

// An account that is full refuses what is written with ErrFull, and stores nothing of it. Reads of events,
// records and snapshots go on, also before the leader is trusted, and of a stream whose last message was removed.
func TestFullAccount(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{Lines: []string{`accounts { A { jetstream { max_disk: 1M }, users: [{ user: a, password: secret }] } }`}})
	o := &jetstream.Options{Name: "a", Logger: quiet(), Connect: []nats.Option{nats.UserInfo("a", "secret")}}
	ex := open(t, cluster.URL(), o)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	swap := func(key string, revision uint64, remove bool) error {
		change := evento.Change{RecordKey: evento.RecordKey{Kind: "kind", Key: key}, Revision: revision, Remove: remove}
		if !remove {
			change.Value = make([]byte, 10<<10)
		}
		return ex.Swap(ctx, evento.Swap{Changes: []evento.Change{change}})
	}
	snapshot := evento.SnapshotKey{Projection: "p", Variant: strings.Repeat("0", 64), AggregateType: thing, AggregateID: "0"}
	write(t, ex, "first", 0)
	for _, err := range []error{
		swap("stays", 0, false), swap("stays", 1, false), swap("goes", 0, false), swap("goes", 1, false), swap("goes", 2, true),
		ex.SaveSnapshot(ctx, snapshot, evento.Snapshot{Version: 1, Position: 1, Data: []byte("{}")}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stored, full := 1, error(nil)
	for n := 0; full == nil && n < 1000; n++ {
		w := one(fmt.Sprint(n), 0)
		w.Appends[0].Events[0].Data = make([]byte, max(100, 10<<10-n*100))
		if _, full = ex.Write(ctx, w); full == nil {
			stored++
		}
	}
	says(t, "Write", full, evento.ErrFull, "10002")
	for full = nil; full == nil; { // what is left
		if _, full = ex.Write(ctx, one(fmt.Sprint("small ", stored), 0)); full == nil {
			stored++
		}
	}
	says(t, "Write of little", full, evento.ErrFull, "10002")
	revision := uint64(2)
	for full = nil; full == nil; { // the leader of another stream does not know at once what is used
		if full = swap("stays", revision, false); full == nil {
			revision++
		}
	}
	says(t, "Swap", full, evento.ErrFull, "10002")
	says(t, "Swap of a new record", swap("new", 0, false), evento.ErrFull, "10002")
	large := evento.Snapshot{Version: 2, Position: 2, Data: make([]byte, 700<<10)}
	says(t, "SaveSnapshot", ex.SaveSnapshot(ctx, snapshot, large), evento.ErrFull, "10002")

	other, err := jetstream.Open(ctx, cluster.URL(), o)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	defer func() { _ = other.Close() }()
	for range 2 {
		for _, ex := range []*jetstream.Executor{ex, other} {
			n := 0
			for _, err := range evento.Events(ctx, ex, evento.Query{}) {
				if err != nil {
					t.Fatalf("Events() = %v", err)
				}
				n++
			}
			page, err := ex.Records(ctx, evento.RecordQuery{Kind: "kind"})
			if err != nil || len(page.Records) != 1 || page.Records[0].Revision != revision || n != stored {
				t.Errorf("%d events of %d, records %v, %v", n, stored, page, err)
			}
			if s, err := ex.Snapshot(ctx, snapshot); err != nil || s.Version != 1 {
				t.Errorf("Snapshot() = %v, %v", s.Version, err)
			}
		}
	}
}
