package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var lastRun = regexp.MustCompile(`(?s)\n## Last run\n<!-- torture -->\n.+\n<!-- /torture -->\n`)

// Each test that promises.md names is in the package that it says, and each storage
// has one among those that say what survives.
func TestPromisesNameTests(t *testing.T) {
	t.Parallel()
	page := lastRun.ReplaceAllString(read(t, "promises.md"), "") // which a script writes
	named := regexp.MustCompile("`([a-z][a-z/0-9]*)\\.(Test[A-Za-z0-9]*)((?:/[A-Za-z0-9]+)*)`").FindAllStringSubmatch(page, -1)
	if len(named) < 60 {
		t.Fatalf("promises.md names %d tests, want at least 60", len(named))
	}
	// Whatever looks like a test is one of these, but for what the page explains them by.
	looks := len(regexp.MustCompile(`\bTest(/|[A-Z])`).FindAllString(page, -1)) - strings.Count(page, "`TestContract`") - strings.Count(page, "'^TestKill$'")
	suite := strings.Count(page, "`executor/executortest.Test`")
	if looks != len(named)-suite {
		t.Errorf("%d texts look like tests, and %d have a package", looks, len(named)-suite)
	}
	code := map[string]string{}
	for _, m := range named {
		dir, name, subtests := m[1], m[2], m[3]
		if _, ok := code[dir]; !ok {
			code[dir] = packageCode(t, dir)
		}
		if !strings.Contains(code[dir], "\nfunc "+name+"(") {
			t.Errorf("%s has no %s", dir, name)
		}
		for _, subtest := range strings.FieldsFunc(subtests, func(r rune) bool { return r == '/' }) {
			if !strings.Contains(code[dir], `"`+subtest+`"`) {
				t.Errorf("%s.%s has no subtest %s", dir, name, subtest)
			}
		}
	}
}

// packageCode returns the Go code of a package, tests included; that of the root is
// named as the package is.
func packageCode(t *testing.T, dir string) string {
	t.Helper()
	if dir == "evento" {
		dir = "."
	}
	files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Errorf("promises.md names the package %s, which has no files", dir)
	}
	var code strings.Builder
	for _, file := range files {
		code.WriteString(read(t, file))
	}
	return code.String()
}

// Every executor runs the contract, as promises.md says.
func TestExecutorsRunTheContract(t *testing.T) {
	t.Parallel()
	dirs, err := os.ReadDir("../executor")
	if err != nil {
		t.Fatal(err)
	}
	without := []string{"executortest"} // is the contract
	for _, dir := range dirs {
		if !dir.IsDir() || slices.Contains(without, dir.Name()) {
			continue
		}
		code := packageCode(t, "executor/"+dir.Name())
		if !strings.Contains(code, "\nfunc TestContract(") || !strings.Contains(code, "executortest.Test(t,") {
			t.Errorf("executor/%s does not run the contract", dir.Name())
		}
	}
}

// A script replaces what is between the markers.
func TestPromisesHaveAPlaceForFigures(t *testing.T) {
	t.Parallel()
	page := read(t, "promises.md")
	if !lastRun.MatchString(page) {
		t.Error("promises.md has no section Last run with its markers")
	}
	if n := strings.Count(page, "<!-- torture -->") + strings.Count(page, "<!-- /torture -->"); n != 2 {
		t.Errorf("promises.md has %d markers, want 2", n)
	}
}

// The limits that the threat model names are those of the code.
func TestLimitsOfPromises(t *testing.T) {
	t.Parallel()
	for code, texts := range map[string][2]string{
		"../limits.go": {"MaxName = 255", "at most 255 bytes of valid UTF-8"},
		"../tags.go":   {"MaxTags = 16", "an event has at most 16 tags"},
		"../codec.go":  {"MaxDepth = 64", "nested deeper than 64"},
	} {
		if !strings.Contains(read(t, code), texts[0]) {
			t.Errorf("%s does not say %s any more", code, texts[0])
		}
		says(t, "promises.md", texts[1])
	}
	if !strings.Contains(read(t, "../codec.go"), "maxElements = 4 << 20") {
		t.Error("codec.go does not say maxElements = 4 << 20 any more")
	}
	says(t, "promises.md", "more than 4 Mi elements")
}

// says checks that a page has texts.
func says(t *testing.T, page string, wants ...string) {
	t.Helper()
	text := strings.Join(strings.Fields(read(t, page)), " ")
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say\n%s", page, want)
		}
	}
}
