// Command fill makes a SQLite store with events of many kinds, for measuring:
//
//	go run ./internal/transfer/fill EVENTS PATH
package main

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
)

func main() {
	log.SetFlags(0)
	if err := run(context.Background(), os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	const want = 2
	if len(args) != want {
		return fmt.Errorf("usage: fill EVENTS PATH")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	ex, err := sqlite.Open(ctx, args[1], nil)
	if err != nil {
		return err
	}
	defer func() { _ = ex.Close() }()
	source := rand.New(rand.NewPCG(1, 2)) // the same events each time
	for n > 0 {
		w := write(source, min(n, 1000))
		if _, err := ex.Write(ctx, w); err != nil {
			return err
		}
		n -= min(n, 1000)
	}
	return nil
}

// write makes a commit of events of several aggregates, some of which are new.
func write(source *rand.Rand, n int) (w evento.Write) {
	seen := map[string]bool{}
	for n > 0 {
		id := fmt.Sprint("account-", source.IntN(100_000))
		if seen[id] {
			continue
		}
		seen[id] = true
		a := evento.Append{AggregateType: "bank/Account", AggregateID: id, AnyVersion: true}
		switch source.IntN(4) {
		case 0:
			a.RoutingKey = fmt.Sprint("branch-", source.IntN(50))
		case 1:
			a.Metadata = evento.Metadata{
				RequestedBy: fmt.Sprint("user ", source.IntN(1000)), CorrelationID: evento.NewID().String(),
				Values: map[string]string{"ip": "192.0.2.1", "naïve": "zażółć \"gęślą\" <jaźń> 🐢"},
			}
		}
		for range min(n, 1+source.IntN(8)) {
			kind := source.IntN(6)
			e := evento.NewEvent{ID: evento.NewID(), Name: [...]string{"Opened", "Deposited", "Withdrawn", "Renamed", "Frozen", "Closed"}[kind], Codec: "json"}
			e.Data = fmt.Appendf(nil, `{"amount":%d,"note":%q}`, source.Int64(), strings.Repeat("note ", source.IntN(60)))
			if kind == 0 {
				e.Codec, e.Data = "raw", make([]byte, source.IntN(500))
				for i := range e.Data {
					e.Data[i] = byte(source.Uint32())
				}
			}
			switch source.IntN(4) {
			case 0:
				e.Tags = []string{fmt.Sprint("customer:", source.IntN(20_000))}
			case 1:
				e.Tags = []string{fmt.Sprint("customer:", source.IntN(20_000)), fmt.Sprint("campaign:", source.IntN(20)), "naïve \"tag\""}
			}
			a.Events = append(a.Events, e)
			n--
		}
		w.Appends = append(w.Appends, a)
	}
	return w
}
