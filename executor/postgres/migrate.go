// Making and migrating the tables.

package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migrations returns the SQL files that make the tables, for those who run
// migrations with a tool of their own: NNNN_name.sql, to be applied in order
// with SCHEMA replaced by the quoted name of a schema that exists, each in a
// transaction that also records its number:
//
//	CREATE TABLE IF NOT EXISTS SCHEMA.migration (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
//	INSERT INTO SCHEMA.migration VALUES (NNNN);
func Migrations() fs.FS { return sqlstore.Folder(migrationFiles) }

const makeMigrations = "CREATE TABLE IF NOT EXISTS SCHEMA.migration (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"

// Script returns [Migrations] as one text, which makes a store in a schema that
// has none, and the schema. "" is the default of Options.Schema.
func Script(schema string) (string, error) {
	opts, err := (&Options{Schema: schema}).withDefaults()
	if err != nil {
		return "", err
	}
	quoted := pgx.Identifier{opts.Schema}.Sanitize()
	text, err := sqlstore.Script(Migrations(), makeMigrations, "BEGIN;\n%sINSERT INTO SCHEMA.migration VALUES (%d);\nCOMMIT;\n")
	return "CREATE SCHEMA IF NOT EXISTS " + quoted + ";\n" + strings.ReplaceAll(text, "SCHEMA.", quoted+"."), err
}

// Migrate brings the tables of a store up to this version of the library.
// [Open] and [New] do so by themselves, unless Options.NoMigrate is set. It is
// safe to call from many processes at once. nil options are the defaults.
//
// Errors: [evento.ErrNewerStore], [evento.ErrReadOnly], else the server's.
func Migrate(ctx context.Context, pool *pgxpool.Pool, o *Options) error {
	opts, err := o.withDefaults()
	if err != nil {
		return err
	}
	if pool == nil {
		return fmt.Errorf("%w postgres pool: nil", evento.ErrInvalid)
	}
	if err := migrate(ctx, pool, opts.Schema); err != nil {
		return store.Errorf("postgres: migrate schema %q: %w", opts.Schema, classify(err))
	}
	return nil
}

// prepare checks the server, migrates the store and reads its identity.
func (ex *Executor) prepare(ctx context.Context) error {
	var encoding, client, sync, standbys string
	var version int
	if err := ex.pool.QueryRow(ctx, "SELECT current_setting('server_encoding'), current_setting('client_encoding'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), current_setting('server_version_num')::int").
		Scan(&encoding, &client, &sync, &standbys, &version); err != nil {
		return err
	}
	ex.replicated = standbys != ""
	const oldest = 130000
	switch {
	case version < oldest:
		return fmt.Errorf("%w server: PostgreSQL %d is older than 13", evento.ErrInvalid, version/10000)
	case encoding != "UTF8":
		return fmt.Errorf("%w database: its encoding is %s, UTF8 is needed", evento.ErrInvalid, encoding)
	case client != encoding && client != "SQL_ASCII":
		return fmt.Errorf("%w session: client_encoding is %s, in which texts are changed on their way; UTF8 is needed", evento.ErrInvalid, client)
	case sync == "off" && !ex.opts.AllowLoss:
		return fmt.Errorf("%w server: synchronous_commit is off, which loses acknowledged events when it crashes; switch it on or set Options.AllowLoss", evento.ErrInvalid)
	}
	missing, err := missingMigrations(ctx, ex.pool, ex.opts.Schema, !ex.opts.NoMigrate)
	if err == nil && len(missing) > 0 {
		err = migrate(ctx, ex.pool, ex.opts.Schema)
	}
	if err != nil {
		return err
	}
	var identity [16]byte
	if err := ex.pool.QueryRow(ctx, ex.sql.identity).Scan(&identity); err != nil {
		return err
	}
	ex.positions = cursor.NewPositions(identity)
	ex.channel = fmt.Sprintf("evento_%x", identity)
	ex.self = evento.NewID().String()
	// Nothing is lost when the server forgets a notification.
	ex.sql.publish = "SELECT set_config('synchronous_commit', 'off', true), pg_notify('" + ex.channel + "', '" + ex.self + "')"
	ex.sql.publishAtOnce = ex.sql.publish + ", set_config('lock_timeout', '1ms', true)"
	return nil
}

type queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// missingMigrations are those that the store lacks.
func missingMigrations(ctx context.Context, q queryer, schema string, apply bool) ([]sqlstore.Migration, error) {
	at, err := schemaVersion(ctx, q, schema)
	if err != nil {
		return nil, err
	}
	return sqlstore.Missing(Migrations(), at, apply)
}

// schemaVersion is the number of the store's last migration; 0: none.
func schemaVersion(ctx context.Context, q queryer, schema string) (at int, err error) {
	// Not by to_regclass: it may answer from a cache of before the lock.
	var exists bool
	if err := q.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'migration')", schema).
		Scan(&exists); err != nil || !exists {
		return 0, err
	}
	err = q.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM "+pgx.Identifier{schema}.Sanitize()+".migration").Scan(&at)
	return at, err
}

// migrateLock is the advisory lock that migrations of any schema hold.
const migrateLock = 0x6576656e746f // "evento"

func migrate(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrateLock)); err != nil {
			return err
		}
		missing, err := missingMigrations(ctx, tx, schema, true)
		if err != nil {
			return err
		}
		quoted := pgx.Identifier{schema}.Sanitize()
		var exists bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema).Scan(&exists); err != nil {
			return err
		}
		if !exists { // who may not make schemas can be given one
			if _, err := tx.Exec(ctx, "CREATE SCHEMA "+quoted); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, strings.ReplaceAll(makeMigrations, "SCHEMA.", quoted+".")); err != nil {
			return err
		}
		for _, m := range missing {
			// Without parameters a text of many statements is sent as it is.
			if _, err := tx.Conn().PgConn().Exec(ctx, strings.ReplaceAll(m.Text, "SCHEMA.", quoted+".")).ReadAll(); err != nil {
				return fmt.Errorf("migration %s: %w", m.Name, err)
			}
			if _, err := tx.Exec(ctx, "INSERT INTO "+quoted+".migration (version) VALUES ($1)", m.Number); err != nil {
				return err
			}
		}
		return nil
	})
}

// readHead is the position of the last event.
func (ex *Executor) readHead(ctx context.Context) (int64, error) {
	var head int64
	err := ex.db(ctx).QueryRow(ctx, ex.sql.head).Scan(&head)
	if err != nil && errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("%w store: its counter is missing", evento.ErrInvalid)
	}
	if err == nil {
		ex.noteHead(head)
	}
	return head, err
}
