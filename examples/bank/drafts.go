// The aggregates that an applier works on: their states, and the events that are
// decided but not yet committed.

package main

import (
	"context"
	"errors"
	"slices"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/examples/bank/bank"
)

// draft is an aggregate's part of the current commit.
type draft interface {
	pending() bool
	commit() *evento.CommitBuilder
	committed(evento.Receipt)
}

// accountDraft is an account; its State has the pending events applied.
type accountDraft struct {
	*evento.Loaded[bank.Account]
	events []evento.Payload
}

func (d *accountDraft) pending() bool { return len(d.events) > 0 }

func (d *accountDraft) commit() *evento.CommitBuilder {
	b := d.Aggregate().Event(d.events...)
	if slices.ContainsFunc(d.events, func(e evento.Payload) bool { _, ok := e.(bank.TransferSent); return ok }) {
		b.Metadata(bank.SettledKey, "yes")
	}
	return b
}

func (d *accountDraft) committed(r evento.Receipt) { d.Version, d.events = r.Version, nil }

// dayDraft is a day of the ledger; its state too has the pending events applied.
type dayDraft struct {
	*evento.Loaded[LedgerDay]
	judged StatementsJudged
}

func (d *dayDraft) accept(id StatementID) {
	d.judged.Applied = append(d.judged.Applied, id)
	d.State.judge(StatementsJudged{Applied: []StatementID{id}})
}

func (d *dayDraft) refuse(id StatementID, reason string) {
	r := RefusedStatement{ID: id, Reason: reason}
	d.judged.Refused = append(d.judged.Refused, r)
	d.State.judge(StatementsJudged{Refused: []RefusedStatement{r}})
}

func (d *dayDraft) pending() bool { return len(d.judged.Applied)+len(d.judged.Refused) > 0 }

func (d *dayDraft) commit() *evento.CommitBuilder { return d.Aggregate().Event(d.judged) }

func (d *dayDraft) committed(r evento.Receipt) { d.Version, d.judged = r.Version, StatementsJudged{} }

// account returns an account, which need not exist.
func (a *applier) account(ctx context.Context, number string) (*accountDraft, error) {
	if d := a.accounts[number]; d != nil {
		return d, nil
	}
	acc, err := a.bank.Load(ctx, number)
	if err != nil {
		return nil, err
	}
	d := &accountDraft{Loaded: acc}
	a.accounts[number] = d
	return d, nil
}

// day returns a day of the ledger.
func (a *applier) day(ctx context.Context, day bank.Day) (*dayDraft, error) {
	if d := a.days[day]; d != nil {
		return d, nil
	}
	loaded, err := a.ledger.Load(ctx, a.bank.Executor(), string(day))
	if errors.Is(err, evento.ErrNotFound) {
		loaded, err = &evento.Loaded[LedgerDay]{ID: string(day)}, nil
	}
	if err != nil {
		return nil, err
	}
	d := &dayDraft{Loaded: loaded}
	a.days[day] = d
	return d, nil
}

// touch adds a draft to the current commit, before its first event.
func (a *applier) touch(d draft) {
	if !d.pending() {
		a.touched = append(a.touched, d)
	}
}

func (a *applier) add(d *accountDraft, events ...evento.Payload) error {
	a.touch(d)
	for _, e := range events {
		if err := bank.ApplyAccount(&d.State, e); err != nil {
			return err
		}
		d.events = append(d.events, e)
	}
	return nil
}

// forget drops all states that are known and not committed; they will be loaded
// again.
func (a *applier) forget() {
	clear(a.accounts)
	clear(a.days)
	a.touched = nil
}

// commit stores all decided events in one commit.
func (a *applier) commit(ctx context.Context) error {
	if len(a.touched) == 0 {
		return nil
	}
	builders := make([]*evento.CommitBuilder, len(a.touched))
	for i, d := range a.touched {
		builders[i] = d.commit()
	}
	receipts, err := evento.CommitAll(ctx, a.bank.Executor(), builders...)
	for range 3 {
		if !errors.Is(err, evento.ErrOutcomeUnknown) {
			break
		}
		receipts, err = evento.CommitAll(ctx, a.bank.Executor(), builders...) // the same builders: never stored twice
	}
	if err != nil {
		return err
	}
	for i, d := range a.touched {
		d.committed(receipts[i])
	}
	a.touched = a.touched[:0]
	a.limitMemory()
	return nil
}

// limitMemory forgets all states when there are too many: a file with more accounts
// than are kept loads some of them again.
func (a *applier) limitMemory() {
	states := len(a.accounts)
	for _, d := range a.days {
		states += len(d.State.Outcomes)
	}
	if states > a.keep {
		a.forget()
	}
}
