package examine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/examine"
)

// log is n events of aggregates, in turn.
func log(n, aggregates int) []evento.RawEvent {
	events := make([]evento.RawEvent, n)
	for i := range events {
		events[i] = evento.RawEvent{
			ID: evento.NewID(), Position: uint64(i + 1), AggregateType: "t", AggregateID: fmt.Sprint(i % aggregates), Version: uint64(i/aggregates + 1),
			Name: "n", Codec: "json", RoutingKey: fmt.Sprint("key ", i%aggregates%3), Timestamp: time.UnixMicro(int64(1e15) + int64(i)),
		}
	}
	return events
}

// breaches are what rules say of events, in all passes, with how many there were.
func breaches(t *testing.T, opts examine.Options, events []evento.RawEvent) (list []string, passes int) {
	t.Helper()
	rules := examine.NewRules(opts)
	for more := true; more; more = rules.Next() {
		passes++
		for i := range events {
			err := rules.Event(&examine.Event{RawEvent: events[i]}, func(b examine.Breach) error {
				list = append(list, fmt.Sprintf("%d %s: %s", i+1, b.Check, b.Detail))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return list, passes
}

func TestRules(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		opts   examine.Options
		change func(e []evento.RawEvent) []evento.RawEvent
		want   []string // beginnings
	}{
		"nothing":             {examine.Options{}, func(e []evento.RawEvent) []evento.RawEvent { return e }, nil},
		"none":                {examine.Options{}, func([]evento.RawEvent) []evento.RawEvent { return nil }, nil},
		"the end":             {examine.Options{After: 12}, func(e []evento.RawEvent) []evento.RawEvent { return e[12:] }, nil},
		"the end, not after":  {examine.Options{}, func(e []evento.RawEvent) []evento.RawEvent { return e[12:] }, []string{"1 position: there are no events at positions 1 to 12", "1 version: version 2", "2 version: ", "3 version: ", "4 version: ", "5 version: ", "6 version: ", "7 version: ", "8 version: "}},
		"a gap":               {examine.Options{}, func(e []evento.RawEvent) []evento.RawEvent { e[19].Position = 30; return e }, []string{"20 position: there are no events at positions 20 to 29"}},
		"a gap that may be":   {examine.Options{Gaps: true}, func(e []evento.RawEvent) []evento.RawEvent { e[19].Position = 30; return e }, nil},
		"a position twice":    {examine.Options{}, func(e []evento.RawEvent) []evento.RawEvent { e[19].Position = 19; return e }, []string{"20 position: it comes behind position 19"}},
		"positions that fall": {examine.Options{Gaps: true}, func(e []evento.RawEvent) []evento.RawEvent { e[19].Position = 3; return e }, []string{"20 position: it comes behind position 19"}},
		"of several stores":   {examine.Options{Unordered: true, Gaps: true}, func(e []evento.RawEvent) []evento.RawEvent { e[19].Position = 3; return e }, nil},
		"a later time":        {examine.Options{}, func(e []evento.RawEvent) []evento.RawEvent { e[3].Timestamp = e[19].Timestamp; return e }, []string{"5 timestamp: it is of "}},
		"a version left out":  {examine.Options{}, func(e []evento.RawEvent) []evento.RawEvent { e[19].Version++; return e }, []string{"20 version: version 4 stands where version 3 is expected"}},
		"a version twice":     {examine.Options{}, func(e []evento.RawEvent) []evento.RawEvent { e[19].Version--; return e }, []string{"20 version: version 2 stands where version 3 is expected"}},
		"not counted":         {examine.Options{Uncounted: true}, func(e []evento.RawEvent) []evento.RawEvent { e[19].Version = 77; return e }, nil},
		"another routing key": {examine.Options{}, func(e []evento.RawEvent) []evento.RawEvent { e[19].RoutingKey = "other"; return e }, []string{`20 event: the routing key is "other"`}},
		"no routing key":      {examine.Options{}, func(e []evento.RawEvent) []evento.RawEvent { e[19].RoutingKey = ""; return e }, []string{`20 event: the routing key is ""`}},
		"an id twice":         {examine.Options{}, func(e []evento.RawEvent) []evento.RawEvent { e[19].ID = e[2].ID; return e }, []string{"20 id: it has the event id"}},
		"all of an event": {examine.Options{}, func(e []evento.RawEvent) []evento.RawEvent {
			e[19] = evento.RawEvent{ID: e[19].ID, Position: 20, AggregateType: "\xff", AggregateID: "", Version: 1 << 62, Name: strings.Repeat("n", 256), RoutingKey: "\n", Tags: []string{"a", "a"}, Timestamp: time.Unix(-1, 0), Codec: strings.Repeat("c", 33), Metadata: evento.Metadata{ID: "\x00"}}
			return e
		}, []string{
			`20 event: invalid aggregate type "\xff": not valid UTF-8`, "20 event: invalid aggregate id: empty", "20 version: invalid version: 4611686018427387904", "20 event: invalid event name",
			"20 event: invalid routing key", "20 event: invalid tags: \"a\" is there twice", "20 timestamp: invalid timestamp: 1969", "20 event: invalid codec name", "20 event: invalid metadata id",
		}},
	} {
		for _, memory := range []int{0, 1} { // 1: there is room for one aggregate
			tt.opts.Memory = memory
			got, passes := breaches(t, tt.opts, tt.change(log(20, 8)))
			slices.Sort(got)
			want := slices.Clone(tt.want)
			slices.Sort(want)
			if !slices.EqualFunc(got, want, strings.HasPrefix) || memory == 0 && passes != 1 {
				t.Errorf("%s, memory %d: %q in %d passes, want %q", name, memory, got, passes, want)
			}
		}
	}
	stop := errors.New("stop")
	for _, e := range []evento.RawEvent{{}, {Position: 2, Version: 1, AggregateType: "t", AggregateID: "a", Name: "n", Codec: "c", Timestamp: time.UnixMicro(0)}} {
		if err := examine.NewRules(examine.Options{}).Event(&examine.Event{RawEvent: e}, func(examine.Breach) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("Event(%+v) = %v, want %v", e, err, stop)
		}
	}
}

// What is not known of an event is not held against it, nor against those behind it.
func TestRulesOfUnknownParts(t *testing.T) {
	t.Parallel()
	for _, part := range []examine.Part{examine.Type, examine.Name, examine.RoutingKey, examine.Tags, examine.Codec, examine.Metadata, examine.Data, examine.ID, examine.Timestamp} {
		rules := examine.NewRules(examine.Options{})
		for i, raw := range log(20, 1) {
			e := &examine.Event{RawEvent: raw}
			if i == 9 {
				e.Unknown(part)
				e.RoutingKey, e.Timestamp, e.Codec, e.Name = "", time.Time{}, "", ""
				for _, p := range []examine.Part{examine.RoutingKey, examine.Timestamp, examine.Codec, examine.Name} {
					if p != part {
						e.Unknown(p)
					}
				}
			}
			err := rules.Event(e, func(b examine.Breach) error {
				if part == examine.Type && b.Check == "version" && i == 10 {
					return nil // there is one less of the aggregate
				}
				return fmt.Errorf("%+v", b)
			})
			if err != nil {
				t.Errorf("without the %s of event 10: event %d: %v", part, i+1, err)
			}
		}
	}
}

// Every gap is found, however little memory there is for versions.
func TestRulesInPasses(t *testing.T) {
	t.Parallel()
	events := log(3000, 1000)
	var want []string
	for i := range events {
		if e := &events[i]; e.Version == 3 && i%10 == 7 {
			e.Version = 5
			want = append(want, fmt.Sprintf("%d version: version 5 stands where version 3 is expected", i+1))
		}
	}
	for _, memory := range []int{1000, 10_000, 100_000, 1 << 20} {
		got, passes := breaches(t, examine.Options{Memory: memory}, events)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("memory %d: %d gaps in %d passes, want %d: %q", memory, len(got), passes, len(want), got)
		}
		if memory <= 10_000 != (passes > 3) {
			t.Errorf("memory %d: %d passes", memory, passes)
		}
	}
}

// Each id that is there twice is found, close by and far away, whether ids rise or not, and
// with little memory for those that come late.
func TestIDsThatAreThereTwice(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		memory int
		ids    func(r *rand.Rand, ids []evento.ID)
		one    bool // pass
	}{
		{"rising", 0, func(*rand.Rand, []evento.ID) {}, true},
		{"of several processes", 0, func(r *rand.Rand, ids []evento.ID) {
			for i := 0; i+100 < len(ids); i += 100 {
				r.Shuffle(100, func(a, b int) { ids[i+a], ids[i+b] = ids[i+b], ids[i+a] })
			}
		}, true},
		{"of a clock that was ahead", 0, func(_ *rand.Rand, ids []evento.ID) {
			for i := range 10_000 {
				ids[500+i][0] = 0xff
			}
		}, true},
		{"of two stores", 0, func(_ *rand.Rand, ids []evento.ID) { slices.Reverse(ids[:len(ids)/2]); slices.Reverse(ids) }, false},
		{"at random", 0, func(r *rand.Rand, ids []evento.ID) {
			r.Shuffle(len(ids), func(a, b int) { ids[a], ids[b] = ids[b], ids[a] })
		}, false},
		{"at random, little memory", 8 * 30_000 * 56, func(r *rand.Rand, ids []evento.ID) {
			r.Shuffle(len(ids), func(a, b int) { ids[a], ids[b] = ids[b], ids[a] })
		}, false},
		{"falling", 8 * 50_000 * 56, func(_ *rand.Rand, ids []evento.ID) { slices.Reverse(ids) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 2))
			events := log(200_000, 10)
			ids := make([]evento.ID, len(events))
			for i := range events {
				ids[i] = events[i].ID
			}
			tt.ids(r, ids)
			for i := range events {
				events[i].ID = ids[i]
			}
			opts := examine.Options{Memory: tt.memory}
			if got, passes := breaches(t, opts, events); len(got) > 0 || tt.one != (passes == 1) {
				t.Errorf("of ids that are there once: %.3q in %d passes", got, passes)
			}
			twice := map[string]bool{}
			for _, pair := range [][2]int{{0, 1}, {10, 199_999}, {1000, 140_000}, {150_000, 150_500}, {60_000, 180_000}, {199_990, 199_991}} {
				events[pair[1]].ID = events[pair[0]].ID
				twice[fmt.Sprintf("%d id: it has the event id %s, as the event at position %d has", pair[1]+1, events[pair[1]].ID, pair[0]+1)] = true
			}
			got, passes := breaches(t, opts, events)
			for _, b := range got {
				if !twice[b] {
					t.Errorf("in %d passes: %s", passes, b)
				}
				delete(twice, b)
			}
			if len(twice) > 0 {
				t.Errorf("not found in %d passes: %v", passes, twice)
			}
		})
	}
}

func TestNameFault(t *testing.T) {
	t.Parallel()
	for _, part := range []examine.Part{examine.Type, examine.Aggregate, examine.Name, examine.RoutingKey} {
		for name, want := range map[string]string{"a": "", "żółw 🐢": "", "": "empty", "\xff": "not valid UTF-8", "a\nb": "control character", strings.Repeat("x", 256): "256 bytes"} {
			if got := examine.NameFault(part, name); (got == "") != (want == "") || !strings.Contains(got, want) {
				t.Errorf("NameFault(%s, %.20q) = %q, want %q", part, name, got, want)
			}
		}
	}
}

// Records and snapshots that a store does not take.
func TestCheckRecordsAndSnapshots(t *testing.T) {
	t.Parallel()
	good := evento.Record{RecordKey: evento.RecordKey{Kind: "k", Key: "a", Part: "p"}, Revision: 1, ChangedAt: time.UnixMicro(1)}
	for want, change := range map[string]func(r *evento.Record){
		"":                       func(*evento.Record) {},
		"its revision is 0":      func(r *evento.Record) { r.Revision = 0 },
		"invalid revision":       func(r *evento.Record) { r.Revision = 1 << 63 },
		"not valid UTF-8":        func(r *evento.Record) { r.Key = "\xff" },
		"control character":      func(r *evento.Record) { r.Part = "\n" },
		": empty":                func(r *evento.Record) { r.Kind = "" },
		"too large: record k \"": func(r *evento.Record) { r.Value = make([]byte, evento.MaxRecord+1) },
		"the time of its last":   func(r *evento.Record) { r.ChangedAt = time.Time{} },
	} {
		r := examine.Record{Record: good}
		change(&r.Record)
		r.Check()
		if (len(r.Faults) == 0) != (want == "") || want != "" && !strings.Contains(r.Faults[0].Detail, want) {
			t.Errorf("%+v: %v, want %q", r.RecordKey, r.Faults, want)
		}
	}
	state := evento.Snapshot{Version: 1, Position: 1, Cursor: "c", Data: []byte{0xa0}}
	key := evento.SnapshotKey{Projection: "p", Revision: 1, AggregateType: "t", AggregateID: "a"}
	for part, change := range map[examine.Part]func(s *evento.StoredSnapshot){
		"":               func(*evento.StoredSnapshot) {},
		"key":            func(s *evento.StoredSnapshot) { s.Projection = "\xff" },
		examine.Version:  func(s *evento.StoredSnapshot) { s.Version = 0 },
		examine.Position: func(s *evento.StoredSnapshot) { s.Position = 1 << 63 },
		"cursor":         func(s *evento.StoredSnapshot) { s.Cursor = "" },
		"state":          func(s *evento.StoredSnapshot) { s.Data = []byte{0xa1} },
	} {
		s := examine.Snapshot{StoredSnapshot: evento.StoredSnapshot{SnapshotKey: key, Snapshot: state}}
		change(&s.StoredSnapshot)
		if s.Check(); part == "" && len(s.Faults) > 0 || part != "" && (len(s.Faults) != 1 || s.Faults[0].Part != part) {
			t.Errorf("a snapshot whose %q is wrong: %v", part, s.Faults)
		}
	}
}
