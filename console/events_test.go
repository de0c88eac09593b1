package console_test

import (
	"bufio"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/executor/memory"
)

var (
	positions = regexp.MustCompile(`href="\./events/(\d+)"`)
	typed     = regexp.MustCompile(` value="[^"]*"`)
	pages     = regexp.MustCompile(`rel="(prev|next)" href="([^"]*)"`)
)

// shown are the positions of the events of a page, and the links to those around it.
func shown(body string) (list []int, links map[string]string) {
	for _, m := range positions.FindAllStringSubmatch(body, -1) {
		n, _ := strconv.Atoi(m[1])
		list = append(list, n)
	}
	links = map[string]string{}
	for _, m := range pages.FindAllStringSubmatch(body, -1) {
		links[m[1]] = "events" + strings.ReplaceAll(m[2], "&amp;", "&")
	}
	return list, links
}

// Events are listed with the newest first, all of them once, and back again.
func TestPagesOfEvents(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	const count = 230
	for i := range count {
		e := happened([]string{"Opened", "Closed"}[i%2], fmt.Sprintf(`{"n":"needle%d"}`, i%100))
		e.Tags = []string{fmt.Sprint("tag", i%5)}
		commit(t, ex, fmt.Sprint("a", i%3), e)
	}
	server := serve(t, ex, console.Options{})
	for query, want := range map[string]func(i int) bool{
		"":                               func(int) bool { return true },
		"?type=bank/Account":             func(int) bool { return true },
		"?type=bank/Account&id=a1":       func(i int) bool { return i%3 == 1 },
		"?type=bank/Account&name=Closed": func(i int) bool { return i%2 == 1 },
		"?name=Closed":                   func(i int) bool { return i%2 == 1 },
		"?id=a2&name=Opened":             func(i int) bool { return i%3 == 2 && i%2 == 0 },
		"?tag=tag3":                      func(i int) bool { return i%5 == 3 },
		"?text=NEEDLE7":                  func(i int) bool { n := i % 100; return n == 7 || n/10 == 7 },
		"?type=shop/Order":               func(int) bool { return false },
		"?from=1h":                       func(int) bool { return true },
		"?to=1h":                         func(int) bool { return false },
		"?routing_key=eu":                func(int) bool { return false },
	} {
		var all []int
		for i := count - 1; i >= 0; i-- {
			if want(i) {
				all = append(all, i+1)
			}
		}
		var got []int
		var last map[string]string
		at := "events" + query
		for pages := 0; at != "" && pages < 20; pages++ {
			status, body := get(t, server, at)
			if status != http.StatusOK {
				t.Fatalf("%s: status %d", at, status)
			}
			list, links := shown(body)
			got, last, at = append(got, list...), links, links["next"]
		}
		if fmt.Sprint(got) != fmt.Sprint(all) {
			t.Errorf("events%s: %v, want %v", query, got, all)
			continue
		}
		var back []int
		for at, pages := last["prev"], 0; at != "" && pages < 20; pages++ {
			_, body := get(t, server, at)
			list, links := shown(body)
			back, at = append(list, back...), links["prev"]
		}
		if len(all) > 50 && (len(back) == 0 || back[0] != all[0]) {
			t.Errorf("events%s: back again from the last page: %v", query, back)
		}
	}
}

// What cannot be asked for is said.
func TestBadQuestions(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, "a", happened("Opened", `{}`))
	server := serve(t, ex, console.Options{})
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"events?from=yesterday":             {http.StatusBadRequest, "<h1>&#34;yesterday&#34; is no time"},
		"events?before=x":                   {http.StatusBadRequest, "is no position"},
		"events?before=-1":                  {http.StatusBadRequest, "is no position"},
		"events?type=%00":                   {http.StatusBadRequest, "cannot be asked for"},
		"events/0":                          {http.StatusNotFound, "neither the position"},
		"events/2":                          {http.StatusNotFound, "no event at position 2"},
		"events/99999999999999999999":       {http.StatusNotFound, "neither the position"},
		"events/01ARZ3NDEKTSV4RRFFQ69G5FAV": {http.StatusNotFound, "no event 01ARZ3NDEKTSV4RRFFQ69G5FAV among those recorded from 1m0s before to 10m0s after it was made"},
		"events/x%3Cscript%3E":              {http.StatusNotFound, "&lt;script&gt;"},
		"nothing":                           {http.StatusNotFound, "no page"},
	} {
		status, body := get(t, server, path)
		if status != want.status || strings.Contains(body, "<script>") {
			t.Errorf("%s: status %d, want %d", path, status, want.status)
		}
		says(t, path, body, want.text)
	}
}

// An event is found by its position and by its id, with what it came from and led to.
func TestEvent(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	first := happened("TransferSent", `{"Amount":7,"To":"b"}`)
	commit(t, ex, "a", first)
	w := evento.Write{Appends: []evento.Append{{AggregateType: "bank/Account", AggregateID: "b", AnyVersion: true, Events: []evento.NewEvent{happened("TransferReceived", `{}`)}, Metadata: evento.Metadata{CausationID: first.ID.String(), CorrelationID: "req/1", RequestedBy: "ada", Values: map[string]string{"ip": "::1"}}}}}
	if _, err := ex.Write(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	server := serve(t, ex, console.Options{})
	for _, path := range []string{"events/1", "events/" + first.ID.String()} {
		status, body := get(t, server, path)
		if status != http.StatusOK {
			t.Fatalf("%s: status %d", path, status)
		}
		says(t, path, body, first.ID.String(), `&#34;Amount&#34;:</span> 7`, `href="../events/2"`, "TransferReceived", "a request, no event")
	}
	_, body := get(t, server, "events/2")
	says(t, "its effect", body, `href="../events/1"`, "req/1", "../causation/req%2F1?near=2", "ada", "::1")
	for q, to := range map[string]string{"2": "events/2", first.ID.String(): "events/" + first.ID.String(), "nobody & co": "events?text=nobody+%26+co"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/console/go?q="+url.QueryEscape(q), nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := response.Header.Get("Location"); response.StatusCode != http.StatusSeeOther || got != to {
			t.Errorf("go to %q: %d %q, want %q", q, response.StatusCode, got, to)
		}
	}
}

// An event is found by its id also where many others were recorded just before it, and where the
// clock of the storage is behind.
func TestEventByID(t *testing.T) {
	t.Parallel()
	for name, recorded := range map[string]time.Duration{"at once": 0, "later": 5 * time.Second, "by a clock that is behind": -20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ex := memory.New(nil)
			t.Cleanup(func() { _ = ex.Close() })
			at := time.Date(2026, 3, 7, 2, 40, 0, 0, time.UTC)
			var events []evento.RawEvent
			for n := range 2100 {
				e := evento.RawEvent{
					ID: evento.NewID(), Position: uint64(n + 1), Version: uint64(n + 1), AggregateType: "bank/Account", AggregateID: "a",
					Name: "Other", Codec: "json", Data: []byte(`{}`), Timestamp: at,
				}
				if n >= 2000 {
					e.Timestamp = at.Add(30 * time.Second)
				}
				events = append(events, e)
			}
			wanted := &events[2000]
			wanted.Name = "Wanted"
			if err := wanted.ID.SetTime(ulid.Timestamp(wanted.Timestamp.Add(-recorded))); err != nil {
				t.Fatal(err)
			}
			if err := ex.Import(t.Context(), events); err != nil {
				t.Fatal(err)
			}
			status, body := get(t, serve(t, ex, console.Options{}), "events/"+wanted.ID.String())
			if status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
			says(t, "the page", body, "Wanted", "2,001")
		})
	}
}

// Names and payloads that are markup, control characters or no text reach nobody as what they
// are.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	hostile := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, "a\u202eb", "\x1b[31mred", "'; DROP TABLE events; --", "{{.}}", "javascript:alert(1)", "a/../../b", "%2e%2e%2f",
	}
	for _, name := range hostile {
		e := happened(name, `{"note":"<b>\u202e</b>"}`)
		e.Tags = []string{name}
		w := evento.Write{Appends: []evento.Append{{AggregateType: evento.AggregateType(name), AggregateID: name, AnyVersion: true, Events: []evento.NewEvent{e}, RoutingKey: name, Metadata: evento.Metadata{ID: name, CorrelationID: name, CausationID: name, RequestedBy: name, Values: map[string]string{name: name}}}}}
		if _, err := ex.Write(t.Context(), w); err != nil {
			t.Logf("the store refuses %q: %v", name, err)
			continue
		}
	}
	for _, data := range [][]byte{[]byte("\xff\xfe\x00<script>"), []byte(`{"open":`), nil} {
		e := happened("Odd", "")
		e.Codec, e.Data = "own", data
		commit(t, ex, "odd", e)
	}
	head := 0
	for _, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		head++
	}
	if head < 8 {
		t.Fatalf("the store has taken %d events only", head)
	}
	server := serve(t, ex, console.Options{Store: hostile[0]})
	paths := []string{"", "events", "subscriptions", "nothing/" + url.PathEscape(hostile[0])}
	for i := range head {
		paths = append(paths, fmt.Sprint("events/", i+1))
	}
	for _, name := range hostile {
		for _, field := range []string{"type", "name", "id", "routing_key", "tag", "from", "to", "correlation", "text", "before", "after"} {
			paths = append(paths, "events?"+url.Values{field: {name}}.Encode())
		}
		paths = append(paths, "events/"+url.PathEscape(name), "causation/"+url.PathEscape(name), "subscriptions/"+url.PathEscape(name),
			"aggregates/"+url.PathEscape(name)+"/"+url.PathEscape(name))
	}
	for _, path := range paths {
		status, body := get(t, server, path)
		if status >= 500 {
			t.Errorf("%s: status %d", path, status)
		}
		body = typed.ReplaceAllString(body, "") // what the reader has asked for
		for _, bad := range []string{"<script>alert", "<img", "\u202e", "\x1b", "<b>\u202e", `href="javascript:`} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
	}
}

// A page that is open is told of new events that its filter selects, and of the time.
func TestLive(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, "a", happened("Before", `{}`))
	server := serve(t, ex, console.Options{})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/console/stream?rows=1&type=bank/Account&name=Wanted", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	next := func(begin string) string {
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), begin) {
				return lines.Text()
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return ""
	}
	next("event: clock")
	for n := range 3 {
		commit(t, ex, "a", happened("Other", `{}`), happened("Wanted", `{"n":1}`))
		row := next("data: <tr")
		says(t, "the row", row, fmt.Sprintf(`href="./events/%d"`, 3+2*n), "Wanted")
		if strings.Contains(row, "Other") {
			t.Errorf("it is told of another event: %s", row)
		}
	}
}

// The overview is told of its figures after each sample, also when nothing is committed.
func TestFigures(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, "a", happened("Opened", `{}`))
	server := serve(t, ex, console.Options{})
	_, body := get(t, server, "")
	stream := regexp.MustCompile(`data-stream="\./(stream[^"]*)"`).FindStringSubmatch(body)
	if stream == nil {
		t.Fatalf("the overview has no stream: %s", body)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/console/"+html.UnescapeString(stream[1]), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var put []string
	for lines := bufio.NewScanner(response.Body); len(put) < 2 && lines.Scan(); {
		if strings.Contains(lines.Text(), `id="figs"`) || strings.Contains(lines.Text(), `id="glance"`) {
			put = append(put, lines.Text())
		}
	}
	says(t, "what is put", strings.Join(put, ""), "Head of the log", "None has been started yet")
}
