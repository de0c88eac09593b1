// evento subscriptions: who runs them, how far they are, and changing that.

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
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
	)
}

// onSubscription is onStore for a command on one key.
func onSubscription(cmd *cobra.Command, how access, do func(ctx context.Context, s *session, c *evento.Control, key string) error) *cobra.Command {
	if cmd.Args == nil {
		cmd.Args = arguments(1, 1, "the key of one subscription")
	}
	cmd.ValidArgsFunction = completeArgument(0, subscriptionKeys)
	return onStore(cmd, how, func(ctx context.Context, s *session, args []string) error {
		err := do(ctx, s, evento.ControlOf(s.ex, args[0]), args[0])
		if errors.Is(err, evento.ErrNotFound) {
			err = fmt.Errorf("%w; evento subscriptions list shows those that there are", err)
		}
		return err
	})
}

// subscriptionView is a subscription for programs. The names of its fields do
// not change.
type subscriptionView struct {
	Key        string          `json:"key"`
	Position   uint64          `json:"position"`
	Head       uint64          `json:"head"`
	Behind     uint64          `json:"behind"`
	LagSeconds float64         `json:"lag_seconds"`
	Paused     bool            `json:"paused"`
	Live       bool            `json:"live"`
	Parked     int             `json:"parked"`
	LastError  string          `json:"last_error,omitempty"`
	Partitions []partitionView `json:"partitions"`
	// Error is why the status cannot be had.
	Error string `json:"error,omitempty"`
}

type partitionView struct {
	Owner     string       `json:"owner,omitempty"`
	Host      string       `json:"host,omitempty"`
	Live      bool         `json:"live"`
	Epoch     uint64       `json:"epoch"`
	Position  uint64       `json:"position"`
	Cursor    cursor.Value `json:"cursor"`
	ChangedAt time.Time    `json:"changed_at"`
	Paused    bool         `json:"paused"`
	Error     string       `json:"error,omitempty"`
}

func subscriptionViewOf(st *evento.Status) subscriptionView {
	v := subscriptionView{
		Key: st.Key, Position: st.Position, Head: st.Head, Behind: st.Head - min(st.Head, st.Position),
		LagSeconds: st.Lag.Seconds(), Parked: st.Parked, Live: len(st.Partitions) > 0,
		Partitions: make([]partitionView, 0, len(st.Partitions)),
	}
	for i := range st.Partitions {
		p := &st.Partitions[i]
		v.Partitions = append(v.Partitions, partitionView{p.Owner, p.Host, p.Live, p.Epoch, p.Position, p.Cursor, p.ChangedAt, p.Paused, p.Error})
		v.Paused = v.Paused || p.Paused
		v.Live = v.Live && p.Live
		if p.Error != "" {
			v.LastError = p.Error
		}
	}
	return v
}

func subscriptionsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List subscriptions with their owners and lag",
		Long: `List the subscriptions that were ever started.

BEHIND is how many events were not looked at yet; there may be nothing for the
subscription among them. LAG is how long the first of them has been waiting. OWNER
is where the worker runs: "-" is nobody, and "dead" one whose lease has lapsed.
With -o json each is a document on a line of its own.`,
		Example: `  evento subscriptions list --store app.db
  evento subscriptions list --store app.db -o json | jq -c 'select(.lag_seconds > 60) | .key'`,
	}
	return onStore(cmd, looking, func(ctx context.Context, s *session, _ []string) error {
		rows := [][]string{{"KEY", "PARTITIONS", "OWNER", "POSITION", "BEHIND", "LAG", "PARKED", "STATE", "ERROR"}}
		for key, err := range evento.Subscriptions(ctx, s.ex) {
			if err != nil {
				return err
			}
			v, err := s.subscription(ctx, key)
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
	})
}

// subscription is where one is. A cursor that the store does not take is told
// in the view: it must not hide the others.
func (s *session) subscription(ctx context.Context, key string) (subscriptionView, error) {
	st, err := evento.ControlOf(s.ex, key).Status(ctx)
	if errors.Is(err, cursor.ErrInvalid) {
		return subscriptionView{Key: key, Partitions: []partitionView{}, Error: err.Error()}, nil
	}
	if err != nil {
		return subscriptionView{}, err
	}
	return subscriptionViewOf(st), nil
}

func (v *subscriptionView) row() []string {
	if v.Error != "" {
		return []string{show(v.Key), "?", "?", "?", "?", "?", "?", "unreadable", cutText(v.Error)}
	}
	owners := map[string]bool{}
	owner := "-"
	for i := range v.Partitions {
		if o := v.Partitions[i].ownerName(); o != "-" {
			owners[o] = true
			owner = o
		}
	}
	if len(owners) > 1 {
		owner = fmt.Sprintf("%d workers", len(owners))
	}
	lag := "-"
	if v.LagSeconds > 0 {
		lag = showDuration(time.Duration(v.LagSeconds * float64(time.Second)))
	}
	return []string{show(v.Key), number(len(v.Partitions)), owner, number(v.Position), number(v.Behind), lag, number(v.Parked), v.state(),
		cutText(strings.TrimPrefix(v.LastError, fmt.Sprintf("evento: subscription %q: ", v.Key)))}
}

func (v *subscriptionView) state() string {
	switch {
	case v.Paused:
		return "paused"
	case v.LastError != "" && !v.Live:
		return "failed"
	case v.Live:
		return "running"
	}
	return "stopped"
}

func (p *partitionView) ownerName() string {
	switch {
	case p.Owner == "":
		return "-"
	case !p.Live:
		return "dead (" + show(p.Host) + ")"
	}
	return show(p.Host)
}

func showDuration(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// cutText is the beginning of a text, for a column.
func cutText(text string) string {
	const most = 120
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return shown(text)
}

func subscriptionsShowCommand() *cobra.Command {
	return onSubscription(&cobra.Command{
		Use:     "show KEY",
		Short:   "Show where a subscription is, partition by partition",
		Long:    `Show where a subscription is: its partitions with their owners, places and errors.`,
		Example: `  evento subscriptions show mailer --store app.db`,
	}, looking, func(ctx context.Context, s *session, c *evento.Control, _ string) error {
		st, err := c.Status(ctx)
		if err != nil {
			return err
		}
		v := subscriptionViewOf(st)
		if s.out.json {
			return s.out.line(v)
		}
		if err := s.out.table([][]string{
			{"key", show(v.Key)},
			{"state", v.state()},
			{"position", number(v.Position) + " of " + number(v.Head)},
			{"behind", number(v.Behind)},
			{"lag", showDuration(st.Lag)},
			{"parked", number(v.Parked)},
		}); err != nil {
			return err
		}
		rows := [][]string{{"PARTITION", "OWNER", "WORKER", "EPOCH", "POSITION", "CHANGED", "PAUSED", "ERROR"}}
		for i := range v.Partitions {
			p := &v.Partitions[i]
			rows = append(rows, []string{number(i), p.ownerName(), shown(p.Owner), number(p.Epoch), number(p.Position), showTime(p.ChangedAt), strconv.FormatBool(p.Paused), shown(p.Error)})
		}
		return s.out.table(rows)
	})
}

// changed tells what was done.
func (s *session) changed(key, done string) error {
	if s.out.json {
		return s.out.line(map[string]string{"key": key, "done": done})
	}
	return s.out.printf("%s: %s\n", show(key), done)
}

func changeCommand(name, short, long string, change func(*evento.Control, context.Context) error, done string) *cobra.Command {
	return onSubscription(&cobra.Command{
		Use:     name + " KEY",
		Short:   short,
		Long:    long,
		Example: "  evento subscriptions " + name + " mailer --store app.db",
	}, changing, func(ctx context.Context, s *session, c *evento.Control, key string) error {
		if err := change(c, ctx); err != nil {
			return err
		}
		return s.changed(key, done)
	})
}

func yesFlag(cmd *cobra.Command) {
	cmd.Flags().BoolP("yes", "y", false, "do it without asking")
}

func resetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset KEY --to-start|--to-position N|--to-time T",
		Short: "Make a subscription go on from another place",
		Long: `Make a subscription go on from another place: it handles again what is behind it, or
passes over what is before it. Workers may run; they go on from there within a
second. Parked events stay parked.

A time is RFC 3339, such as 2026-03-01T09:00:00Z, or a day in UTC, such as 2026-03-01.`,
		Example: `  evento subscriptions reset mailer --to-start --store app.db
  evento subscriptions reset mailer --to-position 1200 --yes --store app.db
  evento subscriptions reset mailer --to-time 2026-03-01 --store app.db`,
	}
	f := cmd.Flags()
	f.Bool("to-start", false, "before the first event")
	f.Uint64("to-position", 0, "behind the event with this position")
	f.String("to-time", "", "before the first event of this time or later")
	yesFlag(cmd)
	return onSubscription(cmd, changing, resetSubscription)
}

func resetSubscription(ctx context.Context, s *session, c *evento.Control, key string) error {
	ways := 0
	for _, name := range []string{"to-start", "to-position", "to-time"} {
		if s.cmd.Flags().Changed(name) {
			ways++
		}
	}
	if ways != 1 {
		return usagef("reset to where? One of --to-start, --to-position N and --to-time T")
	}
	st, err := c.Status(ctx)
	if err != nil && !errors.Is(err, cursor.ErrInvalid) { // a reset is the way out of that
		return err
	}
	from := "an unknown place"
	if err == nil {
		from = "position " + number(st.Position)
	}
	var to string
	var reset func() error
	switch {
	case s.cmd.Flags().Changed("to-start"):
		to, reset = "the start", func() error { return c.ResetToStart(ctx) }
	case s.cmd.Flags().Changed("to-position"):
		n, err := s.cmd.Flags().GetUint64("to-position")
		if err != nil {
			return err
		}
		head, err := s.head(ctx)
		if err != nil {
			return err
		}
		if n > head.Node.Position {
			return usagef("--to-position %d: the last event has position %d", n, head.Node.Position)
		}
		to, reset = "position "+number(n), func() error { return c.ResetToPosition(ctx, n) }
	default:
		t, err := parseTime(s.flag("to-time"))
		if err != nil {
			return err
		}
		to, reset = showTime(t), func() error { return c.ResetToTime(ctx, t) }
	}
	if err := s.confirm(fmt.Sprintf("Reset subscription %s from %s to %s?", show(key), from, to)); err != nil {
		return err
	}
	if err := reset(); err != nil {
		return err
	}
	return s.changed(key, "reset to "+to)
}

func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, usagef("%s is no time: 2026-03-01T09:00:00Z or 2026-03-01", show(text))
}

func removeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove KEY",
		Short: "Forget a subscription that does not run",
		Long: `Forget a subscription with its place and parked events. None of its workers may run.
One that is started later begins at the first event.`,
		Example: `  evento subscriptions remove old-mailer --store app.db`,
	}
	yesFlag(cmd)
	return onSubscription(cmd, changing, func(ctx context.Context, s *session, c *evento.Control, key string) error {
		parked := ""
		if st, err := c.Status(ctx); err == nil {
			parked = fmt.Sprintf(" with %d parked events", st.Parked)
		} else if !errors.Is(err, cursor.ErrInvalid) {
			return err
		}
		if err := s.confirm(fmt.Sprintf("Forget subscription %s%s?", show(key), parked)); err != nil {
			return err
		}
		if err := c.Remove(ctx); err != nil {
			return err
		}
		return s.changed(key, "removed")
	})
}
