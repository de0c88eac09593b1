// Package seek finds places of a store whose positions are places. The command and the console
// share it.
package seek

import (
	"context"
	"sort"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// First returns the lowest position behind which the first event of a query, if there is one, has
// reached what is looked for; head, the last position of the store, if none has. What has reached
// it must not come before what has not, as with times and with the versions of one aggregate. It
// halves, and reads one event each time.
func First(ctx context.Context, ex evento.Executor, q evento.Query, head uint64, reached func(*evento.RawEvent) bool) (position uint64, err error) {
	n := sort.Search(int(head), func(n int) bool {
		if err != nil {
			return true
		}
		var at cursor.Value
		var page *cursor.Page[evento.RawEvent]
		if at, err = ex.CursorAt(uint64(n)); err == nil {
			page, err = ex.Read(ctx, q, cursor.Onward(1, at))
		}
		return err != nil || len(page.Edges) == 0 || reached(&page.Edges[0].Node)
	})
	return uint64(n), err
}
