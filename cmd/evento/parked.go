// evento subscriptions parked: the parked events.

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/printable"
)

func parkedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "parked KEY [list|retry|drop]",
		Short: "List, retry and drop the parked events of a subscription",
		Long: `List the parked events of a subscription, have them handled again, or drop them.

An event is parked when its retries ran out and the subscription accepts failure;
later events of its aggregate are parked behind it, so that their order holds.

retry asks the workers to handle them again; it does not wait for that. Of an
aggregate they are handled until one fails; a single event has to be the first of
its aggregate. drop forgets them, unhandled. Both need to be told which: --all, the
aggregate with --type and --id, or one --event.

list can be narrowed down further, by --since and --until, which are times of the
events, --name, --tag, --correlation-id, and of a subscription that has events of all
routing keys by --routing-key.

With -o json list gives each event as a document on a line of its own.`,
		Example: `  evento subscriptions parked mailer --store app.db
  evento subscriptions parked mailer --since 2h --tag course:go --store app.db
  evento subscriptions parked mailer retry --type bank/Account --id 100063 --store app.db
  evento subscriptions parked mailer drop --event 01J8ZQ4Y7KX3V5T9B2M6N8P0RS --store app.db`,
		Args: arguments(1, 2, "the key of one subscription, and list, retry or drop"),
	}
	f := cmd.Flags()
	f.Bool("all", false, "all that are parked")
	f.String("type", "", "the type of the aggregate")
	f.String("id", "", "the id of the aggregate")
	f.String("event", "", "the id of one event")
	narrowingFlags(cmd)
	routingKeyFlag(cmd, routingKeyUsage)
	yesFlag(cmd)
	cmd = onStore(cmd, looking, nil)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 1 {
			return []string{"list", "retry", "drop"}, cobra.ShellCompDirectiveNoFileComp
		}
		return completeArgument(subscriptionKeys)(cmd, args, begun)
	}
	cmd.RunE = runParked
	return cmd
}

// runParked runs what the second argument says.
func runParked(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		args = append(args, "list")
	}
	switch args[1] {
	case "list":
		return withAdvice(onStoreRun(listParked)(cmd, looking, args))
	case "retry", "drop":
		return withAdvice(onStoreRun(changeParked)(cmd, changing, args))
	}
	return usagef("parked events can be listed, retried and dropped, not %s", printable.Text(args[1]))
}

// parkedFilter returns the filter of the flags, and its description.
func (s *session) parkedFilter() (f evento.ParkedFilter, words string, err error) {
	t, id, event := s.flag("type"), s.flag("id"), s.flag("event")
	switch {
	case s.yes("all") && t+id+event == "":
		return evento.AllParked(), "all parked events", nil
	case !s.yes("all") && event == "" && t != "" && id != "":
		return evento.ParkedOf(evento.AggregateType(t), id), "the parked events of " + printable.Text(t) + " " + printable.Text(id), nil
	case !s.yes("all") && event != "" && t+id == "":
		one, err := ulid.ParseStrict(event)
		if err != nil {
			return f, "", usagef("--event %s is no id of 26 characters", printable.Text(event))
		}
		return evento.ParkedEvent(one), "parked event " + one.String(), nil
	case !s.yes("all") && t+id+event == "":
		return f, "", nil
	}
	return f, "", usagef("which parked events? --all, or --type T --id ID, or --event ID")
}

// parkedView is a parked event for programs. The names of its fields are stable.
type parkedView struct {
	ID            evento.ID            `json:"id"`
	Position      uint64               `json:"position"`
	AggregateType evento.AggregateType `json:"aggregateType"`
	AggregateID   string               `json:"aggregateId"`
	Version       uint64               `json:"version"`
	Name          string               `json:"name"`
	Attempts      int                  `json:"attempts"`
	ParkedAt      time.Time            `json:"parkedAt"`
	Error         string               `json:"error,omitempty"`
	// Retry says that its retry was requested.
	Retry bool `json:"retry"`
}

func listParked(ctx context.Context, s *session, args []string) error {
	filter, words, err := s.parkedFilter()
	if err != nil {
		return err
	}
	if words == "" {
		filter = evento.AllParked()
	}
	w, name, err := s.wantedOf(ctx, args[0])
	if err != nil {
		return err
	}
	narrowed := s.narrowed() || w.query.RoutingKey != ""
	rows := [][]string{{"POSITION", "EVENT", "TYPE", "ID", "VERSION", "NAME", "ATTEMPTS", "PARKED", "RETRY", "ERROR"}}
	for p, err := range s.control(name).Parked(ctx, filter) {
		if err != nil {
			return err
		}
		if narrowed {
			e, err := s.event(ctx, p.Position)
			if err != nil {
				return err
			}
			if e == nil || !w.has(e) {
				continue
			}
		}
		v := parkedView{p.ID, p.Position, p.AggregateType, p.AggregateID, p.Version, p.Name, p.Attempts, p.ParkedAt, p.Error, p.Retry != ""}
		if s.out.json {
			if err := s.out.line(v); err != nil {
				return err
			}
			continue
		}
		retry := "-"
		if v.Retry {
			retry = "asked for"
		}
		reason := "waits behind the one before"
		if v.Error != "" {
			reason = printable.Text(v.Error)
		}
		rows = append(rows, []string{number(v.Position), v.ID.String(), printable.Text(string(v.AggregateType)), printable.Text(v.AggregateID), number(v.Version), printable.Text(v.Name),
			number(v.Attempts), printable.Time(v.ParkedAt), retry, reason})
	}
	if s.out.json {
		return nil
	}
	return s.out.table(rows)
}

// event returns the event at a position; nil: there is none.
func (s *session) event(ctx context.Context, position uint64) (*evento.RawEvent, error) {
	before, err := s.ex.CursorAt(position - 1)
	if err != nil {
		return nil, err
	}
	page, err := s.ex.Read(ctx, evento.Query{}, cursor.Onward(1, before))
	if err != nil || len(page.Edges) == 0 || page.Edges[0].Node.Position != position {
		return nil, err
	}
	return &page.Edges[0].Node, nil
}

func changeParked(ctx context.Context, s *session, args []string) error {
	if s.narrowed() {
		return usagef("--name, --tag, --correlation-id, --since and --until are for list: %s takes --all, --type T --id ID, or --event ID", args[1])
	}
	filter, words, err := s.parkedFilter()
	if err != nil {
		return err
	}
	if words == "" {
		return usagef("which parked events? --all, or --type T --id ID, or --event ID")
	}
	name := s.namedSubscription(args)
	if args[1] == "retry" {
		if err := s.control(name).RetryParked(ctx, filter); err != nil {
			return err
		}
		return s.changed(name, "asked to handle "+words+" again")
	}
	err = s.confirmAbout(ctx, name, func(*evento.Status) string {
		return fmt.Sprintf("Drop %s of subscription %s, unhandled?", words, showName(name))
	})
	if err != nil {
		return err
	}
	if err := s.control(name).DropParked(ctx, filter); err != nil {
		return err
	}
	return s.changed(name, "dropped "+words)
}
