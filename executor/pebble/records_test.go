package pebble_test

import (
	"errors"
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
				if err := <-staleDone; !errors.Is(err, evento.ErrSwapped) {
					t.Errorf("Swap() against it = %v, want %v", err, evento.ErrSwapped)
				}
				wantRecords(t, ex, "a1", "b3", "c1", "e1")
				closeAll(t, ex)
				return
			}
			if err := <-firstDone; !errors.Is(err, evento.ErrOutcomeUnknown) {
				t.Errorf("Swap() = %v, want %v", err, evento.ErrOutcomeUnknown)
			}
			for _, done := range []chan error{nextDone, staleDone} {
				if err := <-done; !errors.Is(err, evento.ErrClosed) {
					t.Errorf("another Swap() = %v, want %v", err, evento.ErrClosed)
				}
			}
			if page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind"}); !errors.Is(err, evento.ErrClosed) {
				t.Errorf("Records() = %+v, %v, want %v", page, err, evento.ErrClosed)
			}
			if err := ex.Close(); err != nil {
				t.Logf("Close() = %v", err)
			}
		})
	}
}

// The clock of a store that is opened again does not fall behind what it holds,
// nor does it while it is open.
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
	for life, tt := range []struct{ clock, want time.Time }{
		{noon, noon}, {noon.Add(-time.Hour), noon}, {noon.Add(time.Minute).In(time.FixedZone("", 3600)), noon.Add(time.Minute)}, {noon, noon.Add(time.Minute)},
	} {
		now = tt.clock
		ex := open()
		if err := ex.Swap(t.Context(), setting(uint64(life), "a", "b")); err != nil {
			t.Fatal(err)
		}
		now = now.Add(-time.Minute)
		page := wantRecords(t, ex, fmt.Sprint("a", life+1), fmt.Sprint("b", life+1))
		if page.Now != tt.want || page.Records[0].ChangedAt != tt.want || page.Records[1].ChangedAt != tt.want {
			t.Errorf("life %d, with the clock at %s: Records() = %+v, want %s for all times", life, tt.clock, page, tt.want)
		}
		closeAll(t, ex)
		now = tt.clock.Add(-time.Hour)
		ex = open()
		if page := wantRecords(t, ex, fmt.Sprint("a", life+1), fmt.Sprint("b", life+1)); page.Now != tt.want {
			t.Errorf("life %d, opened again: Records() has %s for Now, want %s", life, page.Now, tt.want)
		}
		closeAll(t, ex)
	}
	// Events and records have one clock.
	ex := open()
	commit(t, ex, 1)
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil || e.Timestamp != noon.Add(time.Minute) {
			t.Errorf("an event after the records: %s, %v, want %s", e.Timestamp, err, noon.Add(time.Minute))
		}
	}
	closeAll(t, ex)
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
			if page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind"}); !errors.Is(err, evento.ErrDecode) {
				t.Errorf("Records() = %+v, %v, want %v", page, err, evento.ErrDecode)
			}
			if tt.name == "another key" {
				return
			}
			if err := ex.Swap(t.Context(), setting(0, "a")); !errors.Is(err, evento.ErrDecode) {
				t.Errorf("Swap() = %v, want %v", err, evento.ErrDecode)
			}
		})
	}
	db := openDB(t, vfs.NewMem())
	if err := db.Set([]byte("evento/t"), []byte("short"), lsm.Sync); err != nil {
		t.Fatal(err)
	}
	if ex, err := pebble.New(t.Context(), db, nil); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("New() with a damaged time = %v, %v, want %v", ex, err, evento.ErrInvalid)
	}
}
