package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
)

// openStore opens the store that a URL names.
func openStore(ctx context.Context, url string) (evento.Executor, error) {
	scheme, rest, found := strings.Cut(url, ":")
	switch {
	case url == "":
		return nil, usageError{fmt.Errorf("%w store: none is given; use --store", evento.ErrInvalid)}
	case found && (scheme == "postgres" || scheme == "postgresql"):
		return postgres.Open(ctx, url, nil)
	case found && scheme == "mysql":
		return mysql.Open(ctx, rest, nil)
	case found && scheme == "pebble":
		return pebble.Open(ctx, rest, nil)
	case found && scheme == "sqlite":
		return sqlite.Open(ctx, rest, nil)
	}
	return sqlite.Open(ctx, url, nil)
}
