// evento console: the store in a browser.

package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/internal/printable"
)

func consoleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Show a store in a browser",
		Long: `Show a store in a browser: its events, aggregates and subscriptions, what has failed,
and why. The address is printed; Ctrl-C ends it.

Nothing can be changed without --allow-changes. There is no login, so the console listens on
this machine alone: --listen takes no other address. To offer it to others, mount the package
console in a program behind a login.`,
		Example: `  evento console --store app.db
  evento console --store postgres://app@db/shop --listen 127.0.0.1:8080 --allow-changes`,
		Args: arguments(0, 0, "no arguments"),
	}
	f := cmd.Flags()
	f.String("store", "", storeUsage)
	f.String("listen", "127.0.0.1:0", "`ADDRESS` of this machine to listen on; port 0 is any that is free")
	f.Bool("allow-changes", false, "offer buttons that pause, resume and reset subscriptions, and retry and drop parked events")
	cmd.Long += "\n\n" + exitCodes
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		how := looking
		if allowed, _ := f.GetBool("allow-changes"); allowed {
			how = changing
		}
		return withStore(cmd, how, func(s *session) error { return serveConsole(cmd.Context(), s, how == changing) })
	}
	return cmd
}

// closingPages is how long pages may take that are under way when the console ends.
const closingPages = 3 * time.Second

// serveConsole serves the console until ctx ends.
func serveConsole(ctx context.Context, s *session, changes bool) error {
	address := s.flag("listen")
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usagef("--listen %s: %v", printable.Text(address), err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usagef("--listen %s: only this machine may be listened on, as 127.0.0.1:8080", printable.Text(address))
	}
	// Nobody examines the store when it is closed: examining is full while somebody does.
	examining := make(chan struct{}, 1)
	serving, end := context.WithCancel(ctx)
	defer func() {
		end()
		examining <- struct{}{}
	}()
	handler, err := console.Handler(s.ex, &console.Options{
		Store: s.address.shown,
		Doctor: func(asked context.Context) ([]console.Finding, error) {
			examining <- struct{}{}
			defer func() { <-examining }()
			asked, cancel := context.WithCancel(asked)
			defer cancel()
			defer context.AfterFunc(serving, cancel)()
			if err := serving.Err(); err != nil {
				return nil, err
			}
			return consoleFindings(asked, s)
		},
		Allow:  func(_ *http.Request, a console.Action) bool { return a == console.Look || changes },
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	s.cmd.Printf("The console of %s is at http://%s/\n", s.address, listener.Addr())
	return serveUntil(ctx, listener, console.Loopback(handler))
}

// serveUntil serves pages until ctx ends. Then streams end at once, and it returns when the pages
// that are under way are finished, or take too long.
func serveUntil(ctx context.Context, listener net.Listener, pages http.Handler) error {
	server := &http.Server{Handler: streamsUntil(ctx, pages), ReadHeaderTimeout: 10 * time.Second}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingPages)
		defer cancel()
		if server.Shutdown(closing) != nil {
			_ = server.Close() // what takes longer is cut off
		}
	})
	err := server.Serve(listener)
	if stop() {
		return err
	}
	<-closed
	return ctx.Err()
}

// streamsUntil ends the streams of open pages when ctx ends: they have no other end.
func streamsUntil(ctx context.Context, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			streaming, end := context.WithCancel(r.Context())
			defer end()
			defer context.AfterFunc(ctx, end)()
			r = r.WithContext(streaming)
		}
		next.ServeHTTP(w, r)
	})
}

// consoleFindings are those of evento doctor, in a store that is open.
func consoleFindings(ctx context.Context, s *session) (all []console.Finding, err error) {
	d := &doctor{
		s: &session{cmd: s.cmd, address: s.address, ex: s.ex}, listed: map[listed]int{}, lag: doctorLag, memory: doctorMemory,
		tell: func(f finding) error {
			all = append(all, console.Finding{Severity: string(f.Severity), Check: f.Check, Subject: f.Subject, Detail: f.Detail, Remedy: f.Remedy})
			return nil
		},
	}
	if err := d.look(ctx); err != nil {
		return all, err
	}
	more := d.unlisted()
	for _, kind := range slices.Sorted(maps.Keys(more)) {
		severity, check, _ := strings.Cut(kind, " ")
		all = append(all, console.Finding{Severity: severity, Check: check, Detail: fmt.Sprintf("and %s more", printable.Thousands(uint64(more[kind])))})
	}
	return all, nil
}
