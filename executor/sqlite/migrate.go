// Making and migrating the tables.

package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migrations returns the SQL files that make the tables, for those who run
// migrations with a tool of their own: NNNN_name.sql, to be applied in order,
// each in a transaction that also records its number:
//
//	CREATE TABLE IF NOT EXISTS evento_migration (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT;
//	INSERT INTO evento_migration VALUES (NNNN, unixepoch());
func Migrations() fs.FS { return sqlstore.Folder(migrationFiles) }

const makeMigrations = "CREATE TABLE IF NOT EXISTS evento_migration (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT"

// Script returns [Migrations] as one text, which makes a store in a database
// that has none.
func Script() (string, error) {
	return sqlstore.Script(Migrations(), makeMigrations, "BEGIN;\n%sINSERT INTO evento_migration VALUES (%d, unixepoch());\nCOMMIT;\n")
}

// Migrate brings the tables of a database up to this version of the library.
// [Open] and [New] do so by themselves, unless Options.NoMigrate is set. It is
// safe to call from many processes at once.
//
// Errors: [evento.ErrNewerStore], [evento.ErrReadOnly], else SQLite's.
func Migrate(ctx context.Context, db *sql.DB) error {
	if db == nil {
		return fmt.Errorf("%w sqlite database: nil", evento.ErrInvalid)
	}
	c, err := dbSource(db)(ctx, true)
	if err != nil {
		return store.Errorf("sqlite: migrate: %w", classify(err))
	}
	err = errors.Join(prepareStore(ctx, c, true, false), c.close())
	if err != nil {
		return store.Errorf("sqlite: migrate: %w", err)
	}
	return nil
}

// minimumSQLite has the fix of a fault by which the write-ahead log could be
// reset under a reader.
var minimumSQLite = [3]int{3, 51, 3}

// prepareStore makes a connection fit to write and the tables current, or only
// fit to look at those.
func prepareStore(ctx context.Context, c *conn, migrate, look bool) error {
	c.SetInterrupt(ctx)
	defer c.SetInterrupt(context.Background())
	if err := checkVersion(c); err != nil {
		return err
	}
	if look {
		if err := c.Exec("PRAGMA query_only = ON"); err != nil {
			return explain(ctx, err)
		}
		return explain(ctx, migrateTo(c, false))
	}
	if readOnly, _ := c.ReadOnly("main"); readOnly {
		return evento.ErrReadOnly
	}
	if err := setDurable(ctx, c); err != nil {
		return explain(ctx, err)
	}
	return explain(ctx, migrateTo(c, migrate))
}

func explain(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

func checkVersion(c *conn) error {
	s, err := c.stmt("SELECT sqlite_version()")
	if err != nil {
		return explain(context.Background(), err)
	}
	s.Step()
	text := s.ColumnText(0)
	if err := c.done(s); err != nil {
		return classify(err)
	}
	var v [3]int
	for i, part := range strings.SplitN(text, ".", 3) {
		v[i], _ = strconv.Atoi(part)
	}
	if slices.Compare(v[:], minimumSQLite[:]) < 0 {
		return fmt.Errorf("SQLite %s is older than %d.%d.%d, which is needed", text, minimumSQLite[0], minimumSQLite[1], minimumSQLite[2])
	}
	return nil
}

// setDurable switches to the write-ahead log with a sync at every commit.
func setDurable(ctx context.Context, c *conn) error {
	for count := 0; ; count++ {
		err := setWAL(c)
		if !errors.Is(err, sqlite3.BUSY) || !beBusy(ctx, count) {
			if err != nil {
				return err
			}
			break
		}
	}
	// 16,000 pages, 64 MiB: a page that is written often is copied into the
	// file once instead of many times.
	return c.Exec("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 16000")
}

// setWAL does not wait for other processes by itself: SQLite returns at once.
func setWAL(c *conn) error {
	s, _, err := c.Prepare("PRAGMA journal_mode = WAL")
	if err != nil {
		return err
	}
	mode := ""
	if s.Step() {
		mode = s.ColumnText(0)
	}
	if err := errors.Join(s.Err(), s.Close()); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system or database does not support a write-ahead log (journal mode %q); a file on a local disk is needed", mode)
	}
	return nil
}

func migrateTo(c *conn, migrate bool) error {
	missing, err := missingMigrations(c, migrate)
	if err != nil || len(missing) == 0 {
		return err // no write lock is needed
	}
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := applyMigrations(c); err != nil {
		return errors.Join(err, c.Exec("ROLLBACK"))
	}
	return c.Exec("COMMIT")
}

// applyMigrations runs with the write lock: another process may have been
// faster.
func applyMigrations(c *conn) error {
	missing, err := missingMigrations(c, true)
	if err != nil {
		return err
	}
	if err := c.Exec(makeMigrations); err != nil {
		return err
	}
	for _, m := range missing {
		if err := c.Exec(m.Text); err != nil {
			return fmt.Errorf("migration %s: %w", m.Name, err)
		}
		if err := c.exec("INSERT INTO evento_migration (version, applied_at) VALUES (?, ?)", int64(m.Number), time.Now().Unix()); err != nil {
			return err
		}
	}
	return nil
}

// missingMigrations are those that the store lacks.
func missingMigrations(c *conn, apply bool) ([]sqlstore.Migration, error) {
	at, err := schemaVersion(c)
	if err != nil {
		return nil, err
	}
	return sqlstore.Missing(Migrations(), at, apply)
}

// schemaVersion is the number of the last migration; 0: none.
func schemaVersion(c *conn) (int, error) {
	_, found, err := c.query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'evento_migration'", 1)
	if err != nil || !found {
		return 0, err
	}
	v, _, err := c.query("SELECT max(version) FROM evento_migration", 1)
	return int(v[0]), err
}

func storeIdentity(ctx context.Context, c *conn) (identity [16]byte, err error) {
	err = during(ctx, c.Conn, func() error {
		s, _, err := c.Prepare("SELECT identity, again FROM evento_store WHERE id = 1")
		if err != nil {
			return err
		}
		if s.Step() {
			copy(identity[:], s.ColumnRawBlob(0))
			if !bytes.Equal(s.ColumnRawBlob(1), identity[:]) {
				err = fmt.Errorf("%w store: its identity is not what it was", evento.ErrDamaged)
			}
		} else if s.Err() == nil {
			err = errors.New("the table evento_store is empty")
		}
		return errors.Join(err, s.Err(), s.Close())
	})
	return identity, err
}
