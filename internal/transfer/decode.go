package transfer

import (
	"fmt"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/examine"
)

// rulesMemory is the most bytes that an import needs for versions and ids of events.
const rulesMemory = 128 << 20

// decoder decodes lines, and holds their events against what every store wants of them. In one
// pass it finds most of what is wrong; the passes that its rules ask for find the rest.
type decoder struct {
	opts  ImportOptions
	rules *examine.Rules // nil before the first event
}

// decode decodes the line with a number.
func (d *decoder) decode(no uint64, line []byte) (evento.RawEvent, error) {
	raw, err := parse(line)
	if err != nil {
		return raw, fmt.Errorf("line %d: %w event: %w", no, evento.ErrInvalid, err)
	}
	if d.rules == nil {
		d.rules = examine.NewRules(d.opts.rules(raw.Position))
	}
	e := examine.Event{RawEvent: raw}
	return raw, d.rules.Event(&e, func(b examine.Breach) error {
		err := fmt.Errorf("line %d: %w event at position %d: %s", no, evento.ErrInvalid, raw.Position, b.Detail)
		if b.Gap {
			return fmt.Errorf("%w; to close the gap, renumber the events", err)
		}
		return err
	})
}

// rules are what an export has to keep to whose first event is at a position.
func (o *ImportOptions) rules(first uint64) examine.Options {
	if o.Renumber { // what was before the events is not known, and positions are given anew
		return examine.Options{Memory: rulesMemory, After: 1, Unordered: true}
	}
	return examine.Options{Memory: rulesMemory, After: max(first, 1) - 1}
}
