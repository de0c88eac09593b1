package console_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
)

// order is the type of aggregates in these tests.
const order evento.AggregateType = "shop/Order"

type placed struct{ Number int }

func (placed) AggregateType() evento.AggregateType { return order }
func (placed) EventName() string                   { return "Placed" }

var quiet = slog.New(slog.DiscardHandler)

// desk is a browser in front of a console of a store in memory, which is mounted under a prefix.
type desk struct {
	t       *testing.T
	ex      evento.Executor
	client  *http.Client
	at      string // the URL of the console, which ends with "/"
	allowed func(console.Action) bool
}

func everything(console.Action) bool { return true }

func newDesk(t *testing.T, opts *console.Options) *desk {
	t.Helper()
	return newDeskOn(t, memory.New(nil), opts)
}

func newDeskOn(t *testing.T, ex evento.Executor, opts *console.Options) *desk {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, ex: ex, allowed: everything, client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if opts == nil {
		opts = &console.Options{}
	}
	opts.Logger, opts.Allow = quiet, func(_ *http.Request, a console.Action) bool { return d.allowed(a) }
	handler, err := console.Handler(ex, opts)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/admin/console/", http.StripPrefix("/admin/console", handler))
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Close()
		_ = ex.Close()
	})
	d.at = server.URL + "/admin/console/"
	return d
}

// answer is what a request got.
type answer struct {
	status   int
	text     string
	location string
}

func (d *desk) do(r *http.Request, err error) answer {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := d.client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, text: string(text)}
	if to := resp.Header.Get("Location"); to != "" {
		if strings.HasPrefix(to, "/") || strings.Contains(to, "://") {
			d.t.Errorf("%s leads to %s, which is not relative", r.URL, to)
		}
		at, err := r.URL.Parse(to)
		if err != nil {
			d.t.Fatal(err)
		}
		a.location = strings.TrimPrefix(at.String(), d.at)
	}
	return a
}

// get loads a page.
func (d *desk) get(path string) answer {
	d.t.Helper()
	return d.do(http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.at+path, nil))
}

// page loads a page that is there.
func (d *desk) page(path string) string {
	d.t.Helper()
	a := d.get(path)
	if a.status != http.StatusOK {
		d.t.Fatalf("%s: status %d: %s", path, a.status, a.text)
	}
	return a.text
}

var tokenOf = regexp.MustCompile(`name="token" value="([^"]+)"`)

// token is that of the forms of this browser.
func (d *desk) token() string {
	d.t.Helper()
	u, err := url.Parse(d.at)
	if err != nil {
		d.t.Fatal(err)
	}
	for range 2 {
		for _, c := range d.client.Jar.Cookies(u) {
			return c.Value
		}
		d.page("subscriptions")
	}
	d.t.Fatal("there is no token")
	return ""
}

// post sends a form, with the token.
func (d *desk) post(path string, values url.Values, headers ...string) answer {
	d.t.Helper()
	form := url.Values{"token": {d.token()}}
	for name, all := range values {
		form[name] = all
	}
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.at+path, strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return d.do(r, err)
}

// has checks that a page has texts, as a reader sees them.
func has(t *testing.T, page string, texts ...string) {
	t.Helper()
	seen := html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, ""))
	for _, text := range texts {
		if !strings.Contains(seen, text) {
			t.Errorf("the page does not say %q:\n%s", text, seen)
		}
	}
}

func without(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(page, text) {
			t.Errorf("the page has %q:\n%s", text, page)
		}
	}
}

// place commits events of an aggregate.
func (d *desk) place(id string, n int) {
	d.t.Helper()
	for i := range n {
		if _, err := evento.Aggregate(id).AnyVersion().Event(placed{i}).Commit(d.t.Context(), d.ex); err != nil {
			d.t.Fatal(err)
		}
	}
}

// mailer is a subscription that handles what fails lets through.
func mailer(key string, fails func(*evento.RawEvent) error) *evento.SubscriptionBuilder {
	return evento.NewSubscription(key).Retry(0).Logger(quiet).Handler(evento.HandleAll(order, func(_ context.Context, e evento.RawEvent) error { return fails(&e) }))
}

func never(*evento.RawEvent) error { return nil }

// execute runs a subscription to the end of what is pending, and returns its error.
func (d *desk) execute(b *evento.SubscriptionBuilder) error {
	d.t.Helper()
	return b.Execute(d.t.Context(), d.ex)
}

// parks makes a subscription m that has parked two events of aggregate a, and one of b.
func (d *desk) parks(why error) {
	d.t.Helper()
	d.place("a", 3)
	d.place("b", 2)
	err := d.execute(mailer("m", func(e *evento.RawEvent) error {
		if e.Version == 2 {
			return why
		}
		return nil
	}).AcceptFailure())
	if err != nil {
		d.t.Fatal(err)
	}
}

// parked lists what m has parked.
func (d *desk) parked() (list []string) {
	d.t.Helper()
	for p, err := range evento.ControlOf(d.ex, "m").Parked(d.t.Context(), evento.AllParked()) {
		if err != nil {
			d.t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s%d", p.AggregateID, p.Version))
	}
	return list
}

// status is that of m.
func (d *desk) status() *evento.Status {
	d.t.Helper()
	s, err := evento.ControlOf(d.ex, "m").Status(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

func wantParked(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("parked: %v, want %v", got, want)
	}
}

// choiceOfA is what forms call aggregate a.
var choiceOfA = evento.HashIDs(string(order), "a")

// The form of a page works, whichever page of the console was the first that a browser saw.
func TestTokenOfADeepPage(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.parks(errors.New("not today"))
	token := tokenOf.FindStringSubmatch(d.page("subscriptions/m/parked/drop?all=1"))
	if token == nil {
		t.Fatal("the page has no token")
	}
	d.page("subscriptions")
	if a := d.post("subscriptions/m/pause", url.Values{"token": {token[1]}}); a.status != http.StatusSeeOther {
		t.Errorf("status %d: %s", a.status, a.text)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 1)
	if err := d.execute(mailer("m", never)); err != nil {
		t.Fatal(err)
	}
	has(t, d.page("subscriptions/m"), "Pause m?", "evento subscriptions pause m")
	a := d.post("subscriptions/m/pause", nil)
	if a.status != http.StatusSeeOther || a.location != "subscriptions/m?done=pause" {
		t.Fatalf("a pause: %+v", a)
	}
	has(t, d.page(a.location), "m paused", "It is paused.", "Paused by ", "Resume m?", "evento subscriptions resume m")
	if s := d.status().State(); s != evento.SubscriptionPaused {
		t.Errorf("after a pause it is %s", s)
	}
	a = d.post("subscriptions/m/resume", nil)
	has(t, d.page(a.location), "m stopped", "It goes on.")
	if s := d.status().State(); s != evento.SubscriptionStopped {
		t.Errorf("after the pause it is %s", s)
	}
	if a := d.post("subscriptions/other/pause", nil); a.status != http.StatusNotFound || !strings.Contains(a.text, "There is no subscription other") {
		t.Errorf("a pause of a subscription that is not there: %+v", a)
	}
}

// Nothing is changed without the token, from elsewhere, or without permission.
func TestChangesAreGuarded(t *testing.T) {
	t.Parallel()
	changes := map[console.Action]struct {
		path   string
		values url.Values
	}{
		console.Pause:  {"subscriptions/m/pause", nil},
		console.Resume: {"subscriptions/p/resume", nil},
		console.Reset:  {"subscriptions/m/reset", url.Values{"to": {"start"}}},
		console.Retry:  {"subscriptions/m/parked/retry", url.Values{"all": {"1"}}},
		console.Drop:   {"subscriptions/m/parked/drop", url.Values{"all": {"1"}, "n": {"3"}}},
	}
	for action, change := range changes {
		t.Run(string(action), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, nil)
			d.parks(errors.New("not today"))
			if err := d.execute(mailer("p", never)); err != nil {
				t.Fatal(err)
			}
			if err := evento.ControlOf(d.ex, "p").Pause(t.Context()); err != nil {
				t.Fatal(err)
			}
			records := func() string {
				var all strings.Builder
				for _, kind := range []string{"subscription", "parked"} {
					page, err := d.ex.Records(t.Context(), evento.RecordQuery{Kind: kind})
					if err != nil {
						t.Fatal(err)
					}
					for _, r := range page.Records {
						fmt.Fprintf(&all, "%v %d %s\n", r.RecordKey, r.Revision, r.Value)
					}
				}
				return all.String()
			}
			before := records()
			refused := func(what string, a answer) {
				t.Helper()
				if a.status != http.StatusForbidden {
					t.Errorf("%s: status %d, want %d: %s", what, a.status, http.StatusForbidden, a.text)
				}
				if after := records(); after != before {
					t.Errorf("%s changed\n%s to\n%s", what, before, after)
				}
			}
			with := func(name, value string) url.Values {
				values := url.Values{name: {value}}
				for n, all := range change.values {
					values[n] = all
				}
				return values
			}
			refused("without a token", d.post(change.path, with("token", "")))
			refused("with another token", d.post(change.path, with("token", strings.Repeat("A", 43))))
			refused("from another origin", d.post(change.path, change.values, "Origin", "http://elsewhere.example"))
			refused("from another site", d.post(change.path, change.values, "Sec-Fetch-Site", "cross-site"))
			d.allowed = func(a console.Action) bool { return a != action }
			refused("without permission", d.post(change.path, change.values))
			// A GET changes nothing, whatever it says.
			if d.get(change.path + "?" + with("token", d.token()).Encode()); records() != before {
				t.Error("a GET has changed something")
			}
			d.allowed = everything
			if a := d.post(change.path, change.values, "Origin", strings.TrimSuffix(d.at, "/admin/console/"), "Sec-Fetch-Site", "same-origin"); a.status != http.StatusSeeOther || records() == before {
				t.Errorf("with all of it: %+v", a)
			}
		})
	}
}

// Who may change nothing sees no buttons, but the command lines.
func TestReadOnlyShowsCommands(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.parks(errors.New("not today"))
	d.allowed = func(a console.Action) bool { return a == console.Look }
	const event = "events/2"
	for _, path := range []string{"subscriptions", "subscriptions/m", "subscriptions/m/reset?to=start", "subscriptions/m/parked/drop?all=1", event} {
		page := d.page(path)
		without(t, page, `method="post"`, "popover", "formaction", `name="token"`)
	}
	has(t, d.page("subscriptions/m"), "evento subscriptions pause m", "evento subscriptions reset m --to-start", "evento subscriptions parked m retry --all", "evento subscriptions parked m drop --all")
	has(t, d.page("subscriptions/m/reset?to=position&place=2"), "evento subscriptions reset m --to-position 2")
	has(t, d.page("subscriptions/m/parked/drop?aggregate="+choiceOfA), "evento subscriptions parked m drop --type shop/Order --id a")
	has(t, d.page(event), "evento subscriptions parked m retry --type shop/Order --id a", "evento subscriptions parked m drop --event 0")
}

// What has failed is handled after a fix, in order.
func TestRetryAfterAFix(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.parks(errors.New("not today"))
	wantParked(t, d.parked(), "a2", "a3", "b2")
	has(t, d.page("subscriptions/m"), "Parked: 2 failed, 1 wait behind them", "2 Placed failed, 1 waits behind it", "5 Placed failed", "not today", "1 attempt")

	a := d.post("subscriptions/m/parked/retry", url.Values{"aggregate": {choiceOfA}})
	has(t, d.page(a.location), "Workers were asked to handle 2 parked events again", "a retry was asked for")
	var handled []string
	fixed := mailer("m", func(e *evento.RawEvent) error {
		handled = append(handled, fmt.Sprintf("%s%d", e.AggregateID, e.Version))
		return nil
	}).AcceptFailure()
	if err := d.execute(fixed); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(handled, []string{"a2", "a3"}) {
		t.Errorf("handled %v, want those of a alone", handled)
	}
	wantParked(t, d.parked(), "b2")
	if a := d.post("subscriptions/m/parked/retry", url.Values{"aggregate": {choiceOfA}}); a.status != http.StatusNotFound {
		t.Errorf("a retry of what was handled: %+v", a)
	}
	a = d.post("subscriptions/m/parked/retry", url.Values{"all": {"1"}})
	has(t, d.page(a.location), "handle 1 parked event again")
	if err := d.execute(fixed); err != nil {
		t.Fatal(err)
	}
	wantParked(t, d.parked())
	without(t, d.page("subscriptions/m"), "parked event")
}

func TestRetryOfOneEvent(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.parks(errors.New("not today"))
	var ids []string
	for p, err := range evento.ControlOf(d.ex, "m").Parked(t.Context(), evento.ParkedOf(order, "a")) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, p.ID.String())
	}
	// One that waits is not retried alone, and the page says why.
	if a := d.post("subscriptions/m/parked/retry", url.Values{"event": {ids[1]}}); a.status != http.StatusBadRequest || !strings.Contains(a.text, "waits behind "+ids[0]) {
		t.Errorf("a retry of the second: %+v", a)
	}
	if a := d.post("subscriptions/m/parked/retry", url.Values{"event": {ids[0]}}); a.location != "subscriptions/m?done=retry&n=1" {
		t.Errorf("a retry of the first: %+v", a)
	}
	if a := d.post("subscriptions/m/parked/retry", url.Values{}); a.status != http.StatusBadRequest {
		t.Errorf("a retry of nothing: %+v", a)
	}
	if a := d.post("subscriptions/m/parked/retry", url.Values{"event": {ids[0]}, "all": {"1"}}); a.status != http.StatusBadRequest {
		t.Errorf("a retry of one and all: %+v", a)
	}
}

// The page says how many events are dropped, and no others are.
func TestDrop(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.parks(errors.New("not today"))
	page := d.page("subscriptions/m/parked/drop?aggregate=" + choiceOfA)
	has(t, page, "Drop 2 parked events of m?", "m will never handle them.", "1 of them failed; 1 only waits", "Drop 2 events", "evento subscriptions parked m drop --type shop/Order --id a")
	if !strings.Contains(page, `name="n" value="2"`) {
		t.Errorf("the form has no number:\n%s", page)
	}
	// It changes meanwhile: one more is parked.
	d.place("a", 1)
	if err := d.execute(mailer("m", never).AcceptFailure()); err != nil {
		t.Fatal(err)
	}
	values := url.Values{"aggregate": {choiceOfA}, "n": {"2"}}
	if a := d.post("subscriptions/m/parked/drop", values); a.status != http.StatusConflict || !strings.Contains(a.text, "3 events are parked there now") {
		t.Errorf("a drop of other events than were shown: %+v", a)
	}
	wantParked(t, d.parked(), "a2", "a3", "b2", "a4")
	values.Set("n", "3")
	a := d.post("subscriptions/m/parked/drop", values)
	has(t, d.page(a.location), "3 parked events dropped.", "m 1 parked")
	wantParked(t, d.parked(), "b2")

	has(t, d.page("subscriptions/m/parked/drop?all=1"), "Drop 1 parked event of m?", "m will never handle it.", "evento subscriptions parked m drop --all")
	d.post("subscriptions/m/parked/drop", url.Values{"all": {"1"}, "n": {"1"}})
	wantParked(t, d.parked())
	if a := d.get("subscriptions/m/parked/drop?all=1"); a.status != http.StatusNotFound {
		t.Errorf("nothing is parked: %+v", a)
	}
}

func TestDropOfOneEvent(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.parks(errors.New("not today"))
	link := regexp.MustCompile(`href="(\.\./subscriptions/m/parked/drop\?event=[^"]+)"`).FindStringSubmatch(d.page("events/2"))
	if link == nil {
		t.Fatal("the page of the event has no link to drop it")
	}
	has(t, d.page(strings.TrimPrefix(link[1], "../")), "Drop 1 parked event of m?", "evento subscriptions parked m drop --event ")
	u, err := url.Parse(link[1])
	if err != nil {
		t.Fatal(err)
	}
	d.post("subscriptions/m/parked/drop", url.Values{"event": {u.Query().Get("event")}, "n": {"1"}})
	wantParked(t, d.parked(), "a3", "b2")
	has(t, d.page("subscriptions/m"), "3 Placed waits", "retry it")
}

func TestReset(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 6)
	if err := d.execute(mailer("m", never)); err != nil {
		t.Fatal(err)
	}
	var at time.Time // of the third event, and the events before that time
	var earlier uint64
	for e, err := range evento.Events(t.Context(), d.ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Position <= 3 && e.Timestamp.After(at) {
			at, earlier = e.Timestamp, e.Position-1
		}
	}
	for _, test := range []struct {
		query  url.Values
		says   []string
		behind uint64
	}{
		{url.Values{"to": {"start"}}, []string{"6 events will be looked at, 6 of them again", "It goes on with Placed", "Reset m to the start", "reset m --to-start"}, 0},
		{url.Values{"to": {"position"}, "place": {"4"}}, []string{"4 events will be passed over", "it never handles them. 2 events after them will be looked at", "reset m --to-position 4", "Reset m to 4"}, 4},
		{url.Values{"to": {"time"}, "place": {at.Format(time.RFC3339Nano)}}, []string{"of them again", "reset m --to-time " + at.Format(time.RFC3339Nano)}, earlier},
		{url.Values{"to": {"position"}, "place": {"6"}}, []string{"will be passed over", "it never handles them"}, 6},
		{url.Values{"to": {"time"}, "place": {"2999-01-01"}}, []string{"0 events will be looked at", "Reset m to the end"}, 6},
		{url.Values{"to": {"stored"}}, []string{"Each partition goes on behind the position that it has stored", "reset m --to-stored"}, 6},
	} {
		before := d.status().Position
		page := d.page("subscriptions/m/reset?" + test.query.Encode())
		has(t, page, append(test.says, "Reset m?")...)
		if now := d.status().Position; now != before {
			t.Fatalf("%v: looking has moved it from %d to %d", test.query, before, now)
		}
		a := d.post("subscriptions/m/reset", test.query)
		has(t, d.page(a.location), "It goes on from another place.")
		if got := d.status().Position; got != test.behind {
			t.Errorf("%v: it is at %d, want %d", test.query, got, test.behind)
		}
	}
	for _, query := range []string{"to=position&place=7", "to=position&place=x", "to=time&place=x", "to=time", "to=elsewhere"} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if a := d.get("subscriptions/m/reset?" + query); a.status != http.StatusBadRequest {
			t.Errorf("%s: status %d", query, a.status)
		}
		if a := d.post("subscriptions/m/reset", values); a.status != http.StatusBadRequest {
			t.Errorf("posting %s: status %d", query, a.status)
		}
	}
	if a := d.get("subscriptions/other/reset"); a.status != http.StatusNotFound {
		t.Errorf("a reset of a subscription that is not there: status %d", a.status)
	}
}

// Where several stores are together a position is no place, and a subscription is reset to the
// start or a time.
func TestResetInAGroup(t *testing.T) {
	t.Parallel()
	d := newDeskOn(t, group.New(memory.New(nil), memory.New(nil)), nil)
	d.parks(errors.New("not today"))
	has(t, d.page("subscriptions"), "m", "3 parked")
	has(t, d.page("subscriptions/m"), "2 failed, 1 wait behind them")
	page := d.page("subscriptions/m/reset?to=start")
	has(t, page, "Several stores are together here", "Reset m to the start")
	without(t, page, `value="position"`, `value="stored"`)
	if a := d.post("subscriptions/m/reset", url.Values{"to": {"start"}}); a.status != http.StatusSeeOther {
		t.Fatalf("a reset: %+v", a)
	}
	if n := d.status().Behind; n != 5 {
		t.Errorf("%d events are pending after it, want all 5", n)
	}
	if a := d.post("subscriptions/m/reset", url.Values{"to": {"time"}, "place": {"2999-01-01"}}); a.status != http.StatusSeeOther || d.status().Behind != 0 {
		t.Errorf("a reset to a time: %+v", a)
	}
}

// Texts of a request are not what a page says was done.
func TestDoneSaysNothingOfOthers(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 1)
	if err := d.execute(mailer("m", never)); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"done=<b>hi</b>", "done=hi&n=1", "done=drop&n=hi", "done=drop&n=-1", "done=retry"} {
		without(t, d.page("subscriptions/m?"+query), `class="done"`, "hi</b>")
	}
}
