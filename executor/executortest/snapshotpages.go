// Listing and removing snapshots.

package executortest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
)

// storedSnapshot is what a page of states has of a snapshot.
func storedSnapshot(key evento.SnapshotKey, s evento.Snapshot) evento.StoredSnapshot {
	return evento.StoredSnapshot{SnapshotKey: key, Snapshot: s, Size: len(s.Data)}
}

// saveAll saves snapshots in a random order, and returns them in that of their
// keys.
func saveAll(ctx context.Context, t testing.TB, ex evento.Executor, all []evento.StoredSnapshot) []evento.StoredSnapshot {
	t.Helper()
	all = slices.Clone(all)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	const savers = 8
	together(t, savers, func(t testing.TB, i int) {
		for ; i < len(all); i += savers {
			saveSnapshot(ctx, t, ex, all[i].SnapshotKey, all[i].Snapshot)
		}
	})
	slices.SortFunc(all, func(a, b evento.StoredSnapshot) int { return a.Compare(b.SnapshotKey) })
	return all
}

func removeSnapshots(ctx context.Context, t testing.TB, ex evento.Executor, keys ...evento.SnapshotKey) {
	t.Helper()
	if err := ex.RemoveSnapshots(ctx, keys); err != nil {
		t.Fatalf("RemoveSnapshots of %d keys: %v", len(keys), err)
	}
}

// snapshotPage is Snapshots with a look at what is promised of every page.
func snapshotPage(ctx context.Context, t testing.TB, ex evento.Executor, q evento.SnapshotQuery) *evento.SnapshotPage {
	t.Helper()
	p, err := ex.Snapshots(ctx, q)
	if err != nil {
		t.Fatalf("Snapshots(%+v): %v", q, err)
	}
	n := len(p.Snapshots)
	if n > cmp.Or(q.Limit, evento.MaxRecords) || p.More && n == 0 {
		t.Fatalf("Snapshots(%+v): got a page of %d snapshots, more %t", q, n, p.More)
	}
	last, size := q.After, 0
	for _, s := range p.Snapshots {
		switch {
		case q.Projection != "" && s.Projection != q.Projection, s.Compare(last) <= 0:
			t.Fatalf("Snapshots(%+v): got %+v after %+v", q, s.SnapshotKey, last)
		case !q.States && (s.Cursor != "" || len(s.Data) > 0):
			t.Fatalf("Snapshots(%+v): got the cursor %q and %d bytes of %+v, and did not ask for states", q, s.Cursor, len(s.Data), s.SnapshotKey)
		case q.States && len(s.Data) != s.Size:
			t.Fatalf("Snapshots(%+v): got %d bytes of %+v, and the size %d", q, len(s.Data), s.SnapshotKey, s.Size)
		}
		last = s.SnapshotKey
		size += len(s.Data)
	}
	if n > 1 && size > evento.PageBytes {
		t.Fatalf("Snapshots(%+v): got %d snapshots of %d bytes, want the page cut at %d", q, n, size, evento.PageBytes)
	}
	return p
}

// readSnapshots reads page after page.
func readSnapshots(ctx context.Context, t testing.TB, ex evento.Executor, q evento.SnapshotQuery) []evento.StoredSnapshot {
	t.Helper()
	var all []evento.StoredSnapshot
	for {
		p := snapshotPage(ctx, t, ex, q)
		all = append(all, p.Snapshots...)
		if !p.More {
			return all
		}
		q.After = all[len(all)-1].SnapshotKey
	}
}

// wantSnapshots compares all snapshots with those that are wanted, in order.
func wantSnapshots(ctx context.Context, t testing.TB, ex evento.Executor, want ...evento.StoredSnapshot) {
	t.Helper()
	sameSnapshots(t, "the snapshots", readSnapshots(ctx, t, ex, evento.SnapshotQuery{States: true}), want)
}

func sameSnapshots(t testing.TB, what string, got, want []evento.StoredSnapshot) {
	t.Helper()
	same(t, what, got, want, func(g, w evento.StoredSnapshot) string {
		if g.SnapshotKey == w.SnapshotKey && g.Version == w.Version && g.Position == w.Position && g.Size == w.Size && g.Cursor == w.Cursor && bytes.Equal(g.Data, w.Data) {
			return ""
		}
		return fmt.Sprintf("got %s, want %s", showSnapshot(g), showSnapshot(w))
	})
}

func showSnapshot(s evento.StoredSnapshot) string {
	return fmt.Sprintf("%.60q revision %d at version %d, position %d, cursor %q, size %d, state %.40q",
		[]string{s.Projection, s.Variant, string(s.AggregateType), s.AggregateID}, s.Revision, s.Version, s.Position, s.Cursor, s.Size, s.Data)
}

// withoutStates is what a page has of snapshots when these were not asked for.
func withoutStates(all []evento.StoredSnapshot) []evento.StoredSnapshot {
	all = slices.Clone(all)
	for i := range all {
		all[i].Cursor, all[i].Data = "", nil
	}
	return all
}

// wantSnapshotPage compares a page with what there is.
func wantSnapshotPage(ctx context.Context, t testing.TB, ex evento.Executor, all []evento.StoredSnapshot, q evento.SnapshotQuery) {
	t.Helper()
	want := slices.DeleteFunc(slices.Clone(all), func(s evento.StoredSnapshot) bool {
		return q.Projection != "" && s.Projection != q.Projection || s.Compare(q.After) <= 0
	})
	n, size := min(len(want), cmp.Or(q.Limit, evento.MaxRecords)), 0
	for i := 0; q.States && i < n; i++ {
		if size += want[i].Size; i > 0 && size > evento.PageBytes {
			n = i
		}
	}
	more := len(want) > n
	if want = want[:n]; !q.States {
		want = withoutStates(want)
	}
	p := snapshotPage(ctx, t, ex, q)
	sameSnapshots(t, fmt.Sprintf("Snapshots(%+v)", q), p.Snapshots, want)
	if p.More != more {
		t.Fatalf("Snapshots(%+v): got more %t, want %t", q, p.More, more)
	}
}

// snapshotOf is one whose content tells it from others.
func snapshotOf(key evento.SnapshotKey, n int) evento.StoredSnapshot {
	return storedSnapshot(key, evento.Snapshot{
		Version: uint64(n + 1), Position: uint64(3*n + 1), Data: []byte(strings.Repeat("x", n%7) + fmt.Sprint(n)),
	})
}

// The order is that of SnapshotKey.Compare, in every field.
func snapshotsOrder(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	var keys changedKeys
	add := keys.add
	names := orderedNames()
	for i, name := range names {
		add(func(k *evento.SnapshotKey) { k.Projection = name })
		add(func(k *evento.SnapshotKey) { k.AggregateType = evento.AggregateType(name) })
		add(func(k *evento.SnapshotKey) { k.AggregateID = name })
		add(func(k *evento.SnapshotKey) { k.Variant = evento.HashIDs(name) })
		for j, second := range names {
			if len(name) < 3 && len(second) < 3 && (i+j)%3 == 0 {
				add(func(k *evento.SnapshotKey) { k.Projection, k.AggregateID = name, second })
				add(func(k *evento.SnapshotKey) { k.AggregateType, k.AggregateID = evento.AggregateType(name), second })
			}
		}
	}
	for _, revision := range []uint64{0, 2, 9, 10, 11, 99, 100, 127, 128, 255, 256, 1 << 16, 1<<31 - 1, 1 << 31, 1 << 32, math.MaxInt64 - 1, math.MaxInt64} {
		for _, projection := range []string{"balance", "b", "balance "} {
			for _, variant := range []string{"a", "c"} {
				add(func(k *evento.SnapshotKey) {
					k.Projection, k.Revision, k.Variant = projection, revision, evento.HashIDs(variant)
				})
			}
		}
	}
	slices.SortFunc(keys, evento.SnapshotKey.Compare)
	keys = slices.Compact(keys)
	var all []evento.StoredSnapshot
	for i, n := range rand.New(rand.NewPCG(3, 4)).Perm(len(keys)) {
		all = append(all, snapshotOf(keys[i], n))
	}
	all = saveAll(ctx, t, ex, all)
	wantSnapshots(ctx, t, ex, all...)
	for _, limit := range []int{1, 7, 100} {
		sameSnapshots(t, fmt.Sprintf("page after page of %d", limit), readSnapshots(ctx, t, ex, evento.SnapshotQuery{Limit: limit}), withoutStates(all))
	}
	for _, name := range append(names, "balance", "b", "balance ", "BALANCE", "balanc", "balances", "never") {
		wantSnapshotPage(ctx, t, ex, all, evento.SnapshotQuery{Projection: name, States: true})
	}
}

// snapshotLibrary is more snapshots than a page has, where keys differ in each
// of their fields.
func snapshotLibrary(ctx context.Context, t testing.TB, ex evento.Executor) []evento.StoredSnapshot {
	t.Helper()
	var all []evento.StoredSnapshot
	variants := []string{evento.HashIDs("a"), evento.HashIDs("b")}
	for i := range evento.MaxRecords + 60 {
		key := evento.SnapshotKey{Projection: "many", Revision: uint64(i % 3), Variant: variants[i/3%2], AggregateType: other, AggregateID: fmt.Sprint("id ", i)}
		if i%5 == 0 {
			key.AggregateType = thing
		}
		if i%11 == 0 {
			key.Projection = []string{"few", "many more", "z"}[i/11%3]
		}
		all = append(all, snapshotOf(key, i))
	}
	return saveAll(ctx, t, ex, all)
}

func snapshotsPages(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	wantSnapshotPage(ctx, t, ex, nil, evento.SnapshotQuery{})
	wantSnapshotPage(ctx, t, ex, nil, evento.SnapshotQuery{Projection: "many", After: snapshotKey()})
	all := snapshotLibrary(ctx, t, ex)
	for _, limit := range []int{0, 1000, 999, 530, 100, 37} {
		q := evento.SnapshotQuery{Limit: limit, States: limit%2 == 0}
		wantSnapshotPage(ctx, t, ex, all, q)
		sameSnapshots(t, fmt.Sprintf("page after page of %d", limit), withoutStates(readSnapshots(ctx, t, ex, q)), withoutStates(all))
	}
	few := slices.DeleteFunc(slices.Clone(all), func(s evento.StoredSnapshot) bool { return s.Projection != "few" })
	for limit := 1; limit < len(few)+2; limit++ {
		wantSnapshotPage(ctx, t, ex, all, evento.SnapshotQuery{Projection: "few", Limit: limit})
	}
	r := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range 150 {
		q := evento.SnapshotQuery{Limit: r.IntN(20), States: r.IntN(2) == 0, Projection: []string{"", "", "many", "few", "man", "many ", "z"}[r.IntN(7)]}
		q.After = all[r.IntN(len(all))].SnapshotKey
		// As it is, or one that is not there.
		switch r.IntN(10) {
		case 0:
			q.After.AggregateID += "0"
		case 1:
			q.After.AggregateID = ""
		case 2:
			q.After.AggregateType, q.After.AggregateID = "", ""
		case 3:
			q.After.Variant, q.After.AggregateType = "", ""
		case 4:
			q.After.Revision += uint64(r.IntN(3))
		case 5:
			q.After = evento.SnapshotKey{Projection: q.After.Projection, Revision: 1}
		case 6:
			q.After = evento.SnapshotKey{Projection: []string{"", "a", "few", "man", "many", "zz"}[r.IntN(6)]}
		case 7:
			q.After.Revision = math.MaxInt64
		}
		wantSnapshotPage(ctx, t, ex, all, q)
	}
}

// A page may begin behind a name that is not stored, as with records.
func snapshotsAfterStrangeNames(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	var all []evento.StoredSnapshot
	for i := range 40 {
		key := evento.SnapshotKey{Projection: []string{"a", "a b"}[i%2], Revision: 1, Variant: evento.HashIDs("a"), AggregateType: thing, AggregateID: fmt.Sprint("id ", i)}
		all = append(all, snapshotOf(key, i))
	}
	all = saveAll(ctx, t, ex, all)
	strange, _ := strangeNames()
	for i, name := range strange {
		at := all[len(all)/2].SnapshotKey
		projection, variant, aggregateType, id := at, at, at, at
		projection.Projection, variant.Variant, aggregateType.AggregateType, id.AggregateID = name, name, evento.AggregateType(name), name
		for _, after := range []evento.SnapshotKey{projection, variant, aggregateType, id} {
			for _, of := range []string{"", at.Projection} {
				wantSnapshotPage(ctx, t, ex, all, evento.SnapshotQuery{Projection: of, After: after, States: i%2 == 0, Limit: 20})
			}
		}
	}
}

// States, cursors and sizes, of whatever bytes; copies of them.
func snapshotsStates(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 3)
	every := everyByte()
	var all []evento.StoredSnapshot
	for i, data := range [][]byte{nil, {}, {0}, []byte("text"), []byte("日本"), every, bytes.Repeat(every, 8192)} {
		s := evento.Snapshot{Version: uint64(i), Position: 1<<62 - 1 - uint64(i), Cursor: m[i%3].Cursor, Data: data}
		all = append(all, storedSnapshot(snapshotKeyOf(fmt.Sprint(i)), s))
	}
	all = saveAll(ctx, t, ex, all)
	for range 2 {
		p := snapshotPage(ctx, t, ex, evento.SnapshotQuery{States: true})
		sameSnapshots(t, "with states", p.Snapshots, all)
		for _, s := range p.Snapshots {
			clear(s.Data)
		}
		wantSnapshotPage(ctx, t, ex, all, evento.SnapshotQuery{})
		wantSnapshot(ctx, t, ex, all[5].SnapshotKey, all[5].Snapshot)
	}
	// What is saved over another is listed instead.
	again := storedSnapshot(all[5].SnapshotKey, evento.Snapshot{Version: 1 << 40, Position: 1, Data: []byte("again")})
	saveSnapshot(ctx, t, ex, again.SnapshotKey, again.Snapshot)
	saveSnapshot(ctx, t, ex, again.SnapshotKey, evento.Snapshot{Version: 7, Data: []byte("behind")})
	all[5] = again
	wantSnapshots(ctx, t, ex, all...)
}

// largeSnapshots are such that some pages have to be cut.
func largeSnapshots() []evento.StoredSnapshot {
	var all []evento.StoredSnapshot
	for i, size := range append(largeSizes(), 1) {
		s := evento.Snapshot{Version: 1, Data: bytes.Repeat([]byte{byte(i)}, size)}
		all = append(all, storedSnapshot(snapshotKeyOf(fmt.Sprintf("%02d", i)), s))
	}
	return all
}

// A page of states ends early when they are large, but not before the first.
func snapshotsLargePages(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	all := saveAll(ctx, t, ex, largeSnapshots())
	wantSnapshotPage(ctx, t, ex, all, evento.SnapshotQuery{}) // without states it is one page
	for i, limit := range []int{0, 1, 2, 3} {
		q := evento.SnapshotQuery{Limit: limit, States: true, Projection: []string{"", all[0].Projection}[i%2]}
		wantSnapshotPage(ctx, t, ex, all, q)
		for i := range all {
			q.After = all[i].SnapshotKey
			wantSnapshotPage(ctx, t, ex, all, q)
		}
	}
	wantSnapshots(ctx, t, ex, all...)
}

// What is removed is gone, nothing else is, and it may be saved anew.
func snapshotsRemoved(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	var all []evento.StoredSnapshot
	for i, key := range distinctKeys() {
		all = append(all, snapshotOf(key, i))
	}
	all = saveAll(ctx, t, ex, all)
	missing, tooLate := snapshotKeyOf("never saved"), snapshotKey()
	tooLate.Revision = math.MaxUint64
	removeSnapshots(ctx, t, ex)
	removeSnapshots(ctx, t, ex, missing, tooLate)
	wantSnapshots(ctx, t, ex, all...)
	all = slices.DeleteFunc(all, func(s evento.StoredSnapshot) bool { return s.SnapshotKey == snapshotKey() })
	removeSnapshots(ctx, t, ex, snapshotKey()) // from which others differ in one field
	wantSnapshots(ctx, t, ex, all...)
	for _, n := range []int{1, 2, 3, 5, 8, 100} { // so many at once, some that are not there and one twice among them
		keys := []evento.SnapshotKey{missing}
		for i := 0; i < len(all) && len(keys) <= n; i += 2 {
			keys = append(keys, all[i].SnapshotKey)
		}
		all = slices.DeleteFunc(all, func(s evento.StoredSnapshot) bool { return slices.Contains(keys, s.SnapshotKey) })
		removeSnapshots(ctx, t, ex, append(keys, keys[len(keys)-1])...)
		wantSnapshots(ctx, t, ex, all...)
		for _, key := range keys {
			wantNoSnapshot(ctx, t, ex, key)
		}
	}
	// Of what was removed nothing keeps an older one from being saved.
	again := storedSnapshot(all[1].SnapshotKey, evento.Snapshot{Version: 0, Position: 0, Data: []byte("again")})
	removeSnapshots(ctx, t, ex, again.SnapshotKey)
	saveSnapshot(ctx, t, ex, again.SnapshotKey, again.Snapshot)
	all[1] = again
	wantSnapshots(ctx, t, ex, all...)

	var keys []evento.SnapshotKey
	for i := range evento.MaxRecords + 1 {
		keys = append(keys, snapshotKeyOf(fmt.Sprint("most ", i)))
		if i%100 == 0 {
			saveSnapshot(ctx, t, ex, keys[i], evento.Snapshot{Version: 1})
		}
	}
	wantError(t, ex.RemoveSnapshots(ctx, keys), evento.ErrInvalid, "RemoveSnapshots of %d keys", len(keys))
	wantSnapshot(ctx, t, ex, keys[0], evento.Snapshot{Version: 1})
	removeSnapshots(ctx, t, ex, keys[1:]...)
	removeSnapshots(ctx, t, ex, keys[0])
	wantSnapshots(ctx, t, ex, all...)
}

// Those who save, list and remove the same at once do not stumble on each
// other, whatever the order in which each names them.
func snapshotsRemovedTogether(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const workers, each = 6, 10
	var keys []evento.SnapshotKey
	for i := range 20 {
		keys = append(keys, snapshotKeyOf(fmt.Sprint(i)))
	}
	stays := storedSnapshot(snapshotKey(), evento.Snapshot{Version: 1, Data: []byte("stays")})
	saveSnapshot(ctx, t, ex, stays.SnapshotKey, stays.Snapshot)
	together(t, workers, func(t testing.TB, i int) {
		mine := slices.Clone(keys)
		rand.New(rand.NewPCG(uint64(i), 1)).Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		for j := range each {
			for _, key := range mine[:7] {
				saveSnapshot(ctx, t, ex, key, evento.Snapshot{Version: uint64(j), Data: []byte("state")})
			}
			removeSnapshots(ctx, t, ex, mine...)
			for _, s := range snapshotPage(ctx, t, ex, evento.SnapshotQuery{States: true}).Snapshots {
				if s.SnapshotKey != stays.SnapshotKey && string(s.Data) != "state" {
					t.Fatalf("got %s, want it whole", showSnapshot(s))
				}
			}
		}
	})
	removeSnapshots(ctx, t, ex, keys...)
	wantSnapshots(ctx, t, ex, stays)
}

func snapshotsRefusedQueries(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	saveSnapshot(ctx, t, ex, snapshotKey(), evento.Snapshot{Version: 1})
	refused := []evento.SnapshotQuery{
		{Limit: -1}, {Limit: evento.MaxRecords + 1}, {After: evento.SnapshotKey{Revision: math.MaxInt64 + 1}}, {After: evento.SnapshotKey{Projection: "a", Revision: math.MaxUint64}},
	}
	for _, name := range refusedNames() {
		if name != "" { // which is every projection
			refused = append(refused, evento.SnapshotQuery{Projection: name})
		}
	}
	_, noTexts := strangeNames()
	for _, name := range noTexts {
		for _, after := range []evento.SnapshotKey{
			{Projection: name}, {Projection: "a", Variant: name}, {Projection: "a", AggregateType: evento.AggregateType(name)}, {Projection: "a", AggregateID: name},
		} {
			refused = append(refused, evento.SnapshotQuery{After: after}, evento.SnapshotQuery{After: after, Projection: "z", States: true})
		}
	}
	for _, q := range refused {
		wantError(t, discard(ex.Snapshots(ctx, q)), evento.ErrInvalid, "Snapshots(%.400s)", fmt.Sprintf("%+v", q))
	}
}

// A snapshot under a name that some store could not keep is neither stored nor found.
func snapshotsRefusedKeys(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	var keys changedKeys
	add := keys.add
	add(func(k *evento.SnapshotKey) { k.Revision = math.MaxInt64 + 1 })
	for _, name := range refusedNames() {
		add(func(k *evento.SnapshotKey) { k.Projection = name })
		if name == "" {
			continue
		}
		add(func(k *evento.SnapshotKey) { k.Variant = name })
		add(func(k *evento.SnapshotKey) { k.AggregateType = evento.AggregateType(name) })
		add(func(k *evento.SnapshotKey) { k.AggregateID = name })
	}
	for _, key := range keys {
		wantError(t, ex.SaveSnapshot(ctx, key, evento.Snapshot{Version: 1, Position: 1}), evento.ErrInvalid, "SaveSnapshot(%.400s)", fmt.Sprintf("%+v", key))
		wantError(t, discard(ex.Snapshot(ctx, key)), evento.ErrInvalid, "Snapshot(%.400s)", fmt.Sprintf("%+v", key))
	}
	for _, s := range []evento.Snapshot{{Version: math.MaxInt64 + 1, Position: 1}, {Version: 1, Position: math.MaxUint64}} {
		wantError(t, ex.SaveSnapshot(ctx, snapshotKey(), s), evento.ErrInvalid, "SaveSnapshot(%+v)", s)
	}
	page, err := ex.Snapshots(ctx, evento.SnapshotQuery{})
	if err != nil || len(page.Snapshots) > 0 {
		t.Errorf("%+v are stored (%v), want none", page, err)
	}
}

// What one executor saved or removed, another on the store lists from then on.
func snapshotsShared(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := []evento.Executor{ex, c.share(t, ex), c.share(t, ex)}
	for i := range 9 {
		s := snapshotOf(snapshotKey(), i)
		saveSnapshot(ctx, t, exs[i%3], s.SnapshotKey, s.Snapshot)
		for _, ex := range exs {
			wantSnapshots(ctx, t, ex, s)
		}
		removeSnapshots(ctx, t, exs[(i+1)%3], s.SnapshotKey)
		for _, ex := range exs {
			wantSnapshots(ctx, t, ex)
		}
	}
}

// Who lists with the context of a transaction sees what it saved and removed,
// others when it is committed.
func inTxListedSnapshots(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	before := saveAll(ctx, t, ex, largeSnapshots())
	added := storedSnapshot(snapshotKey(), evento.Snapshot{Version: 1, Data: []byte("added")})
	after := append(slices.Clone(before[1:len(before)-1]), added)
	work := func(tx context.Context) {
		t.Helper()
		saveSnapshot(tx, t, ex, added.SnapshotKey, added.Snapshot)
		removeSnapshots(tx, t, ex, before[0].SnapshotKey, before[len(before)-1].SnapshotKey)
		for i := range after { // pages of states that are cut, too
			wantSnapshotPage(tx, t, ex, after, evento.SnapshotQuery{States: i%2 == 0, After: after[i].SnapshotKey})
		}
		wantSnapshots(tx, t, ex, after...)
		wantSnapshots(ctx, t, ex, before...)
		commit(tx, t, ex, toAny("one", "A"))
	}
	inTxUndone(ctx, t, ex, work)
	wantSnapshots(ctx, t, ex, before...)
	inTxDone(ctx, t, ex, work)
	wantSnapshots(ctx, t, ex, after...)
}
