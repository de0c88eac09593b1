package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/examples/bank/bank"
)

// A program that is killed while it applies a file has applied some lines
// completely and the others not at all; run again, it applies the others.
func TestKill(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("testdata/statements.csv")
	must(t, err)
	dir := t.TempDir()
	killed, whole := filepath.Join(dir, "killed.db"), filepath.Join(dir, "whole.db")

	before := 0
	for _, refused := range []int{1, 15, 30, 50} {
		killAfter(t, killed, file, refused)
		s, err := openStore(t.Context(), killed)
		must(t, err)
		now := judgedStatements(t, s)
		must(t, s.close())
		if now == 0 || now < before {
			t.Errorf("killed after %d refused lines: %d statements are judged, %d were before", refused, now, before)
		}
		before = now
	}

	end, _ := program(t, exitRefused, "-db", killed, "apply", "testdata/statements.csv")
	c := scanCounts(t, end)
	if c.Applied+c.Already != 2901 || c.Refused != 99 || c.Applied == 0 || c.Already == 0 {
		t.Errorf("after the kills: %q, want 2901 lines applied by then and before", end)
	}
	program(t, exitRefused, "-db", whole, "apply", "testdata/statements.csv")
	got, _ := program(t, exitOK, "-db", killed, "balances")
	want, _ := program(t, exitOK, "-db", whole, "balances")
	sameLines(t, got, want)
	for _, number := range []string{"100000", "100007", "100063"} {
		got, _ := program(t, exitOK, "-db", killed, "history", number)
		want, _ := program(t, exitOK, "-db", whole, "history", number)
		sameLines(t, got, want)
	}
}

// killAfter runs apply in a process and kills it after a number of refused lines.
// The process does not get the file's last line, so it cannot end before.
func killAfter(t *testing.T, db string, file []byte, refused int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-db", db, "apply", "/dev/stdin")
	cmd.Env = append(os.Environ(), asBank+"=1")
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, _ = stdin.Write(file[:len(file)-2]) // fails when the program is killed before it has read all
	}()
	lines := bufio.NewScanner(stderr)
	for range refused {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), "/dev/stdin:") {
			t.Fatalf("standard error ended or has %q (%v)", lines.Text(), lines.Err())
		}
	}
	must(t, cmd.Process.Kill())
	<-fed
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the program was not killed: %v", err)
	}
}

// A signal ends apply although whoever writes the file says no more. What was read
// before is applied.
func TestInterruptedWhileItWaits(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]os.Signal{"SIGINT": os.Interrupt, "SIGTERM": syscall.SIGTERM, "SIGHUP": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-db", filepath.Join(t.TempDir(), "bank.db"), "apply", "-")
			cmd.Env = append(os.Environ(), asBank+"=1")
			stdin, err := cmd.StdinPipe()
			must(t, err)
			stderr, err := cmd.StderrPipe()
			must(t, err)
			var out strings.Builder
			cmd.Stdout = &out
			must(t, cmd.Start())
			lines := bufio.NewScanner(stderr)
			_, err = io.WriteString(stdin, statementHeader+"\n2026-03-02T09:00:00Z,1,Ann,open,5,\n"+strings.Repeat("nonsense\n", batchLines))
			must(t, err)
			if !lines.Scan() { // a batch was applied
				t.Fatal(lines.Err())
			}
			must(t, cmd.Process.Signal(sig))
			for lines.Scan() {
			}
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
				t.Errorf("it ended with %v, want the exit code %d", err, exitInterrupted)
			}
			if !strings.HasPrefix(out.String(), "applied 1, refused ") {
				t.Errorf("it wrote %q, want what it has applied", out.String())
			}
		})
	}
}

// A program that is killed within a subscription makes the next one wait no longer
// than its lease; the next one logs it.
func TestKilledWithinASubscription(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "bank.db")
	program(t, exitOK, "-db", db)
	s, err := openStore(t.Context(), db)
	must(t, err)
	sub, err := s.balances.Subscription().Start(t.Context(), s.ex)
	must(t, err)
	must(t, s.ex.Close()) // so it cannot give up its key
	<-sub.Done()
	must(t, s.balances.Close())

	cmd := exec.CommandContext(t.Context(), os.Args[0], "-db", db, "balances")
	cmd.Env = append(os.Environ(), asBank+"=1")
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	must(t, cmd.Run())
	if took := time.Since(began); took < bank.Lease/2 || took > 5*bank.Lease {
		t.Errorf("it took %s, want some %s", took, bank.Lease)
	}
	if !strings.Contains(out.String(), "in all, 3 accounts") || !strings.Contains(errs.String(), "a subscription waits for its key") {
		t.Errorf("it wrote %q and on standard error %q, want the balances and that it waits", out.String(), errs.String())
	}
}

// judgedStatements counts what is in the ledger, and fails when something is
// in it twice.
func judgedStatements(t *testing.T, s *store) int {
	t.Helper()
	seen := map[StatementID]bool{}
	ledger := evento.NewSubscription(evento.NewID().String()).
		Handler(evento.Handle(func(_ context.Context, e evento.Event[StatementsJudged]) error {
			ids := slices.Clone(e.Data.Applied)
			for _, r := range e.Data.Refused {
				ids = append(ids, r.ID)
			}
			for _, id := range ids {
				if seen[id] {
					t.Errorf("statement %s was judged twice", id)
				}
				seen[id] = true
			}
			return nil
		}))
	must(t, ledger.Execute(t.Context(), s.ex))
	return len(seen)
}
