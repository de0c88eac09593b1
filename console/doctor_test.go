package console_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento/console"
)

func TestDoctorOfTheCommand(t *testing.T) {
	t.Parallel()
	d := newDesk(t, &console.Options{Store: "the bank"}) // which is no URL
	page := d.page("doctor")
	has(t, page, "This console has no doctor.", "The command has: evento doctor\n")
	without(t, page, `method="post"`)
	if a := d.post("doctor", nil); a.status != http.StatusNotFound {
		t.Errorf("it runs: %+v", a)
	}
}

func TestDoctorFindings(t *testing.T) {
	t.Parallel()
	calls := 0
	d := newDesk(t, &console.Options{Doctor: func(context.Context) ([]console.Finding, error) {
		calls++
		switch calls {
		case 1:
			return []console.Finding{
				{Severity: "note", Check: "payload", Detail: "a note"},
				{Severity: "warning", Check: "subscription", Subject: "m of routing key eu", Detail: "it is paused", Remedy: "resume it"},
				{Severity: "error", Check: "event", Subject: "<script>alert(1)</script>", Detail: "gone \u202e\nand \x1b more <img src=x>", Remedy: "<img src=x>"},
			}, nil
		case 2:
			return nil, nil
		case 3:
			return nil, errors.New("the server has gone")
		}
		panic("no more")
	}})
	has(t, d.page("doctor"), "Check now", "It reads every event once")
	if calls != 0 {
		t.Error("looking at the page has run it")
	}
	run := func() string {
		t.Helper()
		a := d.post("doctor", nil)
		if a.status != http.StatusSeeOther || a.location != "doctor" {
			t.Fatalf("a run: %+v", a)
		}
		return d.page(a.location)
	}
	page := run()
	has(t, page, "1 error, 1 warning", "resume it", "a note", `gone \u202e`, `and \x1b more`)
	harmless(t, page)
	if a, b, c := strings.Index(page, ">error<"), strings.Index(page, ">warning<"), strings.Index(page, ">note<"); a < 0 || a > b || b > c {
		t.Errorf("errors are not first:\n%s", page)
	}
	if !strings.Contains(page, `href="./subscriptions/m?routing_key=eu"`) {
		t.Errorf("it does not lead to the subscription:\n%s", page)
	}
	has(t, run(), "Nothing to mend", "Nothing was found.")
	has(t, run(), "The doctor could not finish", "the server has gone")
	has(t, run(), "The doctor could not finish", "the doctor panicked: no more")
	d.post("doctor", nil, "Origin", "http://elsewhere.example")
	if calls != 4 {
		t.Errorf("it ran %d times, want 4", calls)
	}
}

// One examination runs at a time, and goes on when its viewer has gone.
func TestDoctorRunsOnce(t *testing.T) {
	t.Parallel()
	began, end := make(chan struct{}), make(chan struct{})
	var calls, running atomic.Int32
	d := newDesk(t, &console.Options{Doctor: func(ctx context.Context) ([]console.Finding, error) {
		if running.Add(1) > 1 {
			t.Error("two run at a time")
		}
		defer running.Add(-1)
		if calls.Add(1) == 1 {
			close(began)
		}
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("it has no bound in time")
		}
		<-end
		return nil, ctx.Err()
	}})
	d.token()
	gone, leave := context.WithCancel(t.Context())
	first := make(chan struct{})
	go func() {
		defer close(first)
		r, err := http.NewRequestWithContext(gone, http.MethodPost, d.at+"doctor", strings.NewReader("token="+d.token()))
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := d.client.Do(r)
		if err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-began
	has(t, d.page("doctor"), "The doctor is looking")
	leave()
	<-first
	others := make(chan answer)
	for range 3 {
		go func() { others <- d.post("doctor", nil) }()
	}
	close(end)
	for range 3 {
		if a := <-others; a.status != http.StatusSeeOther {
			t.Errorf("another run: %+v", a)
		}
	}
	has(t, d.page("doctor"), "Nothing to mend")
}
