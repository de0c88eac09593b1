// A short story, on a database of its own.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/examples/bank/bank"
)

// narrator prints what happens, step by step. Refusals are part of the story; the
// first other error ends it.
type narrator struct {
	out io.Writer
	err error
}

func (n *narrator) say(format string, args ...any) {
	if n.err == nil {
		fmt.Fprintf(n.out, format+"\n", args...)
	}
}

// tell prints what was requested and the result.
func (n *narrator) tell(what string, err error) {
	var refusal bank.RefusalError
	switch {
	case n.err != nil:
	case err == nil:
		n.say("  %s.", what)
	case errors.As(err, &refusal):
		n.say("  %s? No: %s.", what, refusal)
	default:
		n.err = err
	}
}

// run does something that no account can refuse.
func (n *narrator) run(do func() error) {
	if n.err == nil {
		n.err = do()
	}
}

// tellStory prints what three customers do in two days. A long-running program
// would start the subscriptions once; the story executes them where it shows their
// effect.
func tellStory(ctx context.Context, s *store, out io.Writer) error {
	const alice, bob, carol = "1001", "1002", "1003"
	b, n := s.bank, &narrator{out: out}
	monday := time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)
	tuesday := monday.AddDate(0, 0, 1)
	transfers := func() error { return b.Transfers().Execute(ctx, s.ex) }

	n.say("Monday. Three customers open accounts.")
	n.tell("Alice opens account 1001", b.Open(ctx, alice, "Alice Adler", monday))
	n.tell("Bob opens account 1002", b.Open(ctx, bob, "Bob Baker", monday))
	n.tell("Carol opens account 1003", b.Open(ctx, carol, "Carol Clark", monday))
	n.tell("Bob opens account 1001", b.Open(ctx, alice, "Bob Baker", monday))

	n.say("\nMoney comes and goes, as far as there is some.")
	n.tell("Alice deposits 500.00", b.Deposit(ctx, alice, 500_00, monday))
	n.tell("Bob deposits 80.00", b.Deposit(ctx, bob, 80_00, monday))
	n.tell("Bob withdraws 100.00", b.Withdraw(ctx, bob, 100_00, monday))
	n.tell("Bob gets an overdraft of 50.00 and a daily limit of 120.00", b.SetLimits(ctx, bob, 50_00, 120_00, monday))
	n.tell("Bob withdraws 100.00", b.Withdraw(ctx, bob, 100_00, monday))
	n.tell("Bob withdraws 25.00", b.Withdraw(ctx, bob, 25_00, monday))
	n.tell("Bob withdraws 25.00 on Tuesday", b.Withdraw(ctx, bob, 25_00, tuesday))

	n.say("\nA transfer is sent by one account, and a subscription brings it to the other.")
	n.tell("Alice sends Bob 200.00", b.Transfer(ctx, alice, bob, 200_00, tuesday))
	n.run(func() error { return n.accounts(ctx, b, alice, bob) })
	n.run(transfers)
	n.say("  The subscription has run.")
	n.run(func() error { return n.accounts(ctx, b, alice, bob) })

	n.say("\nA transfer that cannot arrive comes back.")
	n.tell("Alice sends 50.00 to account 4711", b.Transfer(ctx, alice, "4711", 50_00, tuesday))
	n.tell("Alice closes her account", b.Close(ctx, alice, tuesday))
	n.run(transfers)
	n.run(func() error { return n.accounts(ctx, b, alice) })

	n.say("\nA frozen account takes money in and gives none out.")
	n.tell("The bank freezes Bob's account", b.Freeze(ctx, bob, tuesday))
	n.tell("Bob withdraws 10.00", b.Withdraw(ctx, bob, 10_00, tuesday))
	n.tell("Alice sends Bob 300.00", b.Transfer(ctx, alice, bob, 300_00, tuesday))
	n.run(transfers)
	n.tell("The bank unfreezes it", b.Unfreeze(ctx, bob, tuesday))
	n.tell("Bob withdraws 10.00", b.Withdraw(ctx, bob, 10_00, tuesday))

	n.say("\nAn account is closed for good, once it is empty.")
	n.tell("Bob closes his account", b.Close(ctx, bob, tuesday))
	n.tell("Alice closes her account", b.Close(ctx, alice, tuesday))
	n.tell("Alice deposits 1.00", b.Deposit(ctx, alice, 1_00, tuesday))
	n.tell("Alice opens account 1001 again", b.Open(ctx, alice, "Alice Adler", tuesday))

	n.say("\nThe accounts, from the read model:")
	n.run(func() error { return s.balances.Subscription().Execute(ctx, s.ex) })
	n.run(func() error { return printBalances(ctx, s.balances, out) })

	n.say("\nThe history of Alice's account, from its events:")
	n.run(func() error { return printHistory(ctx, s.ex, alice, out) })

	n.say("\nThe same account as it was at version 3:")
	n.run(func() error { return printVersion(ctx, b, alice, 3, out) })
	return n.err
}

// accounts prints the balances of some accounts.
func (n *narrator) accounts(ctx context.Context, b *bank.Bank, numbers ...string) error {
	for _, number := range numbers {
		acc, err := b.Load(ctx, number)
		if err != nil {
			return err
		}
		flying := ""
		if f := acc.State.MoneyInFlight(); f > 0 {
			flying = fmt.Sprintf(", and %s in flight", f)
		}
		n.say("    %s has %s%s, at version %d", acc.State.Owner, acc.State.Balance, flying, acc.Version)
	}
	return nil
}

// isEmpty reports whether a store has no events.
func isEmpty(ctx context.Context, ex evento.Executor) (bool, error) {
	for _, err := range evento.Events(ctx, ex, evento.Query{}) {
		return false, err
	}
	return true, nil
}
