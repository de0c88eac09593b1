package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
)

var (
	fences   = regexp.MustCompile("(?ms)^ *(```+|~~~+).*?^ *(```+|~~~+) *$")
	spans    = regexp.MustCompile("`[^`\n]*`")
	links    = regexp.MustCompile(`\]\(<?([^()\s>]*)>?(?: +"[^"]*")?\)`)
	headings = regexp.MustCompile(`(?m)^#{1,6} +(.*?)(?: +#+)? *$`)
	labels   = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
)

// anchors returns the anchors of a page's headings as code hosts make them: in lower case,
// without punctuation, with dashes for spaces, and with a number when there is one already.
func anchors(page string) map[string]bool {
	known := map[string]bool{}
	for _, m := range headings.FindAllStringSubmatch(fences.ReplaceAllString(page, ""), -1) {
		text := labels.ReplaceAllString(m[1], "$1")
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
				return unicode.ToLower(r)
			}
			return -1
		}, text)
		unique := anchor
		for n := 1; known[unique]; n++ {
			unique = fmt.Sprintf("%s-%d", anchor, n)
		}
		known[unique] = true
	}
	return known
}

// broken returns what is wrong with the links of a page in tree, beyond which there is nothing.
func broken(tree fs.FS, page string) (faults []string, checked int) {
	b, err := fs.ReadFile(tree, page)
	if err != nil {
		return []string{err.Error()}, 0
	}
	text := spans.ReplaceAllString(fences.ReplaceAllString(string(b), ""), "")
	for _, m := range links.FindAllStringSubmatch(text, -1) {
		to := m[1]
		if strings.HasPrefix(to, "https://") {
			continue
		}
		checked++
		file, anchor, hasAnchor := strings.Cut(to, "#")
		target := page
		if file != "" {
			target = path.Join(path.Dir(page), file)
		}
		info, err := fs.Stat(tree, target)
		switch {
		case err != nil:
			faults = append(faults, fmt.Sprintf("%s links to %s: %v", page, to, err))
		case hasAnchor && (info.IsDir() || path.Ext(target) != ".md"):
			faults = append(faults, fmt.Sprintf("%s links to a heading of %s, which has none", page, target))
		case hasAnchor:
			linked, err := fs.ReadFile(tree, target)
			if err != nil || !anchors(string(linked))[anchor] {
				faults = append(faults, fmt.Sprintf("%s links to %s, and %s has no such heading", page, to, target))
			}
		}
	}
	return faults, checked
}

// Links in all documents lead to files and headings that are there.
func TestLinks(t *testing.T) {
	t.Parallel()
	tree, pages, checked := os.DirFS(".."), 0, 0
	err := fs.WalkDir(tree, ".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && file != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(file) != ".md":
			return nil
		}
		faults, n := broken(tree, file)
		for _, fault := range faults {
			t.Error(fault)
		}
		pages, checked = pages+1, checked+n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages < 20 || checked < 120 {
		t.Errorf("%d links of %d pages were checked, want at least 120 of 20", checked, pages)
	}
}

// The guides read as one book: each ends with a link to the one that comes after it in
// README.md, under the title of that one. The last is written by make bench.
func TestGuidesLeadToTheNext(t *testing.T) {
	t.Parallel()
	var guides []string
	for _, m := range regexp.MustCompile(`(?m)^\|.*\| \[(\w+\.md)\]\((\w+\.md)\) \|`).FindAllStringSubmatch(read(t, "README.md"), -1) {
		if m[1] != m[2] {
			t.Errorf("README.md names %s and links to %s", m[1], m[2])
		}
		guides = append(guides, m[2])
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); path.Ext(name) == ".md" && name != "README.md" && strings.Count(strings.Join(guides, " ")+" ", name+" ") != 1 {
			t.Errorf("README.md does not have %s once", name)
		}
	}
	for i, guide := range guides[:len(guides)-1] {
		title, _, _ := strings.Cut(strings.TrimPrefix(read(t, guides[i+1]), "# "), "\n")
		want := fmt.Sprintf("\n\nNext: [%s](%s)\n", title, guides[i+1])
		if !strings.HasSuffix(read(t, guide), want) {
			t.Errorf("%s does not end with %q", guide, strings.TrimSpace(want))
		}
	}
}

// What is broken is found, and what looks broken in code is not.
func TestBrokenLinks(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{
		"docs/a.md":   {Data: []byte("# A title\n\n## `Code`, and 2 [words](b.md)!\n\n## Twice\n\n```md\n## In code\n```\n\n## Twice\n")},
		"docs/b.md":   {},
		"docs/fig":    {Mode: fs.ModeDir},
		"docs/p.png":  {},
		"docs/c d.md": {},
	}
	for link, sound := range map[string]bool{
		"[a](a.md)": true, "[a](./a.md)": true, "[a](../docs/a.md)": true, "![p](p.png)": true, "[f](fig)": true, "[f](fig/)": true,
		"[a\nb](a.md#a-title)": true, "[`a`](a.md#code-and-2-words)": true, "[a](a.md#twice)": true, "[a](a.md#twice-1)": true, "[p](#page)": true,
		`[a](a.md "A")`: true, "[h](https://example.com/none)": true, "`[n](none.md)`": true, "```\n[n](none.md)\n```": true,
		"[n](none.md)": false, "[a](/docs/a.md)": false, "[a](../a.md)": false, "![p](none.png)": false, "[a](a.md#none)": false, "[a](a.md#A-title)": false,
		"[a](a.md#in-code)": false, "[a](a.md#twice-2)": false, "[p](#none)": false, "[p](p.png#page)": false, "[f](fig#page)": false, `[n](none.md "N")`: false,
		"[h](http://example.com)": false, "[`n`](none.md)": false, "`x` [n](none.md) `y`": false, "[out](../../../etc/passwd)": false,
	} {
		tree["docs/page.md"] = &fstest.MapFile{Data: []byte("# Page\n\n" + link + "\n")}
		if faults, _ := broken(tree, "docs/page.md"); (len(faults) == 0) != sound {
			t.Errorf("%s: %q", link, faults)
		}
	}
}
