package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/internal/transfer"
)

// progress is a line that is rewritten again and again.
type progress struct {
	w     io.Writer // nil: no progress is shown
	next  time.Time
	shown bool
	// part is the part that is done, from 0 to 1; nil: the whole is not known.
	part func(transfer.Progress) float64
}

const progressEvery = 200 * time.Millisecond

// newProgress shows progress on a terminal that can clear a line, or with always on
// anything.
func newProgress(w io.Writer, always bool) *progress {
	if dumb := os.Getenv("TERM") == "dumb"; !always && (dumb || !atTerminal(w)) {
		return &progress{}
	}
	return &progress{w: w}
}

func (p *progress) update(at transfer.Progress) {
	now := time.Now()
	if p.w == nil || now.Before(p.next) {
		return
	}
	p.next, p.shown = now.Add(progressEvery), true
	const clearLine = "\r\x1b[K"
	fmt.Fprint(p.w, clearLine, p.bar(at), summary(at))
}

// bar returns a progress bar, if the whole is known.
func (p *progress) bar(at transfer.Progress) string {
	if p.part == nil {
		return ""
	}
	const cells = 24
	part := min(max(p.part(at), 0), 1)
	done := int(part * cells)
	return fmt.Sprintf("[%s%s] %3d %%  ", strings.Repeat("=", done), strings.Repeat(" ", cells-done), int(part*100))
}

func (p *progress) end() {
	if p.shown {
		fmt.Fprintln(p.w)
	}
}

// summary describes a transfer in words.
func summary(p transfer.Progress) string {
	s := printable.Thousands(p.Events) + " events"
	if p.Skipped > 0 {
		s += " (" + printable.Thousands(p.Skipped) + " were there)"
	}
	return fmt.Sprintf("%s, %.1f MB, in %s, %s events/s", s, float64(p.Bytes)/1e6, p.Elapsed.Round(time.Millisecond), printable.Thousands(uint64(p.Rate())))
}
