//go:build unix

package torture_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

// store opens a new store, with the application's table and some events.
func (s storage) make(t *testing.T) (store string, ex evento.Executor) {
	t.Helper()
	store = s.store(t)
	ex, err := s.open(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	})
	if s.create == "" {
		return store, ex
	}
	if err := s.raw(t.Context(), store, s.create); err != nil {
		t.Fatal(err)
	}
	return store, ex
}

// add commits events to some aggregates, and counts them.
func add(t *testing.T, ex evento.Executor, want map[string]int, commits int) {
	t.Helper()
	for range commits {
		id := fmt.Sprint("thing-", rand.IntN(20))
		n := 1 + rand.IntN(3)
		b := evento.Aggregate(id).AnyVersion()
		for range n {
			b.Event(happened{})
		}
		if _, err := b.Commit(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
		want[id] += n
	}
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// eachStorage runs a test on each storage, or on those with tables of the application.
func eachStorage(t *testing.T, tables bool, test func(t *testing.T, s storage)) {
	for _, s := range storages() {
		if tables && s.create == "" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// Processes that handle events in transactions are killed repeatedly while they
// work: the read model counts each event once.
func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	const kills = 50
	eachStorage(t, true, func(t *testing.T, s storage) {
		store, ex := s.make(t)
		log := filepath.Join(t.TempDir(), "log")
		want := map[string]int{}
		for range kills {
			const commits = 5
			add(t, ex, want, commits)
			before := len(readLog(t, log))
			p := s.start(t, "transactional short", store, log)
			enough := before + 1 + rand.IntN(commits) // there may be no more
			until(t, "handled in a process", func() bool { return len(readLog(t, log)) >= enough })
			p.kill()
		}
		b, err := s.subscription("transactional patient", log)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Execute(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
		got, err := s.counts(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("counted %v, want %v", got, want)
		}
		handled := len(readLog(t, log))
		if handled <= sum(want) {
			t.Errorf("%d events were handled %d times: no kill was in the middle", sum(want), handled)
		}
		t.Logf("%s: kill -9 x %d: %d events, handled %d times, effects once each", s.name, kills, sum(want), handled)
	})
}

// owner returns the id of the process that owns the subscription; "": no owner.
func owner(t *testing.T, ex evento.Executor) string {
	t.Helper()
	status, err := evento.ControlOf(ex, key).Status(t.Context())
	if err != nil || !status.Partitions[0].Live {
		return ""
	}
	_, pid, _ := strings.Cut(status.Partitions[0].Host, "/")
	return pid
}

// Of several processes one owns the key. When it is killed, halted for longer than
// its lease, or ends, another takes over. What the halted process stores late has
// no effect.
func TestStandby(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"standby", "standby transactional"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			transactional := strings.Contains(role, "transactional")
			eachStorage(t, transactional, func(t *testing.T, s storage) {
				if transactional && s.name == "SQLite" {
					return // a process that is halted while it holds the file's lock blocks all others
				}
				testStandby(t, s, role, transactional)
			})
		})
	}
}

func testStandby(t *testing.T, s storage, role string, transactional bool) {
	store, ex := s.make(t)
	log := filepath.Join(t.TempDir(), "log")
	want := map[string]int{}
	processes := map[string]*process{}
	for range 3 {
		p := s.start(t, role, store, log)
		processes[p.pid()] = p
	}
	handledAfter := func(n int) func() bool { return func() bool { return len(readLog(t, log)) > n } }
	for round := range 6 {
		add(t, ex, want, 30)
		var pid string
		until(t, "there is an owner that handles", func() bool {
			pid = owner(t, ex)
			lines := readLog(t, log)
			return processes[pid] != nil && len(lines) > 0 && lines[len(lines)-1].pid == pid
		})
		p := processes[pid]
		delete(processes, pid)
		switch round % 3 {
		case 0:
			p.kill()
		case 1:
			if s.name == "SQLite" { // halted in the middle of a commit, it blocks all others
				p.kill()
			} else {
				p.signal(syscall.SIGSTOP)
			}
		default:
			p.end()
		}
		began := time.Now()
		until(t, "another owner", func() bool {
			now := owner(t, ex)
			return now != "" && now != pid
		})
		took := time.Since(began)
		before := len(readLog(t, log))
		add(t, ex, want, 5)
		until(t, "the new owner handles", handledAfter(before)) // also the rows that a halted process has locked
		if round%3 == 1 && s.name != "SQLite" {
			p.signal(syscall.SIGCONT)
			processes[pid] = p // on standby again
		}
		t.Logf("round %d: another owner after %s, with a lease of %s", round, took.Round(time.Millisecond), lease)
		n := s.start(t, role, store, log)
		processes[n.pid()] = n
	}
	last, err := evento.Create().Event(happened{}).Commit(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	want[last.AggregateID]++
	waiting, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := evento.WaitFor(waiting, ex, key, last.Position); err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		p.end()
	}
	checkLog(t, readLog(t, log), want)
	if transactional {
		got, err := s.counts(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("counted %v, want %v", got, want)
		}
	}
}

// checkLog checks the promise: each event was handled at least once, and the first
// deliveries within each aggregate were in order.
func checkLog(t *testing.T, lines []line, want map[string]int) {
	t.Helper()
	seen := map[string]int{}
	again := 0
	for i, l := range lines {
		switch at := seen[l.aggregate]; {
		case l.version == at+1:
			seen[l.aggregate] = l.version
		case l.version <= at:
			again++
		default:
			t.Errorf("line %d: version %d of %s was handled first after version %d", i+1, l.version, l.aggregate, at)
			seen[l.aggregate] = l.version
		}
	}
	if !maps.Equal(seen, want) {
		t.Errorf("handled %v, want %v", seen, want)
	}
	t.Logf("%d events handled, %d times again", sum(want), again)
}

// Processes are deployed one after the other. Each asks the one before for the key;
// that one ends, and no event is handled twice.
func TestHandOver(t *testing.T) {
	t.Parallel()
	eachStorage(t, false, func(t *testing.T, s storage) {
		store, ex := s.make(t)
		log := filepath.Join(t.TempDir(), "log")
		want := map[string]int{}
		var before *process
		for range 8 {
			p := s.start(t, "patient", store, log)
			until(t, "it has the key", func() bool {
				add(t, ex, want, 1)
				return slices.ContainsFunc(readLog(t, log), func(l line) bool { return l.pid == p.pid() })
			})
			if before != nil {
				before.gone()
			}
			before = p
		}
		until(t, "all is handled", func() bool { return len(readLog(t, log)) >= sum(want) })
		before.end()
		checkLog(t, readLog(t, log), want)
		if handled := len(readLog(t, log)); handled != sum(want) {
			t.Errorf("%d events were handled %d times, want each once", sum(want), handled)
		}
	})
}

// Eight partitions are shared by processes that come, go, and are killed.
func TestPartitions(t *testing.T) {
	t.Parallel()
	eachStorage(t, false, func(t *testing.T, s storage) {
		store, ex := s.make(t)
		log := filepath.Join(t.TempDir(), "log")
		want := map[string]int{}
		var processes []*process
		for round := range 8 {
			if len(processes) < 4 {
				p := s.start(t, "partitions", store, log)
				processes = append(processes, p)
				until(t, "it takes part", func() bool {
					add(t, ex, want, 1)
					return slices.ContainsFunc(readLog(t, log), func(l line) bool { return l.pid == p.pid() })
				})
			}
			before := len(readLog(t, log))
			add(t, ex, want, 20)
			until(t, "handled", func() bool { return len(readLog(t, log)) > before+5 })
			if round >= 3 {
				i := rand.IntN(len(processes))
				if round%2 == 0 {
					processes[i].kill()
				} else {
					processes[i].end()
				}
				processes = append(processes[:i], processes[i+1:]...)
			}
		}
		last, err := evento.Create().Event(happened{}).Commit(t.Context(), ex)
		if err != nil {
			t.Fatal(err)
		}
		want[last.AggregateID]++
		until(t, "all is handled", func() bool {
			seen := map[line]bool{}
			for _, l := range readLog(t, log) {
				l.pid = ""
				seen[l] = true
			}
			return len(seen) == sum(want)
		})
		for _, p := range processes {
			p.end()
		}
		checkLog(t, readLog(t, log), want)
	})
}
