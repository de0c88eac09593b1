// What changes something: each is a POST that a page has asked for, and then leads to a page.

package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

func (c *console) actions(mux *http.ServeMux) {
	const subscription = "/subscriptions/{key}"
	mux.HandleFunc("POST "+subscription+"/pause", c.change(Pause, c.pause))
	mux.HandleFunc("POST "+subscription+"/resume", c.change(Resume, c.resume))
	mux.HandleFunc("GET "+subscription+"/reset", c.serve(c.askReset))
	mux.HandleFunc("POST "+subscription+"/reset", c.change(Reset, c.reset))
	mux.HandleFunc("POST "+subscription+"/parked/retry", c.change(Retry, c.retry))
	mux.HandleFunc("GET "+subscription+"/parked/drop", c.serve(c.askDrop))
	mux.HandleFunc("POST "+subscription+"/parked/drop", c.change(Drop, c.drop))
}

// done is what was done, as the page to which it leads says it: a word that [doneText] knows, and
// a number. Texts of a request do not get onto the page.
type done struct {
	what string
	n    amount
}

var doneTexts = map[string]string{
	"pause": "It is paused. Its workers notice within a second.", "resume": "It goes on. Its workers notice within a second.",
	"reset": "It goes on from another place. Its workers notice within a second.",
}

// doneText says what was done, as the query of a page has it; "": nothing.
func doneText(values url.Values) string {
	n, err := amountIn(values.Get("n"))
	if err != nil {
		return doneTexts[values.Get("done")]
	}
	switch values.Get("done") {
	case "retry":
		return "Workers were asked to handle " + n.Of("parked event") + " again. What fails again stays parked."
	case "drop":
		return n.Of("parked event") + " dropped."
	}
	return ""
}

// change makes the handler of a change: it does it for who may, and leads to the page of the
// subscription. [console.guard] has looked at where the request comes from.
func (c *console) change(a Action, do func(r *http.Request, name evento.SubscriptionName) (done, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		r = r.WithContext(ctx)
		if !c.allowed(r, a) {
			c.fail(w, r, forbidden("You may not do this here. Nothing was changed."))
			return
		}
		name := nameOf(r)
		d, err := do(r, name)
		if err != nil {
			c.fail(w, r, ofChange(err, name))
			return
		}
		values := url.Values{"done": {d.what}}
		if d.n.N > 0 {
			values.Set("n", d.n.inForms())
		}
		w.Header().Set("Location", linkTo(root(r), name, values)) // it is relative: the prefix is not known
		w.WriteHeader(http.StatusSeeOther)
	}
}

// ofChange is the error of a change, as a page says it.
func ofChange(err error, name evento.SubscriptionName) error {
	var known *refusal
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, evento.ErrNotFound):
		return notFound("There is no subscription %s.", named(name))
	case errors.Is(err, evento.ErrReadOnly):
		return forbidden("The store is open to be looked at. Nothing was changed.")
	}
	return err
}

func (c *console) pause(r *http.Request, name evento.SubscriptionName) (done, error) {
	return done{what: "pause"}, c.control(name).Pause(r.Context())
}

func (c *console) resume(r *http.Request, name evento.SubscriptionName) (done, error) {
	return done{what: "resume"}, c.control(name).Resume(r.Context())
}

// retry asks the workers to handle parked events again.
func (c *console) retry(r *http.Request, name evento.SubscriptionName) (done, error) {
	_, l, err := c.chosenIn(r, name, r.PostForm)
	if err != nil {
		return done{}, err
	}
	for _, f := range l.filters {
		// What was handled meanwhile needs no retry.
		if err := c.control(name).RetryParked(r.Context(), f); err != nil && !errors.Is(err, evento.ErrNotFound) {
			return done{}, err
		}
	}
	return done{"retry", l.Events()}, nil
}

// dropBody is the page that asks whether parked events are to be dropped.
type dropBody struct {
	Name     string
	Link     string // to the subscription
	Chosen   *chosen
	Fields   []pair
	To       string
	Commands []string
	May      bool
}

func (c *console) askDrop(r *http.Request) (*page, error) {
	name := nameOf(r)
	if _, err := c.found(r.Context(), name); err != nil {
		return nil, err
	}
	ch, l, err := c.chosenIn(r, name, r.URL.Query())
	if err != nil {
		return nil, err
	}
	b := &dropBody{
		Name: named(name), Link: linkTo(root(r), name, nil), Chosen: l, To: linkTo(root(r), name, nil, "parked", "drop"),
		Fields:   append(slices.Clone(ch.fields), pair{"n", l.Events().inForms()}),
		Commands: ch.commands(l, name, "drop"), May: c.allowed(r, Drop),
	}
	return &page{Template: "drop", Title: fmt.Sprintf("Drop %s of %s?", l.Events().Of("parked event"), b.Name), Nav: "subscriptions", Body: b}, nil
}

// drop drops parked events, if they are as many as its page has said.
func (c *console) drop(r *http.Request, name evento.SubscriptionName) (done, error) {
	_, l, err := c.chosenIn(r, name, r.PostForm)
	if err != nil {
		return done{}, err
	}
	if r.PostForm.Get("n") != l.Events().inForms() {
		return done{}, &refusal{http.StatusConflict, fmt.Sprintf("Nothing was dropped: %s parked there now, which is not what you were asked about. Go back, load the page again, and look.", areNow(l.Events()))}
	}
	for _, f := range l.filters {
		if err := c.control(name).DropParked(r.Context(), f); err != nil && !errors.Is(err, evento.ErrNotFound) {
			return done{}, err
		}
	}
	return done{"drop", l.Events()}, nil
}

func areNow(n amount) string {
	if n == (amount{N: 1}) {
		return "1 event is"
	}
	return n.Of("event") + " are"
}

// resetBody is the page that asks where a subscription is to go on.
type resetBody struct {
	Name      string
	Key       string
	Routing   string
	Link      string // to the subscription
	Status    *status
	Head      uint64
	Positions bool   // a position is a place in this store
	To        string // start, position, time or stored; "": not chosen yet
	Place     string // as it was typed
	May       bool
	Preview   *resetPreview
}

// resetPreview is what a reset will do.
type resetPreview struct {
	Title   string
	Text    string
	Next    *eventRow // with which it goes on; nil: it is not known, or there is none
	Command string
	Button  string
	Action  string
	Fields  []pair
}

// resetPlace is where a subscription is to go on.
type resetPlace struct {
	to       string
	position uint64 // behind which
	at       time.Time
}

// placeIn reads a place of a form or query.
func (c *console) placeIn(ctx context.Context, values url.Values) (*resetPlace, error) {
	p, place := &resetPlace{to: values.Get("to")}, strings.TrimSpace(values.Get("place"))
	head, err := headOf(ctx, c.ex)
	if err != nil {
		return nil, err
	}
	switch p.to {
	case "start", "stored":
		return p, nil
	case "position":
		p.position, err = strconv.ParseUint(strings.ReplaceAll(place, ",", ""), 10, 63)
		if err != nil || p.position > head.Position {
			return nil, badRequest("%q is no position: it is a number from 0 to %d.", place, head.Position)
		}
		return p, nil
	case "time":
		if place == "" {
			return nil, badRequest("To which time? Write 90m, 12h, 7d, 15:04, 2026-03-07, or 2026-03-07 15:04.")
		}
		if p.at, err = timeOf(place, time.Now().UTC()); err != nil {
			return nil, err
		}
		if !hasPositions(c.ex) {
			return p, nil
		}
		first, err := firstOf(ctx, c.ex, p.at, head.Position)
		p.position = first - min(first, 1)
		return p, err
	}
	return nil, badRequest("Reset to where? To the start, a position, a time, or the stored positions.")
}

// hasPositions reports whether a position is a place in this store: it is none where several
// stores are together, as in executor/group.
func hasPositions(ex evento.Executor) bool {
	_, err := ex.CursorAt(1)
	return !errors.Is(err, errors.ErrUnsupported)
}

func (c *console) askReset(r *http.Request) (*page, error) {
	ctx, name := r.Context(), nameOf(r)
	s, err := c.found(ctx, name)
	if err != nil {
		return nil, err
	}
	head, err := headOf(ctx, c.ex)
	if err != nil {
		return nil, err
	}
	values := r.URL.Query()
	b := &resetBody{
		Name: named(name), Key: name.Key, Routing: name.RoutingKey, Link: linkTo(root(r), name, nil), Status: s, Head: head.Position,
		Positions: hasPositions(c.ex), To: values.Get("to"), Place: values.Get("place"), May: c.allowed(r, Reset),
	}
	if b.To != "" {
		place, err := c.placeIn(ctx, values)
		if err != nil {
			return nil, err
		}
		b.Preview = c.preview(r, s, place, head.Position)
	} else if b.To = "start"; !s.known() && b.Positions {
		b.To = "stored"
	}
	return &page{Template: "reset", Title: "Reset " + b.Name + "?", Nav: "subscriptions", Body: b}, nil
}

// preview says what a reset will do.
func (c *console) preview(r *http.Request, s *status, place *resetPlace, head uint64) *resetPreview {
	name := s.name()
	p := &resetPreview{Action: linkTo(root(r), name, nil, "reset"), Fields: []pair{{"to", place.to}}}
	flags := routingFlag(name)
	switch place.to {
	case "start":
		p.Button, flags = "Reset "+named(name)+" to the start", append(flags, "--to-start")
	case "stored":
		p.Title = "Each partition goes on behind the position that it has stored"
		p.Text = "This is for a store that was restored and has a new identity, or has lost its last events. A place beyond the end becomes the end. Where the places are good, it changes nothing."
		p.Button, flags = "Reset "+named(name)+" to its stored positions", append(flags, "--to-stored")
	case "position":
		text := strconv.FormatUint(place.position, 10)
		p.Fields, flags = append(p.Fields, pair{"place", text}), append(flags, "--to-position", text)
		p.Button = "Reset " + named(name) + " to " + number(place.position)
	case "time":
		text := place.at.UTC().Format(time.RFC3339Nano) // not how long ago it was
		p.Fields, flags = append(p.Fields, pair{"place", text}), append(flags, "--to-time", text)
		p.Button = "Reset " + named(name) + " to " + printable.Text(text)
		switch {
		case hasPositions(c.ex) && place.position < head:
			p.Button = "Reset " + named(name) + " to " + number(place.position+1)
		case hasPositions(c.ex):
			p.Button = "Reset " + named(name) + " to the end"
		}
	}
	p.Command = commandLine("subscriptions reset", []string{name.Key}, flags...)
	if place.to == "stored" {
		return p
	}
	if !hasPositions(c.ex) {
		p.Title, p.Text = "It goes on from another place", "Several stores are together here, so it is not known how many events that are."
		return p
	}
	p.Title, p.Text = countsOf(s, place.position, head)
	if place.position >= head {
		return p
	}
	if next, err := c.at(r.Context(), place.position+1); err == nil { // there is one, unless there is a gap
		p.Next = &eventRow{Event: &next.Node, Root: root(r)}
	}
	return p
}

// countsOf says how many events a reset behind a position is about.
func countsOf(s *status, to, head uint64) (title, text string) {
	ahead := head - min(to, head)
	title = plural(int(ahead), "event") + " will be looked at"
	text = "It handles those that it selects. Handlers have to bear that events come again."
	switch {
	case !s.known():
		return title, "How many of them it has handled before is not known. " + text
	case to < s.Position:
		return fmt.Sprintf("%s, %s of them again", title, number(s.Position-to)), text
	case to > s.Position:
		return fmt.Sprintf("%s will be passed over", plural(int(to-s.Position), "event")), fmt.Sprintf("They stay in the log, and it never handles them. %s after them will be looked at.", plural(int(ahead), "event"))
	}
	return title + ", none of them again", "It is at this place."
}

func (c *console) reset(r *http.Request, name evento.SubscriptionName) (done, error) {
	place, err := c.placeIn(r.Context(), r.PostForm)
	if err != nil {
		return done{}, err
	}
	control := c.control(name)
	switch place.to {
	case "start":
		err = control.ResetToStart(r.Context())
	case "stored":
		err = control.ResetToStored(r.Context())
	case "position":
		err = control.ResetToPosition(r.Context(), place.position)
	case "time":
		err = control.ResetToTime(r.Context(), place.at)
	}
	return done{what: "reset"}, err
}

// act is something that can be done: a button opens a question, which has the form that does it.
type act struct {
	ID      string // of the question
	Verb    string // of the button
	Title   string // the question
	Text    string // what comes of it
	Command string // the command line that does the same
	Button  string // what does it
	To      string // where the form goes
	Fields  []pair
	Token   string
	Allowed bool
}

// With gives a form its token.
func (a act) With(token string) act {
	a.Token = token
	return a
}

// pauses are the buttons that pause a subscription, or resume it, for who may.
func (c *console) pauses(r *http.Request, s *status, id string) []act {
	name := s.name()
	a := act{
		ID: "pause-" + id, Verb: "Pause", Allowed: c.allowed(r, Pause), To: s.link(root(r), "pause"),
		Text:    "Its workers finish the event in hand and handle no more until it is resumed. They notice within a second. Its lag will rise.",
		Command: commandLine("subscriptions pause", []string{name.Key}, routingFlag(name)...),
	}
	if s.State == evento.SubscriptionPaused {
		a.ID, a.Verb, a.Allowed, a.To = "resume-"+id, "Resume", c.allowed(r, Resume), s.link(root(r), "resume")
		a.Text = fmt.Sprintf("Its workers go on behind %s, with %s to look at. They notice within a second.", number(s.Position), s.pending())
		a.Command = commandLine("subscriptions resume", []string{name.Key}, routingFlag(name)...)
	}
	a.Title, a.Button = a.Verb+" "+named(name)+"?", a.Verb+" "+named(name)
	if !a.Allowed || !s.known() {
		return nil
	}
	return []act{a}
}

// acts is what the buttons of a parked event need.
type acts struct {
	Root, Token string
	May         map[Action]bool
	Status      status
	Parked      *evento.Parked
}

func parkedActs(root, token string, may map[Action]bool, s status, p *evento.Parked) acts {
	return acts{root, token, may, s, p}
}

// Retry is the button that retries the event and those behind it.
func (a acts) Retry() act {
	name := a.Status.name()
	return act{
		ID: "retry-" + evento.HashIDs(name.Key, name.RoutingKey)[:12], Verb: "Retry", Token: a.Token, Allowed: a.May[Retry],
		Title:   fmt.Sprintf("Retry event %s in %s?", number(a.Parked.Position), named(name)),
		Text:    "A worker handles it again within a second, and then those of its aggregate that are parked behind it, in order. What fails again stays parked.",
		Command: a.command("retry", "--type", string(a.Parked.AggregateType), "--id", a.Parked.AggregateID),
		Button:  "Retry " + printable.Text(a.Parked.Name) + " and those behind it",
		To:      a.Status.link(a.Root, "parked", "retry"), Fields: []pair{{"aggregate", choiceOf(a.Parked)}},
	}
}

// MayDrop reports whether the event may be dropped.
func (a acts) MayDrop() bool { return a.May[Drop] }

// DropLink is the page that asks whether the event is to be dropped.
func (a acts) DropLink() string {
	return linkTo(a.Root, a.Status.name(), url.Values{"event": {a.Parked.ID.String()}}, "parked", "drop")
}

// DropCommand does the same.
func (a acts) DropCommand() string { return a.command("drop", "--event", a.Parked.ID.String()) }

func (a acts) command(verb string, flags ...string) string {
	name := a.Status.name()
	return commandLine("subscriptions parked", []string{name.Key, verb}, append(routingFlag(name), flags...)...)
}

func routingFlag(name evento.SubscriptionName) []string {
	if name.RoutingKey == "" {
		return nil
	}
	return []string{"--routing-key", name.RoutingKey}
}

// commandLine is a line for a shell, whatever is in the arguments and flags of a command.
func commandLine(command string, arguments []string, flags ...string) string {
	words := append([]string{"evento"}, strings.Fields(command)...)
	if slices.ContainsFunc(arguments, func(a string) bool { return strings.HasPrefix(a, "-") }) {
		words = slices.Concat(words, flags, []string{"--"}, arguments)
	} else {
		words = slices.Concat(words, arguments, flags)
	}
	for i, word := range words {
		words[i] = shellWord(word)
	}
	return strings.Join(words, " ")
}

// shellWord quotes a word for a shell, where that is needed. What cannot be seen is escaped.
func shellWord(word string) string {
	plain := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("-_./:@%+=,", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	if printable.Line(word) == word {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := range len(word) {
		switch c := word[i]; {
		case c == '\\' || c == '\'':
			b.WriteString(`\` + string(rune(c)))
		case c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String() + "'"
}
