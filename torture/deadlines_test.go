//go:build unix

package torture_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
)

// All deadlines are due at once. Several processes run them, and are killed meanwhile: each
// comes true once.
const (
	deadlineRunners = 3
	ofEachAccount   = 10 // deadlines
	// The first so many runners stop in the middle of a write, before it or when it is
	// stored, after some writes; there they are killed.
	heldRunners      = 4
	writesBeforeHeld = 2
)

type overdue struct{ Deadline string }

func (overdue) AggregateType() evento.AggregateType { return orderType }
func (overdue) EventName() string                   { return "Overdue" }

// These variables tell a process of the test that it is a runner: the name of its storage,
// how many deadlines there are, and after how many writes it stops; 0: it does not. The
// store is in storeVariable.
const (
	runnerVariable = "EVENTO_TORTURE_RUNNER"
	manyVariable   = "EVENTO_TORTURE_DEADLINES"
	heldVariable   = "EVENTO_TORTURE_HELD"
)

// What a runner writes to its output, a line each.
const (
	saysWorks = "works" // it has made deadlines come true
	saysHeld  = "held"  // it stands in the middle of a write
	saysAll   = "all"   // it has seen all deadlines come true
)

// holding stops in the middle of a write.
type holding struct {
	evento.Executor
	left  int // writes until then; below 0: any number
	works bool
}

func (h *holding) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if h.left != 0 {
		h.left--
		receipts, err := h.Executor.Write(ctx, w)
		if err == nil && !h.works {
			h.works = true
			fmt.Println(saysWorks)
		}
		return receipts, err
	}
	if rand.IntN(2) == 0 {
		if _, err := h.Executor.Write(ctx, w); err != nil && !errors.Is(err, evento.ErrSwapped) {
			return nil, err
		}
	}
	fmt.Println(saysHeld)
	<-ctx.Done()
	return nil, ctx.Err()
}

// workDeadlines is the main function of a runner's process: it runs until it is killed, or
// told to end.
func workDeadlines(store deadlineStore) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	many, err := strconv.Atoi(os.Getenv(manyVariable))
	if err != nil {
		return err
	}
	held, err := strconv.Atoi(os.Getenv(heldVariable))
	if err != nil {
		return err
	}
	ex, err := store.open(ctx)
	if ctx.Err() != nil {
		return nil // told to end before it began
	}
	if err != nil {
		return err
	}
	watched := make(chan error, 1)
	go func() { watched <- watchOverdue(ctx, ex, many) }()
	if held == 0 {
		held = -1
	}
	err = evento.RunDeadlines(ctx, &holding{Executor: ex, left: held})
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, <-watched, ex.Close())
}

// watchOverdue says when so many deadlines have come true.
func watchOverdue(ctx context.Context, ex evento.Executor, many int) error {
	n := 0
	for _, err := range evento.Follow(ctx, ex, evento.Query{Filters: []evento.Filter{evento.ByEvent(overdue{})}}, "") {
		if ctx.Err() != nil {
			return nil // it was told to end
		}
		if err != nil {
			return err
		}
		if n++; n == many {
			fmt.Println(saysAll)
		}
	}
	return nil
}

// deadlineStore is a store with deadlines.
type deadlineStore struct {
	storage string
	at      string
	// alone: one process at a time has it open.
	alone bool
}

func (s deadlineStore) open(ctx context.Context) (evento.Executor, error) {
	switch {
	case s.alone:
		return pebble.Open(ctx, s.at, nil)
	case s.storage == jetStreamName:
		return openJetStream(ctx, s.at)
	}
	return storageOf(s.storage).open(ctx, s.at)
}

// use opens the store for a function.
func (s deadlineStore) use(t *testing.T, do func(ex evento.Executor)) {
	t.Helper()
	ex, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	do(ex)
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
}

const pebbleName = "Pebble"

// numberOfDeadlines returns how many there are.
func numberOfDeadlines(t *testing.T) int {
	t.Helper()
	s := os.Getenv("EVENTO_DEADLINES")
	if s == "" {
		return 300
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 300 || n%ofEachAccount != 0 {
		t.Fatalf("EVENTO_DEADLINES: %q is no number of deadlines, 300 or a higher multiple of %d", s, ofEachAccount)
	}
	return n
}

// Deadlines that are due at once come true once each, and not before, while the processes
// that run them are killed. EVENTO_DEADLINES is how many there are.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	if name := os.Getenv(runnerVariable); name != "" { // a process of this test
		if err := workDeadlines(deadlineStore{name, os.Getenv(storeVariable), name == pebbleName}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			t.Fail()
		}
		return
	}
	many := numberOfDeadlines(t)
	for _, s := range storages() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			testDeadlines(t, deadlineStore{s.name, s.store(t), false}, many)
		})
	}
	t.Run(pebbleName, func(t *testing.T) {
		t.Parallel()
		testDeadlines(t, deadlineStore{pebbleName, t.TempDir(), true}, many)
	})
	t.Run(jetStreamName, func(t *testing.T) {
		t.Parallel()
		testDeadlines(t, deadlineStore{jetStreamName, jetStreamStore(t), false}, many)
	})
}

func testDeadlines(t *testing.T, s deadlineStore, many int) {
	due := time.Now().Add(2*time.Second + time.Duration(many)*time.Millisecond).Truncate(time.Microsecond)
	s.use(t, func(ex evento.Executor) { setDeadlines(t, ex, many, due) })
	g := runnersOf(t, s, many)
	held := g.run()
	for _, p := range g.runners {
		p.end()
	}
	if held < 2 {
		t.Errorf("%d runners were killed in the middle of a write, want 2 or more", held)
	}
	s.use(t, func(ex evento.Executor) {
		last := checkDeadlines(t, ex, many, due)
		t.Logf("%s: %d deadlines came true once each within %.2f s, kill -9 x %d", s.storage, many, last.Sub(due).Seconds(), g.kills)
	})
}

// setDeadlines sets deadlines of many accounts, all due at a time.
func setDeadlines(t *testing.T, ex evento.Executor, many int, due time.Time) {
	t.Helper()
	const most = evento.MaxSwap / 2 / ofEachAccount // accounts of one commit
	var builders []*evento.CommitBuilder
	for i := 0; i < many; i += ofEachAccount {
		b := evento.Aggregate(fmt.Sprint("order-", i)).Event(placed{})
		for j := range ofEachAccount {
			name := fmt.Sprint(i + j)
			b.Deadline(name, due, overdue{name})
		}
		if builders = append(builders, b); len(builders) == most || i+ofEachAccount == many {
			if _, err := evento.CommitAll(t.Context(), ex, builders...); err != nil {
				t.Fatal(err)
			}
			builders = nil
		}
	}
}

// deadlineGroup are the processes that run the deadlines of a store.
type deadlineGroup struct {
	t       *testing.T
	store   deadlineStore
	many    int
	runners []*process
	working map[*process]bool
	kills   int
	says    chan said
}

// said is a line that a runner has written.
type said struct {
	by   *process
	text string
}

func runnersOf(t *testing.T, s deadlineStore, many int) *deadlineGroup {
	t.Helper()
	n := deadlineRunners
	if s.alone {
		n = 1
	}
	g := &deadlineGroup{t: t, store: s, many: many, runners: make([]*process, n), working: map[*process]bool{}, says: make(chan said)}
	for i := range g.runners {
		g.start(i)
	}
	return g
}

// start starts a runner in the place of another one.
func (g *deadlineGroup) start(i int) {
	g.t.Helper()
	p := &process{t: g.t, cmd: exec.CommandContext(context.Background(), os.Args[0], "-test.run=^TestDeadlines$"), errors: &strings.Builder{}}
	left := 0
	if g.kills < heldRunners {
		left = writesBeforeHeld
	}
	p.cmd.Env = append(os.Environ(), runnerVariable+"="+g.store.storage, storeVariable+"="+g.store.at,
		fmt.Sprintf("%s=%d", manyVariable, g.many), fmt.Sprintf("%s=%d", heldVariable, left))
	p.cmd.Stderr = p.errors
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if !p.ended {
			p.kill()
		}
		if g.t.Failed() && p.errors.Len() > 0 {
			g.t.Logf("runner %s: %s", p.pid(), p.errors)
		}
	})
	g.runners[i] = p
	ctx := g.t.Context()
	go func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			select {
			case g.says <- said{p, in.Text()}:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// run kills those who stand in the middle of a write and, every second, one that works,
// until all deadlines have come true. It returns how many were killed in the middle of a
// write when some deadlines, and not all, had come true.
func (g *deadlineGroup) run() (held int) {
	g.t.Helper()
	const patience = 5 * time.Minute // on a busy machine
	end := time.After(patience)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case s := <-g.says:
			i := slices.Index(g.runners, s.by)
			switch {
			case s.text == saysAll:
				return held
			case i < 0: // it was killed meanwhile
			case s.text == saysWorks:
				g.working[s.by] = true
			case s.text == saysHeld:
				g.kill(i)
				if came := g.came(); came > 0 && came < g.many {
					held++
				}
				g.start(i)
			}
		case <-tick.C:
			i := slices.IndexFunc(g.runners, func(p *process) bool { return g.working[p] })
			if i >= 0 && g.kills >= heldRunners {
				g.kill(i)
				g.start(i)
			}
		case <-end:
			g.t.Fatalf("not all of %d deadlines have come true within %s", g.many, patience)
		}
	}
}

func (g *deadlineGroup) kill(i int) {
	g.t.Helper()
	g.kills++
	g.runners[i].kill()
}

// came returns how many deadlines have come true, while no process has the store open if it
// is to be alone.
func (g *deadlineGroup) came() (n int) {
	g.t.Helper()
	g.store.use(g.t, func(ex evento.Executor) {
		for _, err := range evento.Events(g.t.Context(), ex, evento.Query{Filters: []evento.Filter{evento.ByEvent(overdue{})}}) {
			if err != nil {
				g.t.Fatal(err)
			}
			n++
		}
	})
	return n
}

// checkDeadlines compares what the store has with the deadlines that were set, and returns
// when the last came true.
func checkDeadlines(t *testing.T, ex evento.Executor, many int, due time.Time) (last time.Time) {
	t.Helper()
	came, early := map[string]int{}, 0
	for e, err := range evento.Events(t.Context(), ex, evento.Query{Filters: []evento.Filter{evento.ByEvent(overdue{})}}) {
		if err != nil {
			t.Fatal(err)
		}
		o, err := evento.Decode[overdue](e)
		if err != nil {
			t.Fatal(err)
		}
		came[o.Data.Deadline]++
		if last = e.Timestamp; last.Before(due) {
			early++
		}
	}
	if early > 0 {
		t.Errorf("%d deadlines came true before they were due", early)
	}
	faults := 0
	for i := range many {
		if n := came[fmt.Sprint(i)]; n != 1 {
			if faults++; faults <= 5 { // the others are like them
				t.Errorf("deadline %d came true %d times, want once", i, n)
			}
		}
	}
	if faults > 0 || len(came) != many {
		t.Errorf("%d deadlines came true, %d of them not once, want %d", len(came), faults, many)
	}
	for d, err := range evento.Deadlines(t.Context(), ex) {
		t.Errorf("a deadline is left: %+v, %v", d, err)
		break
	}
	for _, kind := range []string{"due", "deadline"} {
		page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Records) > 0 {
			t.Errorf("%d records of kind %s are left", len(page.Records), kind)
		}
	}
	return last
}
