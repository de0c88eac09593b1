// Stores on NATS JetStream: their URLs, and opening them.

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
)

// natsPlace is a store on servers of NATS.
type natsPlace struct {
	servers  string // without user and password
	store    string
	dir      string // of the index; "": in memory
	creds    string // a file
	inbox    string // what the subjects of answers begin with
	ca       string // a file
	cert     string // a file
	key      string // a file
	replicas int    // of a store that is made
	unsafe   bool   // fewer than three are enough
}

var natsName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// parseNATS parses what is behind "nats:" or "tls:". Of who logs in nothing is shown, as a user
// without a password is a token.
func parseNATS(name, rest string) (address, error) {
	bad := func(err error) (address, error) { return address{}, usagef("%w; the form is %s", err, natsForm) }
	if strings.Contains(rest, ",nats://") || strings.Contains(rest, ",tls://") { // as Go programs write them
		return bad(fmt.Errorf("%s:// and the user are written once, before the first host", name))
	}
	parts, err := splitURL(rest)
	if err != nil {
		return bad(err)
	}
	store := strings.TrimPrefix(parts.path, "/")
	switch {
	case slices.Contains(strings.Split(parts.host, ","), ""):
		return bad(errors.New("there is no host, or a comma without one"))
	case store == "":
		return bad(errors.New("the URL names no store"))
	case !natsName.MatchString(store):
		return bad(errors.New("the name of the store is not 1 to 64 letters, digits, - and _"))
	}
	n := natsPlace{store: store, replicas: 3}
	if err := n.settings(parts.query); err != nil {
		return bad(err)
	}
	login := parts.login
	if login != "" && n.creds != "" {
		return bad(errors.New("there are a user before the host and credentials in creds: which is it? Leave one out"))
	}
	if login != "" {
		login += "@"
	}
	a := address{kind: natsStore, shown: name + "://" + parts.host + "/" + store}
	if n.dir != "" {
		a.shown += "?dir=" + strings.ReplaceAll(url.QueryEscape(n.dir), "%2F", "/")
	}
	var servers, places []string
	for host := range strings.SplitSeq(parts.host, ",") {
		servers = append(servers, name+"://"+host)
		places = append(places, name+"://"+login+host)
	}
	n.servers, a.place = strings.Join(servers, ","), strings.Join(places, ",")
	a.nats = n
	return a, nil
}

// settings reads the parameters of the URL, which splitURL has checked.
func (n *natsPlace) settings(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return err
	}
	given := false
	for name, list := range values {
		value := list[0]
		switch {
		case len(list) > 1:
			return fmt.Errorf("the parameter %s is there %d times", name, len(list))
		case value == "":
			return fmt.Errorf("the parameter %s is empty", name)
		}
		switch name {
		case "dir":
			n.dir = value
		case "creds":
			n.creds = value
		case "inbox":
			n.inbox = value
		case "ca":
			n.ca = value
		case "cert":
			n.cert = value
		case "key":
			n.key = value
		case "replicas":
			if n.replicas, err = strconv.Atoi(value); err != nil || n.replicas < 1 || n.replicas > 5 {
				return errors.New("replicas is not 1 to 5")
			}
			given = true
		case "unsafe":
			if n.unsafe, err = strconv.ParseBool(value); err != nil {
				return errors.New("unsafe is not true or false")
			}
		default:
			return errors.New("there is no such parameter: it is dir, creds, inbox, ca, cert, key, replicas or unsafe")
		}
	}
	if (n.cert == "") != (n.key == "") {
		return errors.New("a certificate in cert and its key in key are given together")
	}
	if given && n.replicas < 3 && !n.unsafe {
		return errors.New("of a store on fewer than 3 replicas one failure may lose events: unsafe=true accepts that")
	}
	return nil
}

// options are those of the executor.
func (a address) natsOptions(how access) (*jetstream.Options, error) {
	// It must be possible to look at any store; doctor reports what it lacks.
	o := &jetstream.Options{
		Name: a.nats.store, Dir: a.nats.dir, Replicas: a.nats.replicas,
		AllowUnsafe: how != creating || a.nats.unsafe, NoCreate: how != creating,
	}
	if a.nats.creds != "" {
		option, err := jetstream.Credentials(a.nats.creds)
		if err != nil {
			return nil, err
		}
		o.Connect = append(o.Connect, option)
	}
	if a.nats.inbox != "" {
		o.Connect = append(o.Connect, jetstream.InboxPrefix(a.nats.inbox))
	}
	a.nats.certify(o)
	return o, nil
}

// certify adds the certificates of a connection.
func (n *natsPlace) certify(o *jetstream.Options) {
	if n.ca != "" {
		o.Connect = append(o.Connect, jetstream.RootCA(n.ca))
	}
	if n.cert != "" {
		o.Connect = append(o.Connect, jetstream.ClientCertificate(n.cert, n.key))
	}
}

// openNATS opens the store. Its index is made where there is none, whatever the store is opened
// for: it is a copy of what the store has, and no part of it.
func (a address) openNATS(ctx context.Context, how access) (evento.Executor, error) {
	o, err := a.natsOptions(how)
	if err != nil {
		return nil, err
	}
	if how == creating { // servers without JetStream would be asked again and again
		if _, err := jetstream.FormatOf(ctx, a.place, o); err != nil {
			return nil, err
		}
	}
	if a.nats.dir != "" {
		if err := os.MkdirAll(a.nats.dir, privateDirectory); err != nil {
			return nil, err
		}
	}
	ex, err := jetstream.Open(ctx, a.place, o)
	switch {
	case errors.Is(err, evento.ErrNotFound):
		return nil, a.missing()
	case err == nil && how == looking:
		return lookingOnly{ex}, nil
	}
	return opened(ex, err)
}

// statusNATS has the format of a store as its only migration.
func (a address) statusNATS(ctx context.Context) (s migrationStatus, err error) {
	o, err := a.natsOptions(looking)
	if err != nil {
		return s, err
	}
	format, err := jetstream.FormatOf(ctx, a.place, o)
	if err != nil {
		return s, err
	}
	s.At, s.Latest, s.Migrations = format.At, format.Latest, []migrationView{}
	for n := 1; n <= max(s.At, s.Latest); n++ {
		m := migrationView{Number: n, Name: fmt.Sprintf("%04d streams of format %d", n, n)}
		if n <= s.At {
			m.AppliedAt = &format.Made
		}
		s.Migrations = append(s.Migrations, m)
	}
	return s, nil
}

// lookingOnly refuses to change a store.
type lookingOnly struct{ *jetstream.Executor }

var _ evento.Importer = lookingOnly{}

// errLooking is the error of what would change the store.
var errLooking = fmt.Errorf("%w: it was opened to look at it", evento.ErrReadOnly)

// Write implements [evento.Executor].
func (lookingOnly) Write(context.Context, evento.Write) ([]evento.Receipt, error) {
	return nil, errLooking
}

// Import implements [evento.Importer].
func (lookingOnly) Import(context.Context, []evento.RawEvent) error { return errLooking }

// Swap implements [evento.Executor].
func (lookingOnly) Swap(context.Context, evento.Swap) error { return errLooking }

// SaveSnapshot implements [evento.Executor].
func (lookingOnly) SaveSnapshot(context.Context, evento.SnapshotKey, evento.Snapshot) error {
	return errLooking
}

// RemoveSnapshots implements [evento.Executor].
func (lookingOnly) RemoveSnapshots(context.Context, []evento.SnapshotKey) error { return errLooking }
