package gen

import (
	"os"
	"strings"
	"testing"
)

// What the guide shows of tags is in the package tags, to the letter but for tabs.
func TestGuideToTags(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/generator.md")
	must(t, err)
	_, section, _ := strings.Cut(string(guide), "### Tags\n")
	section, _, _ = strings.Cut(section, "\n###")
	blocks := strings.Split(section, "```go\n")[1:]
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of Go, want 2", len(blocks))
	}
	for i, name := range []string{"tags/events.go", "tags/tags_evento.go"} {
		code, err := os.ReadFile(name)
		must(t, err)
		block, _, _ := strings.Cut(blocks[i], "```")
		if !strings.Contains(flat(string(code)), flat(block)) {
			t.Errorf("%s does not have\n%s", name, block)
		}
	}
}

// What the guide shows of the lock is what these events make of it.
func TestGuideToTheLock(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/generator.md")
	must(t, err)
	_, section, _ := strings.Cut(string(guide), "## The lock\n")
	blocks := strings.Split(section, "```")
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n"})
	for _, code := range []string{blocks[1], blocks[3]} {
		writeFiles(t, dir, map[string]string{"p.go": "package bank\n\n" + strings.TrimPrefix(code, "go\n")})
		_, err := Run(t.Context(), Options{Dir: dir})
		must(t, err)
	}
	if lock := readFiles(t, dir)[LockName]; lock != lockHeader+blocks[5] {
		t.Errorf("the lock is\n%s\nwant\n%s", lock, blocks[5])
	}
}

// flat is code without what lines begin with.
func flat(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		b.WriteString(strings.TrimLeft(line, "\t"))
	}
	return b.String()
}
