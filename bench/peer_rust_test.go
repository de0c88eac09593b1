package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rustPeer names the program of rust/ in the environment, where cargo has built it.
const rustPeer = "EVENTO_BENCH_RUST"

// rustProcess is the original in Rust: a process that takes a command a line and answers with
// a line.
type rustProcess struct {
	in  io.Writer
	out *bufio.Reader
}

func openRustPeer(b *testing.B, storage, at string) peer {
	b.Helper()
	if storage == "SQLite" {
		at = "sqlite:" + at
	}
	cmd := exec.Command(os.Getenv(rustPeer), at)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			b.Error(err)
		}
	})
	p := &rustProcess{in, bufio.NewReader(out)}
	if _, err := p.answer(); err != nil {
		b.Fatal(err)
	}
	return p
}

func (p *rustProcess) answer() ([]float64, error) {
	line, err := p.out.ReadString('\n')
	line = strings.TrimSpace(line)
	if err != nil || strings.HasPrefix(line, "error") {
		return nil, errors.Join(err, errors.New(line))
	}
	var numbers []float64
	for _, word := range strings.Fields(line) {
		if word == "open" {
			continue
		}
		n, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func (p *rustProcess) ask(command string, numbers ...any) ([]float64, error) {
	if _, err := fmt.Fprintln(p.in, append([]any{command}, numbers...)...); err != nil {
		return nil, err
	}
	return p.answer()
}

// one asks for a single number.
func (p *rustProcess) one(command string, numbers ...any) (float64, error) {
	got, err := p.ask(command, numbers...)
	if err == nil && len(got) != 1 {
		err = fmt.Errorf("%s: %d numbers", command, len(got))
	}
	if err != nil {
		return 0, err
	}
	return got[0], nil
}

func (p *rustProcess) seconds(command string, numbers ...any) (time.Duration, error) {
	seconds, err := p.one(command, numbers...)
	return time.Duration(seconds * float64(time.Second)), err
}

func (p *rustProcess) append(writers, commits, events int) (time.Duration, error) {
	return p.seconds("append", writers, commits, events)
}

func (p *rustProcess) load(loads, events int) (time.Duration, error) {
	return p.seconds("load", loads, events)
}

func (p *rustProcess) catchUp(events int) (time.Duration, error) { return p.seconds("catchup", events) }

func (p *rustProcess) latency(commits int) ([]float64, error) { return p.ask("latency", commits) }

func (p *rustProcess) deliver(writers, commits int) (lost int, err error) {
	n, err := p.one("deliver", writers, commits)
	return int(n), err
}
