//go:build unix

package torture_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
)

// In each round there is one concert, and customers of several box offices try to get a
// seat at the same time: 200 for 20 seats. An office is a process, a customer a goroutine.
const (
	seats     = 20
	offices   = 8
	customers = 25 // of each office
)

const (
	concertType evento.AggregateType = "torture/Concert"
	orderType   evento.AggregateType = "torture/Order"
)

type announced struct{ Seats int }

func (announced) AggregateType() evento.AggregateType { return concertType }
func (announced) EventName() string                   { return "Announced" }

type reserved struct{ Order string }

func (reserved) AggregateType() evento.AggregateType { return concertType }
func (reserved) EventName() string                   { return "Reserved" }

type placed struct{ Concert string }

func (placed) AggregateType() evento.AggregateType { return orderType }
func (placed) EventName() string                   { return "Placed" }

type concert struct{ Free int }

var concerts = evento.NewProjection[concert]("concert", concertType).Handler(
	evento.Apply(func(c *concert, e evento.Event[announced]) error {
		c.Free = e.Data.Seats
		return nil
	}),
	evento.Apply(func(c *concert, _ evento.Event[reserved]) error {
		c.Free--
		return nil
	}),
)

var errSoldOut = errors.New("sold out")

func concertID(round int) string { return fmt.Sprint("concert-", round) }

// reserve reserves a seat for a new order, and returns how often the decision's function
// has run.
func reserve(ctx context.Context, ex evento.Executor, concertID, orderID string) (runs int, err error) {
	_, err = evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		runs++
		c, err := concerts.Load(ctx, d, concertID)
		if err != nil {
			return err
		}
		if c.State.Free <= 0 {
			return errSoldOut
		}
		if _, err := c.Aggregate().Event(reserved{Order: orderID}).Commit(ctx, d); err != nil {
			return err
		}
		_, err = evento.Aggregate(orderID).Event(placed{Concert: concertID}).Commit(ctx, d)
		return err
	})
	return runs, err
}

// try is one decision of a customer. It is sold out if it is neither reserved nor failed.
type try struct {
	Concert, Order string
	Reserved       bool
	Failed         string // the error
	Runs           int    // of the decision's function
	Took           time.Duration
}

// sell lets all customers of an office try at the same time.
func sell(ctx context.Context, ex evento.Executor, round, office int) []try {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // a busy machine is slow
	defer cancel()
	tries := make([]try, customers)
	var wg sync.WaitGroup
	for i := range tries {
		wg.Go(func() {
			c := try{Concert: concertID(round), Order: fmt.Sprintf("order-%d-%d-%d", round, office, i)}
			began := time.Now()
			runs, err := reserve(ctx, ex, c.Concert, c.Order)
			c.Took, c.Runs, c.Reserved = time.Since(began), runs, err == nil
			if err != nil && !errors.Is(err, errSoldOut) {
				c.Failed = err.Error()
			}
			tries[i] = c
		})
	}
	wg.Wait()
	return tries
}

// officeVariable tells a process of the test that it is an office: the name of its storage
// and its number. The store is in storeVariable.
const officeVariable = "EVENTO_TORTURE_OFFICE"

// workOffice is the main function of an office's process. For each line of its input, the
// number of a round, it writes its tries as a line of JSON. Before the first it writes an
// empty list, when it is ready. It ends at the end of its input.
func workOffice(ctx context.Context, office, store string) error {
	name, number, _ := strings.Cut(office, ":")
	no, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	ex, err := storageOf(name).open(ctx, store)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode([]try{}); err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		round, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		if err := out.Encode(sell(ctx, ex, round, no)); err != nil {
			return err
		}
	}
	return errors.Join(in.Err(), ex.Close())
}

// seller sells in one office, one round after the other.
type seller struct {
	sell func(round int) ([]try, error)
	end  func()
}

// startOffice starts the process of an office, and returns when it is ready.
func (s storage) startOffice(t *testing.T, store string, no int) seller {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(context.Background(), os.Args[0], "-test.run=^TestSeats$"), errors: &strings.Builder{}}
	p.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s:%d", officeVariable, s.name, no), storeVariable+"="+store)
	p.cmd.Stderr = p.errors
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.ended {
			p.kill()
		}
		if t.Failed() && p.errors.Len() > 0 {
			t.Logf("office %d: %s", no, p.errors)
		}
	})
	answers := json.NewDecoder(out)
	answer := func() (tries []try, err error) {
		if err = answers.Decode(&tries); err != nil {
			err = fmt.Errorf("office %d has answered nothing: %w", no, err)
		}
		return tries, err
	}
	if _, err := answer(); err != nil {
		t.Fatal(err)
	}
	return seller{
		sell: func(round int) ([]try, error) {
			if _, err := io.WriteString(in, fmt.Sprintln(round)); err != nil {
				return nil, err
			}
			return answer()
		},
		end: func() {
			t.Helper()
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			p.gone()
		},
	}
}

// numberOfRounds returns how many rounds there are, and whether their time is judged: a
// busy machine is no reason to fail, unless somebody asks for it.
func numberOfRounds(t *testing.T) (n int, judged bool) {
	t.Helper()
	s := os.Getenv("EVENTO_SEATS")
	if s == "" {
		return 2, false
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("EVENTO_SEATS: %q is no number of rounds", s)
	}
	return n, true
}

// Decisions of many processes over two aggregates each: no concert is oversold, a seat is
// reserved if and only if its order is placed, and no decision starves. The last is judged
// only with EVENTO_SEATS, the number of rounds, such as 1000.
func TestSeats(t *testing.T) {
	if office := os.Getenv(officeVariable); office != "" { // a process of this test
		if err := workOffice(t.Context(), office, os.Getenv(storeVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			t.Fail()
		}
		return
	}
	rounds, judged := numberOfRounds(t)
	if !judged {
		t.Parallel()
	}
	each := func(name string, test func(t *testing.T) (evento.Executor, func(no int) seller)) {
		t.Run(name, func(t *testing.T) {
			if !judged {
				t.Parallel()
			}
			ex, office := test(t)
			t.Cleanup(func() {
				if err := ex.Close(); err != nil {
					t.Error(err)
				}
			})
			testSeats(t, ex, office, rounds, judged)
		})
	}
	for _, s := range storages() {
		each(s.name, func(t *testing.T) (evento.Executor, func(no int) seller) {
			store := s.store(t)
			ex, err := s.open(t.Context(), store)
			if err != nil {
				t.Fatal(err)
			}
			return ex, func(no int) seller { return s.startOffice(t, store, no) }
		})
	}
	// One process: its offices are at two clients.
	each(jetStreamName, func(t *testing.T) (evento.Executor, func(no int) seller) {
		place := jetStreamStore(t)
		var clients []evento.Executor
		for range 2 {
			ex, err := openJetStream(t.Context(), place)
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, ex)
		}
		t.Cleanup(func() {
			if err := clients[1].Close(); err != nil {
				t.Error(err)
			}
		})
		return clients[0], func(no int) seller {
			return seller{
				sell: func(round int) ([]try, error) { return sell(t.Context(), clients[no%2], round, no), nil },
				end:  func() {},
			}
		}
	})
	// One process: its offices share an executor.
	each("Pebble", func(t *testing.T) (evento.Executor, func(no int) seller) {
		ex, err := pebble.Open(t.Context(), t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return ex, func(no int) seller {
			return seller{
				sell: func(round int) ([]try, error) { return sell(t.Context(), ex, round, no), nil },
				end:  func() {},
			}
		}
	})
}

func testSeats(t *testing.T, ex evento.Executor, office func(no int) seller, rounds int, judged bool) {
	for round := range rounds {
		if _, err := evento.Aggregate(concertID(round)).Event(announced{Seats: seats}).Commit(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
	}
	sellers := make([]seller, offices)
	for i := range sellers {
		sellers[i] = office(i)
	}
	var tries []try
	began := time.Now()
	for round := range rounds {
		answers, errs := make([][]try, offices), make([]error, offices)
		var wg sync.WaitGroup
		for i, s := range sellers {
			wg.Go(func() { answers[i], errs[i] = s.sell(round) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		tries = append(tries, slices.Concat(answers...)...)
	}
	took := time.Since(began)
	var wg sync.WaitGroup
	for _, s := range sellers {
		wg.Go(s.end) // with the race detector each takes a second
	}
	wg.Wait()
	if want := rounds * offices * customers; len(tries) != want {
		t.Fatalf("%d tries, want %d", len(tries), want)
	}
	checkSales(t, ex, tries, rounds)
	checkTimes(t, tries, rounds, took, judged)
}

// checkSales compares what the customers know with the log.
func checkSales(t *testing.T, ex evento.Executor, tries []try, rounds int) {
	t.Helper()
	faults := 0
	fault := func(c *try, format string, args ...any) {
		if faults++; faults <= 5 { // the others are like them
			t.Errorf("%s: %s", c.Order, fmt.Sprintf(format, args...))
		}
	}
	bought, runs := map[string]string{}, 0 // by order, its concert
	for _, c := range tries {
		runs += c.Runs
		switch {
		case c.Failed != "":
			fault(&c, "%s, want it reserved or sold out", c.Failed)
		case c.Reserved:
			bought[c.Order] = c.Concert
		}
	}
	if runs <= len(tries) {
		t.Errorf("%d tries ran %d times: none was in the way of another", len(tries), runs)
	}
	l := readSales(t, ex)
	for round := range rounds {
		if id := concertID(round); l.sold[id] != seats {
			t.Errorf("%s: %d reserved, want %d", id, l.sold[id], seats)
		}
	}
	if len(l.sold) != rounds {
		t.Errorf("%d concerts have sold, want %d", len(l.sold), rounds)
	}
	for _, c := range tries {
		if r, p, b := l.reserved[c.Order], l.placed[c.Order], bought[c.Order]; r != p || r != b {
			fault(&c, "reserved for %q, placed for %q, told %q", r, p, b)
		}
	}
	if faults > 0 {
		t.Errorf("%d of %d tries are not as they should be", faults, len(tries))
	}
	if want := rounds * seats; len(l.reserved) != want || len(l.placed) != want || len(bought) != want {
		t.Errorf("%d orders are reserved, %d placed, %d told, want %d", len(l.reserved), len(l.placed), len(bought), want)
	}
}

// sales are what the log says.
type sales struct {
	sold             map[string]int    // by concert
	reserved, placed map[string]string // by order, its concert
}

func readSales(t *testing.T, ex evento.Executor) sales {
	t.Helper()
	l := sales{map[string]int{}, map[string]string{}, map[string]string{}}
	once := func(m map[string]string, e *evento.RawEvent, order, concert string) {
		if m[order] != "" {
			t.Errorf("%s: %s for %s, and for %s before", order, e.Name, concert, m[order])
		}
		m[order] = concert
	}
	both := evento.Query{Filters: []evento.Filter{evento.ByType(concertType), evento.ByType(orderType)}}
	for e, err := range evento.Events(t.Context(), ex, both) {
		if err != nil {
			t.Fatal(err)
		}
		switch e.Name {
		case reserved{}.EventName():
			r, err := evento.Decode[reserved](e)
			if err != nil {
				t.Fatal(err)
			}
			l.sold[e.AggregateID]++
			once(l.reserved, &e, r.Data.Order, e.AggregateID)
		case placed{}.EventName():
			p, err := evento.Decode[placed](e)
			if err != nil {
				t.Fatal(err)
			}
			once(l.placed, &e, e.AggregateID, p.Data.Concert)
		}
	}
	return l
}

// checkTimes looks for decisions that starve: those that take much longer than others do.
// Where the disk halts for a while, all of a round take as long: a decision is held against
// the slower of the median and the median of its round.
func checkTimes(t *testing.T, tries []try, rounds int, took time.Duration, judged bool) {
	t.Helper()
	const most = 20
	all, runs := timesOf(tries), 0
	for _, c := range tries {
		runs += c.Runs
	}
	median, slowest, starved := all[len(all)/2], all[len(all)-1], 0.0
	for round := range slices.Chunk(tries, len(tries)/rounds) {
		times := timesOf(round)
		starved = max(starved, float64(times[len(times)-1])/float64(max(median, times[len(times)/2])))
	}
	t.Logf("%d rounds in %.1f s: median %s, slowest %s, ratio %.1f, within a round %.1f, %.2f runs of a decision", rounds, took.Seconds(),
		median.Round(10*time.Microsecond), slowest.Round(10*time.Microsecond), float64(slowest)/float64(median), starved, float64(runs)/float64(len(tries)))
	if judged && starved > most {
		t.Errorf("the slowest decision took %.1f times the median, want at most %d", starved, most)
	}
}

// timesOf are how long decisions took, sorted.
func timesOf(tries []try) []time.Duration {
	times := make([]time.Duration, len(tries))
	for i, c := range tries {
		times[i] = c.Took
	}
	slices.Sort(times)
	return times
}
