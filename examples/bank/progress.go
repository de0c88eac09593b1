package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress is a bar on a terminal, and nothing anywhere else.
type progress struct {
	out     io.Writer // nil: nothing is drawn
	size    int64     // of the file in bytes; 0: unknown
	read    func() int64
	began   time.Time
	drawnAt time.Time
	drawn   bool
}

// newProgress makes the progress bar for reading a file. read returns how many
// bytes were read.
func newProgress(w io.Writer, size int64, read func() int64) *progress {
	p := &progress{size: size, read: read, began: time.Now()}
	if isTerminal(w) && os.Getenv("TERM") != "dumb" { // which clears no line
		p.out = w
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// draw redraws the bar, at most twenty times a second.
func (p *progress) draw(c Counts) {
	if p.out == nil || time.Since(p.drawnAt) < 50*time.Millisecond {
		return
	}
	const width = 30
	p.drawn, p.drawnAt = true, time.Now()
	lines := c.Applied + c.Refused + c.Already
	bar := ""
	if p.size > 0 {
		share := min(float64(p.read())/float64(p.size), 1)
		done := int(share * width)
		bar = fmt.Sprintf("[%s%s] %3.0f %%  ", strings.Repeat("=", done), strings.Repeat(" ", width-done), share*100)
	}
	rate := float64(lines) / max(time.Since(p.began).Seconds(), 1e-3)
	fmt.Fprintf(p.out, "\r\x1b[K%s%d lines, %.0f a second", bar, lines, rate)
}

// clear removes the bar, so that something else can be printed.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn, p.drawnAt = false, time.Time{}
	}
}

// countingReader counts the bytes that are read through it.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}
