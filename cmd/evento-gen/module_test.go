package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const (
	modulePath = "github.com/evento-go/evento"
	version    = "v0.0.1"
)

// released is the environment of a user for whom this working tree is the latest version.
// Other modules come from the cache of this machine, or from where it gets them.
func released(t *testing.T) []string {
	t.Helper()
	root, err := filepath.Abs("../..")
	must(t, err)
	dir := t.TempDir()
	at := filepath.Join(dir, modulePath, "@v")
	must(t, os.MkdirAll(at, 0o755))
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	must(t, err)
	for name, text := range map[string]string{
		"list": version + "\n", version + ".mod": string(mod),
		version + ".info": `{"Version":"` + version + `","Time":"2026-01-01T00:00:00Z"}`,
	} {
		must(t, os.WriteFile(filepath.Join(at, name), []byte(text), 0o644))
	}
	f, err := os.Create(filepath.Join(at, version+".zip"))
	must(t, err)
	must(t, zip.CreateFromDir(f, module.Version{Path: modulePath, Version: version}, tracked(t, root)))
	must(t, f.Close())
	cache := strings.TrimSpace(output(t, root, nil, "go", "env", "GOMODCACHE"))
	usual := strings.TrimSpace(output(t, root, nil, "go", "env", "GOPROXY"))
	return append(os.Environ(), "GOPROXY=file://"+dir+",file://"+cache+"/cache/download,"+usual, "GOSUMDB=off", "GOWORK=off")
}

// tracked copies what a release would have.
func tracked(t *testing.T, root string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name := range strings.SplitSeq(output(t, root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		data, err := os.ReadFile(filepath.Join(root, name))
		if name == "" || os.IsNotExist(err) {
			continue
		}
		must(t, err)
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// output runs a command and returns what it prints; env nil is the test's.
func output(t *testing.T, dir string, env []string, command ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), command[0], command[1:]...)
	c.Dir, c.Env = dir, env
	var problems strings.Builder
	c.Stderr = &problems
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(command, " "), err, out, problems.String())
	}
	return string(out)
}

// TestFirstMinute does in an empty folder what the README says, with the generator alone:
// go.mod gains evento and what the generator needs.
func TestFirstMinute(t *testing.T) {
	t.Parallel()
	env, dir := append(released(t), "GOMODCACHE="+t.TempDir(), "GOFLAGS=-modcacherw"), t.TempDir()
	steps := readme(t)
	sh(t, dir, env, "go mod init example.com/bank")
	for _, s := range steps[slices.IndexFunc(steps, func(s step) bool { return s.file == "account/account.go" }):] {
		s.do(t, dir, env)
	}
	data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	must(t, err)
	mod, err := modfile.Parse("go.mod", data, nil)
	must(t, err)
	var required []string
	for _, r := range mod.Require {
		required = append(required, r.Mod.Path)
	}
	slices.Sort(required)
	want := []string{
		"github.com/evento-go/evento", "github.com/fxamacker/cbor/v2", "github.com/google/go-cmp", "github.com/oklog/ulid/v2", "github.com/x448/float16",
		"golang.org/x/mod", "golang.org/x/sync", "golang.org/x/tools",
	}
	if !slices.Equal(required, want) {
		t.Errorf("go.mod requires %q, want %q", required, want)
	}
	if len(mod.Tool) != 1 || mod.Tool[0].Path != modulePath+"/cmd/evento-gen" {
		t.Errorf("go mod tidy has left the tools %+v", mod.Tool)
	}
	sh(t, dir, env, "go tool evento-gen -check ./...", "go generate ./...", "go vet ./...")
}

// TestREADME does all that the README says, in one folder: its lines work as pasted. evento
// is used where it is, with the packages of this machine's cache: SQLite's engine takes a
// minute to compile.
func TestREADME(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	must(t, err)
	dir := t.TempDir()
	env := append(released(t), "GOFLAGS=")
	for _, s := range readme(t) {
		if init, rest, ok := strings.Cut(s.text, "\n"); ok && strings.HasPrefix(init, "go mod init") {
			s.text = init + "\ngo mod edit -replace " + modulePath + "=" + root + "\n" + rest
		}
		out := s.do(t, dir, env)
		if strings.Contains(s.text, "go run .") && !strings.Contains(out, "Ada has 7500 cents at version 3\nWelcome, Ada\n") {
			t.Errorf("the quickstart printed %q", out)
		}
	}
	for _, name := range []string{"quickstart.db", "account/account_evento.go", "account/evento.lock"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// step is a code block of the README: a file, or commands.
type step struct{ file, text string }

func (s step) do(t *testing.T, dir string, env []string) string {
	t.Helper()
	if s.file == "" {
		return sh(t, dir, env, s.text)
	}
	path := filepath.Join(dir, s.file)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(s.text), 0o644))
	return ""
}

// sh runs commands in a shell that ends with the first that fails.
func sh(t *testing.T, dir string, env []string, lines ...string) string {
	t.Helper()
	return output(t, dir, env, "sh", "-ec", strings.Join(lines, "\n"))
}

// readme returns the steps of the README's first sections, in order. A block of Go is the
// file that is named above it, or main.go.
func readme(t *testing.T) (steps []step) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	must(t, err)
	_, begun, _ := strings.Cut(string(text), "\n## Quickstart\n")
	section, _, found := strings.Cut(begun, "\nAnd a command looks after stores")
	if !found {
		t.Fatal("the README has no quickstart, or does not go on as it did")
	}
	file := "main.go"
	for _, m := range regexp.MustCompile("(?s)In\\s+`([a-z_/]+\\.go)`|```(go|sh)\n(.*?)```").FindAllStringSubmatch(section, -1) {
		switch {
		case m[1] != "":
			file = m[1]
		case m[2] == "go":
			steps = append(steps, step{file, m[3]})
		default:
			steps = append(steps, step{"", m[3]})
		}
	}
	if len(steps) != 6 {
		t.Fatalf("the README has %d blocks to paste, want 6", len(steps))
	}
	return steps
}

func TestRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name        string
		ctx         context.Context
		args        []string
		code        int
		out, errOut string
	}{
		{"help", t.Context(), []string{"-h"}, exitOK, "//evento:aggregate bank/Account", ""},
		{"an unknown flag", t.Context(), []string{"-chekc"}, exitUsage, "", "-chekc"},
		{"no events", t.Context(), []string{"../../cborwire"}, exitFailed, "", "no package has //evento:aggregate"},
		{"up to date", t.Context(), []string{"-check", "../../examples/bank"}, exitOK, "", ""},
		{"interrupted", ctx, []string{"../../examples/bank"}, exitInterrupted, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, errOut strings.Builder
			code := run(tt.ctx, tt.args, &out, &errOut)
			if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(errOut.String(), tt.errOut) ||
				(tt.out == "") != (out.Len() == 0) || (tt.errOut == "") != (errOut.Len() == 0) {
				t.Errorf("evento-gen %q: code %d, %q, %q; want %d, %q, %q", tt.args, code, out.String(), errOut.String(), tt.code, tt.out, tt.errOut)
			}
		})
	}
}
