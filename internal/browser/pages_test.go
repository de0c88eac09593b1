package browser

import (
	"testing"

	"github.com/evento-go/evento/console"
)

// Each page fits into each window, keeps nobody out, and loads nothing from elsewhere.
func TestPagesForAll(t *testing.T) {
	t.Parallel()
	ex, _ := newWard(t)
	o := everything()
	o.Doctor = findings
	type page struct{ path, says string }
	sites := []struct {
		address string
		pages   []page
	}{
		{serve(t, ex, o), []page{
			{"", "stopped has stopped"},
			{"events", "Every fact"},
			{"events?id=worse", "5 events"},
			{"events/62", "would owe 30"},
			{"aggregates/bank%2FAccount/worse?v=4", "State at version 4 of 5"},
			{"causation/req-worse", "What "},
			{"subscriptions", "What needs attention is first"},
			{"subscriptions/payouts", "Parked: 2 failed"},
			{"subscriptions/stopped", "on fire"},
			{"subscriptions/paused", "3 partitions"},
			{"subscriptions/payouts/reset?to=position&place=10", "It goes on with"},
			{"subscriptions/payouts/parked/drop?all=1", "will never handle them"},
			{"deadlines", "remind"},
			{"doctor", "Check now"},
			{missing, "There is no page"},
		}},
		{serve(t, ex, console.Options{}), []page{
			{"subscriptions/payouts", "With the command"},
			{"aggregates/bank%2FAccount/worse", "given it no projection"},
		}},
		{serve(t, newStore(t, 0), console.Options{}), []page{
			{"", "Nothing is recorded yet"},
			{"events", "No event is like this"},
			{"subscriptions", "None has been started yet"},
			{"deadlines", "No deadline is set"},
			{"doctor", "This console has no doctor"},
		}},
	}
	for _, s := range []size{wide, narrow, night} {
		for _, site := range sites {
			p := open(t, site.address, s)
			for _, page := range site.pages {
				p.visit(site.address + page.path)
				p.says(page.says)
				p.check()
			}
		}
	}
}

// A question that is open fits into each window, and so do the findings of the doctor.
func TestQuestionsForAll(t *testing.T) {
	t.Parallel()
	ex, _ := newWard(t)
	o := everything()
	o.Doctor = findings
	address := serve(t, ex, o)
	open(t, address+"doctor", wide).click("Check now")
	for _, s := range []size{wide, narrow, night} {
		p := open(t, address+"subscriptions/payouts", s)
		p.click("Pause")
		p.says("Pause payouts?")
		p.check()
		p.visit(address + "subscriptions/payouts")
		p.click("Retry 5 parked")
		p.says("Retry the chosen parked events of payouts?")
		p.check()
		p.visit(address + "doctor")
		p.becomes("Findings")
		p.says("Check again", "a gap before position 17")
		p.check()
	}
}
