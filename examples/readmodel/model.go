// The read model: a table of the application's own, which a subscription fills.

package main

import (
	"context"
	"errors"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

const Account evento.AggregateType = "bank/Account"

type (
	Opened    struct{ Owner string }
	Deposited struct{ Cents int64 }
)

func (Opened) AggregateType() evento.AggregateType    { return Account }
func (Opened) EventName() string                      { return "Opened" }
func (Deposited) AggregateType() evento.AggregateType { return Account }
func (Deposited) EventName() string                   { return "Deposited" }

// model is a version of the read model: its table, and how events change it. The statements
// are the same on SQLite and PostgreSQL: parameters are $1, $2, … in the order in which they
// come.
type model struct {
	key       string // of the subscription
	table     string
	columns   string
	opened    string // parameters: id, owner
	deposited string // parameters: cents, id
}

var (
	balances1 = model{
		key:       "balances-1",
		table:     "balances1",
		columns:   "id TEXT PRIMARY KEY, owner TEXT NOT NULL, cents BIGINT NOT NULL",
		opened:    "INSERT INTO balances1 (id, owner, cents) VALUES ($1, $2, 0)",
		deposited: "UPDATE balances1 SET cents = cents + $1 WHERE id = $2",
	}
	// The new version also counts the deposits.
	balances2 = model{
		key:       "balances-2",
		table:     "balances2",
		columns:   "id TEXT PRIMARY KEY, owner TEXT NOT NULL, cents BIGINT NOT NULL, deposits BIGINT NOT NULL",
		opened:    "INSERT INTO balances2 (id, owner, cents, deposits) VALUES ($1, $2, 0, 0)",
		deposited: "UPDATE balances2 SET cents = cents + $1, deposits = deposits + 1 WHERE id = $2",
	}
)

// create makes the table, with the index that its pages are read by.
func (m model) create(ctx context.Context, db *database) error {
	return db.InTx(ctx, func(ctx context.Context) error {
		return errors.Join(
			db.exec(ctx, "CREATE TABLE "+m.table+" ("+m.columns+")"),
			db.exec(ctx, "CREATE INDEX "+m.table+"_richest ON "+m.table+" (cents DESC, id)"))
	})
}

// subscription fills the table. As it is transactional, what its handlers write is stored
// together with its place among the events, so each event changes the table exactly once.
func (m model) subscription(db *database) *evento.SubscriptionBuilder {
	return evento.NewSubscription(m.key).Transactional().Handler(
		evento.Handle(func(ctx context.Context, e evento.Event[Opened]) error {
			return db.exec(ctx, m.opened, e.AggregateID, e.Data.Owner)
		}),
		evento.Handle(func(ctx context.Context, e evento.Event[Deposited]) error {
			return db.exec(ctx, m.deposited, e.Data.Cents, e.AggregateID)
		}),
	)
}

// reset empties the table and sends the subscription back to the first event, both or
// neither. The table is locked first: what a worker has in hand is then either in it, and
// goes with it, or comes to nothing, as the place that it belongs to is another.
func (m model) reset(ctx context.Context, db *database) error {
	return db.InTx(ctx, func(ctx context.Context) error {
		if err := db.exec(ctx, db.empty+m.table); err != nil {
			return err
		}
		return evento.ControlOf(db, m.key).ResetToStart(ctx)
	})
}

// caughtUp waits until the table has everything that is stored now.
func (m model) caughtUp(ctx context.Context, db *database) error {
	status, err := evento.ControlOf(db, m.key).Status(ctx)
	if err != nil {
		return err
	}
	return evento.WaitFor(ctx, db, m.key, status.Head)
}

// Balance is a row of the view balances, by which the application reads the model that is in
// use.
type Balance struct {
	ID, Owner string
	Cents     int64
}

// richest is the order of the pages: the ids make it unique.
func richest(dialect cursor.Dialect) *cursor.Keyset[Balance] {
	return cursor.NewKeyset(dialect,
		cursor.Desc("cents", func(b Balance) int64 { return b.Cents }),
		cursor.Asc("id", func(b Balance) string { return b.ID }))
}

// readPage reads a page of balances.
func readPage(ctx context.Context, db *database, args cursor.Args) (*cursor.Page[Balance], error) {
	scan := func(row cursor.Row) (b Balance, err error) {
		return b, row.Scan(&b.ID, &b.Owner, &b.Cents)
	}
	return db.richest.Read(ctx, db.sql, args, scan, "SELECT id, owner, cents FROM balances")
}
