package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/internal/examine"
)

// deadlineRecords are both records of a deadline of an order.
func deadlineRecords(t *testing.T, ex evento.Executor, id, name string) (own, due evento.Record) {
	t.Helper()
	page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "deadline", Key: evento.HashIDs("shop/Order", id)})
	if err != nil {
		t.Fatal(err)
	}
	for _, own = range page.Records {
		var names struct{ Due, Part string }
		if err := json.Unmarshal(own.Value, &names); err != nil {
			t.Fatal(err)
		}
		page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "due", Key: names.Due})
		if err != nil {
			t.Fatal(err)
		}
		for _, due = range page.Records {
			if own.Part == name && due.Part == names.Part {
				return own, due
			}
		}
	}
	t.Fatalf("no records of deadline %s of %s", name, id)
	return own, due
}

// later is when deadlines of tests are due.
var later = time.Date(2999, 1, 2, 3, 4, 5, 0, time.UTC)

// Each damaged record of a deadline is found, on every kind of store.
func TestDoctorDeadlines(t *testing.T) {
	t.Parallel()
	type edit struct{ kind, key, part, value string }
	for kind, newStore := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			address := newStore(t)
			var own, due evento.Record // of one deadline
			var other evento.Record    // the own record of another one of its aggregate
			damage := []struct {
				name  string
				edits func() []edit
				wants []string
			}{
				{"nothing", func() []edit { return nil }, nil},
				{"the own record removed", func() []edit { return []edit{{"deadline", own.Key, own.Part, "-"}} }, []string{"no record of kind deadline names its record"}},
				{"the due record removed", func() []edit { return []edit{{"due", due.Key, due.Part, "-"}} }, []string{"is missing or damaged"}},
				{
					"an own record of no JSON", func() []edit { return []edit{{"deadline", own.Key, own.Part, "x"}} },
					[]string{"cannot be read: invalid character", "no record of kind deadline names its record"},
				},
				{
					"an own record without fields", func() []edit { return []edit{{"deadline", own.Key, own.Part, "{}"}} },
					[]string{"cannot be read: parsing time", "no record of kind deadline names its record"},
				},
				{
					"an own record that names another one", func() []edit { return []edit{{"deadline", own.Key, own.Part, string(other.Value)}} },
					[]string{"is missing or damaged", "no record of kind deadline names its record"},
				},
				{"an own record of a control character", func() []edit {
					return []edit{{"deadline", "hash", "name", `{"due":"2999-01-02T03:04:05.000000Z","part":"\u0000"}`}}
				}, []string{"cannot be read: invalid record part"}},
				{"a due record of no JSON", func() []edit { return []edit{{"due", due.Key, due.Part, "\xff"}} }, []string{"cannot be read: invalid character", "is missing or damaged"}},
				{
					"a due record with a number for a text", func() []edit {
						return []edit{{"due", due.Key, due.Part, strings.Replace(string(due.Value), `"event":"Placed"`, `"event":5`, 1)}}
					},
					[]string{"cannot be read: json: cannot unmarshal number", "is missing or damaged"},
				},
				{
					"a due record of another deadline", func() []edit {
						return []edit{{"due", due.Key, due.Part, strings.Replace(string(due.Value), `"name":"a"`, `"name":"b"`, 1)}}
					},
					[]string{"cannot be read: it is of another deadline", "is missing or damaged"},
				},
				{"a due record of no time", func() []edit { return []edit{{"due", "tomorrow", due.Part, string(due.Value)}} }, []string{`record due \"tomorrow\" `}},
				{
					"a due record of a shorter time", func() []edit {
						return []edit{{"due", "2999-01-02T03:04:05Z", due.Part, string(due.Value)}}
					}, []string{"cannot be read: "},
				},
				{
					"a due record twice", func() []edit {
						return []edit{{"due", "2998-01-02T03:04:05.000000Z", due.Part, string(due.Value)}}
					},
					[]string{"deadline a, due at 2998-01-02T03:04:05.000000Z: no record of kind deadline names its record"},
				},
			}
			err := onNewStore(t.Context(), address, func(ex evento.Executor) error {
				for i := range damage {
					b := evento.Aggregate(fmt.Sprint("o", i)).Event(orderPlaced{}).Deadline("a", later, orderPlaced{}).Deadline("b ż", later.Add(1000), orderPlaced{})
					if _, err := b.Commit(t.Context(), ex); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, tt := range damage {
				var undo []edit
				put := func(edits []edit) {
					t.Helper()
					err := onNewStore(t.Context(), address, func(ex evento.Executor) error {
						for _, e := range edits {
							if err := putRecord(t.Context(), ex, e.kind, e.key, e.part, e.value); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						t.Fatalf("%s: %v", tt.name, err)
					}
				}
				err := onNewStore(t.Context(), address, func(ex evento.Executor) error {
					own, due = deadlineRecords(t, ex, fmt.Sprint("o", i), "a")
					other, _ = deadlineRecords(t, ex, fmt.Sprint("o", i), "b ż")
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				edits := tt.edits()
				for _, e := range edits {
					old := "-"
					for _, r := range []evento.Record{own, due} {
						if r.RecordKey == (evento.RecordKey{Kind: e.kind, Key: e.key, Part: e.part}) {
							old = string(r.Value)
						}
					}
					undo = append(undo, edit{e.kind, e.key, e.part, old})
				}
				put(edits)
				got, text := findings(t, "--store", address)
				if got["error deadline"] != len(tt.wants) || len(got) != min(len(tt.wants), 1) {
					t.Errorf("%s: found %v, want %d errors\n%s", tt.name, got, len(tt.wants), text)
				}
				for _, want := range tt.wants {
					if !strings.Contains(text, want) {
						t.Errorf("%s: %q is not in\n%s", tt.name, want, text)
					}
				}
				put(undo)
			}
			if got, text := findings(t, "--store", address); len(got) > 0 {
				t.Errorf("at the end: found %v, want nothing\n%s", got, text)
			}
		})
	}
}

// A damaged record is an error of the list too, which says how to find all.
func TestDeadlinesDamaged(t *testing.T) {
	t.Parallel()
	address := stores[sqliteStore](t)
	if err := fillDeadlines(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	err := onNewStore(t.Context(), address, func(ex evento.Executor) error {
		return putRecord(t.Context(), ex, "due", "2020-05-05T00:00:00.000000Z", "x", "\x1b[31m")
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"-o", "json"}} {
		code, _, said := call(t, "", append([]string{"deadlines", "--store", address}, args...)...)
		if code != exitFailed || !strings.Contains(said, "2020-05-05T00:00:00.000000Z") || !strings.Contains(said, "evento doctor") || strings.Contains(said, "\x1b") {
			t.Errorf("deadlines %q: exit code %d, %q, want %d and the record", args, code, said, exitFailed)
		}
	}
	if out, _ := must(t, "", "deadlines", "--type", "shop/Order", "--id", "o2", "--store", address); !strings.Contains(out, "pay") {
		t.Errorf("deadlines of another aggregate: %q, want its one", out)
	}
}

// changingDeadlines is a store whose deadlines change each time that records are read.
type changingDeadlines struct {
	examined
	ex     evento.Executor
	change func() error
}

func (c *changingDeadlines) Records(ctx context.Context, kind string, each func(*examine.Record) error) error {
	for q := (evento.RecordQuery{Kind: kind, Limit: 7}); ; { // there are many pages
		if err := c.change(); err != nil {
			return err
		}
		page, err := c.ex.Records(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			if err := each(&examine.Record{Record: r}); err != nil {
				return err
			}
			q.After = r.RecordKey
		}
		if !page.More {
			return nil
		}
	}
}

func (c *changingDeadlines) Record(ctx context.Context, key evento.RecordKey) (found *examine.Record, err error) {
	err = c.Records(ctx, key.Kind, func(r *examine.Record) error {
		if r.RecordKey == key {
			found = r
		}
		return nil
	})
	return found, err
}

func (c *changingDeadlines) Now(context.Context) (time.Time, error) { return time.Now(), nil }

// While deadlines are set, moved, cleared and come true, none of them seems damaged, and
// those that are damaged are found.
func TestDoctorDeadlinesInUse(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		ex := memory.New(nil)
		set := func() error {
			b := evento.Aggregate(fmt.Sprint("o", r.IntN(10))).AnyVersion().Event(orderPlaced{})
			for range 1 + r.IntN(4) {
				name := string(rune('a' + r.IntN(6)))
				if r.IntN(3) == 0 {
					b.ClearDeadline(name)
				} else {
					b.Deadline(name, later.Add(time.Duration(r.IntN(3))*time.Hour), orderPlaced{})
				}
			}
			_, err := b.Commit(t.Context(), ex)
			return err
		}
		for range 50 {
			if err := set(); err != nil {
				t.Fatal(err)
			}
		}
		damaged := 0
		if seed%2 == 1 {
			for _, id := range []string{"d1", "d2"} {
				if _, err := evento.Aggregate(id).Event(orderPlaced{}).Deadline("a", later, orderPlaced{}).Commit(t.Context(), ex); err != nil {
					t.Fatal(err)
				}
			}
			own, _ := deadlineRecords(t, ex, "d1", "a")
			_, due := deadlineRecords(t, ex, "d2", "a")
			for _, k := range []evento.RecordKey{own.RecordKey, due.RecordKey} {
				if err := putRecord(t.Context(), ex, k.Kind, k.Key, k.Part, "-"); err != nil {
					t.Fatal(err)
				}
			}
			damaged = 2
		}
		d := &doctor{s: &session{ex: ex, out: testOutput(t)}, listed: map[listed]int{}, memory: 1}
		if err := d.deadlines(t.Context(), &changingDeadlines{ex: ex, change: set}); err != nil || d.errors != damaged || d.warnings > 0 {
			t.Errorf("seed %d: %d errors and %d warnings, %v, want %d errors", seed, d.errors, d.warnings, err, damaged)
		}
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	}
}
