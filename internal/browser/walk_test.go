package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Each page is reached by clicks from the overview, and leads on.
func TestWalk(t *testing.T) {
	t.Parallel()
	ex, _ := newWard(t)
	o := everything()
	o.Doctor = findings
	p := open(t, serve(t, ex, o), wide)
	p.says("2 problems", "stopped has stopped behind position 8", "the printer is on fire")
	p.click("Events")
	p.says("Every fact")
	p.click("OwnerWarned")
	p.says("OwnerWarned 68", "a <b>warning</b>", "What led to it")
	p.click("All that belongs together as a graph")
	p.says("As a list of events")
	p.check()
	p.click("As a list of events")
	p.says("5 events", "req-worse")
	p.click("Deadlines")
	p.says("remind", "OwnerWarned")
	p.click("bank/Account")
	p.says("State at version 10 of 10", `"Movement": 1`)
	p.click("Doctor")
	p.click("Check now")
	p.says("Check again", "a gap before position 17")
	p.click("See it")
	p.says("Parked: 2 failed")

	p.click("Subscriptions")
	p.says("What needs attention is first", "paused")
	p.click("stopped")
	p.says("It has stopped before 9 MoneyDeposited")
	p.click("Go on behind it")
	p.says("Reset stopped?", "1 event will be passed over")
	p.click("Leave it")
	p.says("It has stopped before 9")
	p.click("Reset…")
	p.says("Where should it go on?")
	p.do("choosing a position", chromedp.Click(`input[value=position]`), chromedp.SendKeys("#place", "30"))
	p.click("Preview")
	p.says("It goes on with", "evento subscriptions reset stopped --to-position 30")
	p.click("Reset stopped to 30")
	p.says("It goes on from another place.", "Reset to a position by")

	p.do("going to an id", chromedp.SendKeys("#go", "worse"+kb.Enter))
	p.says("worse")
	p.click("Overview")
	p.says("Newest events")
}
