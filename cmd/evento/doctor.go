// evento doctor: does a store fulfil the library's promises?

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
)

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check a store against what the library promises",
		Long: `Check a store against what the library promises, and say what to do about what is
found. Nothing is changed, and the store may be in use.

  schema         migrations that are missing
  durability     settings of the server or file by which events may be lost
  immutability   triggers against changing events that are missing
  file           SQLite's own check of the file (not with --fast)
  checksum       events, records and snapshots that are not what was stored, by SQLite's
                 checksums (not with --fast)
  position       positions that do not rise (error) or have gaps (warning)
  timestamp      timestamps that fall, or are ahead of the clock
  version        aggregates whose versions are not 1, 2, 3, …
  payload        CBOR and JSON that cannot be decoded
  counter        a counter of positions that is not where the last event is
  snapshot       snapshots beyond the last event
  tags           an index of tags that is not that of the events (not with --fast)
  subscription   damaged records, cursors that the store does not take, failures and
                 retries, owners that have gone, pauses, parked events, lag
  deadline       damaged records, and deadlines that nobody makes come true

Every event is read once. The version of each aggregate is kept meanwhile, in some 40
bytes each; when they need more than --memory, the store is read again for the rest.
With --fast only the last 1,000 events are read.

With -o json each finding is a document on a line of its own, with severity, check,
subject, detail and remedy, and the last line has summary.

Exit codes: 0 no errors, though there may be warnings, 1 errors were found or it failed,
2 called wrongly, 130 interrupted, 141 nobody reads the output.`,
		Example: `  evento doctor --store app.db
  evento doctor --store postgres://app@db/shop --fast -o json`,
		Args: arguments(0, 0, "no arguments"),
	}
	f := cmd.Flags()
	f.String("store", "", storeUsage)
	f.Bool("fast", false, "do not read everything")
	f.Duration("lag", time.Minute, "warn of subscriptions that are further behind")
	f.Int("memory", 256, "the most `MB` for versions of aggregates")
	outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		s := &session{cmd: cmd}
		if s.out, err = newOutput(cmd); err != nil {
			return err
		}
		if s.address, err = storeOf(cmd); err != nil {
			return err
		}
		d := &doctor{s: s, listed: map[string]int{}, fast: s.yes("fast")}
		if d.lag, err = cmd.Flags().GetDuration("lag"); err != nil {
			return err
		}
		if d.memory, err = cmd.Flags().GetInt("memory"); err != nil {
			return err
		}
		if d.memory < 1 {
			return usagef("--memory %d: at least 1", d.memory)
		}
		return d.examine(cmd.Context())
	}
	return cmd
}

// errFindings ends the command with exit code 1; the findings are already printed.
var errFindings = errors.New("there are errors")

type severity string

const (
	severe  severity = "error"
	warning severity = "warning"
	note    severity = "note"
)

// finding is a result of a check. The names of its fields are stable.
type finding struct {
	Severity severity `json:"severity"`
	Check    string   `json:"check"`
	Subject  string   `json:"subject,omitempty"`
	Detail   string   `json:"detail"`
	Remedy   string   `json:"remedy,omitempty"`
}

// doctor examines a store and prints findings at once.
type doctor struct {
	s      *session
	fast   bool
	lag    time.Duration
	memory int

	errors, warnings int
	broken           error // the error of writing findings
	events           uint64
	listed           map[string]int // findings by check and severity
}

// mostListed is how many findings of one kind are listed; further ones are counted.
const mostListed = 20

func (d *doctor) found(f finding) (err error) {
	defer func() { d.broken = err }()
	switch f.Severity {
	case severe:
		d.errors++
	case warning:
		d.warnings++
	}
	kind := string(f.Severity) + " " + f.Check
	if d.listed[kind]++; d.listed[kind] > mostListed {
		return nil
	}
	if d.s.out.json {
		if err := d.s.out.line(f); err != nil {
			return err
		}
		return d.s.out.flush()
	}
	subject := ""
	if f.Subject != "" {
		subject = show(f.Subject) + ": "
	}
	text := fmt.Sprintf("%-8s%-13s%s%s\n", f.Severity, f.Check, subject, show(f.Detail))
	if f.Remedy != "" {
		text += "        remedy: " + show(f.Remedy) + "\n"
	}
	if err := d.s.out.printf("%s", text); err != nil {
		return err
	}
	return d.s.out.flush()
}

func (d *doctor) examine(ctx context.Context) error {
	s := d.s
	if err := s.address.checkThere(); err != nil {
		return fmt.Errorf("%s: %w", s.address, err)
	}
	current, err := d.schema(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.address, err)
	}
	if current {
		if err := s.open(ctx, looking); err != nil {
			return err
		}
		err = d.contents(ctx)
		if err := errors.Join(err, s.close()); err != nil {
			return err
		}
	}
	if err := d.summary(); err != nil {
		return err
	}
	if d.errors > 0 {
		return errFindings
	}
	return nil
}

// contents examines a store that can be opened. If a check fails, the others are
// still made.
func (d *doctor) contents(ctx context.Context) error {
	for _, check := range []struct {
		name string
		run  func(context.Context) error
	}{{"settings", d.settings}, {"subscription", d.subscriptions}, {"deadline", d.deadlines}, {"log", d.log}} {
		err := check.run(ctx)
		switch {
		case d.broken != nil, ctx.Err() != nil:
			return err
		case err == nil:
			continue
		}
		if err := d.found(finding{severe, check.name, "", "could not be examined: " + err.Error(), ""}); err != nil {
			return err
		}
	}
	return nil
}

func (d *doctor) summary() error {
	more := 0
	for _, n := range d.listed {
		more += max(0, n-mostListed)
	}
	if d.s.out.json {
		type counts struct {
			Events   uint64 `json:"events"`
			Errors   int    `json:"errors"`
			Warnings int    `json:"warnings"`
			Unlisted int    `json:"unlisted"`
		}
		if err := d.s.out.line(map[string]counts{"summary": {d.events, d.errors, d.warnings, more}}); err != nil {
			return err
		}
		return d.s.out.flush()
	}
	if more > 0 {
		if err := d.s.out.printf("%d more findings are like those above\n", more); err != nil {
			return err
		}
	}
	if err := d.s.out.printf("%s: %d events read, %d errors, %d warnings\n", d.s.address, d.events, d.errors, d.warnings); err != nil {
		return err
	}
	return d.s.out.flush()
}

// schema reports whether the store's tables are current: only then can the rest be
// examined.
func (d *doctor) schema(ctx context.Context) (current bool, err error) {
	in, err := d.s.address.inspect()
	if err != nil || in == nil {
		return err == nil, err
	}
	at, latest, err := in.Version(ctx)
	if err := errors.Join(err, in.Close()); err != nil {
		return false, err
	}
	switch {
	case at > latest:
		return false, d.found(finding{severe, "schema", "", fmt.Sprintf("the store is at migration %d, this command knows %d", at, latest), "use a newer evento command"})
	case at == 0:
		return false, d.found(finding{severe, "schema", "", "there is no evento store in it", "evento migrate up makes one"})
	case at < latest:
		return false, d.found(finding{severe, "schema", "", fmt.Sprintf("the store is at migration %d of %d", at, latest), "evento migrate up"})
	}
	return true, nil
}

// settings makes the checks of the store's database.
// Why: docs/decisions.md, "Settings are warnings".
func (d *doctor) settings(ctx context.Context) (err error) {
	in, err := d.s.address.inspect()
	if err != nil || in == nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	for _, check := range in.Checks {
		if check.Slow && d.fast {
			continue
		}
		f, err := in.Examine(ctx, check)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil: // the account lacks the privilege
			err = d.found(finding{note, check.Name, "", "could not be examined: " + err.Error(), ""})
		case f != nil:
			err = d.found(finding{severity(f.Severity), check.Name, "", f.Detail, f.Remedy})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// subscriptions reports what blocks subscriptions.
func (d *doctor) subscriptions(ctx context.Context) error {
	entries, err := d.s.entries(ctx, "")
	if err != nil {
		return err
	}
	for _, e := range entries {
		v, err := d.s.subscription(ctx, e)
		switch {
		case errors.Is(err, evento.ErrNotFound): // removed meanwhile
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			v.Error, v.State = err.Error(), "" // still examine the others
		}
		list := d.ofSubscription(&v)
		if v.Error == "" {
			more, err := d.cursors(ctx, &v)
			if err != nil {
				return err
			}
			list = append(list, more...)
		}
		for _, f := range list {
			f.Check, f.Subject = "subscription", v.Key
			if v.RoutingKey != "" {
				f.Subject += " of routing key " + v.RoutingKey
				f.Remedy = strings.ReplaceAll(f.Remedy, " KEY", " KEY --routing-key K")
			}
			if err := d.found(f); err != nil {
				return err
			}
		}
	}
	return nil
}

const foreignRemedy = "an older backup may have been restored, or another store's records: evento subscriptions reset KEY --to-stored, or --to-position N"

// cursors reports cursors that are not of this store. The status of a subscription
// with partitions does not read all of them.
func (d *doctor) cursors(ctx context.Context, v *subscriptionView) (list []finding, err error) {
	for i := range v.Partitions {
		_, err := d.s.ex.Read(ctx, evento.Query{}, cursor.Onward(1, v.Partitions[i].Cursor))
		switch {
		case errors.Is(err, cursor.ErrInvalid):
			list = append(list, finding{Severity: severe, Detail: fmt.Sprintf("the cursor of partition %d is not of this store, or beyond its end: %s", i, err), Remedy: foreignRemedy})
		case err != nil:
			return nil, err
		}
	}
	return list, nil
}

func (d *doctor) ofSubscription(v *subscriptionView) (list []finding) {
	add := func(s severity, remedy, format string, args ...any) {
		list = append(list, finding{Severity: s, Detail: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	switch {
	case v.State == damaged:
		add(severe, "restore its records from a backup, or evento subscriptions remove KEY forgets it", "its records are damaged: %s", v.Error)
		return list
	case v.State == unreadable:
		add(severe, foreignRemedy, "its cursor is not of this store, or beyond its end: %s", v.Error)
		return list
	case v.Error != "":
		add(severe, "", "it could not be examined: %s", v.Error)
		return list
	}
	for i := range v.Partitions {
		p := &v.Partitions[i]
		switch p.state() {
		case failed:
			add(severe, "mend the handler or the event's data and start the worker again; with AcceptFailure such events are parked instead", "partition %d stopped behind position %d: %s", i, p.Position, p.Error)
		case retrying:
			add(warning, "mend the handler or the event's data; the worker tries again by itself", "partition %d is behind position %d and tries again: %s", i, p.Position, p.Error)
		case dead:
			was := ""
			if p.Error != "" {
				was = "; before that it failed: " + p.Error
			}
			add(warning, "start a worker again; one that waits takes over by itself", "partition %d: its worker is %s%s", i, p.ownerName(), was)
		}
	}
	if v.Paused {
		since := ""
		if v.showPaused() != paused {
			since = " since " + showTime(v.Changed.At)
		}
		add(warning, "evento subscriptions resume KEY", "it is %s%s", v.showPaused(), since)
	}
	if v.Parked > 0 {
		add(warning, "evento subscriptions parked KEY lists them, with retry and drop", "%d events are parked", v.Parked)
	}
	if lag := seconds(v.LagSeconds); lag > d.lag {
		add(warning, "see that a worker runs; a slow handler is helped by batches or partitions", "%d events are pending, the first for %s", v.Behind, showDuration(lag))
	}
	return list
}

// log examines the events.
func (d *doctor) log(ctx context.Context) error {
	head, err := d.s.head(ctx)
	if err != nil || head.Cursor == "" {
		return err
	}
	if ahead := time.Until(head.Node.Timestamp); ahead > time.Minute {
		if err := d.found(finding{warning, "timestamp", "", fmt.Sprintf("the last event is of %s, which is %s ahead of this machine's clock: until then all events get that time", showTime(head.Node.Timestamp), showDuration(ahead)), "set the clocks; timestamps never fall, so wait"}); err != nil {
			return err
		}
	}
	l := newLogCheck(d, head.Node.Position)
	if d.fast {
		return l.tail(ctx)
	}
	if err := l.all(ctx); err != nil {
		return err
	}
	return d.tags(ctx, l)
}

// tags compares the index of tags with the events that were read. Both are up to the same
// position: an event and its tags are written in one transaction.
func (d *doctor) tags(ctx context.Context, l *logCheck) (err error) {
	in, err := d.s.address.inspect()
	if err != nil || in == nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	index, err := in.TagSums(ctx, l.head)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return d.found(finding{severe, "tags", "", "could not be examined: " + err.Error(), ""})
	case index == l.tags:
		return nil
	}
	return d.found(finding{severe, "tags", "", fmt.Sprintf("the index of tags is not that of the events: reads and decisions by tags may miss events; it has %d rows, and the events have %d tags", index.Rows, l.tags.Rows), sqlstore.TagsRemedy})
}

// fastEvents is how many events --fast reads.
const fastEvents = 1000
