// What SQL tells of a store and its executor does not.

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	sqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/ncruces/go-sqlite3/driver"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/sqlstore"
)

// inspector asks a store on an SQL database, and changes nothing. There is none
// of Pebble, which has neither SQL nor migrations.
type inspector struct {
	db     *sql.DB
	texts  sqlTexts
	schema string // what migrations are looked for in; "": the database
	latest int    // the last migration that this release knows
	files  fs.FS
}

// sqlTexts are the questions in the words of a database.
type sqlTexts struct {
	migrated  string // whether there is the table of migrations
	applied   string // the migrations, with the seconds since 1970
	types     string // of aggregates
	position  string // of the event with an id
	snapshots string // how many are beyond the last event
	counter   string // of positions, and the last event's; "" where there is none
}

var sqliteTexts = sqlTexts{
	migrated:  "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'evento_migration'",
	applied:   "SELECT version, applied_at FROM evento_migration ORDER BY version",
	types:     "SELECT name FROM evento_type ORDER BY name",
	position:  "SELECT position FROM evento_event WHERE event_id = ?",
	snapshots: "SELECT count(*) FROM evento_snapshot WHERE position > (SELECT COALESCE(MAX(position), 0) FROM evento_event)",
}

var mysqlTexts = sqlTexts{
	migrated:  "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'evento_migration'",
	applied:   "SELECT version, applied_at FROM evento_migration ORDER BY version",
	types:     "SELECT name FROM evento_type ORDER BY name",
	position:  "SELECT position FROM evento_event WHERE event_id = ?",
	snapshots: "SELECT count(*) FROM evento_snapshot WHERE position > (SELECT COALESCE(MAX(position), 0) FROM evento_event)",
	counter:   "SELECT position, (SELECT COALESCE(MAX(position), 0) FROM evento_event) FROM evento_counter WHERE id = 1",
}

func postgresTexts(schema string) sqlTexts {
	quoted := pgx.Identifier{schema}.Sanitize()
	return sqlTexts{
		migrated: "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '" +
			strings.ReplaceAll(schema, "'", "''") + "' AND c.relname = 'migration'",
		applied:   "SELECT version, extract(epoch FROM applied_at)::bigint FROM " + quoted + ".migration ORDER BY version",
		types:     "SELECT name FROM " + quoted + ".type ORDER BY name",
		position:  "SELECT position FROM " + quoted + ".event WHERE event_id = $1",
		snapshots: "SELECT count(*) FROM " + quoted + ".snapshot WHERE position > (SELECT COALESCE(max(position), 0) FROM " + quoted + ".event)",
		counter:   "SELECT position, (SELECT COALESCE(max(position), 0) FROM " + quoted + ".event) FROM " + quoted + ".counter WHERE id = 1",
	}
}

// postgresSchema is the one that the executor takes by itself.
const postgresSchema = "evento"

// inspect opens a store for questions; nil of one on Pebble.
func (a address) inspect(context.Context) (*inspector, error) {
	in := &inspector{}
	var err error
	switch a.kind {
	case sqliteStore:
		in.texts, in.files = sqliteTexts, sqlite.Migrations()
		in.db, err = openSQLite(a.place)
	case postgresStore:
		in.schema = a.schema
		if in.schema == "" {
			in.schema = postgresSchema
		}
		in.texts, in.files = postgresTexts(in.schema), postgres.Migrations()
		var cfg *pgx.ConnConfig
		if cfg, err = pgx.ParseConfig(a.place); err == nil {
			in.db = stdlib.OpenDB(*cfg)
		}
	case mysqlStore:
		in.texts, in.files = mysqlTexts, mysql.Migrations()
		in.db, err = openMySQL(a.place)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := sqlstore.Migrations(in.files)
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	in.latest = len(list)
	return in, nil
}

// openSQLite opens a file to read from it.
func openSQLite(path string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: "mode=ro"}
	return driver.Open(u.String())
}

func openMySQL(dsn string) (*sql.DB, error) {
	cfg, err := sqldriver.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("the DSN cannot be read") // the error may show a password
	}
	cfg.Logger = &sqldriver.NopLogger{}
	connector, err := sqldriver.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (in *inspector) close() error { return in.db.Close() }

// applied is a migration that was.
type appliedMigration struct {
	number int
	at     int64 // seconds since 1970
}

func (in *inspector) applied(ctx context.Context) (list []appliedMigration, err error) {
	var tables int
	if err := in.db.QueryRowContext(ctx, in.texts.migrated).Scan(&tables); err != nil || tables == 0 {
		return nil, err
	}
	err = in.rows(ctx, in.texts.applied, nil, func(rows *sql.Rows) error {
		var m appliedMigration
		err := rows.Scan(&m.number, &m.at)
		list = append(list, m)
		return err
	})
	return list, err
}

// version is the number of the last migration; 0: none.
func (in *inspector) version(ctx context.Context) (int, error) {
	list, err := in.applied(ctx)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return list[len(list)-1].number, nil
}

func (in *inspector) types(ctx context.Context) (list []evento.AggregateType, err error) {
	err = in.rows(ctx, in.texts.types, nil, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		list = append(list, evento.AggregateType(name))
		return err
	})
	return list, err
}

// position is where the event with an id is; 0: nowhere.
func (in *inspector) position(ctx context.Context, id evento.ID) (position uint64, err error) {
	err = in.rows(ctx, in.texts.position, []any{in.eventID(id)}, func(rows *sql.Rows) error { return rows.Scan(&position) })
	return position, err
}

func (in *inspector) eventID(id evento.ID) any {
	if in.schema != "" { // PostgreSQL has a type for it
		return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	}
	return id[:]
}

func (in *inspector) rows(ctx context.Context, text string, args []any, each func(*sql.Rows) error) (err error) {
	rows, err := in.db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return nil
}
