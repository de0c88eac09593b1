package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// ImportOptions say how to import. The zero value is for an empty store, or for an
// export that continues at the end of the store.
type ImportOptions struct {
	// Resume continues an interrupted import: events that the store has already are
	// compared, and skipped if they are the same.
	Resume bool
	// Renumber gives events consecutive positions after the store's last one, in
	// the order of the lines, for exports that have gaps or do not begin at
	// position 1. It keeps everything else. If the store has the first event
	// already, an interrupted import is continued.
	Renumber bool
	// Progress is called after every batch, never concurrently.
	Progress func(Progress)
}

// The size of a batch.
const (
	batchEvents = evento.MaxCommitEvents
	batchBytes  = 8 << 20
)

// Import imports the events that [Export] wrote into ex, in batches, each of which
// is stored completely or not at all. After an error the batches before stay
// imported. It needs the memory of a few batches: one is decoded while another is
// sent to the store.
//
// Errors name the line. They are [evento.ErrInvalid] for lines that are malformed,
// truncated or changed, and for events that differ from the stored ones or cannot
// follow them; [errors.ErrUnsupported] if the executor is not an [evento.Importer];
// else those of r and of Importer.
//
// Why: docs/decisions.md, "Import: compared, not remembered".
func Import(ctx context.Context, ex evento.Executor, r io.Reader, opts ImportOptions) (Progress, error) {
	m := newMeter(opts.Progress)
	im, ok := ex.(evento.Importer)
	if !ok {
		return m.Progress, fmt.Errorf("evento: import: %w by a %T", errors.ErrUnsupported, ex)
	}
	l, err := newLines(r)
	if err != nil {
		return m.Progress, err
	}
	head, err := lastPosition(ctx, ex)
	if err != nil {
		return m.Progress, err
	}
	d := &decoding{decoder: decoder{opts: opts}, ex: ex, lines: l, head: head}
	batches, refused := make(chan *batch), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		s := &sending{to: im, head: head, meter: m}
		err := s.all(ctx, batches)
		close(refused)
		ended <- err
	}()
	err = d.all(ctx, batches, refused)
	close(batches)
	if e := <-ended; e != nil {
		err = e
	}
	return m.Progress, err
}

func lastPosition(ctx context.Context, ex evento.Executor) (uint64, error) {
	page, err := ex.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
	if err != nil || len(page.Edges) == 0 {
		return 0, err
	}
	return page.Edges[0].Node.Position, nil
}

// batch are events that are imported together.
type batch struct {
	events []evento.RawEvent
	first  uint64 // the line number of the first event
	size   int    // of the payloads
	read   int    // bytes of the lines
}

// decoding decodes lines to events that follow those of the store.
type decoding struct {
	decoder
	ex evento.Executor
	*lines
	head  uint64 // the store's last position before the import
	begun bool
	to    uint64 // the position of the next event, with Renumber
}

// all sends batches until the last line, or until one is refused. If a line is
// wrong, it sends the complete batches before it, but not the events between.
func (d *decoding) all(ctx context.Context, batches chan<- *batch, refused <-chan struct{}) error {
	hand := func(b *batch) bool {
		select {
		case batches <- b:
			return true
		case <-refused:
			return false
		}
	}
	b := &batch{}
	for {
		line, err := d.next()
		if err != nil {
			return err
		}
		if line == nil {
			if len(b.events) > 0 {
				hand(b)
			}
			return nil
		}
		e, err := d.event(ctx, line)
		if err != nil {
			return err
		}
		if len(b.events) == batchEvents || len(b.events) > 0 && b.size+len(e.Data) > batchBytes {
			if !hand(b) {
				return nil
			}
			b = &batch{}
		}
		if len(b.events) == 0 {
			b.first = d.no
		}
		b.events = append(b.events, e)
		b.size += len(e.Data)
		b.read += len(line) + 1
	}
}

func (d *decoding) event(ctx context.Context, line []byte) (evento.RawEvent, error) {
	e, err := d.decode(d.no, line)
	if err != nil {
		return e, err
	}
	if !d.begun {
		if err := d.begin(ctx, &e); err != nil {
			return e, fmt.Errorf("line %d: %w", d.no, err)
		}
		d.begun = true
	}
	if d.opts.Renumber {
		e.Position = d.to
		d.to++
	}
	return e, nil
}

// begin checks the position of the first event.
func (d *decoding) begin(ctx context.Context, e *evento.RawEvent) error {
	switch {
	case d.opts.Renumber:
		there, err := d.find(ctx, e)
		if err != nil {
			return err
		}
		if d.to = there; there == 0 {
			d.to = d.head + 1
		}
	case e.Position <= d.head && !d.opts.Resume:
		return fmt.Errorf("%w import: it begins with position %d, and the store has events up to %d: to go on with an import that was interrupted, resume it; to put these events behind those, renumber them",
			evento.ErrInvalid, e.Position, d.head)
	case e.Position > d.head+1:
		return fmt.Errorf("%w import: it begins with position %d, and the store goes on with %d: import what comes before, or renumber the events",
			evento.ErrInvalid, e.Position, d.head+1)
	}
	return nil
}

// find returns the position of an event in the store; 0: it is not there.
func (d *decoding) find(ctx context.Context, e *evento.RawEvent) (uint64, error) {
	q := evento.Query{Filters: []evento.Filter{evento.ByID(e.AggregateType, e.AggregateID)}}
	for there, err := range evento.Events(ctx, d.ex, q) {
		if err != nil {
			return 0, err
		}
		if there.Version == e.Version && there.ID == e.ID {
			return there.Position, nil
		}
	}
	return 0, nil
}

// sending imports batches into the store.
type sending struct {
	to   evento.Importer
	head uint64 // the store's last position before the import
	*meter
}

// all imports batches until the last, or until one is refused.
func (s *sending) all(ctx context.Context, batches <-chan *batch) error {
	for b := range batches {
		if err := s.to.Import(ctx, b.events); err != nil {
			return s.explain(ctx, b, err)
		}
		skipped := 0
		if first := b.events[0].Position; first <= s.head {
			skipped = int(min(s.head-first+1, uint64(len(b.events))))
		}
		s.add(len(b.events), skipped, b.read)
	}
	return nil
}

// explain finds the line because of which a batch was refused.
func (s *sending) explain(ctx context.Context, b *batch, err error) error {
	if !errors.Is(err, evento.ErrInvalid) && !errors.Is(err, evento.ErrConflict) && !errors.Is(err, evento.ErrTooLarge) {
		return err
	}
	// Import the events before the one that is refused, as if the batch had been smaller.
	for i := range b.events {
		if one := s.to.Import(ctx, b.events[i:i+1]); one != nil {
			return fmt.Errorf("line %d: %w", b.first+uint64(i), one)
		}
		s.add(1, 0, 0)
	}
	return nil // the cause has disappeared
}
