//go:build unix

package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	programs "os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

func (p *process) tell(t *testing.T, command string) {
	t.Helper()
	if _, err := io.WriteString(p.stdin, command+"\n"); err != nil {
		t.Fatal(err)
	}
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// process is a running child and what it said.
type process struct {
	cmd   *programs.Cmd
	stdin io.WriteCloser
	first int

	mu    sync.Mutex
	acked map[int]uint64 // by number; 0: by InTx
	saw   []place
	other []string
	ended chan struct{}
}

type place struct {
	position uint64
	n        int
}

func startChild(t *testing.T, schema string, first int) *process {
	t.Helper()
	p := &process{cmd: programs.Command(os.Args[0], "-test.run=^$"), first: first, acked: map[int]uint64{}, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childSchema+"="+schema, fmt.Sprint("EVENTO_TEST_CHILD_FIRST=", first))
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = &lineWriter{p}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		_ = p.cmd.Wait()
	})
	go func() {
		defer close(p.ended)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			p.said(scan.Text())
		}
	}()
	return p
}

type lineWriter struct{ p *process }

func (w *lineWriter) Write(b []byte) (int, error) {
	w.p.said(string(b))
	return len(b), nil
}

func (p *process) said(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var n int
	var at uint64
	if _, err := fmt.Sscanf(line, "ack %d %d", &n, &at); err == nil {
		p.acked[n] = at
	} else if _, err := fmt.Sscanf(line, "saw %d %d", &at, &n); err == nil {
		p.saw = append(p.saw, place{at, n})
	} else {
		p.other = append(p.other, line)
	}
}

func (p *process) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked)
}

// awaitMore returns when the process has had so many more acknowledged.
func (p *process) awaitMore(t *testing.T, more int) {
	t.Helper()
	for goal, began := p.size()+more, time.Now(); p.size() < goal; time.Sleep(time.Millisecond) {
		if time.Since(began) > 5*time.Minute {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Fatalf("process %d had %d of %d commits acknowledged; it said %s", p.first, len(p.acked), goal, strings.Join(p.other, "\n"))
		}
	}
}

// awaitSaid returns when the process has printed a line.
func (p *process) awaitSaid(t *testing.T, line string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		said := slices.Contains(p.other, line)
		p.mu.Unlock()
		switch {
		case said:
			return
		case time.Since(began) > 5*time.Minute:
			t.Fatalf("process %d did not say %s", p.first, line)
		}
	}
}

// Several processes with several writers each, one killed in the middle, one
// stopped where it holds the counter. Nothing is lost or doubled, and all see
// one order.
func TestProcesses(t *testing.T) {
	t.Parallel()
	testserver.Postgres(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	schema := newSchema(t)
	ex := openSchema(t, schema)
	defer closeAll(t, ex)
	admin := effects(t, schema)
	const each = 40
	var all []*process
	for i := range 3 {
		all = append(all, startChild(t, schema, (i+1)*1_000_000))
	}
	for _, p := range all {
		p.awaitMore(t, each)
	}
	killed, held := all[0], all[1]
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-killed.ended
	all = append(all, startChild(t, schema, 4_000_000))
	for _, p := range all[1:] {
		p.awaitMore(t, each)
	}
	// One that is stopped at any moment of its own commits keeps nobody waiting.
	for range 3 {
		held.awaitMore(t, 1)
		held.signal(t, syscall.SIGSTOP)
		for _, p := range all[2:] {
			p.awaitMore(t, each/2)
		}
		held.signal(t, syscall.SIGCONT)
	}
	// With a statement of its own it may hold the counter: callers of others
	// can give up.
	held.tell(t, "hold")
	held.awaitSaid(t, "holding")
	held.signal(t, syscall.SIGSTOP)
	definite := true
	for n, call := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := evento.Create().Event(happened{-1}).Commit(ctx, ex)
			return err
		},
		func(ctx context.Context) error {
			return ex.InTx(ctx, func(ctx context.Context) error {
				_, err := evento.Create().Event(happened{-2}).Commit(ctx, ex)
				return errors.Join(err, effect(ctx, schema, -2))
			})
		},
	} {
		short, end := context.WithTimeout(ctx, 100*time.Millisecond)
		// A busy server may not answer in time what it did when it was asked to stop.
		err := call(short)
		definite = definite && !errors.Is(err, evento.ErrOutcomeUnknown)
		if definite && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("call %d while a stopped process holds the counter = %v, want %v", n, err, context.DeadlineExceeded)
		}
		end()
	}
	held.signal(t, syscall.SIGCONT)
	held.tell(t, "release")
	for _, p := range all[1:] {
		p.awaitMore(t, each)
	}
	for _, p := range all[1:] {
		_ = p.stdin.Close()
		<-p.ended
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("process %d: %v %s", p.first, err, strings.Join(p.other, "\n"))
		}
	}

	stored, at := map[int]int{}, map[uint64]int{}
	for raw, err := range evento.Events(ctx, ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := evento.Decode[happened](raw)
		if err != nil {
			t.Fatal(err)
		}
		stored[e.Data.N]++
		at[e.Position] = e.Data.N
		if e.Position != uint64(len(at)) {
			t.Fatalf("position %d comes after %d", e.Position, len(at)-1)
		}
	}
	if definite && stored[-1]+stored[-2]+count(t, admin, schema, -2) != 0 {
		t.Error("what was cancelled is stored")
	}
	var rows, doubled int
	if err := admin.QueryRow(ctx, "SELECT count(*), count(*) - count(DISTINCT n) FROM "+schema+".effect").Scan(&rows, &doubled); err != nil || doubled != 0 || rows == 0 {
		t.Errorf("%d effects, %d of them doubled, %v", rows, doubled, err)
	}
	acked := 0
	for _, p := range all {
		for n, position := range p.acked {
			acked++
			if stored[n] != 1 || position != 0 && at[position] != n {
				t.Errorf("process %d: %d was acknowledged at %d; it is there %d times, and at that position %d", p.first, n, position, stored[n], at[position])
			}
		}
		last := uint64(0)
		for _, s := range p.saw {
			if at[s.position] != s.n {
				t.Errorf("process %d saw %d at position %d, the store has %d", p.first, s.n, s.position, at[s.position])
			}
			if s.position > last+1 {
				t.Errorf("process %d saw position %d after %d", p.first, s.position, last)
			}
			last = max(last, s.position)
		}
		if p != killed && last == 0 {
			t.Errorf("process %d saw nothing", p.first)
		}
	}
	for n, times := range stored {
		if times != 1 {
			t.Errorf("%d is there %d times", n, times)
		}
	}
	if lost := len(stored) - acked; lost < 0 || lost > 12 {
		t.Errorf("%d events, %d acknowledged", len(stored), acked)
	}
	t.Logf("%d acknowledged by %d processes, %d with a table; one killed, one stopped", acked, len(all), rows)
}
