package console

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/evento-go/evento"
)

// anyEvent is an event of any names, with a payload in JSON.
func anyEvent(t *testing.T, ex evento.Executor, key evento.AggregateKey, name string, payload any, m evento.Metadata) evento.ID {
	t.Helper()
	data, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	id := evento.NewID()
	if _, err := ex.Write(t.Context(), evento.Write{Appends: []evento.Append{{
		AggregateType: key.Type, AggregateID: key.ID, AnyVersion: true, Metadata: m,
		Events: []evento.NewEvent{{ID: id, Name: name, Codec: "json", Data: data}},
	}}}); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAggregate(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, "a", opened{"Ann"}, deposited{1500}, noted{"<i>tip</i>"}, deposited{-700})
	s := newSite(t, ex, Show(accounts("account")), Show(accounts("other")))

	d := s.get("/aggregates/bank%2FAccount/a?v=2", http.StatusOK)
	d.says("bank/Account a", "All 4 events of one aggregate", "State at version 2 of 4", "Deposited changed Balance.", "Payload of Deposited")
	is(t, "the columns of a row", d.all("tr", ""), "VersionTimeWhat happenedPayload", rowOf(d, 1), rowOf(d, 2), rowOf(d, 3), rowOf(d, 4))
	is(t, "names", d.all("th", "")[4:], "Deposited", "Noted", "Deposited", "Opened")
	if row := d.one("aria-current", "true"); row.name != "tr" || !strings.Contains(row.text, "Amount 1500") {
		t.Errorf("the current row is %q of %s", row.text, row.name)
	}
	is(t, "removed", d.all("del", ""), `- "Balance": 0,`)
	is(t, "added", d.all("ins", ""), `+ "Balance": 1500,`)
	is(t, "state", d.all("pre", "diff"), `{ "Owner": "Ann", "Limit": 100, - "Balance": 0, + "Balance": 1500, "Notes": null }`)
	is(t, "payload", d.all("pre", "")[:1], `{ "Amount": 1500 }`)
	for _, link := range []string{"?v=1", "?v=3", "../../events/2", "?projection=other&v=2", "?plot=Limit&v=2"} {
		d.one("href", link)
	}
	d.one("aria-label", "Balance at versions 1 to 4, 1,500 at version 2, 0 to 1,500 in all")
	if line := d.one("class", "l").attrs["d"]; line != "M0,66.0 H333.3 V6.0 H666.7 V6.0 H1000.0 V34.0" {
		t.Errorf("the line of the plot is %s", line)
	}
	if r := d.one("type", "range"); r.attrs["min"] != "1" || r.attrs["max"] != "4" || r.attrs["value"] != "2" || r.attrs["name"] != "v" {
		t.Errorf("the range is %v", r.attrs)
	}

	d = s.get("/aggregates/bank%2FAccount/a", http.StatusOK)
	d.says("State at version 4 of 4")
	if d.has("rel", "next") {
		t.Error("the last version has a next one")
	}
	d = s.get("/aggregates/bank%2FAccount/a?v=1", http.StatusOK)
	is(t, "at first", d.all("ins", ""), `+ "Owner": "Ann",`, `+ "Limit": 100,`)
	d.says("Opened changed Owner, Limit.")
	d = s.get("/aggregates/bank%2FAccount/a?v=3&plot=Limit&projection=other", http.StatusOK)
	d.says("Projection account, other")
	is(t, "a map", d.all("ins", ""), `+ "Notes": {`, `+ "<i>tip</i>": 1`, `+ }`)
	d.one("aria-label", "Limit at versions 1 to 4, 100 at version 3, 0 to 100 in all")
	d.one("href", "?plot=Limit&projection=other&v=4")
	d.one("href", "?projection=account&v=3") // whose numbers are others
	if hidden := d.one("name", "plot").attrs; hidden["value"] != "Limit" || hidden["type"] != "hidden" {
		t.Errorf("the form does not keep the plot: %v", hidden)
	}
}

// A plot begins at 0, unless what changes could not be seen then.
func TestPlots(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values            []string
		zero, line, label string
	}{
		{[]string{"0", "10", "5"}, "M0,66.0 H1000", "M0,66.0 H500.0 V6.0 H1000.0 V36.0", "n at versions 1 to 3, 5 at version 3, 0 to 10 in all"},
		{[]string{"1000", "1010", "1005"}, "", "M0,66.0 H500.0 V6.0 H1000.0 V36.0", "n at versions 1 to 3, 1,005 at version 3, 1,000 to 1,010 in all"},
		{[]string{"-1000", "-1010", "-1005"}, "", "M0,6.0 H500.0 V66.0 H1000.0 V36.0", "n at versions 1 to 3, -1,005 at version 3, -1,010 to -1,000 in all"},
		{[]string{"-5", "5", "0"}, "M0,36.0 H1000", "M0,66.0 H500.0 V6.0 H1000.0 V36.0", "n at versions 1 to 3, 0 at version 3, -5 to 5 in all"},
		{[]string{"7", "7", "7"}, "M0,66.0 H1000", "M0,6.0 H500.0 V6.0 H1000.0 V6.0", "n at versions 1 to 3, 7 at version 3, 0 to 7 in all"},
		{[]string{"0", "0", "0"}, "M0,66.0 H1000", "M0,66.0 H500.0 V66.0 H1000.0 V66.0", "n at versions 1 to 3, 0 at version 3, 0 to 0 in all"},
		{[]string{"0.5", "", "1.5"}, "M0,66.0 H1000", "M0,46.0 H500.0 V46.0 H1000.0 V6.0", "n at versions 1 to 3, 1.5 at version 3, 0 to 1.5 in all"},
	} {
		numbers := map[uint64][]numberIn{}
		for i, text := range test.values {
			if text != "" {
				numbers[uint64(i)+1] = []numberIn{{"n", text}}
			}
		}
		p := plotOf(&aggregateBody{From: 1, To: 3, V: 3}, numbers, numbers[3], nil)
		if p == nil || p.Zero() != test.zero || p.Line() != test.line || p.Label() != test.label {
			t.Errorf("%q: %s, %s, %s\nwant %s, %s, %s", test.values, p.Zero(), p.Line(), p.Label(), test.zero, test.line, test.label)
		}
	}
	huge := map[uint64][]numberIn{1: {{"n", "-1e308"}}, 2: {{"n", "1e308"}}, 3: {{"n", "1e999"}}}
	if p := plotOf(&aggregateBody{From: 1, To: 3, V: 3}, huge, nil, nil); p != nil {
		t.Errorf("numbers too far apart are drawn: %s", p.Line())
	}
}

func rowOf(d *doc, i int) string { return d.all("tr", "")[i] }

// The nearest version is shown, and what is not there is said.
func TestOtherVersions(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, "a", opened{"Ann"}, deposited{1})
	s := newSite(t, ex, Show(accounts("account")))
	s.get("/aggregates/bank%2FAccount/a?v=9", http.StatusOK).says("There is no version 9: versions are 1 to 2, and the nearest is shown.", "State at version 2 of 2")
	s.get("/aggregates/bank%2FAccount/a?v=0", http.StatusOK).says("There is no version 0", "State at version 1 of 2")
	s.get("/aggregates/bank%2FAccount/a?v=99999999999999999999999", http.StatusOK).says("There is no version", "State at version 2 of 2")
	s.get("/aggregates/bank%2FAccount/a?v=-1", http.StatusBadRequest).says(`v="-1" is no version`)
	s.get("/aggregates/bank%2FAccount/a?projection=none", http.StatusNotFound).says("no projection none of bank/Account")
	s.get("/aggregates/bank%2FAccount/a?plot=none", http.StatusOK).one("aria-label", "Balance at versions 1 to 2, 1 at version 2, 0 to 1 in all")
	s.get("/aggregates/bank%2FAccount/b", http.StatusNotFound).says("There is no aggregate bank/Account b")
	s.get("/aggregates/bank/a", http.StatusNotFound).says("There is no aggregate bank a")
	s.get("/aggregates/%00/a", http.StatusBadRequest)
}

// Without a projection there are payloads, and the page says how there would be states.
func TestAggregateWithoutProjection(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, "a", opened{"Ann"}, deposited{3})
	anyEvent(t, ex, evento.AggregateKey{Type: "shop/Cart", ID: "c"}, "Packed", "a text", evento.Metadata{})
	s := newSite(t, ex, Show(evento.NewProjection[account]("carts", "shop/Cart")))
	d := s.get("/aggregates/bank%2FAccount/a?v=2", http.StatusOK)
	d.says("Version 2 of 2", "has given it no projection of bank/Account", "console.Show(accounts)")
	is(t, "payload", d.all("pre", "json"), `{ "Amount": 3 }`)
	if len(d.all("svg", "")) > 0 {
		t.Error("there is a plot of no state")
	}
	d = s.get("/aggregates/shop%2FCart/c", http.StatusOK)
	d.says(`"a text"`, "Packed changed nothing that this projection keeps.", "The only event")
}

// Every version is on one page, whichever way the pages are gone through, and each page reads
// a bounded number of events.
func TestAggregatePages(t *testing.T) {
	t.Parallel()
	const n = 1234
	ex := newStore(t)
	for i := 0; i < n; i += 2 {
		commit(t, ex, "other", deposited{1})
		commit(t, ex, "a", deposited{1}, deposited{1})
	}
	for _, noPositions := range []bool{false, true} {
		counting := &counted{Executor: ex, noPositions: noPositions}
		s := newSite(t, counting, Show(accounts("account")))
		for _, way := range []struct{ from, rel string }{{"", "Older"}, {"?v=1", "Newer"}} {
			seen := map[string]int{}
			at := way.from
			for pages := 0; ; pages++ {
				if pages > n/pageRows+2 {
					t.Fatal("the pages do not end")
				}
				counting.n.Store(0)
				d := s.get("/aggregates/bank%2FAccount/a"+at, http.StatusOK)
				if read := counting.n.Load(); read > mostLooked && !noPositions || read > 2*mostLooked {
					t.Errorf("%s: %d events are read", at, read)
				}
				rows := d.all("td", "num")
				for _, v := range rows {
					seen[v]++
				}
				if len(rows) != pageRows {
					t.Errorf("%s has %d rows", at, len(rows))
				}
				at = ""
				for _, e := range d.elements {
					if e.name == "a" && e.text == way.rel {
						at = e.attrs["href"]
					}
				}
				if at == "" {
					break
				}
			}
			more := 0
			for v := 1; v <= n; v++ {
				switch seen[number(v)] {
				case 0:
					t.Errorf("%s: version %d is on no page", way.rel, v)
				case 1:
				default:
					more++
				}
			}
			if more >= pageRows { // the last page is full
				t.Errorf("%s: %d versions are on several pages", way.rel, more)
			}
		}
		for _, v := range []int{1, 25, 26, 200, 500, 874, 875, 899, 900} {
			s.get("/aggregates/bank%2FAccount/a?v="+strconv.Itoa(v), http.StatusOK).says(fmt.Sprintf(`"Balance": %d,`, v))
		}
	}
}

// A state that needs more events than a page may read is computed when that is asked for, or from
// a snapshot. Looking stores nothing.
func TestStatesOfLongAggregates(t *testing.T) {
	t.Parallel()
	const n = 2000
	ex := newStore(t)
	payloads := make([]evento.Payload, n)
	for i := range payloads {
		payloads[i] = deposited{1}
	}
	for batch := range slices.Chunk(payloads, 500) {
		commit(t, ex, "a", batch...)
	}
	keeping := accounts("kept").SnapshotEvery(10)
	counting := &counted{Executor: ex}
	s := newSite(t, counting, Show(accounts("account")), Show(keeping))
	const a = "/aggregates/bank%2FAccount/a"
	read := func(path string) *doc {
		t.Helper()
		counting.n.Store(0)
		return s.get(path, http.StatusOK)
	}
	d := read(a + "?v=1500")
	d.says("For the states here 1,525 events have to be read, from the first on.", "Read 1,525 events")
	if n := counting.n.Load(); n > 3*pageRows {
		t.Errorf("%d events are read for a page without states", n)
	}
	if got := d.all("pre", "diff"); len(got) > 0 {
		t.Errorf("a state is shown: %q", got)
	}
	if button := d.one("name", "replay"); button.name != "button" {
		t.Errorf("reading all is a %s", button.name)
	}
	d = read(a + "?v=1500&replay=1")
	is(t, "the state", d.all("ins", ""), `+ "Balance": 1500,`)
	d.one("href", "?replay=1&v=1501")

	if _, err := keeping.Load(t.Context(), ex, "a"); err != nil {
		t.Fatal(err)
	}
	commit(t, ex, "a", deposited{1}, deposited{1}, deposited{1})
	d = read(a + "?v=2003&projection=kept")
	is(t, "the state behind a snapshot", d.all("ins", ""), `+ "Balance": 2003,`)
	if n := counting.n.Load(); n > 4*pageRows {
		t.Errorf("%d events are read behind a snapshot", n)
	}
	read(a + "?v=1000&projection=kept").says("events have to be read")
	if n := counting.writes.Load(); n > 0 {
		t.Errorf("looking has written %d times", n)
	}
}

// An aggregate that needs attention says where.
func TestNotesOfEvents(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, "a", opened{"Ann"}, deposited{1}, deposited{2})
	failing := func(key string) *evento.SubscriptionBuilder {
		return evento.NewSubscription(key).Aggregate(accountType, "a").All().Retry(0).Logger(slog.New(slog.DiscardHandler)).
			Handler(evento.Handle(func(context.Context, evento.Event[deposited]) error { return fmt.Errorf("no") }))
	}
	if err := failing("stops").Execute(t.Context(), ex); err == nil {
		t.Fatal("the subscription does not stop")
	}
	if err := failing("parks").AcceptFailure().Execute(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	c := &console{ex: ex, live: &live{ex: ex, viewers: map[*viewer]struct{}{}}}
	if _, _, err := c.live.sample(t.Context()); err != nil {
		t.Fatal(err)
	}
	notes := c.notes(t.Context(), func(p *evento.Parked) bool { return p.AggregateID == "a" })
	var got []string
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(e.Version, " ", notes[e.ID]))
	}
	parked := []string{"1 ", "2 parked in parks, stops has stopped here", "3 waits in parks"}
	slices.Sort(got)
	if got[1] == "2 stops has stopped here, parked in parks" {
		parked[1] = got[1]
	}
	is(t, "notes", got, parked...)
}

// Each partition stands at an event of its own. It has stopped there only if it has no worker.
func TestNotesOfPartitions(t *testing.T) {
	t.Parallel()
	tried, stopped := evento.NewID(), evento.NewID()
	s := status{Status: evento.Status{Key: "m", Partitions: []evento.PartitionStatus{
		{Owner: "w", Live: true, Error: "busy", ErrorEvent: tried.String()}, {Error: "no", ErrorEvent: stopped.String()}, {},
	}}}
	c := &console{live: &live{statuses: []status{s}}}
	notes := c.notes(t.Context(), nil)
	is(t, "notes", []string{notes[tried], notes[stopped]}, "m tries it again", "m has stopped here")
	is(t, "errors", []string{s.ErrorAt(tried.String()), s.ErrorAt(stopped.String()), s.ErrorAt(evento.NewID().String())}, "busy", "no", "")
}

// Names of any kind are found by the links to them, and are shown without what they could do.
func TestHostileAggregates(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	names := []string{
		"a/b", "a//b", "/", "a/", ".", "..", "~.", "~..", "~/", "~", "~~", "a/../b", "%2F", "%", "a?v=1#x", "a b", "+", "\u202egnp.exe", `"><script>alert(1)</script>`,
		"<b>", "'", "`", "{{.}}", "&amp;", "\\", "a;b", "ü", "\u00a0", "\ufeff", "\u2028", "javascript:alert(1)", strings.Repeat("x", 200), ":", "a:b",
	}
	for _, name := range names {
		anyEvent(t, ex, evento.AggregateKey{Type: evento.AggregateType(name), ID: name}, name, map[string]string{name: name}, evento.Metadata{CorrelationID: name, CausationID: name})
	}
	var projections []Projection
	for i, name := range names {
		projections = append(projections, Show(evento.NewProjection[account](name+strconv.Itoa(i), evento.AggregateType(name))))
	}
	s := newSite(t, ex, projections...)
	list := s.get("/events", http.StatusOK)
	aggregates, causations := 0, 0
	for _, e := range list.elements {
		link, ok := strings.CutPrefix(e.attrs["href"], "./")
		if !ok || !strings.HasPrefix(link, "aggregates/") && !strings.HasPrefix(link, "causation/") {
			continue
		}
		at, err := (&url.URL{Path: "/"}).Parse(link) // as a browser does
		if err != nil {
			t.Fatal(err)
		}
		d := s.get(at.String(), http.StatusOK)
		wantSafe(t, d)
		if strings.HasPrefix(link, "aggregates/") {
			aggregates++
			d.says("State at version 1 of 1")
			continue
		}
		causations++
		d.says("1 event of 1 aggregate")
		wantSafe(t, s.get(at.String()+"&x=%3Cscript%3E", http.StatusOK))
	}
	if aggregates != len(names) || causations != len(names) {
		t.Errorf("%d aggregates and %d correlations are found by links, want %d", aggregates, causations, len(names))
	}
}

// wantSafe checks that nothing of a store has become markup, or changes the direction of writing.
func wantSafe(t *testing.T, d *doc) {
	t.Helper()
	for _, e := range d.elements {
		_, script := e.attrs["src"]
		if e.name == "script" && !script || e.name == "b" && e.text == "" {
			t.Errorf("a name has become the element %s", e.name)
		}
		for name, value := range e.attrs {
			if strings.HasPrefix(name, "on") || name == "style" || name == "href" && strings.HasPrefix(strings.ToLower(strings.TrimSpace(value)), "javascript:") {
				t.Errorf("a name has become the attribute %s=%q of %s", name, value, e.name)
			}
		}
	}
	for _, r := range d.body {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("the page has the character %U", r)
			return
		}
	}
}
