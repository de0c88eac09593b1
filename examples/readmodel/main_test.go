package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/story"
	"github.com/evento-go/evento/internal/testserver"
)

func TestStory(t *testing.T) {
	t.Parallel()
	story.Test(t, func(ctx context.Context, out io.Writer) error { return run(ctx, "", out) })
}

func TestStoryOnPostgres(t *testing.T) {
	t.Parallel()
	url := testserver.PostgresDatabase(t)
	story.Test(t, func(ctx context.Context, out io.Writer) error { return run(ctx, url, out) })
}

// The story is not told twice of one database.
func TestNotEmpty(t *testing.T) {
	t.Parallel()
	db, err := openSQLite(t.Context(), filepath.Join(t.TempDir(), "bank.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := tellStory(t.Context(), db, io.Discard); err != nil {
		t.Error(err)
	}
	if err := tellStory(t.Context(), db, io.Discard); err == nil || !strings.Contains(err.Error(), "take an empty one") {
		t.Errorf("told twice: %v, want a refusal", err)
	}
	if err := db.close(); err != nil {
		t.Error(err)
	}
}

// Each event is in the table once, although each handler fails behind its statement at first,
// and the table is reset while events keep coming.
func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	db, err := openSQLite(t.Context(), filepath.Join(t.TempDir(), "bank.db"))
	wantExactlyOnce(t, db, err)
}

func TestExactlyOnceOnPostgres(t *testing.T) {
	t.Parallel()
	db, err := openPostgres(t.Context(), testserver.PostgresDatabase(t))
	wantExactlyOnce(t, db, err)
}

func wantExactlyOnce(t *testing.T, db *database, err error) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	defer func() { must(db.close()) }()
	ctx := t.Context()
	must(balances1.create(ctx, db))
	_, err = db.sql.ExecContext(ctx, "CREATE VIEW balances AS SELECT id, owner, cents FROM balances1")
	must(err)
	failing := balances1.subscription(db).Logger(slog.New(slog.DiscardHandler)).Hooks(evento.SubscriptionHooks{
		Handle: func(ctx context.Context, _ string, e []evento.RawEvent, next func(context.Context) error) error {
			if err := next(ctx); err != nil || e[0].Position%50 != 0 || evento.DeliveryFrom(ctx).Attempt > 1 {
				return err
			}
			return errors.New("it fails at first")
		},
	})
	sub, err := failing.Start(ctx, db)
	must(err)

	wrote := make(chan error, 1)
	go func() {
		for range 300 {
			if _, err := evento.Create().Event(Opened{"Ada"}, Deposited{7}).Commit(ctx, db); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	for range 10 {
		must(balances1.caughtUp(ctx, db))
		must(balances1.reset(ctx, db))
	}
	must(<-wrote)
	must(balances1.caughtUp(ctx, db))
	must(sub.Shutdown(ctx))

	want, got := map[string]int64{}, map[string]int64{}
	for e, err := range evento.Events(ctx, db, evento.Query{Filters: evento.EventsOf(Deposited{})}) {
		must(err)
		deposited, err := evento.Decode[Deposited](e)
		must(err)
		want[e.AggregateID] += deposited.Data.Cents
	}
	for after, more := cursor.Value(""), true; more; {
		page, err := readPage(ctx, db, cursor.Onward(100, after))
		must(err)
		for _, edge := range page.Edges {
			got[edge.Node.ID] = edge.Node.Cents
		}
		after, more = page.PageInfo.EndCursor, page.PageInfo.HasNextPage
	}
	if !maps.Equal(got, want) || len(want) == 0 {
		t.Errorf("the table has %d accounts, the events have %d, or other balances", len(got), len(want))
	}
}
