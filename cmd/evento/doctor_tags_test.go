package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// commitTagged commits events without tags, with one, and with as many as are allowed.
func commitTagged(ctx context.Context, ex evento.Executor, r *rand.Rand, n int) error {
	var w evento.Write
	for i := range n {
		e := evento.NewEvent{ID: evento.NewID(), Name: "Noted", Codec: "json", Data: []byte("{}")}
		for n := range [...]int{0, 0, 1, 2, evento.MaxTags}[r.IntN(5)] {
			e.Tags = append(e.Tags, fmt.Sprintf("tag \"ż\\%d:%d", n, r.IntN(50)))
		}
		w.Appends = append(w.Appends, evento.Append{AggregateType: "shop/Note", AggregateID: fmt.Sprint(i), AnyVersion: true, Events: []evento.NewEvent{e}})
	}
	_, err := ex.Write(ctx, w)
	return err
}

// tagRow is a row of the index of tags.
type tagRow struct {
	tag      int64
	position uint64
}

// tagRows are the rows that a store's index should have.
func tagRows(t *testing.T, address string) (rows []tagRow) {
	t.Helper()
	err := onNewStore(t.Context(), address, func(ex evento.Executor) error {
		for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
			if err != nil {
				return err
			}
			for _, n := range store.TagNumbers(e.Tags) {
				rows = append(rows, tagRow{n, e.Position})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// Whatever is changed in the index of tags is found, and nothing is when it is whole.
func TestDoctorTags(t *testing.T) {
	t.Parallel()
	for _, kind := range []storeKind{sqliteStore, postgresStore, mysqlStore} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			address := stores[kind](t)
			r := rand.New(rand.NewPCG(3, 4))
			err := onNewStore(t.Context(), address, func(ex evento.Executor) error {
				for range 3 {
					if err := commitTagged(t.Context(), ex, r, 400); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			rows := tagRows(t, address)
			if len(rows) < 3000 {
				t.Fatalf("%d tags, want many", len(rows))
			}
			table := map[storeKind]string{sqliteStore: "SCHEMA.tag", postgresStore: "SCHEMA.event_tag", mysqlStore: "SCHEMA.tag"}[kind]
			testDoctorTags(t, address, table, rows)
		})
	}
}

func testDoctorTags(t *testing.T, address, table string, rows []tagRow) {
	t.Helper()
	const differs = "the index of tags is not that of the events"
	is := func(r tagRow) string { return fmt.Sprintf(" WHERE tag = %d AND position = %d", r.tag, r.position) }
	insert := func(r tagRow) string {
		return fmt.Sprintf("INSERT INTO %s (tag, position) VALUES (%d, %d)", table, r.tag, r.position)
	}
	remove := func(r tagRow) string { return "DELETE FROM " + table + is(r) }
	change := func(from, to tagRow) string {
		return fmt.Sprintf("UPDATE %s SET tag = %d, position = %d%s", table, to.tag, to.position, is(from))
	}
	one := rows[len(rows)/2]
	other := rows[len(rows)/3]
	high := tagRow{one.tag ^ math.MinInt64, one.position}
	swapped := [2]tagRow{{one.tag, other.position}, {other.tag, one.position}}
	for _, tt := range []struct {
		name   string
		damage []string
		repair []string
		want   string
	}{
		{"nothing", nil, nil, ""},
		{"a row deleted", []string{remove(one)}, []string{insert(one)}, differs},
		{"the first row deleted", []string{remove(rows[0])}, []string{insert(rows[0])}, differs},
		{"a row added", []string{insert(tagRow{7, one.position})}, []string{remove(tagRow{7, one.position})}, differs},
		{"a row added before the first", []string{insert(tagRow{7, 0})}, []string{remove(tagRow{7, 0})}, differs},
		{"the last bit changed", []string{change(one, tagRow{one.tag ^ 1, one.position})}, []string{change(tagRow{one.tag ^ 1, one.position}, one)}, differs},
		{"the first bit changed", []string{change(one, high)}, []string{change(high, one)}, differs},
		{"another position", []string{change(one, tagRow{one.tag, 1})}, []string{change(tagRow{one.tag, 1}, one)}, differs},
		{
			"positions exchanged",
			[]string{change(one, swapped[0]), change(other, swapped[1])},
			[]string{change(swapped[0], one), change(swapped[1], other)}, differs,
		},
		{"a row beyond the end", []string{insert(tagRow{7, 100_000})}, []string{remove(tagRow{7, 100_000})}, "1 rows of the index of tags are for events beyond the last"},
	} {
		statements(t, address, tt.damage...)
		got, text := findings(t, "--store", address)
		want := map[string]int{}
		if tt.want != "" {
			want["error tags"] = 1
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || !strings.Contains(text, tt.want) {
			t.Errorf("%s: found %v, want %v and %q\n%s", tt.name, got, want, tt.want, text)
		}
		if got, text := findings(t, "--store", address, "--fast"); len(got) > 0 {
			t.Errorf("%s: --fast found %v, want nothing\n%s", tt.name, got, text)
		}
		statements(t, address, tt.repair...)
	}
	if got, text := findings(t, "--store", address); len(got) > 0 {
		t.Errorf("at the end: found %v, want nothing\n%s", got, text)
	}
	// The remedy.
	statements(t, address, remove(one))
	exported, _ := must(t, "", "export", "--store", address)
	remedied := stores[sqliteStore](t)
	must(t, exported, "import", "--store", remedied)
	if got, text := findings(t, "--store", remedied); len(got) > 0 {
		t.Errorf("after an export and import: found %v, want nothing\n%s", got, text)
	}
	statements(t, address, "DROP TABLE "+table)
	if got, text := findings(t, "--store", address); got["error tags"] != 2 || got["error schema"] == 0 || !strings.Contains(text, "could not be examined") {
		t.Errorf("without the table: found %v, want an error\n%s", got, text)
	}
}

// Doctor finds nothing in a store that is in use: events with tags are committed, and
// deadlines come true, while it reads.
func TestDoctorInUse(t *testing.T) {
	t.Parallel()
	for _, kind := range []storeKind{sqliteStore, postgresStore, mysqlStore} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			address := stores[kind](t)
			err := onNewStore(t.Context(), address, func(ex evento.Executor) error {
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 2)
				go func() {
					if err := evento.RunDeadlines(ctx, ex); ctx.Err() == nil {
						ended <- err
					} else {
						ended <- nil
					}
				}()
				go func() {
					r := rand.New(rand.NewPCG(5, 6))
					for i := 0; ctx.Err() == nil; i++ {
						err := commitTagged(t.Context(), ex, r, 20)
						if err == nil {
							b := evento.Aggregate(fmt.Sprint("o", i%10)).AnyVersion().Event(orderPlaced{})
							b.Deadline("soon", time.Now(), orderPlaced{}).Deadline("later", later, orderPlaced{})
							if i%3 == 0 {
								b.ClearDeadline("later")
							}
							_, err = b.Commit(t.Context(), ex)
						}
						if err != nil {
							ended <- err
							return
						}
					}
					ended <- nil
				}()
				events := 0
				for range 1000 {
					got, text := findings(t, "--store", address)
					if len(got) > 0 {
						t.Errorf("found %v, want nothing\n%s", got, text)
						break
					}
					var last struct{ Summary struct{ Events int } }
					lines := strings.Split(strings.TrimSpace(text), "\n")
					if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
						t.Errorf("%q: %v", text, err)
						break
					}
					if events = last.Summary.Events; events > 400 {
						break
					}
				}
				if events <= 400 {
					t.Errorf("%d events were read at last, want more", events)
				}
				stop()
				return errors.Join(<-ended, <-ended)
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
