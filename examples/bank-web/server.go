// The server: what is started, in which order, and ended in the other.

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/examples/bank/bank"
	"github.com/evento-go/evento/executor/sqlite"
)

// patience is how long requests may take to end when the server ends.
const patience = 10 * time.Second

// serve runs the server until ctx ends.
func serve(ctx context.Context, o *options, stdout io.Writer, logger *slog.Logger) (err error) {
	path, remove, err := storePath(o.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	tel, err := newTelemetry(o.otel, logger)
	if err != nil {
		return err
	}
	defer tel.close()
	s, err := openStore(ctx, path, tel, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := openDemo(ctx, s); err != nil {
		return err
	}
	listener, err := listen(ctx, o.listen)
	if err != nil {
		return err
	}
	if o.db == "" {
		fmt.Fprintf(stdout, "The store is %s, and is removed at the end.\n", path)
	} else {
		fmt.Fprintf(stdout, "The store is %s.\n", path)
	}
	address := addressOf(listener.Addr())
	fmt.Fprintf(stdout, "The bank is open: %s/\nIts console:      %s/console/\nCtrl-C ends it.\n", address, address)
	return s.run(ctx, listener, o.traffic)
}

// storePath returns the path of the store's file, and a function that removes it if it is
// temporary.
func storePath(db string) (path string, remove func() error, err error) {
	if db != "" {
		return db, func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "bank-web")
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(dir, "bank.db"), func() error { return os.RemoveAll(dir) }, nil
}

// usualAddress is where the bank listens unless another address is given.
const usualAddress = "127.0.0.1:8080"

// listen listens at an address or, if none is given, at the usual one or any free port.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", cmp.Or(address, usualAddress))
	if address == "" && errors.Is(err, syscall.EADDRINUSE) {
		return c.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	return l, err
}

// store is the open bank: the events and the read model in one SQLite file, and what works
// on them.
type store struct {
	events   evento.Executor
	bank     *bank.Bank
	balances *bank.Balances
	tel      *telemetry
	logger   *slog.Logger
}

func openStore(ctx context.Context, path string, tel *telemetry, logger *slog.Logger) (*store, error) {
	file, err := sqlite.Open(ctx, path, &sqlite.Options{Logger: logger})
	if err != nil {
		return nil, err
	}
	balances, err := bank.OpenBalances(ctx, path)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	events := tel.executor(file)
	return &store{events: events, bank: bank.New(events), balances: balances, tel: tel, logger: logger}, nil
}

func (s *store) close() error { return errors.Join(s.balances.Close(), s.events.Close()) }

// run serves pages until ctx ends or something fails. Then requests end first, so that
// what they have done is handled; then all that works on the store; serve closes it.
func (s *store) run(parent context.Context, listener net.Listener, traffic time.Duration) error {
	ctx, fail := context.WithCancelCause(parent)
	defer fail(nil)
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	var workers sync.WaitGroup
	work := func(what string, do func(context.Context) error) {
		workers.Go(func() {
			if err := do(working); err != nil && working.Err() == nil {
				fail(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	live := newLive(s.bank, s.logger)
	work("subscriptions", s.subscriptions)
	work("live balances", live.run)
	if traffic > 0 {
		work("traffic", func(ctx context.Context) error { return makeTraffic(ctx, s.bank, traffic) })
	}

	handler, err := s.handler(ctx, live, isLoopback(listener.Addr()))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      30 * time.Second, // streams set their own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
	workers.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fail(err)
		}
	})

	<-ctx.Done()
	asked := parent.Err() != nil
	s.logger.Info("the bank closes")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err = server.Shutdown(grace)
	if err != nil { // a request takes too long
		err = errors.Join(err, server.Close())
	}
	stop()
	workers.Wait()
	if !asked {
		err = errors.Join(context.Cause(ctx), err)
	}
	return err
}

// subscriptions runs the transfer process and the read model. When another program works
// on them, such as examples/bank, they wait, and go on after it.
func (s *store) subscriptions(ctx context.Context) error {
	hooks := s.tel.hooks()
	return evento.Run(ctx, s.events,
		s.bank.Transfers().Standby().Hooks(hooks).Logger(s.logger),
		s.balances.Subscription().Standby().Hooks(hooks).Logger(s.logger))
}

// addressOf is the URL by which the bank is reached from this machine.
func addressOf(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d", tcp.Port)
	}
	return "http://" + a.String()
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// handler is all pages. Streams end when closing does.
func (s *store) handler(closing context.Context, live *live, loopback bool) (http.Handler, error) {
	pages, err := newPages(s, live)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", strict(pages.routes()))
	mux.Handle("GET /live", strict(untilEnd(closing, http.HandlerFunc(live.stream))))

	admin, err := console.Handler(s.events, &console.Options{
		Store:  "the bank",
		Allow:  func(_ *http.Request, a console.Action) bool { return loopback || a == console.Look },
		Logger: s.logger,
		// So the console shows what an account was at each version.
		Projections: []console.Projection{console.Show(bank.NewAccounts())},
	})
	if err != nil {
		return nil, err
	}
	admin = http.StripPrefix("/console", admin)
	mux.Handle("/console/", admin)
	mux.Handle("GET /console/stream", untilEnd(closing, admin))

	var h http.Handler = mux
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "This request came from another site. Nothing was done.", http.StatusForbidden)
	}))
	h = origins.Handler(h)
	if loopback {
		h = console.Loopback(h)
	}
	return s.tel.requests(h), nil
}

// policy lets a page load what the bank itself serves, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// strict says what a browser may do with a page of the bank.
func strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// untilEnd ends a stream when closing does, so that a server can end.
func untilEnd(closing context.Context, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(closing, cancel)()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
