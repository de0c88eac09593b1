// Command screenshots makes the pictures of the console in docs/images: of a bank in which a few
// things have gone wrong. make screenshots runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/examples/bank/bank"
	"github.com/evento-go/evento/executor/sqlite"
)

func main() {
	to := flag.String("to", ".", "the directory of the pictures")
	browser := flag.String("browser", "chromium", "the program that draws them")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, flag.Arg(0), *to, *browser); err != nil {
		log.Fatal(err)
	}
}

// run draws the console of the store in a file that the bank has made.
func run(ctx context.Context, file, to, browser string) error {
	ex, err := sqlite.Open(ctx, file, nil)
	if err != nil {
		return err
	}
	defer func() { _ = ex.Close() }()
	poison, err := night(ctx, ex)
	if err != nil {
		return err
	}
	handler, err := console.Handler(ex, &console.Options{
		Store: "bank.db", Logger: slog.New(slog.DiscardHandler),
		Allow:       func(*http.Request, console.Action) bool { return true },
		Projections: []console.Projection{console.Show(bank.NewAccounts())},
	})
	if err != nil {
		return err
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	program, err := exec.LookPath(browser)
	if err != nil {
		return err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(ctx, options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	for name, path := range map[string]string{
		"overview":  "/",
		"aggregate": fmt.Sprintf("/aggregates/%s/%s?v=%d", "bank%2FAccount", poison.AggregateID, poison.Version),
		"poison":    fmt.Sprintf("/events/%d", poison.Position),
	} {
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(1440, 900), chromedp.Navigate(server.URL+path), chromedp.WaitReady("main")); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, "console-"+name+".png"), png, 0o644); err != nil { //nolint:gosec // a picture for everybody
			return err
		}
	}
	return nil
}

var (
	errName    = errors.New("mail: 550 5.1.1 recipient address rejected: user unknown in virtual mailbox table\nthe answer of mx.example to RCPT TO\nmailer.(*Client).Send\n\tmails/send.go:41")
	errAccount = errors.New(`POST https://ledger.example/v2/entries: 422 Unprocessable Entity: {"field":"counterparty","error":"unknown account"}`)
)

// night lets subscriptions fail: it returns an event that one of them has parked.
func night(ctx context.Context, ex evento.Executor) (poison evento.RawEvent, err error) {
	page, err := ex.Read(ctx, evento.Query{}, cursor.Backward(400, ""))
	if err != nil {
		return poison, err
	}
	for i := range page.Edges {
		if e := page.Edges[i].Node; e.Name == "TransferReceived" && e.Version > 10 {
			poison = e
			break
		}
	}
	stop := page.Edges[300].Node
	quiet := slog.New(slog.DiscardHandler)
	fails := func(at uint64, with error) evento.SubscriptionHandler {
		return evento.HandleEvery(func(_ context.Context, e evento.RawEvent) error {
			if e.Position == at {
				return with
			}
			return nil
		})
	}
	all := func(key string) *evento.SubscriptionBuilder {
		return evento.NewSubscription(key).Logger(quiet).Retry(2)
	}
	if err := all("mails").AcceptFailure().Handler(fails(poison.Position, errName)).Execute(ctx, ex); err != nil {
		return poison, err
	}
	if err := all("ledger-export").Handler(fails(stop.Position, errAccount)).Execute(ctx, ex); err == nil {
		return poison, errors.New("the export has not failed")
	}
	if err := all("fraud-scores").Handler(fails(0, nil)).Execute(ctx, ex); err != nil {
		return poison, err
	}
	return poison, evento.ControlOf(ex, "fraud-scores").Pause(ctx)
}
