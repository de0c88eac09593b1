package torture

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"

	"github.com/evento-go/evento"
)

// happening is what a line of a history tells.
type happening string

const (
	invoked   happening = "invoked"   // an operation begins
	accepted  happening = "accepted"  // the store has acknowledged it
	refused   happening = "refused"   // the store says that nothing was stored
	unknown   happening = "unknown"   // the store says that it does not know
	stale     happening = "stale"     // a read was behind what the store had acknowledged
	follows   happening = "follows"   // an observer begins behind a position
	observed  happening = "observed"  // an observer was given events
	delivered happening = "delivered" // a subscription's handler was given an event, and has succeeded
	stored    happening = "stored"    // an observer has read where the partitions of a subscription are
	stopped   happening = "stopped"   // an observer or a subscription has ended by itself, without an error
	ended     happening = "ended"     // a worker has ended that was told to come to a position
)

// entry is a line of a history.
type entry struct {
	What happening `json:"what"`
	// Op is the operation; its events have it as the id in their metadata.
	Op string `json:"op,omitempty"`
	// By is an observer, or a subscription. The worker of an observer that begins is in Op.
	By        string           `json:"by,omitempty"`
	Operation *operation       `json:"operation,omitempty"`
	Receipts  []evento.Receipt `json:"receipts,omitempty"`
	Position  uint64           `json:"position,omitempty"`
	Events    []place          `json:"events,omitempty"`
	// Places are the positions up to which a subscription's partitions have handled events, as
	// the store has them. Op is who has read them.
	Places []uint64 `json:"places,omitempty"`
	// Why is what the store says, or what has not come to the position when a worker has ended.
	Why string `json:"why,omitempty"`
}

// place is an event, and where somebody was given it.
type place struct {
	ID       evento.ID `json:"id"`
	Position uint64    `json:"position"`
	// Sum is that of what it was given, see sum.
	Sum uint32 `json:"sum"`
}

func placeOf(e *evento.RawEvent) place { return place{e.ID, e.Position, sum(e)} }

// sum is a checksum of all that an event has.
func sum(e *evento.RawEvent) uint32 {
	text, _ := json.Marshal(e) // texts and numbers
	return crc32.ChecksumIEEE(text)
}

// content is a checksum of what a writer asks to be stored of an event.
func content(id evento.ID, name, codec string, data []byte, tags []string) uint32 {
	return crc32.ChecksumIEEE(fmt.Appendf(nil, "%q", []any{id, name, codec, data, tags}))
}

// operation is what a worker asks of the store.
type operation struct {
	Kind   kind        `json:"kind"`
	Parts  []part      `json:"parts"`
	Unless []condition `json:"unless,omitempty"`
	// Contents are checksums of its events, in their order, where it has made them itself.
	Contents []uint32  `json:"contents,omitempty"`
	Due      time.Time `json:"due,omitzero"`     // of a deadline
	Clears   string    `json:"clears,omitempty"` // the operation whose deadline is cleared
}

// part is what an operation appends to an aggregate.
type part struct {
	ID       string `json:"id"`
	Expected uint64 `json:"expected,omitempty"`
	Any      bool   `json:"any,omitempty"`
	Events   int    `json:"events"`
}

func (o *operation) events() (n int) {
	for _, p := range o.Parts {
		n += p.Events
	}
	return n
}

// condition is one of a write, whose place is a position.
type condition struct {
	Query evento.Query `json:"query"`
	After uint64       `json:"after"`
}

// history is a file to which several processes append what happens to them. A line is written
// in one call, to the end of the file, before what it tells of begins or after it has ended. So
// when one line is before another, then what it tells of was over, or the other had not begun:
// that is the order in which everything is judged. It is safe for concurrent use.
type history struct{ file *os.File }

func openHistory(path string) (*history, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &history{f}, nil
}

// add appends a line. It begins with the end of a line, as a process that was killed may have left
// a piece of one.
func (h *history) add(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = h.file.Write(append(append([]byte("\n"), line...), '\n'))
	return err
}

func (h *history) close() error { return h.file.Close() }

// maxLine is the longest line of a history.
const maxLine = 1 << 20

// readHistory calls fn with the lines of a history, in order. What is no line is the piece of one:
// whoever wrote it was killed, and what it was to tell of is not known. It returns how many there
// are.
func readHistory(r io.Reader, fn func(entry) error) (pieces int, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		text := lines.Bytes()
		if len(text) == 0 {
			continue
		}
		var e entry
		var syntax *json.SyntaxError
		switch err := json.Unmarshal(text, &e); {
		case errors.As(err, &syntax):
			pieces++
			continue
		case err != nil:
			return pieces, fmt.Errorf("evento: a line of the history: %w", err)
		}
		if err := fn(e); err != nil {
			return pieces, err
		}
	}
	return pieces, lines.Err()
}
