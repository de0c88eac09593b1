// Stores by their URLs.

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/sqlstore"
)

// storeVariable is the environment variable with the store's URL. The help does not
// show it as the flag's default, as it may contain a password.
const storeVariable = "EVENTO_STORE"

const storeUsage = "`URL` of the store: sqlite:FILE or FILE, pebble:DIR, postgres://…, mysql:DSN or mysql://… (default $" + storeVariable + ")"

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
)

// address is a parsed URL of a store.
type address struct {
	kind storeKind
	// place is a path, a PostgreSQL URL or a MySQL DSN.
	place string
	// schema is PostgreSQL's.
	schema string
	// shown is the URL without a password, for printing.
	shown string
}

// scheme matches the scheme of a URL; a single letter may be a drive.
var scheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]+):`)

// parseStore parses the value of --store or, if it is "", of the environment
// variable. Its errors contain nothing that may be a password.
func parseStore(text string) (address, error) {
	if text == "" {
		text = os.Getenv(storeVariable)
	}
	if text == "" {
		return address{}, usagef("which store? Give --store URL or set %s: sqlite:FILE, pebble:DIR, postgres://… or mysql:DSN", storeVariable)
	}
	name, rest := "", text
	if m := scheme.FindStringSubmatch(text); m != nil {
		name, rest = strings.ToLower(m[1]), text[len(m[0]):]
	}
	switch name {
	case "sqlite", "pebble":
		path := strings.TrimPrefix(rest, "//")
		if path == "" {
			return address{}, usagef("store %s: has no path behind it: %s:PATH", name, name)
		}
		return address{kind: storeKind(name), place: path, shown: name + ":" + path}, nil
	case "postgres", "postgresql":
		return parsePostgres(text)
	case "mysql", "mariadb":
		return parseMySQL(rest)
	case "":
		return address{kind: sqliteStore, place: text, shown: "sqlite:" + text}, nil
	}
	return address{}, usagef("store: there is no kind %s: use sqlite:FILE (for a file with a colon in its name too), pebble:DIR, postgres://… or mysql:DSN", show(name))
}

func parsePostgres(text string) (address, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" && u.RawQuery == "" && u.Path == "" {
		return address{}, usagef("store: not a URL of the form postgres://user:password@host:port/database?schema=evento; what is special in a password has to be written with %%XX")
	}
	q := u.Query()
	schema := q.Get("schema")
	q.Del("schema") // the server does not know it
	u.RawQuery = q.Encode()
	shown := "postgres://" + u.User.Username() + "@" + u.Host + u.Path
	if schema != "" {
		shown += "?schema=" + url.QueryEscape(schema)
	}
	return address{kind: postgresStore, place: u.String(), schema: schema, shown: shown}, nil
}

// parseMySQL accepts the driver's DSN, and a URL.
func parseMySQL(rest string) (address, error) {
	bad := usagef("store: neither mysql:user:password@tcp(host:3306)/database nor mysql://user:password@host:3306/database")
	dsn := rest
	if strings.HasPrefix(rest, "//") {
		u, err := url.Parse("mysql:" + rest)
		if err != nil || u.Host == "" {
			return address{}, bad
		}
		dsn = u.User.Username()
		if password, ok := u.User.Password(); ok {
			dsn += ":" + password
		}
		dsn += "@tcp(" + u.Host + ")/" + url.PathEscape(strings.TrimPrefix(u.Path, "/"))
		if u.RawQuery != "" {
			dsn += "?" + u.RawQuery
		}
	}
	user, host, database, err := mysql.ParseDSN(dsn)
	switch {
	case err != nil:
		return address{}, bad
	case database == "":
		return address{}, usagef("store: the URL names no database: mysql://user@host:3306/DATABASE")
	}
	return address{kind: mysqlStore, place: dsn, shown: "mysql://" + user + "@" + host + "/" + database}, nil
}

func (a address) String() string { return show(a.shown) }

func (a address) open(ctx context.Context, how access) (evento.Executor, error) {
	if how != creating {
		if err := a.checkThere(); err != nil {
			return nil, err
		}
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
	default:
		return opened(mysql.Open(ctx, a.place, &mysql.Options{NoMigrate: how != creating, AllowLoss: how != creating}))
	}
}

// inspect opens a store for queries about its database; nil for Pebble, which has
// neither SQL nor migrations.
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

// checkThere refuses a path that does not exist: opening would create it.
func (a address) checkThere() error {
	if a.kind != sqliteStore && a.kind != pebbleStore {
		return nil
	}
	info, err := os.Stat(a.place)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; evento migrate up --store %s makes one", errMissing, a)
	case err != nil:
		return err
	case a.kind == sqliteStore && info.IsDir():
		return fmt.Errorf("it is a directory: a SQLite store is a file; for one of Pebble write %s", show("pebble:"+a.place))
	case a.kind == pebbleStore && !info.IsDir():
		return fmt.Errorf("it is not a directory: for a SQLite store write %s", show("sqlite:"+a.place))
	}
	return nil
}

// checkSchema returns an error that says what to do if the store's schema is old.
func (a address) checkSchema(ctx context.Context) error {
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
	case at == 0:
		return fmt.Errorf("it holds no evento store; evento migrate up --store URL makes one in it")
	case at < latest:
		return fmt.Errorf("the store is at migration %d of %d; bring it up to date with evento migrate up --store URL", at, latest)
	case at > latest:
		return fmt.Errorf("%w: it is at migration %d, this command knows %d: use a newer one", evento.ErrNewerStore, at, latest)
	}
	return nil
}
