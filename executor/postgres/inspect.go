// What tools ask of a store.

package postgres

import (
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/evento-go/evento/internal/sqlstore"
)

// Inspect is [Open], with Options.Schema, for tools such as evento doctor. It
// connects when something is asked, and changes nothing.
//
// Errors: [evento.ErrInvalid] for a schema; what is wrong with the URL, never
// with the password.
func Inspect(url, schema string) (*sqlstore.Inspector, error) {
	opts, err := (&Options{Schema: schema}).withDefaults()
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(url) // which may have settings of a pool
	if err != nil {
		return nil, err
	}
	tables := pgx.Identifier{opts.Schema}.Sanitize() + "."
	inSchema := "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '" + strings.ReplaceAll(opts.Schema, "'", "''") + "'"
	durability := func(setting, risk, remedy string) sqlstore.Check {
		return sqlstore.Check{
			Name: "durability", Query: "SELECT current_setting('" + setting + "')", Healthy: func(row []string) bool { return row[0] != "off" },
			Finding: sqlstore.Finding{Severity: "warning", Detail: setting + " is off: a crash " + risk, Remedy: "set " + setting + " = on" + remedy},
		}
	}
	return &sqlstore.Inspector{
		DB: stdlib.OpenDB(*config.ConnConfig), Files: Migrations(), Tables: tables, Tags: tables + "event_tag",
		Migrated:  "SELECT count(*) FROM pg_class c " + inSchema + " AND c.relname = 'migration'",
		AppliedAt: "extract(epoch FROM applied_at)::bigint",
		EventID:   "'%x'",
		Checks: append([]sqlstore.Check{
			sqlstore.CheckSnapshots(tables),
			sqlstore.CheckTags(tables+"event_tag", tables),
			durability("fsync", "of the machine may destroy the store", ""),
			durability("synchronous_commit", "may lose events that were acknowledged", ", for the server or the application's role"),
			durability("full_page_writes", "of the machine may leave torn pages", ", unless the file system writes pages whole"),
			sqlstore.CheckImmutability("SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "+inSchema+" AND c.relname = 'event' AND t.tgname = 'immutable' AND t.tgenabled <> 'D'", "1"),
		}, sqlstore.CheckCounter(tables)...),
	}, nil
}
