package torture

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is the result of a run.
type Report struct {
	// Name is that of the store.
	Name string
	// Took is how long workers worked.
	Took time.Duration
	// Operations is how many were asked for, and Acked how many events were acknowledged.
	Operations, Acked int
	// Refused is how many operations the store has refused, mostly for a conflict.
	Refused int
	// Unknown is how many operations had no known outcome in the end, as their workers were
	// killed, and UnknownStored how many of them the log has. Resolved is how many others had
	// none at first, until they were made again.
	Unknown, UnknownStored, Resolved int
	// Observed is how many events those who follow the log were given.
	Observed int
	// Delivered is how many events subscriptions have handled, and Redelivered how often they
	// have handled one again.
	Delivered, Redelivered int
	// Fired is how many deadlines came true.
	Fired int
	// Ended is how many workers have ended that were told to come to the end of the log. Where the
	// system has no SIGTERM these are only those that are no processes.
	Ended int
	// Kills is how many workers were killed, Halts how many were halted for longer than their
	// leases, and Faults how often something was done to the store.
	Kills, Halts, Faults int
	// Pieces is how many lines of the history were cut off by a kill.
	Pieces int
	// Violations counts what was wrong, by invariant.
	Violations map[string]int
	// Examples are the first violations of each invariant.
	Examples []string
	// History is where the history is, which is kept if something was wrong.
	History string
	// Again is the command line that repeats the run.
	Again string
}

// mostExamples is how many violations of an invariant are described.
const mostExamples = 5

func (r *Report) add(invariant, format string, args ...any) {
	if r.Violations == nil {
		r.Violations = map[string]int{}
	}
	if r.Violations[invariant]++; r.Violations[invariant] <= mostExamples {
		r.Examples = append(r.Examples, invariant+": "+fmt.Sprintf(format, args...))
	}
}

// OK reports whether nothing was wrong.
func (r *Report) OK() bool { return len(r.Violations) == 0 }

// String is the report in a line, and a line for each example of what was wrong.
func (r *Report) String() string {
	v := r.Violations
	rate := 0.0
	if r.Took > 0 {
		rate = float64(r.Acked) / r.Took.Seconds()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: kill -9 x %d, halts x %d, faults x %d: acked %d lost %d duplicated %d reordered %d ghosts %d undelivered %d unserializable %d deadlines %d",
		r.Name, r.Kills, r.Halts, r.Faults, r.Acked, v[Durable], v[Once], v[Gapless]+v[RealTime]+v[SameOrder]+v[Ordered]+v[Fenced], v[NoGhost], v[Complete]+v[Live]+v[Reached], v[Serializable], v[OnceDue])
	fmt.Fprintf(&b, "; refused %d, unknown %d (%d stored), resolved %d, handled again %d (%.0f/s)", r.Refused, r.Unknown, r.UnknownStored, r.Resolved, r.Redelivered, rate)
	for _, text := range r.Examples {
		b.WriteString("\n  " + text)
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if v[name] > mostExamples {
			fmt.Fprintf(&b, "\n  %s: %d in all", name, v[name])
		}
	}
	if !r.OK() && r.History != "" {
		b.WriteString("\n  the history is in " + r.History)
	}
	if !r.OK() && r.Again != "" {
		b.WriteString("\n  again: " + r.Again)
	}
	return b.String()
}
