// Partitions: which partition an event belongs to, sharing partitions between
// processes, and reading once for all partitions of a process.

package evento

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/partition"
)

// instancePrefix is the prefix of the part of an instance's record.
const instancePrefix = "instance-"

// instanceState is the record of a process that shares the partitions.
type instanceState struct {
	Host        string `json:"host"`
	LeaseMillis int64  `json:"lease_ms"`
}

type instanceRecord struct {
	instanceState
	part      string
	revision  uint64
	changedAt time.Time
}

func (r *instanceRecord) lease() time.Duration {
	return time.Duration(r.LeaseMillis) * time.Millisecond
}

// instance is this process's share of a subscription.
type instance struct {
	*subscriber
	sub     *Subscription
	part    string
	renewed time.Time
	running map[int]*runningPartition
	ended   chan *runningPartition

	sightings sightings // of other instances and of the partitions' owners
}

type runningPartition struct {
	partition int
	stop      chan struct{}
	stopped   bool
	err       error
}

// rebalanceInterval is how often an instance checks for partitions that it should
// have and does not have yet.
const rebalanceInterval = 100 * time.Millisecond

// share runs a fair share of the partitions.
func (s *subscriber) share(ctx context.Context, sub *Subscription, delay time.Duration) error {
	if err := pause(ctx, delay, sub.stopping, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := &instance{
		subscriber: s, sub: sub, part: instancePrefix + sub.ID.String(),
		running: map[int]*runningPartition{}, ended: make(chan *runningPartition, s.shared.Partitions),
		sightings: sightings{},
	}
	err := in.loop(ctx)
	for _, p := range in.running {
		in.stop(p)
	}
	if err != nil && !errors.Is(err, errStopping) && ctx.Err() == nil {
		cancel() // the error of one stops all
	}
	errs := []error{unlessStopping(err)}
	for len(in.running) > 0 {
		p := <-in.ended
		delete(in.running, p.partition)
		if !lost(p.err) && !errors.Is(p.err, context.Canceled) {
			errs = append(errs, p.err)
		}
	}
	in.leave(ctx)
	return join(errs...)
}

func (in *instance) loop(ctx context.Context) error {
	for failures := 0; ; {
		missing, err := in.balance(ctx)
		wait := min(in.lease/3, pollInterval)
		switch {
		case err == nil:
			failures = 0
			if missing {
				wait = min(wait, rebalanceInterval)
			}
		case final(err) || ctx.Err() != nil:
			return err
		default:
			wait = min(nextTry(ctx, in.logger.With("subscription", in.name.key), &failures, err), in.lease/3)
		}
		select {
		case <-time.After(wait):
		case p := <-in.ended:
			delete(in.running, p.partition)
			in.pages.forget() // its handler may have changed the events
			switch {
			case p.err == nil || lost(p.err):
			case p.stopped && !final(p.err): // its lease expires
				in.logger.WarnContext(ctx, "evento: a partition was not given up", "subscription", in.name.key, "partition", p.partition, "error", p.err)
			default:
				return p.err
			}
		case <-in.sub.stopping:
			return errStopping
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// balance renews the instance's record, gives up partitions that belong to other
// instances, and takes its own. It reports whether it could not take some of them
// yet.
func (in *instance) balance(ctx context.Context) (missing bool, err error) {
	state, err := in.state(ctx)
	if err != nil {
		return false, err
	}
	live, err := in.show(ctx, state)
	if err != nil {
		return false, err
	}
	for p := range state.partitions {
		mine := live[p*len(live)/len(state.partitions)] == in.part
		running, left := in.running[p], in.left(p, state) // of all partitions, as any may become its own
		switch {
		case running != nil && !mine:
			in.stop(running)
		case running == nil && mine:
			started, err := in.start(ctx, p, &state.partitions[p], left)
			if err != nil {
				return true, err
			}
			missing = missing || !started
		}
	}
	return missing, nil
}

// show renews the record of this instance, removes the records of instances that
// are long gone, and returns the live instances, sorted.
func (in *instance) show(ctx context.Context, state *subscriptionState) (live []string, err error) {
	own := Change{RecordKey: in.name.instance(in.part), Value: encodeState(instanceState{Host: hostName(), LeaseMillis: in.lease.Milliseconds()})}
	live = append(live, in.part)
	var gone []Change
	for i := range state.instances {
		r := &state.instances[i]
		switch {
		case r.part == in.part:
			own.Revision = r.revision
		case in.sightings.left(r.part, r.revision, r.changedAt, state.now, r.lease()) > 0:
			live = append(live, r.part)
		default:
			gone = append(gone, Change{RecordKey: in.name.instance(r.part), Revision: r.revision, Remove: true})
		}
	}
	slices.Sort(live)
	if now := time.Now(); own.Revision == 0 || now.Sub(in.renewed) >= in.lease/3 {
		if err := in.ex.Swap(ctx, Swap{Changes: []Change{own}, Wake: own.Revision == 0}); err != nil && !errors.Is(err, ErrSwapped) {
			return nil, err
		}
		in.renewed = now
	}
	if gone = gone[:min(len(gone), MaxSwap)]; len(gone) > 0 {
		if err := in.ex.Swap(ctx, Swap{Changes: gone}); err != nil && !errors.Is(err, ErrSwapped) {
			return nil, err
		}
	}
	return live, nil
}

// leave removes the instance's record.
func (in *instance) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalTimeout)
	defer cancel()
	state, err := in.name.read(ctx, in.ex)
	if err != nil {
		return // its lease expires
	}
	for _, r := range state.instances {
		if r.part == in.part {
			_ = in.ex.Swap(ctx, Swap{Changes: []Change{{RecordKey: in.name.instance(r.part), Revision: r.revision, Remove: true}}, Wake: true})
		}
	}
}

// left returns for how much longer the owner of a partition may be alive.
func (in *instance) left(partition int, state *subscriptionState) time.Duration {
	r := &state.partitions[partition]
	if r.Owner == "" || r.Owner == in.sub.ID.String() {
		return 0
	}
	return in.sightings.left(in.name.partition(partition).Part, r.revision, r.changedAt, state.now, r.lease())
}

// start runs a partition, if no other worker does.
func (in *instance) start(ctx context.Context, partition int, r *partitionRecord, left time.Duration) (bool, error) {
	p := &runningPartition{partition: partition, stop: make(chan struct{}), err: errors.New("evento: a handler ended its goroutine")}
	w := in.worker(in.sub.ID, partition, p.stop)
	w.lease.sightings = in.sightings
	if left > 0 {
		w.tellWaiting(ctx, r, left)
		return false, nil
	}
	taken, _, err := w.take(ctx, byStandby)
	if err != nil || !taken {
		return false, err
	}
	in.running[partition] = p
	go func() {
		defer func() { in.ended <- p }()
		p.err = w.run(ctx, 0)
	}()
	return true, nil
}

func (in *instance) stop(p *runningPartition) {
	if !p.stopped {
		p.stopped = true
		close(p.stop)
	}
}

// maxPartitions limits how many records change together.
const maxPartitions = 64

// partitionOf returns the partition of an aggregate. It must never change.
func partitionOf(t AggregateType, id string, partitions int) int {
	return partition.Of(string(t), id, partitions)
}

// sharedPages shares reading between workers that read the same events. A full page
// never changes, so a worker that comes to its beginning later, or to a place
// within it, gets the page that the first one has read. Only some of the last pages
// are kept.
//
// Why: docs/decisions.md, "Partitions read pages once".
type sharedPages struct {
	read func(context.Context, cursor.Args) (*cursor.Page[RawEvent], error)
	keep bool

	mu    sync.Mutex
	pages []*sharedPage
}

type sharedPage struct {
	at    cursor.Value
	ready chan struct{}
	page  *cursor.Page[RawEvent] // set before ready is closed; nil if the page was not full, or reading failed
}

const keptPages = 16

// get reads a page. A subscription without partitions keeps no pages.
func (s *sharedPages) get(ctx context.Context, args cursor.Args) (*cursor.Page[RawEvent], error) {
	if !s.keep {
		return s.read(ctx, args)
	}
	s.mu.Lock()
	for _, p := range s.pages {
		if p.at == args.At() {
			s.mu.Unlock()
			return s.wait(ctx, p, args)
		}
		if rest := p.behind(args.At()); rest != nil {
			s.mu.Unlock()
			return rest, nil
		}
	}
	p := &sharedPage{at: args.At(), ready: make(chan struct{})}
	if len(s.pages) == keptPages {
		s.pages = slices.Delete(s.pages, 0, 1)
	}
	s.pages = append(s.pages, p)
	s.mu.Unlock()

	defer close(p.ready)
	page, err := s.read(ctx, args)
	if err == nil && page.PageInfo.HasNextPage {
		p.page = page
		return page, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = slices.DeleteFunc(s.pages, func(other *sharedPage) bool { return other == p })
	return page, err
}

// forget drops the kept pages: a handler may have changed the events that it was
// given.
func (s *sharedPages) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = nil
}

// wait returns a page that another worker reads or has read.
func (s *sharedPages) wait(ctx context.Context, p *sharedPage, args cursor.Args) (*cursor.Page[RawEvent], error) {
	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.page != nil {
		return p.page, nil
	}
	// A page that was not full may have grown since.
	return s.read(ctx, args)
}

// behind returns the part of a page after a cursor within it; else nil.
func (p *sharedPage) behind(at cursor.Value) *cursor.Page[RawEvent] {
	select {
	case <-p.ready:
	default:
		return nil
	}
	if p.page == nil || at == "" {
		return nil
	}
	i := slices.IndexFunc(p.page.Edges, func(e cursor.Edge[RawEvent]) bool { return e.Cursor == at })
	if i < 0 || i == len(p.page.Edges)-1 {
		return nil
	}
	return &cursor.Page[RawEvent]{Edges: p.page.Edges[i+1:], PageInfo: p.page.PageInfo}
}
