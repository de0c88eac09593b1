package gen

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Random packages: what the generator accepts must compile, pass go vet, and do with
// random values what the default codec does by reflection; what it refuses, it refuses
// with a place and a remedy.
//
// EVENTO_GEN_PACKAGES says how many, and EVENTO_GEN_SEED which is the first; the package
// p7 is that of the seed 7. They are built together, a hundred at a time. With
// EVENTO_GEN_REFUSED, what is refused is logged.
func TestPackages(t *testing.T) {
	t.Parallel()
	count, first := 30, 1
	for name, n := range map[string]*int{"EVENTO_GEN_PACKAGES": &count, "EVENTO_GEN_SEED": &first} {
		if text, ok := os.LookupEnv(name); ok {
			var err error
			*n, err = strconv.Atoi(text)
			must(t, err)
		}
	}
	used := usedNames(t)
	accepted := 0
	const together = 100
	for from := first; from < first+count; from += together {
		b := batch{t: t, dir: repository(t), sources: map[string]randomSource{}}
		for seed := from; seed < min(from+together, first+count); seed++ {
			b.sources["p"+strconv.Itoa(seed)] = newRandomSource(seed, used)
		}
		accepted += b.run(used)
	}
	t.Logf("%d of %d packages were accepted", accepted, count)
	if accepted*2 < count {
		t.Errorf("%d of %d packages were accepted, which is less than half", accepted, count)
	}
}

// batch are packages in one module.
type batch struct {
	t       *testing.T
	dir     string
	sources map[string]randomSource // by folders
}

// run returns how many of the packages were accepted.
func (b *batch) run(used []string) int {
	b.t.Helper()
	files := map[string]string{"check/check.go": checkSource, "kinds/kinds.go": kindsSource}
	for _, name := range used {
		files["lib/"+folder(name)+"/lib.go"] = "package " + name + "\n" + libSource
	}
	for folder, p := range b.sources {
		files[folder+"/events.go"] = p.source
	}
	writeFiles(b.t, b.dir, files)
	b.generate()
	main := "package main\n\nimport (\n\t\"" + elsewhere + "check\"\n\n"
	calls := ""
	for folder, p := range b.sources {
		main += fmt.Sprintf("\t%s %q\n", folder, elsewhere+folder)
		calls += fmt.Sprintf("\tcheck.Run(%q, %[1]s.ZZEvents())\n", folder)
		writeFiles(b.t, b.dir, map[string]string{folder + "/zz.go": p.checks})
	}
	writeFiles(b.t, b.dir, map[string]string{"all/main.go": main + ")\n\nfunc main() {\n" + calls + "\tcheck.End()\n}\n"})
	b.command("build", "-o", filepath.Join(b.dir, "all.exe"), "./all")
	b.command("vet", "-structtag=false", "./...") // the tags are those of the sources
	c := exec.CommandContext(b.t.Context(), filepath.Join(b.dir, "all.exe"))
	if out, err := c.CombinedOutput(); err != nil {
		b.fail("the program: "+err.Error(), string(out))
	}
	return len(b.sources)
}

// generate runs the generator, and again without what it refuses.
func (b *batch) generate() {
	b.t.Helper()
	for range 5 {
		_, err := Run(b.t.Context(), Options{Dir: b.dir, Patterns: []string{"./..."}})
		var refused RefusedError
		if err == nil {
			return
		}
		if !errors.As(err, &refused) {
			b.fail("evento gen", err.Error())
		}
		for _, p := range refused {
			folder, _, _ := strings.Cut(p.Pos.Filename, "/")
			_, ok := b.sources[folder]
			if os.Getenv("EVENTO_GEN_REFUSED") != "" {
				b.t.Log(p)
			}
			if !ok && b.dirOf(folder) {
				continue // refused for another reason, too
			}
			if !ok || p.Pos.Line == 0 || !strings.Contains(p.Text, "; ") {
				b.fail("refused without a place, a remedy or a reason", p.String())
			}
			delete(b.sources, folder)
			must(b.t, os.RemoveAll(filepath.Join(b.dir, folder)))
		}
	}
	b.t.Fatal("there is always something else to refuse")
}

// dirOf reports whether a folder is that of a package which was taken away.
func (b *batch) dirOf(folder string) bool { return packageFolder.FindString(folder) == folder }

var packageFolder = regexp.MustCompile(`\bp[0-9]+\b`)

func (b *batch) command(args ...string) {
	b.t.Helper()
	c := exec.CommandContext(b.t.Context(), "go", args...)
	c.Dir = b.dir
	if out, err := c.CombinedOutput(); err != nil {
		b.fail("go "+strings.Join(args, " ")+": "+err.Error(), string(out))
	}
}

// fail names the packages in the output, and shows one of them.
func (b *batch) fail(what, out string) {
	b.t.Helper()
	named := packageFolder.FindAllString(out, -1)
	slices.Sort(named)
	text := fmt.Sprintf("%s\n%.8000s\n", what, out)
	for _, folder := range slices.Compact(named) {
		text += fmt.Sprintf("repeat: EVENTO_GEN_PACKAGES=1 EVENTO_GEN_SEED=%s go test -run TestPackages ./internal/gen\n", folder[1:])
	}
	if len(named) > 0 {
		source, _ := os.ReadFile(filepath.Join(b.dir, named[0], "events.go"))
		text += named[0] + "/events.go:\n" + string(source)
	}
	b.t.Fatal(text)
}
