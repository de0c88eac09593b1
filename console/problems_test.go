package console_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
)

// The overview leads to the event that is the matter, says the first line of its error and the
// first place in the program's own code, and marks on the rail what is parked.
func TestProblems(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	for i := range 20 {
		commit(t, ex, fmt.Sprint("a", i%4), happened("Happened", `{}`))
	}
	handler := func(at uint64, err error) evento.SubscriptionHandler {
		return evento.HandleEvery(func(_ context.Context, e evento.RawEvent) error {
			if e.Position == at {
				return err
			}
			return nil
		})
	}
	quiet := slog.New(slog.DiscardHandler)
	parking := evento.NewSubscription("mails").Logger(quiet).Retry(0).AcceptFailure().
		Handler(handler(7, errors.New("no <such> mailbox\nstack\nmails.(*Client).Send\n\t/src/app/mails/send.go:41")))
	if err := parking.Execute(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	stopping := evento.NewSubscription("export").Logger(quiet).Retry(0).Handler(handler(12, errors.New("422 Unprocessable")))
	if err := stopping.Execute(t.Context(), ex); err == nil {
		t.Fatal("it has not stopped")
	}
	server := serve(t, ex, console.Options{})
	_, body := get(t, server, "")
	says(t, "the overview", body, "<h1>2 problems</h1>",
		"has stopped behind position 11", `href="./events/`, "422 Unprocessable", "Happened of",
		"has parked 4 events", "first at event 7</h2>", ">See the event</a>", "no &lt;such&gt; mailbox", "mails/send.go:41", `class="hot"`)
}
