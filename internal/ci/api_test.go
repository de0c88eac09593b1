package ci

import (
	"strings"
	"testing"
)

// apiTree is a repository with a release v0.1.0 and a commit after it. Its apidiff writes
// the code of a module into the file, and says which lines differ.
func apiTree(t *testing.T) *tree {
	t.Helper()
	tr := newTree(t, map[string]string{"go.mod": "module example.com/a\n\ngo 1.26.0\n", "a.go": "package a\n", "examples/b/b.go": "package b\n"}, "api")
	tr.git(t, "tag", "v0.1.0")
	tr.program(t, "APIDIFF", `shift # -m
if [ "$1" = -w ]; then cat *.go */*/*.go >"$2"; exit; fi
echo "Ignoring internal package example.com/a/internal/c" >&2
echo "Compatible changes:"
diff "$1" "$2" | sed -n 's/^> func /- /p'
exit 0
`)
	return tr
}

// What has changed since the last tag, or since a revision, in the working tree too.
func TestAPI(t *testing.T) {
	t.Parallel()
	tr := apiTree(t)
	out, status := tr.run(t, ".ci/api")
	if status != 0 || !strings.Contains(out, "since v0.1.0 (") || !strings.HasSuffix(out, "\nno changes\n") {
		t.Errorf("status %d:\n%s", status, out)
	}
	tr.write(t, "a.go", "package a\nfunc First: added\n")
	tr.commit(t)
	tr.write(t, "a.go", "package a\nfunc First: added\nfunc Second: added\n")
	tr.write(t, "examples/b/b.go", "package b\nfunc ./examples/b.Third: added\nfunc package example.com/a/cmd/d: added\n")
	out, status = tr.run(t, ".ci/api")
	if want := "Compatible changes:\n- First: added\n- Second: added\n"; status != 0 || !strings.HasSuffix(out, want) {
		t.Errorf("status %d, want %q at the end of\n%s", status, want, out)
	}
	out, status = tr.run(t, ".ci/api", "main")
	if want := "since main (" + tr.git(t, "rev-parse", "--short", "main") + "):\nCompatible changes:\n- Second: added\n"; status != 0 || !strings.HasSuffix(out, want) {
		t.Errorf("status %d, want %q at the end of\n%s", status, want, out)
	}
	if changed := tr.git(t, "status", "--porcelain"); changed != "M a.go\n M examples/b/b.go" {
		t.Errorf("it has changed the tree: %s", changed)
	}
}

// Without a release there is nothing to compare with; a revision that is not there is a mistake.
func TestAPIOfNothing(t *testing.T) {
	t.Parallel()
	tr := apiTree(t)
	tr.git(t, "tag", "--delete", "v0.1.0")
	out, status := tr.run(t, ".ci/api")
	if status != 0 {
		t.Errorf("status %d", status)
	}
	says(t, out, "there is no release yet to compare with")
	out, status = tr.run(t, ".ci/api", "v0.1.0")
	if status != 2 {
		t.Errorf("status %d, want 2", status)
	}
	says(t, out, "there is no revision v0.1.0")
}
