package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const worse = "aggregates/bank%2FAccount/worse"

// The scrubber shows the version at which it is let go, by mouse and by keyboard.
func TestScrubber(t *testing.T) {
	t.Parallel()
	ex, _ := newWard(t)
	p := open(t, serve(t, ex, everything())+worse, wide)
	p.says("State at version 5 of 5", `"Balance": 5`)
	at := func(version int, state string) {
		t.Helper()
		p.until(fmt.Sprint("waiting for version ", version), fmt.Sprintf(`location.search.includes("v=%d") && document.readyState === "complete"`, version))
		p.says(fmt.Sprintf("State at version %d of 5", version), state)
	}

	type box struct{ X, Y, Width, Height float64 }
	b := eval[box](p, `(() => { const r = document.getElementById("v").getBoundingClientRect(); return {X: r.x, Y: r.y, Width: r.width, Height: r.height}; })()`)
	y, from, to := b.Y+b.Height/2, b.X+b.Width-8, b.X+b.Width/4
	p.do("dragging", chromedp.MouseEvent(chromedp.MousePressed, from, y, chromedp.ButtonLeft),
		chromedp.MouseEvent(chromedp.MouseMoved, (from+to)/2, y, chromedp.ButtonLeft), chromedp.MouseEvent(chromedp.MouseMoved, to, y, chromedp.ButtonLeft))
	p.until("waiting for the number", `document.querySelector("output").value === "2"`)
	if search := eval[string](p, `location.search`); search != "" {
		t.Errorf("before it is let go the page is that of %s", search)
	}
	p.do("letting go", chromedp.MouseEvent(chromedp.MouseReleased, to, y, chromedp.ButtonLeft))
	at(2, `"Balance": -30`)

	// It has the focus still, so the next key goes on from there.
	p.do("right", chromedp.KeyEvent(kb.ArrowRight))
	at(3, `"Balance": 10`)
	p.do("right", chromedp.KeyEvent(kb.ArrowRight))
	at(4, `"Warnings"`)
	p.do("to the first", chromedp.KeyEvent(kb.Home))
	at(1, `"Balance": 20`)
	p.do("following the link", chromedp.Click(`[data-scrub] a[rel=next]`))
	at(2, `"Balance": -30`)
	p.click("5")
	at(5, `"Balance": 5`)
}

// Without scripts all works but what is live.
func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	ex, h := newWard(t)
	address := serve(t, ex, everything())
	p := open(t, address, wide)
	p.withoutScripts()
	p.visit(address + "events")
	p.says("as of ")
	p.click("Older")
	p.says("Newer")
	p.click("Newer")
	p.do("filtering", chromedp.SendKeys("#f-id", "worse"))
	p.click("Filter")
	p.says("5 events", "OwnerWarned")

	p.visit(address + worse)
	p.do("scrubbing", chromedp.Focus("#v"), chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.ArrowLeft))
	p.click("Show")
	p.says("State at version 3 of 5", `"Balance": 10`)
	p.do("following the link", chromedp.Click(`[data-scrub] a[rel=prev]`))
	p.says("State at version 2 of 5")

	h.fixed.Store(true)
	start(t, ex, h.subscription())
	p.visit(address + "subscriptions/payouts")
	p.do("choosing", chromedp.Click(`ol.probs > li:nth-child(1) input[type=checkbox]`))
	p.click("Retry chosen…")
	p.says("Retry the chosen parked events of payouts?")
	p.do("retrying", chromedp.Click(`#retry-chosen button.main`))
	p.says("Workers were asked to handle 3 parked events again")
	p.becomes("Parked: 1 failed, 1 wait")
	p.click("Drop chosen…")
	p.says("Drop 2 parked events of payouts?")
	p.click("Drop 2 events")
	p.says("2 parked events dropped.")
	p.click("Pause…")
	p.click("Pause payouts")
	p.says("It is paused.")
}
