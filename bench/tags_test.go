package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

const (
	courses      = 1000
	perStudent   = 100 // events
	sharedByBoth = 10  // events of a course and a student
)

// tagged are the tags of event i: those of a course, and of a student who is in ten of them.
func tagged(i int) []string {
	course, round := i%courses, i/courses
	return []string{fmt.Sprint("course:", course), fmt.Sprint("student:", course/sharedByBoth, "-", round/(perStudent/sharedByBoth))}
}

// plain returns an event of the usual payload with tags.
func plain(tags ...string) evento.NewEvent {
	data, err := evento.CBOR().Marshal(payload)
	if err != nil {
		panic(err) // the payload is always the same
	}
	return evento.NewEvent{ID: evento.NewID(), Name: payload.EventName(), Codec: "cbor", Data: data, Tags: tags}
}

func untaggedEvent(int) evento.NewEvent { return plain() }
func taggedEvent(i int) evento.NewEvent { return plain(tagged(i)...) }

// fillWith commits the events that of returns, a hundred at a time.
func fillWith(b *testing.B, ex evento.Executor, events int, of func(i int) evento.NewEvent) {
	b.Helper()
	const workers, each = 8, 100
	err := together(workers, func(w int) error {
		for from := w * each; from < events; from += workers * each {
			a := evento.Append{AggregateType: account, AggregateID: evento.NewID().String(), Events: make([]evento.NewEvent, each)}
			for j := range a.Events {
				a.Events[j] = of(from + j)
			}
			if _, err := ex.Write(context.Background(), evento.Write{Appends: []evento.Append{a}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkTags measures reads of the ten events that have two tags, of a thousand and a
// hundred events, out of a million.
func BenchmarkTags(b *testing.B) {
	events := inShort(100_000, 1_000_000)
	onEach(b, func(b *testing.B, ex evento.Executor) {
		fillWith(b, ex, events, taggedEvent)
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			var ms []float64
			for b.Loop() {
				for range 200 {
					q := evento.Query{Filters: []evento.Filter{evento.ByTags(tagged(rand.IntN(events))...)}}
					began := time.Now()
					page, err := ex.Read(context.Background(), q, cursor.Onward(100, ""))
					if err != nil {
						b.Fatal(err)
					}
					if len(page.Edges) != min(sharedByBoth, events/courses) {
						b.Fatalf("got %d events", len(page.Edges))
					}
					ms = append(ms, float64(time.Since(began).Microseconds())/1000)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ms), "ms-for-10-hits")
		})
	})
}
