// The raw records, of subscriptions above all: damaged ones are listed and removed too.
// docs/formats.md describes them.

package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/evento-go/evento"
)

const (
	subscriptionKind = "subscription"
	parkedKind       = "parked"
	instancePrefix   = "instance-"
	routePrefix      = "route-"
	sharedPart       = "shared" // "" without a routing key
)

// prefixOf returns the prefix of the parts of a subscription's records.
func prefixOf(routingKey string) string {
	if routingKey == "" {
		return ""
	}
	hash := sha256.Sum256([]byte(routingKey))
	return fmt.Sprintf("%s%x-", routePrefix, hash[:16])
}

// cutPrefix splits a part into prefix and rest.
func cutPrefix(part string) (prefix, rest string) {
	if !strings.HasPrefix(part, routePrefix) {
		return "", part
	}
	end := strings.IndexByte(part[len(routePrefix):], '-')
	if end < 0 {
		return part, ""
	}
	end += len(routePrefix) + 1
	return part[:end], part[end:]
}

// entry is a subscription that has records.
type entry struct {
	name   evento.SubscriptionName
	prefix string // of the parts of its records
	found  bool   // its shared record was found
	used   bool   // it has other records than those that instances may leave behind
	all    bool   // it selects events of all routing keys
	err    error  // why its name is not known
}

// entries lists the subscriptions with a key ("" for any), sorted by key, including
// damaged ones.
func (s *session) entries(ctx context.Context, key string) ([]*entry, error) {
	var list entryList
	for r, err := range s.records(ctx, evento.RecordQuery{Kind: subscriptionKind, Key: key}) {
		if err != nil {
			return nil, err
		}
		list.add(&r.Record)
	}
	return list.entries(), nil
}

// entryList makes entries of records in the order of their keys.
type entryList struct {
	list []*entry
	at   map[[2]string]*entry // by key and prefix
}

func (l *entryList) add(r *evento.Record) {
	if l.at == nil {
		l.at = map[[2]string]*entry{}
	}
	prefix, rest := cutPrefix(r.Part)
	e := l.at[[2]string{r.Key, prefix}]
	if e == nil {
		e = &entry{name: evento.SubscriptionName{Key: r.Key}, prefix: prefix}
		l.at[[2]string{r.Key, prefix}] = e
		l.list = append(l.list, e)
	}
	e.add(r, rest)
}

func (l *entryList) entries() []*entry {
	list := slices.DeleteFunc(l.list, func(e *entry) bool { return !e.used })
	for _, e := range list {
		if !e.found && e.err == nil {
			e.err = fmt.Errorf("%w: the record %s %q %q is missing", evento.ErrDamaged, subscriptionKind, e.name.Key, e.sharedPart())
		}
	}
	return list
}

func (e *entry) sharedPart() string {
	if e.prefix == "" {
		return ""
	}
	return e.prefix + sharedPart
}

// storedSelection is which events a subscription handles, as its shared record has it.
type storedSelection struct {
	RoutingKey string                            `json:"routing_key"`
	All        bool                              `json:"all"`
	Aggregates map[evento.AggregateType][]string `json:"aggregates"`
	Events     map[evento.AggregateType][]string `json:"events"`
}

func (e *entry) add(r *evento.Record, rest string) {
	e.used = e.used || !strings.HasPrefix(rest, instancePrefix)
	if r.Part != e.sharedPart() {
		return
	}
	e.found = true
	var selection storedSelection
	err := json.Unmarshal(r.Value, &selection)
	if err == nil && prefixOf(selection.RoutingKey) != e.prefix {
		err = fmt.Errorf("routing_key: %q", selection.RoutingKey)
	}
	if err != nil {
		e.err = fmt.Errorf("%w: record %s %q %q: %w", evento.ErrDamaged, r.Kind, r.Key, r.Part, err)
		return
	}
	e.name.RoutingKey, e.all = selection.RoutingKey, selection.All
}

// removeRecords removes the records of a subscription whatever their contents, if
// Control.Remove cannot read them.
func (s *session) removeRecords(ctx context.Context, name evento.SubscriptionName) error {
	left := 0
	for _, kind := range []string{subscriptionKind, parkedKind} {
		for q := (evento.RecordQuery{Kind: kind, Key: name.Key, Limit: evento.MaxSwap}); ; {
			page, err := s.ex.Records(ctx, q)
			if err != nil {
				return err
			}
			n, err := s.removePage(ctx, page, prefixOf(name.RoutingKey))
			if errors.Is(err, evento.ErrSwapped) {
				continue // a worker has changed one
			}
			if err != nil {
				return err
			}
			left += n
			if !page.More {
				break
			}
			q.After = page.Records[len(page.Records)-1].RecordKey
		}
	}
	if left > 0 {
		return fmt.Errorf("%d records have names that no release has given them; remove them in the database", left)
	}
	return nil
}

// removePage removes those records of a page that have a prefix, together. It
// returns how many it could not remove, as their keys are not valid.
func (s *session) removePage(ctx context.Context, page *evento.RecordPage, prefix string) (left int, err error) {
	var swap evento.Swap
	for i := range page.Records {
		r := &page.Records[i]
		if p, _ := cutPrefix(r.Part); p != prefix {
			continue
		}
		change := evento.Change{RecordKey: r.RecordKey, Revision: r.Revision, Remove: true}
		if (evento.Swap{Changes: []evento.Change{change}}).Check() != nil {
			left++
			continue
		}
		swap.Changes = append(swap.Changes, change)
	}
	if len(swap.Changes) == 0 {
		return left, nil
	}
	return left, s.ex.Swap(ctx, swap)
}

// readRecord is a record, and the time by the store's clock when it was read.
type readRecord struct {
	evento.Record
	now time.Time
}

// records ranges over the records of a query, page after page.
func (s *session) records(ctx context.Context, q evento.RecordQuery) iter.Seq2[*readRecord, error] {
	return func(yield func(*readRecord, error) bool) {
		for q := q; ; {
			page, err := s.ex.Records(ctx, q)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, r := range page.Records {
				if !yield(&readRecord{r, page.Now}, nil) {
					return
				}
				q.After = r.RecordKey
			}
			if !page.More {
				return
			}
		}
	}
}
