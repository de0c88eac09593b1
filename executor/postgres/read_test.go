package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

// writeNamed commits an event of this name to a new aggregate.
func writeNamed(t *testing.T, ex evento.Executor, aggregate, name string) {
	t.Helper()
	_, err := ex.Write(context.Background(), evento.Write{Appends: []evento.Append{{
		AggregateType: "test/Thing", AggregateID: aggregate, RoutingKey: "r",
		Metadata: evento.Metadata{RequestedBy: aggregate, Values: map[string]string{"k": name}},
		Events: []evento.NewEvent{
			{ID: evento.NewID(), Name: name, Codec: "json", Data: []byte(`"` + name + `"`)},
			{ID: evento.NewID(), Name: name, Codec: "json"},
		},
	}}})
	if err != nil {
		t.Fatalf("Write() = %v", err)
	}
}

func readNames(t *testing.T, ex evento.Executor, args cursor.Args) (names []string, end cursor.Value) {
	t.Helper()
	page, err := ex.Read(context.Background(), evento.Query{Filters: []evento.Filter{evento.ByType("test/Thing")}}, args)
	if err != nil {
		t.Fatalf("Read() = %v", err)
	}
	for _, e := range page.Edges {
		names = append(names, e.Node.Name)
	}
	return names, page.PageInfo.EndCursor
}

// The kinds of a type that one process knows are not all of them once another
// has made one.
func TestKindsOfOthers(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	a, b := openSchema(t, schema), openSchema(t, schema)
	defer func() { _, _ = a.Close(), b.Close() }()
	var at cursor.Value
	want := 0
	for i := range 5 {
		name := fmt.Sprint("Happened", i)
		writeNamed(t, b, fmt.Sprint(i), name)
		want += 2
		names, end := readNames(t, a, cursor.Onward(10, at))
		if len(names) != 2 || names[0] != name || names[1] != name {
			t.Fatalf("after a commit of %s: read %q onward, want it twice", name, names)
		}
		at = end
		if names, _ := readNames(t, a, cursor.Backward(100, "")); len(names) != want {
			t.Fatalf("read %q backward, want %d events", names, want)
		}
	}
}

// Rows come in other forms when the pool's protocol is another one.
func TestProtocols(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	ex := openSchema(t, schema)
	defer func() { _ = ex.Close() }()
	writeNamed(t, ex, "a", "Happened")
	want := fmt.Sprint(readAll(t, ex))
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec} {
		config, err := pgxpool.ParseConfig(testserver.Postgres(t))
		if err != nil {
			t.Fatal(err)
		}
		config.ConnConfig.DefaultQueryExecMode = mode
		pool, err := pgxpool.NewWithConfig(context.Background(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		other, err := postgres.New(context.Background(), pool, &postgres.Options{Schema: schema})
		if err != nil {
			t.Fatalf("%s: New() = %v", mode, err)
		}
		if got := fmt.Sprint(readAll(t, other)); got != want {
			t.Errorf("%s: read %s, want %s", mode, got, want)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}

func readAll(t *testing.T, ex evento.Executor) []cursor.Edge[evento.RawEvent] {
	t.Helper()
	page, err := ex.Read(context.Background(), evento.Query{}, cursor.Forward(10, ""))
	if err != nil {
		t.Fatalf("Read() = %v", err)
	}
	if len(page.Edges) != 2 || page.Edges[1].Node.Metadata.Values["k"] != "Happened" {
		t.Fatalf("read %+v, want two events with metadata", page.Edges)
	}
	return page.Edges
}
