// The page of all subscriptions, and where the pages of each are.

package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/internal/subscribed"
)

// subscriptionsBody is the page of all subscriptions.
type subscriptionsBody struct {
	Rows         []subscriptionRow
	Head         uint64
	Key          string // only those with this key; "": all
	Older, Newer string // links; "": none
	Left         string // what is left out
	More         bool   // there are more than were looked at
	Acts         bool   // some row has a button
}

// subscriptionRow is a subscription in the table.
type subscriptionRow struct {
	status
	Link    string // to its page; "": it has none
	Owners  string
	Waits   string // the lag in words
	Why     string // what needs attention
	Since   time.Time
	History *plot
	Reset   string // link; "": it is not allowed
	Acts    []act
}

func (c *console) subscriptions(r *http.Request) (*page, error) {
	return c.subscriptionsOf(r, r.URL.Query().Get("key"))
}

// subscriptionsOf is the page of the subscriptions with a key; "": of all.
func (c *console) subscriptionsOf(r *http.Request, key string) (*page, error) {
	from, err := offsetOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	all, more, err := statusesOf(r.Context(), c.ex, key)
	if err != nil {
		return nil, err
	}
	b := &subscriptionsBody{Key: key, More: more, Older: pageLink(r, from+pageRows, len(all)), Newer: newerLink(r, from)}
	shown := all[min(from, len(all)):min(from+pageRows, len(all))]
	if left := len(all) - len(shown); left > 0 {
		b.Left = plural(left, "subscription") + " on other pages."
	}
	history := c.live.history()
	for i := range shown {
		row := c.subscriptionRow(r, shown[i], i, history)
		if err := row.explain(r.Context(), c.control(row.name())); err != nil {
			return nil, err
		}
		b.Head, b.Acts = max(b.Head, row.Head), b.Acts || row.Reset != "" || len(row.Acts) > 0
		b.Rows = append(b.Rows, row)
	}
	return &page{Template: "subscriptions", Title: "Subscriptions", Nav: "subscriptions", Body: b}, nil
}

func (c *console) subscriptionRow(r *http.Request, s status, i int, history []sample) subscriptionRow {
	row := subscriptionRow{status: s, Owners: s.owners(), Waits: lagText(s.Lag)}
	if s.Key == "" { // the records that cannot be read
		return row
	}
	row.Link = s.link(root(r))
	name := s.name()
	row.History = lagOf(history, &name)
	row.History.Hot = s.urgency() < 5 && row.History.Last() > 0
	if s.State != stateDamaged {
		row.Acts = c.pauses(r, &row.status, strconv.Itoa(i))
		if c.allowed(r, Reset) {
			row.Reset = s.link(root(r), "reset")
		}
	}
	return row
}

// explain finds why a subscription needs attention: its error, or that of the first event that
// it has parked.
func (row *subscriptionRow) explain(ctx context.Context, control *evento.Control) error {
	row.Why = subscribed.OwnError(row.name(), row.Error)
	for i := range row.Partitions {
		if p := &row.Partitions[i]; p.Error == row.Error && p.Error != "" {
			row.Since = p.ChangedAt
		}
	}
	if row.Why != "" || row.Parked == 0 {
		return nil
	}
	looked := 0
	for p, err := range control.Parked(ctx, evento.AllParked()) {
		if err != nil {
			return err
		}
		if looked++; p.Error != "" || looked == pageRows {
			row.Why, row.Since = p.Error, p.ParkedAt
			break
		}
	}
	return nil
}

// offsetOf is how many rows of a list a page passes over.
func offsetOf(values url.Values) (int, error) {
	text := values.Get("from")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, badRequest("from=%q is no number of rows.", text)
	}
	return int(n), nil
}

// pageLink is the link to the page of the same list that begins at an offset; "" if there is
// nothing.
func pageLink(r *http.Request, from, rows int) string {
	if from >= rows {
		return ""
	}
	values := url.Values{"from": {strconv.Itoa(from)}}
	for _, name := range []string{"key", "routing_key"} {
		if text := r.URL.Query().Get(name); text != "" {
			values.Set(name, text)
		}
	}
	return "?" + values.Encode()
}

func newerLink(r *http.Request, from int) string {
	if from == 0 {
		return ""
	}
	return pageLink(r, max(from-pageRows, 0), from)
}

// link is the link to a page of a subscription.
func (s *status) link(root string, below ...string) string {
	return linkTo(root, s.name(), nil, below...)
}

// subscriptionLink is a link to the page of a subscription, for templates.
type subscriptionLink struct {
	Key, RoutingKey string
	To              string // "": it has no page, as its name is not known
}

// LinkFrom is the link from a page of a root.
func (s status) LinkFrom(root string) subscriptionLink {
	l := subscriptionLink{Key: s.Key, RoutingKey: s.RoutingKey}
	if s.Key != "" {
		l.To = s.link(root)
	}
	return l
}

// linkTo is the link to a page of a subscription, with further values of its query.
func linkTo(root string, name evento.SubscriptionName, values url.Values, below ...string) string {
	to := root + strings.Join(append([]string{"subscriptions", escape(name.Key)}, below...), "/")
	if values == nil {
		values = url.Values{}
	}
	if name.RoutingKey != "" {
		values.Set("routing_key", name.RoutingKey)
	}
	if len(values) > 0 {
		to += "?" + values.Encode()
	}
	return to
}

// nameOf is the subscription that a path and a query name.
func nameOf(r *http.Request) evento.SubscriptionName {
	return evento.SubscriptionName{Key: unescape(r.PathValue("key")), RoutingKey: r.URL.Query().Get("routing_key")}
}

// named is the name of a subscription in a sentence.
func named(name evento.SubscriptionName) string {
	if name.RoutingKey == "" {
		return printable.Text(name.Key)
	}
	return printable.Text(name.Key) + " of routing key " + printable.Text(name.RoutingKey)
}

func (c *console) control(name evento.SubscriptionName) *evento.Control {
	return evento.ControlOf(c.ex, name.Key).RoutingKey(name.RoutingKey)
}

// mostOwners is how many hosts stand in a cell.
const mostOwners = 3

// owners are the hosts of a subscription's workers.
func (s *status) owners() string {
	var hosts []string
	for i := range s.Partitions {
		p := &s.Partitions[i]
		if p.Owner == "" {
			continue
		}
		host := printable.Text(p.Host)
		if !p.Live {
			host += " (dead)"
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 {
		return "—"
	}
	text := strings.Join(hosts[:min(len(hosts), mostOwners)], ", ")
	if more := len(hosts) - mostOwners; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// pending is how many events a subscription has to look at.
func (s *status) pending() string {
	return amount{int(s.Behind), s.More}.Of("event")
}

// lagText is a lag in words.
func lagText(lag time.Duration) string {
	switch {
	case lag <= 0:
		return "0"
	case lag < time.Second:
		return "< 1s"
	}
	return ago(lag)
}
