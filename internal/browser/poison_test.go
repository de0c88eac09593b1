package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

// newPoisoned has a hundred thousand events of 1,000 accounts. In the middle of them is one that
// a handler cannot bear, with two of its account behind it.
func newPoisoned(t *testing.T) evento.Executor {
	t.Helper()
	ex := memory.New(nil)
	t.Cleanup(func() { _ = ex.Close() })
	const accounts, rounds = 1000, 50
	for round := range rounds {
		var w evento.Write
		for n := range accounts {
			w.Appends = append(w.Appends, evento.Append{
				AggregateType: account, AggregateID: fmt.Sprintf("account-%04d", n), AnyVersion: true,
				Metadata: evento.Metadata{CorrelationID: fmt.Sprintf("req-%d-%d", round, n)},
				Events:   []evento.NewEvent{movement("MoneyDeposited", 30), movement("MoneyWithdrawn", 10)},
			})
		}
		if round == rounds/2 {
			w.Appends[473].Events = []evento.NewEvent{movement("MoneyDeposited", 30), movement("MoneyWithdrawn", 100_000)}
		}
		if round > rounds/2+1 {
			w.Appends = append(w.Appends[:473], w.Appends[474:]...)
		}
		if _, err := ex.Write(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	return ex
}

func movement(name string, amount int) evento.NewEvent {
	return evento.NewEvent{ID: evento.NewID(), Name: name, Codec: "json", Data: fmt.Appendf(nil, `{"Amount":%d}`, amount)}
}

// From the overview three clicks lead to the poison event, to its error and to its cause. When the
// handler is fixed, a retry handles it, and all is well again, also on a page that was open.
func TestPoison(t *testing.T) {
	t.Parallel()
	ex, h := newPoisoned(t), newPayouts()
	if err := h.subscription().Execute(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	start(t, ex, h.subscription())
	address := serve(t, ex, everything())

	overview := open(t, address, wide)
	overview.says("1 problem", "payouts has parked 3 events")
	overview.says("account-0473 would owe 99470: nobody may owe")
	p := open(t, address, wide)
	p.click("payouts")
	p.says("MoneyWithdrawn failed, 2 wait behind it", "account-0473 would owe 99470", "nobody may owe")
	p.click("See the event")
	p.says("MoneyWithdrawn 5", "Parked in payouts", "nobody may owe", `"Amount": 100000`)
	event := eval[string](p, `location.href`)
	p.click("State at version 52")
	p.says("State at version 52", `"Balance": -99`, "Balance")
	if p.clicks > 3 {
		t.Errorf("it takes %d clicks", p.clicks)
	}
	// The shortest way has two.
	p.visit(address)
	p.click("See the event")
	p.says("Parked in payouts", `"Amount": 100000`)
	p.visit(event)

	// It fails again as long as the handler does.
	p.click("Retry")
	p.says("Retry event 5")
	p.click("Retry MoneyWithdrawn and those behind it")
	p.says("Workers were asked to handle 3 parked events again")
	p.becomes("2 attempts")

	h.fixed.Store(true)
	p.visit(event)
	p.says("2 attempts")
	p.click("Retry")
	p.click("Retry MoneyWithdrawn and those behind it")
	p.says("Workers were asked to handle 3 parked events again")
	p.click("Overview")
	p.becomes("All is well")
	if n := parkedOf(t, ex); n != 0 {
		t.Errorf("%d events are parked", n)
	}
	if got := h.balance("account-0473"); got != 25*20+30-100_000+20 {
		t.Errorf("the balance is %d", got)
	}
	overview.says("All is well")
	overview.until("waiting for the end of the problem", `!document.body.innerText.includes("has parked") && !document.body.innerText.includes("need attention")`)
}

// The buttons for parked events say how many are chosen, and act on those alone.
func TestChosenParked(t *testing.T) {
	t.Parallel()
	ex, h := newWard(t)
	address := serve(t, ex, everything())
	h.fixed.Store(true)
	start(t, ex, h.subscription())
	p := open(t, address+"subscriptions/payouts", wide)
	p.says("Retry 5 parked…", "Drop 5 parked…")
	choose := func(nth int) {
		p.do("choosing", chromedp.Click(fmt.Sprintf(`ol.probs > li:nth-child(%d) input[type=checkbox]`, nth)))
	}
	choose(1)
	p.says("Retry 3 parked…", "Drop 3 parked…")
	choose(2)
	p.says("Retry 0 parked…")
	if !eval[bool](p, `document.querySelector("button[popovertarget=retry-chosen]").disabled`) {
		t.Error("a retry of nothing is possible")
	}
	choose(1)
	p.says("Retry 2 parked…")
	p.click("Retry 2 parked…")
	p.says("Retry the chosen parked events of payouts?")
	p.do("retrying", chromedp.Click(`#retry-chosen button.main`))
	p.says("Workers were asked to handle 2 parked events again")
	p.becomes("Parked: 1 failed, 2 wait")

	p.visit(address + "subscriptions/payouts")
	p.click("Drop 3 parked…")
	p.says("Drop 3 parked events of payouts?", "will never handle them")
	p.click("Drop 3 events")
	p.says("3 parked events dropped.")
	if n := parkedOf(t, ex); n != 0 {
		t.Errorf("%d events are parked", n)
	}
}

// Who has a keyboard alone pauses a subscription, and lets it go on.
func TestPauseByKeyboard(t *testing.T) {
	t.Parallel()
	ex, _ := newWard(t)
	p := open(t, serve(t, ex, everything())+"subscriptions/mailer", wide)
	press := func(text string) {
		t.Helper()
		for range 40 {
			p.do("on", chromedp.KeyEvent(kb.Tab))
			if eval[string](p, `document.activeElement.textContent.trim()`) == text {
				p.do("pressing", chromedp.KeyEvent(kb.Enter))
				return
			}
		}
		t.Fatalf("Tab does not lead to %q; the page says\n%s", text, p.text())
	}
	press("Pause…")
	p.says("Pause mailer?")
	p.do("leaving the question", chromedp.KeyEvent(kb.Escape))
	p.until("waiting for the end of the question", `document.activeElement.textContent.trim() === "Pause…" && document.querySelector(":popover-open") === null`)
	p.do("asking again", chromedp.KeyEvent(kb.Enter))
	p.do("on", chromedp.KeyEvent(kb.Tab))
	if on := eval[string](p, `document.activeElement.textContent.trim()`); on != "Pause mailer" {
		t.Fatalf("after the question Tab leads to %q", on)
	}
	p.do("pausing", chromedp.KeyEvent(kb.Enter))
	p.says("It is paused.", "mailer paused")
	press("Resume…")
	press("Resume mailer")
	p.says("It goes on.")
	if s, err := evento.ControlOf(ex, "mailer").Status(t.Context()); err != nil || s.State() == evento.SubscriptionPaused {
		t.Errorf("it is %v, %v", s, err)
	}
}
