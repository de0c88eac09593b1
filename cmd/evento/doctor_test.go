package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

// findings runs doctor and returns what it found as "severity check", with how
// often.
func findings(t *testing.T, args ...string) (counts map[string]int, text string) {
	t.Helper()
	var out, errs strings.Builder
	code := run(t.Context(), append([]string{"doctor", "-o", "json"}, args...), nil, &out, &errs)
	counts = map[string]int{}
	for line := range strings.Lines(out.String()) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if f.Check != "" {
			counts[string(f.Severity)+" "+f.Check]++
		}
	}
	want := exitOK
	if strings.Contains(out.String(), `"severity":"error"`) {
		want = exitFailed
	}
	if code != want || errs.Len() > 0 {
		t.Errorf("doctor: exit code %d, want %d\n%s%s", code, want, out.String(), errs.String())
	}
	return counts, out.String()
}

// What somebody did to a store behind the library's back is found, and a store
// whose events are from an older backup than its subscriptions.
func TestDoctorFindsDamage(t *testing.T) {
	t.Parallel()
	unlock := map[storeKind][]string{
		sqliteStore:   {"DROP TRIGGER evento_event_delete", "DROP TRIGGER evento_event_update"},
		postgresStore: {"ALTER TABLE SCHEMA.event DISABLE TRIGGER immutable"},
		mysqlStore:    {},
	}
	for kind, texts := range unlock {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			store := stores[kind](t)
			if err := fill(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			if err := onNewStore(t.Context(), store, func(ex evento.Executor) error {
				key := evento.SnapshotKey{Projection: "p", Variant: strings.Repeat("0", 64), AggregateType: "shop/Order", AggregateID: "o1"}
				return ex.SaveSnapshot(t.Context(), key, evento.Snapshot{Version: 2, Position: 6, Data: []byte{1}})
			}); err != nil {
				t.Fatal(err)
			}
			healthy := map[string]int{"warning subscription": 1, "error subscription": 1, "note payload": 1}
			if got, text := findings(t, "--store", store); fmt.Sprint(got) != fmt.Sprint(healthy) {
				t.Errorf("before: found %v, want %v\n%s", got, healthy, text)
			}
			statements(t, store, slices.Concat(texts, []string{
				"DELETE FROM SCHEMA.event WHERE position = 1",
				"DELETE FROM SCHEMA.event WHERE position = 6",
				"UPDATE SCHEMA.event SET recorded_at = 1 WHERE position = 5",
			})...)
			want := map[string]int{
				"error version":        1, // of o1, which begins with version 2
				"warning position":     1, // there is no 1
				"error timestamp":      1, // of 5
				"error snapshot":       1,
				"error subscription":   1, // of stuck, as before; mailer is beyond the end where there is no counter
				"warning subscription": 1,
			}
			if kind == sqliteStore {
				want["error subscription"]++
				delete(want, "warning subscription")
			} else {
				want["error counter"] = 1
			}
			if kind != mysqlStore {
				want["warning immutability"] = 1
			}
			got, text := findings(t, "--store", store)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("found %v, want %v\n%s", got, want, text)
			}
			for _, part := range []string{"shop/Order o1", "version 2 at position 2 stands where version 1 is expected", "no events from position 1 to 1", "position 5 is of 1970-01-01T00:00:00.000001Z"} {
				if !strings.Contains(text, part) {
					t.Errorf("%q is not in\n%s", part, text)
				}
			}
			// --fast reads the end, and here that is everything.
			if fast, text := findings(t, "--store", store, "--fast"); fast["error timestamp"] != 1 || fast["error version"] != 1 {
				t.Errorf("--fast found %v\n%s", fast, text)
			}
			if kind != sqliteStore {
				statements(t, store, "UPDATE SCHEMA.counter SET position = 5")
			}
			if got, text := findings(t, "--store", store); got["error subscription"] != 2 || !strings.Contains(text, "beyond the end of the store") {
				t.Errorf("found %v, want mailer beyond the end\n%s", got, text)
			}
			// The list shows it beside the others, and a reset mends it.
			var list strings.Builder
			code := run(t.Context(), []string{"subscriptions", "list", "--store", store}, nil, &list, &list)
			code += run(t.Context(), []string{"subscriptions", "reset", "mailer", "--to-position", "5", "--yes", "--store", store}, nil, &list, &list)
			if code != exitOK || !strings.Contains(list.String(), "unreadable") || !strings.Contains(list.String(), "stuck") {
				t.Errorf("list and reset: %d\n%s", code, list.String())
			}
			if got, text := findings(t, "--store", store); got["error subscription"] != 1 {
				t.Errorf("after the reset: found %v\n%s", got, text)
			}
		})
	}
}

// What would risk events is a warning with a remedy.
func TestDoctorSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		got  []finding
		want []string
	}{
		{"PostgreSQL, safe", postgresRisks("on", "on", "on"), nil},
		{"PostgreSQL, unsafe", postgresRisks("off", "off", "off"), []string{"fsync", "synchronous_commit", "full_page_writes"}},
		{"MySQL, safe", mysqlRisks("1", true, "1", "ON"), nil},
		{"MySQL without a binary log, safe", mysqlRisks("1", false, "0", "1"), nil},
		{"MySQL, unsafe", mysqlRisks("2", true, "0", "OFF"), []string{"innodb_flush_log_at_trx_commit", "sync_binlog", "innodb_doublewrite"}},
	} {
		var names []string
		for _, f := range test.got {
			for _, name := range test.want {
				if strings.Contains(f.Detail, name) && strings.Contains(f.Remedy, name) && f.Severity == warning {
					names = append(names, name)
				}
			}
		}
		if !slices.Equal(names, test.want) || len(test.got) != len(test.want) {
			t.Errorf("%s: %v, want %v", test.name, test.got, test.want)
		}
	}
	store := postgresURL(t)
	if err := fill(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if got, text := findings(t, "--store", store+"&synchronous_commit=off"); got["warning durability"] != 1 {
		t.Errorf("found %v, want one of durability\n%s", got, text)
	}
}

// However little memory there is for versions, every aggregate is checked: with
// room for three of a hundred, the gaps of all that have one are found.
func TestDoctorVersionsInPasses(t *testing.T) {
	t.Parallel()
	v := newVersions(3)
	found := map[string]int{}
	passes := 0
	for more := true; more; more = v.next() {
		passes++
		for version := uint64(1); version <= 3; version++ {
			for i := range 100 {
				e := &evento.RawEvent{AggregateType: "t", AggregateID: strconv.Itoa(i), Version: version}
				if i%10 == 7 && version == 3 {
					e.Version = 5
				}
				last, _, hash := v.put(e)
				if hash == 0 {
					continue
				}
				if e.Version == last+1 {
					found[e.AggregateID]++
				} else {
					found["gap of "+e.AggregateID]++
				}
				if len(v.last) > v.most {
					t.Fatalf("%d aggregates in memory, want at most %d", len(v.last), v.most)
				}
			}
		}
	}
	for i := range 100 {
		id := strconv.Itoa(i)
		want, gaps := 3, 0
		if i%10 == 7 {
			want, gaps = 2, 1
		}
		// What was let go of in the middle of a pass is seen again in another.
		if found[id] < want || found["gap of "+id] != gaps {
			t.Errorf("aggregate %s: %d events and %d gaps were seen in %d passes, want %d and %d", id, found[id], found["gap of "+id], passes, want, gaps)
		}
	}
	if passes < 10 {
		t.Errorf("%d passes, want more for 100 aggregates with room for 3", passes)
	}
}

// Positions that only an executor with a fault gives, and more findings than are
// listed.
func TestDoctorOfAFaultyExecutor(t *testing.T) {
	t.Parallel()
	ex := memory.New(nil)
	d := &doctor{s: &session{ex: ex, out: testOutput(t)}, listed: map[string]int{}}
	l := newLogCheck(d, 10)
	l.versions = newVersions(10)
	for _, position := range []uint64{1, 2, 2, 1} {
		if err := l.order(&evento.RawEvent{Position: position}); err != nil {
			t.Fatal(err)
		}
	}
	if d.errors != 2 {
		t.Errorf("%d errors, want 2: the positions 2 and 1 behind 2", d.errors)
	}
	for i := range 30 {
		if err := l.payload(&evento.RawEvent{Position: uint64(i), Codec: "json", Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.listed["error payload"]; got != 30 || d.errors != 32 {
		t.Errorf("%d payloads and %d errors, want 30 and 32", got, d.errors)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
}

func testOutput(t *testing.T) *output {
	t.Helper()
	cmd := doctorCommand()
	cmd.SetOut(writerFunc(func(b []byte) (int, error) { return len(b), nil }))
	cmd.SetContext(context.Background())
	o, err := newOutput(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return o
}
