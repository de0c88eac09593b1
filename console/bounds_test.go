package console_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

// counted is a store that counts what is read. It is safe for concurrent use.
type counted struct {
	evento.Executor

	events, records atomic.Int64
}

func (c *counted) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	page, err := c.Executor.Read(ctx, q, args)
	if err == nil {
		c.events.Add(int64(len(page.Edges)))
	}
	return page, err
}

func (c *counted) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	page, err := c.Executor.Records(ctx, q)
	if err == nil {
		c.records.Add(int64(len(page.Records)))
	}
	return page, err
}

// Pages look at some of very many subscriptions, show fewer, and say so.
func TestManySubscriptions(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 1)
	for i := range 510 {
		b := mailer(fmt.Sprintf("s%03d", i), func(*evento.RawEvent) error { return errors.New("no") })
		if err := d.execute(b.AcceptFailure()); err != nil {
			t.Fatal(err)
		}
	}
	page := d.page("")
	has(t, page, "500 problems", "450 more need attention", "450 more are on the page of subscriptions", "500 or more", "The first 500 subscriptions by key were looked at, and there are more")
	if n := strings.Count(page, `href="./subscriptions/s`); n != 100 { // problems, and rails
		t.Errorf("the overview has %d links to subscriptions", n)
	}
	page = d.page("subscriptions")
	has(t, page, "450 subscriptions on other pages.", "The first 500 subscriptions by key were looked at")
	has(t, d.page("subscriptions?key=s505"), "s505", "1 parked")
	has(t, d.page("events/1"), "The first 500 subscriptions by key were looked at")
}

// Of very many parked events pages look at the first ones, and do not say of others that they
// were handled.
func TestVeryManyParked(t *testing.T) {
	t.Parallel()
	ex := &counted{Executor: memory.New(nil)}
	d := newDeskOn(t, ex, nil)
	const count = 2200
	for i := range 11 {
		b := evento.Aggregate(fmt.Sprint("a", i)).AnyVersion()
		for j := range count / 11 {
			b.Event(placed{j})
		}
		if _, err := b.Commit(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.execute(mailer("m", func(*evento.RawEvent) error { return errors.New("no") }).AcceptFailure()); err != nil {
		t.Fatal(err)
	}
	has(t, d.page("subscriptions/m"), "The first 2,000 parked events were looked at, and there are more.")
	has(t, d.page("events/3"), "Parked in m")
	page := d.page("events/2150")
	has(t, page, "it is not known whether it is parked")
	without(t, page, "handled or passed over")
	has(t, d.page("subscriptions/m/parked/drop?all=1"), "Drop 2,200 parked events of m?")
	// No page reads more than twenty times what it shows, and what it proposes.
	for _, path := range []string{"", "events", "events?text=nowhere", "events?from=1h&to=2999-01-01&text=nowhere", "events/2000", "subscriptions", "subscriptions/m", "causation/x", "aggregates/shop%2FOrder/a1"} {
		before := ex.events.Load()
		d.get(path)
		if n := ex.events.Load() - before; n > 1700 {
			t.Errorf("%q reads %d events", path, n)
		}
		before = ex.records.Load()
		d.get(path)
		most := int64(500)               // they show how many are parked, or a few of them
		if strings.Contains(path, "/") { // which of its events are parked
			most = 2_400
		}
		if n := ex.records.Load() - before; n > most {
			t.Errorf("%q reads %d records", path, n)
		}
	}
}

// A page of large events holds none of their payloads, and looks at so many bytes at most.
func TestLargePayloads(t *testing.T) {
	t.Parallel()
	ex := &counted{Executor: memory.New(nil)}
	t.Cleanup(func() { _ = ex.Close() })
	large := `{"n":"` + strings.Repeat("x", 3<<20) + `"}`
	const count = 24
	for range count {
		commit(t, ex, "a", happened("Opened", large))
	}
	server := serve(t, ex, console.Options{})
	seen, pages := map[int]bool{}, 0
	for at := "events?text=xxx"; at != "" && pages < count; pages++ {
		_, body := get(t, server, at)
		list, links := shown(body)
		for _, position := range list {
			seen[position] = true
		}
		at = links["next"]
	}
	if len(seen) != count || pages != 2 {
		t.Errorf("%d of %d events are on %d pages, want all on 2", len(seen), count, pages)
	}
}

// The links of a page repeat what is in its URL: nobody makes the console write hundreds of megabytes
// with one request.
func TestLongURLs(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	for i := range 60 {
		commit(t, ex, "a", happened("Opened", fmt.Sprintf(`{"n":%d}`, i)))
	}
	handler, err := console.Handler(ex, &console.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{30_000, 900_000} {
		long := strings.Repeat("p", length)
		for _, path := range []string{"/aggregates/bank%2FAccount/a?plot=" + long, "/" + strings.Repeat("a/", length/2), "/events?text=" + long, "/causation/" + long, "/stream?text=" + long, "/go?q=" + long} {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, path, nil))
			if n := w.Body.Len(); n > 4<<20 || (w.Code == http.StatusRequestURITooLong) != (length > 64<<10) {
				t.Errorf("%.40s…, %d bytes: status %d, and a page of %d bytes", path, length, w.Code, n)
			}
		}
	}
}
