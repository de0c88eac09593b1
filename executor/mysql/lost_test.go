//go:build unix

// Replies that are lost.

package mysql_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/testserver"
)

// cut says at which statement a connection ends, once.
type cut struct {
	text    string
	forward bool // the server still gets it, and its reply is dropped
	packets int  // of the reply, which are awaited; 0: 1
	// end is called when the connection ends; with race, as soon as the
	// server was sent the statement.
	end  func()
	race bool
}

func (c *cut) ended() {
	if c.end != nil {
		c.end()
	}
}

// proxy is between an executor and the server.
type proxy struct {
	net.Listener
	server string
	next   atomic.Pointer[cut]

	accepted, sent atomic.Int64 // connections, and bytes of the server's
}

func newProxy(t *testing.T, dsn string) (*proxy, string) {
	t.Helper()
	cfg, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, server: cfg.Addr}
	go p.serve()
	t.Cleanup(func() { _ = l.Close() })
	cfg.Addr = l.Addr().String()
	return p, cfg.FormatDSN()
}

func (p *proxy) serve() {
	for {
		client, err := p.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		var silent atomic.Pointer[cut]
		go func() {
			defer func() { _ = client.Close() }()
			buffer := make([]byte, 64<<10)
			var reply []byte
			for {
				n, err := server.Read(buffer)
				if err != nil {
					return
				}
				p.sent.Add(int64(n))
				if c := silent.Load(); c != nil {
					reply = append(reply, buffer[:n]...)
					if !c.race && countPackets(reply) < c.packets {
						continue
					}
					if !c.race {
						c.ended() // the server is done
					}
					return
				}
				if _, err := client.Write(buffer[:n]); err != nil {
					return
				}
			}
		}()
		go func() {
			defer func() { _ = server.Close() }()
			buffer := make([]byte, 64<<10)
			for {
				n, err := client.Read(buffer)
				if err != nil {
					return
				}
				if c := p.next.Load(); c != nil && bytes.Contains(buffer[:n], []byte(c.text)) && p.next.CompareAndSwap(c, nil) {
					if !c.forward {
						c.ended()
						_ = client.Close()
						return
					}
					silent.Store(c)
				}
				if _, err := server.Write(buffer[:n]); err != nil {
					return
				}
				if c := silent.Load(); c != nil {
					if c.race {
						c.ended()
					}
					_, _ = io.Copy(io.Discard, client) // until the other side is closed
					return
				}
			}
		}()
	}
}

// countPackets counts those that are whole: three bytes of length and a number
// come before each.
func countPackets(b []byte) (n int) {
	for len(b) >= 4 {
		size := 4 + int(b[0]) + int(b[1])<<8 + int(b[2])<<16
		if size > len(b) {
			break
		}
		b = b[size:]
		n++
	}
	return n
}

func TestLostReplies(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	p, through := newProxy(t, dsn)
	ex, err := mysql.Open(t.Context(), through, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	})
	other := openSilent(t, dsn)
	want := 0
	for name, c := range map[string]struct {
		cut
		unknown bool
	}{
		"commit not made": {cut{text: "COMMIT"}, true},
		"commit made":     {cut{text: "COMMIT", forward: true, packets: 2}, true}, // with a statement before it
		"insert not made": {cut{text: "lost-id"}, false},
		"insert made":     {cut{text: "lost-id", forward: true}, false},
	} {
		for _, expected := range []bool{true, false} {
			id := evento.NewID().String()
			b := evento.Aggregate("lost-id "+id).Event(happened{}, happened{})
			if !expected {
				b.AnyVersion()
			}
			create(t, other) // so that ex asks for the counter before it sends anything
			create(t, ex)
			want += 2
			p.next.Store(&c.cut)
			r, err := b.Commit(t.Context(), ex)
			switch {
			case p.next.Load() != nil:
				t.Fatalf("%s: nothing was cut", name)
			case c.unknown != errors.Is(err, evento.ErrOutcomeUnknown), !c.unknown && err != nil:
				t.Fatalf("%s: Commit() = %v, want unknown: %v", name, err, c.unknown)
			}
			want += 2
			for range 2 {
				again, err := b.Commit(t.Context(), ex)
				if err != nil || again.Version != 2 || !c.unknown && again != r {
					t.Fatalf("%s: Commit() again = %+v, %v; the first was %+v", name, again, err, r)
				}
			}
			page, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1000, ""))
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Edges) != want {
				t.Fatalf("%s: %d events, want %d", name, len(page.Edges), want)
			}
		}
	}
}

// A server that ends connections which idle is not noticed by callers.
func TestKilledConnections(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	ex, db := openDSN(t, dsn), raw(t, dsn)
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	})
	db.SetMaxOpenConns(1)
	for range 5 {
		r, err := evento.Create().Event(happened{}).Commit(t.Context(), ex)
		if err != nil {
			t.Fatal(err)
		}
		kill(t, db)
		if _, err := evento.Aggregate(r.AggregateID).OriginalVersion(1).Event(happened{}).Commit(t.Context(), ex); err != nil {
			t.Fatalf("Commit() after the connections were killed = %v", err)
		}
		kill(t, db)
		if _, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(10, "")); err != nil {
			t.Fatalf("Read() after the connections were killed = %v", err)
		}
	}
}

// A swap whose reply is lost is an error, not a second swap, which would be
// told that the record is stale; one on connections that the server has ended
// meanwhile is made.
func TestLostSwaps(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	p, through := newProxy(t, dsn)
	ex, db := openSilent(t, through), raw(t, dsn)
	db.SetMaxOpenConns(1)
	two := func(key string, revision uint64) []evento.Change {
		return []evento.Change{record(key+" 1", revision), record(key+" 2", revision)}
	}
	if err := errors.Join(swap(t.Context(), ex, record("idle", 0)), swap(t.Context(), ex, two("idle", 0)...)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cut
		changes []evento.Change
		made    int
	}{
		"one not made":    {cut{text: "lost a"}, []evento.Change{record("lost a", 0)}, 0},
		"one made":        {cut{text: "lost b", forward: true}, []evento.Change{record("lost b", 0)}, 1},
		"first of two":    {cut{text: "lost c 1", forward: true}, two("lost c", 0), 0},
		"second of two":   {cut{text: "lost d 2", forward: true}, two("lost d", 0), 0},
		"commit not made": {cut{text: "COMMIT"}, two("lost e", 0), 0},
		"commit made":     {cut{text: "COMMIT", forward: true}, two("lost f", 0), 2},
	} {
		p.next.Store(&c.cut)
		err := swap(t.Context(), ex, c.changes...)
		if p.next.Load() != nil {
			t.Fatalf("%s: nothing was cut", name)
		}
		if err == nil || errors.Is(err, evento.ErrSwapped) {
			t.Errorf("%s: Swap() = %v, want the error of the connection", name, err)
		}
		found := 0
		for _, r := range c.changes {
			page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: r.Kind, Key: r.Key})
			if err != nil {
				t.Fatal(err)
			}
			found += len(page.Records)
		}
		if found != c.made {
			t.Errorf("%s: %d records are there, want %d", name, found, c.made)
		}
	}
	direct := openSilent(t, dsn)
	killAll := func() {
		kill(t, db)
		eventually(t, "its connections are closed", func() bool { return connections(t, db) == 0 })
	}
	for revision := uint64(1); revision <= 3; revision++ {
		killAll()
		if err := swap(t.Context(), direct, record("idle", revision)); err != nil {
			t.Errorf("Swap() after the connections were killed = %v", err)
		}
		killAll()
		if err := swap(t.Context(), direct, two("idle", revision)...); err != nil {
			t.Errorf("Swap() of two after the connections were killed = %v", err)
		}
	}
}
