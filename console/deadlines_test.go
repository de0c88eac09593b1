package console_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

func (d *desk) deadline(id, name string, at time.Time) {
	d.t.Helper()
	if _, err := evento.Aggregate(id).AnyVersion().Event(placed{}).Deadline(name, at, placed{}).Commit(d.t.Context(), d.ex); err != nil {
		d.t.Fatal(err)
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	has(t, d.page("deadlines"), "No deadline is set.", "RunDeadlines")
	d.deadline("later", "reminder", time.Now().Add(50*time.Hour))
	has(t, d.page("deadlines"), "1 deadline", "in 2 days", "None is overdue")
	d.deadline("a/b?c", "<b>pay\u202e</b>", time.Now().Add(-3*time.Hour))
	page := d.page("deadlines")
	harmless(t, page)
	has(t, page, "2 deadlines, 1 overdue", "Nobody seems to make them come true", "overdue for 3 hours", "Placed")
	if !strings.Contains(page, `href="./aggregates/shop%2fOrder/a%2fb%3fc"`) && !strings.Contains(page, `href="./aggregates/shop%2FOrder/a%2Fb%3Fc"`) {
		t.Errorf("it does not lead to the aggregate:\n%s", page)
	}
	if strings.Index(page, "overdue for") > strings.Index(page, "in 2 days") {
		t.Error("they are not in order")
	}
}

func TestManyDeadlines(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	for i := range 120 {
		d.deadline("a", fmt.Sprintf("d%03d", i), time.Now().Add(time.Hour+time.Duration(i)*time.Second))
	}
	page := d.page("deadlines")
	has(t, page, "50 deadlines and more", "d049")
	without(t, page, "d050")
	page = d.page("deadlines?from=100")
	has(t, page, "120 deadlines", "d100", "d119")
	without(t, page, "d099", `rel="next"`)
	page = d.page("deadlines?from=150") // there were more before
	has(t, page, "There are no more.")
	without(t, page, "No deadline is set.")
	if a := d.get("deadlines?from=100000"); a.status != http.StatusBadRequest {
		t.Errorf("far away: status %d", a.status)
	}
}

// Those before a damaged one are shown.
func TestDamagedDeadline(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.deadline("a", "first", time.Now().Add(time.Hour))
	if err := d.ex.Swap(t.Context(), evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "due", Key: "9000-01-02T03:04:05.000000Z", Part: "x"}, Value: []byte("{}")}}}); err != nil {
		t.Fatal(err)
	}
	has(t, d.page("deadlines"), "first", "A deadline cannot be read", "it is of another deadline")
}
