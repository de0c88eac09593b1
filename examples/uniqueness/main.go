// Command uniqueness is an example of what must be there once: an email that belongs to one
// account, and a request that a client sends twice.
//
//	go run ./examples/uniqueness                 on SQLite, in a file that is removed
//	go run ./examples/uniqueness -postgres URL   on PostgreSQL
//
// accounts.go has the emails, and requests.go the requests. It prints:
//
//	An email belongs to one account.
//	  Ada registers ada@example.org.
//	  Eve registers Ada@Example.org? No: the email is taken.
//	  Ada changes to ada@example.com.
//	  Eve registers ada@example.org.
//	  Eve changes to ada@example.com? No: the email is taken.
//	  Ada closes her account.
//	  Eve changes to ada@example.com.
//	  Ada changes to ada@example.org? No: the account is closed.
//	  20 register info@example.org at once: 1 has it, 19 are refused.
//
//	A request that is sent twice is handled once.
//	  Ben registers ben@example.org by request 1.
//	  Ben sends request 1 again.
//	    The answer is the same account: true.
//	  Ben registers ben@example.org by request 2? No: the email is taken.
//	  Ben orders a book by request 3.
//	  Ben sends request 3 again.
//	    The answer is the same order: true.
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
	"sync"
	"sync/atomic"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
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
		store, err := postgres.Open(ctx, url, nil)
		if err != nil {
			return err
		}
		return errors.Join(tellStory(ctx, store, out), store.Close())
	}
	dir, err := os.MkdirTemp("", "uniqueness")
	if err != nil {
		return err
	}
	store, err := sqlite.Open(ctx, filepath.Join(dir, "members.db"), nil)
	if err == nil {
		err = errors.Join(tellStory(ctx, store, out), store.Close())
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// narrator prints what happens. Refusals are part of it; other errors are kept.
type narrator struct {
	out io.Writer
	err error
}

func (n *narrator) say(format string, args ...any) { fmt.Fprintf(n.out, format+"\n", args...) }

func (n *narrator) tell(what string, err error) {
	switch {
	case err == nil:
		n.say("  %s.", what)
	case errors.Is(err, errTaken) || errors.Is(err, errClosed):
		n.say("  %s? No: %v.", what, err)
	default:
		n.err = errors.Join(n.err, err)
	}
}

// wantEmpty refuses a store that has events: in it the story would be another one.
func wantEmpty(ctx context.Context, ex evento.Executor) error {
	page, err := ex.Read(ctx, evento.Query{}, cursor.Forward(1, ""))
	if err == nil && len(page.Edges) > 0 {
		err = errors.New("the database has events already: take an empty one")
	}
	return err
}

func tellStory(ctx context.Context, ex evento.Executor, out io.Writer) error {
	if err := wantEmpty(ctx, ex); err != nil {
		return err
	}
	n := &narrator{out: out}
	n.emails(ctx, ex)
	n.crowd(ctx, ex)
	n.requests(ctx, ex)
	return n.err
}

func (n *narrator) emails(ctx context.Context, ex evento.Executor) {
	n.say("An email belongs to one account.")
	ada, err := register(ctx, ex, "ada@example.org")
	n.tell("Ada registers ada@example.org", err)
	_, err = register(ctx, ex, "Ada@Example.org")
	n.tell("Eve registers Ada@Example.org", err)
	n.tell("Ada changes to ada@example.com", changeEmail(ctx, ex, ada, "ada@example.com"))
	eve, err := register(ctx, ex, "ada@example.org")
	n.tell("Eve registers ada@example.org", err)
	n.tell("Eve changes to ada@example.com", changeEmail(ctx, ex, eve, "ada@example.com"))
	n.tell("Ada closes her account", closeAccount(ctx, ex, ada))
	n.tell("Eve changes to ada@example.com", changeEmail(ctx, ex, eve, "ada@example.com"))
	n.tell("Ada changes to ada@example.org", changeEmail(ctx, ex, ada, "ada@example.org"))
}

func (n *narrator) crowd(ctx context.Context, ex evento.Executor) {
	var all sync.WaitGroup
	var have, refused atomic.Int64
	for range 20 {
		all.Go(func() {
			switch _, err := register(ctx, ex, "info@example.org"); {
			case err == nil:
				have.Add(1)
			case errors.Is(err, errTaken):
				refused.Add(1)
			}
		})
	}
	all.Wait()
	n.say("  20 register info@example.org at once: %d has it, %d are refused.", have.Load(), refused.Load())
}

func (n *narrator) requests(ctx context.Context, ex evento.Executor) {
	n.say("\nA request that is sent twice is handled once.")
	registerOnce := func(request string) (id string, err error) {
		return once(ctx, ex, request, func(ctx context.Context, d evento.Executor) (string, error) {
			return register(ctx, d, "ben@example.org")
		})
	}
	ben, err := registerOnce("request 1")
	n.tell("Ben registers ben@example.org by request 1", err)
	again, err := registerOnce("request 1")
	n.tell("Ben sends request 1 again", err)
	n.say("    The answer is the same account: %t.", again == ben)
	_, err = registerOnce("request 2")
	n.tell("Ben registers ben@example.org by request 2", err)

	first, err := order(ctx, ex, "request 3", ben, "a book")
	n.tell("Ben orders a book by request 3", err)
	second, err := order(ctx, ex, "request 3", ben, "a book")
	n.tell("Ben sends request 3 again", err)
	n.say("    The answer is the same order: %t.", second == first)
}
