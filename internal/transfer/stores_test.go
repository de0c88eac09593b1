package transfer_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/rw"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/testserver"
	"github.com/evento-go/evento/internal/transfer"
)

// stores open new stores of every kind.
func stores() map[string]func(t *testing.T) evento.Executor {
	return map[string]func(t *testing.T) evento.Executor{
		"memory": func(*testing.T) evento.Executor { return memory.New(nil) },
		"sqlite": func(t *testing.T) evento.Executor {
			t.Helper()
			return opened(t)(sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "events.db"), nil))
		},
		"pebble": func(t *testing.T) evento.Executor {
			t.Helper()
			return opened(t)(pebble.Open(t.Context(), t.TempDir(), nil))
		},
		"postgres": func(t *testing.T) evento.Executor {
			t.Helper()
			url, schema := testserver.Postgres(t), "test_"+strings.ToLower(rand.Text())
			t.Cleanup(func() {
				conn, err := pgx.Connect(context.Background(), url)
				if err == nil {
					_, err = conn.Exec(context.Background(), "DROP SCHEMA IF EXISTS "+schema+" CASCADE")
					_ = conn.Close(context.Background())
				}
				if err != nil {
					t.Error(err)
				}
			})
			return opened(t)(postgres.Open(t.Context(), url, &postgres.Options{Schema: schema}))
		},
		"mysql": func(t *testing.T) evento.Executor {
			t.Helper()
			return opened(t)(mysql.Open(t.Context(), testserver.MySQL(t), nil))
		},
		"rw": func(*testing.T) evento.Executor {
			ex := memory.New(nil)
			return rw.New(ex, ex)
		},
		"group": func(*testing.T) evento.Executor { return group.New(memory.New(nil), memory.New(nil)) },
	}
}

// opened checks the results of an Open.
func opened(t *testing.T) func(evento.Executor, error) evento.Executor {
	return func(ex evento.Executor, err error) evento.Executor {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return closing(t, ex)
	}
}

func closing(t *testing.T, ex evento.Executor) evento.Executor {
	t.Helper()
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	})
	return ex
}

// fill commits events that use every field.
func fill(t *testing.T, ex evento.Executor) {
	t.Helper()
	write := func(appends ...evento.Append) {
		t.Helper()
		if _, err := ex.Write(t.Context(), evento.Write{Appends: appends}); err != nil {
			t.Fatal(err)
		}
	}
	event := func(name, codec string, data []byte) evento.NewEvent {
		return evento.NewEvent{ID: evento.NewID(), Name: name, Codec: codec, Data: data}
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	tagged := func(e evento.NewEvent, tags ...string) evento.NewEvent {
		e.Tags = tags
		return e
	}
	most := make([]string, evento.MaxTags)
	for i := range most {
		most[i] = fmt.Sprint("tag:", i, strings.Repeat("\"", evento.MaxName-10)) // two bytes for each in JSON
	}
	large := bytes.Repeat(every, 1<<10) // larger than one read or write
	for round := range 5 {
		data := every
		if round == 0 || round == 4 {
			data = large
		}
		write(
			evento.Append{AggregateType: "shop/Order", AggregateID: "order-1", AnyVersion: true, RoutingKey: "tenant 1", Events: []evento.NewEvent{
				tagged(event("Placed", "json", []byte(`{"a":"<&>"}`)), "course:go", "student:ada"), event("Paid", "cbor", every), event("Nothing", "raw", nil),
			}},
			evento.Append{AggregateType: "shop/Order", AggregateID: "ORDER-1 ", AnyVersion: true, RoutingKey: `żółw "quoted" \ / <b> 🐢`, Events: []evento.NewEvent{
				tagged(event("Zamówiono ✓", "raw", []byte{}), `żółw "quoted" \ / <b> 🐢`, `","`, "]", "\u2028", `\u0000`, "course:go"),
			}},
			evento.Append{AggregateType: `typ "ż" \u0041/{}`, AggregateID: strings.Repeat("ż", 127) + "x", AnyVersion: true, Metadata: evento.Metadata{
				ID: "\u2028\u2029 and \ufeff and \U0010FFFF", RequestedBy: "line\nbreak\r\n\ttab", RequestedAs: "\\u0000 is no NUL", CorrelationID: "💥", CausationID: "</script>",
				Values: map[string]string{"empty": "", "b": "2", "a": "1", "ключ": strings.Repeat("\"", 100), "C": "3"},
			}, Events: []evento.NewEvent{tagged(event("Large", "raw", data), most...)}},
		)
		for i := range 20 {
			write(evento.Append{AggregateType: "bank/Account", AggregateID: fmt.Sprint("account ", round, " ", i%7), AnyVersion: true, Events: []evento.NewEvent{
				event("Deposited", "cbor", fmt.Append(nil, i)),
			}})
		}
	}
}

func export(t *testing.T, ex evento.Executor, opts transfer.ExportOptions) string {
	t.Helper()
	var b strings.Builder
	p, err := transfer.Export(t.Context(), ex, &b, opts)
	if err != nil {
		t.Fatalf("Export(%+v) = %v", opts, err)
	}
	if p.Bytes != int64(b.Len()) || p.Events != uint64(strings.Count(b.String(), "\n")-2) {
		t.Errorf("Export(%+v) = %+v of %d bytes and %d lines", opts, p, b.Len(), strings.Count(b.String(), "\n"))
	}
	return b.String()
}

func take(t *testing.T, ex evento.Executor, text string, opts transfer.ImportOptions) transfer.Progress {
	t.Helper()
	p, err := transfer.Import(t.Context(), ex, strings.NewReader(text), opts)
	if err != nil {
		t.Fatalf("Import(%+v) = %v", opts, err)
	}
	return p
}

// same compares two exports, and shows the first line that differs.
func same(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Fatalf("line %d: got %.2000s\nwant %.2000s", i+1, a[i], b[i])
		}
	}
	t.Fatalf("got %d lines, want %d", len(a), len(b))
}

// From every kind of store to every kind: the exports are the same bytes.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	for from, open := range stores() {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			source := open(t)
			fill(t, source)
			want := export(t, source, transfer.ExportOptions{})
			if err := transfer.Verify(t.Context(), strings.NewReader(want), transfer.ImportOptions{}); err != nil {
				t.Fatalf("Verify() = %v", err)
			}
			for to, open := range stores() {
				t.Run(to, func(t *testing.T) {
					t.Parallel()
					target := open(t)
					if p := take(t, target, want, transfer.ImportOptions{}); p.Events != 125 || p.Skipped != 0 {
						t.Errorf("Import() = %+v, want 125 events", p)
					}
					same(t, export(t, target, transfer.ExportOptions{}), want)
					// Tags are found in the target as in the source.
					for _, tags := range [][]string{{"course:go"}, {"]", `","`}, {"\u2028", "course:go"}, {"nowhere"}} {
						opts := transfer.ExportOptions{Query: evento.Query{Filters: []evento.Filter{evento.ByTags(tags...)}}}
						same(t, export(t, target, opts), export(t, source, opts))
					}
					if p := take(t, target, want, transfer.ImportOptions{Resume: true}); p.Events != 125 || p.Skipped != 125 {
						t.Errorf("Import() again = %+v, want 125 events that were there", p)
					}
					same(t, export(t, target, transfer.ExportOptions{}), want)
				})
			}
		})
	}
}

// Events with every timestamp that a store can have, and of the largest size.
func TestExtremes(t *testing.T) {
	t.Parallel()
	first := evento.RawEvent{
		ID: evento.ID{255, 255, 255, 255, 255, 255}, Position: 1, AggregateType: "a", AggregateID: "b", Version: 1, Name: "c", Codec: "d",
		Timestamp: time.UnixMicro(0).UTC(),
		Metadata:  evento.Metadata{ID: strings.Repeat("\x01", evento.MaxMetadata)}, // six bytes for each in JSON
		Data:      bytes.Repeat([]byte{255}, evento.MaxPayload),
	}
	for i := range evento.MaxTags {
		first.Tags = append(first.Tags, strings.Repeat("\u2028", evento.MaxName/3-1)+fmt.Sprintf("%02d", i)) // twice as long in JSON
	}
	for i := range first.ID {
		first.ID[i] = 255
	}
	second := evento.RawEvent{
		Position: 2, AggregateType: "a", AggregateID: "b", Version: 2, Name: "c", Codec: "d",
		Timestamp: time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	}
	source, target := memory.New(nil), memory.New(nil)
	if err := source.Import(t.Context(), []evento.RawEvent{first, second}); err != nil {
		t.Fatal(err)
	}
	want := export(t, source, transfer.ExportOptions{})
	take(t, target, want, transfer.ImportOptions{})
	same(t, export(t, target, transfer.ExportOptions{}), want)
}
