// The database: events and read model in one SQLite file.

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
)

// lease is how long a program that was killed within a subscription keeps it from
// the next one, which logs that it waits. Whoever starts a program by hand does not
// want to wait for long; a service keeps the default of 15 seconds, which leaves a
// process that is halted for a while its work.
const lease = 2 * time.Second

// store is an open database.
type store struct {
	ex       evento.Executor
	bank     *Bank
	balances *Balances
}

// openStore opens the file at path, making it if there is none.
func openStore(ctx context.Context, path string) (*store, error) {
	ex, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	balances, err := OpenBalances(ctx, path)
	if err != nil {
		return nil, errors.Join(err, ex.Close())
	}
	return &store{ex: ex, bank: NewBank(ex), balances: balances}, nil
}

// openExisting opens the file at path to read from it.
func openExisting(ctx context.Context, path string) (*store, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no database %s", show(path))
	}
	return openStore(ctx, path)
}

func (s *store) close() error {
	return errors.Join(s.balances.Close(), s.ex.Close())
}
