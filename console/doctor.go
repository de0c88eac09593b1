// The page of the doctor.

package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/evento-go/evento"
)

const (
	// examination is how long an examination may take.
	examination = 10 * time.Minute
	// waiting is how long a page waits for the end of an examination.
	waiting = 5 * time.Second
	// mostFindings is how many findings are kept and shown.
	mostFindings = 500
)

// checkup is the last examination of the store. It is safe for concurrent use: mu guards what is
// below it.
type checkup struct {
	mu       sync.Mutex
	running  chan struct{} // closed at the end; nil: none runs
	began    time.Time     // the one that runs
	at       time.Time     // the end of the last one; zero: there was none
	took     time.Duration
	findings []Finding
	more     int // findings that were not kept
	err      error
}

// start begins an examination, unless one runs, and returns what is closed at its end.
func (h *checkup) start(ctx context.Context, examine func(context.Context) ([]Finding, error)) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running != nil {
		return h.running
	}
	end := make(chan struct{})
	h.running, h.began = end, time.Now()
	// It goes on when its viewer has gone: the next one sees what was found.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), examination)
	go func() {
		defer cancel()
		found, err := examined(ctx, examine)
		h.end(found, err)
		close(end)
	}()
	return end
}

// examined calls a doctor, whose panic is an error: it runs in no request.
func examined(ctx context.Context, examine func(context.Context) ([]Finding, error)) (found []Finding, err error) {
	defer func() {
		if p := recover(); p != nil {
			found, err = nil, fmt.Errorf("the doctor panicked: %v", p)
		}
	}()
	return examine(ctx)
}

func (h *checkup) end(found []Finding, err error) {
	found = slices.Clone(found)
	slices.SortStableFunc(found, func(a, b Finding) int { return cmp.Compare(a.rank(), b.rank()) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = time.Now()
	h.took, h.running, h.err = h.at.Sub(h.began), nil, err
	h.more = max(len(found)-mostFindings, 0)
	h.findings = found[:len(found)-h.more]
}

// rank orders findings: errors come first.
func (f Finding) rank() int {
	if i := slices.Index([]string{"error", "warning", "note"}, f.Severity); i >= 0 {
		return i
	}
	return 3
}

// Bad reports whether something has to be done about a finding. It is for templates.
func (f Finding) Bad() bool { return f.rank() < 2 }

// doctorBody is the page of the doctor.
type doctorBody struct {
	There    bool // the console has a doctor
	Running  bool
	Began    time.Time
	Ran      bool
	At       time.Time
	Took     string
	Findings []findingRow
	More     int
	Error    string
	Command  string
}

type findingRow struct {
	Finding
	Link string // to the subscription that it is about; "": none
}

func (c *console) doctor(r *http.Request) (*page, error) {
	h := &c.checkup
	h.mu.Lock()
	defer h.mu.Unlock()
	b := &doctorBody{
		There: c.opts.Doctor != nil, Running: h.running != nil, Began: h.began, Ran: !h.at.IsZero(), At: h.at, Took: ago(h.took), More: h.more,
		Command: commandLine("doctor", nil),
	}
	title := "Doctor"
	if h.err != nil {
		b.Error = h.err.Error()
		if errors.Is(h.err, context.DeadlineExceeded) {
			b.Error = fmt.Sprintf("It took longer than %s; the command has no bound: %s", ago(examination), b.Error)
		}
	}
	counts := map[string]int{}
	for _, f := range h.findings {
		counts[f.Severity]++
		row := findingRow{Finding: f}
		if f.Check == "subscription" && f.Subject != "" {
			key, routing, _ := strings.Cut(f.Subject, " of routing key ")
			row.Link = linkTo(root(r), evento.SubscriptionName{Key: key, RoutingKey: routing}, nil)
		}
		b.Findings = append(b.Findings, row)
	}
	switch {
	case b.Running:
		title = "The doctor is looking"
	case b.Error != "":
		title = "The doctor could not finish"
	case b.Ran && counts["error"] == 0 && counts["warning"] == 0:
		title = "Nothing to mend"
	case b.Ran:
		title = plural(counts["error"], "error") + ", " + plural(counts["warning"], "warning")
	}
	return &page{Template: "doctor", Title: title, Nav: "doctor", Body: b}, nil
}

// examine runs the doctor, and leads to its page when it has finished, or takes long.
func (c *console) examine(w http.ResponseWriter, r *http.Request) {
	if c.opts.Doctor == nil {
		c.fail(w, r, notFound("This console has no doctor. The command has: %s", commandLine("doctor", nil)))
		return
	}
	wait := time.NewTimer(waiting)
	defer wait.Stop()
	select {
	case <-c.checkup.start(r.Context(), c.opts.Doctor):
	case <-wait.C:
	case <-r.Context().Done():
	}
	w.Header().Set("Location", "doctor") // it is relative: the prefix is not known
	w.WriteHeader(http.StatusSeeOther)
}
