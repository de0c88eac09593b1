package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/store"
	"github.com/evento-go/evento/internal/testserver"
)

// texts keeps what is sent on the connections of a pool.
type texts struct {
	mu  sync.Mutex
	all []string
}

func (s *texts) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, text)
}

// about is how many texts have been sent since the last call that name a table.
func (s *texts) about(table string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range s.all {
		if strings.Contains(text, table) {
			n++
		}
	}
	s.all = nil
	return n
}

func (s *texts) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	s.add(q.SQL)
	return ctx
}

func (s *texts) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *texts) TraceBatchStart(ctx context.Context, _ *pgx.Conn, b pgx.TraceBatchStartData) context.Context {
	for _, q := range b.Batch.QueuedQueries {
		s.add(q.SQL)
	}
	return ctx
}

func (s *texts) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (s *texts) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (s *texts) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, c pgx.TraceCopyFromStartData) context.Context {
	s.add(c.TableName.Sanitize())
	return ctx
}

func (s *texts) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {}

// taggedAppend is an append of an event for each list of tags.
func taggedAppend(id string, tags ...[]string) evento.Append {
	a := evento.Append{AggregateType: "test/Thing", AggregateID: id, RoutingKey: "r"}
	for _, t := range tags {
		a.Events = append(a.Events, evento.NewEvent{ID: evento.NewID(), Name: "Tagged", Codec: "json", Data: []byte("{}"), Tags: t})
	}
	return a
}

// ways write one event, or several, in all ways that there are; each makes a list of tags
// for an event.
func ways(ex *postgres.Executor, tags func() []string) map[string]func(ctx context.Context, id string) error {
	write := func(ctx context.Context, w evento.Write) error {
		_, err := ex.Write(ctx, w)
		return err
	}
	one := func(id string) evento.Append { return taggedAppend(id, tags()) }
	three := func(id string) evento.Append { return taggedAppend(id, tags(), nil, tags()) }
	unless := []evento.Condition{{Query: evento.Query{Filters: []evento.Filter{evento.ByID("test/Thing", "nobody")}}}}
	return map[string]func(ctx context.Context, id string) error{
		"one event": func(ctx context.Context, id string) error {
			return write(ctx, evento.Write{Appends: []evento.Append{one(id)}})
		},
		"events": func(ctx context.Context, id string) error {
			a := three(id)
			a.Metadata = evento.Metadata{RequestedBy: id}
			return write(ctx, evento.Write{Appends: []evento.Append{a}})
		},
		"any version": func(ctx context.Context, id string) error {
			a := three(id)
			a.AnyVersion = true
			return write(ctx, evento.Write{Appends: []evento.Append{a}})
		},
		"two aggregates": func(ctx context.Context, id string) error {
			return write(ctx, evento.Write{Appends: []evento.Append{three(id), one(id + " too")}})
		},
		"condition": func(ctx context.Context, id string) error {
			return errors.Join(
				write(ctx, evento.Write{Appends: []evento.Append{one(id)}, Unless: unless}),
				write(ctx, evento.Write{Appends: []evento.Append{three(id + " too")}, Unless: unless}))
		},
		"together": func(ctx context.Context, id string) error {
			return inParallel(8, func(i int) error {
				w := evento.Write{Appends: []evento.Append{one(fmt.Sprint(id, i))}}
				switch i {
				case 0:
					w.Appends[0] = taggedAppend(id+" without", nil, nil)
				case 1, 2:
					w.Unless = unless
				case 3:
					w.Appends[0] = three(id + "three")
				}
				return write(ctx, w)
			})
		},
		"stale": func(ctx context.Context, id string) error {
			return inParallel(4, func(i int) error {
				err := write(ctx, evento.Write{Appends: []evento.Append{three(id)}})
				if errors.Is(err, evento.ErrConflict) {
					return nil
				}
				return err
			})
		},
		"InTx": func(ctx context.Context, id string) error {
			return ex.InTx(ctx, func(ctx context.Context) error {
				again := one(id)
				again.Expected = 3
				return errors.Join(
					write(ctx, evento.Write{Appends: []evento.Append{three(id)}}),
					write(ctx, evento.Write{Appends: []evento.Append{again}}))
			})
		},
	}
}

func inParallel(n int, fn func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// wantIndexed fails unless event_tag has the numbers of the tags of all events.
func wantIndexed(t *testing.T, ex evento.Executor, schema string) {
	t.Helper()
	var want []string
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range store.TagNumbers(e.Tags) {
			want = append(want, fmt.Sprint(e.Position, " ", n))
		}
	}
	rows, err := connect(t).Query(t.Context(), "SELECT position || ' ' || tag FROM "+schema+".event_tag")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("event_tag has\n%q\nwant\n%q", got, want)
	}
}

// A write without tags sends what it sent before there were tags; tags of others are
// stored with each of them.
func TestTextsWithoutTags(t *testing.T) {
	t.Parallel()
	sent := &texts{}
	ex, schema := openSent(t, sent, pgx.QueryExecModeCacheStatement)
	serial := 0
	tags := func() []string { return nil }
	all := ways(ex, func() []string { return tags() })
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, tagged := range []bool{false, true} {
			var mu sync.Mutex
			tags = func() []string {
				mu.Lock()
				defer mu.Unlock()
				if serial++; !tagged {
					return nil
				}
				return []string{"all", fmt.Sprint("n:", serial), `a "quoted" \ one`}
			}
			sent.about("")
			if err := all[name](t.Context(), fmt.Sprint(name, " ", tagged)); err != nil {
				t.Errorf("%s, tagged %t: %v", name, tagged, err)
			}
			if n := sent.about("event_tag"); n > 0 != tagged {
				t.Errorf("%s, tagged %t: %d texts are about tags", name, tagged, n)
			}
		}
	}
	wantIndexed(t, ex, schema)

	var events []evento.RawEvent
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	to, schema := openSent(t, sent, pgx.QueryExecModeCacheStatement)
	for _, tagged := range []bool{false, true} {
		i := slices.IndexFunc(events, func(e evento.RawEvent) bool { return len(e.Tags) > 0 })
		if tagged {
			i = len(events)
		}
		sent.about("")
		if err := to.Import(t.Context(), events[:i]); err != nil {
			t.Fatalf("Import() = %v", err)
		}
		if n := sent.about("event_tag"); n > 0 != tagged {
			t.Errorf("an import, tagged %t: %d texts are about tags", tagged, n)
		}
	}
	wantIndexed(t, to, schema)
}

func openSent(t *testing.T, sent *texts, mode pgx.QueryExecMode) (*postgres.Executor, string) {
	t.Helper()
	config, err := pgxpool.ParseConfig(testserver.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.Tracer = sent
	config.ConnConfig.DefaultQueryExecMode = mode
	config.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	schema := newSchema(t)
	ex, err := postgres.New(t.Context(), pool, &postgres.Options{Schema: schema, NoNotify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ex.Close() })
	return ex, schema
}

// A single write with tags takes one round trip, as one without.
func TestTaggedTrips(t *testing.T) {
	t.Parallel()
	sent := &trips{}
	ex := openTraced(t, sent)
	for i, tags := range [][][]string{{{"a"}}, {{"a", "b"}}, {{"a"}, nil, {"b", "c"}}} {
		write := func(id string) {
			t.Helper()
			if _, err := ex.Write(t.Context(), evento.Write{Appends: []evento.Append{taggedAppend(id, tags...)}}); err != nil {
				t.Fatal(err)
			}
		}
		write(fmt.Sprint("names ", i))
		sent.Store(0)
		write(fmt.Sprint("id ", i))
		if n := sent.Load(); n != 1 {
			t.Errorf("a write with the tags %q took %d round trips, want 1", tags, n)
		}
	}
}

// Tags are written and found in each mode of the driver.
func TestTagsInModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			ex, schema := openSent(t, &texts{}, mode)
			all := ways(ex, func() []string { return []string{"a", "b"} })
			for name, write := range all {
				if err := write(t.Context(), name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			wantIndexed(t, ex, schema)
			for _, f := range []evento.Filter{evento.ByTags("b", "a"), evento.ByTags("a"), {AggregateType: "test/Thing", AggregateID: "InTx", Name: "Tagged", Tags: []string{"b"}}} {
				page, err := ex.Read(t.Context(), evento.Query{Filters: []evento.Filter{f}, RoutingKey: "r"}, cursor.Forward(3, ""))
				if err != nil || len(page.Edges) != 3 {
					t.Errorf("Read(%+v) = %+v, %v, want a page of 3", f, page, err)
				}
			}
		})
	}
}

// These have the same number.
const oneTag, sameNumber = "363581d884d1a7db", "c05c3cec0e471599"

// An event is found by its tags, and not by another with the same number: on the page
// that is read, and on either side of it.
func TestTagsOfOneNumber(t *testing.T) {
	t.Parallel()
	if store.TagNumber(oneTag) != store.TagNumber(sameNumber) {
		t.Fatal("the tags have two numbers")
	}
	schema := newSchema(t)
	ex := openSchema(t, schema)
	defer closeAll(t, ex)
	for i, tags := range [][]string{{oneTag}, {sameNumber}, {oneTag, sameNumber}, {sameNumber, oneTag}, {sameNumber}} {
		for _, a := range []evento.Append{taggedAppend(fmt.Sprint("one ", i), tags), taggedAppend(fmt.Sprint("two ", i), tags, tags)} {
			if _, err := ex.Write(t.Context(), evento.Write{Appends: []evento.Append{a}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantIndexed(t, ex, schema)
	for _, want := range []struct {
		tags         []string
		first, count int // of the positions 1 to 15, by threes
	}{{[]string{oneTag}, 1, 9}, {[]string{sameNumber}, 4, 12}, {[]string{oneTag, sameNumber}, 7, 6}, {[]string{sameNumber, oneTag}, 7, 6}} {
		q := evento.Query{Filters: []evento.Filter{evento.ByTags(want.tags...)}}
		page, err := ex.Read(t.Context(), q, cursor.Forward(want.count, ""))
		if err != nil || len(page.Edges) != want.count || page.PageInfo.HasNextPage || page.Edges[0].Node.Position != uint64(want.first) {
			t.Errorf("Read(%q) = %+v, %v, want %d events from %d on, and no more", want.tags, page, err, want.count, want.first)
		}
		at, err := ex.CursorAt(uint64(want.first - 1))
		if err != nil {
			t.Fatal(err)
		}
		if page, err = ex.Read(t.Context(), q, cursor.Forward(1, at)); err != nil || len(page.Edges) != 1 || page.PageInfo.HasPreviousPage {
			t.Errorf("Read(%q) from the first = %+v, %v, want one event and none before it", want.tags, page, err)
		}
	}
}

// A query of very many tags leaves the settings of a caller's transaction as they are.
func TestManyTagsInTx(t *testing.T) {
	t.Parallel()
	ex := openSchema(t, newSchema(t))
	defer closeAll(t, ex)
	if _, err := ex.Write(t.Context(), evento.Write{Appends: []evento.Append{taggedAppend("a", []string{"n:7"}, []string{"n:8", "n:9"})}}); err != nil {
		t.Fatal(err)
	}
	q := evento.Query{}
	for i := range 200 {
		q.Filters = append(q.Filters, evento.ByTags(fmt.Sprint("n:", i)))
	}
	for _, setting := range []string{"on", "off"} {
		err := ex.InTx(t.Context(), func(ctx context.Context) error {
			tx := postgres.Tx(ctx)
			if _, err := tx.Exec(ctx, "SET LOCAL jit = "+setting); err != nil {
				return err
			}
			page, err := ex.Read(ctx, q, cursor.Forward(10, ""))
			if err != nil || len(page.Edges) != 2 {
				t.Errorf("Read() = %+v, %v, want two events", page, err)
			}
			var got string
			if err := tx.QueryRow(ctx, "SHOW jit").Scan(&got); err != nil || got != setting {
				t.Errorf("jit is %s, %v, want %s as before", got, err, setting)
			}
			return nil
		})
		if err != nil {
			t.Errorf("InTx() = %v", err)
		}
	}
}
