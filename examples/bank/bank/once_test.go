package bank

import (
	"errors"
	"sync"
	"testing"
)

// A request that comes again does nothing, and one that was refused may come again.
func TestOnce(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), open3(t)
	withdraw := func(key string, amount Money) error {
		return b.Once(ctx, key, []string{"withdraw", amount.String()}, func(b *Bank) error {
			return b.Withdraw(ctx, "1", amount, at())
		})
	}
	must(t, withdraw("a", 30_00))
	must(t, withdraw("a", 30_00))
	must(t, withdraw("b", 30_00))
	if err := withdraw("a", 31_00); !errors.Is(err, ErrOtherRequest) {
		t.Errorf("another request of the same key: %v, want %v", err, ErrOtherRequest)
	}
	if err := withdraw("c", 41_00); !errors.Is(err, RefusalError("account 1 has 40.00 to spend, not 41.00")) {
		t.Errorf("a withdrawal of too much: %v", err)
	}
	must(t, b.Deposit(ctx, "1", 1_00, at()))
	must(t, withdraw("c", 41_00))
	must(t, withdraw("c", 41_00))
	if err := withdraw("", 1); err == nil {
		t.Error("a request without a key was done")
	}
	if got := balance(t, b, "1"); got != "0.00 + 0.00" {
		t.Errorf("balance %s, want 0.00", got)
	}
}

// One request that comes several times at once is done once, whatever it asks for.
func TestOnceAtOnce(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), open3(t)
	var wg sync.WaitGroup
	for range 8 {
		for name, do := range map[string]func(*Bank) error{
			"deposit": func(b *Bank) error { return b.Deposit(ctx, "1", 5_00, at()) },
			"send":    func(b *Bank) error { return b.Send(ctx, "t", "2", "3", 10_00, at()) },
			"open":    func(b *Bank) error { return b.Open(ctx, "4", "Dan", at()) },
			"freeze":  func(b *Bank) error { return b.Freeze(ctx, "3", at()) },
		} {
			wg.Go(func() {
				if err := b.Once(ctx, name, []string{name}, do); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
	wg.Wait()
	if one, two := balance(t, b, "1"), balance(t, b, "2"); one != "105.00 + 0.00" || two != "90.00 + 10.00" {
		t.Errorf("balances %s and %s, want 105.00 and 90.00 with 10.00 in flight", one, two)
	}
}
