// evento doctor: does a store fulfil the library's promises?

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/internal/examine"
	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/internal/sqlstore"
)

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check a store against what the library promises",
		Long: `Check a store against what the library promises, and say what to do about what is
found. Nothing is changed, and the store may be in use. What is damaged hides nothing
else: each check is made, and each event looked at, as far as the database gives them
out. A store without errors can be exported, and the export imported.

  schema         migrations that are missing; tables, columns, indexes, constraints,
                 triggers and views that are not what the migrations make
  identity       a missing or changed identity of the store
  durability     settings of the server or file by which events may be lost; on NATS,
                 servers that do not sync always (with --system-creds)
  replicas       copies of streams that are missing, offline or behind (NATS)
  limits         streams that are nearly full (NATS)
  file           SQLite's own check of the file (not with --fast)
  checksum       events, records and snapshots that are not what was stored, by SQLite's
                 checksums (not with --fast)
  position       positions that are none, do not rise, or have gaps
  timestamp      timestamps that are none, fall, or are ahead of the clock
  version        aggregates whose versions are not 1, 2, 3, …
  id             event ids that are there twice
  event          events of which something else is not what the library writes: names,
                 kinds, routing keys, tags, metadata, values of another type
  payload        CBOR and JSON that cannot be decoded
  names          damaged tables of names (SQL)
  counter        a counter of positions that is not where the last event is
  record         damaged records of subscriptions and deadlines
  snapshot       damaged snapshots (not with --fast), and those beyond the last event
  tags           an index of tags that is not that of the events (not with --fast)
  index          keys that are not those of the events (Pebble and NATS, not with --fast)
  subscription   damaged records, cursors that the store does not take, failures and
                 retries, owners that have gone, pauses, parked events, lag
  deadline       damaged records, and deadlines that nobody makes come true
  store          a store that cannot be opened

Every event is read once. The version of each aggregate is kept meanwhile, in some 56
bytes each; when they need more than --memory, the store is read again for the rest.
With --fast only the last 1,000 events are read.

With -o json each finding is a document on a line of its own, with severity, check,
subject, detail and remedy, and the last line has summary. Of each check 20 findings of a
severity are listed, and the others counted.

Exit codes: 0 no errors, though there may be warnings, 1 errors were found or it failed,
2 called wrongly, 130 interrupted, 141 nobody reads the output.`,
		Example: `  evento doctor --store app.db
  evento doctor --store postgres://app@db/shop --fast -o json
  evento doctor --store nats://n1,n2,n3/shop --system-creds sys.creds`,
		Args: arguments(0, 0, "no arguments"),
	}
	f := cmd.Flags()
	f.String("store", "", storeUsage)
	f.Bool("fast", false, "do not read everything")
	f.Duration("lag", doctorLag, "warn of subscriptions that are further behind")
	f.Int("memory", doctorMemory, "the most `MB` for versions of aggregates")
	f.String("system-creds", "", "`FILE` with the credentials of the system account of NATS, to ask its servers whether they sync always")
	outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		s := &session{cmd: cmd}
		if s.out, err = newOutput(cmd); err != nil {
			return err
		}
		if s.address, err = storeOf(cmd); err != nil {
			return err
		}
		d := &doctor{s: s, listed: map[listed]int{}, fast: s.yes("fast")}
		if d.lag, err = cmd.Flags().GetDuration("lag"); err != nil {
			return err
		}
		if d.memory, err = cmd.Flags().GetInt("memory"); err != nil {
			return err
		}
		if d.memory < 1 {
			return usagef("--memory %d: at least 1", d.memory)
		}
		if d.systemCreds = s.flag("system-creds"); d.systemCreds != "" && s.address.kind != natsStore {
			return usagef("--system-creds is for stores on NATS")
		}
		return errors.Join(d.examine(cmd.Context()), s.close())
	}
	return cmd
}

// What doctor does unless it is told otherwise.
const (
	doctorLag    = time.Minute
	doctorMemory = 256
)

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

// doctor examines a store and prints findings at once, or tells somebody. If the session has the
// store open, it is examined as it is open.
type doctor struct {
	s      *session
	tell   func(finding) error // gets the findings; nil: they are printed
	fast   bool
	lag    time.Duration
	memory int
	// systemCreds is a file with the credentials of NATS's system account; "": none.
	systemCreds string

	errors, warnings int
	broken           error // the error of writing findings
	events           uint64
	listed           map[listed]int // how many findings there were
	entries          entryList      // the subscriptions with records that can be read
}

// listed is a kind of findings.
type listed struct {
	severity severity
	check    string
}

// mostListed is how many findings of one kind are listed; further ones are counted.
const mostListed = 20

// found prints a finding.
func (d *doctor) found(f finding) (err error) {
	defer func() { d.broken = err }()
	switch f.Severity {
	case severe:
		d.errors++
	case warning:
		d.warnings++
	}
	kind := listed{f.Severity, f.Check}
	if d.listed[kind]++; d.listed[kind] > mostListed {
		return nil
	}
	if d.tell != nil {
		return d.tell(f)
	}
	if d.s.out.json {
		if err := d.s.out.line(f); err != nil {
			return err
		}
		return d.s.out.flush()
	}
	subject := ""
	if f.Subject != "" {
		subject = printable.Text(f.Subject) + ": "
	}
	text := fmt.Sprintf("%-8s%-13s%s%s\n", f.Severity, f.Check, subject, printable.Text(f.Detail))
	if f.Remedy != "" {
		text += "        remedy: " + printable.Text(f.Remedy) + "\n"
	}
	if err := d.s.out.printf("%s", text); err != nil {
		return err
	}
	return d.s.out.flush()
}

// examined is a store as it is, whatever that is.
type examined interface {
	Events(ctx context.Context, from uint64, each func(*examine.Event) error) error
	Records(ctx context.Context, kind string, each func(*examine.Record) error) error
	Record(ctx context.Context, key evento.RecordKey) (*examine.Record, error)
	Snapshots(ctx context.Context, each func(*examine.Snapshot) error) error
	// Last is the position of the n-th event from the end; 0: there are fewer. It is not
	// known if that is none.
	Last(ctx context.Context, n int) (position uint64, known bool, err error)
	Now(ctx context.Context) (time.Time, error)
}

// check is a part of the examination.
type check struct {
	name string
	run  func(context.Context) error
}

// unexamined is the remedy of what could not be examined.
const unexamined = "see to the other findings first; if there are none, restore a backup"

// each makes checks. If one fails, that is a finding, and the others are still made.
func (d *doctor) each(ctx context.Context, checks ...check) error {
	for _, c := range checks {
		err := c.run(ctx)
		switch {
		case d.broken != nil, ctx.Err() != nil:
			return cmp.Or(d.broken, ctx.Err())
		case err == nil:
			continue
		}
		if err := d.found(finding{severe, c.name, "", "could not be examined: " + err.Error(), unexamined}); err != nil {
			return err
		}
	}
	return nil
}

// examine examines a store, and prints a summary.
func (d *doctor) examine(ctx context.Context) error {
	if err := d.look(ctx); err != nil {
		return err
	}
	if err := d.summary(); err != nil {
		return err
	}
	if d.errors > 0 {
		return errFindings
	}
	return nil
}

// look examines a store.
func (d *doctor) look(ctx context.Context) (err error) {
	s := d.s
	if err := s.address.checkThere(); err != nil {
		return fmt.Errorf("%s: %w", s.address, err)
	}
	var there bool
	switch s.address.kind {
	case pebbleStore:
		there, err = d.pebble(ctx)
	case natsStore:
		there, err = d.nats(ctx)
	default:
		there, err = d.sql(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.address, err)
	}
	if there {
		return d.opened(ctx)
	}
	return nil
}

// contents examines what a store has, as it is. It makes further checks of one kind of store
// before those of the records.
func (d *doctor) contents(ctx context.Context, x examined, l *logCheck, further ...check) error {
	checks := slices.Concat([]check{{"event", l.run}}, further, []check{
		{"record", func(ctx context.Context) error { return d.records(ctx, x) }},
		{"deadline", func(ctx context.Context) error { return d.deadlines(ctx, x) }},
	})
	if !d.fast {
		checks = append(checks, check{"snapshot", func(ctx context.Context) error { return d.snapshots(ctx, x, l) }})
	}
	return d.each(ctx, checks...)
}

// pebble examines a directory of Pebble.
func (d *doctor) pebble(ctx context.Context) (there bool, err error) {
	if ex, ok := d.s.ex.(*pebble.Executor); ok {
		return true, d.inPebble(ctx, pebble.InspectorOf(ex))
	}
	in, err := pebble.Inspect(d.s.address.place, &pebble.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	return true, d.inPebble(ctx, in)
}

func (d *doctor) inPebble(ctx context.Context, in *pebble.Inspector) error {
	const remedy = "evento export, and evento import into a new store, make the keys anew; or restore a backup"
	return d.contents(ctx, in, newLogCheck(d, in), d.keys(in, remedy)...)
}

// keys are the checks of the keys of a database of Pebble.
func (d *doctor) keys(in *pebble.Inspector, remedy string) []check {
	checks := []check{{"identity", func(ctx context.Context) error {
		return in.Meta(ctx, func(detail string) error {
			return d.found(finding{severe, "identity", "", detail, "restore a backup: the cursors of subscriptions are those of one store"})
		})
	}}}
	if !d.fast {
		checks = append(checks, check{"index", func(ctx context.Context) error {
			return in.Indexes(ctx, func(detail string) error { return d.found(finding{severe, "index", "", detail, remedy}) })
		}})
	}
	return checks
}

// records reports records that cannot be read, or are not what a store takes, and lists the
// subscriptions of the others.
func (d *doctor) records(ctx context.Context, x examined) error {
	return x.Records(ctx, "", func(r *examine.Record) error {
		if r.Kind == subscriptionKind && len(r.Faults) == 0 {
			d.entries.add(&r.Record)
		}
		r.Check()
		return d.faults("record", fmt.Sprintf("%s %q %q", printable.Text(r.Kind), r.Key, r.Part), r.Faults,
			"restore it from a backup, or remove it in the database: what it is about is forgotten")
	})
}

// snapshots reports snapshots that cannot be read, or are not what a projection stores. Those beyond the
// last event are found by a check of the database, unless the last event is where none can be.
func (d *doctor) snapshots(ctx context.Context, x examined, l *logCheck) error {
	var ahead []uint64
	err := x.Snapshots(ctx, func(s *examine.Snapshot) error {
		if s.Check(); !s.Lacks("position") && s.Position > l.last {
			ahead = append(ahead, s.Position)
		}
		return d.faults("snapshot", fmt.Sprintf("%q of %s %q", s.Projection, printable.Text(string(s.AggregateType)), s.AggregateID), s.Faults,
			"evento snapshots delete removes it, or else remove it in the database: it is made again")
	})
	if n, ok := x.(*natsDoctor); ok && err == nil && len(ahead) > 0 {
		var head uint64
		head, err = n.Head(ctx)
		ahead = slices.DeleteFunc(ahead, func(position uint64) bool { return position <= head })
	}
	queried := d.s.address.kind != pebbleStore && d.s.address.kind != natsStore // by a check of the database
	if err != nil || len(ahead) == 0 || !l.whole || queried && l.reasonable() {
		return err
	}
	f := sqlstore.SnapshotsBeyond()
	return d.found(finding{severity(f.Severity), "snapshot", "", strings.ReplaceAll(f.Detail, "$1", strconv.Itoa(len(ahead))), f.Remedy})
}

// faults reports what is wrong with something.
func (d *doctor) faults(check, subject string, faults examine.Faults, remedy string) error {
	for _, w := range faults {
		if w.Detail == "" {
			continue
		}
		if err := d.found(finding{severe, check, subject, w.Detail, remedy}); err != nil {
			return err
		}
	}
	return nil
}

// opened examines what only an opened store can say.
func (d *doctor) opened(ctx context.Context) error {
	if d.s.ex == nil {
		err := d.s.open(ctx, looking)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return d.found(finding{severe, "store", "", "it cannot be opened: " + err.Error(), unexamined})
		}
	}
	return d.each(ctx, check{"subscription", d.subscriptions})
}

// unlisted is how many findings are only counted, by severity and check.
func (d *doctor) unlisted() map[string]int {
	more := map[string]int{}
	for kind, n := range d.listed {
		if n > mostListed {
			more[string(kind.severity)+" "+kind.check] = n - mostListed
		}
	}
	return more
}

func (d *doctor) summary() error {
	more := d.unlisted()
	if d.s.out.json {
		type counts struct {
			Events   uint64 `json:"events"`
			Errors   int    `json:"errors"`
			Warnings int    `json:"warnings"`
			Unlisted int    `json:"unlisted"`
			// More has the findings that are not listed by severity and check.
			More map[string]int `json:"more,omitempty"`
		}
		all := 0
		for _, n := range more {
			all += n
		}
		if err := d.s.out.line(map[string]counts{"summary": {d.events, d.errors, d.warnings, all, more}}); err != nil {
			return err
		}
		return d.s.out.flush()
	}
	for _, kind := range slices.Sorted(maps.Keys(more)) {
		severity, check, _ := strings.Cut(kind, " ")
		if err := d.s.out.printf("%-8s%-13sand %s more\n", severity, check, printable.Thousands(uint64(more[kind]))); err != nil {
			return err
		}
	}
	if err := d.s.out.printf("%s: %d events read, %d errors, %d warnings\n", d.s.address, d.events, d.errors, d.warnings); err != nil {
		return err
	}
	return d.s.out.flush()
}
