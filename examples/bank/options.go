package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/evento-go/evento/examples/bank/bank"
)

const help = `bank is an example of event sourcing: bank accounts.

  bank [-db FILE]                            tell a short story; without -db,
                                             in a temporary database
  bank -db FILE apply STATEMENTS.csv         apply a file of statements; - is
                                             standard input
  bank -db FILE balances                     list the accounts
  bank -db FILE history ACCOUNT              list what happened to an account
  bank -db FILE history ACCOUNT -at VERSION  show an account as it was
  bank sample [-lines N] [-seed N]           write a file of statements to
                                             standard output; the default is
                                             examples/bank/testdata/statements.csv

Flags may stand anywhere; after -- there are none, for an account that begins
with a dash.

Statements are CSV in UTF-8. The first line is

  ` + statementHeader + `

  time          when, in RFC 3339, such as 2026-03-02T15:04:05Z or, in small
                letters, 2026-03-02t15:04:05z; its day in UTC is the one whose
                daily limit counts
  account       the customer's number, any text of up to 1024 bytes
  owner         the account's owner; needed to open, else not looked at
  kind          open, deposit, withdraw, transfer, freeze, unfreeze or close
  amount        a decimal with at most two places; for open, the first deposit
                or empty; empty for freeze, unfreeze and close
  counterparty  the account to which a transfer goes; else empty

A new account has an overdraft of 0.00 and a daily limit of 10000.00.

apply writes each refused line to standard error as FILE:LINE: reason, goes on,
and ends with the line "applied N, refused N, already applied N". It applies a
statement once: lines that were applied before, from this file or another, are
left out, and those that were refused are refused again for the same reason. It
knows a statement by its time, account, kind, amount and counterparty, and one
that opens an account by its owner too. Lines that are equal in these are
statements of their own when they are in one file. A quote that is not closed
refuses its own line alone, and so does a line of more than 64 KiB. Ctrl-C ends it after the lines in hand; run it again
to go on.

Exit codes: 0 when all was done; 1 when something failed; 2 for a mistake in the
command line; 3 when apply has refused lines, and has applied all others; 130
after Ctrl-C.
`

// usageError is a mistake in the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

// options is the command line.
type options struct {
	command string
	args    []string

	db    string
	at    uint64 // 0: not given
	lines int
	seed  uint64
}

// parseOptions parses flags at any place in the command line.
func parseOptions(args []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("bank", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.db, "db", "", "")
	flags.IntVar(&o.lines, "lines", sampleLines, "")
	flags.Uint64Var(&o.seed, "seed", sampleSeed, "")
	flags.Func("at", "", func(s string) (err error) {
		if o.at, err = strconv.ParseUint(s, 10, 64); err != nil || o.at == 0 {
			return errors.New("versions are 1, 2, 3, …")
		}
		return nil
	})
	var words []string
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError(err.Error())
		}
		rest := flags.Args()
		if parsed := args[:len(args)-len(rest)]; len(parsed) > 0 && parsed[len(parsed)-1] == "--" {
			words = append(words, rest...)
			break
		}
		if len(rest) > 0 {
			words, rest = append(words, rest[0]), rest[1:]
		}
		args = rest
	}
	if len(words) > 0 {
		o.command, o.args = words[0], words[1:]
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return o, o.check(given)
}

// check refuses flags that a command does not use.
func (o *options) check(given map[string]bool) error {
	var args int
	var allowed []string
	switch o.command {
	case "":
		allowed = []string{"db"}
	case "apply":
		args, allowed = 1, []string{"db"}
	case "balances":
		allowed = []string{"db"}
	case "history":
		args, allowed = 1, []string{"db", "at"}
	case "sample":
		allowed = []string{"lines", "seed"}
	default:
		return usageError(fmt.Sprintf("there is no command %s", bank.Show(o.command)))
	}
	if len(o.args) != args {
		return usageError(fmt.Sprintf("%s takes %d arguments, not %d", o.command, args, len(o.args)))
	}
	for name := range given {
		if !slices.Contains(allowed, name) {
			return usageError(fmt.Sprintf("%s takes no -%s", o.command, name))
		}
	}
	if o.db == "" && (given["db"] || slices.Contains(allowed, "db") && o.command != "") {
		return usageError(fmt.Sprintf("%s needs -db FILE", o.command))
	}
	if o.lines < 0 {
		return usageError("-lines is below zero")
	}
	return nil
}
