package console_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
)

var ids = regexp.MustCompile(`href="\./events/([0-9A-Z]{26})"`)

// Where several stores are together, positions are no places: the pages of events go from cursor
// to cursor, and events are found by their ids.
func TestEventsOfAGroup(t *testing.T) {
	t.Parallel()
	one, other := memory.New(nil), memory.New(nil)
	g := group.New(one, other)
	t.Cleanup(func() { _ = g.Close() })
	const count = 130
	for i := range count {
		store := one
		if i%3 == 0 {
			store = other
		}
		commit(t, store, fmt.Sprint("a", i%3), happened([]string{"Opened", "Closed"}[i%2], fmt.Sprintf(`{"n":%d}`, i)))
	}
	server := serve(t, g, console.Options{Allow: all})
	for query, want := range map[string]int{
		"": count, "?type=bank/Account&id=a0": 44, "?name=Closed": count / 2, "?from=1h": count, "?to=1h": 0, "?from=1h&to=2999-01-01&name=Closed": count / 2,
	} {
		seen, pages, back := map[string]bool{}, 0, ""
		var first []string
		for at := "events" + query; at != "" && pages < 10; pages++ {
			status, body := get(t, server, at)
			if status != http.StatusOK {
				t.Fatalf("%s: status %d: %s", at, status, body)
			}
			for _, m := range ids.FindAllStringSubmatch(body, -1) {
				if seen[m[1]] {
					t.Errorf("%s: %s comes twice", at, m[1])
				}
				if seen[m[1]] = true; pages == 0 {
					first = append(first, m[1])
				}
			}
			_, links := shown(body)
			at, back = links["next"], links["prev"]
		}
		if len(seen) != want {
			t.Errorf("events%s: %d events on %d pages, want %d", query, len(seen), pages, want)
		}
		if pages < 2 {
			continue
		}
		var last []string
		for n := 0; back != "" && n < 10; n++ {
			_, body := get(t, server, back)
			last = nil
			for _, m := range ids.FindAllStringSubmatch(body, -1) {
				last = append(last, m[1])
			}
			_, links := shown(body)
			back = links["prev"]
		}
		if len(last) == 0 || last[0] != first[0] {
			t.Errorf("events%s: back again: %v, want to begin with %s", query, last, first[0])
		}
	}
	_, body := get(t, server, "events?name=Closed")
	id := ids.FindStringSubmatch(body)[1]
	status, body := get(t, server, "events/"+id)
	if status != http.StatusOK {
		t.Fatalf("the page of an event: status %d: %s", status, body)
	}
	says(t, "the event", body, "Closed", id)
	if strings.Contains(body, `aria-label="Event before`) {
		t.Error("it has an event before it by position")
	}
	for path, want := range map[string]int{"events/5": http.StatusNotFound, "events?before=%00": http.StatusBadRequest, "events?after=x": http.StatusBadRequest, "go?q=" + id: http.StatusSeeOther, "events/01ARZ3NDEKTSV4RRFFQ69G5FAV": http.StatusNotFound} {
		if status, _ := get(t, server, path); status != want {
			t.Errorf("%s: status %d, want %d", path, status, want)
		}
	}
}

// A page says that there are more only if there are, and how far it looked in which direction.
func TestPagesWithBounds(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	for i := range 1200 {
		commit(t, ex, "a", happened("Opened", fmt.Sprintf(`{"n":%d}`, i)))
	}
	server := serve(t, ex, console.Options{})
	_, body := get(t, server, "events?before=30&from=1h")
	if list, links := shown(body); len(list) != 29 || links["next"] != "" || links["prev"] == "" {
		t.Errorf("the oldest: %v, %v", list, links)
	}
	_, body = get(t, server, "events?text=nowhere&after=1")
	says(t, "looking up", body, "Looked at 1,000 events, up to ")
	if strings.Contains(body, "0001-01-01") {
		t.Error("it says that it looked to the year 1")
	}
	_, body = get(t, server, "events?text=nowhere")
	says(t, "looking back", body, "Looked at 1,000 events, back to ")
}

// A time is an end of the list: there is nothing newer within the filter.
func TestNothingNewerThanTo(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	var at string
	for i := range 3 {
		commit(t, ex, "a", happened("Opened", `{}`))
		if i == 1 {
			_, body := get(t, serve(t, ex, console.Options{}), "events/2")
			at = regexp.MustCompile(`<time datetime="([^"]+)"`).FindStringSubmatch(body)[1]
		}
	}
	server := serve(t, ex, console.Options{})
	_, body := get(t, server, "events?to="+at)
	list, links := shown(body)
	if len(links) > 0 || strings.Contains(body, "of more") {
		t.Errorf("events before %s: %v, but it has links to others: %v", at, list, links)
	}
}
