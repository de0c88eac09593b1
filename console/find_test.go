package console_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

// The field that finds anything leads to positions as pages write them, and to subscriptions of
// any name, and nowhere else.
func TestFind(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 1100)
	for _, key := range []string{"/", "..", "~.", "//evil.example"} {
		if err := d.execute(mailer(key, never)); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]string{
		"1%2C050": "events/1050", "%20%2017%20": "events/17", "1%2C05": "events?text=1%2C05", "1101": "events?text=1101",
		"4611686018427387904": "events?text=4611686018427387904", "9223372036854775807": "events?text=9223372036854775807",
		"..": "subscriptions/~..", "%2F": "subscriptions/~%2F", "~.": "subscriptions/~~.", "%2F%2Fevil.example": "subscriptions/%2F%2Fevil.example",
		"%5C%5Cevil.example": "events?text=%5C%5Cevil.example", "https%3A%2F%2Fevil.example": "events?text=https%3A%2F%2Fevil.example", "a%0D%0AX-B%3A+c": "events?text=a%0D%0AX-B%3A+c",
	} {
		if a := d.get("go?q=" + query); a.status != http.StatusSeeOther || a.location != want {
			t.Errorf("%s: status %d, to %q, want %q", query, a.status, a.location, want)
		}
	}
	has(t, d.page("subscriptions/~.."), "..")
}

// stalled is a store that does not answer until it is closed.
type stalled struct {
	evento.Executor

	closed chan struct{}
}

func (s stalled) Read(ctx context.Context, _ evento.Query, _ cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.closed:
		return nil, evento.ErrClosed
	}
}

// Every page ends, also when the store does not answer, and says so. Who leaves makes no noise.
func TestStalledStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := memory.New(nil)
		defer func() { _ = ex.Close() }()
		closed := make(chan struct{})
		var log bytes.Buffer
		handler, err := console.Handler(stalled{ex, closed}, &console.Options{Allow: all, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/", "/events", "/events/1", "/go?q=1", "/go?q=01ARZ3NDEKTSV4RRFFQ69G5FAV", "/aggregates/a/b", "/causation/x"} {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			if w.Code != http.StatusGatewayTimeout || !strings.Contains(w.Body.String(), "has not answered for 20s") {
				t.Errorf("%s: status %d: %s", path, w.Code, w.Body)
			}
		}
		ctx, leave := context.WithCancel(t.Context())
		leave()
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/events", nil))
		if log.Len() > 0 {
			t.Errorf("it logs %s", log.String())
		}
		close(closed)
		time.Sleep(time.Minute) // nothing goes on then
	})
}

// Errors of a store are not what is not there.
func TestClosedStore(t *testing.T) {
	t.Parallel()
	ex := memory.New(nil)
	server := serve(t, ex, console.Options{Allow: all})
	commit(t, ex, "a", happened("Opened", `{}`))
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "events", "events/1", "go?q=1", "aggregates/bank%2FAccount/a", "causation/x", "subscriptions", "subscriptions/m", "deadlines"} {
		if status, body := get(t, server, path); status != http.StatusBadGateway {
			t.Errorf("%s: status %d: %s", path, status, body)
		}
	}
}
