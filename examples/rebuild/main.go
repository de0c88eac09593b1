// Rebuild builds a new version of a read model while the old one is in use and
// events keep coming, and then switches over without a gap.
//
// A read model is a table (or any other place) that a subscription fills. To change
// its shape, nothing is migrated: a second subscription with its own key fills a
// new table, beginning at the first event. When it has caught up, readers are
// switched to the new table, and the old one is removed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/sqlite"
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

func main() {
	dir, err := os.MkdirTemp("", "rebuild")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), filepath.Join(dir, "bank.db"), os.Stdout)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		log.Fatal(err)
	}
}

// model is a version of the read model: its table, and how events change it. Its
// subscription is transactional, so each event is applied exactly once.
type model struct {
	key, create string
	opened      string // parameters: id, owner
	deposited   string // parameters: cents, id
}

var (
	balances1 = model{
		key:       "balances-1",
		create:    "CREATE TABLE balances1 (id TEXT PRIMARY KEY, owner TEXT NOT NULL, cents INTEGER NOT NULL)",
		opened:    "INSERT INTO balances1 (id, owner, cents) VALUES (?1, ?2, 0)",
		deposited: "UPDATE balances1 SET cents = cents + ?1 WHERE id = ?2",
	}
	// The new version also counts the deposits.
	balances2 = model{
		key:       "balances-2",
		create:    "CREATE TABLE balances2 (id TEXT PRIMARY KEY, owner TEXT NOT NULL, cents INTEGER NOT NULL, deposits INTEGER NOT NULL)",
		opened:    "INSERT INTO balances2 (id, owner, cents, deposits) VALUES (?1, ?2, 0, 0)",
		deposited: "UPDATE balances2 SET cents = cents + ?1, deposits = deposits + 1 WHERE id = ?2",
	}
)

func (m model) subscription() *evento.SubscriptionBuilder {
	exec := func(ctx context.Context, text string, args ...any) error {
		_, err := sqlite.Tx(ctx).ExecContext(ctx, text, args...)
		return err
	}
	return evento.NewSubscription(m.key).Transactional().Handler(
		evento.Handle(func(ctx context.Context, e evento.Event[Opened]) error {
			return exec(ctx, m.opened, e.AggregateID, e.Data.Owner)
		}),
		evento.Handle(func(ctx context.Context, e evento.Event[Deposited]) error {
			return exec(ctx, m.deposited, e.Data.Cents, e.AggregateID)
		}),
	)
}

func run(ctx context.Context, path string, out io.Writer) (err error) {
	store, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	exec := func(text string) error {
		return store.InTx(ctx, func(ctx context.Context) error {
			_, err := sqlite.Tx(ctx).ExecContext(ctx, text)
			return err
		})
	}

	// The first version is in use. The application reads through a view.
	if err := errors.Join(exec(balances1.create), exec("CREATE VIEW balances AS SELECT id, owner, cents FROM balances1")); err != nil {
		return err
	}
	first, err := balances1.subscription().Start(ctx, store)
	if err != nil {
		return err
	}
	for _, owner := range []string{"Ada", "Grace"} {
		if _, err := evento.Aggregate(owner).Event(Opened{owner}, Deposited{10_00}).Commit(ctx, store); err != nil {
			return err
		}
	}

	// The second version is built in parallel, beginning at the first event.
	if err := exec(balances2.create); err != nil {
		return err
	}
	second, err := balances2.subscription().Start(ctx, store)
	if err != nil {
		return err
	}
	// Events keep coming meanwhile.
	if _, err := evento.Aggregate("Ada").AnyVersion().Event(Deposited{5_00}).Commit(ctx, store); err != nil {
		return err
	}

	// When the second version has reached the present end of the log, one statement
	// switches the readers over; after it nobody reads the old table.
	head, err := store.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
	if err != nil {
		return err
	}
	if err := evento.WaitFor(ctx, store, balances2.key, head.Edges[0].Node.Position); err != nil {
		return err
	}
	err = store.InTx(ctx, func(ctx context.Context) error {
		_, err := sqlite.Tx(ctx).ExecContext(ctx, "DROP VIEW balances; CREATE VIEW balances AS SELECT id, owner, cents, deposits FROM balances2")
		return err
	})
	if err != nil {
		return err
	}

	// The first version is no longer needed.
	if err := first.Shutdown(ctx); err != nil {
		return err
	}
	if err := evento.ControlOf(store, balances1.key).Remove(ctx); err != nil {
		return err
	}
	if err := exec("DROP TABLE balances1"); err != nil {
		return err
	}

	last, err := evento.Aggregate("Grace").AnyVersion().Event(Deposited{1_00}).Commit(ctx, store)
	if err != nil {
		return err
	}
	if err := evento.WaitFor(ctx, store, balances2.key, last.Position); err != nil {
		return err
	}
	if err := show(ctx, store, out); err != nil {
		return err
	}
	return second.Shutdown(ctx)
}

// show prints what the application reads.
func show(ctx context.Context, store *sqlite.Executor, out io.Writer) error {
	return store.InTx(ctx, func(ctx context.Context) (err error) {
		rows, err := sqlite.Tx(ctx).QueryContext(ctx, "SELECT owner, cents, deposits FROM balances ORDER BY owner")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		for rows.Next() {
			var owner string
			var cents, deposits int64
			if err := rows.Scan(&owner, &cents, &deposits); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(out, "%s has %d cents of %d deposits\n", owner, cents, deposits); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}
