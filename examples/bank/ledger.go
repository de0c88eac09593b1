// The ledger: which statements were judged already. Its events are stored in
// one commit with those of the accounts, so a statement is either in both or
// in neither, whatever happens to the program; and as its aggregates have
// versions like any other, of two programs that apply the same statement at
// the same time one gets a conflict, and then finds it judged.

package main

import "github.com/evento-go/evento"

// LedgerType is the type of the ledger's aggregates: one for each day, with
// the statements that are dated on it. A file then needs the days that it has
// lines of, however long the bank's history is.
const LedgerType evento.AggregateType = "bank/LedgerDay"

// StatementsJudged is in every commit that comes of statements.
type StatementsJudged struct {
	Applied []StatementID
	Refused []RefusedStatement
}

// RefusedStatement is a refusal. It is final: the statement is not judged
// again when the account has changed, and a file has the same outcome however
// often it is applied.
type RefusedStatement struct {
	ID     StatementID
	Reason string
}

func (StatementsJudged) AggregateType() evento.AggregateType { return LedgerType }
func (StatementsJudged) EventName() string                   { return "StatementsJudged" }

// LedgerDay is the outcome of each statement of a day: the reason why it was
// refused, or "" when it was applied.
type LedgerDay struct{ Outcomes map[StatementID]string }

func (e StatementsJudged) apply(d *LedgerDay) {
	if d.Outcomes == nil {
		d.Outcomes = map[StatementID]string{}
	}
	for _, id := range e.Applied {
		d.Outcomes[id] = ""
	}
	for _, r := range e.Refused {
		d.Outcomes[r.ID] = r.Reason
	}
}

func newLedger() *evento.Projection[LedgerDay] {
	return evento.NewProjection[LedgerDay]("ledger-day", LedgerType).
		Handler(evento.Apply(func(d *LedgerDay, e evento.Event[StatementsJudged]) error {
			e.Data.apply(d)
			return nil
		})).
		SafetyCheck()
}
