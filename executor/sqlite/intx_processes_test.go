package sqlite_test

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Processes are killed in the middle of transactions, again and again: the
// table always has as many rows as there are events.
func TestInTxKill(t *testing.T) {
	t.Parallel()
	const kills, writers = 20, 3
	path := filepath.Join(t.TempDir(), "a.db")
	closeAll(t, openBooks(t, path))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	plain, done, last := ledger{}, 0, map[string]int{}
	for k := range kills {
		p := startChild(t, path, writers, 0, "", childTable+"=entry")
		after := 1 + random.IntN(60)
		for line := range p.lines {
			switch line {
			case "insert", "commit", "end":
			case "done":
				done++
			default:
				plain.note(t, line)
			}
			if after--; after == 0 {
				last[strings.Fields(line)[0]]++
				if err := p.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := p.wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("kill %d: the process ended with %v", k, err)
		}
		ex := openBooks(t, path)
		rows := entries(t, ex)
		if rows < done || rows > done+(k+1)*writers {
			t.Errorf("kill %d: %d rows, %d were acknowledged", k, rows, done)
		}
		plain.check(t, ex)
		closeAll(t, ex)
		if t.Failed() {
			return
		}
	}
	t.Logf("kill -9 x %d, after %v: %d transactions and %d plain commits acknowledged, none lost, none in halves", kills, last, done, len(plain))
}

// Several processes on one file, with transactions and plain commits at once.
func TestInTxProcesses(t *testing.T) {
	t.Parallel()
	const processes, writers, commits = 3, 4, 20
	path := filepath.Join(t.TempDir(), "a.db")
	ex := openBooks(t, path)
	defer closeAll(t, ex)
	changed := ex.Changed()
	one := startChild(t, path, 1, 1, "", childTable+"=entry")
	for range one.lines { // to its end
	}
	if err := one.wait(); err != nil {
		t.Error(err)
	}
	select {
	case <-changed:
	case <-time.After(time.Minute):
		t.Error("a transaction of another process did not wake")
	}
	children := make([]*process, processes)
	for i := range children {
		children[i] = startChild(t, path, writers, commits, "", childTable+"=entry")
	}
	own := 1
	plain, done := ledger{}, 0
	for _, p := range children {
		for line := range p.lines {
			switch line {
			case "insert", "commit", "end":
			case "done":
				done++
			default:
				plain.note(t, line)
				if err := ex.InTx(t.Context(), both(ex)); err != nil {
					t.Errorf("InTx() among other processes = %v", err)
				}
				own++
			}
		}
		if err := p.wait(); err != nil {
			t.Errorf("a child: %v", err)
		}
	}
	if want := processes * writers * commits / 2; done != want || len(plain) != want {
		t.Errorf("%d transactions and %d plain commits were acknowledged, want %d each", done, len(plain), want)
	}
	wantEntries(t, ex, done+own)
	plain.check(t, ex)
}
