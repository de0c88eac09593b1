// evento aggregate: the history of one aggregate.

package main

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/printable"
)

func aggregateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "aggregate [TYPE] ID",
		Short: "Show the history of an aggregate",
		Long: `Show all that happened to an aggregate: versions, times, names and payloads.

TYPE can be left out when only one type of aggregate has the id; on Pebble finding
that out reads the whole store. With -o json each event is a document on a line
of its own.`,
		Example: `  evento aggregate bank/Account 100063 --store app.db
  evento aggregate 100063 --store app.db -o json | jq -c '[.version, .name, .payload]'`,
		Args: arguments(1, 2, "[TYPE] ID"),
	}
	cmd.ValidArgsFunction = completeArgument(func(ctx context.Context, s *session) ([]string, error) {
		types, err := s.types(ctx, false)
		return texts(types), err
	})
	return onStore(cmd, looking, showAggregate)
}

func showAggregate(ctx context.Context, s *session, args []string) error {
	filter := evento.Filter{AggregateID: args[len(args)-1]}
	if len(args) == 2 {
		filter.AggregateType = evento.AggregateType(args[0])
	} else {
		t, err := s.typeOf(ctx, filter.AggregateID)
		if err != nil {
			return err
		}
		filter.AggregateType = t
	}
	q := evento.Query{Filters: []evento.Filter{filter}}
	if err := q.Check(); err != nil {
		return usageError{err}
	}
	if filter.AggregateID == "" {
		return usagef("the id of an aggregate is not empty")
	}
	found := false
	for e, err := range s.edges(ctx, q) {
		if err != nil {
			return err
		}
		v := viewOf(&e.Node, e.Cursor)
		switch {
		case s.out.json:
			v.decode()
			err = s.out.line(v)
		default:
			if !found {
				if err := s.out.printf("%s %s, routing key %s\n", printable.Text(string(v.AggregateType)), printable.Text(v.AggregateID), printable.OrDash(v.RoutingKey)); err != nil {
					return err
				}
			}
			err = s.out.printf("%6d  %s  @%d  %s  %s\n", v.Version, printable.Time(v.Timestamp), v.Position, printable.Text(v.Name), v.payload())
		}
		if err != nil {
			return err
		}
		found = true
	}
	if !found {
		return fmt.Errorf("%w: %s %s has no events", evento.ErrNotFound, printable.Text(string(filter.AggregateType)), printable.Text(filter.AggregateID))
	}
	return nil
}

// typeOf returns the type of the only aggregate with an id.
func (s *session) typeOf(ctx context.Context, id string) (evento.AggregateType, error) {
	if id == "" {
		return "", usagef("the id of an aggregate is not empty")
	}
	types, err := s.types(ctx, true)
	if err != nil {
		return "", err
	}
	var found []string
	for _, t := range types {
		page, err := s.ex.Read(ctx, evento.Query{Filters: []evento.Filter{evento.ByID(t, id)}}, cursor.Onward(1, ""))
		if err != nil {
			return "", err
		}
		if len(page.Edges) > 0 {
			found = append(found, string(t))
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: no aggregate has the id %s", evento.ErrNotFound, printable.Text(id))
	case 1:
		return evento.AggregateType(found[0]), nil
	}
	for i := range found {
		found[i] = printable.Text(found[i])
	}
	return "", usagef("aggregates of several types have the id %s: %s; give one of them as TYPE", printable.Text(id), strings.Join(found, ", "))
}

// edges ranges over the events of a query with their cursors, like
// [evento.Events].
func (s *session) edges(ctx context.Context, q evento.Query) iter.Seq2[*cursor.Edge[evento.RawEvent], error] {
	return func(yield func(*cursor.Edge[evento.RawEvent], error) bool) {
		for at := cursor.Value(""); ; {
			page, err := s.ex.Read(ctx, q, cursor.Onward(readPage, at))
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range page.Edges {
				if !yield(&page.Edges[i], nil) {
					return
				}
			}
			if !page.PageInfo.HasNextPage {
				return
			}
			at = page.PageInfo.EndCursor
		}
	}
}

// readPage is how many events are read at once.
const readPage = 1000
