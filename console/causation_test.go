package console

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// chain commits events of which each is caused by one before: by[i] is its index, -1 a request, and -2
// something that is not in the store.
func chain(t *testing.T, ex evento.Executor, correlation string, by ...int) (ids []evento.ID) {
	t.Helper()
	for i, cause := range by {
		m := evento.Metadata{CorrelationID: correlation}
		switch {
		case cause >= 0:
			m.CausationID = ids[cause].String()
		case cause == -2:
			m.CausationID = "gone"
		default:
			m.ID = "request"
		}
		ids = append(ids, anyEvent(t, ex, evento.AggregateKey{Type: "t", ID: fmt.Sprint("a", i%3)}, fmt.Sprint("E", i), i, m))
	}
	return ids
}

func TestCausation(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	anyEvent(t, ex, evento.AggregateKey{Type: "t", ID: "x"}, "Other", 1, evento.Metadata{CorrelationID: "other"})
	chain(t, ex, "payroll", -1, 0, 0, -1, 3, 4, -2)
	d := newSite(t, ex).get("/causation/payroll?near=4", http.StatusOK)
	d.says("What payroll led to", "7 events of 3 aggregates", "All 8 events of the store were looked at.", "payroll 1 request",
		"caused by gone, which is not among these")
	if strings.Contains(d.body, "Other") {
		t.Error("an event of another correlation is shown")
	}
	// The list is nested as the events are caused.
	list := d.all("li", "")
	for _, want := range []string{"E0 2 · a0 v1", "E1 3 · a1 v1", "E4 6 · a1 v2"} {
		found := false
		for _, text := range list {
			found = found || strings.HasPrefix(text, want)
		}
		if !found {
			t.Errorf("no item of the list begins with %q: %q", want, list)
		}
	}
	within := func(text string) (n int) {
		for _, item := range list {
			if strings.Contains(item, text) {
				n++
			}
		}
		return n
	}
	if got := within("E5 7") - within("E0 2"); got != 2 {
		t.Errorf("E5 is %d deeper than E0, want 2", got)
	}
	if current := d.one("aria-current", "true"); current.text != "E2" {
		t.Errorf("the current event is %q", current.text)
	}
	graph := d.one("role", "group")
	if graph.name != "svg" || graph.attrs["aria-label"] != "Causation graph: 7 events, 3 at the top, up to 3 deep" {
		t.Errorf("the graph is %v", graph.attrs)
	}
	if lines, dots := len(d.all("path", "")), len(d.all("circle", "")); lines != 7 || dots != 8 {
		t.Errorf("%d lines and %d dots, want 7 and 8", lines, dots)
	}
	d.one("href", "../events?correlation=payroll")
	d.one("href", "../aggregates/t/a0?v=1")
	d.one("href", "../events/2")
}

// An event without a correlation is the first of one that has its id.
func TestCausationOfAnEvent(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	id := anyEvent(t, ex, evento.AggregateKey{Type: "t", ID: "x"}, "First", 1, evento.Metadata{})
	anyEvent(t, ex, evento.AggregateKey{Type: "t", ID: "y"}, "Second", 1, evento.Metadata{CorrelationID: id.String(), CausationID: id.String()})
	d := newSite(t, ex).get("/causation/"+id.String(), http.StatusOK)
	d.says("2 events of 2 aggregates", "a requestFirst 1")
	if n := len(d.all("path", "")); n != 2 {
		t.Errorf("%d lines, want 2", n)
	}
}

// It is said how far it was looked, and there are links to look further.
func TestCausationLooksAround(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	chain(t, ex, "early", -1, 0)
	for range 6 {
		payloads := make([]evento.Payload, 500)
		for i := range payloads {
			payloads[i] = deposited{1}
		}
		commit(t, ex, "a", payloads...)
	}
	chain(t, ex, "late", -1, 0)
	counting := &counted{Executor: ex}
	s := newSite(t, counting)
	read := func(path string, status int) *doc {
		t.Helper()
		counting.n.Store(0)
		d := s.get(path, status)
		if n := counting.n.Load(); n > mostLooked+2 {
			t.Errorf("%s: %d events are read", path, n)
		}
		return d
	}
	d := read("/causation/late", http.StatusOK)
	d.says("2 events of 2 aggregates", "1,000 events were looked at, from position 2,005 to 3,004.")
	d.one("href", "?near=2005")
	if d.has("rel", "next") {
		t.Error("there is a link behind the newest")
	}
	d = read("/causation/early?near=1", http.StatusOK)
	d.says("2 events of 2 aggregates", "501 events were looked at, from position 1 to 501.")
	d.one("href", "?near=501")
	if d.has("rel", "prev") {
		t.Error("there is a link before the first")
	}
	read("/causation/early", http.StatusNotFound).says("There is no event of the correlation early here.", "from position 2,005 to 3,004")
	read("/causation/early?near=1500", http.StatusNotFound).says("1,000 events were looked at, from position 1,001 to 2,000.")
	read("/causation/late?near=99999999", http.StatusOK).says("2 events")
	read("/causation/late?near=x", http.StatusBadRequest).says(`near="x" is no position`)
	counting.noPositions = true
	read("/causation/late?near=1", http.StatusOK).says("2 events", "from position 2,005")
	newSite(t, newStore(t)).get("/causation/none", http.StatusNotFound).says("The store has no events.")
}

// A graph has a bounded number of events, those around the one that is asked for, and what is left
// out is said.
func TestLargeCausations(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	by := make([]int, 450)
	for i := range by {
		by[i] = i - 1 // each is caused by the one before
	}
	chain(t, ex, "long", by...)
	s := newSite(t, ex)
	d := s.get("/causation/long?near=250", http.StatusOK)
	d.says("200 of the 450 events that were found are shown: 149 earlier and 101 later ones are left out.", "caused by ")
	if dots := len(d.all("circle", "")); dots != mostNodes+1 {
		t.Errorf("the graph has %d dots, want %d", dots, mostNodes+1)
	}
	if current := d.one("aria-current", "true"); current.text != "E249" {
		t.Errorf("the current event is %q", current.text)
	}
	depth, deepest := 0, 0
	for _, tag := range strings.SplitAfter(d.body, ">") {
		switch {
		case strings.Contains(tag, "<ul"):
			depth++
			deepest = max(deepest, depth)
		case strings.Contains(tag, "</ul"):
			depth--
		}
	}
	if deepest > mostNested+2 {
		t.Errorf("the list is nested %d deep", deepest)
	}
	s.get("/causation/long", http.StatusOK).says("200 of the 450 events", "0 earlier and 250 later")
}

// circular is a store whose events cause each other.
type circular struct {
	evento.Executor
	by map[evento.ID]evento.ID
}

func (c *circular) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	page, err := c.Executor.Read(ctx, q, args)
	if err != nil {
		return nil, err
	}
	for i := range page.Edges {
		if by, ok := c.by[page.Edges[i].Node.ID]; ok {
			page.Edges[i].Node.Metadata.CausationID = by.String()
		}
	}
	return page, nil
}

// Events that cause themselves, or each other, are shown once.
func TestCircles(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	ids := chain(t, ex, "round", -1, -1, -1, -1)
	d := newSite(t, &circular{ex, map[evento.ID]evento.ID{ids[0]: ids[2], ids[1]: ids[0], ids[2]: ids[1], ids[3]: ids[3]}}).get("/causation/round", http.StatusOK)
	d.says("4 events of 3 aggregates", "which followed from it")
	if dots := len(d.all("circle", "")); dots != 5 {
		t.Errorf("%d dots, want 5", dots)
	}
	for i := range 4 {
		if n := strings.Count(d.body, fmt.Sprintf(">E%d</a>", i)); n != 1 {
			t.Errorf("E%d is %d times in the list", i, n)
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{0: "0 ms", 7300 * time.Millisecond: "7.3 s", time.Hour: "60 minutes", 72 * time.Hour: "3 days"} {
		if got := took(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}
