package executortest_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// readMutants store everything, and read it wrongly.
func readMutants() []mutant {
	return []mutant{
		{"a cursor of another store accepted", []string{"Cursors/Foreign"}, fromTheStart(cursor.ErrForeign)},
		{"a malformed cursor accepted", []string{"Cursors/Malformed", "Cursors/Damaged"}, fromTheStart(cursor.ErrMalformed)},
		{"a cursor beyond the end accepted", []string{"Cursors/BeyondTheEnd"}, fromTheStart(cursor.ErrBeyondHead)},
		{"a cursor's cause not told", []string{"Cursors/Foreign"}, func(b *bent) {
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				p, err := b.handle.Read(ctx, q, args)
				if errors.Is(err, cursor.ErrInvalid) {
					return nil, errors.New("bad request")
				}
				return p, err
			}
		}},
		{"a page that finds nothing ends behind what came meanwhile", []string{"Filters/Fresh"}, func(b *bent) {
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				p, err := b.handle.Read(ctx, q, args)
				if err != nil || len(p.Edges) > 0 || args.IsBackward() {
					return p, err
				}
				time.Sleep(time.Millisecond) // in which others write
				last, err := b.handle.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
				if err == nil {
					p.PageInfo.EndCursor = last.PageInfo.EndCursor
				}
				return p, err
			}
		}},
		{"HasPreviousPage left out", []string{"Pages/Walk", "Pages/Model", "History/Fixed"}, eachPage(func(p *page, args cursor.Args) {
			if !args.IsBackward() {
				p.PageInfo.HasPreviousPage = false
			}
		})},
		{"HasPreviousPage guessed", []string{"Pages/Model", "History/Fixed"}, eachPage(func(p *page, args cursor.Args) {
			if !args.IsBackward() {
				p.PageInfo.HasPreviousPage = args.At() != ""
			}
		})},
		{"HasNextPage left out backward", []string{"Pages/Walk", "Pages/Model", "History/Fixed"}, eachPage(func(p *page, args cursor.Args) {
			if args.IsBackward() {
				p.PageInfo.HasNextPage = false
			}
		})},
		{"HasNextPage of a full page guessed", []string{"Pages/Walk", "Pages/Model", "History/Fixed"}, eachPage(func(p *page, args cursor.Args) {
			if !args.IsBackward() {
				p.PageInfo.HasNextPage = len(p.Edges) == args.Limit()
			}
		})},
		{"backward pages descending", []string{"Pages/Walk", "Pages/Model"}, eachPage(func(p *page, args cursor.Args) {
			if args.IsBackward() {
				slices.Reverse(p.Edges)
			}
		})},
		{"the end of an empty page not moved on", []string{"Pages/PastTheEnd", "Pages/Model"}, eachPage(func(p *page, args cursor.Args) {
			if len(p.Edges) == 0 {
				p.PageInfo.EndCursor = args.At()
			}
		})},
		{"a place read again", []string{"Pages/Walk", "Order/Concurrent"}, func(b *bent) {
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				p, err := b.handle.Read(ctx, q, args)
				if err != nil || args.IsBackward() || args.At() == "" || len(p.Edges) == 0 {
					return p, err
				}
				first, err := b.handle.Read(ctx, q, cursor.Backward(1, p.Edges[0].Cursor))
				if err == nil && len(p.Edges) < args.Limit() {
					p.Edges = append(first.Edges, p.Edges...)
				}
				return p, err
			}
		}},
		{"pages not cut", []string{"Pages/Bytes"}, func(b *bent) {
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				p, err := b.handle.Read(ctx, q, args)
				for err == nil && !args.IsBackward() && p.PageInfo.HasNextPage && len(p.Edges) < args.Limit() {
					var next *page
					if next, err = b.handle.Read(ctx, q, cursor.Forward(args.Limit()-len(p.Edges), p.PageInfo.EndCursor)); err == nil {
						p.Edges = append(p.Edges, next.Edges...)
						p.PageInfo.HasNextPage, p.PageInfo.EndCursor = next.PageInfo.HasNextPage, next.PageInfo.EndCursor
					}
				}
				return p, err
			}
		}},
		{"sizes of pages not checked", []string{"Pages/Sizes"}, func(b *bent) {
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				if errors.Is(args.Check(), cursor.ErrInvalid) {
					return &page{}, nil
				}
				return b.handle.Read(ctx, q, args)
			}
		}},
		{"queries not checked", []string{"Filters/Refused"}, func(b *bent) {
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				if errors.Is(q.Check(), evento.ErrInvalid) {
					return &page{}, nil
				}
				return b.handle.Read(ctx, q, args)
			}
		}},
		{"an event read by each filter", []string{"Filters/Overlap", "History/Fixed"}, func(b *bent) {
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				p, err := b.handle.Read(ctx, q, args)
				if err != nil {
					return nil, err
				}
				var edges []cursor.Edge[evento.RawEvent]
				for _, e := range p.Edges {
					for _, f := range q.Filters {
						if f.Matches(e.Node) && len(edges) < args.Limit() {
							edges = append(edges, e)
						}
					}
				}
				if len(q.Filters) > 0 {
					p.Edges = edges
				}
				return p, nil
			}
		}},
		{"fewer filters allowed", []string{"Filters/Most"}, func(b *bent) {
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				if len(q.Filters) > 500 {
					return nil, errors.New("too many terms in compound SELECT")
				}
				return b.handle.Read(ctx, q, args)
			}
		}},
		{"unknown filters forgotten", []string{"Filters/Each", "Filters/Later"}, func(b *bent) {
			known := func(ctx context.Context, f evento.Filter) bool {
				p, err := b.handle.Read(ctx, evento.Query{Filters: []evento.Filter{f}}, cursor.Onward(1, ""))
				return err == nil && len(p.Edges) > 0
			}
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				q.Filters = slices.DeleteFunc(slices.Clone(q.Filters), func(f evento.Filter) bool { return !known(ctx, f) })
				return b.handle.Read(ctx, q, args)
			}
		}},
		{"unrouted taken for any", []string{"Filters/Each", "Routing/Queries", "Pages/Model", "History/Fixed"}, func(b *bent) {
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				q.Unrouted = false
				return b.handle.Read(ctx, q, args)
			}
		}},
		{"payloads cut at a zero byte", []string{"Payloads/Bytes"}, func(b *bent) {
			eachEvent(b, func(e *evento.RawEvent) { e.Data, _, _ = bytes.Cut(e.Data, []byte{0}) })
		}},
		{"metadata half kept", []string{"Payloads/Metadata"}, func(b *bent) {
			eachEvent(b, func(e *evento.RawEvent) { e.Metadata.CausationID = "" })
		}},
		{"the payloads of readers shared", []string{"Append/BytesAreCopied"}, func(b *bent) {
			var mu sync.Mutex
			payloads := map[evento.ID][]byte{}
			eachEvent(b, func(e *evento.RawEvent) {
				mu.Lock()
				defer mu.Unlock()
				if payloads[e.ID] == nil {
					payloads[e.ID] = e.Data
				}
				e.Data = payloads[e.ID]
			})
		}},
		{"times falling", []string{"Timestamps/NeverFall", "Append/Versions"}, func(b *bent) {
			eachEvent(b, func(e *evento.RawEvent) {
				if e.Position%5 == 0 {
					e.Timestamp = e.Timestamp.Add(-time.Hour)
				}
			})
		}},
		{"times in nanoseconds", []string{"Timestamps/NeverFall"}, func(b *bent) {
			eachEvent(b, func(e *evento.RawEvent) { e.Timestamp = e.Timestamp.Add(time.Nanosecond) })
		}},
		{"times of a zone", []string{"Timestamps/NeverFall"}, func(b *bent) {
			eachEvent(b, func(e *evento.RawEvent) { e.Timestamp = e.Timestamp.In(time.FixedZone("", 3600)) })
		}},
		{"times of reading", []string{"Timestamps/Stay"}, func(b *bent) {
			eachEvent(b, func(e *evento.RawEvent) { e.Timestamp = time.Now().UTC().Truncate(time.Microsecond) })
		}},
		{"positions with gaps", []string{"Append/First", "Append/Versions"}, func(b *bent) {
			eachEvent(b, func(e *evento.RawEvent) { e.Position *= 2 })
		}},
		{"a context's end not heard", []string{"Contexts/Ended", "Iteration/Ended"}, func(b *bent) {
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				return b.handle.Read(context.WithoutCancel(ctx), q, args)
			}
		}},
	}
}

// fromTheStart reads from the start when a cursor is refused for a reason.
func fromTheStart(reason error) func(*bent) {
	return func(b *bent) {
		b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
			p, err := b.handle.Read(ctx, q, args)
			if errors.Is(err, reason) {
				return b.handle.Read(ctx, q, cursor.Forward(args.Limit(), ""))
			}
			return p, err
		}
	}
}

// eachPage changes pages on their way from the store.
func eachPage(change func(*page, cursor.Args)) func(*bent) {
	return func(b *bent) {
		b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
			p, err := b.handle.Read(ctx, q, args)
			if err == nil {
				change(p, args)
			}
			return p, err
		}
	}
}
