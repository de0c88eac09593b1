// Package console shows a store in a browser: its events, aggregates and subscriptions, what has
// failed and why, and, where it is allowed, lets somebody pause, retry and reset.
//
//	handler, err := console.Handler(ex, &console.Options{Store: "bank.db"})
//	if err != nil {
//		return err
//	}
//	mux.Handle("/console/", http.StripPrefix("/console", handler))
//
// It works on every executor, and under any prefix. It has no login: mount it behind your own, and
// decide in [Options.Allow] who may do what. `evento console --store URL` serves it alone.
package console

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/evento-go/evento"
)

// Action is what somebody wants to do.
type Action string

// The actions.
const (
	Look   Action = "look"   // at any page
	Pause  Action = "pause"  // a subscription
	Resume Action = "resume" // a subscription
	Reset  Action = "reset"  // a subscription to another place
	Retry  Action = "retry"  // parked events
	Drop   Action = "drop"   // parked events
)

// Options are the settings of [Handler]. The zero Options are the defaults.
type Options struct {
	// Store is what pages call the store, such as its URL without a password. "": "store".
	Store string
	// Allow decides whether a request may do something. It is called for every request, with
	// Look, for each button that a page may have, and again before anything is changed. While a
	// page is open it is asked each half minute, with the request of the page's stream. nil:
	// everybody may look, and nobody may change anything.
	Allow func(r *http.Request, a Action) bool
	// Projections are those whose states are shown at each version of an aggregate, see
	// [Show]. nil: payloads alone are shown.
	Projections []Projection
	// Doctor examines the store for the page of that name, for whoever may look. It is called
	// once at a time, with a context that ends after ten minutes, and not with that of a request.
	// nil: the page says that only the command can.
	Doctor func(context.Context) ([]Finding, error)
	// Logger gets what fails while pages are made. nil: [slog.Default].
	Logger *slog.Logger
}

// Finding is something that a doctor has found.
type Finding struct {
	Severity string // "error", "warning" or "note"
	Check    string
	Subject  string
	Detail   string
	Remedy   string
}

//go:embed assets templates
var files embed.FS

// console serves the pages. It is safe for concurrent use.
type console struct {
	ex    evento.Executor
	opts  Options
	pages *templates
	live  *live

	checkup   checkup
	replaying chan struct{} // is full while as many states as may be are read from many events
}

// Handler returns what serves the pages of a store, whose root is the path "/". One goroutine
// watches the store until the executor is closed.
//
// An open page has a request to /stream, which ends with the context of the request:
// [http.Server.Shutdown] waits for it, unless the server's BaseContext ends before.
//
// Errors: [evento.ErrInvalid] for the options.
func Handler(ex evento.Executor, opts *Options) (http.Handler, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if ex == nil {
		return nil, fmt.Errorf("%w console: the executor is nil", evento.ErrInvalid)
	}
	if err := checkProjections(o.Projections); err != nil {
		return nil, err
	}
	o.Store = cmp.Or(o.Store, "store")
	o.Logger = cmp.Or(o.Logger, slog.Default())
	c := &console{ex: ex, opts: o, replaying: make(chan struct{}, mostReplays)}
	pages, err := parseTemplates(c.place)
	if err != nil {
		return nil, err
	}
	c.pages, c.live = pages, newLive(ex, pages, o.Logger)
	c.live.figures = c.figures
	go c.live.run()
	return c.guard(c.routes()), nil
}

// routes are the pages. Each file has the pages of its name.
func (c *console) routes() http.Handler {
	mux := http.NewServeMux()
	for _, name := range []string{"console.css", "console.js"} {
		mux.HandleFunc("GET /assets/"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, files, "assets/"+name)
		})
	}
	mux.HandleFunc("GET /{$}", c.serve(c.overview))
	mux.HandleFunc("GET /events", c.serve(c.events))
	mux.HandleFunc("GET /events/{event}", c.serve(c.event))
	mux.HandleFunc("GET /aggregates/{type}/{id}", c.serve(c.aggregate))
	mux.HandleFunc("GET /causation/{correlation}", c.serve(c.causation))
	mux.HandleFunc("GET /subscriptions", c.serve(c.subscriptions))
	mux.HandleFunc("GET /subscriptions/{key}", c.serve(c.subscription))
	mux.HandleFunc("GET /deadlines", c.serve(c.deadlines))
	mux.HandleFunc("GET /doctor", c.serve(c.doctor))
	mux.HandleFunc("POST /doctor", c.examine)
	mux.HandleFunc("GET /go", c.find)
	mux.HandleFunc("GET /stream", c.stream)
	c.actions(mux)
	mux.HandleFunc("/", c.serve(func(r *http.Request) (*page, error) {
		return nil, notFound("There is no page %s.", r.URL.Path)
	}))
	return mux
}
