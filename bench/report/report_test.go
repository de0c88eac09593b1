package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const output = `rounds: 3
with-evento-rs: 2.0
cpu: A processor
BenchmarkSQLiteAppend/writers=1-2   3   4000 evento/s   0.8000 ratio   5000 raw/s   0.9000 reach
BenchmarkSQLiteAppend/writers=64-2   3   70000 evento/s   14.00 ratio   5000 raw/s   4.000 reach
BenchmarkPeers/SQLite/append/writers=1/events=1-2   3   4000 evento:events/s   4400 evento-rs:events/s
BenchmarkSomethingNew/SQLite   3   12.5 widgets/s
PASS
`

func parsed(t *testing.T, text string) *record {
	t.Helper()
	r, err := readRecord(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecord(t *testing.T) {
	t.Parallel()
	r := parsed(t, output)
	if got, ok := r.figure("SQLiteAppend/writers=64", "ratio"); !ok || got != 14 {
		t.Errorf("the ratio of 64 writers is %v, %v, want 14", got, ok)
	}
	if r.about["cpu"] != "A processor" || r.about["with-evento-rs"] != "2.0" {
		t.Errorf("about the run: %v", r.about)
	}
	if _, err := readRecord(strings.NewReader(output + "--- FAIL: BenchmarkX\n")); err == nil {
		t.Error("a run that has failed is no error")
	}
}

func TestPageSaysWhatIsNotReached(t *testing.T) {
	t.Parallel()
	page := newPage(parsed(t, output)).write()
	for _, want := range []string{
		"1 of 2 goals are reached in this run. Not reached:\n\n- SQLite: append, 1 writer; the driver alone: 0.80 of 0.90",
		"| append, 64 writers; as many with the driver alone | 70,000/s | 5,000/s | 14.0 | 4.0 | yes |",
		"| append, 1 writer; the driver alone | 4,000/s | 5,000/s | 0.80 | 0.90 | **no** |",
		"| evento in Rust | **4,400** |", "- evento in Rust is better at 1 writer, with 4,400 to 4,000: ",
		"| SomethingNew/SQLite | 12.5 widgets/s |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say\n%s\nbut\n%s", want, page)
		}
	}
	if busy := "busy with other things"; strings.Contains(page, busy) {
		t.Errorf("a page of a quiet run says %q", busy)
	} else if page := newPage(parsed(t, "load: 4.1\ncores: 2\n"+output)).write(); !strings.Contains(page, busy) {
		t.Errorf("a page of a run with a load of 4 on 2 cores does not say %q", busy)
	}
	without := newPage(parsed(t, strings.ReplaceAll(output, "with-evento-rs: 2.0\n", ""))).write()
	if !strings.Contains(without, "The original in Rust is left out of this run") {
		t.Errorf("a page without the original does not say so:\n%s", without)
	}
}

// wellFormed returns the text of the elements of a picture by name.
func wellFormed(t *testing.T, picture string) map[string]string {
	t.Helper()
	texts, name := map[string]string{}, ""
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		token, err := d.Token()
		switch token := token.(type) {
		case xml.StartElement:
			name = token.Name.Local
		case xml.CharData:
			texts[name] += strings.TrimSpace(string(token)) + "\n"
		}
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, picture)
		}
	}
}

func TestPicturesSayTheirNumbers(t *testing.T) {
	t.Parallel()
	p := newPage(parsed(t, output))
	p.write()
	for name, want := range map[string]string{
		"bench-ratios-sqlite.svg": "append, 1 writer: 0.800, to reach 0.900",
		"bench-writers.svg":       "SQLite, raw driver: 5,000 at 1, 5,000 at 64",
		"bench-peers-sqlite.svg":  "1 writer: evento 4,000, evento in Rust 4,400",
	} {
		texts := wellFormed(t, p.pictures[name])
		if !strings.Contains(texts["desc"], want) || texts["title"] == "" {
			t.Errorf("%s has the title %q and the description %q, want %q in it", name, texts["title"], texts["desc"], want)
		}
		if !strings.Contains(texts["style"], "prefers-color-scheme: dark") {
			t.Errorf("%s has no dark colors", name)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 71020: "71,000", 1234567: "1,230,000", 999.6: "1,000", 0.02345: "0.0235", 3.14159: "3.14", 12: "12.0", 128: "128"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) is %q, want %q", v, got, want)
		}
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	for _, values := range [][]float64{{0.33, 14}, {1}, {1000, 200_000}} {
		for _, log := range []bool{true, false} {
			c := around(values, 0, 100, log)
			for _, v := range append(c.ticks(6), values...) {
				if at := c.at(v); !(at > -0.01 && at < 100.01) {
					t.Errorf("%v of %v is at %v, out of the picture", v, values, at)
				}
			}
			if n := len(c.ticks(6)); n < 2 || n > 7 {
				t.Errorf("%d ticks of %v: %v", n, values, c.ticks(6))
			}
		}
	}
}

// The page, its pictures and the tables of other documents are what the report makes of the
// latest run: nobody has changed a figure by hand.
func TestDocuments(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	files, err := report(filepath.Join("..", "latest.txt"), root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the report makes of bench/latest.txt: go run ./report -root .. latest.txt", name)
		}
	}
}

func TestReplaceBlock(t *testing.T) {
	t.Parallel()
	begin, end := marked("figures")
	got, err := replaceBlock("before\n"+begin+"old\n"+end+"after\n", "page\n"+begin+"new\n"+end, "figures")
	if want := "before\n" + begin + "new\n" + end + "after\n"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := replaceBlock("no block", "page\n"+begin+"new\n"+end, "figures"); err == nil {
		t.Error("a document without the block is no error")
	}
}
