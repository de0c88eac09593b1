// evento subscriptions: listing and changing subscriptions.

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/printable"
)

func subscriptionsCommand() *cobra.Command {
	return group(
		&cobra.Command{
			Use:     "subscriptions",
			Aliases: []string{"subs"},
			Short:   "Look at subscriptions and change them",
		},
		subscriptionsListCommand(),
		subscriptionsShowCommand(),
		changeCommand("pause", "Make the workers handle no more until it is resumed", `Make the workers finish the event in hand and handle no more, until evento
subscriptions resume. They notice within a second.`, (*evento.Control).Pause, "paused"),
		changeCommand("resume", "End a pause", `End a pause. The workers notice within a second.`, (*evento.Control).Resume, "resumed"),
		resetCommand(),
		removeCommand(),
		parkedCommand(),
		pendingCommand(),
	)
}

// namedSubscription returns the name of the command's subscription, from its
// argument and the flag --routing-key.
func (s *session) namedSubscription(args []string) evento.SubscriptionName {
	return evento.SubscriptionName{Key: args[0], RoutingKey: s.flag("routing-key")}
}

func routingKeyFlag(cmd *cobra.Command, what string) {
	cmd.Flags().String("routing-key", "", what)
	_ = cmd.RegisterFlagCompletionFunc("routing-key", func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) { // the flag is there
		key := ""
		if len(args) > 0 {
			key = args[0]
		}
		return candidates(func(ctx context.Context, s *session) ([]string, error) { return routingKeys(ctx, s, key) }).from(cmd, begun)
	})
}

const routingKeyUsage = "the subscription with this routing `KEY`; without it, the one that has none, or All"

// control returns the Control of a subscription.
func (s *session) control(name evento.SubscriptionName) *evento.Control {
	return evento.ControlOf(s.ex, name.Key).RoutingKey(name.RoutingKey)
}

// showName returns a subscription's name for printing.
func showName(name evento.SubscriptionName) string {
	if name.RoutingKey == "" {
		return printable.Text(name.Key)
	}
	return printable.Text(name.Key) + " of routing key " + printable.Text(name.RoutingKey)
}

// onSubscription is onStore for a command on one subscription.
func onSubscription(cmd *cobra.Command, how access, do func(ctx context.Context, s *session, name evento.SubscriptionName) error) *cobra.Command {
	if cmd.Args == nil {
		cmd.Args = arguments(1, 1, "the key of one subscription")
	}
	cmd.ValidArgsFunction = completeArgument(subscriptionKeys)
	routingKeyFlag(cmd, routingKeyUsage)
	return onStore(cmd, how, func(ctx context.Context, s *session, args []string) error {
		return withAdvice(do(ctx, s, s.namedSubscription(args)))
	})
}

// withAdvice adds to an error what to do about it.
func withAdvice(err error) error {
	switch {
	case errors.Is(err, evento.ErrNotFound):
		return fmt.Errorf("%w; evento subscriptions list shows those that there are", err)
	case errors.Is(err, evento.ErrDamaged):
		return fmt.Errorf("%w; "+damagedRemedy, err)
	}
	return err
}

const damagedRemedy = "restore the record from a backup, or forget the subscription with evento subscriptions remove"

func subscriptionsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List subscriptions with their owners and lag",
		Long: `List the subscriptions that were ever started. A key with several routing keys is
several subscriptions.

POSITION is up to where nothing is pending. BEHIND is how many events are pending, of
those that the subscription selects, and LAG how long the first of them has been
waiting; they are counted by reading them. OWNER is where the worker runs: "-" is
nobody, and "dead" one that the store has not heard of within its lease. STATE is

  running         partly running: some partitions have no worker
  retrying        a handler fails; ERROR says which event and why
  failed          the worker stopped at an error
  dead            the worker has gone without giving the key up
  stopped         nobody runs it
  paused          it handles no more until evento subscriptions resume
  damaged         a record is not what the library has written
  unreadable      a cursor is of another store, or beyond the end

With -o json each is a document on a line of its own.`,
		Example: `  evento subscriptions list --store app.db
  evento subscriptions list --store app.db --key mailer --routing-key eu
  evento subscriptions list --store app.db -o json | jq -c 'select(.lagSeconds > 60) | .key'`,
	}
	cmd.Flags().StringArray("key", nil, "only subscriptions with this `KEY`; several with several flags")
	complete(cmd, "key", subscriptionKeys)
	routingKeyFlag(cmd, "only subscriptions with this routing `KEY`")
	return onStore(cmd, looking, listSubscriptions)
}

func listSubscriptions(ctx context.Context, s *session, _ []string) error {
	entries, err := s.entries(ctx, "")
	if err != nil {
		return err
	}
	keys, err := s.cmd.Flags().GetStringArray("key")
	if err != nil {
		return err
	}
	rows := [][]string{{"KEY", "ROUTING", "PARTITIONS", "OWNER", "POSITION", "BEHIND", "LAG", "PARKED", "STATE", "ERROR"}}
	for _, e := range entries {
		routing := s.flag("routing-key")
		if routing != "" && e.name.RoutingKey != routing || len(keys) > 0 && !slices.Contains(keys, e.name.Key) {
			continue
		}
		v, err := s.subscription(ctx, e)
		if errors.Is(err, evento.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return err
		}
		if s.out.json {
			if err := s.out.line(v); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, v.row())
	}
	if s.out.json {
		return nil
	}
	return s.out.table(rows)
}

// subscription reads one subscription. Errors about its records are in the view, so
// that the other subscriptions are still shown.
func (s *session) subscription(ctx context.Context, e *entry) (subscriptionView, error) {
	v := subscriptionView{Key: e.name.Key, RoutingKey: e.name.RoutingKey, Partitions: []partitionView{}, unnamed: e.prefix != "" && e.name.RoutingKey == ""}
	err := e.err
	var st *evento.Status
	if err == nil {
		st, err = s.control(e.name).Status(ctx)
	}
	switch {
	case errors.Is(err, evento.ErrDamaged), errors.Is(err, evento.ErrInvalid):
		v.State, v.Error = damaged, err.Error()
		return v, nil
	case errors.Is(err, cursor.ErrInvalid):
		v.State, v.Error = unreadable, err.Error()
		return v, nil
	case err != nil:
		return v, err
	}
	return subscriptionViewOf(st), nil
}

func subscriptionsShowCommand() *cobra.Command {
	return onSubscription(&cobra.Command{
		Use:   "show KEY",
		Short: "Show where a subscription is, partition by partition",
		Long: `Show where a subscription is: its partitions with their owners, places and errors,
what was last done to it from outside, which events it selects, and the projections
whose states it keeps.`,
		Example: `  evento subscriptions show mailer --store app.db
  evento subscriptions show mailer --routing-key eu --store app.db`,
	}, looking, showSubscription)
}

func showSubscription(ctx context.Context, s *session, name evento.SubscriptionName) error {
	st, err := s.control(name).Status(ctx)
	if err != nil {
		return err
	}
	v := subscriptionViewOf(st)
	if s.out.json {
		return s.out.line(v)
	}
	rows := [][]string{
		{"key", printable.Text(v.Key)},
		{"routing key", printable.OrDash(v.RoutingKey)},
		{"state", v.State},
		{"position", number(v.Position) + " of " + number(v.Head)},
		{"behind", number(v.Behind)},
		{"lag", showDuration(st.Lag)},
		{"parked", number(v.Parked)},
	}
	if c := v.Changed; c != nil {
		rows = append(rows, []string{"changed", printable.Text(c.What) + " by " + printable.Text(c.By) + " at " + printable.Time(c.At)})
	}
	rows = append(rows, selectionRows(v.Selection)...)
	if len(v.Keeps) > 0 {
		rows = append(rows, []string{"keeps", "states of " + showSome(v.Keeps)})
	}
	if err := s.out.table(rows); err != nil {
		return err
	}
	rows = [][]string{{"PARTITION", "OWNER", "WORKER", "EPOCH", "POSITION", "CHANGED", "PAUSED", "EVENT", "ERROR"}}
	for i := range v.Partitions {
		p := &v.Partitions[i]
		rows = append(rows, []string{number(i), p.ownerName(), printable.OrDash(p.Owner), number(p.Epoch), number(p.Position), printable.Time(p.ChangedAt),
			strconv.FormatBool(p.Paused), printable.OrDash(p.ErrorEvent), printable.OrDash(p.Error)})
	}
	return s.out.table(rows)
}

// changed prints what was done.
func (s *session) changed(name evento.SubscriptionName, done string) error {
	if s.out.json {
		return s.out.line(struct {
			Done       string `json:"done"`
			Key        string `json:"key"`
			RoutingKey string `json:"routingKey"`
		}{done, name.Key, name.RoutingKey})
	}
	return s.out.printf("%s: %s\n", showName(name), done)
}

func changeCommand(name, short, long string, change func(*evento.Control, context.Context) error, done string) *cobra.Command {
	return onSubscription(&cobra.Command{
		Use:     name + " KEY",
		Short:   short,
		Long:    long,
		Example: "  evento subscriptions " + name + " mailer --store app.db",
	}, changing, func(ctx context.Context, s *session, subscription evento.SubscriptionName) error {
		if err := change(s.control(subscription), ctx); err != nil {
			return err
		}
		return s.changed(subscription, done)
	})
}

func yesFlag(cmd *cobra.Command) {
	cmd.Flags().BoolP("yes", "y", false, "do it without asking")
}

func resetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset KEY --to-start|--to-position N|--to-cursor C|--to-time T|--to-stored",
		Short: "Make a subscription go on from another place",
		Long: `Make a subscription go on from another place: it handles again what is behind it, or
passes over what is before it. Workers may run; they go on from there within a
second. Parked events stay parked.

A cursor is one of this store, such as of an event or the end of a page. A time is
RFC 3339, such as 2026-03-01T09:00:00Z, a day in UTC, such as 2026-03-01, or how long
ago it was, such as 90m, 12h or 7d.

--to-stored is for a store that was restored and has a new identity, or has lost its
last events: each partition goes on behind the position that it has stored, or at the
end. Where the cursors are good, it changes nothing.`,
		Example: `  evento subscriptions reset mailer --to-start --store app.db
  evento subscriptions reset mailer --to-position 1200 --yes --store app.db
  evento subscriptions reset mailer --to-time 2026-03-01 --store app.db
  evento subscriptions reset mailer --to-stored --store app.db`,
	}
	f := cmd.Flags()
	f.Bool("to-start", false, "before the first event")
	f.Uint64("to-position", 0, "behind the event with this position")
	f.String("to-cursor", "", "behind the event with this cursor")
	f.String("to-time", "", "before the first event of this time or later")
	f.Bool("to-stored", false, "behind the position that is stored, when the store refuses its cursor")
	yesFlag(cmd)
	return onSubscription(cmd, changing, resetSubscription)
}

func resetSubscription(ctx context.Context, s *session, name evento.SubscriptionName) error {
	to, reset, err := s.resetWay(ctx, s.control(name))
	if err != nil {
		return err
	}
	err = s.confirmAbout(ctx, name, func(st *evento.Status) string {
		from := "an unknown place"
		if st != nil {
			from = "position " + number(st.Position)
		}
		return fmt.Sprintf("Reset subscription %s from %s to %s?", showName(name), from, to)
	})
	if err != nil {
		return err
	}
	if err := reset(); err != nil {
		return err
	}
	return s.changed(name, "reset to "+to)
}

// confirmAbout asks for confirmation. The question gets the status; nil if it
// cannot be read, as the command may be what repairs that. Reading the status takes
// long if much is pending, so it is not read when nobody is asked.
func (s *session) confirmAbout(ctx context.Context, name evento.SubscriptionName, question func(*evento.Status) string) error {
	if s.yes("yes") {
		return nil
	}
	st, err := s.control(name).Status(ctx)
	if err != nil {
		if !errors.Is(err, cursor.ErrInvalid) && !errors.Is(err, evento.ErrDamaged) {
			return err
		}
		st = nil
	}
	return s.confirm(question(st))
}

// resetWay returns the place that the flags name, in words, and the function that
// resets to it.
func (s *session) resetWay(ctx context.Context, c *evento.Control) (to string, reset func() error, err error) {
	var ways []string
	for _, name := range []string{"to-start", "to-position", "to-cursor", "to-time", "to-stored"} {
		if s.cmd.Flags().Changed(name) {
			ways = append(ways, name)
		}
	}
	if len(ways) != 1 {
		return "", nil, usagef("reset to where? One of --to-start, --to-position N, --to-cursor C, --to-time T and --to-stored")
	}
	switch ways[0] {
	case "to-start":
		return "the start", func() error { return c.ResetToStart(ctx) }, nil
	case "to-stored":
		return "the positions that it has stored", func() error { return c.ResetToStored(ctx) }, nil
	case "to-position":
		n, err := s.cmd.Flags().GetUint64("to-position")
		if err != nil {
			return "", nil, err
		}
		head, err := s.head(ctx)
		if err != nil {
			return "", nil, err
		}
		if n > head.Node.Position {
			return "", nil, usagef("--to-position %d: the last event has position %d", n, head.Node.Position)
		}
		return "position " + number(n), func() error { return c.ResetToPosition(ctx, n) }, nil
	case "to-cursor":
		at := cursor.Value(s.flag("to-cursor"))
		switch _, err := s.ex.Read(ctx, evento.Query{}, cursor.Onward(1, at)); {
		case at == "":
			return "", nil, usagef("--to-cursor is empty; --to-start is before the first event")
		case errors.Is(err, cursor.ErrInvalid):
			return "", nil, usagef("--to-cursor: %w", err)
		case err != nil:
			return "", nil, err
		}
		return "cursor " + printable.Text(string(at)), func() error { return c.ResetToCursor(ctx, at) }, nil
	}
	t, err := s.moment(ctx, "to-time")
	if err != nil {
		return "", nil, err
	}
	return printable.Time(t), func() error { return c.ResetToTime(ctx, t) }, nil
}

func removeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove KEY",
		Short: "Forget a subscription that does not run",
		Long: `Forget a subscription with its place and parked events. None of its workers may run.
One that is started later begins at the first event.

It also removes the records of one that is damaged, of which nobody can tell whether
it runs.`,
		Example: `  evento subscriptions remove old-mailer --store app.db`,
	}
	yesFlag(cmd)
	return onSubscription(cmd, changing, removeSubscription)
}

func removeSubscription(ctx context.Context, s *session, name evento.SubscriptionName) error {
	err := s.confirmAbout(ctx, name, func(st *evento.Status) string {
		what := ", whose records cannot be read"
		if st != nil {
			what = fmt.Sprintf(" with %d parked events", st.Parked)
		}
		return fmt.Sprintf("Forget subscription %s%s?", showName(name), what)
	})
	if err != nil {
		return err
	}
	err = s.control(name).Remove(ctx)
	if errors.Is(err, evento.ErrDamaged) {
		err = s.removeRecords(ctx, name)
	}
	if err != nil {
		return err
	}
	return s.changed(name, "removed")
}
