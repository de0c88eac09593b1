// What forms send: each is a request to the bank, which is done once, however often a form
// is sent.

package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/examples/bank/bank"
)

// mostForm is the most bytes of a form.
const mostForm = 64 << 10

// form is a form of a page.
type form struct {
	// Request is the key of what the form asks for. It is made with the page, so a form
	// that is sent twice asks for one thing.
	Request string
	Number  string // what was typed
	Owner   string
	Amount  string
	To      string
	Error   string // why it was not accepted
}

func newForm() *form { return &form{Request: evento.NewID().String()} }

// status is that of a page with the form.
func (f *form) status() int {
	if f.Error != "" {
		return http.StatusUnprocessableEntity
	}
	return 0
}

// formOf reads what was sent.
func formOf(r *http.Request) (*form, error) {
	if err := r.ParseForm(); err != nil {
		return nil, &problem{http.StatusBadRequest, "This form could not be read."}
	}
	field := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	f := &form{Request: field("request"), Number: field("number"), Owner: field("owner"), Amount: field("amount"), To: field("to")}
	if len(f.Request) != len(evento.ID{}.String()) || !utf8.ValidString(f.Request) {
		return nil, &problem{http.StatusBadRequest, "This form is not one of the bank's. Load the page again."}
	}
	return f, nil
}

// do does what a form asks for, once. What the bank refuses is said in the form; any other
// error is a failure.
func (p *pages) do(ctx context.Context, f *form, says []string, do func(*bank.Bank) error) (accepted bool, err error) {
	err = bank.RefusalError("this is not text in UTF-8")
	if utf8.ValidString(strings.Join(says, "")) {
		err = p.bank.Once(ctx, f.Request, says, do)
	}
	var refusal bank.RefusalError
	if errors.As(err, &refusal) {
		f.Error = sentence(refusal.Error())
		if errors.Is(err, bank.ErrOtherRequest) {
			f.Request = newForm().Request // of what was typed now
		}
		p.logger.Info("refused", "request", f.Request, "reason", refusal.Error())
		return false, nil
	}
	if err == nil {
		p.logger.Info("done", "request", f.Request, "what", says[0])
	}
	return err == nil, err
}

// open opens an account.
func (p *pages) open(r *http.Request) (*view, error) {
	f, err := formOf(r)
	if err != nil {
		return nil, err
	}
	accepted, err := p.do(r.Context(), f, []string{"open", f.Number, f.Owner}, func(b *bank.Bank) error {
		return b.Open(r.Context(), f.Number, f.Owner, time.Now().UTC())
	})
	if err != nil {
		return nil, err
	}
	if !accepted {
		return p.accountsWith(r, f)
	}
	return seeOther(accountPath(f.Number)), nil
}

// order is what a form of an account asks for.
type order struct {
	number string
	amount bank.Money
	to     string
	id     string // of a transfer
	at     time.Time
}

// action is a form of an account.
type action struct {
	hasAmount bool
	do        func(context.Context, *bank.Bank, order) error
}

// actions are the forms of an account.
var actions = map[string]action{
	"deposit": {true, func(ctx context.Context, b *bank.Bank, o order) error {
		return b.Deposit(ctx, o.number, o.amount, o.at)
	}},
	"withdraw": {true, func(ctx context.Context, b *bank.Bank, o order) error {
		return b.Withdraw(ctx, o.number, o.amount, o.at)
	}},
	"transfer": {true, func(ctx context.Context, b *bank.Bank, o order) error {
		if o.to == "" {
			return bank.RefusalError("a transfer needs an account to which it goes")
		}
		return b.Send(ctx, o.id, o.number, o.to, o.amount, o.at)
	}},
	"freeze": {false, func(ctx context.Context, b *bank.Bank, o order) error {
		return b.Freeze(ctx, o.number, o.at)
	}},
	"unfreeze": {false, func(ctx context.Context, b *bank.Bank, o order) error {
		return b.Unfreeze(ctx, o.number, o.at)
	}},
}

// act does what a form of an account asks for.
func (p *pages) act(r *http.Request) (*view, error) {
	name := r.PathValue("action")
	a, known := actions[name]
	if !known {
		return nil, notFound("There is no such form.")
	}
	acc, err := p.loadAccount(r)
	if err != nil {
		return nil, err
	}
	f, err := formOf(r)
	if err != nil {
		return nil, err
	}
	o := order{number: acc.State.Number, to: f.To, id: evento.HashIDs("form", f.Request), at: time.Now().UTC()}
	accepted, err := p.do(r.Context(), f, []string{name, o.number, f.Amount, f.To}, func(b *bank.Bank) (err error) {
		if a.hasAmount {
			if o.amount, err = bank.ParseMoney(f.Amount); err != nil {
				return err
			}
		}
		return a.do(r.Context(), b, o)
	})
	switch {
	case err != nil:
		return nil, err
	case !accepted:
		return p.accountWith(r, acc, name, f)
	case name == "transfer":
		return seeOther("/transfers/" + o.id), nil
	}
	return seeOther(accountPath(o.number)), nil
}
