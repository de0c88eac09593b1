// Command report writes docs/benchmarks.md and its pictures from the output of go test -bench,
// and the tables that other documents have of it: README.md and docs/deciding.md have them
// between the same markers as the page.
//
//	go run ./report -root .. latest.txt
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	root := flag.String("root", "..", "the project's folder")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *root); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(from, root string) error {
	files, err := report(from, root)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copies are the documents that have blocks of the page, and which.
func copies() map[string]string {
	return map[string]string{"README.md": "figures", "docs/deciding.md": "tags"}
}

// report returns the texts of the files that a run makes, by their names below the root.
func report(from, root string) (map[string]string, error) {
	file, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	r, err := readRecord(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	p := newPage(r)
	text := p.write()
	files := map[string]string{"docs/benchmarks.md": text}
	for name, picture := range p.pictures {
		files["docs/images/"+name] = picture
	}
	for name, block := range copies() {
		document, err := fs.ReadFile(os.DirFS(root), name)
		if err != nil {
			return nil, err
		}
		replaced, err := replaceBlock(string(document), text, block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files[name] = replaced
	}
	return files, nil
}

func marked(name string) (begin, end string) {
	return "<!-- " + name + ": written by make bench -->\n", "<!-- end of " + name + " -->\n"
}

// replaceBlock puts a block of the page, with its markers, in the place of the document's.
func replaceBlock(document, page, name string) (string, error) {
	begin, end := marked(name)
	_, block, found := strings.Cut(page, begin)
	block, _, ended := strings.Cut(block, end)
	before, rest, had := strings.Cut(document, begin)
	_, after, hadEnd := strings.Cut(rest, end)
	if !found || !ended || !had || !hadEnd {
		return "", fmt.Errorf("no block between %q and %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + begin + block + end + after, nil
}
