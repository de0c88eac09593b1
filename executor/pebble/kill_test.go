// Another process: the test binary runs again as one that appends until it is
// killed.

package pebble_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
)

const (
	childPath    = "EVENTO_TEST_CHILD_PATH"
	childWriters = "EVENTO_TEST_CHILD_WRITERS"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := child(context.Background(), path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child prints a line for each commit that was acknowledged: the event's id
// and position.
func child(ctx context.Context, path string) error {
	writers := 0
	if _, err := fmt.Sscan(os.Getenv(childWriters), &writers); err != nil {
		return err
	}
	ex, err := pebble.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	errs := make(chan error)
	for i := range writers {
		go func() {
			for {
				w := evento.Write{Appends: []evento.Append{anyVersion(fmt.Sprint("own ", i), 1), anyVersion("shared", 1)}}
				r, err := ex.Write(ctx, w)
				if err != nil {
					errs <- err
					return
				}
				fmt.Printf("%s %d\n", w.Appends[0].Events[0].ID, r[0].Position)
			}
		}()
	}
	return <-errs
}

type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	once  sync.Once
}

func startChild(t *testing.T, path string, writers int) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childPath+"="+path, fmt.Sprint(childWriters, "=", writers))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, lines: bufio.NewScanner(out)}
	t.Cleanup(func() { p.once.Do(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) })
	if !p.lines.Scan() || p.lines.Text() != "ready" {
		t.Fatalf("a child began with %q", p.lines.Text())
	}
	return p
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	p.once.Do(func() {
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Wait(); err == nil {
			t.Error("the child ended by itself")
		}
	})
}

func TestKill(t *testing.T) {
	t.Parallel()
	const kills = 6
	path := t.TempDir()
	p := &promised{writes: map[evento.ID]evento.Write{}, places: map[evento.ID]uint64{}}
	for k := range kills {
		c := startChild(t, path, 6)
		for after := 20 + 37*k; after > 0 && c.lines.Scan(); after-- {
			p.line(t, c.lines.Text())
		}
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for c.lines.Scan() { // what it said before
			p.line(t, c.lines.Text())
		}
		c.kill(t)
		ex := openDir(t, path)
		p.check(t, ex)
		closeAll(t, ex)
	}
	if len(p.places) < kills*20 { // so many lines are read of the child that does the fewest
		t.Errorf("only %d events were acknowledged: the test tests nothing", len(p.places))
	}
	t.Logf("kill -9 x %d: acknowledged %d, lost 0", kills, len(p.places))
}

func (p *promised) line(t *testing.T, line string) {
	t.Helper()
	var id string
	var position uint64
	if _, err := fmt.Sscan(line, &id, &position); err != nil {
		t.Logf("a child said %q: %v", line, err) // the last line may be cut
		return
	}
	var parsed evento.ID
	if err := parsed.UnmarshalText([]byte(id)); err != nil {
		t.Fatalf("a child said %q: %v", line, err)
	}
	p.places[parsed] = position
}
