// What doctor asks of a store on NATS.

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/internal/examine"
	"github.com/evento-go/evento/internal/printable"
)

// natsDoctor examines a store on NATS: the streams as the servers describe them, and what is in
// them by the index, which has decided it.
type natsDoctor struct {
	*doctor
	*pebble.Inspector // of the index
	ex                lookingOnly
	servers           []jetstream.Server // that have told their settings
}

// nats examines a store on NATS.
func (d *doctor) nats(ctx context.Context) (there bool, err error) {
	if err := d.s.address.checkSchema(ctx); err != nil {
		return false, err
	}
	n := &natsDoctor{doctor: d}
	if err := d.each(ctx, check{"durability", n.synced}); err != nil {
		return false, err
	}
	if d.s.ex == nil {
		err = d.s.open(ctx, looking)
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return false, d.found(finding{severe, "store", "", "it cannot be opened: " + err.Error(), unopenedRemedy})
	}
	switch ex := d.s.ex.(type) {
	case lookingOnly:
		n.ex = ex
	case *jetstream.Executor: // it was opened to change it
		n.ex = lookingOnly{ex}
	}
	if err := d.each(ctx, check{"replicas", n.replicas}, check{"limits", n.limits}); err != nil {
		return false, err
	}
	if n.Inspector, err = n.ex.Inspect(ctx); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	return true, d.contents(ctx, n, newLogCheck(d, n), d.keys(n.Inspector, indexRemedy)...)
}

const (
	// unopenedRemedy does not advise a backup first, as most causes are outside of the streams.
	unopenedRemedy = "do what the error says; an index that is in use, or of another store, is not for this command: give it a directory of its own, or leave dir out"
	systemRemedy   = "give --system-creds a file with the credentials of a user of the system account, or leave it out"
	accountRemedy  = "let the user publish to $JS.API.INFO, or run doctor as a user who may"
	indexRemedy    = "evento index verify compares the index with the log; a wrong one is made anew when its directory is removed while no process has it open"
	syncRemedy     = "jetstream { sync_interval: always } in the configuration of each server: without it, servers that lose their power together lose commits"
)

// synced reports servers that do not sync what they acknowledge.
func (d *natsDoctor) synced(ctx context.Context) error {
	if d.systemCreds == "" {
		return d.found(finding{note, "durability", "", "whether the servers sync what they acknowledge is only told to their system account", "evento doctor --system-creds FILE, with the credentials of a user of that account"})
	}
	option, err := jetstream.Credentials(d.systemCreds)
	if err == nil {
		var o jetstream.Options
		d.s.address.nats.certify(&o)
		d.servers, err = jetstream.Servers(ctx, d.s.address.nats.servers, append(o.Connect, option)...)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return d.found(finding{severe, "durability", "", "whether the servers sync what they acknowledge could not be asked: " + err.Error(), systemRemedy})
	}
	for _, server := range d.servers {
		if server.SyncAlways || !server.JetStream {
			continue
		}
		detail := fmt.Sprintf("it does not sync what it acknowledges, but every %s", server.SyncInterval)
		if err := d.found(finding{severe, "durability", "server " + server.Name, detail, syncRemedy}); err != nil {
			return err
		}
	}
	return nil
}

// silent reports a server of a stream that has not told its settings.
func (d *natsDoctor) silent(subject, server string) error {
	if len(d.servers) == 0 || server == "" || slices.ContainsFunc(d.servers, func(s jetstream.Server) bool { return s.Name == server }) {
		return nil
	}
	return d.found(finding{warning, "durability", subject, fmt.Sprintf("the server %s has not told whether it syncs what it acknowledges", server), "ask again when it runs"})
}

// replicas reports replicas that are missing or behind.
func (d *natsDoctor) replicas(ctx context.Context) error {
	streams, err := d.ex.Streams(ctx)
	if err != nil {
		return err
	}
	for _, s := range streams {
		subject := "stream " + s.Name
		if s.Replicas < 3 {
			f := finding{warning, "replicas", subject, fmt.Sprintf("it is on %d of at least 3 servers: one failure may lose events", s.Replicas), "nats stream edit " + s.Name + " --replicas 3"}
			if d.s.address.nats.unsafe {
				f.Severity, f.Remedy = note, ""
			}
			if err := d.found(f); err != nil {
				return err
			}
		}
		if missing := s.Replicas - 1 - len(s.Peers); missing > 0 {
			if err := d.found(finding{severe, "replicas", subject, fmt.Sprintf("%d of its %d replicas are missing", missing, s.Replicas), "add servers to the cluster, or start those that are not running"}); err != nil {
				return err
			}
		}
		if err := d.silent(subject, s.Leader); err != nil {
			return err
		}
		for _, p := range s.Peers {
			if err := errors.Join(d.peer(subject, p), d.silent(subject, p.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// unheard is for how long a replica may say nothing. They do each second.
const unheard = 10 * time.Second

func (d *natsDoctor) peer(subject string, p jetstream.Peer) error {
	switch {
	case p.Offline:
		return d.found(finding{severe, "replicas", subject, fmt.Sprintf("its replica on server %s is offline: the leader heard of it %s ago", p.Name, showDuration(p.Active)), "start the server, or let another take its place: nats stream cluster peer-remove"})
	case p.Active > unheard:
		return d.found(finding{warning, "replicas", subject, fmt.Sprintf("its leader has not heard of the replica on server %s for %s", p.Name, showDuration(p.Active)), "look at the log of the server, and the network"})
	case !p.Current:
		return d.found(finding{warning, "replicas", subject, fmt.Sprintf("its replica on server %s is not current: %d messages behind", p.Name, p.Lag), "wait until it has caught up; if that lasts, look at the log of the server"})
	}
	return nil
}

// nearly is which part of a limit is worth a warning.
const nearly = 0.8

// limits reports streams that are nearly full.
func (d *natsDoctor) limits(ctx context.Context) error {
	streams, err := d.ex.Streams(ctx)
	if err != nil {
		return err
	}
	full := func(subject string, a jetstream.Account, remedy string) error {
		if a.Used() < nearly {
			return nil
		}
		return d.found(finding{warning, "limits", subject, fmt.Sprintf("%s of %s bytes are used: commits are refused when it is full", printable.Thousands(uint64(a.Bytes)), printable.Thousands(uint64(a.MaxBytes))), remedy})
	}
	for _, s := range streams {
		if err := full("stream "+s.Name, jetstream.Account{Bytes: s.Bytes, MaxBytes: s.MaxBytes}, "raise its max_bytes: nats stream edit "+s.Name); err != nil {
			return err
		}
	}
	account, err := d.ex.Account(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil: // a user who may work with the store need not be allowed this
		return d.found(finding{note, "limits", "the account", "what it may store could not be asked: " + err.Error(), accountRemedy})
	}
	return full("the account", account, "raise its limit of storage in JetStream")
}

// Records calls each for every record of a kind, or of all kinds for "".
func (d *natsDoctor) Records(ctx context.Context, kind string, each func(*examine.Record) error) error {
	list := []string{kind}
	if kind == "" {
		list = []string{subscriptionKind, parkedKind, deadlineKind, dueKind} // those that the library writes
	}
	for _, kind := range list {
		if err := d.recordsOf(ctx, evento.RecordQuery{Kind: kind}, each); err != nil {
			return err
		}
	}
	return nil
}

func (d *natsDoctor) recordsOf(ctx context.Context, q evento.RecordQuery, each func(*examine.Record) error) error {
	for {
		page, err := d.ex.Records(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Records {
			if err := each(&examine.Record{Record: page.Records[i]}); err != nil {
				return err
			}
			q.After = page.Records[i].RecordKey
		}
		if !page.More {
			return nil
		}
	}
}

// Record returns the record with a key; nil: there is none.
func (d *natsDoctor) Record(ctx context.Context, key evento.RecordKey) (found *examine.Record, err error) {
	err = d.recordsOf(ctx, evento.RecordQuery{Kind: key.Kind, Key: key.Key}, func(r *examine.Record) error {
		if r.RecordKey == key {
			found = r
		}
		return nil
	})
	return found, err
}

// Snapshots calls each for every snapshot.
func (d *natsDoctor) Snapshots(ctx context.Context, each func(*examine.Snapshot) error) error {
	for q := (evento.SnapshotQuery{States: true}); ; {
		page, err := d.ex.Snapshots(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Snapshots {
			if err := each(&examine.Snapshot{StoredSnapshot: page.Snapshots[i]}); err != nil {
				return err
			}
			q.After = page.Snapshots[i].SnapshotKey
		}
		if !page.More {
			return nil
		}
	}
}

// Now returns the time by the clock of the servers.
func (d *natsDoctor) Now(ctx context.Context) (time.Time, error) {
	page, err := d.ex.Records(ctx, evento.RecordQuery{Kind: dueKind, Limit: 1})
	if err != nil {
		return time.Time{}, err
	}
	return page.Now, nil
}

// Head is the position of the last event now: the store is in use while it is read.
func (d *natsDoctor) Head(ctx context.Context) (uint64, error) {
	page, err := d.ex.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
	if err != nil || len(page.Edges) == 0 {
		return 0, err
	}
	return page.Edges[0].Node.Position, nil
}
