// Parked events: those of a subscription by their aggregates, and which of them a request is
// about.

package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

const (
	// mostParked is how many parked events a page looks at to show them by aggregates, of which
	// it shows fifty.
	mostParked = 2_000
	// mostOfOne is how many parked events of an aggregate are shown.
	mostOfOne = 50
	// mostChosen is how many parked events are looked at to count those that are chosen.
	mostChosen = 10_000
)

// parkedList are the parked events of a subscription, by aggregates.
type parkedList struct {
	Groups       []*parkedGroup // of this page
	Failed       int
	Waiting      int
	Shown        int    // events of this page's aggregates
	Looked       string // how many were looked at, if not all
	Left         string // what is left out
	Older, Newer string // links; "": none
	RetryTo      string // where the form goes; "": it is not allowed
	DropTo       string
	RoutingKey   string // a field of the form
	RetryAll     *act   // when not all are on the page
	DropAll      string // link
}

// parkedGroup are the parked events of an aggregate, in order.
type parkedGroup struct {
	Choice    string // what forms call the aggregate
	First     evento.Parked
	Count     int
	Failed    int
	Events    []evento.Parked // the first ones
	Aggregate eventRow        // for its link
	Root      string
}

// linkRowOf is a parked event for the link to its aggregate.
func linkRowOf(p *evento.Parked, root string) eventRow {
	return eventRow{Event: &evento.RawEvent{AggregateType: p.AggregateType, AggregateID: p.AggregateID, Version: p.Version}, Root: root}
}

// choiceOf is what forms call an aggregate.
func choiceOf(p *evento.Parked) string { return evento.HashIDs(string(p.AggregateType), p.AggregateID) }

// Title says what has failed, and how many wait.
func (g *parkedGroup) Title() string {
	what := "waits"
	if g.First.Error != "" {
		what = "failed"
	}
	title := fmt.Sprintf("%s %s %s", number(g.First.Position), printable.Text(g.First.Name), what)
	switch behind := g.Count - 1; behind {
	case 0:
		return title
	case 1:
		return title + ", 1 waits behind it"
	default:
		return title + ", " + number(behind) + " wait behind it"
	}
}

// Left is how many events are not shown.
func (g *parkedGroup) Left() int { return g.Count - len(g.Events) }

// Reason is the first line of the error.
func (g *parkedGroup) Reason() string { return reasonOf(g.First.Error) }

// Stack is what else the error says, and Frames where it was.
func (g *parkedGroup) Stack() string  { return restOfLines(g.First.Error) }
func (g *parkedGroup) Frames() string { return framesOf(g.First.Error) }

func reasonOf(text string) string {
	if text == "" {
		return "It waits for an earlier event of its aggregate, which was dropped or handled: retry it."
	}
	return firstLine(text)
}

// mostFrames is how many frames of a stack are in its title.
const mostFrames = 2

// framesOf names the first places of a stack that are not those of Go or of this library; "": it
// has none.
func framesOf(text string) string {
	lines := strings.Split(text, "\n")
	var frames []string
	folder := ""
	for i := 1; i < len(lines) && len(frames) < mostFrames; i++ {
		place, ok := strings.CutPrefix(lines[i], "\t")
		if !ok {
			continue
		}
		if isOfLibraries(lines[i-1]) {
			continue
		}
		place, _, _ = strings.Cut(place, " +0x")
		frame := path.Base(place)
		if dir := path.Base(path.Dir(place)); dir != folder {
			folder, frame = dir, dir+"/"+frame
		}
		frames = append(frames, printable.Line(frame))
	}
	return strings.Join(frames, ", ")
}

// isOfLibraries reports whether a function of a stack is one of Go or of this library.
func isOfLibraries(function string) bool {
	for _, prefix := range []string{"runtime.", "runtime/", "panic(", "created by ", "reflect.", "sync.", "testing.", "github.com/evento-go/evento."} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return false
}

// parked reads what a subscription has parked, and notes in its status how much that is.
func (c *console) parked(r *http.Request, s *status) (*parkedList, error) {
	from, err := offsetOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	name, l := s.name(), &parkedList{RoutingKey: s.RoutingKey}
	groups, looked := map[string]*parkedGroup{}, amount{}
	for p, err := range c.control(name).Parked(r.Context(), evento.AllParked()) {
		if looked.More = errors.Is(err, evento.ErrDamaged); looked.More {
			l.Looked = fmt.Sprintf("The first %s were looked at. Those behind cannot be read: %s", plural(looked.N, "parked event"), firstLine(err.Error()))
			break
		}
		if err != nil {
			return nil, err
		}
		if looked.More = looked.N == mostParked; looked.More {
			l.Looked = fmt.Sprintf("The first %s were looked at, and there are more.", plural(looked.N, "parked event"))
			break
		}
		looked.N++
		g := groups[choiceOf(&p)]
		if g == nil {
			g = &parkedGroup{Choice: choiceOf(&p), First: p, Root: root(r), Aggregate: linkRowOf(&p, root(r))}
			if n := len(groups); n >= from && n < from+pageRows {
				l.Groups = append(l.Groups, g)
			} else {
				g.First.Error = p.Error[:min(len(p.Error), 1)] // it is not shown
			}
			groups[g.Choice] = g
		}
		g.add(p)
		if p.Error != "" {
			l.Failed++
		} else {
			l.Waiting++
		}
	}
	s.Parked, s.ParkedMore = looked.N, looked.More
	for _, g := range l.Groups {
		l.Shown += g.Count
	}
	l.Older, l.Newer = pageLink(r, from+pageRows, len(groups)), newerLink(r, from)
	if left := len(groups) - len(l.Groups); left > 0 {
		l.Left = fmt.Sprintf("%s of %s are on this page.", number(len(l.Groups)), plural(len(groups), "aggregate"))
	}
	c.offerParked(r, s, l)
	return l, nil
}

func (g *parkedGroup) add(p evento.Parked) {
	g.Count++
	if p.Error != "" {
		g.Failed++
	}
	if len(g.Events) < mostOfOne {
		p.Error = p.Error[:min(len(p.Error), 1)] // whether it has failed: the text is the group's
		g.Events = append(g.Events, p)
	}
}

// offerParked adds what can be done with parked events.
func (c *console) offerParked(r *http.Request, s *status, l *parkedList) {
	name := s.name()
	whole := l.Shown == s.Parked && !s.ParkedMore
	if c.allowed(r, Retry) {
		l.RetryTo = linkTo(root(r), name, nil, "parked", "retry")
		if !whole {
			l.RetryAll = &act{
				ID: "retry-all", Verb: "Retry all", Allowed: true, Title: fmt.Sprintf("Retry all %s of %s?", s.ParkedEvents().Of("parked event"), named(name)),
				Text:    "Workers handle them again, aggregate by aggregate, each in order until one fails. What fails again stays parked.",
				Command: commandLine("subscriptions parked", []string{name.Key, "retry"}, append(routingFlag(name), "--all")...),
				Button:  "Retry " + s.ParkedEvents().Of("event"), To: l.RetryTo, Fields: []pair{{"all", "1"}},
			}
		}
	}
	if c.allowed(r, Drop) {
		l.DropTo = linkTo(root(r), evento.SubscriptionName{Key: name.Key}, nil, "parked", "drop") // its routing key is a field
		if !whole {
			l.DropAll = linkTo(root(r), name, url.Values{"all": {"1"}}, "parked", "drop")
		}
	}
}

// choice is which parked events a request is about.
type choice struct {
	all        bool
	one        evento.ID // if there are no aggregates, and not all are chosen
	aggregates map[string]bool
	fields     []pair // the same for a form
}

// choiceIn reads a choice from a form or a query: all=1, event=ID, or any number of
// aggregate=HASH.
func choiceIn(values url.Values) (*choice, error) {
	ch := &choice{all: values.Get("all") == "1", aggregates: map[string]bool{}}
	event, aggregates := values.Get("event"), values["aggregate"]
	switch {
	case ch.all && event == "" && len(aggregates) == 0:
		ch.fields = []pair{{"all", "1"}}
	case !ch.all && event != "" && len(aggregates) == 0:
		id, err := ulid.ParseStrict(event)
		if err != nil {
			return nil, badRequest("event=%q is no id.", event)
		}
		ch.one, ch.fields = id, []pair{{"event", id.String()}}
	case !ch.all && event == "" && len(aggregates) > 0:
		if len(aggregates) > pageRows {
			return nil, badRequest("%d aggregates are chosen, at most %d can be at once.", len(aggregates), pageRows)
		}
		for _, a := range aggregates {
			if !ch.aggregates[a] {
				ch.aggregates[a] = true
				ch.fields = append(ch.fields, pair{"aggregate", a})
			}
		}
	default:
		return nil, badRequest("Choose parked events: none was chosen.")
	}
	return ch, nil
}

func (ch *choice) has(p *evento.Parked) bool {
	switch {
	case ch.all:
		return true
	case len(ch.aggregates) > 0:
		return ch.aggregates[choiceOf(p)]
	}
	return p.ID == ch.one
}

// chosen are the parked events of a choice.
type chosen struct {
	Count, Failed int
	More          bool                  // there are more than were looked at
	Rows          []chosenRow           // the first ones
	filters       []evento.ParkedFilter // that choose the same
	aggregates    []evento.AggregateKey
}

type chosenRow struct {
	Parked    evento.Parked
	Aggregate eventRow
}

// Waiting is how many have not failed, and wait for others.
func (l *chosen) Waiting() int { return l.Count - l.Failed }

// Rest says how many are not shown; "": all are.
func (l *chosen) Rest() string {
	left := amount{l.Count - len(l.Rows), l.More}
	if left == (amount{}) {
		return ""
	}
	return left.Of("event") + " not shown here"
}

// Events is how many there are.
func (l *chosen) Events() amount { return amount{l.Count, l.More} }

// read reads what is chosen, and counts it as far as it looks.
func (ch *choice) read(ctx context.Context, control *evento.Control, root string) (*chosen, error) {
	l, looked, seen := &chosen{}, 0, map[string]bool{}
	for p, err := range control.Parked(ctx, evento.AllParked()) {
		if err != nil {
			return nil, err
		}
		if l.More = looked == mostChosen; l.More {
			break
		}
		if looked++; !ch.has(&p) {
			continue
		}
		if l.Count++; p.Error != "" {
			l.Failed++
		}
		if len(l.Rows) < pageRows {
			l.Rows = append(l.Rows, chosenRow{p, linkRowOf(&p, root)})
		}
		if hash := choiceOf(&p); !ch.all && !seen[hash] {
			seen[hash] = true
			l.aggregates = append(l.aggregates, evento.AggregateKey{Type: p.AggregateType, ID: p.AggregateID})
		}
	}
	switch {
	case l.More && !ch.all && (l.Count == 0 || len(seen) < len(ch.aggregates)):
		return nil, notFound("What was chosen is not among the first %s. Further ones are for the command: evento subscriptions parked.", plural(mostChosen, "parked event"))
	case l.Count == 0:
		return nil, notFound("What was chosen is not parked any more.")
	case ch.all:
		l.filters = []evento.ParkedFilter{evento.AllParked()}
	case len(ch.aggregates) == 0:
		l.filters = []evento.ParkedFilter{evento.ParkedEvent(ch.one)}
	default:
		for _, a := range l.aggregates {
			l.filters = append(l.filters, evento.ParkedOf(a.Type, a.ID))
		}
	}
	return l, nil
}

// chosenIn reads a choice, and what is chosen.
func (c *console) chosenIn(r *http.Request, name evento.SubscriptionName, values url.Values) (*choice, *chosen, error) {
	ch, err := choiceIn(values)
	if err != nil {
		return nil, nil, err
	}
	l, err := ch.read(r.Context(), c.control(name), root(r))
	return ch, l, err
}

// commands are the command lines that do the same.
func (ch *choice) commands(l *chosen, name evento.SubscriptionName, verb string) (lines []string) {
	words, flags := []string{name.Key, verb}, routingFlag(name)
	switch {
	case ch.all:
		return []string{commandLine("subscriptions parked", words, append(flags, "--all")...)}
	case len(ch.aggregates) == 0:
		return []string{commandLine("subscriptions parked", words, append(flags, "--event", ch.one.String())...)}
	}
	for _, a := range l.aggregates {
		lines = append(lines, commandLine("subscriptions parked", words, append(routingFlag(name), "--type", string(a.Type), "--id", a.ID)...))
	}
	return lines
}
