// What tools ask about a store and its servers.

package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
)

// Credentials returns the option of a connection that logs in with what is in a file: the
// credentials of a user, as nsc makes them, or a line user:password.
func Credentials(file string) (nats.Option, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if strings.Contains(string(text), "-BEGIN NATS USER JWT-") {
		return nats.UserCredentials(file), nil
	}
	user, password, ok := strings.Cut(strings.TrimSpace(string(text)), ":")
	if !ok || strings.ContainsAny(user+password, "\r\n") {
		return nil, fmt.Errorf("%w credentials: %s has neither those of a user of NATS nor a line user:password", evento.ErrInvalid, file)
	}
	return nats.UserInfo(user, password), nil
}

// InboxPrefix returns the option of a connection whose inboxes, in which it gets answers, begin so.
func InboxPrefix(prefix string) nats.Option { return nats.CustomInboxPrefix(prefix) }

// RootCA returns the option of a connection that is encrypted, and trusts servers with certificates of
// the CA whose own one is in a file.
func RootCA(file string) nats.Option { return nats.RootCAs(file) }

// ClientCertificate returns the option of a connection that is encrypted, and shows the server the
// certificate in a file, whose key is in another.
func ClientCertificate(certificate, key string) nats.Option {
	return nats.ClientCert(certificate, key)
}

// Inspect returns what reads the index as it is now, with all that was committed before. It is
// to be closed before the executor.
func (ex *Executor) Inspect(ctx context.Context) (*pebble.Inspector, error) {
	if err := ex.gate.Enter(ctx); err != nil {
		return nil, err
	}
	defer ex.gate.Leave()
	if _, err := ex.fresh(ctx); err != nil {
		return nil, failure(err)
	}
	return ex.index.Inspect(), nil
}

// Format is that of a store's log.
type Format struct {
	At     int       // 0: there is no store, or a part of its streams is missing
	Latest int       // what this package makes
	Made   time.Time // when the log was made
}

// answerWait is how long JetStream may not answer. An election takes 4 to 9 seconds.
const answerWait = 12 * time.Second

// FormatOf asks for the format of a store, without opening it.
//
// Errors: those of connecting; [evento.ErrInvalid] for servers without JetStream, and for a stream of the
// store's name that is not evento's.
func FormatOf(ctx context.Context, url string, opts *Options) (f Format, err error) {
	o, err := opts.withDefaults()
	if err != nil {
		return f, err
	}
	f.Latest = format
	err = connected(ctx, url, &o, func(ex *Executor) error {
		bounded, cancel := context.WithTimeout(ctx, answerWait)
		defer cancel()
		at := 0
		for _, name := range ex.names.all() { // the log is the first
			info, err := ex.info(bounded, name)
			switch {
			case isCode(err, noStream):
				return nil
			case errors.Is(err, nats.ErrPermissionViolation):
				return failure(err)
			case bounded.Err() != nil && ctx.Err() == nil:
				return fmt.Errorf("%w servers: JetStream has not answered for %s: is it enabled, and does a majority of the servers run?", evento.ErrInvalid, answerWait)
			case err != nil:
				return failure(err)
			}
			if name == ex.names.log {
				f.Made = info.Created
				if _, err := ex.identity(&info); err != nil {
					return err
				}
				if at, err = strconv.Atoi(info.Config.Metadata[formatKey]); err != nil || at < 1 {
					return ex.unfit(ex.names.log, "it has no %s in its metadata", formatKey)
				}
			}
		}
		f.At = at
		return nil
	})
	return f, err
}

// Stream is a stream of a store, as its leader describes it.
type Stream struct {
	Name     string
	Replicas int // that it is to have
	Leader   string
	Peers    []Peer // the other replicas
	Bytes    int64
	MaxBytes int64 // -1: no limit of its own
}

// Peer is a replica of a stream that is not its leader.
type Peer struct {
	Name    string        `json:"name"`
	Current bool          `json:"current"` // it has what the leader has
	Offline bool          `json:"offline"`
	Active  time.Duration `json:"active"` // how long ago the leader heard of it
	Lag     uint64        `json:"lag"`    // messages that it does not have yet
}

// Streams returns the streams of the store.
func (ex *Executor) Streams(ctx context.Context) ([]Stream, error) {
	if err := ex.gate.Enter(ctx); err != nil {
		return nil, err
	}
	defer ex.gate.Leave()
	var list []Stream
	for _, name := range ex.names.all() {
		s, err := ex.info(ctx, name)
		if err != nil {
			return nil, failure(err)
		}
		list = append(list, Stream{name, s.Config.Replicas, s.Cluster.Leader, s.Cluster.Replicas, s.State.Bytes, s.Config.MaxBytes})
	}
	return list, nil
}

// all are the names of all streams.
func (n *names) all() []string { return []string{n.log, n.records, n.snapshots} }

// Account is what the account of the connection uses of the disks of the servers, and may use;
// -1: as much as there is.
type Account struct{ Bytes, MaxBytes int64 }

// Account asks for the limits of the account. Of an account with several, it is the one that is
// nearest to its end.
func (ex *Executor) Account(ctx context.Context) (Account, error) {
	if err := ex.gate.Enter(ctx); err != nil {
		return Account{}, err
	}
	defer ex.gate.Leave()
	type tier struct {
		Storage int64 `json:"storage"`
		Limits  struct {
			MaxStorage int64 `json:"max_storage"`
		} `json:"limits"`
	}
	var info struct {
		tier
		Tiers map[string]tier `json:"tiers"`
	}
	if err := ex.persist(ctx, func() error { return ex.ask(ctx, "INFO", nil, &info) }); err != nil {
		return Account{}, failure(err)
	}
	a := Account{info.Storage, info.Limits.MaxStorage}
	for _, t := range info.Tiers {
		if b := (Account{t.Storage, t.Limits.MaxStorage}); b.Used() > a.Used() || a.MaxBytes <= 0 {
			a = b
		}
	}
	return a, nil
}

// Used is the part that is used; 0: there is no limit.
func (a Account) Used() float64 {
	if a.MaxBytes <= 0 {
		return 0
	}
	return float64(a.Bytes) / float64(a.MaxBytes)
}

// Server is a server of the cluster.
type Server struct {
	Name      string
	JetStream bool
	// SyncAlways is whether it syncs what it acknowledges.
	SyncAlways   bool
	SyncInterval time.Duration // otherwise
}

const (
	// pingWait is how long the first server is waited for, and silence how long a further one.
	pingWait = 5 * time.Second
	silence  = time.Second
)

// Servers asks all servers of a cluster for their settings. That takes an account that may: the
// system account, of which the options have the credentials.
func Servers(ctx context.Context, url string, options ...nats.Option) ([]Server, error) {
	nc, _, err := connect(ctx, url, slog.Default(), options)
	if err != nil {
		return nil, connectFailure(url, err)
	}
	defer nc.Close()
	inbox := nc.NewRespInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, failure(err)
	}
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox, nil); err != nil {
		return nil, failure(err)
	}
	var list []Server
	for wait := pingWait; ; wait = silence {
		bounded, cancel := context.WithTimeout(ctx, wait)
		m, err := answers.NextMsgWithContext(bounded)
		cancel()
		late := errors.Is(err, context.DeadlineExceeded)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case late && len(list) > 0:
			slices.SortFunc(list, func(a, b Server) int { return strings.Compare(a.Name, b.Name) })
			return list, nil
		case late, errors.Is(err, nats.ErrNoResponders):
			return nil, fmt.Errorf("%w system credentials: no server answers: they are not those of a user of the system account", evento.ErrInvalid)
		case err != nil:
			return nil, failure(err)
		}
		s, err := serverOf(m.Data)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
}

func serverOf(data []byte) (s Server, err error) {
	var answer struct {
		Server struct {
			Name string `json:"name"`
		} `json:"server"`
		Error *apiError `json:"error"`
		Data  struct {
			Disabled bool `json:"disabled"`
			Config   struct {
				SyncAlways   bool          `json:"sync_always"`
				SyncInterval time.Duration `json:"sync_interval"`
			} `json:"config"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return s, fmt.Errorf("%w: a server's answer about its settings: %w", evento.ErrDamaged, err)
	}
	if answer.Error != nil {
		return s, failure(answer.Error)
	}
	return Server{answer.Server.Name, !answer.Data.Disabled, answer.Data.Config.SyncAlways, answer.Data.Config.SyncInterval}, nil
}

// Drop removes a store that nobody has open: its streams, with all that is in them. One that is
// not there counts as removed.
//
// Errors: those of connecting; [evento.ErrInvalid] for a stream of the store's name that is not
// evento's.
func Drop(ctx context.Context, url string, opts *Options) error {
	if _, err := FormatOf(ctx, url, opts); err != nil { // a stream of somebody else is not removed
		return err
	}
	o, err := opts.withDefaults()
	if err != nil {
		return err
	}
	return connected(ctx, url, &o, func(ex *Executor) error {
		for _, name := range ex.names.all() {
			var answer struct{}
			if err := ex.ask(ctx, "STREAM.DELETE."+name, nil, &answer); err != nil && !isCode(err, noStream) {
				return failure(err)
			}
		}
		return nil
	})
}
