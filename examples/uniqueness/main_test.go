package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotest"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/story"
	"github.com/evento-go/evento/internal/testserver"
)

// asRacer makes the test binary one of the processes that race; it is the store's place.
const asRacer = "UNIQUENESS_TEST_RACE"

func TestMain(m *testing.M) {
	if at := os.Getenv(asRacer); at != "" {
		if err := race(context.Background(), at); err != nil {
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

// The story is not told twice of one store.
func TestNotEmpty(t *testing.T) {
	t.Parallel()
	ex := memory.New(nil)
	if err := tellStory(t.Context(), ex, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := tellStory(t.Context(), ex, io.Discard); err == nil || !strings.Contains(err.Error(), "take an empty one") {
		t.Errorf("told twice: %v, want a refusal", err)
	}
}

// Processes race for emails and with the same requests: each email has one account, and
// each request one answer.
func TestRace(t *testing.T) {
	t.Parallel()
	wantOnce(t, filepath.Join(t.TempDir(), "members.db"))
}

func TestRaceOnPostgres(t *testing.T) {
	t.Parallel()
	wantOnce(t, testserver.PostgresDatabase(t))
}

const racers, rounds = 4, 20

func wantOnce(t *testing.T, at string) {
	t.Helper()
	store, err := open(t.Context(), at) // it makes the store before they come
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	results := map[string][]string{}
	for _, line := range runRacers(t, at) {
		what, result, _ := strings.Cut(line, " ")
		results[what] = append(results[what], result)
	}
	for i := range rounds {
		accounts := slices.DeleteFunc(results[raceEmail(i)], func(id string) bool { return id == refused })
		holder, err := holderOf(t.Context(), store, raceEmail(i))
		if err != nil || len(accounts) != 1 || accounts[0] != holder {
			t.Errorf("%s is of %q (%v), and the processes have made the accounts %q", raceEmail(i), holder, err, accounts)
		}
		answers := results[raceRequest(i)]
		if len(answers) != racers || len(slices.Compact(answers)) != 1 {
			t.Errorf("%s has the answers %q, want one, %d times", raceRequest(i), answers, racers)
		}
	}
}

const refused = "refused"

func raceEmail(i int) string   { return fmt.Sprintf("email%d@example.org", i) }
func raceRequest(i int) string { return fmt.Sprintf("request%d", i) }

// runRacers lets processes begin at the same time, and returns what they print.
func runRacers(t *testing.T, at string) (lines []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var started []*exec.Cmd
	var outs []*bufio.Scanner
	var starts []io.Closer
	for range racers {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env, cmd.Stderr = append(os.Environ(), asRacer+"="+at), os.Stderr
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
		started, outs, starts = append(started, cmd), append(outs, bufio.NewScanner(stdout)), append(starts, stdin)
	}
	for _, out := range outs {
		out.Scan() // it is ready
	}
	for _, start := range starts {
		_ = start.Close()
	}
	for i, out := range outs {
		for out.Scan() {
			lines = append(lines, out.Text())
		}
		if err := started[i].Wait(); err != nil {
			t.Error(err)
		}
	}
	return lines
}

// race is what each of the processes does.
func race(ctx context.Context, at string) error {
	store, err := open(ctx, at)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for i := range rounds {
		id, err := register(ctx, store, raceEmail(i))
		switch {
		case errors.Is(err, errTaken):
			id = refused
		case err != nil:
			return err
		}
		fmt.Println(raceEmail(i), id)
		answer, err := once(ctx, store, raceRequest(i), func(ctx context.Context, d evento.Executor) (string, error) {
			return register(ctx, d, fmt.Sprintf("once%d@example.org", i))
		})
		if err != nil {
			return err
		}
		fmt.Println(raceRequest(i), answer)
	}
	return store.Close()
}

func open(ctx context.Context, at string) (evento.Executor, error) {
	if strings.HasPrefix(at, "postgres") {
		return postgres.Open(ctx, at, nil)
	}
	return sqlite.Open(ctx, at, nil)
}

func TestChangeEmail(t *testing.T) {
	t.Parallel()
	change := func(t *testing.T, email string) *eventotest.Outcome {
		t.Helper()
		return eventotest.Command(t).
			Given(eventotest.Of("ada", Registered{Email: "ada@example.org"}), eventotest.Of("ben", Registered{Email: "ben@example.org"})).
			When(func(ctx context.Context, ex evento.Executor) error { return changeEmail(ctx, ex, "ada", email) })
	}
	change(t, "Ben@example.org").ThenError(errTaken)
	change(t, "ADA@example.org").Then()
	change(t, "ada@example.com").Then(eventotest.Event{
		AggregateID: "ada", Payload: EmailChanged{From: "ada@example.org", To: "ada@example.com"},
		Tags: []string{"email:ada@example.org", "email:ada@example.com"},
	})
}

// A request that comes again while it is handled gets the first answer too, although what
// the first has stored is why it fails.
func TestOnceMeanwhile(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), memory.New(nil)
	registerAda := func(ctx context.Context, d evento.Executor) (string, error) {
		return register(ctx, d, "ada@example.org")
	}
	var first string
	second, err := once(ctx, ex, "request", func(ctx context.Context, d evento.Executor) (string, error) {
		var err error
		if first, err = once(ctx, ex, "request", registerAda); err != nil {
			return "", err
		}
		return registerAda(ctx, d)
	})
	if err != nil || second != first || first == "" {
		t.Errorf("the answers are %q and %q, %v", first, second, err)
	}
}

// A decision that finds nothing to do is no error, also when it has looked.
func TestOnceNothing(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), memory.New(nil)
	id, err := register(ctx, ex, "ada@example.org")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := once(ctx, ex, "request", func(ctx context.Context, d evento.Executor) (string, error) {
		return "done", changeEmail(ctx, d, id, "ada@example.org")
	})
	if answer != "done" || err != nil {
		t.Errorf("the answer is %q, %v", answer, err)
	}
}

// A request without a key gets nobody else's answer, and makes nothing.
func TestWithoutKey(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), memory.New(nil)
	ask := func(request string) (string, error) {
		return once(ctx, ex, request, func(ctx context.Context, d evento.Executor) (string, error) {
			return register(ctx, d, "ada"+request+"@example.org")
		})
	}
	if _, err := ask("request"); err != nil {
		t.Fatal(err)
	}
	if answer, err := ask(""); answer != "" || !errors.Is(err, errNoKey) {
		t.Errorf("the answer is %q, %v, want %v", answer, err, errNoKey)
	}
	if id, err := order(ctx, ex, "", "ada", "a book"); id != "" || !errors.Is(err, errNoKey) {
		t.Errorf("the order is %q, %v, want %v", id, err, errNoKey)
	}
}

// What is refused is decided anew, and what is old is forgotten.
func TestForget(t *testing.T) {
	t.Parallel()
	ctx, now := t.Context(), time.Now()
	ex := memory.New(&memory.Options{Clock: func() time.Time { return now }})
	says := func(want string, wantErr error) {
		t.Helper()
		answer, err := once(ctx, ex, "request", func(ctx context.Context, d evento.Executor) (string, error) {
			if wantErr != nil {
				return "", wantErr
			}
			_, err := register(ctx, d, want+"@example.org")
			return want, err
		})
		if answer != want || !errors.Is(err, wantErr) {
			t.Errorf("the answer is %q, %v, want %q, %v", answer, err, want, wantErr)
		}
	}
	says("", errTaken)
	says("first", nil)
	now = now.Add(time.Hour)
	if err := forget(ctx, ex, 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	if answer, found, err := answerTo(ctx, ex, "request"); answer != "first" || !found || err != nil {
		t.Errorf("after an hour the answer is %q, %t, %v", answer, found, err)
	}
	now = now.Add(time.Hour)
	if err := forget(ctx, ex, 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	says("second", nil)
}
