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
	"github.com/evento-go/evento/executor/postgres"
)

// conditional appends to one aggregate for each writer. With conditions, its events have two
// tags of the writer's, and a write is stored only if nobody else has added one with both.
type conditional struct {
	ex         evento.Executor
	conditions bool
	data       []byte
	heads      []evento.Receipt
	at         []cursor.Value
}

// read moves the places of all writers to the end of the store, as decisions do that read
// before they write.
func (c *conditional) read() error {
	page, err := c.ex.Read(context.Background(), evento.Query{}, cursor.Backward(1, ""))
	if err != nil {
		return err
	}
	for i := range c.at {
		c.at[i] = page.Edges[0].Cursor
	}
	return nil
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
		tags := []string{"course:" + h.AggregateID, "student:" + h.AggregateID}
		w.Appends[0].Events[0].Tags = tags
		w.Unless = []evento.Condition{{Query: evento.Query{Filters: []evento.Filter{evento.ByTags(tags...)}}, After: c.at[i]}}
	}
	receipts, err := c.ex.Write(context.Background(), w)
	if err != nil {
		return err
	}
	c.heads[i] = receipts[0]
	c.at[i], err = c.ex.CursorAt(receipts[0].Position)
	return err
}

// BenchmarkConditional compares appends of tagged events, with a condition on the tags that
// nobody else's events concern, with plain ones.
func BenchmarkConditional(b *testing.B) {
	data, err := cbor.Marshal(payload)
	if err != nil {
		b.Fatal(err)
	}
	onEach(b, func(b *testing.B, ex evento.Executor) {
		for _, writers := range []int{1, 64} {
			n := 500
			if writers > 1 {
				n = writers * 100
			}
			reach := 0.75
			if _, postgres := ex.(*postgres.Executor); writers > 1 {
				if reach = 0.4; postgres {
					reach = 0.6
				}
			}
			b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
				with, without := &conditional{ex: ex, conditions: true, data: data}, &conditional{ex: ex, data: data}
				for _, c := range []*conditional{with, without} {
					c.heads, c.at = newWriters(b, ex, writers).heads, make([]cursor.Value, writers)
				}
				compare(b, reach,
					func() float64 {
						if err := with.read(); err != nil {
							b.Fatal(err)
						}
						return rate(b, n, func() error { return with.append(n) })
					},
					func() float64 { return rate(b, n, func() error { return without.append(n) }) })
			})
		}
	})
}
