// evento subscriptions pending: the events that a subscription has not handled yet.

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

func pendingCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pending KEY",
		Short: "List the events that a subscription has not handled yet",
		Long: `List the pending events of a subscription in order: those that it selects and has
neither handled nor parked, which evento subscriptions list counts as BEHIND.

--routing-key names the subscription or, of one that has events of all routing keys,
those with this one. --since and --until are times of events.

With -o json each is a document on a line of its own, as of evento events tail.`,
		Example: `  evento subscriptions pending mailer --store app.db
  evento subscriptions pending mailer --until 1h --store app.db      # waiting for longer
  evento subscriptions pending mailer --routing-key eu --tag course:go --store app.db
  evento subscriptions pending mailer --limit 0 -o json --store app.db | jq -r .aggregateId`,
		Args: arguments(1, 1, "the key of one subscription"),
	}
	f := cmd.Flags()
	f.String("type", "", "only events of aggregates of this type")
	f.String("id", "", "only events of aggregates with this id")
	narrowingFlags(cmd)
	f.Int("limit", 50, "the most events, the first ones; 0: all")
	f.Bool("payload", false, "with payloads (JSON always has them)")
	routingKeyFlag(cmd, "the subscription with this routing `KEY`, or the events with it")
	complete(cmd, "type", func(ctx context.Context, s *session) ([]string, error) {
		types, err := s.types(ctx, false)
		return texts(types), err
	})
	cmd.ValidArgsFunction = completeArgument(subscriptionKeys)
	return onStore(cmd, looking, func(ctx context.Context, s *session, args []string) error {
		return withAdvice(listPending(ctx, s, args[0]))
	})
}

func listPending(ctx context.Context, s *session, key string) error {
	limit, err := s.cmd.Flags().GetInt("limit")
	if err != nil {
		return err
	}
	if limit < 0 {
		return usagef("--limit %d: not below 0", limit)
	}
	w, name, err := s.wantedOf(ctx, key)
	if err != nil {
		return err
	}
	payload := s.yes("payload")
	columns := append(append([]string{}, eventColumns...), "ROUTING")
	if payload {
		columns = append(columns, "PAYLOAD")
	}
	rows, n := listing{s.out, [][]string{columns}}, 0
	for e, err := range s.control(name).Pending(ctx) {
		if err != nil {
			return err
		}
		if !w.has(&e) {
			continue
		}
		if n++; limit > 0 && n > limit {
			break
		}
		if err := s.addPending(&rows, &e, payload); err != nil {
			return err
		}
	}
	if err := rows.end(); err != nil || s.out.json || limit == 0 || n <= limit {
		return err
	}
	return s.out.printf("more: --limit 0 lists all\n")
}

func (s *session) addPending(rows *listing, e *evento.RawEvent, payload bool) error {
	at, err := s.ex.CursorAt(e.Position)
	if err != nil {
		return err
	}
	v := viewOf(e, at)
	if s.out.json {
		v.decode()
	}
	row := append(v.row(), printable.OrDash(v.RoutingKey))
	if payload {
		row = append(row, v.payload())
	}
	return rows.add(v, row...)
}
