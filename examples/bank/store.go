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

// lease is how long the next program must wait for a subscription if a program was
// killed while it ran; it logs that it waits. Here it is short, as people who start
// the program by hand do not want to wait. A service keeps the default of 15
// seconds: a process that is halted for some seconds then keeps its subscription.
const lease = 2 * time.Second

// store is an open database.
type store struct {
	ex       evento.Executor
	bank     *Bank
	balances *Balances
}

// openStore opens the file at path, and creates it if it does not exist.
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

// openExisting opens an existing file at path for reading.
func openExisting(ctx context.Context, path string) (*store, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no database %s", show(path))
	}
	return openStore(ctx, path)
}

func (s *store) close() error {
	return errors.Join(s.balances.Close(), s.ex.Close())
}
