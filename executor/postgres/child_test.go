package postgres_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
)

// childSchema is set in the environment of a process that is a writer of
// TestProcesses.
const childSchema = "EVENTO_TEST_CHILD_SCHEMA"

// child commits by many goroutines until its standard input ends. It prints
// what is acknowledged, as "ack NUMBER POSITION", and what a tail of its own
// sees, as "saw POSITION NUMBER".
func child(schema string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var first int
	if _, err := fmt.Sscan(os.Getenv("EVENTO_TEST_CHILD_FIRST"), &first); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(os.Getenv("EVENTO_TEST_POSTGRES"))
	if err != nil {
		return err
	}
	config.MaxConns = 6
	config.ConnConfig.RuntimeParams["application_name"] = fmt.Sprint("child-", first)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	ex, err := postgres.New(ctx, pool, &postgres.Options{Schema: schema})
	if err != nil {
		return err
	}
	defer func() { _ = ex.Close() }()
	lines := make(chan string)
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		for line := range lines {
			_, _ = os.Stdout.WriteString(line + "\n") // whole, also when killed
		}
	}()
	tail := evento.NewSubscription(fmt.Sprint("tail-", first)).Handler(evento.Handle(func(_ context.Context, e evento.Event[happened]) error {
		lines <- fmt.Sprint("saw ", e.Position, " ", e.Data.N)
		return nil
	}))
	sub, err := tail.Start(ctx, ex)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	wg.Go(func() {
		defer close(stop)
		for commands := bufio.NewScanner(os.Stdin); commands.Scan(); { // "hold"
			if err := ex.InTx(ctx, func(ctx context.Context) error {
				if _, err := postgres.Tx(ctx).Exec(ctx, "SELECT FROM "+schema+".counter FOR UPDATE"); err != nil {
					return err
				}
				lines <- "holding"
				commands.Scan() // "release"
				return nil
			}); err != nil {
				failed.Store(&err)
			}
		}
	})
	var next atomic.Int64
	for w := range 6 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := first + int(next.Add(1)) - 1
				b := evento.Aggregate(fmt.Sprint("a-", w)).AnyVersion().Event(happened{n})
				var r evento.Receipt
				var err error
				if w%2 == 0 {
					r, err = b.Commit(ctx, ex)
				} else {
					err = ex.InTx(ctx, func(ctx context.Context) error {
						if _, err := b.Commit(ctx, ex); err != nil {
							return err
						}
						return effect(ctx, schema, n)
					})
				}
				if err != nil {
					failed.Store(&err)
					return
				}
				lines <- fmt.Sprint("ack ", n, " ", r.Position)
			}
		})
	}
	wg.Wait()
	// What it has committed is seen before it ends.
	if err := sub.Shutdown(ctx); err != nil {
		return err
	}
	err = tail.Execute(ctx, ex)
	close(lines)
	<-printed
	if e := failed.Load(); e != nil {
		return *e
	}
	return err
}
