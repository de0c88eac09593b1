// The database: events and read model in one SQLite file.

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/examples/bank/bank"
	"github.com/evento-go/evento/executor/sqlite"
)

// store is an open database.
type store struct {
	ex       evento.Executor
	bank     *bank.Bank
	balances *bank.Balances
}

// openStore opens the file at path, and creates it if it does not exist.
func openStore(ctx context.Context, path string) (*store, error) {
	ex, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	balances, err := bank.OpenBalances(ctx, path)
	if err != nil {
		return nil, errors.Join(err, ex.Close())
	}
	return &store{ex: ex, bank: bank.New(ex), balances: balances}, nil
}

// openExisting opens an existing file at path for reading.
func openExisting(ctx context.Context, path string) (*store, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no database %s", bank.Show(path))
	}
	return openStore(ctx, path)
}

func (s *store) close() error {
	return errors.Join(s.balances.Close(), s.ex.Close())
}
