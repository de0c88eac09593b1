// What pages are told while they are open, and what is remembered of the last hour: one goroutine
// watches the store for all viewers, and one follows it while there are any.

package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

const (
	sampleEvery = 10 * time.Second
	mostSamples = 360 // an hour
	tellEvery   = 500 * time.Millisecond
	mostRows    = 20 // that are told of at once
	mostWaiting = 8  // messages that wait for a slow viewer
	mostViewers = 1000
)

// sample is what the store was like at a moment.
type sample struct {
	at   time.Time
	head uint64
	lags map[evento.SubscriptionName]time.Duration
}

// live watches a store. It is safe for concurrent use: mu guards what is below it.
type live struct {
	ex     evento.Executor
	pages  *templates
	logger *slog.Logger
	// figures returns what viewers of the overview are told after each sample, of which it gets
	// the subscriptions, and whether there are more.
	figures func(ctx context.Context, statuses []status, more bool) (string, error)
	ended   chan struct{} // closed when the executor is closed
	end     func()        // closes it

	mu        sync.Mutex
	samples   []sample
	statuses  []status
	viewers   map[*viewer]struct{}
	following *follower // nil: nobody looks
}

// follower is what tells viewers of new events.
type follower struct {
	stop  context.CancelFunc
	began chan struct{} // closed when it knows the end of the log: it tells of everything behind that
}

// viewer is an open page.
type viewer struct {
	filter   string // as in the URL
	query    evento.Query
	rows     bool // it is told of events
	overview bool // it is told of the figures of the overview
	messages chan string
	missed   bool // a message did not reach it; guarded by live.mu
}

func newLive(ex evento.Executor, pages *templates, logger *slog.Logger) *live {
	ended := make(chan struct{})
	return &live{ex: ex, pages: pages, logger: logger, viewers: map[*viewer]struct{}{}, ended: ended, end: sync.OnceFunc(func() { close(ended) })}
}

// run takes samples until the executor is closed.
func (l *live) run() {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), sampleEvery)
		statuses, more, err := l.sample(ctx)
		if err == nil {
			err = l.tellFigures(ctx, statuses, more)
		}
		cancel()
		if errors.Is(err, evento.ErrClosed) {
			l.end()
			return
		}
		if err != nil {
			l.logger.Warn("evento: the console cannot see how the store is", "error", err)
		}
		select {
		case <-tick.C:
		case <-l.ended:
			return
		}
	}
}

// sample looks at the store once. It returns the subscriptions, and whether there are more.
func (l *live) sample(ctx context.Context) (statuses []status, more bool, err error) {
	head, err := headOf(ctx, l.ex)
	if err != nil {
		return nil, false, err
	}
	if statuses, more, err = statusesOf(ctx, l.ex, ""); err != nil {
		return nil, false, err
	}
	s := sample{at: time.Now(), head: head.Position, lags: map[evento.SubscriptionName]time.Duration{}}
	for i := range statuses {
		s.lags[statuses[i].name()] = statuses[i].Lag
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.samples) == mostSamples {
		l.samples = append(l.samples[:0], l.samples[1:]...)
	}
	l.samples = append(l.samples, s)
	l.statuses = statuses
	return statuses, more, nil
}

// headOf is the last event of a store; the zero event: there is none.
func headOf(ctx context.Context, ex evento.Executor) (evento.RawEvent, error) {
	page, err := ex.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
	if err != nil || len(page.Edges) == 0 {
		return evento.RawEvent{}, err
	}
	return page.Edges[0].Node, nil
}

// history returns the samples of the last hour.
func (l *live) history() []sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]sample(nil), l.samples...)
}

// see keeps the statuses that a page has read since the last sample.
func (l *live) see(statuses []status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.statuses = statuses
}

// problems is how many subscriptions needed attention when they were last looked at.
func (l *live) problems() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.statuses {
		if l.statuses[i].needsAttention() {
			n++
		}
	}
	return n
}

// join adds a viewer, and begins to follow for the first one. From when began is closed, the
// viewer is told of every event. ok is false if there are too many viewers.
func (l *live) join(v *viewer) (began <-chan struct{}, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.viewers) >= mostViewers {
		return nil, false
	}
	l.viewers[v] = struct{}{}
	if l.following == nil {
		ctx, stop := context.WithCancel(context.Background())
		l.following = &follower{stop, make(chan struct{})}
		go l.follow(ctx, l.following.began)
	}
	return l.following.began, true
}

func (l *live) leave(v *viewer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.viewers, v)
	if len(l.viewers) == 0 && l.following != nil {
		l.following.stop()
		l.following = nil
	}
}

// follow tells viewers of new events, until nobody looks or the executor is closed. It closes
// began when it knows the end of the log.
func (l *live) follow(ctx context.Context, began chan<- struct{}) {
	var at evento.RawEvent // the last one of which they were told
	for known := false; ctx.Err() == nil; {
		var err error
		if !known {
			if at, err = headOf(ctx, l.ex); err == nil {
				known = true
				close(began)
			}
		}
		if known {
			err = l.followFrom(ctx, &at)
		}
		if errors.Is(err, evento.ErrClosed) {
			l.end() // viewers are not told any more that they are live
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// followFrom tells viewers of the events behind one, which it moves on.
func (l *live) followFrom(ctx context.Context, at *evento.RawEvent) error {
	for {
		changed := l.ex.Changed()
		page, err := l.ex.Read(ctx, evento.Query{}, cursor.Backward(mostRows, ""))
		if err != nil {
			return err
		}
		if *at, err = l.tellNewer(page, *at); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		select { // more of them at once
		case <-ctx.Done():
			return nil
		case <-time.After(tellEvery):
		}
	}
}

// tellNewer tells viewers of the events of a page behind one of which they were told, and returns
// the last. Only the newest are told of, and how many were left out: nobody reads more.
func (l *live) tellNewer(page *cursor.Page[evento.RawEvent], at evento.RawEvent) (evento.RawEvent, error) {
	var fresh []*evento.RawEvent
	places := hasPositions(l.ex)
	for i := len(page.Edges) - 1; i >= 0 && page.Edges[i].Node.ID != at.ID; i-- {
		if places && page.Edges[i].Node.Position <= at.Position {
			break // a replica that is behind
		}
		fresh = append(fresh, &page.Edges[i].Node)
	}
	if len(fresh) == 0 {
		return at, nil
	}
	slices.Reverse(fresh)
	left, more := uint64(0), false // how many were left out; 0: it is not known
	switch {
	case len(fresh) < len(page.Edges):
	case !places:
		more = page.PageInfo.HasPreviousPage
	case fresh[0].Position > at.Position+1:
		left, more = fresh[0].Position-at.Position-1, true
	}
	return *fresh[len(fresh)-1], l.tell(fresh, left, more)
}

// tell tells viewers of events. Viewers with the same filter get the same text.
func (l *live) tell(fresh []*evento.RawEvent, left uint64, more bool) error {
	gap, err := l.gap(0)
	if err != nil {
		return err
	}
	begin := ""
	if more {
		if begin, err = l.gap(left); err != nil {
			return err
		}
	}
	rows := make([]string, len(fresh))
	texts := map[string]string{}
	l.mu.Lock()
	defer l.mu.Unlock()
	for v := range l.viewers {
		if !v.rows {
			continue
		}
		text, ok := texts[v.filter]
		if !ok {
			selected, err := l.rowsOf(fresh, &v.query, rows)
			if err != nil {
				return err
			}
			text = begin + selected
			texts[v.filter] = text
		}
		if text == "" {
			continue
		}
		if v.missed {
			text = gap + text
		}
		select {
		case v.messages <- text:
			v.missed = false
		default: // it is slow, and is told so with the next ones
			v.missed = true
		}
	}
	return nil
}

// rowsOf are the rows of the events that a query selects. It keeps in rows those that it has made.
func (l *live) rowsOf(fresh []*evento.RawEvent, q *evento.Query, rows []string) (string, error) {
	var b strings.Builder
	for i, e := range fresh {
		if !q.Matches(*e) {
			continue
		}
		if rows[i] == "" {
			row, err := l.pages.fragment("row", lineOf(e))
			if err != nil {
				return "", err
			}
			rows[i] = "event: row\ndata: " + row + "\n\n"
		}
		b.WriteString(rows[i])
	}
	return b.String(), nil
}

// gap is the row that stands for events of which viewers are not told; of 0: it is not known
// how many.
func (l *live) gap(left uint64) (string, error) {
	row, err := l.pages.fragment("left", left)
	return "event: row\ndata: " + row + "\n\n", err
}

// tellFigures tells viewers of the overview how it is now.
func (l *live) tellFigures(ctx context.Context, statuses []status, more bool) error {
	viewers := l.overviews()
	if len(viewers) == 0 {
		return nil
	}
	text, err := l.figures(ctx, statuses, more)
	if err != nil || text == "" {
		return err
	}
	for _, v := range viewers {
		select {
		case v.messages <- text:
		default: // it is slow, and sees the next ones
		}
	}
	return nil
}

func (l *live) overviews() (list []*viewer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for v := range l.viewers {
		if v.overview {
			list = append(list, v)
		}
	}
	return list
}

const (
	// clockEvery is how often a page is told that it is live.
	clockEvery = 5 * time.Second
	// askEvery is how many times it is told so before Allow is asked again: a login may have
	// ended.
	askEvery = 6
)

// stream is the page's end of what it is told.
func (c *console) stream(w http.ResponseWriter, r *http.Request) {
	f, err := filterOf(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v := &viewer{filter: f.values().Encode(), query: f.query(), rows: r.URL.Query().Has("rows") && !f.scans(), overview: r.URL.Query().Has("figures"), messages: make(chan string, mostWaiting)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy is not to collect what it is told
	if r.Method == http.MethodHead {
		return
	}
	began, ok := c.live.join(v)
	if !ok {
		http.Error(w, "Too many pages are open.", http.StatusServiceUnavailable)
		return
	}
	defer c.live.leave(v)
	send := sender(w)
	select {
	case <-began:
	case <-r.Context().Done():
		return
	case <-c.live.ended:
		return
	}
	clock := time.NewTicker(clockEvery)
	defer clock.Stop()
	now := func() string {
		return fmt.Sprintf("event: clock\ndata: %s UTC\n\n", time.Now().UTC().Format("15:04:05"))
	}
	asked := 0
	for message := now(); ; {
		if send(message) != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-c.live.ended:
			return
		case message = <-v.messages:
		case <-clock.C:
			if asked++; asked%askEvery == 0 && !c.allowed(r, Look) {
				return
			}
			message = now()
		}
	}
}

// sender returns what sends a text to an open page at once.
func sender(w http.ResponseWriter) func(text string) error {
	control := http.NewResponseController(w)
	return func(text string) error {
		// The server may have a deadline for whole pages. Who does not read is not waited for.
		_ = control.SetWriteDeadline(time.Now().Add(patience))
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		return control.Flush()
	}
}
