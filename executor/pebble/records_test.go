package pebble_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
)

func recordKey(part string) evento.RecordKey {
	return evento.RecordKey{Kind: "kind", Key: "key", Part: part}
}

// setting changes records that are at a revision.
func setting(revision uint64, parts ...string) evento.Swap {
	var s evento.Swap
	for _, part := range parts {
		s.Changes = append(s.Changes, evento.Change{RecordKey: recordKey(part), Revision: revision, Value: fmt.Append(nil, revision+1)})
	}
	return s
}

// wantRecords wants records by their parts and revisions, such as "a1".
func wantRecords(t *testing.T, ex evento.Executor, want ...string) *evento.RecordPage {
	t.Helper()
	page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind"})
	if err != nil {
		t.Fatalf("Records() = %v", err)
	}
	var got []string
	for _, r := range page.Records {
		got = append(got, fmt.Sprint(r.Part, r.Revision))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("Records() = %v, want %v", got, want)
	}
	return page
}

// A swap is shown, to readers and to those who swap the same records, when it is
// on the disk, and not at all when nobody knows whether it is.
func TestSwapDurableBeforeVisible(t *testing.T) {
	t.Parallel()
	for _, fails := range []error{nil, errDisk} {
		t.Run(fmt.Sprint("the sync ends with ", fails), func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewCrashableMem()
			fs := &faulty{FS: mem}
			ex, err := pebble.Open(t.Context(), dir, &pebble.Options{FS: fs, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := ex.Swap(t.Context(), setting(0, "a", "b", "d")); err != nil {
				t.Fatal(err)
			}
			g := newGate()
			fs.on(g.hook)
			first := setting(1, "b", "d")
			first.Changes[1].Remove = true
			first.Changes = append(first.Changes, setting(0, "c", "e").Changes...)
			first.Wake = true
			changed := ex.Changed()
			firstDone, nextDone, staleDone := make(chan error, 1), make(chan error, 1), make(chan error, 1)
			go func() { firstDone <- ex.Swap(t.Context(), first) }()
			<-g.entered
			go func() { nextDone <- ex.Swap(t.Context(), setting(2, "b")) }()  // upon the first
			go func() { staleDone <- ex.Swap(t.Context(), setting(1, "d")) }() // as if the first were not
			for range 200 {                                                    // they come on the way meanwhile
				wantRecords(t, ex, "a1", "b1", "d1")
				for name, done := range map[string]chan error{"the swap": firstDone, "one upon it": nextDone, "one against it": staleDone} {
					select {
					case err := <-done:
						t.Fatalf("%s was answered before the disk was: %v", name, err)
					default:
					}
				}
			}
			select {
			case <-changed:
				t.Error("the swap woke while its sync was under way")
			default:
			}
			after := openOn(t, mem.CrashClone(vfs.CrashCloneCfg{}))
			wantRecords(t, after, "a1", "b1", "d1")
			closeAll(t, after)

			g.release(fails)
			if fails == nil {
				if err := <-firstDone; err != nil {
					t.Errorf("Swap() = %v", err)
				}
				<-changed
				if err := <-nextDone; err != nil {
					t.Errorf("Swap() upon it = %v", err)
				}
				if err := <-staleDone; !is(t, err, evento.ErrSwapped) {
					t.Errorf("Swap() against it = %v, want %v", err, evento.ErrSwapped)
				}
				wantRecords(t, ex, "a1", "b3", "c1", "e1")
				closeAll(t, ex)
				return
			}
			if err := <-firstDone; !is(t, err, evento.ErrOutcomeUnknown) {
				t.Errorf("Swap() = %v, want %v", err, evento.ErrOutcomeUnknown)
			}
			for _, done := range []chan error{nextDone, staleDone} {
				if err := <-done; !is(t, err, evento.ErrClosed) {
					t.Errorf("another Swap() = %v, want %v", err, evento.ErrClosed)
				}
			}
			if page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind"}); !is(t, err, evento.ErrClosed) {
				t.Errorf("Records() = %+v, %v, want %v", page, err, evento.ErrClosed)
			}
			if err := ex.Close(); err != nil {
				t.Logf("Close() = %v", err)
			}
		})
	}
}

// Records have the time of the clock as it is, also when it was set back, and
// whatever the times of events are.
func TestRecordsWithAnEarlierClock(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	var now time.Time
	open := func() evento.Executor {
		t.Helper()
		ex, err := pebble.Open(t.Context(), dir, &pebble.Options{FS: mem, Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return ex
	}
	for life, tt := range []time.Time{noon, noon.Add(-time.Hour), noon.Add(time.Minute).In(time.FixedZone("", 3600)), noon} {
		now = tt
		ex := open()
		commit(t, ex, life)
		if err := ex.Swap(t.Context(), setting(uint64(life), "a", "b")); err != nil {
			t.Fatal(err)
		}
		now = tt.Add(-time.Minute)
		for range 2 { // and opened again
			page := wantRecords(t, ex, fmt.Sprint("a", life+1), fmt.Sprint("b", life+1))
			if page.Now != now.UTC() || page.Records[0].ChangedAt != tt.UTC() || page.Records[1].ChangedAt != tt.UTC() {
				t.Errorf("life %d, with changes at %s and the clock at %s: Records() = %+v", life, tt, now, page)
			}
			closeAll(t, ex)
			ex = open()
		}
		closeAll(t, ex)
	}
}

// What is no record is an error, and is not written over.
func TestDamagedRecords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, key, value string }{
		{"value cut short", "evento/ckind\x00key\x00a\x00", "short"},
		{"empty value", "evento/ckind\x00key\x00a\x00", ""},
		{"another key", "evento/ckind\x00key\x00a", "0123456789abcdef"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := openDB(t, vfs.NewMem())
			if err := db.Set([]byte(tt.key), []byte(tt.value), lsm.Sync); err != nil {
				t.Fatal(err)
			}
			ex, err := pebble.New(t.Context(), db, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(t, ex)
			if page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind"}); !is(t, err, evento.ErrDecode) {
				t.Errorf("Records() = %+v, %v, want %v", page, err, evento.ErrDecode)
			}
			if tt.name == "another key" {
				return
			}
			if err := ex.Swap(t.Context(), setting(0, "a")); !is(t, err, evento.ErrDecode) {
				t.Errorf("Swap() = %v, want %v", err, evento.ErrDecode)
			}
		})
	}
}

// What is no snapshot is an error, and is not written over.
func TestDamagedSnapshots(t *testing.T) {
	t.Parallel()
	const sound = "evento/sp\x00\x00\x00\x00\x00\x00\x00\x00\x01v\x00" + string(thing) + "\x000\x00" // that of key
	value := make([]byte, 24)
	for _, tt := range []struct{ name, key, value string }{
		{"value cut short", sound, string(value[:19])},
		{"empty value", sound, ""},
		{"a cursor of more than there is", sound, string(append(value[:19:19], 9, 'c'))},
		{"a key without its end", sound[:len(sound)-1], string(value)},
		{"a key without its revision", "evento/sp\x00\x00\x00", string(value)},
		{"a key with a name more", sound + "x\x00", string(value)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := openDB(t, vfs.NewMem())
			if err := db.Set([]byte(tt.key), []byte(tt.value), lsm.Sync); err != nil {
				t.Fatal(err)
			}
			ex, err := pebble.New(t.Context(), db, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(t, ex)
			for _, states := range []bool{false, true} {
				if page, err := ex.Snapshots(t.Context(), evento.SnapshotQuery{States: states}); !is(t, err, evento.ErrDecode) {
					t.Errorf("Snapshots() = %+v, %v, want %v", page, err, evento.ErrDecode)
				}
			}
			if tt.key != sound {
				return
			}
			if s, err := ex.Snapshot(t.Context(), key); !is(t, err, evento.ErrDecode) {
				t.Errorf("Snapshot() = %+v, %v, want %v", s, err, evento.ErrDecode)
			}
			if err := ex.SaveSnapshot(t.Context(), key, evento.Snapshot{Version: 1}); !is(t, err, evento.ErrDecode) {
				t.Errorf("SaveSnapshot() = %v, want %v", err, evento.ErrDecode)
			}
			if err := ex.RemoveSnapshots(t.Context(), []evento.SnapshotKey{key}); err != nil {
				t.Errorf("RemoveSnapshots() = %v", err)
			}
			if page, err := ex.Snapshots(t.Context(), evento.SnapshotQuery{}); err != nil || len(page.Snapshots) > 0 {
				t.Errorf("Snapshots() after the removal = %+v, %v, want none", page, err)
			}
		})
	}
}
