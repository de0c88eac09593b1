// Which events a command is about.

package main

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

// filterFlags adds the flags that select events.
func filterFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArray("type", nil, "type of aggregate; several with several flags")
	f.StringArray("id", nil, "aggregate id; several with several flags")
	f.StringArray("name", nil, "event name; several with several flags")
	f.StringArray("tag", nil, tagUsage)
	f.String("routing-key", "", "only events with this routing key")
	f.Bool("unrouted", false, "only events without a routing key")
	f.String("correlation-id", "", correlationUsage)
	complete(cmd, "type", func(ctx context.Context, s *session) ([]string, error) {
		types, err := s.types(ctx, false)
		return texts(types), err
	})
}

const tagUsage = "only events with this tag; with several flags, those that have all of the tags"

const correlationUsage = "only events with this correlation `ID` in their metadata"

// narrowingFlags adds the flags that narrow the events of a subscription down.
func narrowingFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArray("name", nil, "only events with this name; several with several flags")
	f.StringArray("tag", nil, tagUsage)
	f.String("correlation-id", "", correlationUsage)
	timeFlags(cmd)
}

// narrowed reports whether one of these flags was given.
func (s *session) narrowed() bool {
	return slices.ContainsFunc([]string{"name", "tag", "correlation-id", "since", "until"}, s.cmd.Flags().Changed)
}

// sinceFlag adds the flag for the beginning of a time.
func sinceFlag(cmd *cobra.Command) {
	cmd.Flags().String("since", "", "only events of this `TIME` or later: 2026-03-01T09:00:00Z, 2026-03-01, or how long ago, such as 90m, 12h or 7d")
}

// timeFlags adds the flags for a time.
func timeFlags(cmd *cobra.Command) {
	sinceFlag(cmd)
	cmd.Flags().String("until", "", "only events before this `TIME`, written likewise")
}

func texts(types []evento.AggregateType) []string {
	list := make([]string, len(types))
	for i, t := range types {
		list[i] = string(t)
	}
	return list
}

// query returns the query of the flags.
func (s *session) query(ctx context.Context) (q evento.Query, err error) {
	f := s.cmd.Flags()
	var lists [4][]string
	for i, name := range []string{"type", "id", "name", "tag"} {
		if lists[i], err = f.GetStringArray(name); err != nil {
			return q, err
		}
	}
	types, ids, names, tags := lists[0], lists[1], lists[2], lists[3]
	q.RoutingKey, q.Unrouted = s.flag("routing-key"), s.yes("unrouted")
	if q.RoutingKey != "" && q.Unrouted {
		return q, usagef("--routing-key and --unrouted exclude each other")
	}
	if f.Changed("tag") {
		if err := (evento.Query{Filters: []evento.Filter{evento.ByTags(tags...)}}).Check(); err != nil {
			return q, usageError{err}
		}
	}
	switch {
	case len(types) > 0:
	case len(ids)+len(names) > 0:
		found, err := s.types(ctx, true)
		if err != nil {
			return q, err
		}
		if types = texts(found); len(types) == 0 {
			return q, nil // the store is empty
		}
	case len(tags) > 0:
		types = []string{""} // any
	}
	if n := len(types) * max(len(ids), 1) * max(len(names), 1); n > evento.MaxFilters {
		return q, usagef("the flags make %d filters, at most %d are allowed: name fewer with --type", n, evento.MaxFilters)
	}
	q.Filters = filtersOf(types, ids, names, tags)
	if err := q.Check(); err != nil {
		return q, usageError{err}
	}
	return q, nil
}

// filtersOf returns a filter for each type, id and name, with all of the tags.
func filtersOf(types, ids, names, tags []string) (filters []evento.Filter) {
	either := func(list []string) []string {
		if len(list) == 0 {
			return []string{""}
		}
		return list
	}
	for _, t := range types {
		for _, id := range either(ids) {
			for _, name := range either(names) {
				filters = append(filters, evento.Filter{AggregateType: evento.AggregateType(t), AggregateID: id, Name: name, Tags: tags})
			}
		}
	}
	return filters
}

// types returns the aggregate types in the store. For Pebble this needs a scan of
// all events, which is done only if scan is set.
func (s *session) types(ctx context.Context, scan bool) ([]evento.AggregateType, error) {
	in, err := s.address.inspect()
	if err != nil {
		return nil, err
	}
	if in != nil {
		list, err := in.Types(ctx)
		return list, errors.Join(err, in.Close())
	}
	if !scan {
		return nil, nil
	}
	found := map[evento.AggregateType]bool{}
	for e, err := range evento.Events(ctx, s.ex, evento.Query{}) {
		if err != nil {
			return nil, err
		}
		found[e.AggregateType] = true
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// wanted are the events that the flags select: those of a query that have the
// correlation id, if there is one, and are of the time from since to before until, where
// these are not zero.
type wanted struct {
	query         evento.Query
	correlationID string
	since, until  time.Time
}

// wanted returns the events that the flags select.
func (s *session) wanted(ctx context.Context) (w wanted, err error) {
	if w.query, err = s.query(ctx); err != nil {
		return w, err
	}
	w.correlationID = s.flag("correlation-id")
	w.since, w.until, err = s.times(ctx)
	return w, err
}

// wantedOf returns the events that the flags select of a subscription, and its name. The
// flag --routing-key names a subscription or, where there is none of that routing key,
// narrows one of all routing keys down.
func (s *session) wantedOf(ctx context.Context, key string) (w wanted, name evento.SubscriptionName, err error) {
	name = evento.SubscriptionName{Key: key, RoutingKey: s.flag("routing-key")}
	f := s.cmd.Flags()
	types, ids := []string{s.flag("type")}, []string{s.flag("id")}
	names, err := f.GetStringArray("name")
	if err != nil {
		return w, name, err
	}
	tags, err := f.GetStringArray("tag")
	if err != nil {
		return w, name, err
	}
	if f.Changed("tag") {
		if err := (evento.Query{Filters: []evento.Filter{evento.ByTags(tags...)}}).Check(); err != nil {
			return w, name, usageError{err}
		}
	}
	w.query.Filters = filtersOf(types, ids, names, tags)
	w.correlationID = s.flag("correlation-id")
	if w.since, w.until, err = s.times(ctx); err != nil || name.RoutingKey == "" {
		return w, name, err
	}
	entries, err := s.entries(ctx, key)
	if err != nil {
		return w, name, err
	}
	of := func(routingKey string) *entry {
		for _, e := range entries {
			if e.err == nil && e.name.RoutingKey == routingKey {
				return e
			}
		}
		return nil
	}
	if all := of(""); of(name.RoutingKey) == nil && all != nil && all.all {
		w.query.RoutingKey, name.RoutingKey = name.RoutingKey, ""
	}
	return w, name, nil
}

// times returns the times of the flags --since and --until, if the command has them.
func (s *session) times(ctx context.Context) (since, until time.Time, err error) {
	for _, flag := range []struct {
		name string
		t    *time.Time
	}{{"since", &since}, {"until", &until}} {
		if s.cmd.Flags().Changed(flag.name) {
			if *flag.t, err = s.moment(ctx, flag.name); err != nil {
				return since, until, err
			}
		}
	}
	if !until.IsZero() && !since.Before(until) {
		return since, until, usagef("--since %s is not before --until %s", printable.Time(since), printable.Time(until))
	}
	return since, until, nil
}

// moment reads a flag that is a time, or how long ago it was by the store's clock.
func (s *session) moment(ctx context.Context, name string) (time.Time, error) {
	text := s.flag(name)
	if ago, err := parseAgo(text); err == nil {
		now, err := s.clock(ctx)
		return now.Add(-ago), err
	}
	t, err := parseTime(text)
	if err != nil {
		return t, usagef("--%s: %w", name, err)
	}
	return t, nil
}

// clock returns the time by the store's clock, which is the same during all of a command.
func (s *session) clock(ctx context.Context) (time.Time, error) {
	if s.now.IsZero() {
		page, err := s.ex.Records(ctx, evento.RecordQuery{Kind: subscriptionKind, Limit: 1})
		if err != nil {
			return time.Time{}, err
		}
		s.now = page.Now.UTC()
	}
	return s.now, nil
}

// rfc3339 matches the form of RFC 3339. [time.Parse] takes more: hours of one digit, a
// comma, and offsets of a day.
var rfc3339 = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

// parseTime reads a time in RFC 3339, of which the letters may be small, or a day.
func parseTime(text string) (time.Time, error) {
	if upper := strings.ToUpper(text); rfc3339.MatchString(upper) {
		if t, err := time.Parse(time.RFC3339, upper); err == nil {
			return t.UTC(), nil
		}
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	return time.Time{}, usagef("%s is no time: 2026-03-01T09:00:00Z, 2026-03-01, or how long ago, such as 90m, 12h or 7d", printable.Text(text))
}

// parseAgo reads a duration as [time.ParseDuration] does, which may begin with weeks and
// days: 1w2d3h.
func parseAgo(text string) (total time.Duration, err error) {
	const day = 24 * time.Hour
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * day}, {"d", day}} {
		number, rest, ok := strings.Cut(text, unit.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n) * unit.length
		if text = rest; text == "" {
			return total, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 || total+d < total {
		err = errors.New("it is below zero or too long")
	}
	return total + d, err
}

// plain reports whether the query alone selects the events.
func (w *wanted) plain() bool {
	return w.correlationID == "" && w.since.IsZero() && w.until.IsZero()
}

// has reports whether an event is wanted.
func (w *wanted) has(e *evento.RawEvent) bool { return w.query.Matches(*e) && w.matches(e) }

// matches reports whether an event of the query is wanted.
func (w *wanted) matches(e *evento.RawEvent) bool {
	return (w.correlationID == "" || e.Metadata.CorrelationID == w.correlationID) &&
		!e.Timestamp.Before(w.since) && (w.until.IsZero() || e.Timestamp.Before(w.until))
}
