package browser

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/executor/memory"
)

const account evento.AggregateType = "bank/Account"

// newStore has events of a few accounts.
func newStore(t *testing.T, count int) evento.Executor {
	t.Helper()
	ex := memory.New(nil)
	t.Cleanup(func() { _ = ex.Close() })
	for n := range count {
		deposit(t, ex, fmt.Sprint("account-", n%7), n)
	}
	return ex
}

func deposit(t *testing.T, ex evento.Executor, id string, amount int) {
	t.Helper()
	w := evento.Write{Appends: []evento.Append{{
		AggregateType: account, AggregateID: id, AnyVersion: true, Metadata: evento.Metadata{CorrelationID: fmt.Sprint("req-", amount/3)},
		Events: []evento.NewEvent{{ID: evento.NewID(), Name: "MoneyDeposited", Codec: "json", Data: fmt.Appendf(nil, `{"Amount":%d}`, amount)}},
	}}}
	if _, err := ex.Write(context.WithoutCancel(t.Context()), w); err != nil {
		t.Fatal(err)
	}
}

// serve serves the console of a store, and returns its address.
func serve(t *testing.T, ex evento.Executor, o console.Options) string {
	t.Helper()
	return newServer(t, ex, o).URL + "/console/"
}

func newServer(t *testing.T, ex evento.Executor, o console.Options) *httptest.Server {
	t.Helper()
	o.Store, o.Logger = "test.db", slog.New(slog.DiscardHandler)
	handler, err := console.Handler(ex, &o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/console/", http.StripPrefix("/console", handler))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// New events arrive in a page that is open, unless it is held; a filter and pages are in the URL.
func TestEventsPage(t *testing.T) {
	t.Parallel()
	ex := newStore(t, 120)
	p := open(t, serve(t, ex, console.Options{}), wide)
	p.says("All is well", "Newest events", "120")
	p.click("Events")
	p.says("Every fact", "live, ")
	deposit(t, ex, "account-live", 4711)
	p.says("account-live", "4711")
	p.click("Hold")
	deposit(t, ex, "account-held", 4712)
	p.says("Show 1 new")
	if rows := eval[int](p, `[...document.querySelectorAll("[data-rows] tr")].filter((r) => r.textContent.includes("account-held")).length`); rows != 0 {
		t.Error("a row came while the page was held")
	}
	p.click("Show 1 new")
	p.says("account-held")

	p.click("Older")
	p.says("Newer")
	p.click("Newer")
	p.do("filtering", chromedp.SendKeys("#f-type", string(account)), chromedp.SendKeys("#f-id", "account-3"+kb.Enter))
	p.until("waiting for the filter", `location.search.includes("id=account-3")`)
	p.says("17 events")
	p.check()
	p.do("without the id", chromedp.Click(`[aria-label="Without id"]`))
	p.until("waiting for the filter", `!location.search.includes("account-3")`)
}

// Who has a keyboard alone gets to an event and back.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	p := open(t, serve(t, newStore(t, 20), console.Options{}), wide)
	p.do("going to an event", chromedp.KeyEvent("/"))
	if id := eval[string](p, `document.activeElement.id`); id != "go" {
		t.Fatalf("/ leads to %q", id)
	}
	// The driver sends the character apart from the key that the page has taken.
	p.do("typing", chromedp.KeyEvent(kb.Backspace), chromedp.KeyEvent("12"+kb.Enter))
	p.says("MoneyDeposited 12", "Recorded with it")
	// The first thing that Tab leads to skips what is the same on each page.
	p.do("skipping", chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	if id := eval[string](p, `document.activeElement.id`); id != "main" {
		t.Errorf("after skipping, %q has the focus", id)
	}
	for range 30 {
		p.do("on", chromedp.KeyEvent(kb.Tab))
		if eval[bool](p, `document.activeElement.getAttribute("rel") === "next"`) {
			p.do("next", chromedp.KeyEvent(kb.Enter))
			p.says("MoneyDeposited 13")
			return
		}
	}
	t.Error("Tab does not lead to the next event")
}
