// The read model: accounts as rows of an SQL table, for lists and sums. A
// subscription updates it.

package bank

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// Balances is the read model. It is safe for concurrent use.
type Balances struct {
	db     *sql.DB
	change *sql.Stmt
	order  *cursor.Keyset[Balance]
}

// Balance is a row of it.
type Balance struct {
	Number, Owner string
	Status        string // open, frozen or closed
	Balance       Money
	InFlight      Money
}

// balancesSchema stores numbers and owners as blobs: any bytes, in their order. The
// version is that of the last event applied to the row.
const balancesSchema = `CREATE TABLE IF NOT EXISTS bank_balances (
	number    BLOB    NOT NULL PRIMARY KEY,
	id        TEXT    NOT NULL UNIQUE,
	version   INTEGER NOT NULL,
	owner     BLOB    NOT NULL,
	status    TEXT    NOT NULL,
	balance   INTEGER NOT NULL,
	in_flight INTEGER NOT NULL
) STRICT`

// changeBalance does not change a row that already contains the event.
const changeBalance = `UPDATE bank_balances
	SET status = coalesce(nullif(?, ''), status), balance = balance + ?, in_flight = in_flight + ?, version = ?
	WHERE id = ? AND version < ?`

// OpenBalances opens the read model in the SQLite file at path, which may also
// contain the events.
func OpenBalances(ctx context.Context, path string) (*Balances, error) {
	// Rows need no sync of their own (synchronous = FULL): the subscription stores
	// its cursor after them in the same file, which syncs them too.
	db, err := driver.Open(path, func(c *sqlite3.Conn) error {
		return c.Exec("PRAGMA busy_timeout = 10000; PRAGMA synchronous = NORMAL")
	})
	if err != nil {
		return nil, fmt.Errorf("opening the read model: %w", err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, balancesSchema); err != nil {
		return nil, fmt.Errorf("making the read model: %w", errors.Join(err, db.Close()))
	}
	change, err := db.PrepareContext(ctx, changeBalance)
	if err != nil {
		return nil, fmt.Errorf("opening the read model: %w", errors.Join(err, db.Close()))
	}
	return &Balances{
		db:     db,
		change: change,
		order: cursor.NewKeyset(cursor.SQLite,
			cursor.Asc("number", func(b Balance) []byte { return []byte(b.Number) })),
	}, nil
}

// Close releases the database.
func (m *Balances) Close() error { return errors.Join(m.change.Close(), m.db.Close()) }

// Subscription returns the subscription that updates the read model, to be started,
// or executed once. After a crash an event may come twice, so each row has the
// version of its last event.
func (m *Balances) Subscription() *evento.SubscriptionBuilder {
	return evento.NewSubscription("bank-balances").Lease(Lease).Handler(
		evento.Handle(m.opened),
		changes(m, func(AccountFrozen) change { return change{status: "frozen"} }),
		changes(m, func(AccountUnfrozen) change { return change{status: "open"} }),
		changes(m, func(AccountClosed) change { return change{status: "closed"} }),
		changes(m, func(e MoneyDeposited) change { return change{balance: e.Amount} }),
		changes(m, func(e MoneyWithdrawn) change { return change{balance: -e.Amount} }),
		changes(m, func(e TransferSent) change { return change{balance: -e.Amount, inFlight: e.Amount} }),
		changes(m, func(e TransferReceived) change { return change{balance: e.Amount} }),
		changes(m, func(e TransferCompleted) change { return change{inFlight: -e.Amount} }),
		changes(m, func(e TransferReturned) change { return change{balance: e.Amount, inFlight: -e.Amount} }),
	)
}

func (m *Balances) opened(ctx context.Context, e evento.Event[AccountOpened]) error {
	_, err := m.db.ExecContext(ctx,
		`INSERT INTO bank_balances (number, id, version, owner, status, balance, in_flight)
		VALUES (?, ?, ?, ?, 'open', 0, 0) ON CONFLICT DO NOTHING`,
		[]byte(e.Data.Number), e.AggregateID, e.Version, []byte(e.Data.Owner))
	return err
}

// change is what an event changes in a row.
type change struct {
	status            string // "": unchanged
	balance, inFlight Money  // added
}

func changes[D evento.Payload](m *Balances, of func(D) change) evento.SubscriptionHandler {
	return evento.Handle(func(ctx context.Context, e evento.Event[D]) error {
		c := of(e.Data)
		_, err := m.change.ExecContext(ctx, c.status, c.balance, c.inFlight, e.Version, e.AggregateID, e.Version)
		return err
	})
}

// Page returns a page of accounts, ordered by number.
func (m *Balances) Page(ctx context.Context, args cursor.Args) (*cursor.Page[Balance], error) {
	return m.order.Read(ctx, m.db, args, scanBalance,
		"SELECT number, owner, status, balance, in_flight FROM bank_balances")
}

func scanBalance(row cursor.Row) (b Balance, err error) {
	var number, owner []byte
	err = row.Scan(&number, &owner, &b.Status, &b.Balance, &b.InFlight)
	b.Number, b.Owner = string(number), string(owner)
	return b, err
}
