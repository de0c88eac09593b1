// The ledger: which statements were judged already. Its events are in one commit
// with those of the accounts, so a statement is in both or in neither, even after a
// crash. Its aggregates have versions like any other: if two programs apply the
// same statement at the same time, one of them gets a conflict, loads again, and
// finds that the statement was judged.

package main

import "github.com/evento-go/evento"

//go:generate go run github.com/evento-go/evento/cmd/evento-gen

// StatementsJudged is in every commit of statements. The ledger's aggregates are
// days; each has the statements dated on it. So a file needs only the days of its
// own lines, however long the bank's history is.
//
//evento:aggregate bank/LedgerDay Ledger
type StatementsJudged struct {
	Applied []StatementID
	Refused []RefusedStatement
}

// RefusedStatement is a refusal. It is final: the statement is not judged again
// when the account has changed, so a file has the same outcome however often it is
// applied.
type RefusedStatement struct {
	ID     StatementID
	Reason string
}

// LedgerDay has the outcome of each statement of a day: the reason why it was
// refused, or "" if it was applied.
type LedgerDay struct{ Outcomes map[StatementID]string }

var _ LedgerView = (*LedgerDay)(nil)

// OnStatementsJudged makes LedgerDay a LedgerView.
func (d *LedgerDay) OnStatementsJudged(e evento.Event[StatementsJudged]) error {
	d.judge(e.Data)
	return nil
}

func (d *LedgerDay) judge(e StatementsJudged) {
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
		Handler(LedgerHandlers[LedgerDay]()...).
		SafetyCheck()
}
