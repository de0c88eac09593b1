// evento snapshots: listing and deleting snapshots of projections.

package main

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

func snapshotsCommand() *cobra.Command {
	return group(
		&cobra.Command{
			Use:   "snapshots",
			Short: "Look at stored states of projections and delete them",
		},
		snapshotsListCommand(),
		snapshotsDeleteCommand(),
	)
}

// snapshotFlags adds the flags that select snapshots.
func snapshotFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.String("projection", "", "those of a projection")
	f.Uint64("revision", 0, "those of one revision of the projection")
	f.String("type", "", "the type of the aggregate")
	f.String("id", "", "those of an aggregate with this id")
	complete(cmd, "projection", projectionNames)
}

// projectionNames returns the projections that have snapshots.
func projectionNames(ctx context.Context, s *session) (names []string, err error) {
	for q := (evento.SnapshotQuery{Limit: 1}); ; {
		page, err := s.ex.Snapshots(ctx, q)
		if err != nil || len(page.Snapshots) == 0 {
			return names, err
		}
		name := page.Snapshots[0].Projection
		names = append(names, name)
		q.After = evento.SnapshotKey{Projection: name, Revision: math.MaxInt64, Variant: "g"} // after all its snapshots
	}
}

// snapshotFilters returns the filters of the flags, and their description; none:
// all.
func (s *session) snapshotFilters() (filters []evento.SnapshotFilter, words string, err error) {
	projection, t, id := s.flag("projection"), s.flag("type"), s.flag("id")
	revision := s.cmd.Flags().Changed("revision")
	switch {
	case revision && projection == "":
		return nil, "", usagef("--revision needs the --projection that has it")
	case (t == "") != (id == ""):
		return nil, "", usagef("an aggregate has both --type T and --id ID")
	case revision:
		n, err := s.cmd.Flags().GetUint64("revision")
		if err != nil {
			return nil, "", err
		}
		filters = append(filters, evento.SnapshotsOfRevision(projection, n))
		words = fmt.Sprintf(" of projection %s, revision %d", printable.Text(projection), n)
	case projection != "":
		filters = append(filters, evento.SnapshotsOf(projection))
		words = " of projection " + printable.Text(projection)
	}
	if id != "" {
		filters = append(filters, evento.SnapshotsOfAggregate(evento.AggregateType(t), id))
		words += " of " + printable.Text(t) + " " + printable.Text(id)
	}
	return filters, words, nil
}

// snapshotView is a snapshot for programs. The names of its fields are stable.
type snapshotView struct {
	Projection    string               `json:"projection"`
	Revision      uint64               `json:"revision"`
	Variant       string               `json:"variant"`
	AggregateType evento.AggregateType `json:"aggregateType"`
	AggregateID   string               `json:"aggregateId"`
	Version       uint64               `json:"version"`
	Position      uint64               `json:"position"`
	Bytes         int                  `json:"bytes"`
}

// snapshotCount is the number of snapshots of one shape.
type snapshotCount struct {
	Projection string `json:"projection"`
	Revision   uint64 `json:"revision"`
	Shape      string `json:"shape"`
	Snapshots  int    `json:"snapshots"`
	Bytes      int    `json:"bytes"`
}

// shapeLen is how many digits of a variant are the hash of the state's shape.
const shapeLen = 32

// shape returns what a table shows of a variant.
func shape(variant string) string {
	const most = 12
	return printable.OrDash(variant[:min(most, len(variant))])
}

func snapshotsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List snapshots",
		Long: `List the states that projections have stored, all or those of a projection, of one
of its revisions, or of an aggregate.

SHAPE is the beginning of the hash of the state's fields. --count counts those of
each revision and shape instead. With -o json each is a document on a line of its own.`,
		Example: `  evento snapshots list --count --store app.db
  evento snapshots list --projection accounts --revision 3 --store app.db
  evento snapshots list --type bank/Account --id 100063 --store app.db -o json`,
	}
	snapshotFlags(cmd)
	cmd.Flags().Bool("count", false, "only how many there are")
	return onStore(cmd, looking, listSnapshots)
}

func listSnapshots(ctx context.Context, s *session, _ []string) error {
	filters, _, err := s.snapshotFilters()
	if err != nil {
		return err
	}
	if s.yes("count") {
		return s.countSnapshots(ctx, filters)
	}
	rows := listing{s.out, [][]string{{"PROJECTION", "REVISION", "SHAPE", "TYPE", "ID", "VERSION", "POSITION", "BYTES"}}}
	for snapshot, err := range evento.Snapshots(ctx, s.ex, filters...) {
		if err != nil {
			return err
		}
		v := snapshotView{snapshot.Projection, snapshot.Revision, snapshot.Variant, snapshot.AggregateType, snapshot.AggregateID, snapshot.Version, snapshot.Position, snapshot.Size}
		if err := rows.add(v, printable.Text(v.Projection), number(v.Revision), shape(v.Variant), printable.Text(string(v.AggregateType)), printable.Text(v.AggregateID),
			number(v.Version), number(v.Position), number(v.Bytes)); err != nil {
			return err
		}
	}
	return rows.end()
}

func (s *session) countSnapshots(ctx context.Context, filters []evento.SnapshotFilter) error {
	rows := listing{s.out, [][]string{{"PROJECTION", "REVISION", "SHAPE", "SNAPSHOTS", "BYTES"}}}
	var at snapshotCount
	add := func() error {
		if at.Snapshots == 0 {
			return nil
		}
		return rows.add(at, printable.Text(at.Projection), number(at.Revision), shape(at.Shape), number(at.Snapshots), number(at.Bytes))
	}
	for snapshot, err := range evento.Snapshots(ctx, s.ex, filters...) {
		if err != nil {
			return err
		}
		next := snapshotCount{Projection: snapshot.Projection, Revision: snapshot.Revision, Shape: snapshot.Variant[:min(shapeLen, len(snapshot.Variant))]}
		if at.Projection != next.Projection || at.Revision != next.Revision || at.Shape != next.Shape {
			if err := add(); err != nil {
				return err
			}
			at = next
		}
		at.Snapshots++
		at.Bytes += snapshot.Size
	}
	if err := add(); err != nil {
		return err
	}
	return rows.end()
}

func snapshotsDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete --projection P [--revision N] | --type T --id ID | --all",
		Short: "Delete snapshots",
		Long: `Delete the stored states of a projection, of one of its revisions, or of an
aggregate, or all.

That is safe at any time: loads replay the events and store them again. States that a
subscription keeps are missing from its list until their aggregate has a new event, or
evento subscriptions reset --to-start makes it build them again.`,
		Example: `  evento snapshots delete --projection accounts --revision 2 --store app.db
  evento snapshots delete --type bank/Account --id 100063 --yes --store app.db`,
	}
	snapshotFlags(cmd)
	cmd.Flags().Bool("all", false, "all that there are")
	yesFlag(cmd)
	return onStore(cmd, changing, deleteSnapshots)
}

func deleteSnapshots(ctx context.Context, s *session, _ []string) error {
	filters, words, err := s.snapshotFilters()
	if err != nil {
		return err
	}
	if s.yes("all") == (len(filters) > 0) {
		return usagef("which snapshots? --projection P with or without --revision N, --type T --id ID, or --all")
	}
	n := 0
	for _, err := range evento.Snapshots(ctx, s.ex, filters...) {
		if err != nil {
			return err
		}
		n++
	}
	if n > 0 {
		if err := s.confirm(fmt.Sprintf("Delete %d snapshots%s?", n, words)); err != nil {
			return err
		}
		if n, err = evento.DeleteSnapshots(ctx, s.ex, filters...); err != nil {
			return fmt.Errorf("%d snapshots were deleted: %w", n, err)
		}
	}
	if s.out.json {
		return s.out.line(map[string]int{"deleted": n})
	}
	return s.out.printf("%d snapshots%s deleted\n", n, words)
}
