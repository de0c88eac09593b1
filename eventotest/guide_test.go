package eventotest_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotest"
)

// The tests that docs/testing.md shows, and what they print if they fail.
func TestGuide(t *testing.T) {
	t.Parallel()
	due := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	var printed []string
	for _, test := range []func(testing.TB){
		func(t testing.TB) {
			eventotest.Project(t, accounts).
				Given(AccountOpened{Owner: "Ann"}, MoneyDeposited{Amount: 5}).
				Then(Account{Owner: "Ann", Balance: 7})
		},
		func(t testing.TB) {
			eventotest.Project(t, accounts).
				Given(AccountOpened{Owner: "Ann"}, MoneyDeposited{Amount: 5}).
				When(withdraw(2)).
				Then(MoneyWithdrawn{Amount: 2})
		},
		func(t testing.TB) {
			eventotest.Command(t).
				Given(eventotest.Of("ann", AccountOpened{"Ann"}), eventotest.Of("ann", MoneyDeposited{5})).
				When(func(ctx context.Context, ex evento.Executor) error {
					return transfer(ctx, ex, "ann", "ben", 2)
				}).
				Then(eventotest.Of("ann", MoneyWithdrawn{2}), eventotest.Of("ben", MoneyDeposited{2}))
		},
		func(t testing.TB) {
			eventotest.Command(t).
				Given(eventotest.Of("rock", Announced{Seats: 1})).
				Decide(reserve("rock", "o1", "ann", due)).
				Then(
					eventotest.Of("rock", Reserved{Order: "o1"}),
					eventotest.Of("o1", Placed{Concert: "rock", Customer: "ann"}),
					eventotest.Of("o1", eventotest.Deadline{Name: "payment", At: due, Payload: Overdue{}}),
				)
		},
		func(t testing.TB) {
			eventotest.Command(t).
				Given(
					eventotest.Of("o1", Placed{Concert: "rock", Customer: "ann"}),
					eventotest.Of("o1", eventotest.Deadline{Name: "payment", At: due, Payload: Overdue{}}),
				).
				Decide(pay("o1")).
				Then(eventotest.Of("o1", Paid{}))
		},
		func(t testing.TB) {
			eventotest.Command(t).
				Given(
					eventotest.Of("o1", Placed{Concert: "rock", Customer: "ann"}),
					eventotest.Of("o1", eventotest.Deadline{Name: "payment", At: due, Payload: Overdue{}}),
				).
				At(due).
				Then(eventotest.Of("o1", Overdue{}))
		},
		func(t testing.TB) {
			eventotest.Subscribe(t, cancelOverdue()).
				Given(eventotest.Of("o1", Placed{Concert: "rock", Customer: "ann"}), eventotest.Of("o1", Overdue{})).
				Redelivered(nil).
				Then(eventotest.Of("o1", Cancelled{}), eventotest.Of("rock", Released{Order: "o1"}))
		},
		func(t testing.TB) {
			eventotest.Subscribe(t, collect()).
				Given(eventotest.Event{Payload: Placed{Concert: "rock", Customer: "ann"}, AggregateID: "o1", Timestamp: due.Add(-24 * time.Hour)}).
				At(due).
				Then(
					eventotest.Of("o1", Requested{}),
					eventotest.Event{Payload: Overdue{}, AggregateID: "o1", Timestamp: due},
					eventotest.Of("o1", Cancelled{}),
				)
		},
		func(t testing.TB) {
			eventotest.Subscribe(t, shaky(1, "")).
				Given(eventotest.Of("o1", Placed{Concert: "rock", Customer: "ann"})).
				ThenError(errPoor).
				ThenRecords()
		},
		func(t testing.TB) {
			eventotest.Subscribe(t, shaky(1, "")).
				Retries(1).
				Given(eventotest.Of("o1", Placed{Concert: "rock", Customer: "ann"})).
				Then(eventotest.Of("o1", Requested{}), eventotest.Deadline{AggregateID: "o1", Name: "payment", Payload: Overdue{}}).
				ThenRecords(evento.Record{RecordKey: evento.RecordKey{Kind: "requests", Key: "ann"}, Value: []byte("1")})
		},
		func(t testing.TB) {
			eventotest.Subscribe(t, welcome()).
				Given(eventotest.Of("ann", AccountOpened{"Ann"})).
				Redelivered(nil).
				Then(eventotest.Of("ann", MoneyDeposited{10}))
		},
	} {
		for _, report := range record(t, test).reports {
			printed = append(printed, strings.ReplaceAll(report, "eventotest_test.", "bank."))
		}
	}
	_ = eventotest.Event{Payload: MoneyDeposited{5}, Metadata: evento.Metadata{RequestedBy: "ann"}}

	guide, err := os.ReadFile("../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("guide_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for i, block := range strings.Split(string(guide), "```") {
		switch source, isGo := strings.CutPrefix(block, "go\n"); {
		case i%2 == 0:
		case !isGo:
			_, report, _ := strings.Cut(block, ": ") // behind the line
			shown = append(shown, words(report))
		case !strings.Contains(words(string(code)), words(source)):
			t.Errorf("not in guide_test.go:\n%s", source)
		}
	}
	if got, want := strings.Join(printed, "\n"), strings.Join(shown, "\n"); got != want {
		t.Errorf("the tests print\n%s\nthe guide says\n%s", got, want)
	}
}

func words(text string) string { return strings.Join(strings.Fields(text), " ") }
