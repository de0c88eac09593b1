// Statements: the lines of a file.

package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/examples/bank/bank"
)

// statementHeader is the first line of a file.
const statementHeader = "time,account,owner,kind,amount,counterparty"

// Statement is a line of a file: a request about an account.
type Statement struct {
	// Line is where it begins, from 1.
	Line int
	// ID is the statement's identity, whichever file it is in.
	ID StatementID

	At           time.Time
	Account      string
	Owner        string
	Kind         string
	Amount       bank.Money
	Counterparty string

	// Unreadable is why the line is not a statement; then only Line is valid.
	Unreadable string
}

// StatementID identifies a statement: it is a hash of what the line asks for and of
// how many lines before it in the file ask for the same. So two equal deposits are
// two statements. A file under another name, with lines added, or in another order
// has the same statements as before. Amounts and times are compared by value: "7.5"
// equals "7.50". What is not looked at does not count: a deposit whose owner was
// spelled anew is the same deposit.
type StatementID [16]byte

func (id StatementID) String() string { return hex.EncodeToString(id[:]) }

// statementReader reads the statements of a file.
type statementReader struct {
	records *recordReader
	seen    map[StatementID]int // how often, by the id of the first
}

// newStatementReader reads the first line, and fails if it is not the header.
func newStatementReader(r io.Reader) (*statementReader, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\ufeff" {
		if _, err := buffered.Discard(len(mark)); err != nil {
			return nil, err
		}
	}
	statements := &statementReader{records: newRecordReader(buffered, beginsStatement), seen: map[StatementID]int{}}
	header, _, err := statements.records.next()
	var refusal bank.RefusalError
	if err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &refusal) {
		return nil, err
	}
	if !slices.Equal(header, strings.Split(statementHeader, ",")) {
		return nil, fmt.Errorf("the first line is not %s", statementHeader)
	}
	return statements, nil
}

// next returns the next statement, also an unreadable one; [io.EOF] after the last.
// Any other error is about reading the file.
func (r *statementReader) next() (Statement, error) {
	fields, line, err := r.records.next()
	var s Statement
	if err == nil {
		s, err = parseStatement(fields)
	}
	var refusal bank.RefusalError
	switch {
	case err == nil:
		s.ID = r.identify(s)
	case errors.As(err, &refusal):
		s.Unreadable = refusal.Error()
	default:
		return Statement{}, err
	}
	s.Line = line
	return s, nil
}

func (r *statementReader) identify(s Statement) StatementID {
	owner := s.Owner
	if s.Kind != "open" {
		owner = "" // it is not looked at
	}
	says := []string{s.At.Format(time.RFC3339Nano), s.Account, owner, s.Kind, s.Amount.String(), s.Counterparty}
	first := newStatementID(says)
	id := newStatementID(append(says, strconv.Itoa(r.seen[first])))
	r.seen[first]++
	return id
}

// batch returns the next n statements; if next fails, those before, and the error.
func (r *statementReader) batch(n int) ([]Statement, error) {
	statements := make([]Statement, 0, n)
	for len(statements) < n {
		s, err := r.next()
		if err != nil {
			return statements, err
		}
		statements = append(statements, s)
	}
	return statements, nil
}

func newStatementID(parts []string) (id StatementID) {
	// The hash is hexadecimal, so this cannot fail.
	_, _ = hex.Decode(id[:], []byte(evento.HashIDs(parts...)[:2*len(id)]))
	return id
}

// rfc3339 matches the form of RFC 3339. [time.Parse] takes more: hours of one digit, a
// comma, and offsets of a day.
var rfc3339 = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

// parseTime reads a time in RFC 3339, which may have its letters in lower case.
func parseTime(text string) (time.Time, error) {
	upper := strings.ToUpper(text)
	if !rfc3339.MatchString(upper) {
		return time.Time{}, errors.New("not in RFC 3339")
	}
	return time.Parse(time.RFC3339, upper)
}

// beginsStatement reports whether a line begins as a statement does, with a time.
func beginsStatement(line string) bool {
	when, _, more := strings.Cut(line, ",")
	if !more {
		return false
	}
	_, err := parseTime(when)
	return err == nil
}

// Which fields a kind of statement must have; it may not have others.
type statementKind struct {
	amount       bool // optional for an open: the first deposit
	counterparty bool
}

func kindOf(name string) (statementKind, bool) {
	switch name {
	case "open", "deposit", "withdraw":
		return statementKind{amount: true}, true
	case "transfer":
		return statementKind{amount: true, counterparty: true}, true
	case "freeze", "unfreeze", "close":
		return statementKind{}, true
	}
	return statementKind{}, false
}

// parseStatement reads the fields of a line. Its errors are reasons to refuse
// the line.
func parseStatement(fields []string) (Statement, error) {
	if n := strings.Count(statementHeader, ",") + 1; len(fields) != n {
		return Statement{}, bank.RefusalError(fmt.Sprintf("%d fields instead of %d", len(fields), n))
	}
	for i, field := range fields {
		switch {
		case !utf8.ValidString(field):
			return Statement{}, bank.RefusalError(fmt.Sprintf("field %d is not valid UTF-8", i+1))
		case len(field) > bank.MaxText:
			return Statement{}, bank.RefusalError(fmt.Sprintf("field %d has more than %d bytes", i+1, bank.MaxText))
		}
	}
	when, amount := fields[0], fields[4]
	s := Statement{Account: fields[1], Owner: fields[2], Kind: fields[3], Counterparty: fields[5]}
	at, err := parseTime(when)
	if err != nil {
		return s, bank.RefusalError(fmt.Sprintf("time %s is not in RFC 3339, such as 2026-03-02T15:04:05Z", bank.Show(when)))
	}
	if s.At = at.UTC(); s.At.Year() < 1 || s.At.Year() > 9999 {
		return s, bank.RefusalError(fmt.Sprintf("time %s is not in the years 1 to 9999", bank.Show(when)))
	}
	kind, known := kindOf(s.Kind)
	if !known {
		return s, bank.RefusalError(fmt.Sprintf("kind %s is unknown", bank.Show(s.Kind)))
	}
	switch {
	case s.Account == "":
		return s, bank.RefusalError("no account")
	case kind.counterparty && s.Counterparty == "":
		return s, bank.RefusalError(s.Kind + " without a counterparty")
	case !kind.counterparty && s.Counterparty != "":
		return s, bank.RefusalError(s.Kind + " with a counterparty")
	}
	if amount != "" || kind.amount && s.Kind != "open" {
		if s.Amount, err = bank.ParseMoney(amount); err != nil {
			return s, err
		}
	}
	if !kind.amount && s.Amount != 0 {
		return s, bank.RefusalError(s.Kind + " with an amount")
	}
	return s, nil
}
