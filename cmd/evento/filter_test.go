package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

// someEvents are many events with few names, whose times are often equal.
func someEvents(n int) []evento.RawEvent {
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	versions := map[string]uint64{}
	events := make([]evento.RawEvent, n)
	for i := range events {
		if r.IntN(3) == 0 {
			at = at.Add(time.Duration(r.IntN(1e9)) * time.Microsecond)
		}
		k := r.IntN(4)
		e := evento.RawEvent{
			Position: uint64(i + 1), ID: evento.NewID(), Timestamp: at, Codec: "json", Data: []byte("{}"),
			AggregateType: evento.AggregateType([]string{"a", "b"}[k%2]), AggregateID: []string{"1", "2"}[k/2],
			Name: []string{"Made", "Sent"}[r.IntN(2)], RoutingKey: []string{"", "eu", "us", ""}[k],
		}
		if r.IntN(100) < 3 {
			e.Metadata.CorrelationID = "rare"
		} else if r.IntN(2) == 0 {
			e.Metadata.CorrelationID = "often"
		}
		if r.IntN(4) == 0 {
			e.Tags = []string{"x"}
		}
		key := string(e.AggregateType) + e.AggregateID
		versions[key]++
		e.Version = versions[key]
		events[i] = e
	}
	return events
}

// exported writes events as an export does (docs/formats.md).
func exported(t *testing.T, events []evento.RawEvent) string {
	t.Helper()
	var b strings.Builder
	line := func(v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(text, '\n'))
	}
	type record struct {
		Position   uint64          `json:"position"`
		ID         evento.ID       `json:"id"`
		Type       string          `json:"type"`
		Aggregate  string          `json:"aggregate"`
		Version    uint64          `json:"version"`
		Name       string          `json:"name"`
		RoutingKey string          `json:"routingKey,omitempty"`
		Tags       []string        `json:"tags,omitempty"`
		Timestamp  string          `json:"timestamp"`
		Codec      string          `json:"codec"`
		Metadata   evento.Metadata `json:"metadata,omitzero"`
		Data       []byte          `json:"data"`
	}
	line(map[string]any{"evento": "events", "version": 1})
	for _, e := range events {
		line(record{e.Position, e.ID, string(e.AggregateType), e.AggregateID, e.Version, e.Name, e.RoutingKey, e.Tags, printable.Time(e.Timestamp), e.Codec, e.Metadata, e.Data})
	}
	line(map[string]any{"evento": "end", "events": len(events), "sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(b.String())))})
	return b.String()
}

// filterCase are flags and what they select.
type filterCase struct {
	args  []string
	wants func(*evento.RawEvent) bool
}

// someFilter is a random one.
func someFilter(r *rand.Rand, events []evento.RawEvent) filterCase {
	var c filterCase
	wants := []func(*evento.RawEvent) bool{}
	add := func(want func(*evento.RawEvent) bool, args ...string) {
		c.args = append(c.args, args...)
		wants = append(wants, want)
	}
	moment := func() time.Time {
		return events[r.IntN(len(events))].Timestamp.Add(time.Duration(r.IntN(3)-1) * time.Microsecond)
	}
	if since := moment(); r.IntN(2) == 0 {
		add(func(e *evento.RawEvent) bool { return !e.Timestamp.Before(since) }, "--since", printable.Time(since))
		if until := since.Add(time.Duration(r.Int64N(int64(10 * time.Minute)))); r.IntN(2) == 0 && since.Before(until.Truncate(time.Microsecond)) {
			until = until.Truncate(time.Microsecond)
			add(func(e *evento.RawEvent) bool { return e.Timestamp.Before(until) }, "--until", strings.ToLower(printable.Time(until)))
		}
	} else if until := moment(); r.IntN(2) == 0 {
		add(func(e *evento.RawEvent) bool { return e.Timestamp.Before(until) }, "--until", printable.Time(until))
	}
	if id := []string{"rare", "often", "none"}[r.IntN(3)]; r.IntN(2) == 0 {
		add(func(e *evento.RawEvent) bool { return e.Metadata.CorrelationID == id }, "--correlation-id", id)
	}
	if r.IntN(3) == 0 {
		add(func(e *evento.RawEvent) bool { return e.RoutingKey == "eu" }, "--routing-key", "eu")
	}
	if r.IntN(3) == 0 {
		add(func(e *evento.RawEvent) bool { return slices.Contains(e.Tags, "x") }, "--tag", "x")
	}
	if r.IntN(4) == 0 {
		add(func(e *evento.RawEvent) bool { return e.AggregateType == "a" && e.Name == "Sent" }, "--type", "a", "--name", "Sent")
	}
	c.wants = func(e *evento.RawEvent) bool {
		return !slices.ContainsFunc(wants, func(want func(*evento.RawEvent) bool) bool { return !want(e) })
	}
	return c
}

// list returns a page of events list.
func list(t *testing.T, store string, args ...string) (positions []uint64, info pageInfoView) {
	t.Helper()
	out, _ := must(t, "", append([]string{"events", "list", "--store", store, "-o", "json"}, args...)...)
	var page pageView
	if err := json.Unmarshal([]byte(out), &page); err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		positions = append(positions, e.Position)
	}
	return positions, page.PageInfo
}

// Whatever is asked for, page after page and in both directions, is what a scan finds.
func TestFilters(t *testing.T) {
	t.Parallel()
	events := someEvents(2500)
	export := exported(t, events)
	for kind, newStore := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			must(t, export, "import", "--store", store)
			r := rand.New(rand.NewPCG(3, 4))
			for range 30 {
				c := someFilter(r, events)
				var want []uint64
				for i := range events {
					if c.wants(&events[i]) {
						want = append(want, events[i].Position)
					}
				}
				limit := max(1, len(want)/(1+r.IntN(3)))
				checkPages(t, store, c.args, want, limit, "--after", false)
				checkPages(t, store, append(c.args, "--reverse"), want, limit, "--before", true)
				at := uint64(r.IntN(len(events)) + 1)
				checkFrom(t, store, c.args, want, at)
			}
		})
	}
}

// checkPages lists all pages.
func checkPages(t *testing.T, store string, args []string, want []uint64, limit int, flag string, reverse bool) {
	t.Helper()
	var got []uint64
	args = append(args, "--limit", strconv.Itoa(limit))
	for next := []string(nil); ; {
		page, info := list(t, store, append(args, next...)...)
		more, before, place := info.HasNextPage, info.HasPreviousPage, info.EndCursor
		if reverse {
			more, before, place = before, more, info.StartCursor
		}
		if before != (len(got) > 0) && len(page) > 0 {
			t.Errorf("%s %q: behind %d of %d events, the page says that there are some before: %t", store, args, len(got), len(want), before)
		}
		got = append(got, page...)
		if more != (len(got) < len(want)) || len(page) > limit {
			t.Fatalf("%s %q: %d of %d events, the page of %d says that there are more: %t", store, args, len(got), len(want), len(page), more)
		}
		if !more {
			break
		}
		next = []string{flag, string(place)}
	}
	if reverse {
		slices.Reverse(got)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s %q: got %d events, want %d", store, args, len(got), len(want))
	}
}

// checkFrom lists from a position that need not be of an event that is wanted.
func checkFrom(t *testing.T, store string, args []string, want []uint64, at uint64) {
	t.Helper()
	n, _ := slices.BinarySearch(want, at+1)
	m, _ := slices.BinarySearch(want, at)
	const limit = 5
	got, info := list(t, store, append(args, "--limit", strconv.Itoa(limit), "--after", strconv.FormatUint(at, 10))...)
	if page := want[n:min(n+limit, len(want))]; !slices.Equal(got, page) || info.HasNextPage != (n+limit < len(want)) || info.HasPreviousPage != (n > 0) {
		t.Errorf("%s %q --after %d: %d, %+v, want %d of %d behind %d", store, args, at, got, info, page, len(want), n)
	}
	got, info = list(t, store, append(args, "--limit", strconv.Itoa(limit), "--before", strconv.FormatUint(at, 10))...)
	if page := want[max(0, m-limit):m]; !slices.Equal(got, page) || info.HasPreviousPage != (m > limit) || info.HasNextPage != (m < len(want)) {
		t.Errorf("%s %q --before %d: %d, %+v, want %d of %d", store, args, at, got, info, page, m)
	}
}

// Times are RFC 3339, days, and durations before now.
func TestTimeFlags(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	events := someEvents(4)
	for i, ago := range []time.Duration{40 * 24 * time.Hour, 8*24*time.Hour + time.Hour, 90 * time.Minute, time.Minute} {
		events[i].Timestamp = now.Add(-ago).Truncate(time.Microsecond)
	}
	store := stores[sqliteStore](t)
	must(t, exported(t, events), "import", "--store", store)
	day := events[1].Timestamp.Format(time.DateOnly)
	for _, test := range []struct {
		args []string
		want []uint64
	}{
		{[]string{"--since", "2h"}, []uint64{3, 4}},
		{[]string{"--since", "1h30m"}, []uint64{4}},
		{[]string{"--since", "1w2d"}, []uint64{2, 3, 4}},
		{[]string{"--since", "8d"}, []uint64{3, 4}},
		{[]string{"--since", "8d2h"}, []uint64{2, 3, 4}},
		{[]string{"--until", "8d"}, []uint64{1, 2}},
		{[]string{"--since", "9d", "--until", "1h"}, []uint64{2, 3}},
		{[]string{"--since", "0s"}, nil},
		{[]string{"--since", "2000w"}, []uint64{1, 2, 3, 4}},
		{[]string{"--since", "1970-01-01"}, []uint64{1, 2, 3, 4}},
		{[]string{"--until", "1970-01-01"}, nil},
		{[]string{"--since", "9999-12-31"}, nil},
		{[]string{"--until", "9999-12-31T23:59:59z"}, []uint64{1, 2, 3, 4}},
		{[]string{"--until", day}, []uint64{1}},
		{[]string{"--since", day}, []uint64{2, 3, 4}},
		{[]string{"--since", events[1].Timestamp.In(time.FixedZone("", 3600)).Format(time.RFC3339Nano)}, []uint64{2, 3, 4}},
	} {
		if got, _ := list(t, store, test.args...); !slices.Equal(got, test.want) {
			t.Errorf("events list %q: %d, want %d", test.args, got, test.want)
		}
	}
	for _, args := range [][]string{
		{"--since", "yesterday"}, {"--since", ""}, {"--since", "-2h"}, {"--since", "2026-13-01"}, {"--until", "1x"}, {"--since", "d"}, {"--since", "1.5d"},
		{"--since", "99999999999999d"}, {"--since", "1h", "--until", "2h"}, {"--since", "2026-03-01", "--until", "2026-03-01"}, {"--correlation-id", ""},
		{"--type", ""}, {"--id", ""}, {"--name", ""}, {"--tag", ""}, {"--routing-key", ""}, {"--type", "bank/Account", "--type", ""},
		{"--since", "1h", "--until", "1h"}, {"--since", "2026-03-01T9:00:00Z"}, {"--since", "2026-03-01T09:00:00,5Z"}, {"--since", "2026-03-01T09:00:00+24:00"},
		{"--correlation-id", "x", "--after", "nonsense"}, {"--since", "2h", "--after", "99"},
	} {
		if code, _, errs := call(t, "", append([]string{"events", "list", "--store", store}, args...)...); code != exitUsage || errs == "" {
			t.Errorf("events list %q: exit code %d, %q, want %d", args, code, errs, exitUsage)
		}
	}
	if out, _ := must(t, "", "events", "tail", "--store", store, "--since", "2h", "--count", "2"); strings.Count(out, "\n") != 2 || !strings.HasPrefix(out, "3  ") {
		t.Errorf("events tail --since 2h: %q, want the events 3 and 4", out)
	}
	if out, _ := must(t, "", "events", "tail", "--store", store, "--since", "2h", "-n", "1", "--count", "1"); !strings.HasPrefix(out, "4  ") {
		t.Errorf("events tail --since 2h -n 1: %q, want the event 4", out)
	}
	empty := stores[sqliteStore](t)
	must(t, "", "migrate", "up", "--store", empty)
	if got, _ := list(t, empty, "--since", "2h", "--correlation-id", "x"); got != nil {
		t.Errorf("of an empty store: %d", got)
	}
}

// The parked and the pending events of a subscription are narrowed down by what they are.
func TestSubscriptionFilters(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Microsecond)
	events := someEvents(400)
	for i := range events {
		events[i].Timestamp = now.Add(time.Duration(i-len(events)) * time.Hour)
	}
	export := exported(t, events)
	fail := func(context.Context, evento.RawEvent) error { return errors.New("not today") }
	for kind, newStore := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			must(t, export, "import", "--store", store)
			err := onNewStore(t.Context(), store, func(ex evento.Executor) error {
				one, all := evento.HandleAll("a", fail), evento.HandleEvery(fail)
				var handler *evento.HandlerError
				if err := evento.NewSubscription("stuck").All().Partitions(3).Logger(quiet).Retry(0).Handler(all).Execute(t.Context(), ex); !errors.As(err, &handler) {
					return fmt.Errorf("it ended with %w", err)
				}
				if err := evento.NewSubscription("both").RoutingKey("eu").Logger(quiet).AcceptFailure().Retry(0).Handler(one).Execute(t.Context(), ex); err != nil {
					return err
				}
				return errors.Join(
					evento.NewSubscription("both").All().Logger(quiet).AcceptFailure().Retry(0).Handler(one).Execute(t.Context(), ex),
					evento.NewSubscription("parks").All().Logger(quiet).AcceptFailure().Retry(0).Handler(one).Execute(t.Context(), ex))
			})
			if err != nil {
				t.Fatal(err)
			}
			ofA := func(e *evento.RawEvent) bool { return e.AggregateType == "a" }
			eu := func(e *evento.RawEvent) bool { return e.RoutingKey == "eu" }
			cut := printable.Time(now.Add(-200 * time.Hour))
			for _, test := range []struct {
				args  []string
				wants func(*evento.RawEvent) bool
			}{
				{nil, func(*evento.RawEvent) bool { return true }},
				{[]string{"--since", cut}, func(e *evento.RawEvent) bool { return e.Position > 200 }},
				{[]string{"--until", cut}, func(e *evento.RawEvent) bool { return e.Position <= 200 }},
				{[]string{"--since", "31h30m", "--until", "11h30m"}, func(e *evento.RawEvent) bool { return e.Position >= 370 && e.Position < 390 }},
				{[]string{"--correlation-id", "often"}, func(e *evento.RawEvent) bool { return e.Metadata.CorrelationID == "often" }},
				{[]string{"--tag", "x"}, func(e *evento.RawEvent) bool { return len(e.Tags) > 0 }},
				{[]string{"--name", "Sent", "--tag", "x"}, func(e *evento.RawEvent) bool { return e.Name == "Sent" && len(e.Tags) > 0 }},
				{[]string{"--routing-key", "us"}, func(e *evento.RawEvent) bool { return e.RoutingKey == "us" }},
				{[]string{"--routing-key", "eu", "--since", cut}, func(e *evento.RawEvent) bool { return eu(e) && e.Position > 200 }},
				{[]string{"--type", "a", "--id", "1"}, func(e *evento.RawEvent) bool { return ofA(e) && e.AggregateID == "1" }},
			} {
				checkLines(t, store, append([]string{"subscriptions", "pending", "stuck", "--limit", "0"}, test.args...), events, test.wants)
				checkLines(t, store, append([]string{"subscriptions", "parked", "parks"}, test.args...), events, func(e *evento.RawEvent) bool { return ofA(e) && test.wants(e) })
			}
			// A subscription of the routing key goes before one of all of them.
			checkLines(t, store, []string{"subscriptions", "parked", "both"}, events, ofA)
			checkLines(t, store, []string{"subscriptions", "parked", "both", "--routing-key", "eu"}, events, func(e *evento.RawEvent) bool { return ofA(e) && eu(e) })
			checkLines(t, store, []string{"subscriptions", "pending", "parks"}, nil, nil)
			if out, _ := must(t, "", "subscriptions", "pending", "stuck", "--limit", "3", "--store", store); strings.Count(out, "\n") != 5 || !strings.HasSuffix(out, "more: --limit 0 lists all\n") {
				t.Errorf("subscriptions pending --limit 3: %q", out)
			}
			if out, _ := must(t, "", "subscriptions", "pending", "stuck", "--limit", "2", "-o", "json", "--store", store); strings.Count(out, `"payload":{`) != 2 {
				t.Errorf("subscriptions pending -o json has no payloads: %s", out)
			}
			checkRefusedFilters(t, store)
		})
	}
}

func checkRefusedFilters(t *testing.T, store string) {
	t.Helper()
	for _, test := range []struct {
		code int
		args []string
	}{
		{exitUsage, []string{"parked", "parks", "drop", "--all", "--yes", "--since", "2h"}},
		{exitUsage, []string{"parked", "parks", "retry", "--all", "--tag", "x"}},
		{exitFailed, []string{"parked", "parks", "drop", "--all", "--yes", "--routing-key", "eu"}}, // it would drop those of others too
		{exitFailed, []string{"pending", "nobody"}},
		{exitFailed, []string{"pending", "nobody", "--routing-key", "eu"}},
		{exitUsage, []string{"pending", "stuck", "--since", "soon"}},
		{exitUsage, []string{"pending", "stuck", "--tag", "a\x00"}},
		{exitUsage, []string{"pending", "stuck", "--limit", "-1"}},
	} {
		if code, _, errs := call(t, "", append(append([]string{"subscriptions"}, test.args...), "--store", store)...); code != test.code || errs == "" {
			t.Errorf("evento subscriptions %q: exit code %d, %q, want %d", test.args, code, errs, test.code)
		}
	}
	out, _ := must(t, "", "subscriptions", "list", "--store", store, "--key", "parks", "--key", "both", "-o", "json")
	if strings.Count(out, "\n") != 3 || strings.Contains(out, `"key":"stuck"`) {
		t.Errorf("subscriptions list --key parks --key both: %s", out)
	}
}

// checkLines compares the positions of a list in JSON with those of the wanted events.
func checkLines(t *testing.T, store string, args []string, events []evento.RawEvent, wants func(*evento.RawEvent) bool) {
	t.Helper()
	var want, got []uint64
	for i := range events {
		if wants(&events[i]) {
			want = append(want, events[i].Position)
		}
	}
	out, _ := must(t, "", append(args, "--store", store, "-o", "json")...)
	for line := range strings.Lines(out) {
		var e struct {
			Position uint64 `json:"position"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Position)
	}
	if !slices.Equal(got, want) {
		t.Errorf("evento %q of %s: got %d events, want %d", args, store, len(got), len(want))
	}
}
