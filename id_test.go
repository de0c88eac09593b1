package evento

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

func TestNewIDRisesAcrossGoroutines(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 2000
	made := make([][]ID, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for range each {
				made[g] = append(made[g], NewID())
			}
		})
	}
	wg.Wait()
	seen := map[ID]bool{}
	for _, ids := range made {
		for i, id := range ids {
			if i > 0 && bytes.Compare(ids[i-1][:], id[:]) >= 0 {
				t.Fatalf("%s was made after %s, by one goroutine", id, ids[i-1])
			}
			seen[id] = true
		}
	}
	if len(seen) != goroutines*each {
		t.Errorf("%d ids are unique, want %d", len(seen), goroutines*each)
	}
	if after := NewID(); after.Compare(made[0][each-1]) <= 0 {
		t.Errorf("%s was made after %s", after, made[0][each-1])
	}
}

func TestIDSourceClock(t *testing.T) {
	t.Parallel()
	start := time.UnixMilli(1_700_000_000_000)
	for _, test := range []struct {
		name string
		now  []time.Time
		want []time.Time // the time in each id
	}{
		{"standing still", []time.Time{start, start, start}, []time.Time{start, start, start}},
		{"stepping back", []time.Time{start, start.Add(-time.Hour), start.Add(time.Second)}, []time.Time{start, start, start.Add(time.Second)}},
		{"before 1970", []time.Time{{}, time.UnixMilli(-1), time.UnixMilli(1)}, []time.Time{time.UnixMilli(0), time.UnixMilli(0), time.UnixMilli(1)}},
		{"after 10889", []time.Time{time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC)}, []time.Time{ulid.Time(ulid.MaxTime())}},
	} {
		i := -1
		s := newIDSource(func() time.Time { i++; return test.now[i] })
		var last ID
		for j, want := range test.want {
			id := s.next()
			if !id.Timestamp().Equal(want) {
				t.Errorf("%s: id %d of the clock %s has the time %s, want %s", test.name, j, test.now[j], id.Timestamp(), want)
			}
			if j > 0 && id.Compare(last) <= 0 {
				t.Errorf("%s: %s was made after %s", test.name, id, last)
			}
			last = id
		}
	}
}

// ones gives the highest random part, which runs over at the next id.
type ones struct{}

func (ones) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 0xff
	}
	return len(b), nil
}

func TestIDSourceRunsOver(t *testing.T) {
	t.Parallel()
	start := time.UnixMilli(1_700_000_000_000)
	s := newIDSource(func() time.Time { return start })
	s.entropy = ulid.Monotonic(ones{}, 1)
	last := s.next()
	for range 100 {
		id := s.next()
		if id.Compare(last) <= 0 {
			t.Fatalf("%s was made after %s", id, last)
		}
		last = id
	}
	if !last.Timestamp().After(start) {
		t.Errorf("100 ids of the highest random part have the time %s: none ran over", last.Timestamp())
	}
}

// The result is stored as an aggregate's id: it may never change.
func TestHashIDs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		ids  []string
		want string
	}{
		{nil, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{[]string{""}, "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc"},
		{[]string{"tenant-1", "order-9"}, "dee7cdc9091c53046e6ee478b0c595e6bcd10de6148f048a02bd6a566b13036e"},
	} {
		if got := HashIDs(test.ids...); got != test.want {
			t.Errorf("HashIDs(%q) = %q, want %q", test.ids, got, test.want)
		}
	}
	seen := map[string][]string{}
	for _, ids := range [][]string{
		nil, {""}, {"", ""}, {"abc"}, {"a", "bc"}, {"ab", "c"}, {"a", "b", "c"}, {"abc", ""}, {"", "abc"}, {"c", "ab"},
		{"\x00"}, {"\x00\x00"}, {"a\x00", "b"}, {"a", "\x00b"},
		{"\x00\x00\x00\x00\x00\x00\x00\x01a"}, {"a\x00\x00\x00\x00\x00\x00\x00\x01b"},
	} {
		hash := HashIDs(ids...)
		if other, found := seen[hash]; found {
			t.Errorf("HashIDs(%q) and HashIDs(%q) are both %s", ids, other, hash)
		}
		seen[hash] = ids
		if err := checkName("aggregate id", hash); err != nil || len(hash) != 64 {
			t.Errorf("HashIDs(%q) = %q: %v", ids, hash, err)
		}
	}
}
