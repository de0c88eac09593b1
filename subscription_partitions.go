// Instances that share the partitions of a subscription.

package evento

import (
	"context"
	"errors"
	"slices"
	"time"
)

// instancePrefix begins the part of the record of an instance.
const instancePrefix = "instance-"

// instanceState says that a process takes part.
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

// instance is this process's part in a subscription.
type instance struct {
	*subscriber
	sub     *Subscription
	part    string
	renewed time.Time
	running map[int]*runningPartition
	ended   chan *runningPartition

	sightings sightings // of other instances and of owners of partitions
}

type runningPartition struct {
	partition int
	stop      chan struct{}
	stopped   bool
	err       error
}

// rebalanceInterval is how often an instance looks for partitions that it is to
// have and does not yet.
const rebalanceInterval = 100 * time.Millisecond

// share runs a fair part of the partitions.
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
		cancel() // what stopped one stops all
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
	return errors.Join(errs...)
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
			in.pages.forget() // its handler may have changed what it was given
			switch {
			case p.err == nil || lost(p.err):
			case p.stopped && !final(p.err): // its lease lapses
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

// balance renews the instance's record, gives up partitions that are others'
// and takes its own. It reports whether some of those are missing.
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
		running, left := in.running[p], in.left(p, state) // of all: so it is known when one becomes its own
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

// show says that this instance lives, removes those long gone, and returns the
// living in their order.
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
		return // its lease lapses
	}
	for _, r := range state.instances {
		if r.part == in.part {
			_ = in.ex.Swap(ctx, Swap{Changes: []Change{{RecordKey: in.name.instance(r.part), Revision: r.revision, Remove: true}}, Wake: true})
		}
	}
}

// left is how long the owner of a partition may yet be alive.
func (in *instance) left(partition int, state *subscriptionState) time.Duration {
	r := &state.partitions[partition]
	if r.Owner == "" || r.Owner == in.sub.ID.String() {
		return 0
	}
	return in.sightings.left(in.name.partition(partition).Part, r.revision, r.changedAt, state.now, r.lease())
}

// start runs a partition, if nobody else does.
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
