package jetstream_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

// openBehind opens a store of one server through a proxy.
func openBehind(t *testing.T, url, name, dir string) *jetstream.Executor {
	t.Helper()
	o := alone(name, dir)
	o.Connect = onlyThese
	return open(t, url, o)
}

// What servers and clients say to each other is lost, doubled, late, or in another order:
// nothing of the store is. EVENTO_JETSTREAM_CHAOS is how many hundred writes are made.
func TestUnreliableMessages(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{Nodes: 1})
	clean := open(t, cluster.URL(), alone("chaos", ""))
	network := newChaos(1)
	url, _ := behind(t, cluster, network.pass)
	a := openBehind(t, url, "chaos", filepath.Join(t.TempDir(), "a"))
	b := openBehind(t, url, "chaos", filepath.Join(t.TempDir(), "b"))
	l := startLoad(t, a, "a", 8)
	other := startLoad(t, b, "b", 8)
	for range many(t, "EVENTO_JETSTREAM_CHAOS", 5) {
		l.progress(100)
	}
	network.end()
	l.progress(10)
	other.progress(10)
	l.end()
	other.end()
	network.report(t)
	for id, at := range other.told {
		l.told[id] = at
	}
	l.checkAll(b, clean, open(t, cluster.URL(), alone("chaos", "")))
}

// A proposal that a client has given up may still be on its way when another client writes it
// again: it is stored once.
func TestLateProposal(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{Nodes: 1})
	other := open(t, cluster.URL(), alone("late", ""))
	for _, ids := range [][]string{{"x"}, {"y", "z"}} {
		w := evento.Write{}
		for _, id := range ids {
			w.Appends = append(w.Appends, evento.Append{AggregateType: thing, AggregateID: id, AnyVersion: true, Events: someEvents(2, 1)})
		}
		sent, release := make(chan struct{}, 1), make(chan struct{})
		url, _ := behind(t, cluster, holding("proposal", sent, release))
		late := openBehind(t, url, "late", "")
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := late.Write(ctx, w)
			gone <- err
		}()
		<-sent
		cancel()
		if err := <-gone; !errors.Is(err, evento.ErrOutcomeUnknown) {
			t.Errorf("Write() = %v, want ErrOutcomeUnknown", err)
		}
		w.Retry = true
		want, err := other.Write(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		close(release)
		write(t, late, "behind "+ids[0], 0) // what was on its way has arrived
		if got, err := late.Write(t.Context(), w); err != nil || !slices.Equal(got, want) {
			t.Errorf("once more: Write() = %+v, %v, want %+v", got, err, want)
		}
		for _, id := range ids {
			if got := countOf(t, other, id); got != 2 {
				t.Errorf("%s of %v has %d events, want 2", id, ids, got)
			}
		}
	}
}

// holding is a testserver.Pass that keeps what a client sends from the first frame of a kind on.
func holding(kind string, sent chan<- struct{}, release <-chan struct{}) testserver.Pass {
	return func(_ bool, to io.Writer, from io.Reader) error {
		r := bufio.NewReader(from)
		for {
			f, err := readFrame(r)
			if err != nil {
				return err
			}
			if f.kind() == kind {
				select {
				case sent <- struct{}{}:
				default:
				}
				<-release
			}
			if _, err := to.Write(f.raw); err != nil {
				return err
			}
		}
	}
}

func countOf(t *testing.T, ex evento.Executor, id string) (n int) {
	t.Helper()
	for _, err := range evento.Events(t.Context(), ex, evento.Query{Filters: []evento.Filter{{AggregateType: thing, AggregateID: id}}}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// proposed publishes a message of the log of store a that no client of this release would send.
func proposed(t *testing.T, nc *nats.Conn, format byte, base, check uint64, body []byte) {
	t.Helper()
	b := append([]byte{'E', 'V', format}, make([]byte, 4)...)
	for _, n := range []uint64{rand.Uint64(), 1, 1, base, check} { // a session, its first group, its only part
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, body...)
	binary.BigEndian.PutUint32(b[3:], crc32.Checksum(b[7:], crc32.MakeTable(crc32.Castagnoli)))
	m, err := nc.Request("evento.a.log", b, 10*time.Second)
	if err != nil || bytes.Contains(m.Data, []byte("error")) {
		t.Fatalf("publishing: %s, %v", m.Data, err)
	}
}

// closed waits until a store has closed itself, and returns why.
func closed(t *testing.T, ex evento.Executor) error {
	t.Helper()
	for {
		changed := ex.Changed()
		if _, err := ex.Read(t.Context(), evento.Query{}, backward); err != nil {
			return err
		}
		<-changed
	}
}

// A client that meets a format that it does not know says so, whether it runs or begins, and
// which releases are needed. What it has stays.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	url, dir := single(t), filepath.Join(t.TempDir(), "index")
	ex, err := jetstream.Open(t.Context(), url, alone("a", dir))
	if err != nil {
		t.Fatal(err)
	}
	write(t, ex, "x", 0)
	proposed(t, connection(t, url), 2, 0, 0, nil)
	says(t, "running", closed(t, ex), evento.ErrNewerStore, "format 2", "up to 1", "message at 2")
	_, err = ex.Write(t.Context(), one("y", 0))
	says(t, "writing", err, evento.ErrNewerStore, "format 2")
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{dir, ""} {
		_, err = jetstream.Open(t.Context(), url, alone("a", at))
		says(t, "beginning", err, evento.ErrNewerStore, "format 2", "up to 1")
	}
}

// A client that has decided otherwise makes others close themselves once: they can be opened
// again, and have what they had.
func TestDisagreement(t *testing.T) {
	t.Parallel()
	url, dir := single(t), filepath.Join(t.TempDir(), "index")
	ex, err := jetstream.Open(t.Context(), url, alone("a", dir))
	if err != nil {
		t.Fatal(err)
	}
	write(t, ex, "x", 0)
	nc := connection(t, url)
	proposed(t, nc, 1, 1, 12345, nil)
	says(t, "running", closed(t, ex), evento.ErrDamaged, "decided differently", "message 1")
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{dir, ""} {
		again := open(t, url, alone("a", at))
		write(t, again, "y"+at, 0)
	}
	if got := len(allEvents(t, open(t, url, alone("a", "")))); got != 3 {
		t.Errorf("there are %d events, want 3", got)
	}
}

// What nobody but a forger proposes is refused by all, and nobody falls over it.
func TestForgedProposals(t *testing.T) {
	t.Parallel()
	url := single(t)
	ex, nc := open(t, url, alone("a", "")), connection(t, url)
	write(t, ex, "x", 0)
	for _, body := range [][]byte{
		nil, {0}, {1, 0}, {0xff}, {5, 1, 0, 0, 0, 0}, {5, 0, 0, 0, 0, 0}, {1, 200},
		{9, 0, 0, 0, 1, 0, 1, 't', 1, 'i'},
	} {
		proposed(t, nc, 1, 1<<40, 7, body)
		proposed(t, nc, 1, 0, 0, body[:len(body)/2])
	}
	if _, err := nc.Request("evento.a.log", []byte("hello"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	write(t, ex, "x", 1)
	if got := len(allEvents(t, open(t, url, alone("a", "")))); got != 2 {
		t.Errorf("there are %d events, want 2", got)
	}
}

// A stream that is restored while clients have it open: they close themselves when they write,
// and do not go on from what is not there any more.
func TestRestoredWhileOpen(t *testing.T) {
	t.Parallel()
	url, dir := single(t), filepath.Join(t.TempDir(), "index")
	nc := connection(t, url)
	ex, err := jetstream.Open(t.Context(), url, alone("a", dir))
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(10) {
		write(t, ex, "x", n)
	}
	config := api(t, nc, "STREAM.INFO.a", nil)["config"]
	api(t, nc, "STREAM.DELETE.a", nil)
	api(t, nc, "STREAM.CREATE.a", config)
	w := one("x", 10)
	_, err = ex.Write(t.Context(), w)
	says(t, "writing", err, evento.ErrOutcomeUnknown, "restored")
	says(t, "after that", closed(t, ex), evento.ErrDamaged, "restored")
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, url, alone("a", dir))
	w.Retry = true
	if _, err := again.Write(t.Context(), w); !errors.Is(err, evento.ErrConflict) {
		t.Errorf("on the restored log: Write() = %v, want a conflict", err)
	}
	write(t, again, "x", 0)
}

// A leader that was halted may say that there is no such message: the index is not made anew
// for that.
func TestIndexAheadOfOldLeader(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{Nodes: 1})
	dir := filled(t, cluster.URL(), "a", 3, 1)
	var lies atomic.Int64
	url, _ := behind(t, cluster, func(_ bool, to io.Writer, from io.Reader) error {
		r := bufio.NewReader(from)
		for {
			f, err := readFrame(r)
			if err != nil {
				return err
			}
			if bytes.Contains(f.payload, []byte("stream_msg_get_response")) && lies.Add(1) == 1 {
				text := `{"error":{"code":404,"err_code":10037,"description":"no message found"}}`
				f.raw = fmt.Appendf(nil, "%s %d\r\n%s\r\n", strings.Join(f.fields, " "), len(text), text)
			}
			if _, err := to.Write(f.raw); err != nil {
				return err
			}
		}
	})
	var said strings.Builder
	o := alone("a", dir)
	o.Connect, o.Logger = onlyThese, slog.New(slog.NewTextHandler(&said, nil))
	ex := open(t, url, o)
	if got := len(allEvents(t, ex)); got != 3 || lies.Load() < 2 || strings.Contains(said.String(), "anew") {
		t.Errorf("there are %d events after %d answers, and it says %q", got, lies.Load(), said.String())
	}
}
