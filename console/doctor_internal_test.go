package console

import (
	"context"
	"testing"
)

// Who asks while an examination runs waits for that one, which does not end with who has asked
// first.
func TestCheckupRunsOne(t *testing.T) {
	t.Parallel()
	var h checkup
	end := make(chan struct{})
	asked, leave := context.WithCancel(t.Context())
	first := h.start(asked, func(ctx context.Context) ([]Finding, error) {
		<-end
		return []Finding{{Severity: "note"}}, ctx.Err()
	})
	leave()
	second := h.start(t.Context(), func(context.Context) ([]Finding, error) {
		t.Error("another one runs at the same time")
		return nil, nil
	})
	if first != second {
		t.Error("the second does not wait for the first")
	}
	close(end)
	<-first
	<-second
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil || len(h.findings) != 1 || h.running != nil {
		t.Errorf("findings %v, error %v, running %t", h.findings, h.err, h.running != nil)
	}
}
