package browser

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/evento-go/evento/console"
)

// A page whose connection was cut has after it what it has missed.
func TestLiveAfterCut(t *testing.T) {
	t.Parallel()
	ex := newStore(t, 60)
	server := newServer(t, ex, console.Options{})
	p := open(t, server.URL+"/console/events", wide)
	p.says("live, ")
	p.cut.Store(true)
	server.CloseClientConnections()
	deposit(t, ex, "account-missed", 4713)
	p.says("account-missed")
	deposit(t, ex, "account-later", 4714)
	p.says("account-later", "live, ")
	if n := eval[int](p, `[...document.querySelectorAll("[data-rows] tr")].filter((r) => /account-(missed|later)/.test(r.textContent)).length`); n != 2 {
		t.Errorf("%d rows of two events", n)
	}
}

// What is committed between the making of a page and the beginning of its stream is shown.
func TestLiveFromThePage(t *testing.T) {
	t.Parallel()
	ex := newStore(t, 60)
	server := newServer(t, ex, console.Options{})
	inner, once := server.Config.Handler, sync.Once{}
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/stream") {
			once.Do(func() { deposit(t, ex, "account-9", 4715) })
		}
		inner.ServeHTTP(w, r)
	})
	p := open(t, server.URL+"/console/events", wide)
	p.says("live, ", `{"Amount":4715}`)
}

// More pages can be open in a browser than it has connections to a server: those that nobody sees
// keep none, and catch up when they are seen again.
func TestManyPages(t *testing.T) {
	t.Parallel()
	ex := newStore(t, 60)
	address := serve(t, ex, console.Options{})
	var first *tab
	for range 8 {
		p := open(t, address+"events", wide)
		p.says("live, ")
		p.seen(false)
		p.says("not live since")
		if first == nil {
			first = p
		}
	}
	for n := range 60 { // more than a page has
		deposit(t, ex, "account-unseen", n)
	}
	first.seen(true)
	first.says("account-unseen", "live, ", "Events between these are left out")
	first.seen(false)
	first.says("not live since")
	deposit(t, ex, "account-then", 1)
	first.seen(true)
	first.says("account-then", "live, ")
	if n := eval[int](first, `[...document.querySelectorAll("[data-rows] tr")].filter((r) => r.textContent.includes("are left out")).length`); n != 1 {
		t.Errorf("%d gaps", n)
	}
}
