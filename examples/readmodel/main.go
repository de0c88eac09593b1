// Command readmodel is an example of a read model in SQL: a table that a subscription fills
// exactly once, that is read in pages, and built anew.
//
//	go run ./examples/readmodel                 on SQLite, in a file that is removed
//	go run ./examples/readmodel -postgres URL   on PostgreSQL
//
// model.go has the read model, and database.go what differs between the two. It prints:
//
//	Seven accounts, the richest first:
//	  page 1: Cleo 4500, Finn 4500, Dan 2500, …
//	  page 2: Eve 2500, Ben 1500, Grace 1500, …
//	  page 3: Ada 500, and no more
//
//	Somebody has damaged the table:
//	  page 1: Ada 0, Ben 0, Cleo 0, …
//	  page 2: Dan 0, Eve 0, Finn 0, …
//	  page 3: Grace 0, and no more
//	It is reset, and filled again from the events:
//	  page 1: Cleo 4500, Finn 4500, Dan 2500, …
//	  page 2: Eve 2500, Ben 1500, Grace 1500, …
//	  page 3: Ada 500, and no more
//
//	A new version was built beside it, and has taken its place. It counts 15 deposits:
//	  page 1: Cleo 4500, Finn 4500, Hugo 4200, …
//	  page 2: Dan 2500, Eve 2500, Ben 1500, …
//	  page 3: Grace 1500, Ada 500, and no more
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func main() {
	url := flag.String("postgres", "", "the `URL` of an empty database of PostgreSQL")
	flag.Parse()
	if err := run(context.Background(), *url, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run tells the story on PostgreSQL or, without a URL, on SQLite.
func run(ctx context.Context, url string, out io.Writer) error {
	if url != "" {
		db, err := openPostgres(ctx, url)
		if err != nil {
			return err
		}
		return errors.Join(tellStory(ctx, db, out), db.close())
	}
	dir, err := os.MkdirTemp("", "readmodel")
	if err != nil {
		return err
	}
	db, err := openSQLite(ctx, filepath.Join(dir, "bank.db"))
	if err == nil {
		err = errors.Join(tellStory(ctx, db, out), db.close())
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// wantEmpty refuses a store that has events: in it the story would be another one.
func wantEmpty(ctx context.Context, ex evento.Executor) error {
	page, err := ex.Read(ctx, evento.Query{}, cursor.Forward(1, ""))
	if err == nil && len(page.Edges) > 0 {
		err = errors.New("the database has events already: take an empty one")
	}
	return err
}

func tellStory(ctx context.Context, db *database, out io.Writer) error {
	if err := wantEmpty(ctx, db); err != nil {
		return err
	}
	first, err := fill(ctx, db, out)
	if err != nil {
		return err
	}
	if err := resetIt(ctx, db, out); err != nil {
		return err
	}
	return replace(ctx, db, first, out)
}

// fill starts the subscription, commits events, and reads the table page by page.
func fill(ctx context.Context, db *database, out io.Writer) (*evento.Subscription, error) {
	if err := balances1.create(ctx, db); err != nil {
		return nil, err
	}
	if _, err := db.sql.ExecContext(ctx, "CREATE VIEW balances AS SELECT id, owner, cents FROM balances1"); err != nil {
		return nil, err
	}
	first, err := balances1.subscription(db).Start(ctx, db)
	if err != nil {
		return nil, err
	}
	var last evento.Receipt
	for i, owner := range []string{"Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Grace"} {
		cents := int64(i*i%7) * 10_00
		if last, err = evento.Create().Event(Opened{owner}, Deposited{cents}, Deposited{5_00}).Commit(ctx, db); err != nil {
			return nil, err
		}
	}
	// Who has just written waits for the subscription, to read what was written.
	if err := evento.WaitFor(ctx, db, balances1.key, last.Position); err != nil {
		return nil, err
	}
	fmt.Fprintln(out, "Seven accounts, the richest first:")
	return first, show(ctx, db, out)
}

// show prints the balances in pages of three.
func show(ctx context.Context, db *database, out io.Writer) error {
	for after, n := cursor.Value(""), 1; ; n++ {
		page, err := readPage(ctx, db, cursor.Forward(3, after))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  page %d:", n)
		for _, edge := range page.Edges {
			fmt.Fprintf(out, " %s %d,", edge.Node.Owner, edge.Node.Cents)
		}
		if !page.PageInfo.HasNextPage {
			fmt.Fprintln(out, " and no more")
			return nil
		}
		fmt.Fprintln(out, " …")
		after = page.PageInfo.EndCursor
	}
}

// resetIt builds the table again.
func resetIt(ctx context.Context, db *database, out io.Writer) error {
	if _, err := db.sql.ExecContext(ctx, "UPDATE balances1 SET cents = 0"); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nSomebody has damaged the table:")
	if err := show(ctx, db, out); err != nil {
		return err
	}
	if err := errors.Join(balances1.reset(ctx, db), balances1.caughtUp(ctx, db)); err != nil {
		return err
	}
	fmt.Fprintln(out, "It is reset, and filled again from the events:")
	return show(ctx, db, out)
}

// replace builds a new version of the read model beside the one that is in use, and switches
// the readers over without a gap.
func replace(ctx context.Context, db *database, first *evento.Subscription, out io.Writer) error {
	if err := balances2.create(ctx, db); err != nil {
		return err
	}
	second, err := balances2.subscription(db).Start(ctx, db)
	if err != nil {
		return err
	}
	// Events keep coming meanwhile.
	if _, err := evento.Create().Event(Opened{"Hugo"}, Deposited{42_00}).Commit(ctx, db); err != nil {
		return err
	}
	if err := balances2.caughtUp(ctx, db); err != nil {
		return err
	}
	err = db.InTx(ctx, func(ctx context.Context) error {
		return errors.Join(
			db.exec(ctx, "DROP VIEW balances"),
			db.exec(ctx, "CREATE VIEW balances AS SELECT id, owner, cents, deposits FROM balances2"))
	})
	if err != nil {
		return err
	}

	// Nobody reads the old table any more.
	if err := first.Shutdown(ctx); err != nil {
		return err
	}
	if err := evento.ControlOf(db, balances1.key).Remove(ctx); err != nil {
		return err
	}
	if _, err := db.sql.ExecContext(ctx, "DROP TABLE balances1"); err != nil {
		return err
	}

	var deposits int
	if err := db.sql.QueryRowContext(ctx, "SELECT sum(deposits) FROM balances").Scan(&deposits); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nA new version was built beside it, and has taken its place. It counts %d deposits:\n", deposits)
	return errors.Join(show(ctx, db, out), second.Shutdown(ctx))
}
