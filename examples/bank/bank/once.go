// Requests that may come twice.

package bank

import (
	"context"

	"github.com/evento-go/evento"
)

// requestKind is the kind of the records that keep which requests were done.
const requestKind = "bank/request"

// ErrOtherRequest is the refusal of a request whose key another request has had.
const ErrOtherRequest = RefusalError("this was sent before, with other values: nothing was done now")

// Once does something for a request, which has a key that no other request has. When
// the request comes again, even at the same time or to another process, nothing is
// done, and Once returns nil. says is what the request asks for: another request with
// the same key is refused.
//
// do gets the bank of a decision: what it commits is stored together with the record
// of the request, or not at all. What was refused may be asked for again with the
// same key. The records stay; examples/uniqueness shows how old ones are removed.
func (b *Bank) Once(ctx context.Context, key string, says []string, do func(*Bank) error) error {
	if key == "" {
		return RefusalError("a request needs a key")
	}
	asked := evento.HashIDs(says...)
	again := func(ex evento.Executor) (bool, error) {
		page, err := ex.Records(ctx, evento.RecordQuery{Kind: requestKind, Key: key, Limit: 1})
		if err != nil || len(page.Records) == 0 {
			return false, err
		}
		if string(page.Records[0].Value) != asked {
			return false, ErrOtherRequest
		}
		return true, nil
	}
	_, err := evento.Decide(ctx, b.ex, func(ctx context.Context, d evento.Executor) error {
		if done, err := again(d); done || err != nil {
			return err
		}
		if err := do(&Bank{ex: d, accounts: b.accounts}); err != nil {
			return err
		}
		return d.Swap(ctx, evento.Swap{Changes: []evento.Change{{
			RecordKey: evento.RecordKey{Kind: requestKind, Key: key}, Value: []byte(asked),
		}}})
	})
	if err != nil { // perhaps by what the same request has done meanwhile
		if done, lookErr := again(b.ex); done && lookErr == nil {
			return nil
		}
	}
	return err
}
