// evento deadlines: listing deadlines.

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

func deadlinesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deadlines [list]",
		Short: "List the deadlines that are set",
		Long: `List the deadlines that are set, in the order of time.

LATE is how long a deadline has been due, or in how long it will be, by the store's
clock. One that is late by more than moments waits for a process that runs
evento.RunDeadlines, or cannot come true: the log of that process says why. Deadlines
of tenants (executor/routed) are not listed.

With -o json each is a document on a line of its own.`,
		Example: `  evento deadlines --store app.db
  evento deadlines --store app.db --overdue
  evento deadlines --store app.db --type shop/Order --id 01J8 -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && args[0] != "list" {
				return usagef("deadlines can be listed, not %s", printable.Text(args[0]))
			}
			return arguments(0, 1, "list or nothing")(cmd, args)
		},
		ValidArgs: []cobra.Completion{"list"},
	}
	f := cmd.Flags()
	f.String("type", "", "only deadlines of aggregates of this type")
	f.String("id", "", "only deadlines of aggregates with this id")
	f.Bool("overdue", false, "only those that are due")
	complete(cmd, "type", func(ctx context.Context, s *session) ([]string, error) {
		types, err := s.types(ctx, false)
		return texts(types), err
	})
	return onStore(cmd, looking, listDeadlines)
}

// deadlineView is a deadline for programs. The names of its fields are stable.
type deadlineView struct {
	Due time.Time `json:"due"`
	// LateSeconds is how long it has been due, 0: it is not due yet.
	LateSeconds   float64              `json:"lateSeconds"`
	AggregateType evento.AggregateType `json:"aggregateType"`
	AggregateID   string               `json:"aggregateId"`
	Name          string               `json:"name"`
	Event         string               `json:"event"`
}

// row returns the deadline for people, now by the store's clock.
func (v *deadlineView) row(now time.Time) []string {
	late := showDuration(seconds(v.LateSeconds))
	if v.LateSeconds == 0 {
		late = "in " + showDuration(max(0, v.Due.Sub(now)).Truncate(time.Second))
	}
	return []string{printable.Time(v.Due), late, printable.Text(string(v.AggregateType)), printable.Text(v.AggregateID), printable.Text(v.Name), printable.Text(v.Event)}
}

func listDeadlines(ctx context.Context, s *session, _ []string) error {
	t, id := evento.AggregateType(s.flag("type")), s.flag("id")
	if t != "" || id != "" {
		filter := evento.Filter{AggregateType: cmp.Or(t, "any"), AggregateID: id}
		if err := (evento.Query{Filters: []evento.Filter{filter}}).Check(); err != nil {
			return usageError{err}
		}
	}
	var of []evento.AggregateKey
	if t != "" && id != "" {
		of = append(of, evento.AggregateKey{Type: t, ID: id})
	}
	page, err := s.ex.Records(ctx, evento.RecordQuery{Kind: dueKind, Limit: 1})
	if err != nil {
		return err
	}
	rows := [][]string{{"DUE", "LATE", "TYPE", "ID", "NAME", "EVENT"}}
	for d, err := range evento.Deadlines(ctx, s.ex, of...) {
		switch {
		case errors.Is(err, evento.ErrDamaged):
			return fmt.Errorf("%w; evento doctor finds all that are damaged", err)
		case err != nil:
			return err
		case t != "" && d.AggregateType != t, id != "" && d.AggregateID != id:
			continue
		}
		if d.Late == 0 && s.yes("overdue") {
			break // so are the others
		}
		v := deadlineView{d.At, d.Late.Seconds(), d.AggregateType, d.AggregateID, d.Name, d.Event}
		if !s.out.json {
			rows = append(rows, v.row(page.Now))
		} else if err := s.out.line(v); err != nil {
			return err
		}
	}
	if s.out.json {
		return nil
	}
	return s.out.table(rows)
}
