package ci

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evento-go/evento/internal/testserver"
)

// tree is a repository in a temporary folder, with scripts of this one.
type tree struct {
	dir string
	env []string
}

// newTree makes a repository with these scripts, go.mod and further files, and commits them to main.
func newTree(t *testing.T, files map[string]string, scripts ...string) *tree {
	t.Helper()
	for _, program := range []string{"bash", "git", "awk"} {
		if _, err := exec.LookPath(program); err != nil {
			testserver.LeaveOut(t, err.Error())
		}
	}
	dir := t.TempDir()
	tr := &tree{dir: dir, env: append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=test", "GIT_AUTHOR_EMAIL=test@localhost",
		"GIT_COMMITTER_NAME=test", "GIT_COMMITTER_EMAIL=test@localhost", "TMPDIR="+t.TempDir(), "MAKEFLAGS=", "CI=", "GOVULNDB=")}
	for _, script := range scripts {
		tr.write(t, ".ci/"+script, read(t, "../../.ci/"+script))
		if err := os.Chmod(filepath.Join(dir, ".ci", script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		tr.write(t, name, text)
	}
	tr.git(t, "init", "--quiet", "--initial-branch=main")
	tr.commit(t)
	return tr
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (tr *tree) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(tr.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// program writes a program that a script runs instead of a real one.
func (tr *tree) program(t *testing.T, variable, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), strings.ToLower(variable))
	if err := os.WriteFile(path, []byte("#!/usr/bin/env bash\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	tr.env = append(tr.env, variable+"="+path)
}

func (tr *tree) git(t *testing.T, args ...string) string {
	t.Helper()
	out, status := tr.run(t, "git", args...)
	if status != 0 {
		t.Fatalf("git %q: %s", args, out)
	}
	return strings.TrimSpace(out)
}

func (tr *tree) commit(t *testing.T) {
	t.Helper()
	tr.git(t, "add", "--all")
	tr.git(t, "commit", "--quiet", "--allow-empty", "--message=state")
}

// run runs a program in the tree, and returns what it printed and its status.
func (tr *tree) run(t *testing.T, name string, args ...string) (out string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = tr.dir, tr.env
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// says wants each of the texts in what a script has printed.
func says(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}
