package ci

import (
	"strings"
	"testing"
)

// long is more than a pipe holds.
var long = strings.Repeat("- Something else.\n", 10_000)

var goodChangelog = `# Changelog

## Unreleased

## v0.2.0 - 2026-11-27

### Added
- Something.
` + long + `

## v0.1.0 - 2026-10-01

### Added
- Everything.
`

// releaseTree is a repository of which v0.2.0 can be released: it has this repository's go.mod,
// and its make notes each target in a file and succeeds.
func releaseTree(t *testing.T) *tree {
	t.Helper()
	tr := newTree(t, map[string]string{
		"go.mod": read(t, "../../go.mod"), "CHANGELOG.md": goodChangelog, ".gitignore": "/targets\n/fail\n",
	}, "release")
	tr.git(t, "tag", "v0.1.0")
	tr.program(t, "MAKE", `shift # --no-print-directory
echo "$*${CI:+ with CI}" >>targets
[ "$1" != api ] || echo "no changes"
if [ "$(cat fail 2>/dev/null)" = "$1" ]; then echo "what $1 says"; exit 2; fi
if [ "$1" = generate ] && [ -f stale ]; then echo more >>stale; fi
`)
	return tr
}

// The checklist is met, and says so for each point. It makes a tag only when it is told to.
func TestReleaseOfAGoodTree(t *testing.T) {
	t.Parallel()
	tr := releaseTree(t)
	out, status := tr.run(t, ".ci/release", "v0.2.0")
	if status != 0 {
		t.Fatalf("status %d:\n%s", status, out)
	}
	says(t, out, "ok    version: v0.2.0, after v0.1.0", "ok    branch", "ok    tree", "ok    changelog: v0.2.0, 2026-11-27", "ok    go.mod",
		"ok    tidy", "ok    generated", "ok    lint", "ok    documents", "ok    vulnerabilities", "ok    tests", "no changes", "All is met")
	const targets = "tidy generate lint docs vuln VULNFLAGS=--strict test with CI api"
	if ran := strings.Join(strings.Fields(read(t, tr.dir+"/targets")), " "); ran != targets {
		t.Errorf("make was run for %q, want %q", ran, targets)
	}
	if tags := tr.git(t, "tag"); tags != "v0.1.0" {
		t.Errorf("the tags are %q, want v0.1.0 alone", tags)
	}

	if out, status := tr.run(t, ".ci/release", "--tag", "v0.2.0"); status != 0 {
		t.Fatalf("status %d:\n%s", status, out)
	}
	if got, want := tr.git(t, "rev-parse", "v0.2.0^{commit}"), tr.git(t, "rev-parse", "main"); got != want {
		t.Errorf("the tag is of %s, want %s", got, want)
	}
	if kind := tr.git(t, "cat-file", "-t", "v0.2.0"); kind != "tag" {
		t.Errorf("the tag is a %s, want one with a message", kind)
	}
}

// Tests that are left out are spoken of, and no tag is made without them.
func TestReleaseWithoutTests(t *testing.T) {
	t.Parallel()
	tr := releaseTree(t)
	out, status := tr.run(t, ".ci/release", "--skip-tests", "v0.2.0")
	if status != 0 {
		t.Fatalf("status %d:\n%s", status, out)
	}
	says(t, out, "SKIP  tests", "once more")
	if out, status := tr.run(t, ".ci/release", "--skip-tests", "--tag", "v0.2.0"); status == 0 || tr.git(t, "tag") != "v0.1.0" {
		t.Errorf("status %d, tags %q:\n%s", status, tr.git(t, "tag"), out)
	}
	if ran := read(t, tr.dir+"/targets"); strings.Contains(ran, "test") {
		t.Errorf("make was run for\n%s", ran)
	}
}

// Each fault alone is found, is the only one, and no tag is made.
func TestReleaseOfBadTrees(t *testing.T) {
	t.Parallel()
	changelog := func(from, to string) func(*testing.T, *tree) {
		return func(t *testing.T, tr *tree) {
			text := strings.Replace(goodChangelog, from, to, 1)
			if text == goodChangelog {
				t.Fatalf("the changelog has no %q", from)
			}
			tr.write(t, "CHANGELOG.md", text)
			tr.commit(t)
		}
	}
	gomod := func(line string) func(*testing.T, *tree) {
		return func(t *testing.T, tr *tree) {
			tr.write(t, "go.mod", read(t, "../../go.mod")+"\n"+line+"\n")
			tr.commit(t)
		}
	}
	tag := func(name string) func(*testing.T, *tree) {
		return func(t *testing.T, tr *tree) {
			tr.commit(t)
			tr.git(t, "tag", name)
		}
	}
	failing := func(target string) func(*testing.T, *tree) {
		return func(t *testing.T, tr *tree) { tr.write(t, "fail", target) }
	}
	for name, test := range map[string]struct {
		spoil func(*testing.T, *tree)
		want  string
	}{
		"no version":         {changelog("v0.2.0", "v0.2.1"), `MISS  changelog: it has no section "## v0.2.0 - `},
		"an alike version":   {changelog("v0.2.0", "v0x2.0"), "MISS  changelog: it has no section"},
		"no date":            {changelog("v0.2.0 - 2026-11-27", "v0.2.0 - soon"), `MISS  changelog: the date of v0.2.0 is "soon"`},
		"no such date":       {changelog("2026-11-27", "2026-11-31"), `MISS  changelog: the date of v0.2.0 is "2026-11-31"`},
		"an empty section":   {changelog("- Something.\n"+long, ""), "MISS  changelog: the section of v0.2.0 is empty"},
		"lines unreleased":   {changelog("## Unreleased\n", "## Unreleased\n\n### Fixed\n- More.\n"+long), "MISS  changelog: there are lines under Unreleased"},
		"a replace":          {gomod("replace golang.org/x/mod => ../mod"), "MISS  go.mod: it has replace"},
		"a broken go.mod":    {gomod("nonsense"), "MISS  go.mod: it cannot be read"},
		"a tool":             {gomod("tool golang.org/x/tools/cmd/stringer"), "MISS  go.mod: it has tool"},
		"the tag":            {tag("v0.2.0"), "MISS  version: the tag v0.2.0 is there already"},
		"a later tag":        {tag("v0.10.0"), "MISS  version: v0.2.0 is not after v0.10.0"},
		"a file":             {func(t *testing.T, tr *tree) { tr.write(t, "more.go", "package more\n") }, "MISS  tree"},
		"a change":           {func(t *testing.T, tr *tree) { tr.write(t, ".gitignore", "/targets\n/fail\n#\n") }, "MISS  tree"},
		"another branch":     {func(t *testing.T, tr *tree) { tr.git(t, "checkout", "--quiet", "-b", "other") }, "MISS  branch: other"},
		"no branch":          {func(t *testing.T, tr *tree) { tr.git(t, "checkout", "--quiet", "--detach") }, "MISS  branch: no branch"},
		"untidy":             {failing("tidy"), "MISS  tidy: make tidy fails:\n      what tidy says"},
		"lint":               {failing("lint"), "MISS  lint"},
		"documents":          {failing("docs"), "MISS  documents"},
		"vulnerabilities":    {failing("vuln"), "MISS  vulnerabilities"},
		"tests":              {failing("test"), "MISS  tests"},
		"an API not known":   {failing("api"), "MISS  API"},
		"the generator":      {failing("generate"), "MISS  generated: make generate fails"},
		"old generated code": {func(t *testing.T, tr *tree) { tr.write(t, "stale", ""); tr.commit(t) }, "MISS  generated: make generate changes files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := releaseTree(t)
			test.spoil(t, tr)
			before := tr.git(t, "tag")
			out, status := tr.run(t, ".ci/release", "--tag", "v0.2.0")
			if status != 1 {
				t.Errorf("status %d, want 1", status)
			}
			says(t, out, test.want, "1 missed: v0.2.0 is not ready")
			if after := tr.git(t, "tag"); after != before {
				t.Errorf("the tags were %q and are %q", before, after)
			}
		})
	}
}

// A version is one that Go takes for this module.
func TestReleaseOfBadVersions(t *testing.T) {
	t.Parallel()
	tr := releaseTree(t)
	for _, version := range []string{"0.2.0", "v2.0.0", "v0.2", "v0.02.0", "v0.2.0 ", "main"} {
		out, status := tr.run(t, ".ci/release", version)
		if status != 1 {
			t.Errorf("%q: status %d, want 1", version, status)
		}
		says(t, out, "MISS  version")
		if strings.Contains(out, "make test") {
			t.Errorf("%q: the tests ran for nothing:\n%s", version, out)
		}
	}
	for _, args := range [][]string{nil, {"--tags", "v0.2.0"}, {"v0.2.0", "v0.3.0"}} {
		if out, status := tr.run(t, ".ci/release", args...); status != 2 {
			t.Errorf("%q: status %d, want 2:\n%s", args, status, out)
		}
	}
}

// A release comes after its candidates.
func TestReleaseOfCandidates(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		last, version string
		status        int
	}{
		{"v0.2.0-rc.1", "v0.2.0", 0},
		{"v0.2.0-rc.9", "v0.2.0-rc.10", 0},
		{"v0.2.0", "v0.2.0-rc.1", 1},
	} {
		tr := releaseTree(t)
		tr.write(t, "CHANGELOG.md", strings.Replace(goodChangelog, "v0.2.0", test.version, 1))
		tr.commit(t)
		tr.git(t, "tag", test.last)
		if out, status := tr.run(t, ".ci/release", test.version); status != test.status {
			t.Errorf("%s after %s: status %d, want %d:\n%s", test.version, test.last, status, test.status, out)
		}
	}
}
