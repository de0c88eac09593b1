package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/evento-go/evento/examples/bank/bank"
)

func TestRefusedLines(t *testing.T) {
	t.Parallel()
	const at = "2026-03-02T09:00:00Z"
	tests := []struct{ line, want string }{
		{at + ",1,Ann,deposit,5", "5 fields instead of 6"},
		{at + ",1,Ann,deposit,5,,", "7 fields instead of 6"},
		{"nonsense", "1 fields instead of 6"},
		{",1,Ann,deposit,5,", `time "" is not in RFC 3339, such as 2026-03-02T15:04:05Z`},
		{"2026-03-02 09:00,1,Ann,deposit,5,", "time 2026-03-02 09:00 is not in RFC 3339, such as 2026-03-02T15:04:05Z"},
		{"2026-02-30T09:00:00Z,1,Ann,deposit,5,", "time 2026-02-30T09:00:00Z is not in RFC 3339, such as 2026-03-02T15:04:05Z"},
		{"9999-12-31T23:59:59-01:00,1,Ann,deposit,5,", "time 9999-12-31T23:59:59-01:00 is not in the years 1 to 9999"},
		{at + ",1,Ann,gift,5,", "kind gift is unknown"},
		{at + ",1,Ann,Deposit,5,", "kind Deposit is unknown"},
		{at + ",1,Ann,,5,", `kind "" is unknown`},
		{at + ",,Ann,deposit,5,", "no account"},
		{at + "," + strings.Repeat("1", 1025) + ",Ann,deposit,5,", "field 2 has more than 1024 bytes"},
		{at + ",2," + strings.Repeat("A", 1025) + ",open,5,", "field 3 has more than 1024 bytes"},
		{at + ",1,Ann,deposit,,", `amount "" is not a decimal with at most two places`},
		{at + ",1,Ann,deposit,0,", "account 1 takes only amounts above zero"},
		{at + ",1,Ann,deposit,0.00,", "account 1 takes only amounts above zero"},
		{at + ",1,Ann,withdraw,0,", "account 1 pays only amounts above zero"},
		{at + ",1,Ann,deposit,1.234,", "amount 1.234 is not a decimal with at most two places"},
		{at + ",1,Ann,deposit,-1,", "amount -1 is not a decimal with at most two places"},
		{at + ",1,Ann,deposit,+1,", "amount +1 is not a decimal with at most two places"},
		{at + ",1,Ann,deposit,1e5,", "amount 1e5 is not a decimal with at most two places"},
		{at + ",1,Ann,deposit,NaN,", "amount NaN is not a decimal with at most two places"},
		{at + ",1,Ann,deposit,1.,", "amount 1. is not a decimal with at most two places"},
		{at + ",1,Ann,deposit,.5,", "amount .5 is not a decimal with at most two places"},
		{at + ",1,Ann,deposit, 5,", `amount " 5" is not a decimal with at most two places`},
		{at + `,1,Ann,deposit,"1,5",`, "amount 1,5 is not a decimal with at most two places"},
		{at + ",1,Ann,deposit,٣,", "amount ٣ is not a decimal with at most two places"},
		{at + ",1,Ann,deposit,92233720368547758.08,", "amount 92233720368547758.08 is more than 92233720368547758.07"},
		{at + ",1,Ann,deposit,92233720368547758.07,", "account 1 cannot hold more than 92233720368547758.07"},
		{at + ",1,Ann,transfer,5,", "transfer without a counterparty"},
		{at + ",1,Ann,deposit,5,2", "deposit with a counterparty"},
		{at + ",1,Ann,freeze,5,", "freeze with an amount"},
		{at + ",1,Ann,transfer,5,1", "account 1 cannot transfer to itself"},
		{at + ",1,Ann,transfer,5,3", "account 3 does not exist"},
		{at + ",3,Ann,transfer,5,1", "account 3 does not exist"},
		{at + ",1,Ann,open,,", "account 1 exists already"},
		{at + ",2, ,open,,", "account 2 needs an owner"},
		{at + ",1,Ann,withdraw,10.01,", "account 1 has 10.00 to spend, not 10.01"},
		{at + ",1,Ann,unfreeze,,", "account 1 is not frozen"},
		{at + ",1,Ann,close,,", "account 1 has a balance of 10.00, and closes only at 0.00"},
		{at + ",1\xff,Ann,deposit,5,", "field 2 is not valid UTF-8"},
		{at + `,1,An"n,deposit,5,`, `not CSV: bare " in non-quoted-field`},
		{at + `,1,"Ann"a,deposit,5,`, `not CSV: extraneous or missing " in quoted-field`},
		{at + ",\x1b[1m,Ann,deposit,5,", `account "\x1b[1m" does not exist`},
		{at + ",\"two\nlines\",Ann,deposit,5,", `account "two\nlines" does not exist`},
	}
	// One file in several formats of spreadsheets; each line begins where the last
	// one ended, line breaks in quotes included.
	for _, lineEnd := range []string{"\n", "\r\n"} {
		var file, want strings.Builder
		file.WriteString("\ufeff" + statementHeader + lineEnd + at + ",1,Ann,open,10," + lineEnd)
		line := 3
		path := filepath.Join(t.TempDir(), "bad.csv")
		for _, test := range tests {
			file.WriteString(test.line + lineEnd)
			want.WriteString(path + ":" + strconv.Itoa(line) + ": " + test.want + "\n")
			line += 1 + strings.Count(test.line, "\n")
		}
		file.WriteString(lineEnd + at + ",1,Ann,deposit,0.50,") // a blank line does not count, and the last line may have no end
		if err := os.WriteFile(path, []byte(file.String()), 0o644); err != nil {
			t.Fatal(err)
		}

		out, refused := program(t, exitRefused, "-db", filepath.Join(t.TempDir(), "bank.db"), "apply", path)
		if wantOut := (Counts{Applied: 2, Refused: len(tests)}).String() + "\n"; out != wantOut {
			t.Errorf("line ends %q: %q, want %q", lineEnd, out, wantOut)
		}
		sameLines(t, refused, want.String())
	}
}

// A quote that is not closed refuses its own line, and takes no other along, wherever
// the next quote is.
func TestQuoteWithoutEnd(t *testing.T) {
	t.Parallel()
	const (
		at   = "2026-03-02T09:00:00Z"
		open = at + ",1,\"Ann,deposit,5,\n" // refused
		good = at + ",1,Ann,deposit,5,\n"
	)
	for name, test := range map[string]struct {
		lines   string
		applied int
		refused []int
	}{
		"at the end":                     {good + open, 1, []int{4}},
		"a hundred lines from the end":   {open + strings.Repeat(good, 100), 100, []int{3}},
		"before a field in quotes":       {open + good + at + ",1,\"Ann\",deposit,5,\n" + good, 3, []int{3}},
		"before another":                 {good + open + good + open + good, 3, []int{4, 6}},
		"before a quote that closes it":  {open + good + at + ",1,Ann\",deposit,5,\n" + good, 2, []int{3, 5}},
		"of the next line":               {open + at + ",1,Ann\",deposit,5,\n" + good, 1, []int{3, 4}},
		"in the last field":              {at + ",1,Ann,deposit,5,\"\n" + good + good, 2, []int{3}},
		"in the first field":             {"\"" + good + good, 1, []int{3}},
		"before lines that are no lines": {open + strings.Repeat("nonsense\n", 300), 0, nil},
		"behind one with a line break":   {at + ",1,\"A\nnn\",deposit,5,\n" + open + good, 2, []int{5}},
		"with Windows' line breaks":      {strings.ReplaceAll(open+good+open+good, "\n", "\r\n"), 2, []int{3, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, "quote.csv", statementHeader+"\n"+at+",1,Ann,open,10,\n"+test.lines)
			out, errs := program(t, exitRefused, "-db", filepath.Join(t.TempDir(), "bank.db"), "apply", path)
			var refused []int
			for line := range strings.Lines(errs) {
				number, reason, _ := strings.Cut(strings.TrimPrefix(line, path+":"), ": ")
				n, err := strconv.Atoi(number)
				if err != nil {
					t.Fatalf("no line number: %q", line)
				}
				if strings.HasPrefix(reason, "not CSV: ") {
					refused = append(refused, n)
				}
			}
			if test.refused == nil {
				test.refused = []int{3}
			}
			if c := scanCounts(t, out); c.Applied != test.applied+1 || !slices.Equal(refused, test.refused) {
				t.Errorf("%v and the lines %d are not CSV, want %d applied and %d\n%s", c, refused, test.applied+1, test.refused, errs)
			}
		})
	}
}

// A field in quotes may have line breaks, up to the length that a field may have.
func TestLineBreaksInQuotes(t *testing.T) {
	t.Parallel()
	for _, owner := range []string{"a\nb", "\n", "a\n\n\"b\"\n", strings.Repeat("\"\n", bank.MaxText/2), strings.Repeat("a\n", bank.MaxText/2)} {
		text := statementHeader + "\n2026-03-02T09:00:00Z,1,\"" + strings.ReplaceAll(owner, `"`, `""`) + "\",open,5,\n2026-03-02T09:00:00Z,1,Ann,deposit,5,\n"
		all := readAll(t, text)
		if len(all) != 2 || all[0].Owner != owner || all[0].Unreadable != "" || all[1].Line != 3+strings.Count(owner, "\n") {
			t.Errorf("owner %q: read %+v", owner, all)
		}
	}
}

// A line that is too long is refused alone, whatever is in it, and is not kept in memory.
func TestLongLines(t *testing.T) {
	t.Parallel()
	const good = "2026-03-02T09:00:00Z,1,Ann,deposit,5,\n"
	for _, long := range []string{strings.Repeat("x", 1<<20), strings.Repeat(",", 1<<20), `2026-03-02T09:00:00Z,1,"` + strings.Repeat("x", maxLine) + `",open,5,`, strings.Repeat("\"x", maxLine)} {
		all := readAll(t, statementHeader+"\n"+good+long+"\n"+good+`2026-03-02T09:00:00Z,1,"A`+"\n"+long+"\n"+good+long)
		want := []string{"", "a line of more than 65536 bytes", "", "not CSV: a quote is opened and not closed", "a line of more than 65536 bytes", "", "a line of more than 65536 bytes"}
		for i, s := range all {
			if len(all) != len(want) || s.Unreadable != want[i] || s.Line != i+2 {
				t.Fatalf("line %d, %.40q… of %d bytes: %q of %d lines, want %q", s.Line, long, len(long), s.Unreadable, len(all), want[i])
			}
		}
	}
	whole := "2026-03-02T09:00:00Z," + strings.Repeat(" ", maxLine-40)
	whole += strings.Repeat(" ", maxLine-1-len(whole)) + "\n"
	if all := readAll(t, statementHeader+"\n"+whole); len(all) != 1 || all[0].Unreadable != "2 fields instead of 6" {
		t.Errorf("a line of %d bytes: %+v", len(whole), all)
	}
}

// Of what looks like a time, only RFC 3339 is one.
func TestTimesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"2026-03-02T9:00:00Z", `"2026-03-02T09:00:00,5Z"`, "2026-03-02T09:00:00+24:00", "2026-03-02T09:00:00+23:60", "2026-03-02T09:00:00", "2026-03-02 09:00:00Z", "2026-02-29T09:00:00Z", "2026-03-02T09:00:60Z"} {
		if all := readAll(t, statementHeader+"\n"+at+",1,Ann,deposit,5,\n"); len(all) != 1 || !strings.Contains(all[0].Unreadable, "is not in RFC 3339") {
			t.Errorf("%s: %+v", at, all)
		}
	}
}

// The letters of a time may be small, and it is the same time.
func TestSmallLettersOfTimes(t *testing.T) {
	t.Parallel()
	var ids []StatementID
	for _, at := range []string{"2026-03-02T09:00:00Z", "2026-03-02t09:00:00z", "2026-03-02T09:00:00z", "2026-03-02t10:00:00+01:00", "2026-03-02t09:00:00.000z"} {
		all := readAll(t, statementHeader+"\n"+at+",1,Ann,deposit,5,\n")
		if all[0].Unreadable != "" {
			t.Errorf("%s: %s", at, all[0].Unreadable)
		}
		ids = append(ids, all[0].ID)
	}
	if len(slices.Compact(ids)) != 1 {
		t.Errorf("one time in several forms has the ids %v", ids)
	}
}

func TestWrongHeader(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "time,account\n", "Time,account,owner,kind,amount,counterparty\n", "\"time,account\",owner,kind,amount,counterparty\n", `"time` + "\n", "\xff\xfet\x00"} {
		db := filepath.Join(t.TempDir(), "bank.db")
		out, errs := program(t, exitFailed, "-db", db, "apply", writeFile(t, "h.csv", text))
		if out != "" || !strings.Contains(errs, "the first line is not "+statementHeader) {
			t.Errorf("%q: got %q and %q", text, out, errs)
		}
	}
}

// readAll reads a file's statements.
func readAll(t *testing.T, text string) []Statement {
	t.Helper()
	r, err := newStatementReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var all []Statement
	for {
		s, err := r.next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
}

func TestStatementIDs(t *testing.T) {
	t.Parallel()
	lines := []string{
		"2026-03-02T09:00:00Z,1,Ann,deposit,5,",
		"2026-03-02T09:00:01Z,1,Ann,deposit,5,",
		"2026-03-02T09:00:00.5Z,1,Ann,deposit,5,",
		"2026-03-02T09:00:00Z,2,Ann,deposit,5,",
		"2026-03-02T09:00:00Z,1,Ann,open,5,",
		"2026-03-02T09:00:00Z,1,Ben,open,5,",
		"2026-03-02T09:00:00Z,1,Ann,withdraw,5,",
		"2026-03-02T09:00:00Z,1,Ann,deposit,5.01,",
		"2026-03-02T09:00:00Z,1,Ann,transfer,5,2",
		"2026-03-02T09:00:00Z,1,Ann,transfer,5,3",
		"2026-03-02T09:00:00Z,1,Ann,deposit,5,",      // a second one
		"2026-03-02T10:00:00+01:00,1,Ann,deposit,5,", // the same moment: a third
		"2026-03-02T09:00:00Z,1,Ann,deposit,5.00,",   // the same amount: a fourth
		"2026-03-02T09:00:00Z,1,Ben,deposit,5,",      // the owner is not looked at: a fifth
	}
	text := statementHeader + "\n" + strings.Join(lines, "\n") + "\n"
	seen := map[StatementID]int{}
	for i, s := range readAll(t, text) {
		if s.Unreadable != "" {
			t.Fatalf("line %d: %s", s.Line, s.Unreadable)
		}
		if first, dup := seen[s.ID]; dup {
			t.Errorf("%q and %q have one id", lines[first], lines[i])
		}
		seen[s.ID] = i
	}
	// Lines added between them, or at the end, do not change ids.
	more := statementHeader + "\nbad\n" + strings.Join(lines, "\n2026-03-03T09:00:00Z,9,Eve,freeze,,\n") + "\n" + lines[0] + "\n"
	known := 0
	for _, s := range readAll(t, more) {
		if _, ok := seen[s.ID]; ok {
			known++
		}
	}
	if known != len(lines) {
		t.Errorf("of %d statements, %d were known again", len(lines), known)
	}
}

func FuzzStatements(f *testing.F) {
	f.Add("2026-03-02T09:00:00Z,1,Ann,open,5,\n")
	f.Add("2026-03-02T09:00:00Z,\"1\n\",Ann,transfer,5.5,2\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		seen := map[StatementID]bool{}
		last := 1
		for _, s := range readAll(t, statementHeader+"\n"+text) {
			if s.Line <= last {
				t.Fatalf("line %d after line %d", s.Line, last)
			}
			last = s.Line
			if s.Unreadable == "" && seen[s.ID] {
				t.Fatalf("line %d has the id of another", s.Line)
			}
			seen[s.ID] = true
		}
	})
}
