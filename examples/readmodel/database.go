// What differs between SQLite and PostgreSQL.

package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/ncruces/go-sqlite3/driver"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
)

// database has the events and the tables of the application.
type database struct {
	evento.Transactor
	sql     *sql.DB // what is not part of a transaction with events
	richest *cursor.Keyset[Balance]
	// exec runs a statement in the transaction of a context: of InTx, or of a handler.
	exec func(ctx context.Context, text string, args ...any) error
	// empty is the statement that empties a table, which nobody else can write to then until
	// the transaction ends. On SQLite that is so from the beginning of InTx.
	empty string
	close func() error
}

func openSQLite(ctx context.Context, path string) (*database, error) {
	db, err := driver.Open(path)
	if err != nil {
		return nil, err
	}
	store, err := sqlite.New(ctx, db, nil)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &database{
		Transactor: store, sql: db, richest: richest(cursor.SQLite), empty: "DELETE FROM ",
		exec: func(ctx context.Context, text string, args ...any) error {
			_, err := sqlite.Tx(ctx).ExecContext(ctx, text, args...)
			return err
		},
		close: func() error { return errors.Join(store.Close(), db.Close()) },
	}, nil
}

func openPostgres(ctx context.Context, url string) (*database, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	store, err := postgres.New(ctx, pool, nil)
	if err != nil {
		pool.Close()
		return nil, err
	}
	db := stdlib.OpenDBFromPool(pool)
	return &database{
		Transactor: store, sql: db, richest: richest(cursor.PostgreSQL), empty: "TRUNCATE ",
		exec: func(ctx context.Context, text string, args ...any) error {
			_, err := postgres.Tx(ctx).Exec(ctx, text, args...)
			return err
		},
		close: func() error {
			err := errors.Join(store.Close(), db.Close())
			pool.Close()
			return err
		},
	}, nil
}
