package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/transfer"
)

// exportCommand writes the events of a store, one on each line.
func exportCommand() *cobra.Command {
	var output, aggregateType, id, name, routingKey string
	var tags []string
	var after uint64
	var progress, gaps bool
	cmd := &cobra.Command{
		Use:   "export --store URL [--output FILE]",
		Short: "Write the events of a store as lines of JSON",
		Long: `Export writes every event of a store with all that it has, one a line, to a
file or to standard output. The last line has a checksum, so that a file that
was cut off or changed is noticed. "evento import" gives the lines to another
store of any kind, where they are the same to the byte.

An event that no import would take is refused, with its position: what is written can
be imported.

A file is written under another name beside its place, and put there when it is
whole: until then what was there stays. It keeps its permissions and owner; a new one
is for its owner alone, as events hold personal data. Of a symbolic link, the file that
it points to is written; pipes, devices and /dev/stdout are written to.

What is left out by --type and --id can be imported with --renumber; of
an export by --event or --tag the versions of aggregates have gaps, and no store
takes it.`,
		Example: `  evento export --store app.db --output backup.jsonl
  evento export --store app.db | evento import --store postgres://localhost/app
  evento export --store app.db --after 1000000 --output later.jsonl`,
		Args: arguments(0, 0, "no arguments"),
	}
	flags := cmd.Flags()
	flags.String("store", "", storeUsage)
	flags.StringVarP(&output, "output", "f", "", "the file to write (default standard output)")
	flags.Uint64Var(&after, "after", 0, "leave out the events up to this position")
	flags.StringVar(&aggregateType, "type", "", "only events of aggregates of this type")
	flags.StringVar(&id, "id", "", "only events of the aggregate of --type with this id")
	flags.StringVar(&name, "event", "", "only events of --type with this name")
	flags.StringArrayVar(&tags, "tag", nil, tagUsage)
	flags.StringVar(&routingKey, "routing-key", "", "only events with this routing key")
	flags.BoolVar(&gaps, "gaps", false, "export a store in which positions are missing; import it with --renumber")
	flags.BoolVar(&progress, "progress", false, "show progress although standard error is not a terminal")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts := transfer.ExportOptions{After: after, Gaps: gaps, Query: evento.Query{RoutingKey: routingKey}}
		switch {
		case aggregateType == "" && (id != "" || name != ""):
			return usageError{fmt.Errorf("%w filter: --id and --event need --type", evento.ErrInvalid)}
		case aggregateType != "" || len(tags) > 0:
			opts.Query.Filters = []evento.Filter{{AggregateType: evento.AggregateType(aggregateType), AggregateID: id, Name: name, Tags: tags}}
		}
		if err := opts.Query.Check(); err != nil {
			return usageError{err}
		}
		a, err := storeOf(cmd)
		if err != nil {
			return err
		}
		if err := a.checkOutput(output); err != nil {
			return err
		}
		show := newProgress(cmd.ErrOrStderr(), progress)
		opts.Progress = show.update
		return withStore(cmd, looking, func(s *session) error {
			opts.Source = s.asStored()
			if show.w != nil && len(opts.Query.Filters) == 0 && routingKey == "" {
				last, err := s.ex.Read(cmd.Context(), evento.Query{}, cursor.Backward(1, ""))
				if err != nil {
					return err
				}
				if len(last.Edges) > 0 && last.Edges[0].Node.Position > after {
					whole := float64(last.Edges[0].Node.Position - after)
					show.part = func(at transfer.Progress) float64 { return float64(at.Events) / whole }
				}
			}
			var done transfer.Progress
			err := writeTo(cmd, output, func(w io.Writer) (err error) {
				done, err = transfer.Export(cmd.Context(), s.ex, w, opts)
				return err
			})
			show.end()
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "exported", summary(done))
			return nil
		})
	}
	return cmd
}
