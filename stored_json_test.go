package evento_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

// What is stored as JSON has names of its own, whatever JSON the same types have for
// programs: records that were written before must be read, also by older releases.
func TestStoredJSON(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), newStore(t)
	for i, id := range []string{"a", "b"} {
		if _, err := evento.Aggregate(id).RoutingKey("eu").Event(AccountOpened{Owner: id}, MoneyDeposited{Amount: 5}).
			RequestedBy("ann").Metadata("k", "v").Deadline("closing", time.Date(2100, time.January, 1+i, 0, 0, 0, 0, time.UTC), MoneyWithdrawn{Amount: 1}).
			Commit(ctx, ex); err != nil {
			t.Fatal(err)
		}
	}
	b := evento.NewSubscription("s").RoutingKey("eu").Aggregate(Account, "a").AcceptFailure().Retry(0).Logger(silent).
		Handler(evento.Handle(func(context.Context, evento.Event[AccountOpened]) error { return errPoor }),
			evento.Handle(func(context.Context, evento.Event[MoneyDeposited]) error { return nil }))
	noErr(t, b.Execute(ctx, ex))
	control := evento.ControlOf(ex, "s").RoutingKey("eu")
	noErr(t, control.ResetToStart(ctx))
	noErr(t, control.RetryParked(ctx, evento.ParkedOf(Account, "a")))
	noErr(t, balance.Keep("kept").Execute(ctx, ex))
	noErr(t, evento.NewSubscription("all").All().Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error { return nil })).Execute(ctx, ex))

	var got []string
	for _, kind := range []string{"subscription", "parked", "due"} {
		page, err := ex.Records(ctx, evento.RecordQuery{Kind: kind})
		noErr(t, err)
		for _, r := range page.Records {
			got = append(got, kind+" "+r.Key+" "+masked(string(r.Value)))
		}
	}
	want := []string{
		`subscription all {"partitions":1,"all":true,"events":{"bank/Account":null}}`,
		`subscription all {"epoch":1,"cursor":"CURSOR","position":4}`,
		`subscription kept {"partitions":1,"all":true,"events":{"bank/Account":null}}`,
		`subscription kept {"epoch":1,"cursor":"CURSOR","position":4,"resets":1,"kept":{"projection":"balance",` +
			`"variant":"9797fa8868cd37cff45e94d7789108cce3b0c44298fc1c149afbf4c8996fb924","aggregate_type":"bank/Account","complete":"CURSOR"}}`,
		`subscription s {"epoch":2,"cursor":"","furthest":"CURSOR","resets":1,"retry":1,"changed":{"what":"RetryParked","by":"HOST","at":"TIME"}}`,
		`subscription s {"partitions":1,"routing_key":"eu","aggregates":{"bank/Account":["a"]},"events":{"bank/Account":["AccountOpened","MoneyDeposited"]}}`,
		`parked s {"event_id":"ULID","position":1,"aggregate_type":"bank/Account","aggregate_id":"a","version":1,"name":"AccountOpened",` +
			`"error":"not enough money","attempts":1,"parked_at":"TIME","retry":"all","after":""}`,
		`parked s {"event_id":"ULID","position":2,"aggregate_type":"bank/Account","aggregate_id":"a","version":2,"name":"MoneyDeposited",` +
			`"attempts":0,"parked_at":"TIME","after":"CURSOR"}`,
		`due 2100-01-01T00:00:00.000000Z {"type":"bank/Account","id":"a","name":"closing","revision":1,"event":"MoneyWithdrawn",` +
			`"codec":"cbor","data":"oWZBbW91bnQB","metadata":{"correlationId":"ULID","causationId":"ULID"}}`,
		`due 2100-01-02T00:00:00.000000Z {"type":"bank/Account","id":"b","name":"closing","revision":1,"event":"MoneyWithdrawn",` +
			`"codec":"cbor","data":"oWZBbW91bnQB","metadata":{"correlationId":"ULID","causationId":"ULID"}}`,
	}
	if got, want := strings.Join(got, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("stored is\n%s\nwant\n%s", got, want)
	}
}

// masked replaces what differs from run to run.
func masked(text string) string {
	for pattern, mask := range map[string]string{
		`"[0-9A-HJKMNP-TV-Z]{26}"`:                   `"ULID"`,
		`"20\d\d-[^"]*Z"`:                            `"TIME"`,
		`"(cursor|furthest|after|complete)":"[^"]+"`: `"$1":"CURSOR"`,
		`"by":"[^"]*"`:                               `"by":"HOST"`,
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, mask)
	}
	return text
}
