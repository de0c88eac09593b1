package postgres_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

// An application with the rights of docs/production.md can do everything that writes.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t)
	role := "app_" + strings.ToLower(rand.Text())
	newRole(t, role, "")
	c := storetest.Config(
		func(t testing.TB) string {
			schema := newSchema(t)
			if err := openSchema(t, schema).Close(); err != nil {
				t.Fatal(err)
			}
			asOwner(t, "GRANT USAGE ON SCHEMA "+schema+" TO "+role+
				"; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA "+schema+" TO "+role+
				"; REVOKE UPDATE ON "+schema+".event, "+schema+".event_tag FROM "+role+
				"; GRANT DELETE ON "+schema+".record, "+schema+".snapshot TO "+role)
			return schema
		},
		func(t testing.TB, schema string) evento.Executor {
			ex, err := postgres.New(context.Background(), poolAt(t, strings.Replace(url, "evento@", role+"@", 1)), &postgres.Options{Schema: schema, NoMigrate: true})
			if err != nil {
				t.Fatalf("New() = %v", err)
			}
			return ex
		})
	c.Transactor = true
	executortest.Test(t, storetest.Rights(c))
}

// newRole makes a role that may log in, with further options, until the end of the test.
func newRole(t testing.TB, role, options string) {
	t.Helper()
	asOwner(t, "CREATE ROLE "+role+" LOGIN "+options)
	t.Cleanup(func() { asOwner(t, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
}

// asOwner executes statements as the role that the tests have.
func asOwner(t testing.TB, text string) {
	t.Helper()
	ctx := context.Background() // that of a test has ended when it cleans up
	conn, err := pgx.Connect(ctx, testserver.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, text); err != nil {
		t.Errorf("%s: %v", text, err)
	}
	if err := conn.Close(ctx); err != nil {
		t.Error(err)
	}
}
