// The stores on which the commands of the guides run.

package docs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/ncruces/go-sqlite3/driver" // for statements of users
	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/testserver"
)

// onStore opens app.db in the folder of a guide, and closes it afterwards.
func onStore(t *testing.T, s *shell, do func(ctx context.Context, ex evento.Executor) error) {
	t.Helper()
	ex, err := sqlite.Open(t.Context(), filepath.Join(s.dir, "app.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(t.Context(), ex), ex.Close()); err != nil {
		t.Fatal(err)
	}
}

// raw is an event that is stored without a type of its own.
func raw(ctx context.Context, ex evento.Executor, of evento.AggregateType, id string, e evento.NewEvent) error {
	if e.ID == (evento.ID{}) {
		e.ID = evento.NewID()
	}
	e.Codec, e.Data = "json", []byte("{}")
	_, err := ex.Write(ctx, evento.Write{Appends: []evento.Append{{AggregateType: of, AggregateID: id, AnyVersion: true, Events: []evento.NewEvent{e}}}})
	return err
}

// european commits an event with a routing key and a correlation id.
func european(ctx context.Context, ex evento.Executor) error {
	_, err := ex.Write(ctx, evento.Write{Appends: []evento.Append{{
		AggregateType: "school/Course", AggregateID: "go", RoutingKey: "eu", Metadata: evento.Metadata{CorrelationID: "01J8ZQ4Y7KX3V5T9B2M6N8P0RS"},
		Events: []evento.NewEvent{{ID: evento.NewID(), Name: "Opened", Codec: "json", Data: []byte("{}")}},
	}}})
	return err
}

// addFollowed commits what a command that follows shows.
func addFollowed(t *testing.T, s *shell) {
	t.Helper()
	onStore(t, s, func(ctx context.Context, ex evento.Executor) error {
		return raw(ctx, ex, "docs/Followed", "f", evento.NewEvent{Name: "Followed"})
	})
}

// fillBank makes the store of the bank, and adds to it what the guide to the command speaks of.
func fillBank(t *testing.T, s *shell) {
	t.Helper()
	statements, err := filepath.Abs("../examples/bank/testdata/statements.csv")
	if err != nil {
		t.Fatal(err)
	}
	apply := s.command(t, "bank -db app.db apply "+statements)
	const refused = 3 // the file has lines that are
	if out, err := apply.CombinedOutput(); apply.ProcessState.ExitCode() != refused {
		t.Fatalf("%v, want exit code %d\n%s", err, refused, out)
	}
	onStore(t, s, func(ctx context.Context, ex evento.Executor) error {
		number63 := evento.HashIDs("account", "100063")
		return errors.Join(
			raw(ctx, ex, "school/Enrolment", "e", evento.NewEvent{Name: "Enrolled", Tags: []string{"course:go", "student:ada"}}),
			european(ctx, ex),
			raw(ctx, ex, account, "ann", evento.NewEvent{ID: ulid.MustParse("01J8ZQ4Y7KX3V5T9B2M6N8P0RS"), Name: "AccountOpened"}),
			addSubscriptions(ctx, ex, number63, "ann"),
			addSnapshots(ctx, ex, number63),
			addDeadlines(ctx, ex))
	})
}

// addSubscriptions runs subscriptions that park the events of some accounts.
func addSubscriptions(ctx context.Context, ex evento.Executor, parks ...string) error {
	mailer := func(key string) *evento.SubscriptionBuilder {
		return evento.NewSubscription(key).AcceptFailure().Retry(0).Logger(silent).Handler(
			evento.HandleAll(account, func(_ context.Context, e evento.RawEvent) error {
				for _, id := range parks {
					if e.AggregateID == id {
						return errors.New("no server")
					}
				}
				return nil
			}))
	}
	return errors.Join(mailer("mailer").Execute(ctx, ex), mailer("mailer").RoutingKey("eu").Execute(ctx, ex), mailer("old-mailer").Execute(ctx, ex))
}

// addSnapshots stores snapshots of two revisions.
func addSnapshots(ctx context.Context, ex evento.Executor, id string) error {
	for revision := range uint64(4) {
		accounts := evento.NewProjection[struct{ Deposits int }]("accounts", account).Revision(revision).SnapshotEvery(1)
		if _, err := accounts.Load(ctx, ex, id); err != nil {
			return err
		}
	}
	return nil
}

// addDeadlines sets a deadline that is due, and one that is not.
func addDeadlines(ctx context.Context, ex evento.Executor) error {
	for id, at := range map[string]time.Time{"01J8": time.Now(), "01J9": time.Now().Add(time.Hour)} {
		_, err := evento.Aggregate(id).Event(Placed{Concert: "rock"}).Deadline("payment", at, Overdue{}).Commit(ctx, ex)
		if err != nil {
			return err
		}
	}
	return nil
}

// fillRestored makes a store, copies it, goes on, and puts the copy back, with a new identity
// by the statement of the guide.
func fillRestored(t *testing.T, s *shell) {
	t.Helper()
	mails := evento.NewSubscription("mails").Partitions(2).Handler(
		evento.HandleAll(account, func(context.Context, evento.RawEvent) error { return nil }))
	opened := func(ctx context.Context, ex evento.Executor) error {
		_, err := evento.Create().Event(AccountOpened{Owner: "Ada"}).Commit(ctx, ex)
		return err
	}
	onStore(t, s, func(ctx context.Context, ex evento.Executor) error {
		return errors.Join(opened(ctx, ex), opened(ctx, ex), mails.Execute(ctx, ex), opened(ctx, ex))
	})
	db := func(statement string) {
		t.Helper()
		db, err := sql.Open("sqlite3", "file:"+filepath.Join(s.dir, "app.db"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.ExecContext(t.Context(), statement)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	db("VACUUM INTO '" + filepath.Join(s.dir, "backup.db") + "'")
	onStore(t, s, func(ctx context.Context, ex evento.Executor) error {
		return errors.Join(opened(ctx, ex), opened(ctx, ex), mails.Execute(ctx, ex))
	})
	for _, name := range []string{"app.db-wal", "app.db-shm"} {
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(s.dir, "backup.db"), filepath.Join(s.dir, "app.db")); err != nil {
		t.Fatal(err)
	}
	db(newIdentity(t, "SQLite"))
}

// newIdentity returns the statement of the guide that gives a store a new identity.
func newIdentity(t *testing.T, storage string) string {
	t.Helper()
	text, err := os.ReadFile("production.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^ *\| ` + storage + `[^|]* \| \x60(UPDATE .*)\x60 \|$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no statement for %s in production.md", storage)
	}
	return string(m[1])
}

// postgresStore returns the URL of a store in a schema of its own.
func postgresStore(t *testing.T, cleanup func(func())) string {
	t.Helper()
	schema := "docs_" + strings.ToLower(evento.NewID().String())
	address := testserver.Postgres(t)
	cleanup(func() {
		ctx := context.Background() // usable when the test has ended
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			_, err = conn.Exec(ctx, fmt.Sprintf("DROP SCHEMA IF EXISTS %s CASCADE", schema))
		}
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close(ctx)
	})
	return address + "&schema=" + schema
}
