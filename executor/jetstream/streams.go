// The streams of a store: their names, how they are made, and what is checked of them.

package jetstream

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/evento-go/evento"
)

// names are those of a store's streams, and its subjects.
type names struct {
	log, records, snapshots string // streams
	propose                 string // what is published to the log
	pub                     string // where the server republishes it
	direct                  string // asking any server for messages of the log
	snapshot                string // what the subjects of snapshots begin with
	record                  string // and those of records
	recordPub               string // and those under which the server republishes them
}

func namesOf(name string) names {
	return names{
		log: name, records: name + "-rec", snapshots: name + "-snap",
		propose: "evento." + name + ".log", pub: "evento." + name + ".pub",
		direct:   "$JS.API.DIRECT.GET." + name,
		snapshot: "evento." + name + ".snap.",
		record:   "evento." + name + ".rec.", recordPub: "evento." + name + ".recpub.",
	}
}

// streamConfig is what this package sets of the configuration of a stream, and what it checks
// (https://docs.nats.io/nats-concepts/jetstream/streams).
type streamConfig struct {
	Name          string            `json:"name"`
	Subjects      []string          `json:"subjects"`
	Retention     string            `json:"retention"`
	Storage       string            `json:"storage"`
	Discard       string            `json:"discard"`
	Replicas      int               `json:"num_replicas"`
	MaxMsgs       int64             `json:"max_msgs"`
	MaxBytes      int64             `json:"max_bytes"`
	MaxAge        int64             `json:"max_age"`
	MaxMsgSize    int64             `json:"max_msg_size"`
	MaxPerSubject int64             `json:"max_msgs_per_subject"`
	MaxConsumers  int               `json:"max_consumers"`
	DenyDelete    bool              `json:"deny_delete"`
	DenyPurge     bool              `json:"deny_purge"`
	AllowDirect   bool              `json:"allow_direct"`
	AllowRollup   bool              `json:"allow_rollup_hdrs"`
	AllowAtomic   bool              `json:"allow_atomic,omitempty"`
	RePublish     *rePublish        `json:"republish,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`

	// What is refused.
	NoAck       bool            `json:"no_ack,omitempty"`
	Sealed      bool            `json:"sealed,omitempty"`
	Mirror      json.RawMessage `json:"mirror,omitempty"`
	Sources     json.RawMessage `json:"sources,omitempty"`
	Transform   json.RawMessage `json:"subject_transform,omitempty"`
	PersistMode string          `json:"persist_mode,omitempty"`
}

type rePublish struct {
	Source      string `json:"src"`
	Destination string `json:"dest"`
	HeadersOnly bool   `json:"headers_only,omitempty"`
}

const (
	idKey     = "evento-id"     // the identity of a store, in its cursors
	formatKey = "evento-format" // the format of its messages
)

func (n *names) logConfig(o *Options) streamConfig {
	id := randomID()
	c := n.config(n.log, n.propose, o)
	c.RePublish = &rePublish{Source: n.propose, Destination: n.pub}
	c.DenyPurge = true
	if o.MaxBytes > 0 {
		c.MaxBytes = o.MaxBytes
	}
	c.Metadata = map[string]string{idKey: hex.EncodeToString(id[:]), formatKey: strconv.Itoa(format)}
	return c
}

func (n *names) recordConfig(o *Options) streamConfig {
	c := n.config(n.records, n.record+"*", o)
	c.MaxPerSubject, c.AllowAtomic, c.AllowDirect = 1, true, false
	c.RePublish = &rePublish{Source: n.record + "*", Destination: n.recordPub + "{{wildcard(1)}}"}
	return c
}

func (n *names) snapshotConfig(o *Options) streamConfig {
	c := n.config(n.snapshots, n.snapshot+"*", o)
	c.MaxPerSubject, c.AllowAtomic, c.AllowDirect = 1, true, false
	return c
}

func (n *names) config(name, subject string, o *Options) streamConfig {
	return streamConfig{
		Name: name, Subjects: []string{subject}, Retention: "limits", Storage: "file", Discard: "new", Replicas: o.Replicas,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxPerSubject: -1, MaxConsumers: -1,
		DenyDelete: true, AllowDirect: true,
	}
}

// messageBytes is what a message takes in a stream besides its subject and its data.
const messageBytes = 30

// hash is what stands in a subject for the names that were encoded, which may have any
// characters.
func (e *encoder) hash() string {
	hash := sha256.Sum256(e.b)
	return base64.RawURLEncoding.EncodeToString(hash[:18])
}

// randomID is an id that nobody else has.
func randomID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // it ends the program rather than to fail
	return id
}

// oldest is the first release of NATS that has what is needed: batches.
var oldest = [2]int{2, 12}

// streams makes the streams that are missing, and checks all. It returns the identity of
// the store.
func (ex *Executor) streams(ctx context.Context, o *Options) (id [16]byte, err error) {
	if err := checkVersion(ex.nc.ConnectedServerVersion()); err != nil {
		return id, err
	}
	// The log is made at last: a store that has it has had the others.
	there, err := ex.isThere(ctx, ex.names.log)
	if err != nil {
		return id, err
	}
	if there { // before others are made beside a stream of somebody else
		info, err := ex.info(ctx, ex.names.log)
		if err == nil {
			_, err = ex.identity(&info)
		}
		if err != nil {
			return id, err
		}
	}
	var made []string
	for _, config := range []streamConfig{ex.names.recordConfig(o), ex.names.snapshotConfig(o)} {
		if there && config.Name == ex.names.records {
			if found, err := ex.isThere(ctx, config.Name); err != nil || !found {
				return id, cmp.Or(err, fmt.Errorf("%w: stream %s is gone, in which is how far subscriptions are; restore it", evento.ErrDamaged, config.Name))
			}
		}
		if _, err := ex.stream(ctx, config, &made); err != nil {
			return id, err
		}
	}
	log, err := ex.stream(ctx, ex.names.logConfig(o), &made)
	if err != nil {
		return id, err
	}
	if n, err := strconv.Atoi(log.Config.Metadata[formatKey]); err == nil && n > format {
		return id, fmt.Errorf("%w: the log has format %d, this client knows up to %d", evento.ErrNewerStore, n, format)
	}
	return ex.identity(log)
}

// identity returns the identity of a store. It refuses a log that is not evento's.
func (ex *Executor) identity(log *streamInfo) (id [16]byte, err error) {
	b, err := hex.DecodeString(log.Config.Metadata[idKey])
	if err != nil || len(b) != len(id) {
		return id, ex.unfit(ex.names.log, "it has no %s in its metadata", idKey)
	}
	return [16]byte(b), nil
}

// isThere reports whether there is a stream.
func (ex *Executor) isThere(ctx context.Context, name string) (bool, error) {
	_, err := ex.info(ctx, name)
	if isCode(err, noStream) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("stream %s: %w", name, err)
	}
	return true, nil
}

func checkVersion(version string) error {
	numbers := strings.SplitN(version, ".", 3)
	if len(numbers) == 3 {
		major, err := strconv.Atoi(numbers[0])
		minor, err2 := strconv.Atoi(numbers[1])
		if err == nil && err2 == nil && (major > oldest[0] || major == oldest[0] && minor >= oldest[1]) {
			return nil
		}
	}
	return fmt.Errorf("%w server: NATS %s, this executor needs %d.%d or later", evento.ErrInvalid, version, oldest[0], oldest[1])
}

// stream returns a stream that fits, making it if there is none. It adds its name to those that this call of
// Open has made, or says of them that they stay: another client may use them by now.
func (ex *Executor) stream(ctx context.Context, want streamConfig, made *[]string) (*streamInfo, error) {
	var info streamInfo
	err := ex.gathered(ctx, func() error {
		err := ex.ask(ctx, "STREAM.INFO."+want.Name, nil, &info)
		if isCode(err, noStream) && ex.opts.NoCreate {
			return fmt.Errorf("%w: there is no such store", evento.ErrNotFound)
		}
		if isCode(err, noStream) {
			if err = ex.ask(ctx, "STREAM.CREATE."+want.Name, want, &info); err == nil {
				*made = append(*made, want.Name)
			}
		}
		if isCode(err, otherStream) { // another client has made it meanwhile
			err = ex.ask(ctx, "STREAM.INFO."+want.Name, nil, &info)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w%s%s", want.Name, err, placeHint(err, want.Replicas), stays(*made))
	}
	return &info, ex.fits(&info.Config, &want)
}

// gathering is for how long servers that were just started may not know of each other.
const gathering = 10 * time.Second

// gathered is persist, and calls again for a while when a stream finds no place.
func (c *connection) gathered(ctx context.Context, call func() error) error {
	for began := time.Now(); ; {
		err := c.persist(ctx, call)
		if !isCode(err, noPeers) || time.Since(began) > gathering || c.over(err) != nil || pause(ctx, 10*again) != nil {
			return err
		}
	}
}

// placeHint says what a stream needs that cannot be made.
func placeHint(err error, replicas int) string {
	switch {
	case isCode(err, noPeers, noCluster):
		return fmt.Sprintf("; a store of %d replicas needs as many servers in the cluster that run, with JetStream and room for it", replicas)
	case isCode(err, maxStreams):
		return "; a store needs three streams: raise max_streams of the account"
	}
	return ""
}

func stays(made []string) string {
	if len(made) == 0 {
		return ""
	}
	return fmt.Sprintf("; made before and kept for the next Open: %s", strings.Join(made, ", "))
}

// unfit is the error of a stream that is not as this package makes it.
func (ex *Executor) unfit(name, format string, args ...any) error {
	return fmt.Errorf("%w stream %s: it was not made by evento, or changed: %s", evento.ErrInvalid, name, fmt.Sprintf(format, args...))
}

// fits refuses a stream that may lose what it has acknowledged, or has other messages.
func (ex *Executor) fits(got, want *streamConfig) error {
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"subjects", fmt.Sprint(got.Subjects), fmt.Sprint(want.Subjects)},
		{"retention", got.Retention, want.Retention},
		{"storage", got.Storage, want.Storage},
		{"discard", got.Discard, want.Discard},
		{"max_msgs", got.MaxMsgs, want.MaxMsgs},
		{"max_age", got.MaxAge, want.MaxAge},
		{"max_msgs_per_subject", got.MaxPerSubject, want.MaxPerSubject},
		{"deny_delete", got.DenyDelete, want.DenyDelete},
		{"deny_purge", got.DenyPurge, want.DenyPurge},
		{"allow_direct", got.AllowDirect, want.AllowDirect},
		{"allow_rollup_hdrs", got.AllowRollup, false},
		{"no_ack", got.NoAck, false},
		{"sealed", got.Sealed, false},
		{"mirror", len(got.Mirror) > 0, false},
		{"sources", len(got.Sources) > 0, false},
		{"subject_transform", len(got.Transform) > 0, false},
		{"persist_mode async", got.PersistMode == "async", false},
		{"republish", republishes(got.RePublish), republishes(want.RePublish)},
	} {
		if c.got != c.want {
			return ex.unfit(want.Name, "%s is %v, not %v", c.what, c.got, c.want)
		}
	}
	if got.Replicas < 3 && !ex.opts.AllowUnsafe {
		return fmt.Errorf("%w stream %s: it has %d replicas, of which one failure may lose commits; AllowUnsafe accepts that", evento.ErrInvalid, want.Name, got.Replicas)
	}
	return nil
}

func republishes(r *rePublish) string {
	if r == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s to %s, headers only: %t", r.Source, r.Destination, r.HeadersOnly)
}
