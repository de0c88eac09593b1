package console_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/internal/partition"
)

// What needs attention is first, and says why.
func TestSubscriptionsByUrgency(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	has(t, d.page("subscriptions"), "None has been started yet.")
	d.parks(errors.New("mail refused\nstack of it"))
	if err := d.execute(mailer("d stops", func(e *evento.RawEvent) error {
		if e.Position == 4 {
			return errors.New("ledger refused")
		}
		return nil
	})); err == nil {
		t.Fatal("the handler has not failed")
	}
	for _, key := range []string{"a is well", "b pauses"} {
		if err := d.execute(mailer(key, never)); err != nil {
			t.Fatal(err)
		}
	}
	if err := evento.ControlOf(d.ex, "b pauses").Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	page := d.page("subscriptions")
	at := -1
	for _, key := range []string{"d stops", "m", "b pauses", "a is well"} {
		next := strings.Index(page, ">"+key+"</a>")
		if next < at {
			t.Errorf("%s is not in its place", key)
		}
		at = next
	}
	has(t, page, "failed", "ledger refused", "mail refused", "3 parked", "paused", "Head is at 5.")
	without(t, page, "stack of it")

	page = d.page("subscriptions/d%20stops")
	has(t, page, "It has stopped before 4 Placed", "ledger refused", "2 events are waiting", "Go on behind it…")
	if !strings.Contains(page, `href="../events/4"`) || !strings.Contains(page, `href="../subscriptions/d%20stops/reset?place=4&amp;to=position"`) {
		t.Errorf("it leads to neither the event nor the place behind it:\n%s", page)
	}
	has(t, d.page("subscriptions/d%20stops/reset?place=4&to=position"), "1 event will be passed over")
}

// The links and forms of a page work, whatever a subscription is called, and what it is called
// does nothing to the page.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 1)
	names := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='x`, "javascript:alert(1)", "a/b/../c", ".", "..", "~.", "~..", "~~..", "~a", "%2e%2e", "%2F", "a?b#c&d=e",
		"-x", "--", "a b", "a+b", "a\u202eb", "\u200bx", "a\u0301", "☃", "{{.}}", strings.Repeat("k", 200), `\`, "a;rm -rf /", "$(id)", "`id`", "reset", "pause",
	}
	for i, name := range names {
		for _, routing := range []string{"", names[(i+1)%len(names)]} {
			b := mailer(name, never)
			if routing != "" {
				b = b.RoutingKey(routing)
			}
			if err := d.execute(b); err != nil {
				t.Fatalf("%q of %q: %v", name, routing, err)
			}
		}
	}
	links := regexp.MustCompile(`<th role="rowheader" scope="row"><a href="([^"]+)"`)
	paused := 0
	for from := 0; from < 2*len(names); from += 50 {
		path := fmt.Sprintf("subscriptions?from=%d", from)
		page := d.page(path)
		harmless(t, page)
		for _, link := range links.FindAllStringSubmatch(page, -1) {
			of := d.follow(path, link[1])
			page := d.page(of)
			harmless(t, page)
			form := regexp.MustCompile(`<form method="post" action="([^"]+)">`).FindStringSubmatch(page)
			if form == nil {
				t.Fatalf("%s has no form", of)
			}
			a := d.post(d.follow(of, form[1]), nil)
			if a.status != http.StatusSeeOther || d.get(a.location).status != http.StatusOK {
				t.Errorf("%s: %s: %+v", of, form[1], a)
			}
			paused++
			reset := d.page(d.follow(of, regexp.MustCompile(`<a class="button" href="([^"]+)">Reset…`).FindStringSubmatch(page)[1]))
			harmless(t, reset)
		}
	}
	if paused != 2*len(names) {
		t.Errorf("%d were on the pages, want %d", paused, 2*len(names))
	}
	for name, err := range evento.Subscriptions(t.Context(), d.ex) {
		if err != nil {
			t.Fatal(err)
		}
		s, err := evento.ControlOf(d.ex, name.Key).RoutingKey(name.RoutingKey).Status(t.Context())
		if err != nil || s.State() != evento.SubscriptionPaused {
			t.Errorf("%+v was not paused: %v", name, err)
		}
	}
}

// follow is where a link of a page leads.
func (d *desk) follow(page, link string) string {
	d.t.Helper()
	at, err := url.Parse(d.at + page)
	if err != nil {
		d.t.Fatal(err)
	}
	to, err := at.Parse(html.UnescapeString(link))
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.TrimPrefix(to.String(), d.at)
}

// harmless checks that a page has only the console's own markup, and that nothing of it is unseen
// but the fields of forms.
func harmless(t *testing.T, page string) {
	t.Helper()
	page = regexp.MustCompile(`<input type="hidden" name="[a-z_]+" value="[^"<>]*">`).ReplaceAllString(page, "")
	without(t, page, "<img", "<script>", "onerror=alert(1)>", "\u202e", "\u200b", "\x1b", `href="javascript`, `action="javascript`, "ZgotmplZ", `' onmouse`)
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("the page has %d scripts", n)
	}
}

// Errors are texts of others too.
func TestHostileErrors(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	why := errors.New("<script>alert(1)</script>\x1b[31m\u202e\n\tmore <img src=x> \x1b \u202e\xff")
	d.parks(why)
	if err := d.execute(mailer("s", func(*evento.RawEvent) error { return why })); err == nil {
		t.Fatal("the handler has not failed")
	}
	for _, path := range []string{"subscriptions", "subscriptions/m", "subscriptions/s", "subscriptions/m/parked/drop?all=1", "events/2"} {
		page := d.page(path)
		harmless(t, page)
		if path != "subscriptions/m/parked/drop?all=1" {
			has(t, page, `<script>alert(1)</script>`, `\x1b[31m`)
		}
	}
}

// The stack of a panic names the program's own place.
func TestStackNamesTheProgram(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 1)
	if err := d.execute(mailer("m", surnameOf).AcceptFailure()); err != nil {
		t.Fatal(err)
	}
	page := d.page("subscriptions/m")
	has(t, page, "handler panicked: runtime error: index out of range [1] with length 1", "Stack: console/subscriptions_test.go:")
	first, _, _ := strings.Cut(page, "<details>")
	without(t, first, "goroutine ")
}

//go:noinline
func surnameOf(e *evento.RawEvent) error { return errors.New(strings.Fields(e.Name)[1]) }

// Of many aggregates with parked events a page shows fifty, and says so.
func TestManyParked(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	for i := range 120 {
		d.place(fmt.Sprintf("a%03d", i), 1)
	}
	d.place("a000", 59)
	if err := d.execute(mailer("m", func(*evento.RawEvent) error { return errors.New("no") }).AcceptFailure()); err != nil {
		t.Fatal(err)
	}
	page := d.page("subscriptions/m")
	has(t, page, "120 failed, 59 wait behind them", "50 of 120 aggregates are on this page.", "10 events more behind them.", "Retry all 179 parked events of m?")
	if n := strings.Count(page, `type="checkbox"`); n != 50 {
		t.Errorf("%d aggregates are on the page", n)
	}
	if !strings.Contains(page, `data-n="60"`) {
		t.Error("the number of an aggregate's events is not there")
	}
	seen := map[string]bool{}
	for path := "subscriptions/m"; path != ""; {
		page = d.page(path)
		for _, choice := range regexp.MustCompile(`name="aggregate" value="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			seen[choice[1]] = true
		}
		next := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(page)
		if path = ""; next != nil {
			path = d.follow("subscriptions/m", next[1])
		}
	}
	if len(seen) != 120 {
		t.Errorf("%d aggregates are on all pages", len(seen))
	}
	has(t, d.page("subscriptions/m/parked/drop?all=1"), "Drop 179 parked events of m?", "And 129 events not shown here.", "Drop 179 events")
	var many url.Values = map[string][]string{"aggregate": slices.Repeat([]string{"x"}, 51)}
	for i := range many["aggregate"] {
		many["aggregate"][i] = fmt.Sprint(i)
	}
	if a := d.get("subscriptions/m/parked/drop?" + many.Encode()); a.status != http.StatusBadRequest {
		t.Errorf("51 aggregates at once: status %d", a.status)
	}
}

// A key that has routing keys alone leads to all of its subscriptions.
func TestKeyWithRoutingKeys(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 1)
	for _, routing := range []string{"eu", "us"} {
		if err := d.execute(mailer("m", never).RoutingKey(routing)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.execute(mailer("other", never)); err != nil {
		t.Fatal(err)
	}
	page := d.page("subscriptions/m")
	has(t, page, "m of eu", "m of us")
	has(t, d.page(""), "m of eu", "m of us")
	without(t, page, "other")
	has(t, d.page("subscriptions/m?routing_key=eu"), "m of routing key eu", "events of routing key eu", "evento subscriptions pause m --routing-key eu")
	if a := d.get("subscriptions/m?routing_key=de"); a.status != http.StatusNotFound {
		t.Errorf("another routing key: status %d", a.status)
	}
	if a := d.get("subscriptions/x"); a.status != http.StatusNotFound || !strings.Contains(a.text, "There is no subscription x.") {
		t.Errorf("another key: %+v", a)
	}
}

// damage writes a record of a subscription that the library has not written.
func (d *desk) damage(key, part, value string) {
	d.t.Helper()
	if err := d.ex.Swap(context.Background(), evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "subscription", Key: key, Part: part}, Value: []byte(value)}}}); err != nil {
		d.t.Fatal(err)
	}
}

// A subscription that cannot be read hides no other, and can be repaired.
func TestDamagedSubscription(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 1)
	if err := d.execute(mailer("well", never)); err != nil {
		t.Fatal(err)
	}
	d.damage("broken", "", `{"partitions":-1}`)
	d.damage("foreign", "", `{"partitions":1,"events":{"shop/Order":null}}`)
	d.damage("foreign", "0000", `{"epoch":1,"cursor":"AXABohgfFH6abKrzlw2JXdUYAAAAAAAAAAZ6","position":1}`)
	for _, path := range []string{"", "subscriptions", "events/1"} {
		has(t, d.page(path), "well")
	}
	has(t, d.page("subscriptions"), "broken", "damaged", "foreign", "unreadable")
	has(t, d.page("subscriptions/broken"), "Its status cannot be read", "partitions: -1", "evento subscriptions show broken")
	page := d.page("subscriptions/foreign")
	has(t, page, "Its status cannot be read", "Reset it to the positions that it has stored")
	has(t, d.page("subscriptions/foreign/reset?to=start"), "How many of them it has handled before is not known")
	if a := d.post("subscriptions/foreign/reset", url.Values{"to": {"start"}}); a.status != http.StatusSeeOther {
		t.Fatalf("a reset: %+v", a)
	}
	has(t, d.page("subscriptions/foreign"), "foreign stopped", "with 1 event to look at")
}

// An event is handled when its own partition has handled it, wherever another stands.
func TestEventsOfPartitions(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	want, waiting := map[int]string{}, uint64(0) // by position
	for i := range 10 {
		id := fmt.Sprint("a", i)
		d.place(id, 1)
		want[i+1] = "mhandled or passed over"
		if partition.Of(string(order), id, 2) == partition.Of(string(order), "a0", 2) {
			want[i+1] = "mnot reached yet"
			waiting++
		}
	}
	m := mailer("m", func(e *evento.RawEvent) error {
		if e.AggregateID == "a0" {
			return errors.New("no")
		}
		return nil
	}).Partitions(2)
	for behind := uint64(0); behind != waiting; { // one that fails may end the other before it is done
		if err := d.execute(m); err == nil {
			t.Fatal("nothing fails")
		}
		s, err := evento.ControlOf(d.ex, "m").Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		behind = s.Behind
	}
	for position, text := range want {
		has(t, d.page(fmt.Sprint("events/", position)), text)
	}
}

// A record of a parked event that cannot be read hides neither those before it nor anything else.
func TestDamagedParked(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 150)
	d.place("b", 1)
	if err := d.execute(mailer("m", func(e *evento.RawEvent) error {
		if e.AggregateID == "a" {
			return errors.New("no")
		}
		return nil
	}).AcceptFailure()); err != nil {
		t.Fatal(err)
	}
	parked, err := d.ex.Records(t.Context(), evento.RecordQuery{Kind: "parked", Limit: 150})
	if err != nil {
		t.Fatal(err)
	}
	bad := parked.Records[120]
	if err := d.ex.Swap(t.Context(), evento.Swap{Changes: []evento.Change{{RecordKey: bad.RecordKey, Revision: bad.Revision, Value: []byte(`{"attempts":-1}`)}}}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                "m has parked 100 or more events, first at event 1",
		"events/3":        "Parked in m",
		"events/140":      "it is not known whether it is parked: a record cannot be read",
		"subscriptions":   "100 or more parked",
		"subscriptions/m": "The first 120 parked events were looked at. Those behind cannot be read: evento: damaged: record parked",
	} {
		has(t, d.page(path), want)
	}
}

// Records whose subscription is not known have no page: nothing leads to one. What is wrong is said.
func TestNamelessRecords(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 1)
	d.damage("k", "route-x-shared", `{"partitions":-1}`)
	for _, path := range []string{"", "subscriptions"} {
		page := d.page(path)
		has(t, page, "Records that cannot be read", `"route-x-shared": partitions: -1`, "1 needs attention")
		without(t, page, `subscriptions/"`, "position 0 of 0")
	}
	has(t, d.page(""), "Records that cannot be read may hide a subscription")
}

// A shell takes the words of a command line as they are.
func TestCommandLineOfHostileKeys(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 1)
	for key, want := range map[string]string{
		"mails":       "evento subscriptions pause mails",
		"a b":         "evento subscriptions pause 'a b'",
		"it's":        `evento subscriptions pause 'it'\''s'`,
		"$(id)":       "evento subscriptions pause '$(id)'",
		"-x":          "evento subscriptions pause -- -x",
		"a\u202eb'\\": `evento subscriptions pause $'a\xe2\x80\xaeb\'\\'`,
	} {
		if err := d.execute(mailer(key, never)); err != nil {
			t.Fatal(err)
		}
		has(t, d.page("subscriptions/"+url.PathEscape(key)), "The same as "+want)
	}
}

// A page of no number is refused, and one behind the last is empty.
func TestOffsets(t *testing.T) {
	t.Parallel()
	d := newDesk(t, &console.Options{})
	for path, want := range map[string]int{"subscriptions?from=x": http.StatusBadRequest, "subscriptions?from=-1": http.StatusBadRequest, "subscriptions?from=1000000": http.StatusOK} {
		if a := d.get(path); a.status != want {
			t.Errorf("%s: status %d, want %d", path, a.status, want)
		}
	}
	page := d.page("subscriptions?from=50") // there were more before
	has(t, page, "There are no more.")
	without(t, page, "None has been started yet.")
}
