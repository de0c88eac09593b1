package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// conditional appends to one aggregate for each writer. With conditions, a write is stored
// only if nobody else has added to an aggregate that is the writer's.
type conditional struct {
	ex         evento.Executor
	conditions bool
	data       []byte
	heads      []evento.Receipt
	at         []cursor.Value
}

func (c *conditional) append(n int) error {
	errs := make([]error, len(c.heads))
	var wg sync.WaitGroup
	for i := range c.heads {
		wg.Go(func() {
			for range n / len(c.heads) {
				if errs[i] = c.one(i); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *conditional) one(i int) error {
	h := &c.heads[i]
	w := evento.Write{Appends: []evento.Append{{
		AggregateType: account, AggregateID: h.AggregateID, Expected: h.Version,
		Events: []evento.NewEvent{{ID: evento.NewID(), Name: payload.EventName(), Codec: "cbor", Data: c.data}},
	}}}
	if c.conditions {
		w.Unless = []evento.Condition{{Query: evento.Query{Filters: []evento.Filter{evento.ByID("bench/Guard", h.AggregateID)}}, After: c.at[i]}}
	}
	receipts, err := c.ex.Write(context.Background(), w)
	if err != nil {
		return err
	}
	c.heads[i] = receipts[0]
	c.at[i], err = c.ex.CursorAt(receipts[0].Position)
	return err
}

// BenchmarkConditional compares appends with a condition that nobody else's events concern
// with plain ones.
func BenchmarkConditional(b *testing.B) {
	data, err := cbor.Marshal(payload)
	if err != nil {
		b.Fatal(err)
	}
	for _, writers := range []int{1, 64} {
		n, reach := 500, 0.75
		if writers > 1 {
			n, reach = writers*100, 0.6
		}
		onEach(b, func(b *testing.B, ex evento.Executor) {
			b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
				with, without := &conditional{ex: ex, conditions: true, data: data}, &conditional{ex: ex, data: data}
				for _, c := range []*conditional{with, without} {
					c.heads, c.at = newWriters(b, ex, writers).heads, make([]cursor.Value, writers)
					for i, h := range c.heads {
						if c.at[i], err = ex.CursorAt(h.Position); err != nil {
							b.Fatal(err)
						}
					}
				}
				compare(b, reach,
					func() float64 { return rate(b, n, func() error { return with.append(n) }) },
					func() float64 { return rate(b, n, func() error { return without.append(n) }) })
			})
		})
	}
}
