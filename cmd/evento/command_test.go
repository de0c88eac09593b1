package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/oklog/ulid/v2"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

// stores returns, for each kind of store, the URL of one that does not exist yet.
var stores = map[storeKind]func(t *testing.T) string{
	sqliteStore: func(t *testing.T) string {
		t.Helper()
		return "sqlite:" + filepath.Join(t.TempDir(), "a b?%.db")
	},
	pebbleStore: func(t *testing.T) string {
		t.Helper()
		return "pebble:" + filepath.Join(t.TempDir(), "events")
	},
	postgresStore: postgresURL,
	mysqlStore: func(t *testing.T) string {
		t.Helper()
		return "mysql:" + testserver.MySQL(t)
	},
	natsStore: func(t *testing.T) string {
		t.Helper()
		return natsURL(t, "")
	},
}

// natsURL is that of a store on a server of its own, whose index is in a directory; "": in
// memory.
func natsURL(t *testing.T, dir string) string {
	t.Helper()
	text := testserver.NATS(t, testserver.NATSOptions{Nodes: 1}).URL() + "/shop?replicas=1&unsafe=true"
	if dir != "" {
		text += "&dir=" + url.QueryEscape(dir)
	}
	return text
}

// hasSQL reports whether stores of a kind are in an SQL database.
func hasSQL(kind storeKind) bool { return kind != pebbleStore && kind != natsStore }

func postgresURL(t *testing.T) string {
	t.Helper()
	schema := `"cmd" ` + evento.NewID().String()
	address := testserver.Postgres(t) + "&schema=" + strings.NewReplacer(`"`, "%22", " ", "%20").Replace(schema)
	t.Cleanup(func() {
		statements(t, address, `DROP SCHEMA IF EXISTS "`+strings.ReplaceAll(schema, `"`, `""`)+`" CASCADE`)
	})
	return address
}

// statements changes a store without the library. SCHEMA. stands for the prefix of
// table names.
func statements(t *testing.T, address string, texts ...string) {
	t.Helper()
	ctx := context.Background() // usable when the test has ended
	a, err := parseStore(address)
	if err != nil {
		t.Fatal(err)
	}
	// PostgreSQL's and MySQL's are registered by their executors, SQLite's by drivers_test.go.
	driver := map[storeKind]string{sqliteStore: "sqlite3", postgresStore: "pgx", mysqlStore: "mysql"}[a.kind]
	db, err := sql.Open(driver, a.place)
	if err != nil {
		t.Fatal(err)
	}
	prefix := "evento_"
	if a.kind == postgresStore {
		prefix = `"` + strings.ReplaceAll(a.schema, `"`, `""`) + `".`
	}
	for _, text := range texts {
		if _, err := db.ExecContext(ctx, strings.ReplaceAll(text, "SCHEMA.", prefix)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// The scripts run the built command on a new store of each kind.
func TestScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for kind, newStore := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			for _, script := range scripts {
				if !hasSQL(kind) && strings.HasSuffix(script, "_sql.txt") {
					continue // it changes tables
				}
				t.Run(strings.TrimSuffix(filepath.Base(script), ".txt"), func(t *testing.T) {
					t.Parallel()
					runScript(t, kind, newStore(t), script)
				})
			}
		})
	}
}

func runScript(t *testing.T, kind storeKind, store, script string) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Files:               []string{script},
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("STORE", store)
			_, place, _ := strings.Cut(store, ":")
			env.Setenv("PLACE", place)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // the default is one second for each command
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "sql" {
				return hasSQL(kind), nil
			}
			if _, ok := stores[storeKind(cond)]; !ok {
				return false, fmt.Errorf("no condition %s", cond)
			}
			return string(kind) == cond, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// exits CODE COMMAND… runs a command and checks its exit code.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				code := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					code = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if strconv.Itoa(code) != args[0] {
					ts.Fatalf("exit code %d, want %s", code, args[0])
				}
			},
			// fill creates the store of the scripts.
			"fill": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(fill(t.Context(), store)) },
			// work runs the subscription mailer, whose handler now succeeds.
			"work": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Check(onNewStore(t.Context(), store, func(ex evento.Executor) error {
					return mailer(func(evento.RawEvent) error { return nil }).Execute(t.Context(), ex)
				}))
			},
			// fill-parked runs it with a handler that fails again.
			"fill-parked": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Check(onNewStore(t.Context(), store, func(ex evento.Executor) error { return mailer(refuseFirst).Execute(t.Context(), ex) }))
			},
			// keep keeps the states of two projections, one of them in two
			// revisions, and stores one with a related aggregate.
			"keep": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Check(onNewStore(t.Context(), store, keepStates))
			},
			// fill-tags adds events with tags.
			"fill-tags": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(fillTags(t.Context(), store)) },
			// deadlines sets deadlines.
			"deadlines": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(fillDeadlines(t.Context(), store)) },
			// clear-deadline ID NAME clears one of an order.
			"clear-deadline": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(onNewStore(t.Context(), store, func(ex evento.Executor) error {
					_, err := evento.Aggregate(args[0]).AnyVersion().Event(orderPlaced{}).ClearDeadline(args[1]).Commit(t.Context(), ex)
					return err
				}))
			},
			// more N commits more events.
			"more": func(ts *testscript.TestScript, _ bool, args []string) {
				n, err := strconv.Atoi(args[0])
				ts.Check(err)
				ts.Check(onNewStore(t.Context(), store, func(ex evento.Executor) error {
					for range n {
						if err := commit(t.Context(), ex, evento.NewEvent{ID: evento.NewID(), Name: "More", Codec: "json", Data: []byte("{}")}); err != nil {
							return err
						}
					}
					return nil
				}))
			},
			// spoil commits payloads that their codecs cannot read.
			"spoil": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Check(onNewStore(t.Context(), store, func(ex evento.Executor) error {
					return commit(t.Context(), ex,
						evento.NewEvent{ID: evento.NewID(), Name: "Spoilt", Codec: "cbor", Data: []byte{0xff}},
						evento.NewEvent{ID: evento.NewID(), Name: "Spoilt", Codec: "json", Data: []byte("{")})
				}))
			},
			// route runs the subscription mailer for two routing keys; for eu it
			// parks the events that it cannot handle.
			"route": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Check(onNewStore(t.Context(), store, func(ex evento.Executor) error {
					return errors.Join(
						mailer(refuseFirst).RoutingKey("eu").Execute(t.Context(), ex),
						mailer(refuseFirst).RoutingKey("us").Aggregate("shop/Order", "o2").Aggregate("shop/Order", "o3").Execute(t.Context(), ex))
				}))
			},
			// abandon KEY LEASE runs a subscription that fails at every event, in a
			// process that ends without giving up its key.
			"abandon": func(ts *testscript.TestScript, _ bool, args []string) {
				lease, err := time.ParseDuration(args[1])
				ts.Check(err)
				ts.Check(onNewStore(t.Context(), store, func(ex evento.Executor) error { return abandon(t.Context(), ex, args[0], lease) }))
			},
			// until-dead KEY waits until the lease has expired.
			"until-dead": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(onNewStore(t.Context(), store, func(ex evento.Executor) error {
					for {
						st, err := evento.ControlOf(ex, args[0]).Status(t.Context())
						if err != nil || !st.Partitions[0].Live {
							return err
						}
					}
				}))
			},
			// record KEY PART VALUE writes a record of a subscription.
			"record": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(onNewStore(t.Context(), store, func(ex evento.Executor) error {
					return putRecord(t.Context(), ex, subscriptionKind, args[0], args[1], args[2])
				}))
			},
			// damage runs SQL.
			"damage": func(_ *testscript.TestScript, _ bool, args []string) { statements(t, store, args...) },
		},
	})
}

func onNewStore(ctx context.Context, store string, do func(evento.Executor) error) error {
	a, err := parseStore(store)
	if err != nil {
		return err
	}
	ex, err := a.open(ctx, creating)
	if err != nil {
		return err
	}
	return errors.Join(do(ex), ex.Close())
}

func commit(ctx context.Context, ex evento.Executor, events ...evento.NewEvent) error {
	_, err := ex.Write(ctx, evento.Write{Appends: []evento.Append{{AggregateType: "shop/Order", AggregateID: "bad", AnyVersion: true, Events: events}}})
	return err
}

// abandon closes the store while a subscription retries, so that it cannot give up
// its key.
func abandon(ctx context.Context, ex evento.Executor, key string, lease time.Duration) error {
	sub, err := evento.NewSubscription(key).All().Lease(lease).Logger(quiet).Handler(
		evento.HandleEvery(func(context.Context, evento.RawEvent) error { return errors.New("not today") })).Start(ctx, ex)
	if err != nil {
		return err
	}
	for {
		st, err := evento.ControlOf(ex, key).Status(ctx)
		if err != nil {
			return err
		}
		if st.Partitions[0].Error != "" {
			break
		}
	}
	err = ex.Close()
	<-sub.Done()
	return err
}

// putRecord overwrites a record; "-" removes it.
func putRecord(ctx context.Context, ex evento.Executor, kind, key, part, value string) error {
	at := evento.RecordKey{Kind: kind, Key: key, Part: part}
	c := evento.Change{RecordKey: at, Value: []byte(value), Remove: value == "-"}
	for q := (evento.RecordQuery{Kind: kind, Key: key}); ; {
		page, err := ex.Records(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			if q.After = r.RecordKey; r.RecordKey == at {
				c.Revision = r.Revision
			}
		}
		if !page.More {
			return ex.Swap(ctx, evento.Swap{Changes: []evento.Change{c}})
		}
	}
}

// keepStates keeps states of the orders and customers of a filled store.
func keepStates(ex evento.Executor) error {
	type state struct{ N int }
	ctx := context.Background()
	orders := evento.NewProjection[state]("orders", "shop/Order")
	if err := orders.Keep("kept").Execute(ctx, ex); err != nil {
		return err
	}
	orders.Revision(2).SnapshotEvery(1)
	_, err := orders.Load(ctx, ex, "o1", evento.Related("shop/Order", "o2"))
	return errors.Join(err,
		orders.Keep("kept").Execute(ctx, ex),
		evento.NewProjection[state]("a\u202e", "shop/Customer").Keep("customers").Execute(ctx, ex))
}

func refuseFirst(e evento.RawEvent) error {
	if e.AggregateID == "o1" {
		return errors.New("no \x1b[31mmail for " + e.Name)
	}
	return nil
}

var quiet = slog.New(slog.DiscardHandler)

func mailer(handle func(evento.RawEvent) error) *evento.SubscriptionBuilder {
	return evento.NewSubscription("mailer").All().Logger(quiet).AcceptFailure().Retry(0).Handler(
		evento.HandleAll("shop/Order", func(_ context.Context, e evento.RawEvent) error { return handle(e) }))
}

// fill commits six events with fixed ids, and runs two subscriptions: one has
// parked two of them, the other has stopped at the first.
func fill(ctx context.Context, store string) error {
	order, err := cbor.Marshal(map[string]any{"Item": "tea", "Count": 2, "Note": "\x1b[31mred\u202e", "Bytes": []byte{1, 2}})
	if err != nil {
		return err
	}
	events := []struct {
		aggregateType evento.AggregateType
		id, key, name string
		codec         string
		data          []byte
	}{
		{"shop/Order", "o1", "eu", "Placed", "cbor", order},
		{"shop/Order", "o1", "", "Paid", "json", []byte(`{"cents": 1250, "html": "<b>"}`)},
		{"shop/Customer", "c1\u202e", "", "Joined", "json", []byte("{\"name\": \"Ada \u009b31m\"}")},
		{"shop/Order", "o2", "us", "Placed", "cbor", order},
		{"shop/Customer", "o2", "", "Joined", "json", []byte(`{}`)},
		{"shop/Order", "bin", "", "Scanned", "proto", []byte{0xff, 0}},
	}
	return onNewStore(ctx, store, func(ex evento.Executor) error {
		for i, e := range events {
			w := evento.Write{Appends: []evento.Append{{
				AggregateType: e.aggregateType, AggregateID: e.id, AnyVersion: true, RoutingKey: e.key,
				Metadata: evento.Metadata{RequestedBy: "ada", Values: map[string]string{"n": strconv.Itoa(i + 1)}},
				Events:   []evento.NewEvent{{ID: ulid.MustParse(fmt.Sprintf("01J8ZQ4Y7K000000000000000%d", i+1)), Name: e.name, Codec: e.codec, Data: e.data}},
			}}}
			if _, err := ex.Write(ctx, w); err != nil {
				return err
			}
		}
		if err := mailer(refuseFirst).Execute(ctx, ex); err != nil {
			return err
		}
		err := evento.NewSubscription("stuck").All().Logger(quiet).Retry(0).Handler(
			evento.HandleAll("shop/Customer", func(context.Context, evento.RawEvent) error { return errors.New("no customers today") })).Execute(ctx, ex)
		var stopped *evento.HandlerError
		if !errors.As(err, &stopped) {
			return fmt.Errorf("the subscription stuck ended with %w", err)
		}
		return nil
	})
}

// fillTags commits three events with tags.
func fillTags(ctx context.Context, store string) error {
	return onNewStore(ctx, store, func(ex evento.Executor) error {
		for _, e := range []struct {
			aggregateType evento.AggregateType
			id, name      string
			tags          []string
		}{
			{"shop/Order", "o1", "Rated", []string{"course:go", "student:ada"}},
			{"shop/Customer", "c2", "Joined", []string{"student:ada"}},
			{"shop/Order", "o2", "Rated", []string{"two words", "course:go", "\"q\"\u202e"}},
		} {
			_, err := ex.Write(ctx, evento.Write{Appends: []evento.Append{{
				AggregateType: e.aggregateType, AggregateID: e.id, AnyVersion: true,
				Events: []evento.NewEvent{{ID: evento.NewID(), Name: e.name, Codec: "json", Data: []byte("{}"), Tags: e.tags}},
			}}})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

type customerLeft struct{}

func (customerLeft) AggregateType() evento.AggregateType { return "shop/Customer" }
func (customerLeft) EventName() string                   { return "Left" }

// fillDeadlines sets four deadlines, two of which have passed.
func fillDeadlines(ctx context.Context, store string) error {
	at := func(year int) time.Time { return time.Date(year, 1, 2, 3, 4, 5, 678900000, time.UTC) }
	return onNewStore(ctx, store, func(ex evento.Executor) error {
		_, err := evento.Aggregate("o1").AnyVersion().Event(orderPlaced{}).Deadline("reminder", at(2999), orderPlaced{}).Deadline("payment", at(2020), orderPlaced{}).Commit(ctx, ex)
		if err != nil {
			return err
		}
		if _, err = evento.Aggregate("o2").AnyVersion().Event(orderPlaced{}).Deadline("pay\u202e", at(3000), orderPlaced{}).Commit(ctx, ex); err != nil {
			return err
		}
		_, err = evento.Aggregate("o1").AnyVersion().Event(customerLeft{}).Deadline("payment", at(2021), customerLeft{}).Commit(ctx, ex)
		return err
	})
}

// All commands have the names of fields of the library's JSON: lower camel case.
func TestNamesInJSON(t *testing.T) {
	t.Parallel()
	store := stores[sqliteStore](t)
	for _, prepare := range []func(context.Context, string) error{fill, fillTags, fillDeadlines} {
		if err := prepare(t.Context(), store); err != nil {
			t.Fatal(err)
		}
	}
	if err := onNewStore(t.Context(), store, keepStates); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"events list", "events list --since 2020-01-01", "events tail --count 2", "events show 1", "events show 6", "aggregate shop/Order o1",
		"subscriptions list", "subscriptions show mailer", "subscriptions pending mailer", "subscriptions parked mailer", "subscriptions pause mailer",
		"snapshots list", "snapshots list --count", "snapshots delete --all --yes", "deadlines", "migrate status", "migrate up", "doctor",
	} {
		code, out, errs := call(t, "", append(strings.Fields(command), "-o", "json", "--store", store)...)
		if code != exitOK && command != "doctor" || out == "" && command != "subscriptions pending mailer" {
			t.Errorf("evento %s: exit code %d, %q, %q", command, code, out, errs)
		}
		for line := range strings.Lines(out) {
			var document map[string]any
			if err := json.Unmarshal([]byte(line), &document); err != nil {
				t.Errorf("evento %s: %v in %s", command, err, line)
			}
			checkNames(t, command, document)
		}
	}
}

// checkNames checks the names of a document's fields, but not those of an application.
func checkNames(t *testing.T, command string, v any) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			checkNames(t, command, item)
		}
	case map[string]any:
		for name, field := range v {
			if name == "" || name[0] < 'a' || name[0] > 'z' || strings.ContainsAny(name, "_- ") || strings.HasSuffix(name, "ID") {
				t.Errorf("evento %s: a field has the name %q", command, name)
			}
			switch _, isList := field.([]any); {
			case name == "payload", name == "values", name == "aggregates", name == "more", name == "events" && !isList:
			default:
				checkNames(t, command, field)
			}
		}
	}
}

// Wrong arguments are reported with exit code 2, and without passwords.
func TestUsage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"event"}, "is it events?"},
		{[]string{"events", "lst"}, "is it list?"},
		{[]string{"help", "event"}, "is it events?"},
		{[]string{"help", "events", "lst"}, "evento events has no command lst"},
		{[]string{"completion", "csh"}, "evento completion has no command csh"},
		{[]string{"completion", "bash", "x"}, "takes no arguments, not 1 argument;"},
		{[]string{"events", "list", "--lim", "3"}, "unknown flag"},
		{[]string{"events", "list", "--limit", "x"}, "invalid argument"},
		{[]string{"events", "list", "a", "--store", "x"}, "takes no arguments"},
		{[]string{"events", "show", "--store", "x"}, "one position or id"},
		{[]string{"events", "list", "--store", "x", "-o", "yaml"}, "table or json"},
		{[]string{"events", "list", "--store", "redis://u:secret@h/"}, "no kind redis"},
		{[]string{"events", "list", "--store", "sqlite:"}, "no path"},
		{[]string{"events", "list", "--store", "postgres://u:se cret%@h/"}, "postgres://user:password@host"},
		{[]string{"events", "list", "--store", "mysql:u:secret@tcp(h"}, "mysql:user:password@tcp"},
		{[]string{"events", "list", "--store", "mysql://u:secret@h/"}, "names no database"},
		{[]string{"events", "list", "--store", "mysql://u:se cret@h/d"}, "mysql://user:password@host"},
		{[]string{"migrate", "sql", "oracle"}, "sqlite, postgres or mysql"},
		{[]string{"doctor", "--memory", "0", "--store", "x"}, "at least 1"},
		{[]string{"export", "--tag", "a\x00", "--store", "x"}, `invalid tag "a\x00": control character`},
		{[]string{"export", "--tag", "a", "--id", "1", "--store", "x"}, "--id and --event need --type"},
		{[]string{"export", "--type", "", "--store", "x"}, "--type is empty"},
		{[]string{"export", "--type", "shop/Order", "--id", "", "--store", "x"}, "--id is empty"},
		{[]string{"deadlines", "clear", "--store", "x"}, "can be listed, not clear"},
		{[]string{"deadlines", "list", "list", "--store", "x"}, "list or nothing, not 2 arguments"},
	}
	for _, test := range tests {
		var out, errs strings.Builder
		code := run(t.Context(), test.args, strings.NewReader(""), &out, &errs)
		if got := errs.String(); code != exitUsage || !strings.Contains(got, test.want) || strings.Contains(got, "cret") || out.Len() > 0 {
			t.Errorf("evento %q: exit code %d, %q on standard error, %q on standard output, want %d and %q", test.args, code, got, out.String(), exitUsage, test.want)
		}
	}
}

// Each command's help says how it is used and what its exit codes are.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"events", "list"}, {"events", "tail"}, {"events", "show"}, {"aggregate"}, {"migrate", "up"}, {"migrate", "status"}, {"migrate", "sql"},
		{"subscriptions", "list"}, {"subscriptions", "show"}, {"subscriptions", "pause"}, {"subscriptions", "resume"},
		{"subscriptions", "reset"}, {"subscriptions", "remove"}, {"subscriptions", "parked"}, {"subscriptions", "pending"}, {"snapshots", "list"}, {"snapshots", "delete"}, {"deadlines"}, {"doctor"}, {"index", "verify"}, {"index", "copy"},
	} {
		var out, errs strings.Builder
		code := run(t.Context(), append(args[:len(args):len(args)], "-h"), strings.NewReader(""), &out, &errs)
		wants := []string{"Examples:\n  evento ", "Exit codes: 0", "130 interrupted", "--store URL"}
		if args[len(args)-1] == "sql" { // it needs no store
			wants = wants[:3]
		}
		for _, want := range wants {
			if code != exitOK || !strings.Contains(out.String(), want) {
				t.Errorf("evento %q -h: exit code %d, want %q in\n%s%s", args, code, want, out.String(), errs.String())
			}
		}
	}
}

// Ctrl-C ends tail, after it has printed everything.
func TestTailInterrupted(t *testing.T) {
	t.Parallel()
	store := stores[sqliteStore](t)
	if err := fill(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var out strings.Builder
	code := run(ctx, []string{"events", "tail", "--store", store, "-n", "2"}, nil, writerFunc(func(b []byte) (int, error) {
		cancel() // as Ctrl-C does
		return out.Write(b)
	}), io.Discard)
	if code != exitInterrupted || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("exit code %d and %q, want %d and 2 events", code, out.String(), exitInterrupted)
	}
}

// While tail runs, it shows what other processes commit.
func TestTailFollows(t *testing.T) {
	t.Parallel()
	for kind, newStore := range stores {
		if kind == pebbleStore { // only one process at a time
			continue
		}
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			if err := fill(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			more := func() error {
				return onNewStore(t.Context(), store, func(ex evento.Executor) error {
					return commit(t.Context(), ex, evento.NewEvent{ID: evento.NewID(), Name: "More", Codec: "json", Data: []byte("{}")})
				})
			}
			code := run(t.Context(), []string{"events", "tail", "--store", store, "-n", "1", "--count", "3"}, nil, writerFunc(func(b []byte) (int, error) {
				if err := more(); err != nil { // at each printed event
					return 0, err
				}
				return out.Write(b)
			}), io.Discard)
			if code != exitOK || !strings.Contains(out.String(), "bin  v1  Scanned\n7  ") || strings.Count(out.String(), "\n8  ") != 1 {
				t.Errorf("exit code %d and %q, want %d and the events 6 to 8", code, out.String(), exitOK)
			}
		})
	}
}

// A Pebble directory that an application has open is an error at once.
func TestPebbleInUse(t *testing.T) {
	t.Parallel()
	store := stores[pebbleStore](t)
	err := onNewStore(t.Context(), store, func(evento.Executor) error {
		var out, errs strings.Builder
		code := run(t.Context(), []string{"events", "list", "--store", store}, nil, &out, &errs)
		if code != exitFailed || !strings.Contains(errs.String(), "another executor has it open") {
			t.Errorf("exit code %d and %q, want %d and why", code, errs.String(), exitFailed)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// When its reader has gone, as head does, the command ends quietly.
func TestClosedPipe(t *testing.T) {
	t.Parallel()
	store := stores[sqliteStore](t)
	if err := fill(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	read, write := io.Pipe()
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	if code := run(t.Context(), []string{"events", "list", "--store", store}, nil, write, &errs); code != exitClosedPipe || errs.Len() > 0 {
		t.Errorf("exit code %d and %q, want %d in silence", code, errs.String(), exitClosedPipe)
	}
}
