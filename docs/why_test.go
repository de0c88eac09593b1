package docs_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Comments in the code say where a choice is explained: each heading that they name
// is there.
func TestHeadingsOfDecisions(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("decisions.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		headings[m[1]] = true
	}
	link := regexp.MustCompile(`docs/decisions\.md, ((?:(?: and )?"[^"]*")+)`)
	quoted := regexp.MustCompile(`"([^"]*)"`)
	wrapped := regexp.MustCompile(`\s*\n\s*//\s*`)
	links := 0
	err = fs.WalkDir(os.DirFS(".."), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		code, err := os.ReadFile("../" + path)
		if err != nil {
			return err
		}
		comments := wrapped.ReplaceAllString(string(code), " ")
		for _, m := range link.FindAllStringSubmatch(comments, -1) {
			for _, q := range quoted.FindAllStringSubmatch(m[1], -1) {
				links++
				if !headings[q[1]] {
					t.Errorf("%s names %q, which decisions.md does not have", path, q[1])
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links < 40 {
		t.Errorf("%d links to decisions were found, want at least 40", links)
	}
}
