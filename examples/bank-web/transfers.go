// A transfer's steps: its events, on both accounts.

package main

import (
	"net/http"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/examples/bank/bank"
)

// transferPage is a transfer.
type transferPage struct {
	ID       string
	From, To string
	Amount   bank.Money
	Steps    []step
	Returned bool
	Ended    bool
}

// step is an event of a transfer.
type step struct {
	Name, Text string
	Account    string
	Version    uint64
	Stored     time.Time
}

// transferOf returns the id of the transfer that an event is of; "": it is of none.
func transferOf(p evento.Payload) string {
	switch e := p.(type) {
	case bank.TransferSent:
		return e.TransferID
	case bank.TransferReceived:
		return e.TransferID
	case bank.TransferCompleted:
		return e.TransferID
	case bank.TransferReturned:
		return e.TransferID
	}
	return ""
}

// mostSteps is more than a transfer has.
const mostSteps = 10

func (p *pages) transfer(r *http.Request) (*view, error) {
	body := &transferPage{ID: r.PathValue("transfer")}
	query := evento.Query{Filters: []evento.Filter{bank.TransferFilter(body.ID)}}
	if query.Check() != nil {
		return nil, notFound("There is no such transfer.")
	}
	events, err := p.events.Read(r.Context(), query, cursor.Forward(mostSteps, ""))
	if err != nil {
		return nil, err
	}
	for i := range events.Edges {
		if err := p.addStep(r, body, &events.Edges[i].Node); err != nil {
			return nil, err
		}
	}
	if len(body.Steps) == 0 {
		return nil, notFound("There is no such transfer.")
	}
	return &view{template: "transfer", Title: "Transfer of " + body.Amount.String(), Refresh: !body.Ended, Body: body}, nil
}

func (p *pages) addStep(r *http.Request, t *transferPage, e *evento.RawEvent) error {
	payload, err := bank.DecodeAccount(*e)
	if err != nil {
		return err
	}
	acc, err := p.bank.ByID(r.Context(), e.AggregateID)
	if err != nil {
		return err
	}
	s := step{Account: acc.State.Number, Version: e.Version, Stored: e.Timestamp}
	switch e := payload.(type) {
	case bank.TransferSent:
		t.From, t.To, t.Amount = s.Account, e.To, e.Amount
		s.Name, s.Text = "Sent", "The money has left the account, and is in flight."
	case bank.TransferReceived:
		s.Name, s.Text = "Received", "The money is on the other account."
	case bank.TransferCompleted:
		t.Ended = true
		s.Name, s.Text = "Completed", "The sender knows that it has arrived. This is stored together with what the other account has received, or not at all."
	case bank.TransferReturned:
		t.Ended, t.Returned = true, true
		s.Name, s.Text = "Returned", "The money is back: "+e.Reason+"."
	}
	t.Steps = append(t.Steps, s)
	return nil
}
