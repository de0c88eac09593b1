package main

import (
	"bytes"
	"testing"

	"github.com/evento-go/evento/internal/transfer"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		whole float64 // 0: unknown
		done  uint64
		want  string
	}{
		{0, 5, "\r\x1b[K5 events, 0.0 MB, in 0s, 0 events/s"},
		{1000, 0, "\r\x1b[K[                        ]   0 %  0 events, 0.0 MB, in 0s, 0 events/s"},
		{2000, 1000, "\r\x1b[K[============            ]  50 %  1,000 events, 0.0 MB, in 0s, 0 events/s"},
		{10, 10, "\r\x1b[K[========================] 100 %  10 events, 0.0 MB, in 0s, 0 events/s"},
		{10, 12, "\r\x1b[K[========================] 100 %  12 events, 0.0 MB, in 0s, 0 events/s"}, // more events came meanwhile
	} {
		var out bytes.Buffer
		p := newProgress(&out, true)
		if test.whole > 0 {
			p.part = func(at transfer.Progress) float64 { return float64(at.Events) / test.whole }
		}
		p.update(transfer.Progress{Events: test.done})
		p.update(transfer.Progress{Events: test.done}) // too soon
		p.end()
		if got := out.String(); got != test.want+"\n" {
			t.Errorf("%d of %g: got %q, want %q", test.done, test.whole, got, test.want+"\n")
		}
	}
}
