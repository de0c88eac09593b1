package console

import (
	"strings"
	"testing"

	"github.com/evento-go/evento"
)

// A message to a page is a line, and what was several lines is shown as such.
func TestFragmentIsOneLine(t *testing.T) {
	t.Parallel()
	pages, err := parseTemplates(func(uint64, evento.ID) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	b := &overviewBody{Bad: 1, Problems: []problem{{status: status{Status: evento.Status{Key: "m"}}, Reason: "not today\nmain.go:1\r\nmain.go:2"}}}
	part, err := pages.fragment("problems", b.Figures())
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(part, "\r\n") || !strings.Contains(part, "main.go:1") || strings.Contains(part, "main.go:1main.go:2") || !strings.Contains(part, "1 problem") {
		t.Errorf("the fragment is %q", part)
	}
}
