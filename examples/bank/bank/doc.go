// Package bank is the domain of two programs: examples/bank, of the command line, and
// examples/bank-web, in a browser.
//
// An [Account] is computed from its events, and its rules decide on new ones. A [Bank]
// has the commands, and the process that brings a transfer from one account to the
// other. [Balances] has the accounts as rows of an SQL table.
//
// Where to begin reading: events.go has what can happen, account.go what it makes of an
// account, and rules.go what an account allows; bank.go has the commands, and
// transfers.go the process; once.go handles requests that may come twice.
package bank
