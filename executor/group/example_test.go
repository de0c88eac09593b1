package group_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/rw"
	"github.com/evento-go/evento/executor/sqlite"
)

// Several stores read as one, page by page and by a subscription; commits go to
// the first.
func Example() {
	if err := composition(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 90 events, 0 of them twice, on 13 pages
	// in the first: true, in the second: false
	// 91 events handled
	// read back: true
	// refused: true
}

func composition(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "evento")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	lite, err := sqlite.Open(ctx, filepath.Join(dir, "a.db"), nil)
	if err != nil {
		return err
	}
	other, err := sqlite.Open(ctx, filepath.Join(dir, "b.db"), nil)
	if err != nil {
		return err
	}
	mem := memory.New(nil)
	g := group.New(lite, other, mem)
	defer func() { err = errors.Join(err, g.Close()) }() // and its members

	for i := range 30 {
		for _, ex := range []evento.Executor{lite, other, mem} {
			if _, err := evento.Create().Event(measured{N: i}).Commit(ctx, ex); err != nil {
				return err
			}
		}
	}

	seen, twice, pages := map[evento.ID]bool{}, 0, 0
	for after, more := cursor.Value(""), true; more; pages++ {
		page, err := g.Read(ctx, evento.Query{}, cursor.Forward(7, after))
		if err != nil {
			return err
		}
		for _, e := range page.Edges {
			if seen[e.Node.ID] {
				twice++
			}
			seen[e.Node.ID] = true
		}
		after, more = page.PageInfo.EndCursor, page.PageInfo.HasNextPage
	}
	fmt.Printf("%d events, %d of them twice, on %d pages\n", len(seen), twice, pages)

	r, err := evento.Create().Event(measured{N: -1}).Commit(ctx, g)
	if err != nil {
		return err
	}
	inFirst, err := evento.HasEvent[measured](ctx, lite, r.AggregateID)
	if err != nil {
		return err
	}
	inSecond, err := evento.HasEvent[measured](ctx, other, r.AggregateID)
	if err != nil {
		return err
	}
	fmt.Printf("in the first: %t, in the second: %t\n", inFirst, inSecond)

	handled := 0
	err = evento.NewSubscription("group").All().Handler(evento.Handle(func(context.Context, evento.Event[measured]) error {
		handled++
		return nil
	})).Execute(ctx, g)
	if err != nil {
		return err
	}
	fmt.Println(handled, "events handled")

	split := rw.New(lite, lite)
	if r, err = evento.Create().Event(measured{N: 5}).Commit(ctx, split); err != nil {
		return err
	}
	has, err := evento.HasEvent[measured](ctx, split, r.AggregateID)
	if err != nil {
		return err
	}
	fmt.Println("read back:", has)

	page, err := lite.Read(ctx, evento.Query{}, cursor.Forward(1, ""))
	if err != nil {
		return err
	}
	_, err = other.Read(ctx, evento.Query{}, cursor.Forward(1, page.PageInfo.EndCursor))
	fmt.Println("refused:", err != nil)
	return nil
}

// Two stores in memory, of which the second is only read.
func ExampleNew() {
	ctx := context.Background()
	current, archive := memory.New(nil), memory.New(nil)
	for _, ex := range []evento.Executor{archive, current} {
		if _, err := evento.Create().Event(measured{}).Commit(ctx, ex); err != nil {
			fmt.Println(err)
			return
		}
	}
	g := group.New(current, archive)
	events := 0
	for _, err := range evento.Events(ctx, g, evento.Query{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		events++
	}
	fmt.Println(events, "events")
	if err := g.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: 2 events
}
