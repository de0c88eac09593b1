package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

// oldLeader answers for a stream of records with two messages. Another that has led before, and has
// only the first, answers the first question for the second as well, and is faster.
type oldLeader struct {
	changes []change
	passed  int  // messages of clients that mean nothing
	old     bool // it has answered
}

func (l *oldLeader) last() uint64 { return uint64(len(l.changes) + l.passed) }

func (l *oldLeader) answer(n *names, m *nats.Msg) any {
	switch m.Subject {
	case "api.STREAM.INFO." + n.records:
		i := answer("n1", 3, time.Second, time.Second)
		i.State.Last = l.last()
		return i
	case n.record + passing:
		l.passed++
		return map[string]uint64{"seq": l.last()}
	}
	var asked following
	_ = json.Unmarshal(m.Data, &asked)
	switch {
	case asked.Sequence > uint64(len(l.changes)) && l.passed > 0:
		return map[string]storedMessage{"message": {Subject: n.record + passing, Sequence: l.last()}}
	case asked.Sequence > uint64(len(l.changes)), asked.Sequence == 2 && !l.old:
		l.old = true
		return map[string]apiError{"error": {ErrCode: noMessage, Description: "no message found"}}
	}
	c := &l.changes[asked.Sequence-1]
	return map[string]storedMessage{"message": {Subject: n.recordSubject(c.key), Sequence: asked.Sequence, Data: c.encode(), Time: time.Now()}}
}

// A leader that was replaced says that there is no further message, when there is: none is missed.
func TestBoardAsksAnOldLeader(t *testing.T) {
	t.Parallel()
	url := testserver.NATS(t, testserver.NATSOptions{Nodes: 1, Lines: []string{"accounts { A { mappings: { \"$JS.API.>\": \"api.>\" }, users: [{ user: a, password: secret }] } }"}}).URL()
	nc, err := nats.Connect(url, nats.UserInfo("a", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	c := &connection{nc: nc, names: namesOf("a"), logger: slog.New(slog.DiscardHandler), timeout: requestTimeout, failed: make(chan struct{}), closing: make(chan struct{})}
	server := &oldLeader{}
	for i := range 2 {
		server.changes = append(server.changes, change{
			id: randomID(), part: 1, of: 1, born: 1, revision: 2,
			key: evento.RecordKey{Kind: "kind", Key: fmt.Sprint(i)},
		})
	}
	requests := make(chan *nats.Msg, 64)
	for _, subject := range []string{"api.>", c.names.record + "*"} {
		if _, err := nc.ChanSubscribe(subject, requests); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case m := <-requests:
				data, _ := json.Marshal(server.answer(&c.names, m))
				_ = m.Respond(data)
			}
		}
	}()
	b, err := newBoard(c, func() {})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- b.run(ctx) }()
	if err := b.await(ctx, 2); err != nil {
		t.Fatal(err)
	}
	for i := range server.changes {
		if _, ok := b.get(server.changes[i].key); !ok {
			t.Errorf("record %d is missing", i+1)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Records that are changed together are read together, whatever is shown meanwhile.
func TestBoardShowsSwapsWhole(t *testing.T) {
	t.Parallel()
	const records, swaps = 100, 2000
	b := &board{mark: newMark(&connection{}), wake: func() {}, posted: map[evento.RecordKey]posted{}}
	list := make([]evento.Record, records)
	for i := range list {
		list[i].RecordKey = evento.RecordKey{Kind: "kind", Key: fmt.Sprint(i)}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range uint64(swaps) {
			for i := range list {
				b.waiting = append(b.waiting, posted{change: change{key: list[i].RecordKey, revision: n}})
			}
			b.show()
		}
	}()
	for more := true; more; {
		select {
		case <-done:
			more = false
		default:
		}
		all := b.of(list)
		for i := range all {
			if all[i].revision != all[0].revision {
				t.Fatalf("record %d is at revision %d, and the first at %d", i, all[i].revision, all[0].revision)
			}
		}
	}
}
