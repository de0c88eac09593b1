package docs_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/testserver"
)

// restorable is a store that is opened again after a statement of the operator.
type restorable struct {
	open    func(ctx context.Context) (evento.Executor, error)
	execute func(ctx context.Context, statement string) error
}

func executeSQL(driver, dsn string) func(ctx context.Context, statement string) error {
	return func(ctx context.Context, statement string) error {
		db, err := sql.Open(driver, dsn)
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, statement)
		return errors.Join(err, db.Close())
	}
}

// restorables are the storages of the table in production.md, by their names in it.
var restorables = map[string]func(t *testing.T) restorable{
	"SQLite": func(t *testing.T) restorable {
		t.Helper()
		path := filepath.Join(t.TempDir(), "app.db")
		return restorable{
			func(ctx context.Context) (evento.Executor, error) { return sqlite.Open(ctx, path, nil) },
			executeSQL("sqlite3", "file:"+path),
		}
	},
	"PostgreSQL": func(t *testing.T) restorable {
		t.Helper()
		address := postgresStore(t, t.Cleanup)
		server, schema, _ := strings.Cut(address, "&schema=")
		return restorable{
			func(ctx context.Context) (evento.Executor, error) { return postgres.Open(ctx, address, nil) },
			func(ctx context.Context, statement string) error {
				conn, err := pgx.Connect(ctx, server)
				if err != nil {
					return err
				}
				_, err = conn.Exec(ctx, strings.ReplaceAll(statement, "evento.", schema+"."))
				return errors.Join(err, conn.Close(ctx))
			},
		}
	},
	"MySQL": func(t *testing.T) restorable {
		t.Helper()
		dsn := testserver.MySQL(t)
		return restorable{
			func(ctx context.Context) (evento.Executor, error) { return mysql.Open(ctx, dsn, nil) },
			executeSQL("mysql", dsn),
		}
	},
}

// The statement of the guide gives a restored store a new identity: cursors of before are
// refused, and subscriptions go on where they were.
func TestRestored(t *testing.T) {
	t.Parallel()
	for name, newStore := range restorables {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, store := t.Context(), newStore(t)
			use := func(do func(ex evento.Executor) error) {
				t.Helper()
				ex, err := store.open(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(do(ex), ex.Close()); err != nil {
					t.Fatal(err)
				}
			}
			var mu sync.Mutex // partitions run at the same time
			var handled []string
			mails := evento.NewSubscription("mails").Partitions(2).Handler(evento.Handle(func(ctx context.Context, e evento.Event[AccountOpened]) error {
				if evento.DeliveryFrom(ctx).Replay {
					return errors.New("it is a replay")
				}
				mu.Lock()
				defer mu.Unlock()
				handled = append(handled, e.Data.Owner)
				return nil
			}))
			opened := func(ex evento.Executor, owner string) error {
				_, err := evento.Create().Event(AccountOpened{Owner: owner}).Commit(ctx, ex)
				return err
			}
			var kept cursor.Value
			use(func(ex evento.Executor) error {
				err := errors.Join(opened(ex, "Ada"), opened(ex, "Bob"), mails.Execute(ctx, ex), opened(ex, "Cleo"))
				page, readErr := ex.Read(ctx, evento.Query{}, cursor.Forward(2, ""))
				if readErr == nil {
					kept = page.PageInfo.EndCursor
				}
				return errors.Join(err, readErr)
			})
			if err := store.execute(ctx, newIdentity(t, name)); err != nil {
				t.Fatal(err)
			}
			use(func(ex evento.Executor) error {
				if _, err := ex.Read(ctx, evento.Query{}, cursor.Forward(2, kept)); !errors.Is(err, cursor.ErrForeign) {
					t.Errorf("a cursor of before: %v, want ErrForeign", err)
				}
				if err := mails.Execute(ctx, ex); !errors.Is(err, cursor.ErrForeign) {
					t.Errorf("the subscription: %v, want ErrForeign", err)
				}
				return errors.Join(evento.ControlOf(ex, "mails").ResetToStored(ctx), mails.Execute(ctx, ex))
			})
			if slices.Sort(handled); !slices.Equal(handled, []string{"Ada", "Bob", "Cleo"}) {
				t.Errorf("handled are %q, want each once", handled)
			}
		})
	}
}

// Events that were moved have their positions, and a subscription goes on behind its own.
func TestMoved(t *testing.T) {
	t.Parallel()
	ctx, old, moved := t.Context(), memory.New(nil), memory.New(nil)
	var handled []string
	mails := func() *evento.SubscriptionBuilder {
		return evento.NewSubscription("mails").Handler(evento.Handle(func(ctx context.Context, e evento.Event[AccountOpened]) error {
			if evento.DeliveryFrom(ctx).Replay {
				return errors.New("it is a replay")
			}
			handled = append(handled, e.Data.Owner)
			return nil
		}))
	}
	for i, owner := range []string{"Ada", "Bob", "Cleo"} {
		if i == 2 {
			if err := mails().Execute(ctx, old); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := evento.Create().Event(AccountOpened{Owner: owner}).Commit(ctx, old); err != nil {
			t.Fatal(err)
		}
	}
	var events []evento.RawEvent
	for e, err := range evento.Events(ctx, old, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	st, err := evento.ControlOf(old, "mails").Status(ctx)
	if err := errors.Join(err, moved.Import(ctx, events)); err != nil {
		t.Fatal(err)
	}
	if err := evento.ControlOf(moved, "mails").ResetToPosition(ctx, st.Position); !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("a reset of what was not copied: %v, want ErrNotFound", err)
	}
	if err := mails().StartAfter(st.Position).Execute(ctx, moved); err != nil {
		t.Error(err)
	}
	if !slices.Equal(handled, []string{"Ada", "Bob", "Cleo"}) {
		t.Errorf("handled are %q, want each once", handled)
	}
}
