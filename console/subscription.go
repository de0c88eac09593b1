// The page of one subscription.

package console

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/internal/subscribed"
)

// subscriptionBody is the page of a subscription.
type subscriptionBody struct {
	Status     *status
	Name       string
	Sentence   string
	Done       string // what was done before the page was shown
	Problem    string // why the status cannot be read
	Stopped    []stoppedAt
	Parked     *parkedList
	Partitions []partitionRow
	Selects    []pair
	History    *plot
	Waits      string // the lag in words
	Changed    string
	Reset      string // link; "": it is not allowed
	RetryLine  string // the command line for an aggregate
	Acts       []act
	Commands   []string // that do the same, when it is not allowed
}

// stoppedAt is an event at which a partition stands.
type stoppedAt struct {
	Partition int
	Title     string
	Error     string
	Event     string // link; "": it is not known
	Behind    string // link to a reset behind it; "": there is none
	Since     time.Time
	Failed    bool // the worker has stopped, rather than to try again
}

// partitionRow is a partition in the table.
type partitionRow struct {
	evento.PartitionStatus
	State   evento.SubscriptionState
	Bad     bool
	HeardOf string
}

const mostStopped = 5 // that are shown

func (c *console) subscription(r *http.Request) (*page, error) {
	ctx, name := r.Context(), nameOf(r)
	s, err := statusOf(ctx, c.ex, name)
	if errors.Is(err, evento.ErrNotFound) {
		if ok, err := c.hasSubscription(ctx, name.Key); err == nil && ok && name.RoutingKey == "" {
			return c.subscriptionsOf(r, name.Key) // those of its routing keys
		}
		return nil, notFound("There is no subscription %s.", named(name))
	}
	if err != nil {
		return nil, err
	}
	b := &subscriptionBody{Status: s, Name: named(name), Done: doneText(r.URL.Query()), Waits: lagText(s.Lag)}
	if !s.known() {
		b.Problem = s.Error
	}
	b.Sentence, b.Changed, b.Selects = s.lede(), s.changed(), selectionOf(&s.Selection)
	b.History = lagOf(c.live.history(), &name)
	b.Stopped = c.stopped(r, s)
	if s.Parked > 0 {
		if b.Parked, err = c.parked(r, s); err != nil {
			return nil, err
		}
	}
	for i := range s.Partitions {
		p := &s.Partitions[i]
		row := partitionRow{PartitionStatus: *p, State: p.State(), HeardOf: "—"}
		row.Bad = row.State == evento.SubscriptionFailed || row.State == evento.SubscriptionDead || row.State == evento.SubscriptionRetrying
		if p.Owner != "" {
			row.HeardOf = ago(max(s.Now.Sub(p.ChangedAt), 0)) + " ago"
		}
		b.Partitions = append(b.Partitions, row)
	}
	b.RetryLine = commandLine("subscriptions parked", []string{name.Key, "retry"}, append(routingFlag(name), "--type", "TYPE", "--id", "ID")...)
	c.offer(r, b)
	return &page{Template: "subscription", Title: b.Name, Nav: "subscriptions", Body: b}, nil
}

// offer adds what can be done, or the command lines that do the same.
func (c *console) offer(r *http.Request, b *subscriptionBody) {
	name := b.Status.name()
	if b.Status.State == stateDamaged {
		b.Commands = []string{commandLine("subscriptions show", []string{name.Key}, routingFlag(name)...)}
		return
	}
	b.Acts = c.pauses(r, b.Status, "0")
	if len(b.Acts) == 0 && b.Status.known() {
		verb := "pause"
		if b.Status.State == evento.SubscriptionPaused {
			verb = "resume"
		}
		b.Commands = append(b.Commands, commandLine("subscriptions "+verb, []string{name.Key}, routingFlag(name)...))
	}
	if c.allowed(r, Reset) {
		b.Reset = b.Status.link(root(r), "reset")
	} else {
		b.Commands = append(b.Commands, commandLine("subscriptions reset", []string{name.Key}, append(routingFlag(name), "--to-start")...))
	}
	if b.Parked == nil {
		return
	}
	for _, a := range []Action{Retry, Drop} {
		if !c.allowed(r, a) {
			b.Commands = append(b.Commands, commandLine("subscriptions parked", []string{name.Key, string(a)}, append(routingFlag(name), "--all")...))
		}
	}
}

// stopped are the events at which partitions stand.
func (c *console) stopped(r *http.Request, s *status) (all []stoppedAt) {
	for i := range s.Partitions {
		p := &s.Partitions[i]
		if p.Error == "" || len(all) == mostStopped {
			continue
		}
		at := stoppedAt{Partition: i, Error: subscribed.OwnError(s.name(), p.Error), Since: p.ChangedAt, Failed: p.Owner == ""}
		at.Title = "A worker tries an event again"
		if at.Failed {
			at.Title = "It has stopped before an event"
		}
		id, err := ulid.ParseStrict(p.ErrorEvent)
		if err == nil {
			at.Event = root(r) + "events/" + id.String()
		}
		if err == nil && len(all) == 0 { // others are found on their own pages
			c.describe(r, s, &at, id)
		}
		all = append(all, at)
	}
	return all
}

// describe says which event it is, if it is found.
func (c *console) describe(r *http.Request, s *status, at *stoppedAt, id evento.ID) {
	e, err := c.stoppedAt(r.Context(), s, id)
	if err != nil {
		return // the page goes without
	}
	at.Event = root(r) + "events/" + c.place(e.Position, e.ID)
	what := fmt.Sprintf("%s %s", number(e.Position), printable.Text(e.Name))
	at.Title = "A worker tries " + what + " again"
	if !at.Failed {
		return
	}
	at.Title = "It has stopped before " + what
	if len(s.Partitions) == 1 && hasPositions(c.ex) && c.allowed(r, Reset) {
		at.Behind = linkTo(root(r), s.name(), url.Values{"to": {"position"}, "place": {strconv.FormatUint(e.Position, 10)}}, "reset")
	}
}

// lede is a sentence about what a subscription does.
func (s *status) lede() string {
	var what string
	switch s.State {
	case stateDamaged:
		return "Its records are not what the library has written. Restore them from a backup, or forget it with evento subscriptions remove."
	case stateUnreadable:
		return "Its place is not one of this store, or beyond its end: an older backup may have been restored. Reset it to the positions that it has stored."
	case evento.SubscriptionPaused:
		what = "It handles nothing until it is resumed"
	case evento.SubscriptionFailed:
		what = "Its worker has stopped at an event that it could not handle"
	case evento.SubscriptionDead:
		what = "Its worker gives no sign of life: " + s.owners()
	case evento.SubscriptionStopped:
		what = "Nobody runs it"
	default:
		what = "Runs on " + s.owners()
	}
	if s.Behind == 0 {
		what += ", at the head of the log."
	} else {
		what += ", with " + s.pending() + " to look at."
	}
	if s.Parked > 0 {
		return what + " Failed events are put aside, with the later ones of the same aggregate; all others go on."
	}
	return what + " It handles events one after the other, and keeps its place under this key."
}

// Waiting says how many events wait.
func (s *status) Waiting() string {
	if s.Behind == 1 && !s.More {
		return "1 event is"
	}
	return s.pending() + " are"
}

// changed says who changed it from outside, and when.
func (s *status) changed() string {
	if s.Changed.What == "" {
		return ""
	}
	words := map[string]string{
		"Pause": "Paused", "Resume": "Resumed", "RetryParked": "A retry was asked for", "DropParked": "Parked events were dropped",
		"ResetToStart": "Reset to the start", "ResetToPosition": "Reset to a position", "ResetToCursor": "Reset to a cursor",
		"ResetToTime": "Reset to a time", "ResetToStored": "Reset to the stored positions",
	}
	what := words[s.Changed.What]
	if what == "" {
		what = "Changed (" + printable.Text(s.Changed.What) + ")"
	}
	return what + " by " + printable.Text(s.Changed.By) + ", " + clock(s.Changed.At)
}

// mostSelected is how many names of a selection are shown.
const mostSelected = 20

// selectionOf is which events a subscription handles, in words.
func selectionOf(s *evento.Selection) (list []pair) {
	list = append(list, pair{"Selects", subscribed.Scope(s.All, s.RoutingKey)})
	for _, t := range slices.Sorted(maps.Keys(s.Events)) {
		names := "all events"
		if len(s.Events[t]) > 0 {
			names = someOf(s.Events[t])
		}
		list = append(list, pair{printable.Text(string(t)), names})
	}
	for _, t := range slices.Sorted(maps.Keys(s.Aggregates)) {
		list = append(list, pair{printable.Text(string(t)), "only " + someOf(s.Aggregates[t])})
	}
	if more := len(list) - mostSelected; more > 0 {
		list = append(list[:mostSelected], pair{"", plural(more, "line") + " more are left out"})
	}
	return list
}

func someOf(texts []string) string {
	shown := make([]string, 0, mostSelected)
	for _, text := range texts[:min(len(texts), mostSelected)] {
		shown = append(shown, printable.Text(text))
	}
	words := strings.Join(shown, ", ")
	if more := len(texts) - mostSelected; more > 0 {
		words += fmt.Sprintf(" and %d more", more)
	}
	return words
}

// found returns the status of a subscription, and says so if there is none.
func (c *console) found(ctx context.Context, name evento.SubscriptionName) (*status, error) {
	s, err := statusOf(ctx, c.ex, name)
	if errors.Is(err, evento.ErrNotFound) {
		return nil, notFound("There is no subscription %s.", named(name))
	}
	return s, err
}
