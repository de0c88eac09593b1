// The list of accounts; an account with its statement; and as it was.

package main

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/examples/bank/bank"
)

// accountsPage is the list of accounts.
type accountsPage struct {
	Accounts []bank.Balance
	Pages    link
	Open     *form
}

func (p *pages) accounts(r *http.Request) (*view, error) { return p.accountsWith(r, newForm()) }

// accountsWith is the list, with a form that was not accepted.
func (p *pages) accountsWith(r *http.Request, f *form) (*view, error) {
	args, err := cursor.ArgsFrom(r.URL.Query(), pageSize)
	if err != nil {
		return nil, err
	}
	page, err := p.balances.Page(r.Context(), args)
	if err != nil {
		return nil, err
	}
	body := &accountsPage{Open: f, Pages: links("/", page.PageInfo, false)}
	for _, e := range page.Edges {
		body.Accounts = append(body.Accounts, e.Node)
	}
	return &view{template: "accounts", Title: "Accounts", status: f.status(), Body: body}, nil
}

// accountPage is an account with its statement.
type accountPage struct {
	ID      string
	Version uint64
	Account *bank.Account
	Forms   map[string]*form // by action
	Rows    []row            // the newest first
	Pages   link
	Path    string
}

// row is an event in a statement.
type row struct {
	Version  uint64
	At       time.Time
	Text     string
	Change   string // of the balance, with its sign
	Balance  bank.Money
	Transfer string // its id; "": it is none
}

// Number is the account's number.
func (a *accountPage) Number() string { return a.Account.Number }

func (p *pages) account(r *http.Request) (*view, error) {
	acc, err := p.loadAccount(r)
	if err != nil {
		return nil, err
	}
	switch q := r.URL.Query(); {
	case q.Get("version") != "":
		return p.atVersion(r, acc, q.Get("version"))
	case q.Get("time") != "":
		return p.atTime(r, acc, q.Get("time"))
	}
	return p.accountWith(r, acc, "", nil)
}

// accountWith is an account's page, with a form that was not accepted, if any.
func (p *pages) accountWith(r *http.Request, acc *evento.Loaded[bank.Account], action string, f *form) (*view, error) {
	path := accountPath(acc.State.Number)
	body := &accountPage{
		ID: acc.ID, Version: acc.Version, Account: &acc.State, Forms: map[string]*form{},
		Path: path,
	}
	for a := range actions {
		body.Forms[a] = newForm()
	}
	status := 0
	if f != nil {
		body.Forms[action], status = f, f.status()
	}
	query := r.URL.Query()
	args, err := cursor.ArgsFrom(query, pageSize)
	if err == nil && !query.Has("after") {
		args, err = cursor.Backward(pageRows, cursor.Value(query.Get("before"))), nil
	}
	if err != nil {
		return nil, err
	}
	page, err := p.events.Read(r.Context(), evento.Query{Filters: []evento.Filter{bank.AccountFilter(acc.ID)}}, args)
	if err != nil {
		return nil, err
	}
	body.Pages = links(path, page.PageInfo, true)
	if body.Rows, err = p.rows(r, acc.State.Number, page); err != nil {
		return nil, err
	}
	return &view{template: "account", Title: "Account " + bank.Show(acc.State.Number), status: status, Body: body}, nil
}

// rows are the events of a page, the newest first, each with the balance after it: the
// account as it was before the page, and what each event makes of it.
func (p *pages) rows(r *http.Request, number string, page *cursor.Page[evento.RawEvent]) ([]row, error) {
	if len(page.Edges) == 0 {
		return nil, nil
	}
	var a bank.Account
	if first := page.Edges[0].Node.Version; first > 1 {
		before, err := p.bank.AtVersion(r.Context(), number, first-1)
		if err != nil {
			return nil, err
		}
		a = before.State
	}
	rows := make([]row, 0, len(page.Edges))
	for i := range page.Edges {
		e := &page.Edges[i].Node
		payload, err := bank.DecodeAccount(*e)
		if err != nil {
			return nil, err
		}
		before := a.Balance
		if err := bank.ApplyAccount(&a, payload); err != nil {
			return nil, err
		}
		text, at := bank.Describe(payload)
		rows = append(rows, row{Version: e.Version, At: at, Text: text, Change: signed(a.Balance - before), Balance: a.Balance, Transfer: transferOf(payload)})
	}
	slices.Reverse(rows)
	return rows, nil
}

// signed is a change, "" if it is none.
func signed(m bank.Money) string {
	switch {
	case m > 0:
		return "+" + m.String()
	case m < 0:
		return m.String()
	}
	return ""
}

// thenPage is an account as it was.
type thenPage struct {
	Number, Asked   string
	Path            string
	Version, Latest uint64
	Earlier, Later  uint64 // versions; 0: none
	Stored          time.Time
	Event           row
	Lines           []line
}

// line is a part of an account's state: before the event, after it, and now.
type line struct {
	Name, Before, Then, Now string
	Changed                 bool
}

func (p *pages) atVersion(r *http.Request, now *evento.Loaded[bank.Account], asked string) (*view, error) {
	version, err := strconv.ParseUint(asked, 10, 63)
	if err != nil || version == 0 {
		return nil, notFound("Versions are 1, 2, 3, …")
	}
	then, err := p.bank.AtVersion(r.Context(), now.State.Number, version)
	if err != nil {
		return nil, err
	}
	return p.then(r, now, then, "")
}

// timeFormats are what browsers send for a field of a time.
var timeFormats = []string{"2006-01-02T15:04:05", "2006-01-02T15:04", time.RFC3339}

func (p *pages) atTime(r *http.Request, now *evento.Loaded[bank.Account], asked string) (*view, error) {
	for _, format := range timeFormats {
		at, err := time.Parse(format, asked)
		if err != nil {
			continue
		}
		then, err := p.bank.AsOf(r.Context(), now.State.Number, at)
		if err != nil {
			return nil, err
		}
		return p.then(r, now, then, at.UTC().Format("2006-01-02 15:04:05"))
	}
	return nil, &problem{http.StatusBadRequest, "A time is written as 2026-03-02T15:04:05."}
}

// then is the page of an account as it was at a version.
func (p *pages) then(r *http.Request, now, then *evento.Loaded[bank.Account], asked string) (*view, error) {
	number := now.State.Number
	before := &evento.Loaded[bank.Account]{}
	if then.Version > 1 {
		var err error
		if before, err = p.bank.AtVersion(r.Context(), number, then.Version-1); err != nil {
			return nil, err
		}
	}
	at, err := p.events.CursorAt(before.Position)
	if err != nil {
		return nil, err
	}
	event, err := p.events.Read(r.Context(), evento.Query{Filters: []evento.Filter{bank.AccountFilter(now.ID)}}, cursor.Forward(1, at))
	if err != nil {
		return nil, err
	}
	if len(event.Edges) == 0 {
		return nil, errors.New("an event that was loaded is not there")
	}
	rows, err := p.rows(r, number, event)
	if err != nil {
		return nil, err
	}
	body := &thenPage{
		Number: number, Asked: asked, Version: then.Version, Latest: now.Version, Earlier: then.Version - 1,
		Path:   accountPath(number),
		Stored: event.Edges[0].Node.Timestamp, Event: rows[0], Lines: lines(&before.State, &then.State, &now.State),
	}
	if then.Version < now.Version {
		body.Later = then.Version + 1
	}
	return &view{template: "then", Title: "Account " + bank.Show(number) + " at version " + strconv.FormatUint(then.Version, 10), Body: body}, nil
}

// lines compares three states of an account.
func lines(before, then, now *bank.Account) []line {
	of := func(name string, value func(*bank.Account) string) line {
		l := line{Name: name, Then: value(then), Now: value(now)}
		if before.Opened {
			l.Before = value(before)
		}
		l.Changed = l.Before != l.Then
		return l
	}
	return []line{
		of("Balance", func(a *bank.Account) string { return a.Balance.String() }),
		of("In flight", func(a *bank.Account) string { return a.MoneyInFlight().String() }),
		of("Status", (*bank.Account).Status),
		of("Owner", func(a *bank.Account) string { return bank.Show(a.Owner) }),
		of("Overdraft", func(a *bank.Account) string { return a.Overdraft.String() }),
		of("Daily limit", func(a *bank.Account) string { return a.DailyLimit.String() }),
	}
}
