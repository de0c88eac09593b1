// evento events: listing, following and showing events.

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/printable"
)

func eventsCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "events",
		Short: "List, follow and show events",
	}, eventsListCommand(), eventsTailCommand(), eventsShowCommand())
}

func eventsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List events, a page at a time",
		Long: `List events in the order in which they were committed, a page at a time.

What follows a page is listed with the --after that is printed below it. A place
is a cursor or a position. Without --type, --id and --name look at every type of
aggregate; on Pebble, finding those reads the whole store. With several --tag, an event
has all of them.

--since and --until are times of events; to find them few events are read. Those of
a --correlation-id are found by reading all that the other flags select.

With -o json the page is one document: events, and pageInfo with
hasPreviousPage, hasNextPage, startCursor and endCursor.`,
		Example: `  evento events list --store app.db --type bank/Account --limit 20
  evento events list --store app.db --id 01J8 --payload
  evento events list --store app.db --tag course:go --tag student:ada
  evento events list --store app.db --reverse --limit 5     # the newest first
  evento events list --store app.db --after 1200 -o json
  evento events list --store app.db --since 2h --routing-key eu
  evento events list --store app.db --since 2026-03-01 --until 2026-03-02T12:00:00Z
  evento events list --store app.db --correlation-id 01J8ZQ4Y7KX3V5T9B2M6N8P0RS`,
	}
	filterFlags(cmd)
	timeFlags(cmd)
	f := cmd.Flags()
	f.Int("limit", 50, fmt.Sprintf("the most events in the page, 1 to %d", cursor.MaxPage))
	f.String("after", "", "list what is behind this cursor or position")
	f.String("before", "", "list what is before this cursor or position: the last --limit events of it")
	f.Bool("reverse", false, "newest first")
	f.Bool("payload", false, "with payloads (JSON always has them)")
	return onStore(cmd, looking, listEvents)
}

// place reads a flag that is a cursor or a position. "" is neither.
func (s *session) place(ctx context.Context, name string) (cursor.Value, error) {
	text := s.flag(name)
	if strings.Trim(text, "0123456789") != "" || text == "" {
		return cursor.Value(text), nil
	}
	position, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return "", usagef("--%s %s: no position is so high", name, text)
	}
	head, err := s.head(ctx)
	if err != nil {
		return "", err
	}
	if position > head.Node.Position {
		return "", usagef("--%s %d: the last event has position %d", name, position, head.Node.Position)
	}
	if position == 0 && name == "after" {
		return "", nil
	}
	p, err := cursor.PositionsOf(head.Cursor)
	return p.Value(position), err
}

// head returns the last event; the zero Edge if the store is empty.
func (s *session) head(ctx context.Context) (cursor.Edge[evento.RawEvent], error) {
	page, err := s.ex.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
	if err != nil || len(page.Edges) == 0 {
		return cursor.Edge[evento.RawEvent]{}, err
	}
	return page.Edges[0], nil
}

func listEvents(ctx context.Context, s *session, _ []string) error {
	args, err := s.pageArgs(ctx)
	if err != nil {
		return err
	}
	wanted, err := s.wanted(ctx)
	if err != nil {
		return err
	}
	page, err := s.page(ctx, wanted, args)
	if errors.Is(err, cursor.ErrInvalid) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	views := make([]eventView, len(page.Edges))
	for i := range page.Edges {
		views[i] = viewOf(&page.Edges[i].Node, page.Edges[i].Cursor)
	}
	if s.yes("reverse") {
		slices.Reverse(views)
	}
	if s.out.json {
		for i := range views {
			views[i].decode()
		}
		return s.out.line(pageView{views, pageInfoView(page.PageInfo)})
	}
	if err := writeEvents(s.out, views, s.yes("payload")); err != nil {
		return err
	}
	return s.writeMore(page, args.IsBackward())
}

// pageArgs returns the page that the flags name.
func (s *session) pageArgs(ctx context.Context) (none cursor.Args, err error) {
	limit, err := s.cmd.Flags().GetInt("limit")
	if err != nil {
		return none, err
	}
	if limit < 1 || limit > cursor.MaxPage {
		return none, usagef("--limit %d: 1 to %d", limit, cursor.MaxPage)
	}
	if s.flag("after") != "" && s.flag("before") != "" {
		return none, usagef("--after and --before exclude each other")
	}
	after, err := s.place(ctx, "after")
	if err != nil {
		return none, err
	}
	before, err := s.place(ctx, "before")
	if err != nil {
		return none, err
	}
	if backward := s.flag("before") != "" || s.yes("reverse") && s.flag("after") == ""; backward {
		return cursor.Backward(limit, before), nil
	}
	return cursor.Forward(limit, after), nil
}

type pageView struct {
	Events   []eventView  `json:"events"`
	PageInfo pageInfoView `json:"pageInfo"`
}

type pageInfoView struct {
	HasPreviousPage bool         `json:"hasPreviousPage"`
	HasNextPage     bool         `json:"hasNextPage"`
	StartCursor     cursor.Value `json:"startCursor"`
	EndCursor       cursor.Value `json:"endCursor"`
}

func writeEvents(o *output, views []eventView, payload bool) error {
	columns := slices.Clone(eventColumns)
	tags := slices.ContainsFunc(views, func(v eventView) bool { return len(v.Tags) > 0 })
	if tags {
		columns = append(columns, "TAGS")
	}
	if payload {
		columns = append(columns, "PAYLOAD")
	}
	rows := [][]string{columns}
	for i := range views {
		row := views[i].row()
		if tags {
			row = append(row, views[i].tags())
		}
		if payload {
			row = append(row, views[i].payload())
		}
		rows = append(rows, row)
	}
	return o.table(rows)
}

// writeMore prints how to list the next page in the same direction.
func (s *session) writeMore(page *cursor.Page[evento.RawEvent], backward bool) error {
	switch {
	case backward && page.PageInfo.HasPreviousPage:
		return s.out.printf("more: --before %s\n", page.PageInfo.StartCursor)
	case !backward && page.PageInfo.HasNextPage:
		return s.out.printf("more: --after %s\n", page.PageInfo.EndCursor)
	}
	return nil
}

func eventsTailCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show the last events and follow new ones",
		Long: `Show the last events and then each new one, until Ctrl-C or --count of them.

With --since all events since then are shown first, unless -n says how many of them.
A directory of Pebble has one process at a time, so that of such a store there is
nothing to follow. With -o json each event is a document on a line of its own.`,
		Example: `  evento events tail --store app.db
  evento events tail --store app.db --tag course:go
  evento events tail --store app.db --since 10m --routing-key eu
  evento events tail --store postgres://app@db/shop --type shop/Order -n 0 -o json | jq .payload`,
	}
	filterFlags(cmd)
	sinceFlag(cmd)
	f := cmd.Flags()
	f.IntP("last", "n", 10, fmt.Sprintf("how many events that are there to begin with, 0 to %d", cursor.MaxPage))
	f.Int("count", 0, "end after so many events in all; 0: only with Ctrl-C")
	f.Bool("payload", false, "with payloads (JSON always has them)")
	return onStore(cmd, looking, tailEvents)
}

func tailEvents(ctx context.Context, s *session, _ []string) error {
	last, err := s.cmd.Flags().GetInt("last")
	if err != nil {
		return err
	}
	count, err := s.cmd.Flags().GetInt("count")
	if err != nil {
		return err
	}
	if last < 0 || last > cursor.MaxPage || count < 0 {
		return usagef("-n %d --count %d: -n is 0 to %d, --count not below 0", last, count, cursor.MaxPage)
	}
	wanted, err := s.wanted(ctx)
	if err != nil {
		return err
	}
	t := &tail{s: s, wanted: wanted, left: count, endless: count == 0, payload: s.yes("payload")}
	// Read the head before the page: what is committed in between is read later.
	head, err := s.head(ctx)
	if err != nil {
		return err
	}
	at := head.Cursor
	switch since := !wanted.since.IsZero(); {
	case since && !s.cmd.Flags().Changed("last"):
		if at, err = s.from(ctx, wanted); err != nil {
			return err
		}
	case last > 0:
		page, err := s.page(ctx, wanted, cursor.Backward(last, ""))
		if err != nil {
			return err
		}
		if len(page.Edges) > 0 {
			at = page.PageInfo.EndCursor
		}
		if done, err := t.write(page); done || err != nil {
			return err
		}
	}
	return t.follow(ctx, at)
}

const tailPage = 1000

// tail prints pages of events while they arrive.
type tail struct {
	s       *session
	wanted  wanted
	left    int
	endless bool
	payload bool
}

// follow prints what is behind a place, until ctx ends or enough was printed.
func (t *tail) follow(ctx context.Context, at cursor.Value) error {
	for {
		changed := t.s.ex.Changed()
		page, err := t.s.ex.Read(ctx, t.wanted.query, cursor.Onward(tailPage, at))
		if err != nil {
			return err
		}
		at = page.PageInfo.EndCursor
		if done, err := t.write(page); done || err != nil {
			return err
		}
		if page.PageInfo.HasNextPage {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write prints a page, and reports whether enough events were printed.
func (t *tail) write(page *cursor.Page[evento.RawEvent]) (done bool, err error) {
	for i := range page.Edges {
		if !t.wanted.matches(&page.Edges[i].Node) {
			continue
		}
		v := viewOf(&page.Edges[i].Node, page.Edges[i].Cursor)
		if t.s.out.json {
			v.decode()
			err = t.s.out.line(v)
		} else {
			// The width of columns cannot be known: later events may be wider.
			text := fmt.Sprintf("%d  %s  %s %s  v%d  %s", v.Position, printable.Time(v.Timestamp), printable.Text(string(v.AggregateType)), printable.Text(v.AggregateID), v.Version, printable.Text(v.Name))
			if len(v.Tags) > 0 {
				text += "  " + v.tags()
			}
			if t.payload {
				text += "  " + v.payload()
			}
			err = t.s.out.printf("%s\n", text)
		}
		if err != nil {
			return false, err
		}
		if t.left--; t.left == 0 && !t.endless {
			return true, nil
		}
	}
	return false, t.s.out.flush()
}

func eventsShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show POSITION|ID",
		Short: "Show one event with its payload",
		Long: `Show one event, by its position or its id (a ULID), with its payload as JSON.

A payload of the application's own codec is shown in base64. On Pebble an event
is found by its id by reading the store from its beginning.`,
		Example: `  evento events show 42 --store app.db
  evento events show 01J8ZQ4Y7KX3V5T9B2M6N8P0RS --store app.db -o json | jq .payload`,
		Args: arguments(1, 1, "one position or id"),
	}
	return onStore(cmd, looking, showEvent)
}

func showEvent(ctx context.Context, s *session, args []string) error {
	e, err := s.find(ctx, args[0])
	if err != nil {
		return err
	}
	v := viewOf(&e.Node, e.Cursor)
	if s.out.json {
		v.decode()
		return s.out.line(v)
	}
	return v.write(s.out)
}

// find finds an event by its position or id.
func (s *session) find(ctx context.Context, text string) (none cursor.Edge[evento.RawEvent], err error) {
	if id, err := ulid.ParseStrict(text); err == nil { // its characters may all be digits
		return s.findID(ctx, id)
	}
	position, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return none, usagef("%s is neither a position nor an id of 26 characters", printable.Text(text))
	}
	head, err := s.head(ctx)
	if err != nil {
		return none, err
	}
	if position == 0 || position > head.Node.Position {
		return none, fmt.Errorf("%w: no event has position %d; the last has %d", evento.ErrNotFound, position, head.Node.Position)
	}
	places, err := cursor.PositionsOf(head.Cursor)
	if err != nil {
		return none, err
	}
	page, err := s.ex.Read(ctx, evento.Query{}, cursor.Onward(1, places.Value(position-1)))
	if err != nil {
		return none, err
	}
	if len(page.Edges) == 0 || page.Edges[0].Node.Position != position {
		return none, fmt.Errorf("%w: no event has position %d", evento.ErrNotFound, position)
	}
	return page.Edges[0], nil
}

func (s *session) findID(ctx context.Context, id evento.ID) (none cursor.Edge[evento.RawEvent], err error) {
	in, err := s.address.inspect()
	if err != nil {
		return none, err
	}
	if in != nil {
		position, err := in.Position(ctx, id)
		if err := errors.Join(err, in.Close()); err != nil {
			return none, err
		}
		if position > 0 {
			return s.find(ctx, strconv.FormatUint(position, 10))
		}
		return none, fmt.Errorf("%w: no event has the id %s", evento.ErrNotFound, id)
	}
	for e, err := range s.edges(ctx, evento.Query{}) {
		if err != nil {
			return none, err
		}
		if e.Node.ID == id {
			return *e, nil
		}
	}
	return none, fmt.Errorf("%w: no event has the id %s", evento.ErrNotFound, id)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
