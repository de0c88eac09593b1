package main

import (
	"context"
	"fmt"
	"io"
	"math/big"

	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/examples/bank/bank"
)

// printBalances prints every account of the read model, page after page.
func printBalances(ctx context.Context, m *bank.Balances, out io.Writer) error {
	const line = "%15s  %12s  %-6s  %-14s  %s\n"
	fmt.Fprintf(out, line, "BALANCE", "IN FLIGHT", "STATUS", "ACCOUNT", "OWNER")
	accounts, sum, inFlight := 0, new(big.Int), new(big.Int)
	after := cursor.Value("")
	for {
		page, err := m.Page(ctx, cursor.Onward(500, after))
		if err != nil {
			return err
		}
		for _, edge := range page.Edges {
			b := edge.Node
			fmt.Fprintf(out, line, b.Balance, b.InFlight, b.Status, bank.Show(b.Number), bank.Show(b.Owner))
			accounts++
			sum.Add(sum, big.NewInt(int64(b.Balance)))
			inFlight.Add(inFlight, big.NewInt(int64(b.InFlight)))
		}
		if !page.PageInfo.HasNextPage {
			break
		}
		after = page.PageInfo.EndCursor
	}
	fmt.Fprintf(out, "%15s  %12s  in all, %d accounts\n", decimal(sum), decimal(inFlight), accounts)
	return nil
}

// decimal writes a sum of cents that may be more than Money holds.
func decimal(cents *big.Int) string {
	sign := ""
	if cents.Sign() < 0 {
		sign = "-"
	}
	whole, rest := new(big.Int).QuoRem(new(big.Int).Abs(cents), big.NewInt(100), new(big.Int))
	return fmt.Sprintf("%s%s.%02d", sign, whole, rest.Int64())
}
