package console_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/evento-go/evento"
)

var hrefOf = regexp.MustCompile(`href="([^"]*)"`)

// links are those of a page, as a browser reads them, to pages below the root of the console.
func (d *desk) links(path string) (all []string) {
	d.t.Helper()
	at, err := url.Parse(d.at + path)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, found := range hrefOf.FindAllStringSubmatch(d.page(path), -1) {
		to, err := at.Parse(html.UnescapeString(found[1]))
		if err != nil {
			d.t.Fatal(err)
		}
		if rest, ok := strings.CutPrefix(to.String(), d.at); ok {
			all = append(all, rest)
		}
	}
	return all
}

// A link leads to what its text names, whatever is in the names.
func TestLinks(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	const tag, routing = "a/b&c=d+ %2F", "e u/&+%"
	w := evento.Write{Appends: []evento.Append{{AggregateType: order, AggregateID: "a b/ü%2F&x=1+?#", AnyVersion: true, RoutingKey: routing, Events: []evento.NewEvent{
		{ID: evento.NewID(), Name: "Placed & paid+", Codec: "json", Data: []byte(`{}`), Tags: []string{tag}},
	}}}}
	if _, err := d.ex.Write(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if err := d.execute(mailer("m", never).RoutingKey(routing)); err != nil {
		t.Fatal(err)
	}
	aggregate := "aggregates/shop%2FOrder/" + url.PathEscape("a b/ü%2F&x=1+?#")
	for path, n := range map[string]int{"": 1, "events/1": 1, aggregate: 1} {
		followed := 0
		for _, to := range d.links(path) {
			if !strings.HasPrefix(to, "events?") {
				continue
			}
			followed++
			has(t, d.page(to), "Placed & paid+", "1 event")
		}
		if followed != n {
			t.Errorf("page %q has %d links to some events, want %d", path, followed, n)
		}
	}
	for _, path := range []string{"", "events/1", "subscriptions"} {
		has(t, d.page(path), "m of "+routing)
		for _, to := range d.links(path) {
			if !strings.HasPrefix(to, "subscriptions/") {
				continue
			}
			if a := d.get(to); a.status != http.StatusOK {
				t.Errorf("page %q leads to %s: status %d", path, to, a.status)
			}
		}
	}
}
