package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
)

// findings runs doctor and returns its findings as "severity check", with their
// counts, but for the notes about a server of NATS that is alone.
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
		alone := f.Severity == note && (f.Check == "replicas" || f.Check == "durability")
		if f.Check != "" && !alone {
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

// doctor finds what was changed in a store without the library, and a store whose
// events are from an older backup than its subscriptions.
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
				return ex.SaveSnapshot(t.Context(), key, evento.Snapshot{Version: 2, Position: 6, Cursor: "c", Data: []byte{1}})
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
				"error position":       1, // there is no 1
				"error timestamp":      1, // of 5
				"error snapshot":       1,
				"error subscription":   1, // of stuck, as before; mailer is beyond the end where there is no counter
				"warning subscription": 1,
			}
			if kind == sqliteStore {
				want["error checksum"] = 1 // for all events
				want["error subscription"]++
				delete(want, "warning subscription")
			} else {
				want["error counter"] = 1
			}
			if kind != mysqlStore {
				want["error schema"] = len(texts) // the triggers
			}
			got, text := findings(t, "--store", store)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("found %v, want %v\n%s", got, want, text)
			}
			for _, part := range []string{"shop/Order o1", "Paid, version 2 at position 2: version 2 stands where version 1 is expected", "there is no event at position 1 before it", "Joined, version 1 at position 5: it is of 1970-01-01T00:00:00.000001Z"} {
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
			// The list shows it besides the others, and a reset repairs it.
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

// damages are subscriptions with records that the library has not written: values
// by part, and the expected findings.
var damages = map[string]struct {
	records map[string]string
	want    string
}{
	"no text":               {map[string]string{"": "\xff", "0000": "{}"}, "invalid character"},
	"no number":             {map[string]string{"": `{"partitions":"two"}`, "0000": `{}`}, "cannot unmarshal string"},
	"a number for a text":   {map[string]string{"": `{"partitions":1}`, "0000": `{"owner":7}`}, "cannot unmarshal number"},
	"negative partitions":   {map[string]string{"": `{"partitions":-1}`, "0000": `{}`}, "partitions: -1 is not 1 to 64"},
	"no partitions":         {map[string]string{"": `{"partitions":0}`, "0000": `{}`}, "partitions: 0 is not 1 to 64"},
	"a billion partitions":  {map[string]string{"": `{"partitions":1000000000}`, "0000": `{}`}, "partitions: 1000000000 is not"},
	"most partitions":       {map[string]string{"": `{"partitions":9223372036854775807}`, "0000": `{}`}, "partitions: 9223372036854775807 is not"},
	"over all numbers":      {map[string]string{"": `{"partitions":9223372036854775808}`, "0000": `{}`}, "cannot unmarshal number"},
	"a missing partition":   {map[string]string{"": `{"partitions":2}`, "0001": `{}`}, "it is missing"},
	"too many partitions":   {map[string]string{"": `{"partitions":1}`, "0000": `{}`, "0001": `{}`}, "of 1 partitions"},
	"partitions alone":      {map[string]string{"0000": `{}`}, "is missing"},
	"another part":          {map[string]string{"": `{"partitions":1}`, "0000": `{}`, "zzz": `{}`}, "no subscription has such a part"},
	"a negative part":       {map[string]string{"": `{"partitions":1}`, "0000": `{}`, "-001": `{}`}, "of 1 partitions"},
	"a huge part":           {map[string]string{"": `{"partitions":1}`, "0000": `{}`, "99999999999999999999": `{}`}, "no subscription has such a part"},
	"a negative lease":      {map[string]string{"": `{"partitions":1}`, "0000": `{"lease_ms":-5}`}, "lease_ms: -5"},
	"a lease for ever":      {map[string]string{"": `{"partitions":1}`, "0000": `{"lease_ms":9223372036854775807}`}, "lease_ms: 9223372036854775807"},
	"a position for ever":   {map[string]string{"": `{"partitions":1}`, "0000": `{"cursor":"x","position":18446744073709551615}`}, "a number is over"},
	"an instance":           {map[string]string{"": `{"partitions":1}`, "0000": `{}`, "instance-x": `{"host":1}`}, "cannot unmarshal number"},
	"a selection of texts":  {map[string]string{"": `{"partitions":1,"aggregates":"all"}`, "0000": `{}`}, "cannot unmarshal string"},
	"a hostile selection":   {map[string]string{"": `{"partitions":1,"events":{"a\u0000b":["c"]}}`, "0000": `{}`}, "control character"},
	"a route of no hash":    {map[string]string{"route-x-shared": `{"partitions":1,"routing_key":"eu"}`}, `routing_key: "eu"`},
	"an empty route":        {map[string]string{"route-": `{}`}, "is missing"},
	"--yes \u202e\"'; DROP": {map[string]string{"": `{"partitions":-1}`}, "partitions: -1"},
}

// Damaged records are reported one by one, and hide no other subscription.
func TestDamagedSubscriptions(t *testing.T) {
	t.Parallel()
	for kind, newStore := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			if err := fill(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			if err := onNewStore(t.Context(), store, func(ex evento.Executor) error { return damage(t, ex) }); err != nil {
				t.Fatal(err)
			}
			unnamed := []string{"a route of no hash", "an empty route"} // no routing key names them
			shown := map[string]string{}
			if hasSQL(kind) { // a name that the library refuses
				column := map[storeKind]string{sqliteStore: "key", postgresStore: "key", mysqlStore: "name"}[kind]
				statements(t, store, "UPDATE SCHEMA.record SET "+column+" = 'ctl\x1b[31m' WHERE "+column+" = 'no text'")
				unnamed = append(unnamed, "no text")
				shown["no text"] = "ctl\x1b[31m"
			}
			testDamaged(t, store, unnamed, shown)
		})
	}
}

// damage writes the records of damages, and also those of a subscription with a
// damaged parked event, and of one with a partition beyond the end of the store.
func damage(t *testing.T, ex evento.Executor) error {
	t.Helper()
	put := func(kind, key, part, value string) {
		t.Helper()
		if err := putRecord(t.Context(), ex, kind, key, part, value); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	for key, d := range damages {
		for part, value := range d.records {
			put(subscriptionKind, key, part, value)
		}
	}
	put(subscriptionKind, "parked", "", `{"partitions":1,"all":true}`)
	put(subscriptionKind, "parked", "0000", `{}`)
	put(parkedKind, "parked", "00000000000000000001-x", `{"event_id":5}`)
	beyond, err := ex.CursorAt(1000)
	put(subscriptionKind, "beyond", "", `{"partitions":2,"all":true}`)
	put(subscriptionKind, "beyond", "0000", `{}`)
	put(subscriptionKind, "beyond", "0001", `{"cursor":"`+string(beyond)+`","position":1000}`)
	return err
}

func testDamaged(t *testing.T, store string, unnamed []string, shown map[string]string) {
	t.Helper()
	command := func(want int, args ...string) string {
		t.Helper()
		var out strings.Builder
		if code := run(t.Context(), append([]string{args[0], args[1], "--store", store}, args[2:]...), nil, &out, &out); code != want {
			t.Errorf("evento %q: exit code %d, want %d\n%s", args, code, want, out.String())
		}
		return out.String()
	}
	views := map[string]subscriptionView{}
	for line := range strings.Lines(command(exitOK, "subscriptions", "list", "-o", "json")) {
		var v subscriptionView
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		views[v.Key] = v
	}
	for key, state := range map[string]string{"mailer": string(evento.SubscriptionStopped), "stuck": string(evento.SubscriptionFailed), "parked": damaged, "beyond": string(evento.SubscriptionStopped)} {
		if views[key].State != state {
			t.Errorf("%s is %+v, want it %s", key, views[key], state)
		}
	}
	for key, d := range damages {
		v := views[cmp.Or(shown[key], key)]
		if v.State != damaged || shown[key] == "" && !strings.Contains(v.Error, d.want) {
			t.Errorf("%s: %s, %q, want it damaged with %q", key, v.State, v.Error, d.want)
		}
		if slices.Contains(unnamed, key) {
			continue
		}
		if got := command(exitFailed, "subscriptions", "show", "--", key); !strings.Contains(got, "damaged") || !strings.Contains(got, "evento subscriptions remove") {
			t.Errorf("show %s: %s, want what is damaged and what to do", key, got)
		}
	}
	if table := command(exitOK, "subscriptions", "list"); strings.ContainsAny(table, "\x1b\u202e") || strings.Count(table, "  damaged  ") != len(damages)+1 {
		t.Errorf("the table has not %d damaged, or what a terminal acts on: %q", len(damages)+1, table)
	}
	// With stuck and beyond, and the parked warning of mailer.
	want := len(damages) + 3
	if len(shown) > 0 {
		want += len(damages["no text"].records) // whose name is none
	}
	if strings.HasPrefix(store, string(sqliteStore)) {
		want++ // the name that was changed by hand, by its checksum
	}
	if _, text := findings(t, "--store", store); !strings.Contains(text, fmt.Sprintf(`"summary":{"events":6,"errors":%d,"warnings":1,`, want)) {
		t.Errorf("want %d errors:\n%s", want, text)
	}
	// Damaged subscriptions can be removed.
	for key := range damages {
		if !slices.Contains(unnamed, key) {
			command(exitOK, "subscriptions", "remove", "--yes", "--", key)
			command(exitFailed, "subscriptions", "show", "--", key)
		}
	}
	command(exitOK, "subscriptions", "remove", "--yes", "parked")
	counts, text := findings(t, "--store", store)
	if want := 2 + len(unnamed); counts["error subscription"] != want || !strings.Contains(text, "the cursor of partition 1 is not of this store, or beyond its end") {
		t.Errorf("found %v, want %d errors of subscriptions\n%s", counts, want, text)
	}
}

// Settings that risk events are a warning.
func TestDoctorSettings(t *testing.T) {
	t.Parallel()
	store := postgresURL(t)
	if err := fill(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if got, text := findings(t, "--store", store+"&synchronous_commit=off"); got["warning durability"] != 1 {
		t.Errorf("found %v, want one of durability\n%s", got, text)
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

// What cannot be read at all is a finding too, and where reading ended is told.
func TestDoctorFindsUnreadablePages(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "many.db")
	store := "sqlite:" + path
	if err := fillMuch(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	statements(t, store, "PRAGMA wal_checkpoint(TRUNCATE)")
	whole := readFile(t, path)
	const page = 4096
	for name, tt := range map[string]struct{ text, want string }{
		"cut":             {whole[:len(whole)/2/page*page], "error file: the file cannot be read"},
		"no SQLite":       {strings.Repeat("evento", 1000), "error file: the file cannot be read"},
		"a page of zeros": {whole[:leafOfEvents(t, whole)] + strings.Repeat("\x00", page) + whole[leafOfEvents(t, whole)+page:], "error event: could not be examined: what comes after position "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "damaged.db")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			wantFindings(t, path, []string{tt.want})
			if code, text, said := call(t, "", "doctor", "--store", path); code != exitFailed || said != "" || !strings.Contains(text, " errors, 0 warnings") {
				t.Errorf("doctor: exit code %d, %s\n%s", code, said, text)
			}
		})
	}
}

// leafOfEvents is where the page of a SQLite file begins that has the payload of an event in the
// middle.
func leafOfEvents(t *testing.T, file string) int {
	t.Helper()
	at := strings.Index(file, `{"tags":["shop:1"],"requestedBy":"ada","values":{"n":"153"}}`)
	if at < 0 {
		t.Fatal("the event is not in the file")
	}
	return at / 4096 * 4096
}
