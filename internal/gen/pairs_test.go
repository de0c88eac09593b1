package gen

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	pairsVariable = "EVENTO_GEN_PAIRS" // how many packages
	seedVariable  = "EVENTO_GEN_SEED"  // the seed of the first
)

// Random packages are edited twice. What the generator accepts reads what the versions
// before have stored, with each value in its field. EVENTO_GEN_PAIRS is how many there
// are, such as 2000, and EVENTO_GEN_SEED where they begin.
func TestPairs(t *testing.T) {
	t.Parallel()
	number := func(name string, otherwise int) int {
		s := os.Getenv(name)
		if s == "" {
			return otherwise
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("%s: %q is no number", name, s)
		}
		return n
	}
	const batch = 60 // that are built into one program
	p := pairsTest{T: t}
	first, all := number(seedVariable, 1), number(pairsVariable, 40)
	for i := 0; i < all; i += batch {
		p.run(first+i, min(batch, all-i))
	}
	t.Logf("%d versions accepted, %d refused", p.accepted, p.refused)
	if edited := p.accepted + p.refused; edited >= 20 && (p.accepted < edited/5 || p.refused < edited/5) {
		t.Errorf("of %d edited versions %d were accepted and %d refused, want some of both", edited, p.accepted, p.refused)
	}
}

type pairsTest struct {
	*testing.T
	accepted, refused int
}

// pairChain is a package in its versions.
type pairChain struct {
	seed     int
	versions []*randomPackage
}

func (c *pairChain) name() string { return fmt.Sprintf("p%d", c.seed) }

func (p *pairsTest) run(first, n int) {
	dir := repository(p.T)
	var chains []*pairChain
	for i := range n {
		c := &pairChain{seed: first + i}
		c.versions = []*randomPackage{newRandomPackage(c.name(), uint64(c.seed))}
		chains = append(chains, c)
	}
	sound := p.generate(dir, 0, chains)
	chains = slices.DeleteFunc(chains, func(c *pairChain) bool { return sound[c.name()] != nil })
	for version := 1; version <= 2; version++ {
		harmless := map[string]bool{}
		var edited []*pairChain
		for _, c := range chains {
			if len(c.versions) < version {
				continue // its last one was refused
			}
			v, isHarmless := c.versions[version-1].edited()
			harmless[c.name()] = isHarmless
			c.versions = append(c.versions, v)
			edited = append(edited, c)
		}
		if len(edited) == 0 {
			break
		}
		for name, problems := range p.generate(dir, version, edited) {
			i := slices.IndexFunc(edited, func(c *pairChain) bool { return c.name() == name })
			if harmless[name] {
				p.Errorf("%s: harmless edits were refused: %s\n%s", p.again(edited[i]), edited[i].versions[version].edits, strings.Join(problems, "\n"))
			}
			edited[i].versions = edited[i].versions[:version]
			p.refused++
			p.accepted--
		}
		p.accepted += len(edited)
	}
	p.read(dir, chains)
}

func (p *pairsTest) again(c *pairChain) string {
	return fmt.Sprintf("%s=%d %s=1", seedVariable, c.seed, pairsVariable)
}

// generate generates a version of all packages, and returns what is refused of which.
func (p *pairsTest) generate(dir string, version int, chains []*pairChain) map[string][]string {
	at := func(version int, name, file string) string { return fmt.Sprintf("v%d/%s/%s", version, name, file) }
	for _, c := range chains {
		files := map[string]string{at(version, c.name(), "p.go"): c.versions[version].source()}
		if version > 0 {
			lock, err := os.ReadFile(filepath.Join(dir, at(version-1, c.name(), LockName)))
			must(p.T, err)
			files[at(version, c.name(), LockName)] = string(lock)
		}
		writeFiles(p.T, dir, files)
	}
	refused := map[string][]string{}
	var all RefusedError
	_, err := Run(p.Context(), Options{Dir: dir, Patterns: []string{fmt.Sprintf("./v%d/...", version)}})
	if err != nil && !errors.As(err, &all) {
		p.Fatal(err)
	}
	for _, problem := range all {
		_, rest, _ := strings.Cut(problem.Pos.Filename, "/")
		name, _, _ := strings.Cut(rest, "/")
		refused[name] = append(refused[name], problem.String())
	}
	for name := range refused {
		must(p.T, os.RemoveAll(filepath.Join(dir, at(version, name, ""))))
	}
	if len(refused) > 0 && len(refused) < len(chains) {
		_, err := Run(p.Context(), Options{Dir: dir, Patterns: []string{fmt.Sprintf("./v%d/...", version)}})
		must(p.T, err)
	}
	if len(refused) < len(chains) {
		again, err := Run(p.Context(), Options{Dir: dir, Patterns: []string{fmt.Sprintf("./v%d/...", version)}, Check: true})
		if err != nil || len(again.Changed) > 0 {
			p.Errorf("%s=%d: generating version %d again: %+v, %v", seedVariable, chains[0].seed, version, again.Changed, err)
		}
	}
	return refused
}

// read builds the program that commits events of each version and reads them with the
// later ones, and runs it.
func (p *pairsTest) read(dir string, chains []*pairChain) {
	program, err := os.ReadFile("testdata/pairs/main.go")
	must(p.T, err)
	var imports, table strings.Builder
	for _, c := range chains {
		fmt.Fprintf(&table, "{%q, []version{\n", c.name())
		for i, v := range c.versions {
			name := fmt.Sprintf("%s_%d", c.name(), i)
			fmt.Fprintf(&imports, "%s %q\n", name, fmt.Sprintf("%sv%d/%s", elsewhere, i, c.name()))
			fmt.Fprintf(&table, "{[]evento.Payload{%s.%s{}, %[1]s.%[3]s{}}, %[1]s.Plain, %[1]s.DecodeA},\n", name, v.structs[0].name, v.structs[1].name)
		}
		table.WriteString("}},\n")
	}
	writeFiles(p.T, dir, map[string]string{
		"run/main.go":  string(program),
		"run/table.go": "package main\n\nimport (\n\"github.com/evento-go/evento\"\n" + imports.String() + ")\n\nvar chains = []chain{\n" + table.String() + "}\n",
	})
	cmd := exec.CommandContext(p.Context(), "go", "run", "./run")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	told := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(line, ":")
		i := slices.IndexFunc(chains, func(c *pairChain) bool { return c.name() == name })
		if i < 0 || told[name] {
			continue
		}
		told[name] = true
		text := ""
		for _, v := range chains[i].versions[1:] {
			text += strings.Join(v.edits, ", ") + "\n"
		}
		p.Errorf("%s: %s%s", p.again(chains[i]), line, text)
	}
	if len(told) == 0 {
		p.Fatalf("%v\n%s", err, out)
	}
}
