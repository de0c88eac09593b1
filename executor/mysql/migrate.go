// Making and migrating the tables.

package mysql

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migrations returns the SQL files that make the tables, for those who run
// migrations with a tool of their own: NNNN_name.sql, to be applied in order.
// After each, its number is recorded:
//
//	CREATE TABLE IF NOT EXISTS evento_migration (version INT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL) ENGINE=InnoDB;
//	INSERT INTO evento_migration VALUES (NNNN, UNIX_TIMESTAMP());
func Migrations() fs.FS { return sqlstore.Folder(migrationFiles) }

const makeMigrations = "CREATE TABLE IF NOT EXISTS evento_migration (version INT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL) ENGINE=InnoDB"

// Script returns [Migrations] as one text, which makes a store in a database
// that has none. Definitions of tables are not part of a transaction.
func Script() (string, error) {
	return sqlstore.Script(Migrations(), makeMigrations, "%sINSERT INTO evento_migration VALUES (%d, UNIX_TIMESTAMP());\n")
}

// Migrate brings the tables of a database up to this version of the library.
// [Open] and [New] do so by themselves, unless Options.NoMigrate is set. It is
// safe to call from many processes at once.
//
// Errors: [evento.ErrNewerStore], [evento.ErrReadOnly], else the server's.
func Migrate(ctx context.Context, db *sql.DB) error {
	if db == nil {
		return fmt.Errorf("%w mysql database: nil", evento.ErrInvalid)
	}
	s, err := newSession(ctx, db)
	if err == nil {
		_, err = s.server(ctx)
		if err == nil {
			err = s.migrate(ctx, true)
		}
		s.close()
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return store.Errorf("mysql: migrate: %w", classify(err))
}

// statements splits a file where a line ends in a semicolon.
func statements(text string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ";\n") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func (s *session) migrate(ctx context.Context, apply bool) error {
	missing, err := s.missing(ctx, apply)
	if err != nil || len(missing) == 0 {
		return err // no lock is needed
	}
	if err := s.lockMigrations(ctx); err != nil {
		return err
	}
	err = s.applyMigrations(ctx)
	// The lock belongs to the connection: when it is lost, so is the lock.
	if !s.broken {
		if e := s.run(ctx, "DO RELEASE_LOCK("+migrationLock+")"); err == nil {
			err = e
		}
	}
	return err
}

// migrationLock is a lock of the whole server, hence the database in its name.
const migrationLock = "CONCAT('evento.migrate.', MD5(DATABASE()))"

func (s *session) lockMigrations(ctx context.Context) error {
	for {
		var got *int64
		if _, err := s.row(ctx, "SELECT GET_LOCK("+migrationLock+", 60)", nil, &got); err != nil {
			return err
		}
		if got != nil && *got == 1 {
			return nil
		}
	}
}

// applyMigrations runs with the lock: another process may have been faster.
func (s *session) applyMigrations(ctx context.Context) error {
	missing, err := s.missing(ctx, true)
	if err != nil {
		return err
	}
	if err := s.run(ctx, makeMigrations); err != nil {
		return err
	}
	for _, m := range missing {
		for _, text := range statements(m.Text) {
			if err := s.run(ctx, text); err != nil {
				return fmt.Errorf("migration %s: %w", m.Name, err)
			}
		}
		if _, err := s.exec(ctx, "INSERT INTO evento_migration (version, applied_at) VALUES (?, ?)", m.Number, time.Now().Unix()); err != nil {
			return err
		}
	}
	return nil
}

// missing are the migrations that the store lacks.
func (s *session) missing(ctx context.Context, apply bool) ([]sqlstore.Migration, error) {
	at, err := s.schemaVersion(ctx)
	if err != nil {
		return nil, err
	}
	return sqlstore.Missing(Migrations(), at, apply)
}

// schemaVersion is the number of the last migration; 0: none.
func (s *session) schemaVersion(ctx context.Context) (int, error) {
	found, err := s.row(ctx, "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'evento_migration'", nil, new(int64))
	if err != nil || !found {
		return 0, err
	}
	var v int
	_, err = s.row(ctx, "SELECT COALESCE(MAX(version), 0) FROM evento_migration", nil, &v)
	return v, err
}
