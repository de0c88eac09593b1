// Snapshots.

package executortest

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/evento-go/evento"
)

func testSnapshots(t *testing.T, c Config) {
	c.run(t, "NotFound", snapshotsNotFound)
	c.run(t, "RoundTrip", snapshotsRoundTrip)
	c.run(t, "KeysApart", snapshotsKeysApart)
	c.run(t, "NeverBack", snapshotsNeverBack)
	c.run(t, "BytesAreCopied", snapshotsBytesAreCopied)
	c.run(t, "Concurrent", snapshotsConcurrent)
	c.run(t, "Order", snapshotsOrder)
	c.run(t, "Pages", snapshotsPages)
	c.run(t, "States", snapshotsStates)
	c.run(t, "LargePages", snapshotsLargePages)
	c.run(t, "Removed", snapshotsRemoved)
	c.run(t, "RemovedTogether", snapshotsRemovedTogether)
	c.run(t, "AfterStrangeNames", snapshotsAfterStrangeNames)
	c.run(t, "RefusedQueries", snapshotsRefusedQueries)
	c.run(t, "RefusedKeys", snapshotsRefusedKeys)
	if c.Share != nil {
		c.run(t, "Shared", snapshotsShared)
	}
}

func snapshotKey() evento.SnapshotKey {
	return evento.SnapshotKey{Projection: "balance", Revision: 1, Variant: evento.HashIDs("a"), AggregateType: thing, AggregateID: "one"}
}

// snapshotKeyOf is snapshotKey for another aggregate.
func snapshotKeyOf(id string) evento.SnapshotKey {
	key := snapshotKey()
	key.AggregateID = id
	return key
}

func wantSnapshot(ctx context.Context, t testing.TB, ex evento.Executor, key evento.SnapshotKey, want evento.Snapshot) {
	t.Helper()
	got, err := ex.Snapshot(ctx, key)
	if err != nil {
		t.Fatalf("Snapshot(%+v): %v", key, err)
	}
	if got.Version != want.Version || got.Position != want.Position || got.Cursor != want.Cursor || !bytes.Equal(got.Data, want.Data) {
		t.Errorf("Snapshot(%+v): got %.300v, want %.300v", key, got, want)
	}
}

func wantNoSnapshot(ctx context.Context, t testing.TB, ex evento.Executor, key evento.SnapshotKey) {
	t.Helper()
	wantError(t, discard(ex.Snapshot(ctx, key)), evento.ErrNotFound, "Snapshot(%+v)", key)
}

func saveSnapshot(ctx context.Context, t testing.TB, ex evento.Executor, key evento.SnapshotKey, s evento.Snapshot) {
	t.Helper()
	if err := ex.SaveSnapshot(ctx, key, s); err != nil {
		t.Fatalf("SaveSnapshot(%+v, version %d, position %d): %v", key, s.Version, s.Position, err)
	}
}

func snapshotsNotFound(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	wantNoSnapshot(ctx, t, ex, snapshotKey())
}

// changedKeys are keys that differ from snapshotKey.
type changedKeys []evento.SnapshotKey

func (keys *changedKeys) add(change func(*evento.SnapshotKey)) {
	key := snapshotKey()
	change(&key)
	*keys = append(*keys, key)
}

// distinctKeys are keys that differ in one field, with hostile names in each.
func distinctKeys() []evento.SnapshotKey {
	keys := changedKeys{snapshotKey()}
	add := keys.add
	add(func(k *evento.SnapshotKey) { k.Revision = 0 })
	add(func(k *evento.SnapshotKey) { k.Revision = math.MaxInt64 })
	add(func(k *evento.SnapshotKey) { k.Variant = evento.HashIDs("b") })
	add(func(k *evento.SnapshotKey) { k.AggregateType = other })
	add(func(k *evento.SnapshotKey) { k.Projection, k.AggregateID = k.AggregateID, k.Projection })
	for _, name := range hostileNames() {
		add(func(k *evento.SnapshotKey) { k.Projection = name })
		add(func(k *evento.SnapshotKey) { k.AggregateType = evento.AggregateType(name) })
		add(func(k *evento.SnapshotKey) { k.AggregateID = name })
	}
	return keys
}

func snapshotsRoundTrip(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 3)
	every := everyByte()
	for i, s := range []evento.Snapshot{
		{Version: 1, Position: 1, Cursor: m[0].Cursor, Data: every},
		{Version: 2, Position: 7, Cursor: m[2].Cursor, Data: nil},
		{Version: 3, Position: 7, Cursor: m[2].Cursor, Data: []byte{}},
		{Version: 1<<62 - 1, Position: 1<<62 - 1, Cursor: m[1].Cursor, Data: bytes.Repeat(every, 8192)},
	} {
		key := snapshotKeyOf(fmt.Sprint(i))
		saveSnapshot(ctx, t, ex, key, s)
		wantSnapshot(ctx, t, ex, key, s)
		saveSnapshot(ctx, t, ex, snapshotKey(), s) // over each other
		wantSnapshot(ctx, t, ex, snapshotKey(), s)
	}
	wantLog(ctx, t, ex, m)
}

// Keys that differ in one field never meet.
func snapshotsKeysApart(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	snapshot := func(i int) evento.Snapshot {
		return evento.Snapshot{Version: uint64(i%3 + 1), Position: 5, Data: fmt.Append(nil, i)}
	}
	for i, key := range distinctKeys() {
		saveSnapshot(ctx, t, ex, key, snapshot(i))
	}
	for i, key := range distinctKeys() {
		wantSnapshot(ctx, t, ex, key, snapshot(i))
	}
}

// A slower load that saves what is behind does not undo a faster one.
func snapshotsNeverBack(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	stored := evento.Snapshot{}
	for i, tt := range []struct {
		version, position uint64
		kept              bool
	}{
		{3, 10, true},
		{2, 10, false},
		{2, 99, false}, // the version counts first
		{3, 9, false},
		{3, 10, true}, // as far: replaced
		{3, 11, true},
		{3, 10, false},
		{4, 5, true},
		{3, 11, false},
		{1 << 40, 6, true},
		{4, 1 << 41, false},
	} {
		s := evento.Snapshot{Version: tt.version, Position: tt.position, Data: fmt.Append(nil, i)}
		saveSnapshot(ctx, t, ex, snapshotKey(), s)
		if tt.kept {
			stored = s
		}
		wantSnapshot(ctx, t, ex, snapshotKey(), stored)
	}
}

func snapshotsBytesAreCopied(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	s := evento.Snapshot{Version: 1, Position: 1, Data: []byte("state")}
	want := s
	want.Data = bytes.Clone(s.Data)
	saveSnapshot(ctx, t, ex, snapshotKey(), s)
	clear(s.Data)
	for range 2 {
		wantSnapshot(ctx, t, ex, snapshotKey(), want)
		got, err := ex.Snapshot(ctx, snapshotKey())
		must(t, err)
		clear(got.Data)
	}
}

// Whoever saves last, the furthest stays.
func snapshotsConcurrent(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const savers, each = 8, 15
	snapshot := func(n uint64) evento.Snapshot {
		return evento.Snapshot{Version: n, Position: n, Data: fmt.Append(nil, n)}
	}
	together(t, savers, func(t testing.TB, i int) {
		for j := range uint64(each) {
			version := uint64(i) + j*savers + 1
			saveSnapshot(ctx, t, ex, snapshotKey(), snapshot(version))
			got, err := ex.Snapshot(ctx, snapshotKey())
			must(t, err)
			if got.Version < version || got.Position != got.Version || string(got.Data) != fmt.Sprint(got.Version) {
				t.Fatalf("after saving version %d: got %+v with data %q, want that or a later one, whole", version, got, got.Data)
			}
		}
	})
	wantSnapshot(ctx, t, ex, snapshotKey(), snapshot(savers*each))
}
