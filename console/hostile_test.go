package console_test

import (
	"bufio"
	"context"
	"fmt"
	"html"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
)

// pieces are what hostile texts are made of.
var pieces = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, `' onmouseover='x`, "</title>", "</textarea>", "<!--", "-->", "]]>", "<![CDATA[", "</svg><style>", "&lt;b&gt;", "&#60;", "&quot;",
	"javascript:alert(1)", "data:text/html,x", "//evil.example", `\\evil.example`, "{{.}}", "${x}", "`", "\u202e", "\u2066", "\u200b", "\u2028", "\u2029", "\u0085", "\ufeff", "\x1b[31m", "\r", "\n", "\r\n", "\n\nevent: put\ndata: <b>", "\t", "\u00a0",
	"..", ".", "/", "~", "%2e", "%00", "?a=b", "#c", "&d=e", "+", " ", ";", "'", `"`, "<", ">", "=", "é", "☃", "\U0001f4a9", "a", "b", "0",
}

func hostileText(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(6) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

var (
	tags       = regexp.MustCompile(`<(?:/[a-z0-9]+|([a-z0-9]+)((?:\s+[a-zA-Z-]+(?:="[^"<>]*")?)*)\s*/?)>`)
	attributes = regexp.MustCompile(`\s([a-zA-Z-]+)(?:="([^"]*)")?`)
	elements   = strings.Fields("html head meta title link script body a header span nav ul ol li b form label input p main footer h1 h2 h3 table caption colgroup col thead tbody tr th td time code pre div section dl dt dd svg path circle text tspan g figure details summary button option datalist fieldset legend noscript output ins del small")
)

// sound checks that markup is the console's own, that nothing of it runs anything, that links
// stay on the host, and that all of it can be seen but the fields that a reader has filled in.
func sound(t *testing.T, what, markup string) {
	t.Helper()
	known := map[string]bool{}
	for _, name := range elements {
		known[name] = true
	}
	for _, m := range tags.FindAllStringSubmatch(markup, -1) {
		if m[1] == "" {
			continue
		}
		if !known[m[1]] {
			t.Fatalf("%s has the element %s", what, m[0])
		}
		for _, a := range attributes.FindAllStringSubmatch(m[2], -1) {
			name, value := strings.ToLower(a[1]), html.UnescapeString(a[2])
			if strings.HasPrefix(name, "on") || name == "style" || name == "srcdoc" {
				t.Fatalf("%s has the attribute %s", what, m[0])
			}
			if name != "href" && name != "action" && name != "formaction" && name != "src" || value == "data:," {
				continue
			}
			to, err := url.Parse(value)
			if err != nil || to.Scheme != "" || to.Host != "" || strings.HasPrefix(value, "/") || strings.Contains(value, `\`) {
				t.Fatalf("%s leads to %q: %v", what, value, err)
			}
		}
	}
	rest := strings.Replace(tags.ReplaceAllString(markup, ""), "<!doctype html>", "", 1)
	if at := strings.IndexAny(rest, "<>"); at >= 0 {
		t.Fatalf("%s has markup that is not its own: %q", what, rest[max(at-60, 0):min(at+60, len(rest))])
	}
	for _, r := range html.UnescapeString(typed.ReplaceAllString(markup, "")) {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%s has the character %U", what, r)
		}
	}
}

// Whatever names, payloads and queries are, pages and fragments have no other markup than the
// console's, and frames of the stream are whole.
func TestThousandHostileTexts(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	r := rand.New(rand.NewPCG(1, 2))
	server := serve(t, ex, console.Options{Allow: all, Store: hostileText(r)})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/console/stream?rows=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	frames := bufio.NewScanner(response.Body)
	frames.Buffer(nil, 1<<20)
	frames.Scan() // it is open
	taken := 0
	for tries := 0; taken < 1000 && tries < 100_000; tries++ {
		text := func() string { return hostileText(r) }
		payload := []byte(text())
		codec := []string{"json", "cbor", text()}[r.IntN(3)]
		if codec == "json" && r.IntN(2) == 0 {
			payload = fmt.Appendf(nil, "{%q:\n %q}", "<k>\u202e", text())
		}
		e := evento.NewEvent{ID: evento.NewID(), Name: text(), Codec: codec, Data: payload, Tags: []string{text()}}
		w := evento.Write{Appends: []evento.Append{{
			AggregateType: evento.AggregateType(text()), AggregateID: text(), AnyVersion: true, Events: []evento.NewEvent{e}, RoutingKey: text(),
			Metadata: evento.Metadata{ID: text(), CorrelationID: text(), CausationID: text(), RequestedBy: text(), RequestedAs: text(), Values: map[string]string{text(): text()}},
		}}}
		if _, err := ex.Write(t.Context(), w); err == nil {
			taken++
		}
	}
	if taken < 1000 {
		t.Fatalf("the store has taken %d events", taken)
	}
	commit(t, ex, "last", happened("Last", `{}`))
	for frames.Scan() {
		line := frames.Text()
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok && line != "" && line != "event: row" && line != "event: clock" {
			t.Fatalf("the stream has the line %q", line)
		}
		if sound(t, "the stream", data); strings.Contains(data, ">Last<") {
			break
		}
	}
	paths := []string{"", "subscriptions", "deadlines", "doctor"}
	links, link := 0, regexp.MustCompile(`<a [^>]*href="\./((?:aggregates|causation|events)/[^"]*)"`)
	for at := "events"; at != ""; {
		_, body := get(t, server, at)
		sound(t, at, body)
		for _, m := range link.FindAllStringSubmatch(body, -1) {
			if links++; links%16 == 0 { // an event has three, so each kind comes
				paths = append(paths, html.UnescapeString(m[1]))
			}
		}
		_, next := shown(body)
		at = next["next"]
	}
	there := len(paths)
	for range 40 {
		name := url.QueryEscape(hostileText(r))
		part := url.PathEscape(hostileText(r))
		paths = append(paths, "nothing/"+part, "events/"+part, "causation/"+part+"?near="+name, "subscriptions/"+part, "subscriptions/"+part+"?routing_key="+name, "aggregates/"+part+"/"+part+"?v="+name,
			"events?text="+name, "events?type="+name+"&before="+name, "events?from="+name, "subscriptions?key="+name+"&from="+name, "subscriptions/"+part+"/reset?to="+name+"&place="+name, "subscriptions/"+part+"/parked/drop?event="+name)
	}
	for i, path := range paths {
		status, body := get(t, server, path)
		if status >= http.StatusInternalServerError || i < there && status != http.StatusOK {
			t.Errorf("%s: status %d", path, status)
		}
		sound(t, path, body)
	}
}
