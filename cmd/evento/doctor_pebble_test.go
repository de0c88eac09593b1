package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	lsm "github.com/cockroachdb/pebble/v2"
)

// rawPebble changes the keys of a store without the library.
type rawPebble struct {
	t  *testing.T
	db *lsm.DB
}

const pebblePrefix = "evento/"

func (p rawPebble) get(key string) []byte {
	p.t.Helper()
	v, closer, err := p.db.Get([]byte(key))
	if err != nil {
		p.t.Fatalf("%q: %v", key, err)
	}
	defer func() { _ = closer.Close() }()
	return bytes.Clone(v)
}

func (p rawPebble) set(key string, value []byte) {
	p.t.Helper()
	if err := p.db.Set([]byte(key), value, lsm.Sync); err != nil {
		p.t.Fatal(err)
	}
}

// remove removes a key that is there.
func (p rawPebble) remove(key string) {
	p.t.Helper()
	p.get(key)
	if err := p.db.Delete([]byte(key), lsm.Sync); err != nil {
		p.t.Fatal(err)
	}
}

// first is the first key that begins so.
func (p rawPebble) first(beginning string) string {
	p.t.Helper()
	it, err := p.db.NewIter(&lsm.IterOptions{LowerBound: []byte(beginning)})
	if err != nil {
		p.t.Fatal(err)
	}
	if !it.First() || !bytes.HasPrefix(it.Key(), []byte(beginning)) {
		p.t.Fatalf("no key begins with %q", beginning)
	}
	key := string(it.Key())
	if err := it.Close(); err != nil {
		p.t.Fatal(err)
	}
	return key
}

func be(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

func eventAt(n uint64) string { return pebblePrefix + "e" + be(n) }

// ofAggregate is the key of an event under its aggregate.
func ofAggregate(id string, n uint64) string {
	kind := "shop/Order"
	if id[0] == 'c' {
		kind = "shop/Customer"
	}
	return pebblePrefix + "a" + kind + "\x00" + id + "\x00" + be(n)
}

// change changes an event, at its position and under its aggregate.
func (p rawPebble) change(id string, n uint64, how func(v []byte) []byte) {
	p.t.Helper()
	v := how(p.get(eventAt(n)))
	p.set(eventAt(n), v)
	p.set(ofAggregate(id, n), v)
}

// put overwrites bytes of an event.
func put(at int, by string) func(v []byte) []byte {
	return func(v []byte) []byte { copy(v[at:], by); return v }
}

// retext replaces a text by one of the same length.
func retext(old, by string) func(v []byte) []byte {
	return func(v []byte) []byte { return bytes.Replace(v, []byte(old), []byte(by), 1) }
}

// Where the parts of an event's value are (docs/formats.md).
const (
	pebbleVersion = 8
	pebbleTime    = 16
	pebbleID      = 24
	pebbleLengths = 40
	pebbleNames   = 49
)

// pebbleDamages are like storeDamages: events at 2 and 19 are Placed of o-1, with the routing
// key eu, and Left of c-0.
var pebbleDamages = map[string]struct {
	do     func(p rawPebble)
	want   []string
	export string
}{
	"nothing": {func(rawPebble) {}, nil, ""},
	"the highest position": {func(p rawPebble) {
		p.set(eventAt(1<<63-1), put(0, be(1<<63-1))(p.get(eventAt(21))))
		p.remove(eventAt(21))
	}, []string{"error position: invalid position: 9223372036854775807", "error index: has position 21, where there is no event", "error store: cannot be opened"}, "9223372036854775807"},
	"a position of 64 bits":         {func(p rawPebble) { p.set(eventAt(1<<64-1), put(0, be(1<<64-1))(p.get(eventAt(21)))) }, []string{"error position: invalid position: 18446744073709551615"}, "18446744073709551615"},
	"position 0":                    {func(p rawPebble) { p.set(eventAt(0), put(0, be(0))(p.get(eventAt(1)))) }, []string{"error position: invalid position: 0", "error index: the event at position 0 is missing in an index"}, "position 0"},
	"another position in the event": {func(p rawPebble) { p.change("o-1", 5, put(0, be(7))) }, []string{"error position: Placed, version 2 at position 5: it says that it is at position 7"}, "position 5: it says"},
	"an event that is gone":         {func(p rawPebble) { p.remove(eventAt(20)) }, []string{"error position: there is no event at position 20", `error index: the index of aggregates has position 20, where there is no event`, "error index: the index of kinds of events has position 20"}, "position 21: there is no event at position 20"},
	"an event that is cut short":    {func(p rawPebble) { p.change("o-1", 5, func(v []byte) []byte { return v[:30] }) }, []string{"error event: an event's value of 30 bytes is cut short"}, "position 5: "},
	"an empty event":                {func(p rawPebble) { p.change("o-1", 5, func([]byte) []byte { return nil }) }, []string{"error event: an event's value of 0 bytes is cut short"}, "position 5: "},
	"lengths beyond the end":        {func(p rawPebble) { p.change("o-1", 5, put(pebbleLengths+5, "\xff\xff\xff\xff")) }, []string{"error event: an event's value"}, "position 5: "},
	"version 0":                     {func(p rawPebble) { p.change("c-0", 19, put(pebbleVersion, be(0))) }, []string{"error version: position 19: invalid version: 0"}, "position 19: "},
	"a version beyond reason":       {func(p rawPebble) { p.change("c-0", 19, put(pebbleVersion, be(1<<63-1))) }, []string{"error version: invalid version: 9223372036854775807"}, "position 19: "},
	"a version left out":            {func(p rawPebble) { p.change("o-0", 16, put(pebbleVersion, be(9))) }, []string{"error version: version 9 stands where version 6 is expected"}, "position 16: version 9"},
	"a time before 1970":            {func(p rawPebble) { p.change("o-0", 1, put(pebbleTime, be(1<<64-1))) }, []string{"error timestamp: invalid timestamp: 1969"}, "position 1: "},
	"a time of the year 10000":      {func(p rawPebble) { p.change("c-2", 21, put(pebbleTime, be(253402300800000000))) }, []string{"error timestamp: invalid timestamp: 10000"}, "position 21: "},
	"a time that falls":             {func(p rawPebble) { p.change("o-1", 5, put(pebbleTime, be(7))) }, []string{"error timestamp: Placed, version 2 at position 5: it is of 1970"}, "position 5: "},
	"an event id twice":             {func(p rawPebble) { p.change("c-0", 19, put(pebbleID, string(p.get(eventAt(3))[pebbleID:pebbleID+16]))) }, []string{"error id: Left, version 1 at position 19: it has the event id"}, "position 19: it has the event id"},
	"a damaged type":                {func(p rawPebble) { p.change("c-0", 19, retext("shop/Customer", "shop/Cust\xff\xff\xff\xff")) }, []string{"error event: invalid aggregate type", "error index: under a name that the event there does not have"}, "position 19: invalid aggregate type"},
	"a damaged aggregate id":        {func(p rawPebble) { p.change("c-0", 19, retext("c-0", "c\xff0")) }, []string{"error event: invalid aggregate id"}, "position 19: invalid aggregate id"},
	"a damaged event name":          {func(p rawPebble) { p.change("c-0", 19, retext("Left", "Lef\x01")) }, []string{"error event: invalid event name"}, "position 19: invalid event name"},
	"a damaged routing key":         {func(p rawPebble) { p.change("o-1", 2, retext("eu", "\xff\xfe")) }, []string{"error event: invalid routing key", "error index: the index of routing keys has position 2"}, "position 2: invalid routing key"},
	"another routing key":           {func(p rawPebble) { p.change("o-1", 5, retext("eu", "us")) }, []string{"error event: Placed, version 2 at position 5: the routing key is \"us\", and that of the event of its aggregate before it is another"}, "position 5: the routing key"},
	"a damaged codec":               {func(p rawPebble) { p.change("c-0", 19, retext("json", "js\x00n")) }, []string{"error event: invalid codec name"}, "position 19: invalid codec name"},
	"damaged metadata":              {func(p rawPebble) { p.change("o-1", 2, retext("requestedBy", "requestedXy")) }, []string{"error event: its metadata of 42 bytes cannot be read"}, "position 2"},
	"metadata that are no CBOR":     {func(p rawPebble) { p.change("o-1", 2, retext("fvalues", "\xffvalues")) }, []string{"error event: its metadata of"}, "position 2"},
	"a payload that is no CBOR":     {func(p rawPebble) { p.change("o-1", 2, retext("\xa2aN", "\xffaN")) }, []string{"error payload: Placed, version 1 at position 2, is no cbor"}, ""},
	"a key without a position":      {func(p rawPebble) { p.set(pebblePrefix+"e123", nil) }, []string{`error position: its key, "evento/e123", has no position`}, either},
	"no event of an aggregate":      {func(p rawPebble) { p.remove(ofAggregate("o-1", 5)) }, []string{`error index: the event at position 5 is missing in an index: the key "evento/ashop/Order\x00o-1`}, ""},
	"another event of an aggregate": {func(p rawPebble) { p.set(ofAggregate("o-1", 5), p.get(eventAt(2))) }, []string{`error index: is not the one at position 5`}, ""},
	"no index of a kind":            {func(p rawPebble) { p.remove(pebblePrefix + "kshop/Customer\x00Left\x00" + be(19)) }, []string{"error index: the event at position 19 is missing in an index"}, ""},
	"no index of a routing key":     {func(p rawPebble) { p.remove(pebblePrefix + "reu\x00" + be(2)) }, []string{"error index: the event at position 2 is missing in an index"}, ""},
	"no index of a tag":             {func(p rawPebble) { p.remove(pebblePrefix + "gshop:1\x00" + be(2)) }, []string{"error index: the event at position 2 is missing in an index"}, ""},
	"an index of another kind":      {func(p rawPebble) { p.set(pebblePrefix+"kshop/Customer\x00Joined\x00"+be(19), nil) }, []string{"error index: the index of kinds of events has position 19 under a name"}, ""},
	"an index of another tag":       {func(p rawPebble) { p.set(pebblePrefix+"gx\x00"+be(19), nil) }, []string{"error index: the index of tags has position 19 under a name"}, ""},
	"an index beyond the end":       {func(p rawPebble) { p.set(pebblePrefix+"rx\x00"+be(1000), nil) }, []string{"error index: the index of routing keys has position 1000, where there is no event"}, ""},
	"a short key of an index":       {func(p rawPebble) { p.set(pebblePrefix+"gx", nil) }, []string{"error index: of the index of tags has no position"}, ""},
	"a key of no kind": {func(p rawPebble) {
		p.set(pebblePrefix+"x", nil)
		p.set(pebblePrefix+"mine", nil)
		p.set(pebblePrefix+"\xff\xff", nil)
	}, []string{`error identity: the key "evento/x" is of no kind`, `error identity: the key "evento/mine" is of no kind`, `error identity: the key "evento/\xff\xff" is of no kind`}, ""},
	"somebody's keys":  {func(p rawPebble) { p.set("mine", []byte("x")); p.set("eventoo", nil); p.set("evento", nil) }, nil, ""},
	"no identity":      {func(p rawPebble) { p.remove(pebblePrefix + "m") }, []string{"error identity: is missing", "error store: cannot be opened"}, "evento"},
	"half an identity": {func(p rawPebble) { p.set(pebblePrefix+"m", p.get(pebblePrefix + "m")[:9]) }, []string{"error identity: has 9 bytes and not 20", "error store: cannot be opened"}, "evento"},
	"a later format": {func(p rawPebble) {
		p.set(pebblePrefix+"m", append([]byte{0, 0, 0, 9}, p.get(pebblePrefix + "m")[4:]...))
	}, []string{"error identity: has format 9, and there is 1"}, "format 9"},
	"a record that is cut short":   {func(p rawPebble) { p.set(p.first(pebblePrefix+"csubscription\x00mails\x00route-"), []byte("short")) }, []string{"error record: its value of 5 bytes is cut short"}, ""},
	"a deadline that is cut short": {func(p rawPebble) { p.set(p.first(pebblePrefix+"cdue\x00"), []byte("short")) }, []string{"error record: its value of 5 bytes is cut short", "error deadline: is missing or damaged"}, ""},
	"a deadline that is no JSON":   {func(p rawPebble) { p.set(p.first(pebblePrefix+"cdue\x00"), []byte(be(1)+be(1)+"{")) }, []string{"error deadline: cannot be read"}, ""},
	"a record of revision 0":       {func(p rawPebble) { k := p.first(pebblePrefix + "cdue\x00"); p.set(k, put(0, be(0))(p.get(k))) }, []string{"error record: its revision is 0"}, ""},
	"a record of a damaged name":   {func(p rawPebble) { p.set(pebblePrefix+"cdue\x00\xff\x00x\x00", []byte(be(1)+be(1)+"{}")) }, []string{"error record: not valid UTF-8"}, ""},
	"a key that is no record's":    {func(p rawPebble) { p.set(pebblePrefix+"csubscription", []byte(be(1)+be(1)+"{}")) }, []string{`error record: the key "evento/csubscription" is no record's`}, ""},
	"a snapshot that is cut short": {func(p rawPebble) { p.set(p.first(pebblePrefix+"s"), []byte("short")) }, []string{"error snapshot: its value of 5 bytes is cut short"}, ""},
	"a snapshot of version 0":      {func(p rawPebble) { k := p.first(pebblePrefix + "s"); p.set(k, put(0, be(0))(p.get(k))) }, []string{"error snapshot: invalid version: 0"}, ""},
	"a snapshot of no position":    {func(p rawPebble) { k := p.first(pebblePrefix + "s"); p.set(k, put(8, be(1<<63))(p.get(k))) }, []string{"error snapshot: invalid position: 9223372036854775808"}, ""},
	"a snapshot that is no CBOR": {func(p rawPebble) {
		k := p.first(pebblePrefix + "s")
		v := p.get(k)
		p.set(k, v[:20+binary.BigEndian.Uint32(v[16:])])
	}, []string{"error snapshot: its state of 0 bytes is no CBOR"}, ""},
	"a snapshot of a damaged name": {func(p rawPebble) {
		k := p.first(pebblePrefix + "s")
		p.set(pebblePrefix+"s\xff"+k[len(pebblePrefix)+2:], p.get(k))
	}, []string{"error snapshot: invalid projection name"}, ""},
	"a key that is no snapshot's": {func(p rawPebble) { p.set(pebblePrefix+"sx", nil) }, []string{`error snapshot: the key "evento/sx" is no snapshot's`}, ""},
	"much at once": {
		func(p rawPebble) {
			p.change("o-1", 5, func(v []byte) []byte { return v[:30] })
			p.change("c-0", 19, put(pebbleVersion, be(0)))
			p.remove(eventAt(20))
			p.remove(pebblePrefix + "reu\x00" + be(2))
			p.set(p.first(pebblePrefix+"csubscription\x00mails\x00route-"), []byte("short"))
			p.set(p.first(pebblePrefix+"cdue\x00"), []byte("short"))
			p.set(p.first(pebblePrefix+"s"), []byte("short"))
			p.remove(pebblePrefix + "m")
		},
		[]string{
			"error event: an event's value of 30 bytes is cut short", "error version: invalid version: 0", "error position: there is no event at position 20",
			"error index: the event at position 2 is missing in an index", "error record: subscription", "error record: due", "error deadline: is missing or damaged",
			"error snapshot: cut short", "error identity: is missing", "error store: cannot be opened",
		}, "evento",
	},
}

// Each damage of a directory of Pebble is found.
func TestDoctorFindsEachDamageOfPebble(t *testing.T) {
	t.Parallel()
	whole := filepath.Join(t.TempDir(), "whole")
	if err := fillWhole(t.Context(), "pebble:"+whole); err != nil {
		t.Fatal(err)
	}
	for name, d := range pebbleDamages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "events")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			db, err := lsm.Open(dir, &lsm.Options{FormatMajorVersion: lsm.FormatNewest, Logger: unlogged{}})
			if err != nil {
				t.Fatal(err)
			}
			d.do(rawPebble{t, db})
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			wantFindings(t, "pebble:"+dir, d.want)
			if got, text := findings(t, "--store", "pebble:"+dir); len(d.want) == 0 && len(got) > 0 && d.export == "" {
				t.Errorf("found %v, want nothing\n%s", got, text)
			}
			wantExport(t, "pebble:"+dir, d.export)
		})
	}
}

// unlogged drops what Pebble logs.
type unlogged struct{}

func (unlogged) Infof(string, ...any)  {}
func (unlogged) Errorf(string, ...any) {}
func (unlogged) Fatalf(string, ...any) {}
