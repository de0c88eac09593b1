package docs_test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// The map in CONTRIBUTING.md has each package of the repository, and nothing that is not
// there.
func TestMapHasEachPackage(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(read(t, "../CONTRIBUTING.md"), "\n## The map\n")
	section, _, _ = strings.Cut(section, "\n## ")
	mapped := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]*)` \\|").FindAllStringSubmatch(section, -1) {
		dir := path.Clean(m[1])
		if mapped[dir] {
			t.Errorf("the map has %s twice", dir)
		}
		mapped[dir] = true
	}
	for dir := range packages(t) {
		if !mapped[dir] {
			t.Errorf("the map has no line for the package in %s", dir)
		}
	}
	for dir := range mapped {
		if entries, err := os.ReadDir(path.Join("..", dir)); err != nil || len(entries) == 0 {
			t.Errorf("the map has %s, where nothing is: %v", dir, err)
		}
	}
}

// packages returns the directories of the repository with Go code or a module, without those of test data.
func packages(t *testing.T) map[string]bool {
	t.Helper()
	dirs := map[string]bool{}
	err := fs.WalkDir(os.DirFS(".."), ".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || file != "." && strings.HasPrefix(entry.Name(), ".")):
			return fs.SkipDir
		case strings.HasSuffix(file, ".go") || path.Base(file) == "go.mod":
			dirs[path.Dir(file)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) < 50 {
		t.Fatalf("there are %d packages, want at least 50", len(dirs))
	}
	return dirs
}

// What CONTRIBUTING.md names is there: paths, the targets of make, variables and tests.
func TestContributingNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	page := read(t, "../CONTRIBUTING.md")
	for _, m := range regexp.MustCompile("`([.a-z][.a-z0-9_-]*(?:/[.a-z0-9_-]*)+)[` ]").FindAllStringSubmatch(page, -1) {
		if _, err := os.Stat(path.Join("..", m[1])); err != nil && m[1] != "testdata/fuzz" {
			t.Errorf("CONTRIBUTING.md names %s: %v", m[1], err)
		}
	}
	makefile := read(t, "../Makefile")
	for _, m := range regexp.MustCompile("(?m)(?:`|^)make ([a-z]+)").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(makefile, "\n"+m[1]+": ") {
			t.Errorf("CONTRIBUTING.md names make %s, which is no target", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`go test.* \./(\S+) -run '\^(Test\w+)\$(?:/\^(\w+)\$)?'`).FindAllStringSubmatch(page, -1) {
		code := packageCode(t, m[1])
		if !strings.Contains(code, "\nfunc "+m[2]+"(") {
			t.Errorf("CONTRIBUTING.md runs %s of %s, which is not there", m[2], m[1])
		}
		if m[3] != "" && !strings.Contains(packageCode(t, "executor/executortest"), `{"`+m[3]+`", `) {
			t.Errorf("CONTRIBUTING.md runs the topic %s, which is not there", m[3])
		}
	}
	for _, variable := range []string{"EVENTO_SEED", "EVENTO_STEPS"} {
		if !strings.Contains(packageCode(t, "executor/executortest"), `"`+variable+`"`) {
			t.Errorf("CONTRIBUTING.md names %s, which the suite does not read", variable)
		}
	}
}
