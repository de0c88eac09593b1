package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

func openJetStream(b *testing.B, url, name, dir string) *jetstream.Executor {
	b.Helper()
	ex, err := jetstream.Open(context.Background(), url, &jetstream.Options{Name: name, Dir: dir})
	return opened(b, ex, err)
}

// rawJetStream publishes payloads to a stream of three replicas, and waits for each answer.
type rawJetStream struct {
	*nats.Conn
	data []byte
}

func openRawJetStream(b *testing.B, url string) *rawJetStream {
	b.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	r := &rawJetStream{Conn: nc}
	if r.data, err = cbor.Marshal(payload); err != nil {
		b.Fatal(err)
	}
	const config = `{"name":"raw","subjects":["raw"],"retention":"limits","storage":"file","discard":"new","num_replicas":3,` +
		`"max_msgs":-1,"max_bytes":-1,"max_consumers":-1,"max_msg_size":-1}`
	// A cluster that has just begun has no leader yet.
	for late := time.Now().Add(time.Minute); ; {
		err := answer(nc.Request("$JS.API.STREAM.CREATE.raw", []byte(config), time.Second))
		if err == nil {
			return r
		}
		if time.Now().After(late) {
			b.Fatal(err)
		}
	}
}

// answer returns the error in an answer of the server.
func answer(m *nats.Msg, err error) error {
	if err != nil {
		return err
	}
	var failed struct{ Error any }
	if err := json.Unmarshal(m.Data, &failed); err != nil || failed.Error != nil {
		return errors.Join(err, fmt.Errorf("%s", m.Data))
	}
	return nil
}

func (r *rawJetStream) together(writers, n int) error {
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		wg.Go(func() {
			for range n / writers {
				if errs[i] = answer(r.Request("raw", r.data, 10*time.Second)); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Appends against publishing as much to a stream with the same durability: three replicas,
// each of which syncs.
func BenchmarkJetStreamAppend(b *testing.B) {
	url := testserver.NATS(b, testserver.NATSOptions{}).URL()
	raw := openRawJetStream(b, url)
	for _, c := range []struct {
		writers, n int
		reach      float64
	}{{1, 1000, 0.85}, {4, 4 * 500, 0}, {16, 16 * 300, 0}, {64, 64 * 300, 0.9}} {
		b.Run(fmt.Sprintf("writers=%d", c.writers), func(b *testing.B) {
			w := newWriters(b, openJetStream(b, url, fmt.Sprintf("append%d", c.writers), b.TempDir()), c.writers)
			compare(b, c.reach,
				func() float64 { return rate(b, c.n, func() error { return w.append(c.n, 1) }) },
				func() float64 { return rate(b, c.n, func() error { return raw.together(c.writers, c.n) }) })
		})
	}
}

// Loads ask the leader each time how far the log is.
func BenchmarkJetStreamLoad(b *testing.B) {
	url := testserver.NATS(b, testserver.NATSOptions{}).URL()
	for _, events := range []int{5, 100} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			ex := openJetStream(b, url, fmt.Sprintf("load%d", events), b.TempDir())
			ids := fill(b, ex, 20_000/events, events)
			// In the first seconds of a client each read makes sure of the log's end by a
			// message; those are not what is measured.
			for began := time.Now(); time.Since(began) < time.Duration(inShort(0, 7))*time.Second; {
				loadRate(b, ex, ids, 100, 7, events)
			}
			var rates []float64
			for b.Loop() {
				rates = append(rates, loadRate(b, ex, ids, 2000, 7, events))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(rates), "loads/s")
		})
	}
}

// A client that has no index reads the whole log.
func BenchmarkJetStreamFirstStart(b *testing.B) {
	events := inShort(20_000, 200_000)
	url := testserver.NATS(b, testserver.NATSOptions{}).URL()
	fill(b, openJetStream(b, url, "first", b.TempDir()), 64, events/64)
	var rates []float64
	for b.Loop() {
		rates = append(rates, rate(b, events, func() error {
			ex, err := jetstream.Open(context.Background(), url, &jetstream.Options{Name: "first", Dir: b.TempDir()})
			if err != nil {
				return err
			}
			return ex.Close()
		}))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(rates), "events/s")
}

// A subscription that begins at the first event, against one on Pebble.
func BenchmarkJetStreamCatchUp(b *testing.B) {
	events := inShort(100_000, 1_000_000)
	url := testserver.NATS(b, testserver.NATSOptions{}).URL()
	ex, pebbles := openJetStream(b, url, "all", b.TempDir()), openPebble(b, b.TempDir())
	fill(b, ex, 100, events/100)
	fill(b, pebbles, 100, events/100)
	compare(b, 0.9,
		func() float64 { return subscriptionRate(b, ex, events) },
		func() float64 { return subscriptionRate(b, pebbles, events) })
}
