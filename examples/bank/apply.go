// Applying statements. A batch of lines is judged, one after the other, on states
// in memory, and the resulting events are stored in one commit. So the lines are
// judged in the order of the file, even if others write meanwhile, and a commit of
// hundreds of events costs little more than one of a single event.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/examples/bank/bank"
)

const (
	// batchLines is how many lines are committed at once.
	batchLines = 500
	// keptStates is how many accounts, or outcomes of statements, an applier keeps
	// in memory: some hundred megabytes.
	keptStates = 500_000
)

// Counts says how many lines of a file were applied, refused, or applied before.
type Counts struct{ Applied, Refused, Already int }

func (c Counts) String() string {
	return fmt.Sprintf("applied %d, refused %d, already applied %d", c.Applied, c.Refused, c.Already)
}

// outcome is the outcome of one line.
type outcome struct {
	refused string // why, or ""
	already bool   // it was applied before this run
}

// applier applies statements. It keeps the states that it has loaded or committed,
// so that most lines need no read. If somebody else commits to one of these
// aggregates, the next commit has a conflict, and everything is loaded again.
type applier struct {
	bank     *bank.Bank
	batch    int // lines in a commit
	keep     int // states in memory
	ledger   *evento.Projection[LedgerDay]
	accounts map[string]*accountDraft // by number
	days     map[bank.Day]*dayDraft
	touched  []draft // those in the current commit, in order of use
}

func newApplier(b *bank.Bank) *applier {
	return &applier{
		bank: b, batch: batchLines, keep: keptStates, ledger: newLedger(),
		accounts: map[string]*accountDraft{}, days: map[bank.Day]*dayDraft{},
	}
}

// applyAll applies the statements of the reader. It returns at the end, after an
// error, or when ctx ends; then it first completes the current batch. It calls
// refused for each refused line, and progress after every batch.
func (a *applier) applyAll(ctx context.Context, r *statementReader, refused func(line int, reason string), progress func(Counts)) (Counts, error) {
	var counts Counts
	for {
		if err := ctx.Err(); err != nil {
			return counts, err
		}
		batch, readErr := r.batch(a.batch)
		outcomes, err := a.apply(context.WithoutCancel(ctx), batch)
		if err != nil {
			return counts, err
		}
		for i, o := range outcomes {
			switch {
			case o.refused != "":
				counts.Refused++
				refused(batch[i].Line, o.refused)
			case o.already:
				counts.Already++
			default:
				counts.Applied++
			}
		}
		progress(counts)
		if errors.Is(readErr, io.EOF) {
			return counts, nil
		}
		if readErr != nil {
			return counts, readErr
		}
	}
}

// apply judges a batch, commits it, and returns the outcome of each line.
func (a *applier) apply(ctx context.Context, batch []Statement) ([]outcome, error) {
	outcomes := make([]outcome, len(batch))
	for i, s := range batch {
		var err error
		if outcomes[i], err = a.judge(ctx, s); err != nil {
			return nil, err
		}
	}
	err := a.commit(ctx)
	if !errors.Is(err, evento.ErrConflict) {
		return outcomes, err
	}
	// Somebody else has changed one of the accounts. Try again on fresh states, in
	// halves, so that a busy writer cannot block us for ever.
	a.forget()
	if len(batch) == 1 {
		return a.apply(ctx, batch)
	}
	first, err := a.apply(ctx, batch[:len(batch)/2])
	if err != nil {
		return nil, err
	}
	second, err := a.apply(ctx, batch[len(batch)/2:])
	return append(first, second...), err
}

// judge decides on a line and adds its events to the current commit. Its error is a
// failure, not a refusal.
func (a *applier) judge(ctx context.Context, s Statement) (outcome, error) {
	if s.Unreadable != "" {
		return outcome{refused: s.Unreadable}, nil
	}
	day, err := a.day(ctx, bank.DayOf(s.At))
	if err != nil {
		return outcome{}, err
	}
	if reason, judged := day.State.Outcomes[s.ID]; judged {
		return outcome{refused: reason, already: true}, nil
	}

	err = a.do(ctx, s)
	var refusal bank.RefusalError
	switch {
	case errors.As(err, &refusal):
		a.touch(day)
		day.refuse(s.ID, refusal.Error())
	case err != nil:
		return outcome{}, err
	default:
		a.touch(day)
		day.accept(s.ID)
	}
	return outcome{refused: string(refusal)}, nil
}

// do executes a statement, or returns a [bank.RefusalError] and changes nothing.
func (a *applier) do(ctx context.Context, s Statement) error {
	acc, err := a.account(ctx, s.Account)
	if err != nil {
		return err
	}
	if s.Kind == "transfer" {
		return a.transfer(ctx, acc, s)
	}
	events, err := decide(&acc.State, s)
	if err != nil {
		return bank.About(s.Account, err)
	}
	return a.add(acc, events...)
}

// decide applies the rules of one account to a statement that concerns only this
// account.
func decide(acc *bank.Account, s Statement) ([]evento.Payload, error) {
	var e evento.Payload
	var err error
	switch s.Kind {
	case "open":
		return open(acc, s)
	case "deposit":
		e, err = acc.Deposit(s.Amount, s.At)
	case "withdraw":
		e, err = acc.Withdraw(s.Amount, s.At)
	case "freeze":
		e, err = acc.Freeze(s.At)
	case "unfreeze":
		e, err = acc.Unfreeze(s.At)
	case "close":
		e, err = acc.Close(s.At)
	default:
		err = fmt.Errorf("bank: no rule for a statement of kind %q", s.Kind)
	}
	return []evento.Payload{e}, err
}

// open also makes the first deposit, if the line has one.
func open(acc *bank.Account, s Statement) ([]evento.Payload, error) {
	opened, err := acc.Open(s.Account, s.Owner, s.At)
	if err != nil || s.Amount == 0 {
		return []evento.Payload{opened}, err
	}
	return []evento.Payload{opened, bank.MoneyDeposited{Amount: s.Amount, At: s.At}}, nil
}

// transfer sends money and completes the transfer at once, so that the next line
// finds the money there. A transfer that the receiver refuses is not sent.
func (a *applier) transfer(ctx context.Context, from *accountDraft, s Statement) error {
	to, err := a.account(ctx, s.Counterparty)
	if err != nil {
		return err
	}
	sent, err := from.State.Send(s.ID.String(), s.Counterparty, s.Amount, s.At)
	if err != nil {
		return bank.About(s.Account, err)
	}
	received, err := to.State.Receive(s.Account, sent)
	if err != nil {
		return bank.About(s.Counterparty, err)
	}
	if err := a.add(from, sent, bank.Completed(sent)); err != nil {
		return err
	}
	return a.add(to, received)
}
