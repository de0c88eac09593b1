// Package jetstream is the evento executor on NATS JetStream, a replicated log
// (https://docs.nats.io/nats-concepts/jetstream): a store on a cluster of three or five
// servers, which goes on when one or two of them are lost.
//
//	ex, err := jetstream.Open(ctx, "nats://a:4222,nats://b:4222,nats://c:4222", &jetstream.Options{Dir: "index"})
//	if err != nil {
//		return err
//	}
//	defer ex.Close()
//
// A stream has what the clients propose, in one order: the log. Every client follows it, and
// decides alike which proposals are stored, and where. What was stored, it keeps in an index on
// its own disk, from which it reads. So a commit is one message, however many aggregates it is
// for, and all that [evento.Executor] promises holds on the cluster: positions are 1, 2, 3, …
// without gaps.
//
// By default a read first asks the leader of the stream how far the log is, and waits until it
// is followed up to there: what was committed before, by anybody, is in it. Other reads see a
// moment of the log that may be a little earlier, see [Options.Reads].
//
// The servers must sync what they acknowledge: with jetstream { sync_interval: always } in the
// configuration of each. Without it, servers that lose their power together lose commits that
// they have acknowledged. A client cannot see this setting.
package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/internal/store"
)

// Reads says what a read sees.
type Reads int

const (
	// Fresh reads see all that was committed before they began, by anybody. They need an
	// answer of the stream's leader.
	Fresh Reads = iota
	// Local reads see all that this client has committed, and of the others what has
	// arrived. They need no server.
	Local
)

// Options are the settings of [Open] and [New]. The zero Options are the defaults.
type Options struct {
	// Name is the name of the store, of 1 to 64 letters, digits, - and _. The streams
	// of the store have it too. "": "evento".
	Name string
	// Dir is the directory of this client's index, which is made if there is none. One
	// client has it open at a time. "": the index is in memory, and each start reads
	// the whole log.
	Dir string
	// Replicas is on how many servers the store is, if Open makes it. 0: 3.
	Replicas int
	// MaxBytes is how large the log may become, if Open makes it: then commits are refused
	// with [evento.ErrFull]. 0: as large as the servers allow.
	MaxBytes int64
	// AllowUnsafe accepts a store on fewer than three servers, which one failure may
	// lose. Default: false.
	AllowUnsafe bool
	// NoCreate refuses a store that is not there, instead of making it. Default: false.
	NoCreate bool
	// Reads is what reads see. Default: Fresh.
	Reads Reads
	// CacheSize is how many bytes of blocks of the index are kept in memory. 0: 64 MiB.
	CacheSize int64
	// Connect are further options of the connection that [Open] makes.
	Connect []nats.Option
	// Logger gets what happens to the connection and the index. nil: [slog.Default].
	Logger *slog.Logger
}

var storeName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	opts.Name = cmp.Or(opts.Name, "evento")
	opts.Replicas = cmp.Or(opts.Replicas, 3)
	opts.Logger = cmp.Or(opts.Logger, slog.Default())
	switch {
	case !storeName.MatchString(opts.Name):
		return opts, fmt.Errorf("%w jetstream options: the Name %q is not 1 to 64 letters, digits, - and _", evento.ErrInvalid, opts.Name)
	case opts.Replicas < 1 || opts.Replicas > 5:
		return opts, fmt.Errorf("%w jetstream options: %d Replicas, 1 to 5 are possible", evento.ErrInvalid, opts.Replicas)
	case opts.Replicas < 3 && !opts.AllowUnsafe:
		return opts, fmt.Errorf("%w jetstream options: %d Replicas, of which one failure may lose commits; AllowUnsafe accepts that", evento.ErrInvalid, opts.Replicas)
	case opts.MaxBytes < 0:
		return opts, fmt.Errorf("%w jetstream options: negative MaxBytes", evento.ErrInvalid)
	case opts.Reads != Fresh && opts.Reads != Local:
		return opts, fmt.Errorf("%w jetstream options: there is no Reads %d", evento.ErrInvalid, opts.Reads)
	}
	return opts, nil
}

// connection is what the parts of an executor share.
type connection struct {
	nc      *nats.Conn
	denials *denials     // nil: the connection is the caller's, and has a handler of errors of its own
	owned   bool         // it is closed with the executor, and may be made to another server
	silent  atomic.Int64 // since when no leader has answered, in Unix nanoseconds; 0: the last one has
	names   names
	logger  *slog.Logger
	timeout time.Duration // of one request
	gate    store.Gate
	fail    func(error)   // closes the executor to its callers
	failed  chan struct{} // closed when the gate has failed
	closing chan struct{} // closed when Close waits no longer for calls
}

// Executor is an [evento.Executor] on NATS JetStream. It is safe for concurrent use.
//
// Its goroutine follows the log and alone changes the index. Calls read the index, and
// hand proposals to the sender, which has one group of them under way.
type Executor struct {
	*connection
	opts       Options
	index      *pebble.Index
	follower   *follower
	sender     *sender
	head       *headCheck // of the log
	board      *board
	recordHead *headCheck
	mute       atomic.Bool // it may not publish to the log
	list       *snapshotList
	feed       evento.Feed

	stop    context.CancelFunc
	running sync.WaitGroup // what follows
	failing sync.Once
}

var (
	_ evento.Executor = (*Executor)(nil)
	_ evento.Importer = (*Executor)(nil)
)

// requestTimeout is how long an answer of a server is waited for before it is asked for
// again. An election takes 4 to 9 seconds.
const requestTimeout = 3 * time.Second

// pingInterval is how often a server is asked whether it is alive. One that is halted, or
// behind a network that drops everything, is left for another after three of them.
const pingInterval = 2 * time.Second

// Open connects to the servers, and opens the store on them, making it if there is none. The
// URLs are separated by commas. nil options are the defaults.
//
// Errors: [evento.ErrInvalid] for an option, a stream that is not as this package makes
// it, a server that is too old, and an index of another store or one that is in use;
// [evento.ErrNewerStore]; else what the servers or the index say.
func Open(ctx context.Context, servers string, opts *Options) (*Executor, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	nc, denied, err := connect(ctx, servers, o.Logger, o.Connect)
	if err != nil {
		return nil, connectFailure(servers, err)
	}
	ex, err := open(ctx, nc, denied, o, true)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return ex, nil
}

// connect is nats.Connect, which heeds no context, and prints the errors that nobody asks for.
func connect(ctx context.Context, servers string, logger *slog.Logger, options []nats.Option) (*nats.Conn, *denials, error) {
	type connected struct {
		nc  *nats.Conn
		err error
	}
	done, denied := make(chan connected, 1), newDenials()
	go func() {
		all := append([]nats.Option{
			nats.Name("evento"), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond),
			nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				level := slog.LevelWarn
				if errors.Is(err, nats.ErrSlowConsumer) { // what it drops is asked for
					level = slog.LevelDebug
				}
				logger.Log(ctx, level, "evento: the connection to NATS", "error", err)
			}),
		}, options...)
		all = append(all, denied.listen)
		nc, err := nats.Connect(servers, all...)
		done <- connected{nc, err}
	}()
	select {
	case c := <-done:
		return c.nc, denied, c.err
	case <-ctx.Done():
		go func() {
			if c := <-done; c.nc != nil {
				c.nc.Close()
			}
		}()
		return nil, nil, ctx.Err()
	}
}

// connectFailure is the error of a connection that is not made, and says where to. Of the URLs it has
// the servers alone: a user may be a token.
func connectFailure(urls string, err error) error {
	var list []string
	for server := range strings.SplitSeq(urls, ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, bad := url.Parse(server)
		if bad != nil {
			return store.Errorf("jetstream: connect: %w", err)
		}
		list = append(list, u.Scheme+"://"+u.Host)
	}
	return store.Errorf("jetstream: connect to %s: %w", strings.Join(list, ", "), err)
}

// New is [Open] on a connection of the caller, which is closed after the executor. Its options
// decide how soon a server that does not answer is left for another: nats.PingInterval is two
// minutes, where Open has two seconds. One that is cut off from the others is not left, as it is
// with Open.
func New(ctx context.Context, nc *nats.Conn, opts *Options) (*Executor, error) {
	if nc == nil {
		return nil, fmt.Errorf("%w jetstream connection: nil", evento.ErrInvalid)
	}
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return open(ctx, nc, nil, o, false)
}

func open(ctx context.Context, nc *nats.Conn, denied *denials, o Options, owned bool) (_ *Executor, err error) {
	ex := &Executor{
		connection: &connection{nc: nc, denials: denied, owned: owned, names: namesOf(o.Name), logger: o.Logger, timeout: requestTimeout, failed: make(chan struct{}), closing: make(chan struct{})},
		opts:       o,
		list:       newSnapshotList(),
	}
	ex.fail = ex.closeToCallers
	id, err := ex.streams(ctx, &o)
	if err != nil {
		return nil, failure(err)
	}
	if ex.index, err = pebble.OpenIndex(ctx, o.Dir, id, &pebble.Options{CacheSize: o.CacheSize, Logger: o.Logger}); err != nil {
		return nil, indexFailure(err)
	}
	if err := ex.start(ctx); err != nil {
		return nil, errors.Join(failure(err), ex.index.Close())
	}
	return ex, nil
}

// indexFailure is the error of an index that cannot be opened. Only one that is of no use any more may be
// removed: not one that somebody has open, nor a directory of something else.
func indexFailure(err error) error {
	if errors.Is(err, evento.ErrDamaged) || errors.Is(err, evento.ErrNewerStore) {
		return store.Errorf("jetstream: the index: %w; it is made anew of the log when its directory is removed", err)
	}
	return store.Errorf("jetstream: the index: %w", err)
}

// start begins to follow, and returns when the log is followed up to where it was.
func (ex *Executor) start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			ex.halt()
		}
	}()
	d, err := newDecider(ex.index, func(session, counter uint64, outcomes []outcome) { ex.sender.decided(session, counter, outcomes) })
	if err != nil {
		return err
	}
	ex.head = newHeadCheck(ex.connection, ex.names.log, func() uint64 { return 0 })
	if err := ex.checkIndex(ctx, d); err != nil {
		return err
	}
	ex.head.close()
	if ex.follower, err = newFollower(ex.connection, d); err != nil {
		return err
	}
	if ex.board, err = newBoard(ex.connection, ex.index.Wake); err != nil {
		return err
	}
	ex.head = newHeadCheck(ex.connection, ex.names.log, ex.follower.applied.Load)
	ex.head.least = int64(messageBytes + len(ex.names.propose) + headerLen)
	ex.recordHead = newHeadCheck(ex.connection, ex.names.records, ex.board.applied.Load)
	ex.board.head = ex.recordHead.get
	h, err := ex.head.get(ctx)
	if err != nil {
		return err
	}
	d.old = h.sequence
	if ex.sender, err = newSender(ex.connection, ex.follower); err != nil {
		return err
	}
	following, stop := context.WithCancel(context.Background())
	ex.stop = stop
	for _, run := range []func(context.Context) error{ex.follower.run, ex.board.run} {
		ex.running.Go(func() {
			if err := run(following); err != nil {
				ex.fail(err)
			}
		})
	}
	ex.running.Go(func() { ex.watch(following, ex.head, &ex.follower.mark) })
	ex.running.Go(func() { ex.watch(following, ex.recordHead, &ex.board.mark) })
	ex.board.hurry()
	return ex.reach(ctx)
}

// reach waits until both streams are applied up to where they are said to be. It refuses a log that
// was taken back when the records were not: of one more of the log was known than there is.
func (ex *Executor) reach(ctx context.Context) error {
	records, err := ex.recordHead.get(ctx)
	if err != nil {
		return err
	}
	if err := ex.board.await(ctx, records.sequence); err != nil {
		return err
	}
	for began, latest := time.Now(), ex.board.latest(); ; {
		log, err := ex.head.get(ctx)
		switch {
		case err != nil:
			return err
		case latest.log <= log.sequence:
			return ex.follower.await(ctx, log.sequence)
		case log.sure || time.Since(began) > wrongHead:
			return fmt.Errorf("%w: stream %s is newer than stream %s: of record %s %q %q message %d of the log was known, and there are %d; restore both from one backup",
				evento.ErrDamaged, ex.names.records, ex.names.log, latest.key.Kind, latest.key.Key, latest.key.Part, latest.log, log.sequence)
		}
		if err := pause(ctx, again); err != nil {
			return err
		}
	}
}

// watchInterval is how often it is asked where a stream is. It is less than answerGap.
const watchInterval = time.Second

// watch asks where a stream is, also while nobody wants to know: so its leader comes to be trusted,
// and what was not republished is asked for. It closes the executor to its callers when the stream
// was restored from a backup: what comes then has numbers of messages that were applied.
func (ex *Executor) watch(ctx context.Context, check *headCheck, applied *mark) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ex.failed:
			return
		case <-tick.C:
		}
		h, err := check.get(ctx)
		switch {
		case errors.Is(err, evento.ErrDamaged) || isCode(err, noStream):
			ex.fail(err)
			return
		case err == nil && h.sequence > applied.applied.Load():
			applied.hurry()
		}
	}
}

// checkIndex makes the index anew if it is not one of this log: the stream was restored from
// a backup.
func (ex *Executor) checkIndex(ctx context.Context, d *decider) error {
	if d.place.sequence == 0 {
		return nil
	}
	for range 2 {
		stored, err := ex.message(ctx, ex.names.log, bySequence{d.place.sequence})
		if err != nil {
			return err
		}
		if stored != nil {
			m, err := parseMessage(stored.Data)
			if err == nil && m.crc != d.place.crc {
				break
			}
			return nil // of one that was void nothing is known
		}
		// Who answered may have been halted, and not lead any more.
		if h, err := ex.head.get(ctx); err != nil {
			return err
		} else if h.sequence < d.place.sequence {
			break
		}
	}
	ex.logger.Warn("evento: the index is ahead of the log, or of another one: the stream was restored; it is made anew", "stream", ex.names.log, "sequence", d.place.sequence)
	if err := ex.index.Clear(); err != nil {
		return err
	}
	return d.load()
}

// closeToCallers is for an error after which nothing can be followed.
func (ex *Executor) closeToCallers(err error) {
	ex.gate.Fail(err)
	ex.failing.Do(func() { close(ex.failed) })
	ex.follower.moved.Notify()
	ex.index.Wake()
	ex.logger.Error("evento: the log is not followed any more; open the store again", "stream", ex.names.log, "error", err)
}

// halt ends what start has begun, as far as it came. What follows ends first: it asks headChecks.
func (ex *Executor) halt() {
	if ex.stop != nil {
		ex.stop()
		ex.running.Wait()
	}
	for _, h := range []*headCheck{ex.head, ex.recordHead} {
		if h != nil {
			h.close()
		}
	}
	if ex.sender != nil {
		ex.sender.close()
	}
	if ex.follower != nil {
		_ = ex.follower.sub.Unsubscribe() // it may be done
	}
	if ex.board != nil {
		_ = ex.board.sub.Unsubscribe()
	}
}

// Close implements [evento.Executor]. Calls that wait for the servers are waited for a few
// seconds, and then end with [evento.ErrClosed], or with [evento.ErrOutcomeUnknown].
func (ex *Executor) Close() error {
	return ex.gate.Close(func() error {
		late := time.AfterFunc(requestTimeout, func() { close(ex.closing) })
		ex.gate.Wait()
		late.Stop()
		ex.halt()
		err := ex.index.Close()
		if ex.owned {
			ex.nc.Close()
		}
		return err
	})
}

// CursorAt implements [evento.Executor].
func (ex *Executor) CursorAt(position uint64) (cursor.Value, error) {
	if err := ex.gate.Check(context.Background()); err != nil {
		return "", err
	}
	return ex.index.Positions().At(position), nil
}

// Earlier implements [evento.Executor].
func (ex *Executor) Earlier(a, b cursor.Value) (cursor.Value, error) {
	if err := ex.gate.Check(context.Background()); err != nil {
		return "", err
	}
	return ex.index.Positions().Earlier(a, b)
}

// Changed implements [evento.Executor].
func (ex *Executor) Changed() <-chan struct{} { return ex.index.Changed() }

// Feed implements [evento.Executor].
func (ex *Executor) Feed() *evento.Feed { return &ex.feed }

// failure is what a public method returns for an error of the server's. Errors of contexts and
// of the library stay as they are.
func failure(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		isOurs(err) && strings.HasPrefix(err.Error(), "evento: "):
		return err
	}
	return store.Errorf("jetstream: %w", err)
}

func isOurs(err error) bool {
	for _, known := range []error{
		evento.ErrConflict, evento.ErrSwapped, evento.ErrClosed, evento.ErrOutcomeUnknown, evento.ErrFull, evento.ErrInvalid,
		evento.ErrNewerStore, evento.ErrDamaged, evento.ErrNotFound, evento.ErrTooLarge, evento.ErrReadOnly, cursor.ErrInvalid,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
