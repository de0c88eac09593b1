// Accounts, and the rule that an email belongs to one of them.

package main

import (
	"context"
	"errors"
	"strings"

	"github.com/evento-go/evento"
)

const accountType evento.AggregateType = "members/Account"

type (
	Registered   struct{ Email string }
	EmailChanged struct{ From, To string }
	Closed       struct{ Email string }
)

func (Registered) AggregateType() evento.AggregateType   { return accountType }
func (Registered) EventName() string                     { return "Registered" }
func (EmailChanged) AggregateType() evento.AggregateType { return accountType }
func (EmailChanged) EventName() string                   { return "EmailChanged" }
func (Closed) AggregateType() evento.AggregateType       { return accountType }
func (Closed) EventName() string                         { return "Closed" }

// Each event has the tags of the emails that it claims or releases.
func (e Registered) Tags() []string   { return []string{emailTag(e.Email)} }
func (e EmailChanged) Tags() []string { return []string{emailTag(e.From), emailTag(e.To)} }
func (e Closed) Tags() []string       { return []string{emailTag(e.Email)} }

func emailTag(email string) string { return "email:" + email }

// Account is what has become of one: its email, "" when it is closed.
type Account struct{ Email string }

var accounts = evento.NewProjection[Account]("account", accountType).Handler(
	evento.Apply(func(a *Account, e evento.Event[Registered]) error { a.Email = e.Data.Email; return nil }),
	evento.Apply(func(a *Account, e evento.Event[EmailChanged]) error { a.Email = e.Data.To; return nil }),
	evento.Apply(func(a *Account, e evento.Event[Closed]) error { a.Email = ""; return nil }),
)

var (
	errTaken  = errors.New("the email is taken")
	errClosed = errors.New("the account is closed")
)

// holderOf returns the account that has an email; "": nobody has it.
func holderOf(ctx context.Context, ex evento.Executor, email string) (id string, err error) {
	return evento.Fold(ctx, ex, []string{emailTag(email)},
		evento.Apply(func(id *string, e evento.Event[Registered]) error { *id = e.AggregateID; return nil }),
		evento.Apply(func(id *string, e evento.Event[Closed]) error { *id = ""; return nil }),
		evento.Apply(func(id *string, e evento.Event[EmailChanged]) error {
			if *id = ""; e.Data.To == email {
				*id = e.AggregateID
			}
			return nil
		}))
}

// register makes an account, unless another has the email.
func register(ctx context.Context, ex evento.Executor, email string) (id string, err error) {
	email, id = strings.ToLower(email), evento.NewID().String()
	_, err = evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		switch holder, err := holderOf(ctx, d, email); {
		case err != nil:
			return err
		case holder != "":
			return errTaken
		}
		_, err := evento.Aggregate(id).Event(Registered{Email: email}).Commit(ctx, d)
		return err
	})
	return id, err
}

// changeEmail claims an email for an account, and releases the one that it had.
func changeEmail(ctx context.Context, ex evento.Executor, id, email string) error {
	email = strings.ToLower(email)
	_, err := evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		account, err := accounts.Load(ctx, d, id)
		if err != nil {
			return err
		}
		holder, err := holderOf(ctx, d, email)
		switch {
		case err != nil:
			return err
		case account.State.Email == "":
			return errClosed
		case holder == id:
			return nil
		case holder != "":
			return errTaken
		}
		_, err = account.Aggregate().Event(EmailChanged{From: account.State.Email, To: email}).Commit(ctx, d)
		return err
	})
	return err
}

// closeAccount releases the account's email. It is about one aggregate, so Update will do.
func closeAccount(ctx context.Context, ex evento.Executor, id string) error {
	_, err := accounts.Update(ctx, ex, id, func(a *evento.Loaded[Account]) ([]evento.Payload, error) {
		if a.State.Email == "" {
			return nil, nil
		}
		return []evento.Payload{Closed{Email: a.State.Email}}, nil
	})
	return err
}
