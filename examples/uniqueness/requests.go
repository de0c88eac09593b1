// Requests that come twice: they are handled once, and get the first answer.

package main

import (
	"context"
	"errors"
	"time"

	"github.com/evento-go/evento"
)

// Ordered is the first event of an order.
type Ordered struct{ Account, What string }

func (Ordered) AggregateType() evento.AggregateType { return "members/Order" }
func (Ordered) EventName() string                   { return "Ordered" }

// errNoKey: all requests without a key would be the same one.
var errNoKey = errors.New("the request has no key")

// order places an order. Its id is made of the request, so each request makes one order:
// when it comes again, the order is there already.
func order(ctx context.Context, ex evento.Executor, request, account, what string) (id string, err error) {
	if request == "" {
		return "", errNoKey
	}
	id = evento.HashIDs(account, request)
	_, err = evento.Aggregate(id).Event(Ordered{Account: account, What: what}).Commit(ctx, ex)
	if errors.Is(err, evento.ErrConflict) {
		err = nil
	}
	return id, err
}

// requestKind is the kind of the records that keep the answers to requests.
const requestKind = "members/request"

// once handles a request, and stores its answer with the events of the decision. When the
// request comes again, it gets that answer, and nothing else happens.
func once(ctx context.Context, ex evento.Executor, request string, decide func(ctx context.Context, d evento.Executor) (answer string, err error)) (answer string, err error) {
	if request == "" {
		return "", errNoKey
	}
	key := evento.RecordKey{Kind: requestKind, Key: request}
	_, err = evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		first, found, err := answerTo(ctx, d, request)
		if err != nil || found {
			answer = first
			return err
		}
		stored, err := evento.Decide(ctx, d, func(ctx context.Context, d evento.Executor) (err error) {
			answer, err = decide(ctx, d)
			return err
		})
		if err != nil || len(stored) == 0 { // what stores nothing may be decided again
			return err
		}
		return d.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: key, Value: []byte(answer)}}})
	})
	if err != nil { // perhaps by what the same request has done meanwhile
		if first, found, lookErr := answerTo(ctx, ex, request); lookErr == nil && found {
			return first, nil
		}
	}
	return answer, err
}

// answerTo returns the answer that a request has got.
func answerTo(ctx context.Context, ex evento.Executor, request string) (answer string, found bool, err error) {
	page, err := ex.Records(ctx, evento.RecordQuery{Kind: requestKind, Key: request, Limit: 1})
	if err != nil || len(page.Records) == 0 {
		return "", false, err
	}
	return string(page.Records[0].Value), true, nil
}

// forget removes the answers that are older than age: no client sends such a request again.
func forget(ctx context.Context, ex evento.Executor, age time.Duration) error {
	for q := (evento.RecordQuery{Kind: requestKind}); ; {
		page, err := ex.Records(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			q.After = r.RecordKey
			if page.Now.Sub(r.ChangedAt) < age {
				continue
			}
			remove := evento.Change{RecordKey: r.RecordKey, Revision: r.Revision, Remove: true}
			err := ex.Swap(ctx, evento.Swap{Changes: []evento.Change{remove}})
			if err != nil && !errors.Is(err, evento.ErrSwapped) { // ErrSwapped: another process removed it
				return err
			}
		}
		if !page.More {
			return nil
		}
	}
}
