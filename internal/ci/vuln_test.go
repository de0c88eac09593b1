package ci

import (
	"archive/zip"
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

const (
	// What govulncheck says of each kind of finding.
	ofStandard = `=== Symbol Results ===

Vulnerability #1: GO-2026-6608
    Memory limit bypass when parsing MIME headers in net/textproto,
    mime/multipart
  More info: https://pkg.go.dev/vuln/GO-2026-6608
  Standard library
    Found in: net/textproto@go1.26.8
    Fixed in: net/textproto@go1.26.9
    Example traces found:
      #1: a.go:1:1: a.A calls textproto.Reader.ReadMIMEHeader

Your code is affected by 1 vulnerability from the Go standard library.
`
	ofModule = `=== Symbol Results ===

Vulnerability #1: GO-2022-1059
    Denial of service via crafted Accept-Language header in
    golang.org/x/text/language
  More info: https://pkg.go.dev/vuln/GO-2022-1059
  Module: golang.org/x/text
    Found in: golang.org/x/text@v0.3.7
    Fixed in: golang.org/x/text@v0.3.8
    Example traces found:
      #1: a.go:5:43: a.A calls language.ParseAcceptLanguage

Your code is affected by 1 vulnerability from 1 module.
`
	unreachable = `govulncheck: fetching vulnerabilities: Get "https://vuln.go.dev/index/modules.json.gz": no such host
`
)

// vulnTree is a repository of two modules with a govulncheck that says what is in the
// file "says" of the folder, with the status in its file "status", and nothing elsewhere.
func vulnTree(t *testing.T, files map[string]string) *tree {
	t.Helper()
	all := map[string]string{
		"go.mod": "module example.com/a\n\ngo 1.26.0\n", "a.go": "package a\n", "internal/replace/r.go": "package replace\n",
		"own/go.mod": "module example.com/a/own\n\ngo 1.26.0\n", "own/own.go": "package own\n",
	}
	for name, text := range files {
		all[name] = text
	}
	tr := newTree(t, all, "vuln")
	tr.program(t, "GOVULNCHECK", `case "$*" in "-db file://"*internal/replace) exit 0;; *internal/replace) cat reach 2>/dev/null && exit 1; exit 0;; esac
echo "$PWD $*" >>"$RAN"
cat says 2>/dev/null
exit "$(cat status 2>/dev/null || echo 0)"
`)
	tr.env = append(tr.env, "RAN="+t.TempDir()+"/ran", "GOPROXY=off", "GOFLAGS=-mod=mod -modcacherw", "GOMODCACHE="+t.TempDir())
	return tr
}

// ran returns what govulncheck was run with.
func (tr *tree) ran(t *testing.T) string {
	t.Helper()
	for _, variable := range tr.env {
		if path, ok := strings.CutPrefix(variable, "RAN="); ok {
			return strings.ReplaceAll(read(t, path), tr.dir, "")
		}
	}
	return ""
}

// A finding of a module is a failure wherever it is; one of the standard library is shown,
// and is a failure of strict runs alone.
func TestVuln(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files          map[string]string
		status, strict int
		wants          []string
	}{
		"nothing":            {nil, 0, 0, []string{".: nothing\n", "own: nothing\n"}},
		"a module":           {map[string]string{"says": ofModule, "status": "3"}, 1, 1, []string{".: Vulnerability #1: GO-2022-1059", "golang.org/x/text@v0.3.8", "a.A calls language.ParseAcceptLanguage", "own: nothing\n"}},
		"in another go.mod":  {map[string]string{"own/says": ofModule, "own/status": "3"}, 1, 1, []string{"own: Vulnerability #1: GO-2022-1059", ".: nothing\n"}},
		"Go itself":          {map[string]string{"says": ofStandard, "status": "3"}, 0, 1, []string{"GO-2026-6608 Memory limit bypass when parsing MIME headers in net/textproto, mime/multipart (net/textproto@go1.26.8, repaired in go1.26.9)"}},
		"both":               {map[string]string{"says": ofStandard + strings.ReplaceAll(ofModule, "#1:", "#2:"), "status": "3"}, 1, 1, []string{"GO-2022-1059", "GO-2026-6608 Memory"}},
		"another report":     {map[string]string{"says": "found something\n", "status": "3"}, 1, 1, []string{"found something"}},
		"another kind":       {map[string]string{"says": strings.ReplaceAll(ofModule, "  Module: ", "  Elsewhere: "), "status": "3"}, 1, 1, []string{"GO-2022-1059"}},
		"it cannot be built": {map[string]string{"says": "a.go:1: undefined\n", "status": "1"}, 1, 1, []string{"govulncheck failed", "a.go:1: undefined"}},
		"gone in the middle": {map[string]string{"says": unreachable, "status": "1"}, 1, 1, []string{"govulncheck failed", "no such host"}},
		"a broken go.mod":    {map[string]string{"own/go.mod": "nonsense\n"}, 1, 1, []string{"own: its packages cannot be listed:\n", "unknown directive: nonsense", ".: nothing\n"}},
		"not reached":        {map[string]string{"reach": unreachable}, 0, 1, []string{"no such host", "govulncheck: the database cannot be reached: not checked"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := vulnTree(t, test.files)
			out, status := tr.run(t, ".ci/vuln")
			if status != test.status {
				t.Errorf("status %d, want %d:\n%s", status, test.status, out)
			}
			says(t, out, test.wants...)
			if out, status := tr.run(t, ".ci/vuln", "--strict"); status != test.strict {
				t.Errorf("strict: status %d, want %d:\n%s", status, test.strict, out)
			}
		})
	}
}

// All modules are asked about with their tests, and so are the tools that they name.
func TestVulnOfAllModules(t *testing.T) {
	t.Parallel()
	tr := vulnTree(t, map[string]string{"tools/go.mod": "module example.com/a/tools\n\ngo 1.26.0\n\ntool example.com/a/tools/program\n", "tools/program/main.go": "package main\n\nfunc main() {}\n"})
	if out, status := tr.run(t, ".ci/vuln"); status != 0 {
		t.Fatalf("status %d:\n%s", status, out)
	}
	if got, want := tr.ran(t), " -test ./...\n/own -test ./...\n/tools -test ./...\n/tools example.com/a/tools/program\n"; got != want {
		t.Errorf("govulncheck was run for\n%swant\n%s", got, want)
	}
}

// A database that is named is the one that is asked, or none.
func TestVulnOfANamedDatabase(t *testing.T) {
	t.Parallel()
	tr := vulnTree(t, nil)
	tr.env = append(tr.env, "GOVULNDB=https://vuln.example.com")
	out, status := tr.run(t, ".ci/vuln")
	if status != 0 {
		t.Fatalf("status %d:\n%s", status, out)
	}
	says(t, out, "the database is https://vuln.example.com")
	if got, want := tr.ran(t), " -db https://vuln.example.com -test ./...\n/own -db https://vuln.example.com -test ./...\n"; got != want {
		t.Errorf("govulncheck was run for\n%swant\n%s", got, want)
	}
}

// Where the database cannot be reached, the newest module with the reports is asked. A database
// that somebody has named is not replaced by it.
func TestVulnOfAModule(t *testing.T) {
	t.Parallel()
	tr := vulnTree(t, map[string]string{"reach": unreachable})
	proxy := t.TempDir()
	served := &tree{dir: proxy}
	const mod = "module golang.org/x/vulndb\n"
	served.write(t, "golang.org/x/vulndb/@v/list", "v0.1.0\n")
	served.write(t, "golang.org/x/vulndb/@v/v0.1.0.info", `{"Version":"v0.1.0","Time":"2026-11-01T00:00:00Z"}`)
	served.write(t, "golang.org/x/vulndb/@v/v0.1.0.mod", mod)
	served.write(t, "golang.org/x/vulndb/@v/v0.1.0.zip", zipOf(t, map[string]string{
		"golang.org/x/vulndb@v0.1.0/go.mod": mod, "golang.org/x/vulndb@v0.1.0/data/osv/GO-2022-1059.json": "{}",
	}))
	tr.env = append(tr.env, "GOPROXY=file://"+proxy, "GOSUMDB=off")
	out, status := tr.run(t, ".ci/vuln", "--strict")
	if status != 0 {
		t.Fatalf("status %d:\n%s", status, out)
	}
	says(t, out, "no such host", "the database is vulndb@v0.1.0", ".: nothing", "own: nothing")
	dirs := regexp.MustCompile(`(?m)^\S* -db file://(\S*) -test \./\.\.\.$`).FindAllStringSubmatch(tr.ran(t), -1)
	if len(dirs) != 2 {
		t.Fatalf("govulncheck was run for\n%s", tr.ran(t))
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir[1] + "/GO-2022-1059.json"); err != nil {
			t.Errorf("the database has no reports: %v", err)
		}
	}

	tr.env = append(tr.env, "GOVULNDB=https://vuln.example.com")
	out, status = tr.run(t, ".ci/vuln", "--strict")
	if status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	says(t, out, "the database cannot be reached: not checked")
}

func zipOf(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range files {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
