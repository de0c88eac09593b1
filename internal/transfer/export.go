package transfer

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/examine"
)

// ExportOptions say what to export. The zero value exports everything.
type ExportOptions struct {
	// Query selects events. Events that are not selected leave gaps. If whole
	// aggregates are left out, the export can be imported with
	// ImportOptions.Renumber; if some events of an aggregate are, it cannot be
	// imported at all.
	Query evento.Query
	// After leaves out the events up to a position, for an export that continues
	// another one.
	After uint64
	// Gaps exports a store in which positions are missing. The export can be imported
	// with ImportOptions.Renumber.
	Gaps bool
	// Source, if not nil, calls each for the events from a position on, as the store has
	// them, instead of the executor's Read. It is not used with a Query.
	Source func(ctx context.Context, from uint64, each func(*examine.Event) error) error
	// Memory is the most bytes for the versions of aggregates. When it is not enough, the
	// store is read again for the others. 0: 128 MiB, some 1.7 million aggregates.
	Memory int
	// Progress is called after every page, in the caller's goroutine.
	Progress func(Progress)
}

// pageSize is how many events are read at once.
const pageSize = 1000

// Export writes the events of ex to w, one on each line, in order. It may include
// events that are committed meanwhile. It needs the memory of one page, and
// ExportOptions.Memory.
//
// Errors: [evento.ErrInvalid], with the position, for an event that no import would take;
// those of [evento.Executor]'s Read, and of w.
//
// Why: docs/decisions.md, "An export is one that can be imported".
func Export(ctx context.Context, ex evento.Executor, w io.Writer, opts ExportOptions) (Progress, error) {
	read, ordered, err := source(ctx, ex, opts)
	if err != nil {
		return Progress{}, err
	}
	x := &export{meter: newMeter(opts.Progress), sum: sha256.New(), out: &counter{w: bufio.NewWriterSize(w, 1<<18)}, rules: examine.NewRules(opts.rules(ordered))}
	x.lines = json.NewEncoder(io.MultiWriter(x.out, x.sum))
	x.lines.SetEscapeHTML(false)
	if err := x.lines.Encode(header{kindHeader, formatVersion}); err != nil {
		return x.Progress, err
	}
	if err := read(ctx, x.event); err != nil {
		return x.Progress, err
	}
	if err := x.again(ctx, read); err != nil {
		return x.Progress, err
	}
	if err := x.lines.Encode(footer{kindFooter, x.count, hex.EncodeToString(x.sum.Sum(nil))}); err != nil {
		return x.Progress, err
	}
	x.add(x.unreported, 0, x.out.taken())
	return x.Progress, x.out.w.Flush()
}

// rules are what an export has to keep to.
func (o *ExportOptions) rules(ordered bool) examine.Options {
	part := func(f evento.Filter) bool { return f.Name != "" || len(f.Tags) > 0 }
	return examine.Options{
		Memory: cmp.Or(o.Memory, rulesMemory), After: o.After, Unordered: !ordered,
		Gaps:      o.Gaps || o.Query.RoutingKey != "" || o.Query.Unrouted || len(o.Query.Filters) > 0,
		Uncounted: slices.ContainsFunc(o.Query.Filters, part),
	}
}

// export is an export under way.
type export struct {
	*meter
	rules      *examine.Rules
	sum        hash.Hash
	out        *counter
	lines      *json.Encoder
	count      uint64 // events that were read
	unreported int    // events since the last progress
}

// event writes an event that an import takes.
func (x *export) event(e *examine.Event) error {
	x.count++
	if err := x.rules.Event(e, refuse(e)); err != nil {
		return err
	}
	if len(e.Faults) > 0 { // that are said elsewhere
		return fmt.Errorf("%w event at position %d: its %s is not known: evento doctor says what is wrong with the store", evento.ErrInvalid, e.Position, e.Faults[0].Part)
	}
	if err := x.lines.Encode(recordOf(&e.RawEvent)); err != nil {
		return err
	}
	if x.unreported++; x.unreported == pageSize {
		x.add(x.unreported, 0, x.out.taken())
		x.unreported = 0
	}
	return nil
}

// refuse returns what makes an error of a rule that an event breaks.
func refuse(e *examine.Event) func(examine.Breach) error {
	return func(b examine.Breach) error {
		err := fmt.Errorf("%w event at position %d: %s", evento.ErrInvalid, e.Position, b.Detail)
		if b.Gap {
			return fmt.Errorf("%w; --gaps exports the store all the same, and import --renumber takes it", err)
		}
		return fmt.Errorf("%w; no import would take it: evento doctor says what else is wrong with the store", err)
	}
}

// errRead ends a pass over the events that were exported.
var errRead = errors.New("all that was exported is read")

// again holds the aggregates for which there was no room against the rules. What was
// committed meanwhile is not looked at.
func (x *export) again(ctx context.Context, read reader) error {
	for x.rules.Next() {
		n := uint64(0)
		err := read(ctx, func(e *examine.Event) error {
			if n == x.count {
				return errRead
			}
			n++
			return x.rules.Event(e, refuse(e))
		})
		if err != nil && !errors.Is(err, errRead) {
			return err
		}
	}
	return nil
}

// reader calls each for the events to export, in their order.
type reader func(ctx context.Context, each func(*examine.Event) error) error

// source returns a reader. Ordered: each event has a greater position than the one before.
func source(ctx context.Context, ex evento.Executor, opts ExportOptions) (read reader, ordered bool, err error) {
	q := opts.Query
	stored := opts.Source != nil && len(q.Filters) == 0 && q.RoutingKey == "" && !q.Unrouted
	var from cursor.Value
	if ordered = true; !stored || opts.After > 0 {
		if from, ordered, err = after(ctx, ex, opts.After); err != nil {
			return nil, false, err
		}
	}
	if stored {
		return func(ctx context.Context, each func(*examine.Event) error) error {
			return opts.Source(ctx, opts.After+min(opts.After, 1), each)
		}, true, nil
	}
	return func(ctx context.Context, each func(*examine.Event) error) error {
		at := from
		for more := true; more; {
			page, err := ex.Read(ctx, q, cursor.Onward(pageSize, at))
			if err != nil {
				return err
			}
			for i := range page.Edges {
				if err := each(&examine.Event{RawEvent: page.Edges[i].Node}); err != nil {
					return err
				}
			}
			at, more = page.PageInfo.EndCursor, page.PageInfo.HasNextPage
		}
		return nil
	}, ordered, nil
}

// after returns the cursor of a position, and whether the store has positions of its own: one
// that is made of several has not.
func after(ctx context.Context, ex evento.Executor, position uint64) (at cursor.Value, ordered bool, err error) {
	page, err := ex.Read(ctx, evento.Query{}, cursor.Onward(1, ""))
	if err != nil {
		return "", false, err
	}
	if len(page.Edges) == 0 {
		if position == 0 {
			return "", true, nil
		}
		return "", false, fmt.Errorf("%w position: export after %d of a store without events", evento.ErrInvalid, position)
	}
	positions, err := cursor.PositionsOf(page.Edges[0].Cursor)
	switch {
	case position == 0:
		return "", err == nil, nil
	case err != nil:
		return "", false, fmt.Errorf("%w position: export after %d of a store made of several, which has no positions of its own", evento.ErrInvalid, position)
	}
	at = positions.Value(position)
	_, err = ex.Read(ctx, evento.Query{}, cursor.Onward(1, at)) // is the store there yet?
	return at, true, err
}

// counter counts bytes.
type counter struct {
	w *bufio.Writer
	n int
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += n
	return n, err
}

// taken returns the number of bytes since the last call.
func (c *counter) taken() int {
	n := c.n
	c.n = 0
	return n
}
