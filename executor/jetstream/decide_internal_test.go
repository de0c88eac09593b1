package jetstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/internal/store"
)

var update = flag.Bool("update", false, "write the golden logs anew")

// logged is a message of a log of tests.
type logged struct {
	at   int64 // microseconds since 1970
	data []byte
}

// author makes random logs.
type author struct {
	*rand.Rand
	at       int64
	counters map[uint64]uint64
	written  []*proposal
	log      []logged
	heads    map[string]uint64 // about the versions that aggregates have
	position uint64            // about the last one
}

func (a *author) id() (id evento.ID) {
	_ = id.SetTime(uint64(a.at / 1000))
	binary.BigEndian.PutUint64(id[8:], a.Uint64())
	return id
}

func (a *author) name(of string, n int) string { return fmt.Sprint(of, a.IntN(n)) }

func (a *author) append() evento.Append {
	one := evento.Append{AggregateType: evento.AggregateType(a.name("type", 2)), AggregateID: a.name("id", 4), RoutingKey: []string{"", "eu", "us"}[a.IntN(3)]}
	key := string(one.AggregateType) + one.AggregateID
	if one.AnyVersion = a.IntN(3) > 0; !one.AnyVersion {
		one.Expected = a.heads[key]
		if a.IntN(8) == 0 {
			one.Expected = a.Uint64N(one.Expected + 3)
		}
	}
	if a.IntN(4) == 0 {
		one.Metadata = evento.Metadata{CorrelationID: a.name("c", 3), Values: map[string]string{"k": "v"}}
	}
	for range 1 + a.IntN(3) {
		e := evento.NewEvent{ID: a.id(), Name: a.name("Name", 3), Codec: "json", Data: []byte(a.name("data", 1000))}
		if a.IntN(3) == 0 {
			e.Tags = []string{a.name("tag", 3)}
		}
		one.Events = append(one.Events, e)
	}
	a.heads[key] = max(a.heads[key], one.Expected) + uint64(len(one.Events))
	a.position += uint64(len(one.Events))
	return one
}

func (a *author) swap() *evento.Swap {
	s := &evento.Swap{Wake: a.IntN(2) == 0}
	for i := range 1 + a.IntN(2) {
		s.Changes = append(s.Changes, evento.Change{
			RecordKey: evento.RecordKey{Kind: "kind", Key: a.name("key", 2), Part: fmt.Sprint(i)},
			Revision:  a.Uint64N(4), Value: []byte(a.name("value", 9)), Remove: a.IntN(5) == 0,
		})
	}
	return s
}

func (a *author) proposal() *proposal {
	switch n := a.IntN(20); {
	case n < 3:
		return &proposal{swap: a.swap()}
	case n == 5:
		r := evento.Record{RecordKey: a.swap().Changes[0].RecordKey, Revision: 1 + a.Uint64N(5), ChangedAt: time.UnixMicro(a.at).UTC(), Value: []byte("moved")}
		return &proposal{moves: []move{{r, 1 + a.Uint64N(uint64(len(a.log)+1))}}}
	case n == 3 && len(a.written) > 0: // once more
		p := *a.written[a.IntN(len(a.written))]
		w := *p.write
		w.Retry, p.behind = true, 0
		p.write = &w
		return &p
	case n == 4:
		e := evento.RawEvent{
			ID: a.id(), Position: a.position + uint64(a.IntN(2)), AggregateType: "type0", AggregateID: a.name("imported", 50), Version: 1, Name: "Old", Codec: "json",
			Data: []byte("old"), Timestamp: time.UnixMicro(a.at - int64(a.IntN(3)*1000)).UTC(),
		}
		return &proposal{imports: []evento.RawEvent{e}}
	}
	p := &proposal{write: &evento.Write{Appends: []evento.Append{a.append()}}}
	if second := a.append(); a.IntN(3) == 0 && second.Aggregate() != p.write.Appends[0].Aggregate() {
		p.write.Appends = append(p.write.Appends, second)
	}
	for a.IntN(3) == 0 {
		q := evento.Query{Filters: []evento.Filter{{Tags: []string{a.name("tag", 3)}}, {AggregateType: "type0", Name: a.name("Name", 3)}}[:1+a.IntN(2)]}
		if a.IntN(4) == 0 {
			q.RoutingKey = "eu"
		}
		p.places = append(p.places, store.Place{Query: q, After: a.position - min(a.position, a.Uint64N(6))})
	}
	if a.IntN(6) == 0 {
		p.write.Swap = a.swap()
	}
	a.written = append(a.written, p)
	return p
}

// group adds a group to the log, now and then in parts, some of them twice.
func (a *author) group(t *testing.T) {
	var body []byte
	for range 1 + a.IntN(4) {
		b, err := encodeProposal(a.proposal())
		if err != nil {
			t.Fatal(err)
		}
		body = append(binary.AppendUvarint(body, uint64(len(b))), b...)
	}
	session := uint64(a.IntN(3))
	a.counters[session]++
	parts := 1
	if a.IntN(5) == 0 {
		parts = 1 + a.IntN(3)
	}
	for i := range parts {
		m := message{session: session, counter: a.counters[session], part: uint32(i), parts: uint32(parts)}
		if a.IntN(12) == 0 { // one that comes late
			m.counter -= min(m.counter, 1)
		}
		piece := body[i*len(body)/parts : (i+1)*len(body)/parts]
		b := append(make([]byte, headerLen), piece...)
		m.seal(b)
		for range 1 + a.IntN(8)/7 {
			a.log = append(a.log, logged{a.at, b})
		}
		a.at += int64(a.IntN(3)) * 100
	}
}

func randomLog(t *testing.T, seed uint64, groups int) []logged {
	a := &author{Rand: rand.New(rand.NewPCG(seed, 1)), at: 1_700_000_000_000_000, counters: map[uint64]uint64{}, heads: map[string]uint64{}}
	for range groups {
		switch a.IntN(40) {
		case 0:
			a.log = append(a.log, logged{a.at, []byte("a message of somebody else")})
		case 1:
			a.at -= 5000 // another server leads, whose clock is behind
		case 2:
			if a.at += forgotten.Microseconds() + 1; a.IntN(4) > 0 {
				clear(a.counters) // the clients begin new sessions
			}
		}
		a.group(t)
	}
	return a.log
}

// client is a decider with its index.
type client struct {
	*decider
	t    *testing.T
	told strings.Builder
}

func newClient(t *testing.T, dir string) *client {
	t.Helper()
	x, err := pebble.OpenIndex(t.Context(), dir, [16]byte{1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t}
	if c.decider, err = newDecider(x, c.tell); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.index.Close() })
	return c
}

func (c *client) tell(session, counter uint64, outcomes []outcome) {
	fmt.Fprintf(&c.told, "group %d of session %d\n", counter, session)
	for _, o := range outcomes {
		if o.err != nil {
			fmt.Fprintf(&c.told, "\t%v\n", o.err)
			continue
		}
		fmt.Fprintf(&c.told, "\tstored %v\n", o.receipts)
	}
}

// follow decides a log from where the client is; round says after which messages it stores.
func (c *client) follow(log []logged, round func() bool) {
	c.t.Helper()
	for c.place.sequence < uint64(len(log)) {
		m := log[c.place.sequence]
		if err := c.take(c.place.sequence+1, time.UnixMicro(m.at), m.data); err != nil {
			c.t.Fatalf("message %d: %v", c.place.sequence+1, err)
		}
		if round() {
			c.keep()
		}
	}
	c.keep()
}

func (c *client) keep() {
	c.t.Helper()
	if err := c.store(); err != nil {
		c.t.Fatal(err)
	}
}

// contents is all that the index has, as a text.
func (c *client) contents() string {
	c.t.Helper()
	var b strings.Builder
	page, err := c.index.Read(context.Background(), evento.Query{}, cursor.Onward(cursor.MaxPage, ""))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, edge := range page.Edges {
		e := edge.Node
		fmt.Fprintf(&b, "%d %s %s %q v%d %s %q %v %s %s %q %v\n", e.Position, e.ID, e.AggregateType, e.AggregateID, e.Version, e.Name, e.RoutingKey, e.Tags,
			e.Timestamp.Format(time.RFC3339Nano), e.Codec, e.Data, e.Metadata)
	}
	records, err := c.index.Records(context.Background(), evento.RecordQuery{Kind: "kind"})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range records.Records {
		fmt.Fprintf(&b, "%s %s at revision %d of %s: %q\n", r.Key, r.Part, r.Revision, r.ChangedAt.Format(time.RFC3339Nano), r.Value)
	}
	fmt.Fprintf(&b, "hash %016x\n", c.place.hash)
	return b.String()
}

// However a log is cut into rounds, and whenever a client begins again, it is decided alike.
func TestDecidedAlike(t *testing.T) {
	t.Parallel()
	for seed := range uint64(15) {
		log := randomLog(t, seed, 60)
		one := newClient(t, "")
		one.follow(log, func() bool { return true })
		whole := newClient(t, "")
		whole.follow(log, func() bool { return false })
		r := rand.New(rand.NewPCG(seed, 2))
		dir := filepath.Join(t.TempDir(), "index")
		var told strings.Builder
		for end := 0; end < len(log); {
			end = min(len(log), end+1+r.IntN(len(log)/3))
			again := newClient(t, dir)
			again.follow(log[:end], func() bool { return r.IntN(4) == 0 })
			told.WriteString(again.told.String())
			if end == len(log) && again.contents() != one.contents() {
				t.Errorf("seed %d: one that began again has\n%s, one that did not\n%s", seed, again.contents(), one.contents())
			}
			if err := again.index.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got := whole.contents(); got != one.contents() {
			t.Errorf("seed %d: in one round it is\n%s, message by message\n%s", seed, got, one.contents())
		}
		if one.told.String() != whole.told.String() || one.told.String() != told.String() {
			t.Errorf("seed %d: the writers were told otherwise:\n%s\n%s\n%s", seed, one.told.String(), whole.told.String(), told.String())
		}
		if stored := strings.Count(one.told.String(), "stored [{"); stored < 5 {
			t.Errorf("seed %d: only %d writes were stored", seed, stored)
		}
	}
}

// Golden logs hold the rules: what they decide is part of the format. A log whose outcome
// changes needs a new format.
func TestGoldenLogs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		path := filepath.Join("testdata", "golden", fmt.Sprintf("%d-%d", format, seed))
		if *update {
			var b bytes.Buffer
			for _, m := range randomLog(t, 1000+seed, 20) {
				fmt.Fprintf(&b, "%d %x\n", m.at, m.data)
			}
			golden(t, path+".log", b.Bytes())
		}
		text, err := os.ReadFile(path + ".log")
		if err != nil {
			t.Fatal(err)
		}
		var log []logged
		for line := range strings.Lines(string(text)) {
			var m logged
			var data string
			if _, err := fmt.Sscan(line, &m.at, &data); err != nil {
				t.Fatal(err)
			}
			if m.data, err = hex.DecodeString(data); err != nil {
				t.Fatal(err)
			}
			log = append(log, m)
		}
		c := newClient(t, "")
		c.follow(log, func() bool { return true })
		got := c.told.String() + c.contents()
		if *update {
			golden(t, path+".txt", []byte(got))
		}
		want, err := os.ReadFile(path + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s.log is decided as\n%s, it was\n%s", path, got, want)
		}
	}
}

func golden(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A client that finds that another has decided otherwise closes itself, and one that does not
// know the format says so; what is damaged is not passed over.
func TestRefusedMessages(t *testing.T) {
	t.Parallel()
	log := randomLog(t, 3, 20)
	for name, test := range map[string]struct {
		change func(m message, b []byte) message
		want   error
	}{
		"another hash":     {func(m message, _ []byte) message { m.base, m.check = 5, 1; return m }, evento.ErrDamaged},
		"a newer format":   {func(m message, b []byte) message { b[crcAt-1] = format + 1; return m }, evento.ErrNewerStore},
		"a flipped bit":    {func(m message, b []byte) message { b[len(b)-1] ^= 4; return m }, errBroken},
		"nothing":          {func(m message, _ []byte) message { return m }, nil},
		"somebody else's":  {func(m message, b []byte) message { b[0] = 'X'; return m }, nil},
		"an unknown place": {func(m message, _ []byte) message { m.base, m.check = 1<<40, 1; return m }, nil},
	} {
		c := newClient(t, "")
		c.follow(log, func() bool { return false })
		b := append(make([]byte, headerLen), "\x01x"...)
		m := message{session: 99, counter: 1, parts: 1, base: c.place.sequence, check: c.place.hash}
		m = test.change(m, append([]byte{}, b...))
		m.seal(b)
		test.change(m, b)
		err := c.take(c.place.sequence+1, time.Now(), b)
		if !errors.Is(err, test.want) || err != nil && test.want == nil {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// Proposals come back as they were, and what is cut or has other bytes behind it is refused.
func FuzzProposal(f *testing.F) {
	a := &author{Rand: rand.New(rand.NewPCG(5, 1)), at: 1_700_000_000_000_000, counters: map[uint64]uint64{}, heads: map[string]uint64{}}
	for range 50 {
		b, err := encodeProposal(a.proposal())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeProposal(b)
		if err != nil {
			if !errors.Is(err, evento.ErrDamaged) {
				t.Errorf("%x: %v, want ErrDamaged", b, err)
			}
			return
		}
		again, err := encodeProposal(p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := decodeProposal(again)
		if err != nil {
			t.Fatalf("%x, again %x: %v", b, again, err)
		}
		third, err := encodeProposal(q)
		if err != nil || !bytes.Equal(again, third) {
			t.Errorf("%x, again %x, and again %x: %v", b, again, third, err)
		}
	})
}
