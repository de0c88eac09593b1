package torture

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/evento-go/evento"
)

// Options are the settings of [Run]. Open must be set.
type Options struct {
	// Name is what reports call the store.
	Name string
	// Open opens the store, in which there must be nothing else.
	Open func(ctx context.Context) (evento.Executor, error)
	// Start makes the command of a process that calls [WorkOn] for a worker on the same store. The
	// context of that ends by SIGTERM; then the worker comes to the end of the log.
	//
	// nil: workers are goroutines of this process, share one executor, and are killed by the end of
	// their contexts. A call of the executor that does not return for as long as Patience after that
	// ends the run with an error, which names the call and the worker. The call goes on in the
	// background, and the executor is not closed.
	Start func(w Worker) *exec.Cmd
	// Workers is how many work at the same time. 0: 3. It has to be 1 where one process alone
	// can open the store.
	Workers int
	// Writers is how many goroutines of each worker write. 0: 3.
	Writers int
	// For is how long workers work at least. 0: until the kills and faults are done.
	For time.Duration
	// Kills is how many workers are killed.
	Kills int
	// Halts is how many workers are halted for longer than their leases, and go on then. It is
	// for processes of which there are several, and not on Windows.
	Halts int
	// Fault does something to the store, such as killing its server, and returns when the store
	// can be used again, Faults times. nil: nothing.
	Fault  func(ctx context.Context) error
	Faults int
	// Least is how many events have to be acknowledged at least, as a run that does nothing shows
	// nothing: it works on until then, for as long as Patience. 0: 100.
	Least int
	// Patience is how long things may take that take no time: that a process or a server starts or
	// ends, and that there is no progress at all in following the log and handling events. A slow store
	// that makes progress may take as long as it needs. It has to be some seconds, as others take over
	// from a worker that was killed when its lease has passed. 0: 3 minutes.
	Patience time.Duration
	// Dir is where the history is written. "": a temporary folder, which is kept if a promise was
	// broken, and removed otherwise.
	Dir string
	// Seed is that of random choices. How goroutines and processes interleave is left to chance.
	Seed uint64
	// Again is the command line that repeats the run, which the report has if something was wrong.
	Again string
}

// run is a run that is under way. It is used by one goroutine.
type run struct {
	Options
	report  *Report
	r       *rand.Rand
	history string
	ex      evento.Executor // of goroutines; nil if workers are processes
	workers []*started
	n       int // workers so far

	read     int64 // how much of the history was looked at
	accepted int   // operations that were acknowledged in that
}

// started is a worker.
type started struct {
	name  string
	began bool // the history has an operation of it
	kill  func()
	end   func()
	halt  func()     // nil: it is not a process
	ended chan error // has its error when it has ended
}

// Run lets workers work on a store, kills them, and judges what they were told and given. Its error is that
// something could not be done; whether the promises were kept is in the report. With an error the
// report may be nil, and one without violations says nothing then.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	o.Workers, o.Writers, o.Least = cmp.Or(o.Workers, 3), cmp.Or(o.Writers, 3), cmp.Or(o.Least, 100)
	o.Patience = cmp.Or(o.Patience, defaultPatience)
	r := &run{Options: o, report: &Report{Name: o.Name, Again: o.Again}, r: rand.New(rand.NewPCG(o.Seed, 1))}
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "evento-torture-"); err != nil {
			return nil, err
		}
		defer func() {
			if report == nil || report.OK() {
				err = errors.Join(err, os.RemoveAll(dir))
			}
		}()
	}
	r.history = filepath.Join(dir, "history.jsonl")
	r.report.History = r.history
	if _, err := os.Stat(r.history); err == nil {
		return nil, fmt.Errorf("%w torture: there is a history in %s already", evento.ErrInvalid, dir)
	}
	if err := r.work(ctx); err != nil {
		return nil, r.close(err)
	}
	return r.report, r.judge(ctx)
}

// close closes the executor of goroutines after an error, unless a call of it is stuck.
func (r *run) close(err error) error {
	if r.ex == nil || isStuck(err) {
		return err
	}
	return errors.Join(err, newBounded(r.ex, "the run", r.Patience, nil, func() {}).Close())
}

// work lets workers work, and then stops them.
func (r *run) work(ctx context.Context) (err error) {
	if r.Start == nil {
		if r.ex, err = r.Open(ctx); err != nil {
			return err
		}
	}
	defer func() {
		for _, w := range r.workers {
			w.kill()
			if e := <-w.ended; isStuck(e) { // as to any other, an error is returned already
				err = e
			}
		}
	}()
	for range r.Workers {
		if err := r.begin(ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	for ctx.Err() == nil && (time.Since(began) < r.For || r.report.Kills < r.Kills || r.report.Halts < r.halts() || r.report.Faults < r.faults() || r.little(began)) {
		if err := r.step(ctx, r.For-time.Since(began)); err != nil {
			return err
		}
	}
	r.report.Took = time.Since(began)
	return r.end(ctx)
}

// end tells all workers to end, at the same time: they handle the last events for each other. Each has
// begun before, and so listens.
func (r *run) end(ctx context.Context) error {
	for _, w := range r.workers {
		if err := r.worked(ctx, w); err != nil {
			return err
		}
	}
	for _, w := range r.workers {
		w.end()
	}
	for _, w := range r.workers {
		if err := r.ends(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// ends waits until a worker has ended, which gives up by itself long before this does.
func (r *run) ends(ctx context.Context, w *started) error {
	for wrote := time.Now(); time.Since(wrote) < 3*r.Patience; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-w.ended:
			w.ended <- nil
			return w.failed(err)
		case <-time.After(50 * time.Millisecond):
		}
		if r.look() {
			wrote = time.Now()
		}
	}
	return fmt.Errorf("evento: worker %s does not end", w.name)
}

// failed is the error of a worker that has ended, or nil.
func (s *started) failed(err error) error {
	if err == nil || isStuck(err) { // which names the worker
		return err
	}
	return fmt.Errorf("evento: worker %s ended with %w", s.name, err)
}

// little reports whether too few events were acknowledged so far. It gives up after some time.
func (r *run) little(began time.Time) bool {
	r.look()
	return r.accepted < r.Least && time.Since(began) < r.Patience
}

func (r *run) halts() int {
	if r.Start == nil || r.Workers == 1 || !canHalt {
		return 0
	}
	return r.Halts
}

func (r *run) faults() int {
	if r.Fault == nil {
		return 0
	}
	return r.Faults
}

// leastPause is the mean time between two faults, at least.
const leastPause = 100 * time.Millisecond

// step waits, so that what is left to be done is spread over the time that is left, and then kills
// or halts a worker, or does something to the store.
func (r *run) step(ctx context.Context, left time.Duration) error {
	kills, halts, faults := r.Kills-r.report.Kills, r.halts()-r.report.Halts, r.faults()-r.report.Faults
	i := r.r.IntN(len(r.workers))
	w := r.workers[i]
	if err := r.worked(ctx, w); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(r.r.Int64N(2 * int64(max(leastPause, left/time.Duration(1+kills+halts+faults)))))):
	}
	if kills+halts+faults == 0 {
		return nil
	}
	switch n := r.r.IntN(kills + halts + faults); {
	case n < kills:
		return r.kill(ctx, i)
	case n < kills+halts:
		r.report.Halts++
		w.halt()
		return nil
	default:
		r.report.Faults++
		return r.Fault(ctx)
	}
}

// kill kills a worker, and begins another one.
func (r *run) kill(ctx context.Context, i int) error {
	r.report.Kills++
	w := r.workers[i]
	w.kill()
	if err := <-w.ended; err != nil {
		w.ended <- nil
		return w.failed(err)
	}
	r.workers = append(r.workers[:i], r.workers[i+1:]...)
	return r.begin(ctx)
}

// worked waits until a worker has begun something: a kill before that would show nothing.
func (r *run) worked(ctx context.Context, w *started) error {
	for deadline := time.Now().Add(r.Patience); time.Now().Before(deadline); {
		if r.look(); w.began {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-w.ended:
			w.ended <- nil
			if err == nil {
				return fmt.Errorf("evento: worker %s ended by itself, without an error", w.name)
			}
			return w.failed(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("evento: worker %s does nothing", w.name)
}

// look reads the lines that the history has got since it was looked at last: who has begun, and how
// much was acknowledged. It reports whether there are any. What cannot be read is looked at the next
// time.
func (r *run) look() bool {
	f, err := os.Open(r.history)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	text, _ := io.ReadAll(io.NewSectionReader(f, r.read, math.MaxInt64-r.read))
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	r.read += int64(len(text))
	r.accepted += bytes.Count(text, []byte(`"what":"accepted"`))
	for _, w := range r.workers {
		w.began = w.began || bytes.Contains(text, []byte(`"op":"`+w.name+`-`))
	}
	return len(text) > 0
}

// begin starts a worker.
func (r *run) begin(ctx context.Context) error {
	r.n++
	w := Worker{Name: fmt.Sprint("w", r.n), History: r.history, Writers: r.Writers, Seed: r.r.Uint64(), Patience: r.Patience}
	s := &started{name: w.Name, ended: make(chan error, 2)}
	r.workers = append(r.workers, s)
	if r.Start == nil {
		own, cancel := context.WithCancel(ctx)
		told := make(chan struct{})
		s.kill, s.end = cancel, sync.OnceFunc(func() { close(told) })
		go func() { s.ended <- w.work(own, told, r.ex) }()
		return nil
	}
	return s.process(r.Start(w))
}

// process starts a worker that is a process.
func (s *started) process(cmd *exec.Cmd) error {
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	ownGroup(cmd)
	if _, err := cmd.StdinPipe(); err != nil { // it stays open as long as this process is there
		return err
	}
	if err := cmd.Start(); err != nil {
		s.kill, s.end = func() {}, func() {}
		s.ended <- nil
		return err
	}
	killed := make(chan struct{})
	s.kill = sync.OnceFunc(func() {
		close(killed)
		_ = cmd.Process.Kill() // it may have ended
	})
	s.halt = func() { halt(cmd.Process, lease+lease/2) }
	var asked atomic.Bool
	s.end = func() {
		asked.Store(true)
		if cmd.Process.Signal(syscall.SIGTERM) != nil { // there is none on this system
			s.kill()
		}
	}
	go func() {
		err := cmd.Wait()
		select {
		case <-killed:
			err = nil
		default:
			switch status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); {
			case err == nil:
			case asked.Load() && status.Signaled() && status.Signal() == syscall.SIGTERM:
				err = nil // it did not listen for signals yet
			default:
				err = fmt.Errorf("%w: %s", err, said)
			}
		}
		s.ended <- err
	}()
	return nil
}

// tail keeps the last of what is written to it. It is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = t.text[max(0, len(t.text)-4000):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

// WorkOn is [Work] in a process that [Run] has started, on a store that it opens and closes. While
// the store cannot be opened, as its server is down, it tries again, for as long as its patience. It
// ends at once with its standard input, which is when the process of Run has ended.
func WorkOn(ctx context.Context, open func(context.Context) (evento.Executor, error), w Worker) error {
	living, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	opening, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		kill()
		cancel()
	}()
	ex, err := persistently(opening, cmp.Or(w.Patience, defaultPatience), open)
	if opening.Err() != nil && err != nil {
		return nil // told to end before it began
	}
	if err != nil {
		return err
	}
	err = w.work(living, ctx.Done(), ex)
	if isStuck(err) {
		return err // it cannot be closed
	}
	return errors.Join(err, ex.Close())
}
