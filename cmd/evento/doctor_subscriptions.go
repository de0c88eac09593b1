// How doctor reads subscriptions.

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/printable"
)

// subscriptions reports what blocks subscriptions.
func (d *doctor) subscriptions(ctx context.Context) error {
	for _, e := range d.entries.entries() {
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
			list = append(list, d.cursors(ctx, &v)...)
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
func (d *doctor) cursors(ctx context.Context, v *subscriptionView) (list []finding) {
	for i := range v.Partitions {
		_, err := d.s.ex.Read(ctx, evento.Query{}, cursor.Onward(1, v.Partitions[i].Cursor))
		switch {
		case errors.Is(err, cursor.ErrInvalid):
			list = append(list, finding{Severity: severe, Detail: fmt.Sprintf("the cursor of partition %d is not of this store, or beyond its end: %s", i, err), Remedy: foreignRemedy})
		case err != nil && ctx.Err() == nil:
			list = append(list, finding{Severity: severe, Detail: fmt.Sprintf("what comes after the cursor of partition %d cannot be read: %s", i, err), Remedy: unexamined})
		}
	}
	return list
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
		add(severe, unexamined, "it could not be examined: %s", v.Error)
		return list
	}
	for i := range v.Partitions {
		p := &v.Partitions[i]
		switch p.state {
		case evento.SubscriptionFailed:
			add(severe, "mend the handler or the event's data and start the worker again; with AcceptFailure such events are parked instead", "partition %d stopped behind position %d: %s", i, p.Position, p.Error)
		case evento.SubscriptionRetrying:
			add(warning, "mend the handler or the event's data; the worker tries again by itself", "partition %d is behind position %d and tries again: %s", i, p.Position, p.Error)
		case evento.SubscriptionDead:
			was := ""
			if p.Error != "" {
				was = "; before that it failed: " + p.Error
			}
			add(warning, "start a worker again; one that waits takes over by itself", "partition %d: its worker is %s%s", i, p.ownerName(), was)
		}
	}
	if v.Paused {
		since := ""
		if v.showPaused() != string(evento.SubscriptionPaused) {
			since = " since " + printable.Time(v.Changed.At)
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
