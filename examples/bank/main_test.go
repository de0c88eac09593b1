package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asBank runs the test binary as the program, for tests that kill it.
const asBank = "BANK_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asBank) != "" {
		main()
	}
	os.Exit(m.Run())
}

// bank runs the program and returns what it wrote.
func program(t *testing.T, wantCode int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, &out, &errs); code != wantCode {
		t.Fatalf("bank %q: exit code %d, want %d\n%s%s", args, code, wantCode, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// golden compares a text with a file under testdata. UPDATE=1 writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sameLines(t, got, string(want))
}

// sameLines tells where two texts begin to differ.
func sameLines(t *testing.T, got, want string) {
	t.Helper()
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Fatalf("line %d:\n got %q\nwant %q", i+1, gotLines[i], wantLines[i])
		}
	}
	if len(gotLines) != len(wantLines) {
		t.Fatalf("%d lines, want %d", len(gotLines), len(wantLines))
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStory(t *testing.T) {
	t.Parallel()
	out, errs := program(t, exitOK)
	golden(t, "story.golden", out)
	if errs != "" {
		t.Errorf("standard error has %q", errs)
	}
}

func TestStoryIsToldInAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "bank.db")
	first, _ := program(t, exitOK, "-db", db)
	if !strings.Contains(first, "Alice") {
		t.Errorf("no story: %q", first)
	}
	_, errs := program(t, exitUsage, "-db", db)
	if !strings.Contains(errs, "empty database") {
		t.Errorf("standard error has %q", errs)
	}
}

func TestSampleFileIsWhatTheGeneratorWrites(t *testing.T) {
	t.Parallel()
	out, _ := program(t, exitOK, "sample")
	golden(t, "statements.csv", out)
	other, _ := program(t, exitOK, "sample", "-seed", "2", "-lines", "10")
	if n := strings.Count(other, "\n"); n != 11 || strings.HasPrefix(out, other) {
		t.Errorf("sample -seed 2 -lines 10 wrote %d lines: %s", n, other)
	}
}

func TestApplySample(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "bank.db")
	const sample = "testdata/statements.csv"

	out, refused := program(t, exitRefused, "-db", db, "apply", sample)
	golden(t, "apply.golden", refused+out)
	balances, _ := program(t, exitOK, "-db", db, "balances")
	golden(t, "balances.golden", balances)
	history, _ := program(t, exitOK, "-db", db, "history", "100063")
	golden(t, "history.golden", history)
	version, _ := program(t, exitOK, "-db", db, "history", "100063", "-at", "7")
	golden(t, "version.golden", version)

	again, refusedAgain := program(t, exitRefused, "apply", "-db", db, sample)
	if want := "applied 0, refused 99, already applied 2901\n"; again != want {
		t.Errorf("the second time: %q, want %q", again, want)
	}
	if refusedAgain != refused {
		t.Errorf("the second time other lines were refused, or for other reasons:\n%s", refusedAgain)
	}
	if same, _ := program(t, exitOK, "-db", db, "balances"); same != balances {
		t.Errorf("the second time changed balances:\n%s", same)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "bank.db")
	file := writeFile(t, "s.csv", statementHeader+"\n2026-03-02T09:00:00Z,-1,Ann,open,5,\n")
	program(t, exitOK, "-db", db, "apply", file)
	missing := filepath.Join(t.TempDir(), "missing")

	tests := []struct {
		args []string
		code int
		want string // in the output
	}{
		{[]string{"-h"}, exitOK, statementHeader},
		{[]string{"history", "-help"}, exitOK, "Exit codes"},
		{[]string{"history", "-db", db, "--", "-1"}, exitOK, "+5.00"},
		{[]string{"history", "-at", "1", "-db", db, "--", "-1"}, exitOK, "at version 1"},
		{[]string{"-db", db, "history", "7"}, exitFailed, "account 7 does not exist"},
		{[]string{"-db", db, "history", "7", "-at", "1"}, exitFailed, "account 7 does not exist"},
		{[]string{"history", "-db", db, "-at", "3", "--", "-1"}, exitFailed, "no version 3: it is at version 2"},
		{[]string{"history", "-db", db, "-at", "0", "7"}, exitUsage, "versions are 1"},
		{[]string{"history", "-db", db}, exitUsage, "takes 1 arguments, not 0"},
		{[]string{"history", "-db", missing, "7"}, exitFailed, "no database"},
		{[]string{"balances", "-db", missing}, exitFailed, "no database"},
		{[]string{"balances"}, exitUsage, "needs -db FILE"},
		{[]string{"apply", file}, exitUsage, "needs -db FILE"},
		{[]string{"apply", "-db", "", file}, exitUsage, "needs -db FILE"},
		{[]string{"apply", "-db", db}, exitUsage, "takes 1 arguments"},
		{[]string{"apply", "-db", db, missing}, exitFailed, "no such file"},
		{[]string{"apply", "-db", db, t.TempDir()}, exitFailed, "is a directory"},
		{[]string{"apply", "-db", filepath.Join(missing, "bank.db"), file}, exitFailed, "bank.db"},
		{[]string{"balances", "-db", db, "-at", "3"}, exitUsage, "takes no -at"},
		{[]string{"sample", "-lines", "-1"}, exitUsage, "below zero"},
		{[]string{"rob"}, exitUsage, "no command rob"},
		{[]string{"-what"}, exitUsage, "-what"},
	}
	for _, test := range tests {
		out, errs := program(t, test.code, test.args...)
		if !strings.Contains(out+errs, test.want) {
			t.Errorf("bank %q wrote %q, want %q in it", test.args, out+errs, test.want)
		}
	}
}

// fullDevice takes nothing.
type fullDevice struct{}

func (fullDevice) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// What cannot be printed is an error, also where lines were refused.
func TestFullOutput(t *testing.T) {
	t.Parallel()
	db, file := filepath.Join(t.TempDir(), "bank.db"), writeFile(t, "s.csv", statementHeader+"\nnonsense\n")
	for _, args := range [][]string{{"-h"}, {"-db", db, "apply", file}, {"-db", db, "balances"}, {"sample"}} {
		var errs strings.Builder
		if code := run(t.Context(), args, fullDevice{}, &errs); code != exitFailed || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("bank %q: exit code %d, %q, want %d", args, code, errs.String(), exitFailed)
		}
	}
}

// A number may be any text; printing it has no effect on a terminal.
func TestAnyNumber(t *testing.T) {
	t.Parallel()
	numbers := []string{"a", "A", "a ", "\x1b[31mred", "line\nbreak", "nul\x00", "\u202egnp.exe", `"quoted"`, "ø", "o\u0338", strings.Repeat("long ", 200) + "x"}
	var file strings.Builder
	file.WriteString(statementHeader + "\n")
	for _, number := range numbers {
		file.WriteString(`2026-03-02T09:00:00Z,"` + strings.ReplaceAll(number, `"`, `""`) + "\",\"Mr. \x1b]0;T\",open,1,\n")
	}
	db := filepath.Join(t.TempDir(), "bank.db")
	out, errs := program(t, exitOK, "-db", db, "apply", writeFile(t, "any.csv", file.String()))
	if want := "applied 11, refused 0, already applied 0\n"; out != want {
		t.Fatalf("apply: %q, want %q\n%s", out, want, errs)
	}
	balances, _ := program(t, exitOK, "-db", db, "balances")
	if want := "11.00          0.00  in all, 11 accounts"; !strings.Contains(balances, want) {
		t.Errorf("balances, want %q:\n%s", want, balances)
	}
	for _, number := range numbers {
		history, _ := program(t, exitOK, "-db", db, "history", "--", number)
		version, _ := program(t, exitOK, "-db", db, "history", "-at", "2", "--", number)
		_, errs := program(t, exitFailed, "-db", db, "history", "--", number+"?")
		for _, printed := range []string{balances, history, version, errs} {
			if strings.ContainsAny(printed, "\x1b\x00\u202e") {
				t.Errorf("%q: a control character was printed: %q", number, printed)
			}
		}
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	onFirst := writerFunc(func(b []byte) (int, error) {
		cancel() // as Ctrl-C does, at the first refused line
		return errs.Write(b)
	})
	db := filepath.Join(t.TempDir(), "bank.db")
	code := run(ctx, []string{"-db", db, "apply", "testdata/statements.csv"}, &out, onFirst)
	c := scanCounts(t, out.String())
	if code != exitInterrupted || c.Applied+c.Refused != batchLines {
		t.Fatalf("exit code %d, output %q, want %d and the first %d lines", code, out.String(), exitInterrupted, batchLines)
	}
	rest, _ := program(t, exitRefused, "-db", db, "apply", "testdata/statements.csv")
	if r := scanCounts(t, rest); r.Already != c.Applied || r.Applied+r.Already != 2901 {
		t.Errorf("run again: %q after %q", rest, out.String())
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var drawn strings.Builder
	p := &progress{out: &drawn, size: 200, read: func() int64 { return 50 }, began: time.Now()}
	p.draw(Counts{Applied: 7, Refused: 2, Already: 1})
	if got := drawn.String(); !strings.HasPrefix(got, "\r\x1b[K[=======                       ]  25 %  10 lines, ") {
		t.Errorf("drawn: %q", got)
	}
	drawn.Reset()
	p.clear()
	p.clear()
	if got := drawn.String(); got != "\r\x1b[K" {
		t.Errorf("cleared: %q", got)
	}
	quiet := newProgress(&drawn, 200, nil)
	quiet.draw(Counts{Applied: 1})
	if quiet.out != nil {
		t.Error("a bar is drawn where there is no terminal")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// scanCounts reads the last line of apply.
func scanCounts(t *testing.T, s string) (c Counts) {
	t.Helper()
	if _, err := fmt.Sscanf(s, "applied %d, refused %d, already applied %d", &c.Applied, &c.Refused, &c.Already); err != nil {
		t.Fatalf("%q is no count of lines: %v", s, err)
	}
	return c
}
