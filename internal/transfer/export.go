package transfer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// ExportOptions say what to export. The zero value exports everything.
type ExportOptions struct {
	// Query selects events. Events that are not selected leave gaps. If whole
	// aggregates are left out, the export can be imported with
	// ImportOptions.Renumber; if some events of an aggregate are, it cannot be
	// imported at all.
	// events not at all.
	Query evento.Query
	// After leaves out the events up to a position, for an export that continues
	// another one.
	After uint64
	// Progress is called after every page, in the caller's goroutine.
	Progress func(Progress)
}

// pageSize is how many events are read at once.
const pageSize = 1000

// Export writes the events of ex to w, one on each line, in order. It may include
// events that are committed meanwhile. It needs the memory of one page.
//
// Errors: those of [evento.Executor]'s Read, and of w.
func Export(ctx context.Context, ex evento.Executor, w io.Writer, opts ExportOptions) (Progress, error) {
	at, err := after(ctx, ex, opts.After)
	if err != nil {
		return Progress{}, err
	}
	m := newMeter(opts.Progress)
	sum := sha256.New()
	out := &counter{w: bufio.NewWriterSize(w, 1<<18)}
	lines := json.NewEncoder(io.MultiWriter(out, sum))
	lines.SetEscapeHTML(false)
	if err := lines.Encode(header{kindHeader, formatVersion}); err != nil {
		return m.Progress, err
	}
	m.add(0, 0, out.taken())
	for more := true; more; {
		page, err := ex.Read(ctx, opts.Query, cursor.Onward(pageSize, at))
		if err != nil {
			return m.Progress, err
		}
		for i := range page.Edges {
			if err := lines.Encode(recordOf(&page.Edges[i].Node)); err != nil {
				return m.Progress, err
			}
		}
		at, more = page.PageInfo.EndCursor, page.PageInfo.HasNextPage
		m.add(len(page.Edges), 0, out.taken())
	}
	if err := lines.Encode(footer{kindFooter, m.Events, hex.EncodeToString(sum.Sum(nil))}); err != nil {
		return m.Progress, err
	}
	m.add(0, 0, out.taken())
	return m.Progress, out.w.Flush()
}

// after returns the cursor of a position.
func after(ctx context.Context, ex evento.Executor, position uint64) (cursor.Value, error) {
	if position == 0 {
		return "", nil
	}
	page, err := ex.Read(ctx, evento.Query{}, cursor.Forward(1, ""))
	if err != nil {
		return "", err
	}
	if len(page.Edges) == 0 {
		return "", fmt.Errorf("%w position: export after %d of a store without events", evento.ErrInvalid, position)
	}
	positions, err := cursor.PositionsOf(page.Edges[0].Cursor)
	if err != nil {
		return "", fmt.Errorf("%w position: export after %d of a store made of several, which has no positions of its own", evento.ErrInvalid, position)
	}
	return positions.Value(position), nil
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
