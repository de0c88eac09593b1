package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

func openAlone(t *testing.T, url, name string) *Executor {
	t.Helper()
	ex, err := Open(t.Context(), url, &Options{Name: name, Replicas: 1, AllowUnsafe: true, CacheSize: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	})
	return ex
}

func swapOf(key string, revision uint64, value string) evento.Swap {
	return evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "kind", Key: key}, Revision: revision, Value: []byte(value)}}}
}

func writeWith(s evento.Swap) evento.Write {
	e := evento.NewEvent{ID: evento.NewID(), Name: "N", Codec: "json", Data: []byte("{}")}
	return evento.Write{Appends: []evento.Append{{AggregateType: "t/T", AggregateID: "a", AnyVersion: true, Events: []evento.NewEvent{e}}}, Swap: &s}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recordIs fails the test unless a client reads a record so; revision 0: there is none.
func recordIs(t *testing.T, ex *Executor, key string, revision uint64, value string) {
	t.Helper()
	page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind", Key: key})
	must(t, err)
	switch {
	case revision == 0 && len(page.Records) == 0:
	case len(page.Records) != 1 || page.Records[0].Revision != revision || string(page.Records[0].Value) != value:
		t.Errorf("%s is %+v, want %q at revision %d", key, page.Records, value, revision)
	case page.Records[0].ChangedAt.After(page.Now):
		t.Errorf("%s was changed at %s, and it is %s", key, page.Records[0].ChangedAt, page.Now)
	}
}

// logged is how many messages the log has.
func loggedBy(t *testing.T, ex *Executor) uint64 {
	t.Helper()
	h, err := ex.head.get(t.Context())
	must(t, err)
	return h.sequence
}

// What changes without events is no part of the log. When it is changed with an event, it
// moves there, and goes on there; it may be removed and made again.
func TestRecordsMove(t *testing.T) {
	t.Parallel()
	url := testserver.NATS(t, testserver.NATSOptions{Nodes: 1}).URL()
	ex, other := openAlone(t, url, "a"), openAlone(t, url, "a")
	ctx := t.Context()
	for life := range 2 {
		must(t, ex.Swap(ctx, swapOf("k", 0, "born")))
		recordIs(t, other, "k", 1, "born")
		before := loggedBy(t, ex)
		for i := range uint64(20) {
			client := []*Executor{ex, other}[i%2]
			must(t, client.Swap(ctx, swapOf("k", i+1, fmt.Sprint(i))))
			recordIs(t, other, "k", i+2, fmt.Sprint(i))
		}
		if got := loggedBy(t, ex); got != before {
			t.Errorf("20 changes of a record are %d messages of the log", got-before)
		}
		if err := other.Swap(ctx, swapOf("k", 20, "old")); !errors.Is(err, evento.ErrSwapped) {
			t.Errorf("at an old revision: %v, want ErrSwapped", err)
		}
		if _, err := other.Write(ctx, writeWith(swapOf("k", 20, "old"))); !errors.Is(err, evento.ErrSwapped) {
			t.Errorf("with an event, at an old revision: %v, want ErrSwapped", err)
		}
		_, err := other.Write(ctx, writeWith(swapOf("k", 21, "with an event")))
		must(t, err)
		recordIs(t, ex, "k", 22, "with an event")
		must(t, ex.Swap(ctx, swapOf("k", 22, "in the log")))
		recordIs(t, other, "k", 23, "in the log")
		recordIs(t, openAlone(t, url, "a"), "k", 23, "in the log")
		remove := swapOf("k", 23, "")
		remove.Changes[0].Remove = true
		must(t, ex.Swap(ctx, remove))
		recordIs(t, other, "k", 0, "")
		if m, err := ex.message(ctx, ex.names.records, bySubject{ex.names.recordSubject(remove.Changes[0].RecordKey)}); err != nil || m != nil {
			t.Errorf("life %d: a record that is removed has a message: %v, %v", life, m, err)
		}
		recordIs(t, openAlone(t, url, "a"), "k", 0, "")
	}
}

// A client that ends after it has told the stream of records that a record moves, and before it
// told the log: every other client reads the record as it was, and goes on with it.
func TestMovedByHalf(t *testing.T) {
	t.Parallel()
	url := testserver.NATS(t, testserver.NATSOptions{Nodes: 1}).URL()
	ex, other := openAlone(t, url, "a"), openAlone(t, url, "a")
	ctx := t.Context()
	next := map[string]func(key string) error{
		"swap":  func(key string) error { return other.Swap(ctx, swapOf(key, 2, "on")) },
		"write": func(key string) error { _, err := other.Write(ctx, writeWith(swapOf(key, 2, "on"))); return err },
	}
	for key, goOn := range next {
		must(t, ex.Swap(ctx, swapOf(key, 0, "born")))
		must(t, ex.Swap(ctx, swapOf(key, 1, "second")))
		s, err := ex.recordState(evento.RecordKey{Kind: "kind", Key: key})
		must(t, err)
		half := change{id: [16]byte{1}, before: s.posted.id, moved: true, born: s.born, key: s.RecordKey, revision: s.Revision, at: s.ChangedAt.UnixMicro(), value: s.Value}
		must(t, ex.settlePost(ctx, []change{half}, []uint64{s.posted.sequence}))
		recordIs(t, other, key, 2, "second")
		recordIs(t, openAlone(t, url, "a"), key, 2, "second")
		must(t, goOn(key))
		for _, client := range []*Executor{ex, other, openAlone(t, url, "a")} {
			recordIs(t, client, key, 3, "on")
		}
	}
}

// What somebody else publishes to the stream of records means nothing.
func TestRecordsOfOthers(t *testing.T) {
	t.Parallel()
	url := testserver.NATS(t, testserver.NATSOptions{Nodes: 1}).URL()
	ex := openAlone(t, url, "a")
	must(t, ex.Swap(t.Context(), swapOf("k", 0, "born")))
	must(t, ex.Swap(t.Context(), swapOf("k", 1, "second")))
	p, _ := ex.board.get(evento.RecordKey{Kind: "kind", Key: "k"})
	broken := p.encode()
	broken[len(broken)-1] ^= 1
	for subject, data := range map[string][]byte{"garbage": []byte("garbage"), "nothing": nil, "broken": broken, "another": p.encode()} {
		_, err := ex.nc.Request(ex.names.record+subject, data, time.Minute)
		must(t, err)
	}
	must(t, ex.Swap(t.Context(), swapOf("k", 2, "third")))
	for _, client := range []*Executor{ex, openAlone(t, url, "a")} {
		recordIs(t, client, "k", 3, "third")
	}
}

// Clients change the same records at the same time, in all ways: each change that was told to be
// made counts once.
func TestRecordsOfMany(t *testing.T) {
	t.Parallel()
	url := testserver.NATS(t, testserver.NATSOptions{Nodes: 1}).URL()
	for seldom, name := range map[int]string{1 << 30: "never", 100: "seldom", 5: "often"} { // with an event
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changedByMany(t, url, name, seldom)
		})
	}
}

func changedByMany(t *testing.T, url, name string, seldom int) {
	t.Helper()
	clients := []*Executor{openAlone(t, url, name), openAlone(t, url, name)}
	const keys, each = 3, 40
	var made [keys]atomic.Int64
	for i := range keys {
		must(t, clients[0].Swap(t.Context(), swapOf(strconv.Itoa(i), 0, "0")))
	}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(3, uint64(w)))
			for n := 0; n < each && !t.Failed(); {
				if addOne(t, clients[w%2], r, &made, seldom) {
					n++
				}
			}
		})
	}
	wg.Wait()
	for _, ex := range append(clients, openAlone(t, url, name)) {
		for i := range keys {
			recordIs(t, ex, strconv.Itoa(i), uint64(made[i].Load())+1, strconv.FormatInt(made[i].Load(), 10))
		}
	}
}

// addOne adds one to one record, or to two of them together, and reports whether it did.
func addOne(t *testing.T, ex *Executor, r *rand.Rand, made *[3]atomic.Int64, seldom int) bool {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var s evento.Swap
	var which []int
	for _, i := range r.Perm(len(made))[:1+r.IntN(2)] {
		page, err := ex.Records(ctx, evento.RecordQuery{Kind: "kind", Key: strconv.Itoa(i)})
		if err != nil || len(page.Records) != 1 {
			t.Errorf("Records() = %v, %v", page, err)
			return false
		}
		n, _ := strconv.Atoi(string(page.Records[0].Value))
		s.Changes = append(s.Changes, swapOf(strconv.Itoa(i), page.Records[0].Revision, strconv.Itoa(n+1)).Changes...)
		which = append(which, i)
	}
	var err error
	if r.IntN(seldom) == 0 {
		_, err = ex.Write(ctx, writeWith(s))
	} else {
		err = ex.Swap(ctx, s)
	}
	switch {
	case errors.Is(err, evento.ErrSwapped):
		return false
	case err != nil:
		t.Errorf("a change of %v: %v", which, err)
		return false
	}
	for _, i := range which {
		made[i].Add(1)
	}
	return true
}
