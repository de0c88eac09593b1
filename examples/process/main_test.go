package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/story"
	"github.com/evento-go/evento/internal/testserver"
)

// asProgram makes the test binary a program that fulfils the orders; it is the store's place.
const asProgram = "PROCESS_TEST_STORE"

func TestMain(m *testing.M) {
	if at := os.Getenv(asProgram); at != "" {
		if err := fulfilIn(context.Background(), at); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestStory(t *testing.T) {
	t.Parallel()
	story.Test(t, func(ctx context.Context, out io.Writer) error { return run(ctx, "", out) })
}

func TestStoryOnPostgres(t *testing.T) {
	t.Parallel()
	url := testserver.PostgresDatabase(t)
	story.Test(t, func(ctx context.Context, out io.Writer) error { return run(ctx, url, out) })
}

// Whenever it is killed, before and after each commit and within transactions, the next
// program goes on, and in the end has happened what happens without.
func TestKill(t *testing.T) {
	t.Parallel()
	for range 5 {
		killAgainAndAgain(t, filepath.Join(t.TempDir(), "orders.db"))
	}
}

func TestKillOnPostgres(t *testing.T) {
	t.Parallel()
	killAgainAndAgain(t, testserver.PostgresDatabase(t))
}

func killAgainAndAgain(t *testing.T, at string) {
	t.Helper()
	var killed []int
	for range 20 {
		n := 12 + rand.IntN(16) // a whole run has some 50 steps, of which the first 10 place the orders
		if !runProgram(t, at, n) {
			break
		}
		killed = append(killed, n)
	}
	runProgram(t, at, 0)
	t.Log("killed at these steps:", killed)

	without := memory.New(nil)
	if err := fulfil(t.Context(), without); err != nil {
		t.Fatal(err)
	}
	store, err := open(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	got, want := contents(t, store), contents(t, without)
	if !slices.Equal(got, want) {
		t.Errorf("it has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// contents are the events and deadlines of a store, in the order of their names: that of two
// orders depends on who is faster.
func contents(t *testing.T, ex evento.Executor) (lines []string) {
	t.Helper()
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintln(e.AggregateType, e.AggregateID, e.Name, e.Tags))
	}
	for d, err := range evento.Deadlines(t.Context(), ex) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintln("deadline", d.AggregateType, d.AggregateID, d.Name))
	}
	slices.Sort(lines)
	return lines
}

// runProgram runs the program and kills it at its nth step, if it is not done before; 0: never.
func runProgram(t *testing.T, at string, n int) (killed bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	var errs strings.Builder
	cmd.Env, cmd.Stderr = append(os.Environ(), asProgram+"="+at), &errs
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	steps := bufio.NewScanner(stdout)
	for i := 1; steps.Scan(); i++ {
		if i == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			return true
		}
		if _, err := stdin.Write([]byte("\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return false
}

// fulfilIn is the program, step by step.
func fulfilIn(ctx context.Context, at string) error {
	store, err := open(ctx, at)
	if err != nil {
		return err
	}
	return errors.Join(fulfil(ctx, &stepping{Transactor: store, in: bufio.NewReader(os.Stdin)}), store.Close())
}

func open(ctx context.Context, at string) (evento.Transactor, error) {
	if strings.HasPrefix(at, "postgres") {
		return postgres.Open(ctx, at, nil)
	}
	return sqlite.Open(ctx, at, nil)
}

// stepping is a store that asks before and after each commit, and waits to be killed or
// answered.
type stepping struct {
	evento.Transactor
	mu sync.Mutex
	in *bufio.Reader
}

func (s *stepping) step() {
	s.mu.Lock()
	fmt.Println("step")
	_, err := s.in.ReadByte()
	s.mu.Unlock()
	if err != nil {
		os.Exit(1) // the test has ended
	}
}

func (s *stepping) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	s.step()
	defer s.step()
	return s.Transactor.Write(ctx, w)
}

func (s *stepping) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	defer s.step()
	return s.Transactor.InTx(ctx, func(ctx context.Context) error {
		defer s.step()
		return fn(ctx)
	})
}
