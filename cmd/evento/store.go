// Stores by their URLs.

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/internal/sqlstore"
)

// storeVariable is the environment variable with the store's URL. The help does not
// show it as the flag's default, as it may contain a password.
const storeVariable = "EVENTO_STORE"

const storeUsage = "`URL` of the store: sqlite:FILE or FILE, pebble:DIR, postgres://…, mysql:DSN or mysql://…, nats://… (default $" + storeVariable + ")"

// access is what a command does with a store.
// Why: docs/decisions.md, "Looking changes nothing".
type access int

const (
	// looking changes nothing: it neither creates nor migrates the store.
	looking access = iota
	// changing changes the contents of an existing store.
	changing
	// creating creates and migrates the store if necessary.
	creating
)

type storeKind string

const (
	sqliteStore   storeKind = "sqlite"
	pebbleStore   storeKind = "pebble"
	postgresStore storeKind = "postgres"
	mysqlStore    storeKind = "mysql"
	natsStore     storeKind = "nats"
)

// address is a parsed URL of a store.
type address struct {
	kind storeKind
	// place is a path, a URI of SQLite, a PostgreSQL URL, a MySQL DSN or the URLs of
	// servers of NATS.
	place string
	// path is where the file or directory of an embedded store is. It is fixed if the
	// URI says how it is opened, and never made then.
	path  string
	fixed bool
	// schema is PostgreSQL's.
	schema string
	// nats is what else there is of a store on NATS.
	nats natsPlace
	// shown is the URL without a password, for printing.
	shown string
}

func (a address) String() string { return printable.Text(a.shown) }

// open opens the store. Only creating makes one that is missing.
func (a address) open(ctx context.Context, how access) (ex evento.Executor, err error) {
	switch missing := a.checkThere(); {
	case errors.Is(missing, errMissing) && how == creating:
		var undo func() error
		if undo, err = a.makePrivate(); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, undo())
			}
		}()
	case missing != nil:
		return nil, missing
	}
	if how != creating {
		if err := a.checkSchema(ctx); err != nil {
			return nil, err
		}
	}
	switch a.kind {
	case sqliteStore:
		return opened(sqlite.Open(ctx, a.place, &sqlite.Options{NoMigrate: how != creating, ReadOnly: how == looking}))
	case pebbleStore:
		return opened(pebble.Open(ctx, a.place, &pebble.Options{ReadOnly: how == looking}))
	case postgresStore:
		// It must be possible to inspect and repair a store whose settings may lose
		// events; doctor reports them. On MySQL, AllowLoss also avoids the small
		// commits that make what is read durable.
		return opened(postgres.Open(ctx, a.place, &postgres.Options{Schema: a.schema, NoMigrate: how != creating, AllowLoss: how != creating}))
	case natsStore:
		return a.openNATS(ctx, how)
	default:
		return opened(mysql.Open(ctx, a.place, &mysql.Options{NoMigrate: how != creating, AllowLoss: how != creating}))
	}
}

// makePrivate makes the place of a new store for its owner alone, as events hold
// personal data: the executors would leave that to the umask. undo removes what is
// still empty.
func (a address) makePrivate() (undo func() error, err error) {
	if a.kind == pebbleStore {
		undo = func() error { _ = os.Remove(a.path); return nil } // it may have become a store meanwhile
		return undo, os.MkdirAll(a.path, privateDirectory)
	}
	if a.fixed {
		return func() error { return nil }, nil
	}
	f, err := os.OpenFile(a.path, os.O_RDWR|os.O_CREATE, privateFile)
	if err != nil {
		return nil, err
	}
	undo = func() error {
		if info, err := os.Stat(a.path); err != nil || info.Size() > 0 {
			return err
		}
		return os.Remove(a.path)
	}
	return undo, f.Close()
}

// Permissions of what the command makes.
const (
	privateFile      = 0o600
	privateDirectory = 0o700
)

// inspect opens a store for queries about its database; nil for Pebble and NATS,
// which have no SQL.
func (a address) inspect() (*sqlstore.Inspector, error) {
	switch a.kind {
	case sqliteStore:
		return sqlite.Inspect(a.place)
	case postgresStore:
		return postgres.Inspect(a.place, a.schema)
	case mysqlStore:
		return mysql.Inspect(a.place)
	}
	return nil, nil
}

// opened returns a nil interface, and not one with a nil pointer in it, after an
// error.
func opened[E evento.Executor](ex E, err error) (evento.Executor, error) {
	if err != nil {
		return nil, err
	}
	return ex, nil
}

var errMissing = errors.New("there is no such store")

func (a address) missing() error {
	return fmt.Errorf("%w; evento migrate up --store %s makes one", errMissing, a)
}

// checkThere refuses a path that does not exist: opening would create it.
func (a address) checkThere() error {
	if a.kind != sqliteStore && a.kind != pebbleStore {
		return nil
	}
	info, err := os.Stat(a.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return a.missing()
	case err != nil:
		return err
	case a.kind == sqliteStore && info.IsDir():
		return fmt.Errorf("it is a directory: a SQLite store is a file; for one of Pebble write %s", printable.Text("pebble:"+a.path))
	case a.kind == pebbleStore && !info.IsDir():
		return fmt.Errorf("it is not a directory: for a SQLite store write %s", printable.Text("sqlite:"+a.path))
	case a.kind == sqliteStore && !info.Mode().IsRegular(): // opening a pipe would wait for its other side
		return errors.New("it is no file, but a pipe, a device or a socket")
	}
	return nil
}

// checkSchema returns an error that says what to do if the store's schema is old.
func (a address) checkSchema(ctx context.Context) error {
	if a.kind == natsStore {
		status, err := a.status(ctx)
		if err != nil {
			return err
		}
		return a.checkVersion(status.At, status.Latest)
	}
	in, err := a.inspect()
	if err != nil || in == nil {
		return err
	}
	at, latest, err := in.Version(ctx)
	if err := errors.Join(err, in.Close()); err != nil {
		return err
	}
	return a.checkVersion(at, latest)
}

func (a address) checkVersion(at, latest int) error {
	switch {
	case at == 0 && a.kind == natsStore:
		return a.missing()
	case at == 0:
		return fmt.Errorf("it holds no evento store; evento migrate up --store URL makes one in it")
	case at < latest:
		return fmt.Errorf("the store is at migration %d of %d; bring it up to date with evento migrate up --store URL", at, latest)
	case at > latest:
		return fmt.Errorf("%w: it is at migration %d, this command knows %d: use a newer one", evento.ErrNewerStore, at, latest)
	}
	return nil
}
