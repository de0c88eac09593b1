package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	watermillsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/fxamacker/cbor/v2"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
)

// watermillPeer is a table of messages, which has no aggregates and no versions.
type watermillPeer struct {
	b         *testing.B
	db        watermillsql.Beginner
	schema    watermillsql.DefaultPostgreSQLSchema
	publisher *watermillsql.Publisher
	data      []byte
}

const topic = "events"

func openWatermillPeer(b *testing.B, _, at string) peer {
	b.Helper()
	pool, err := pgxpool.New(context.Background(), at+"&pool_max_conns=64")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	p := &watermillPeer{b: b, db: watermillsql.BeginnerFromPgx(pool), schema: watermillsql.DefaultPostgreSQLSchema{
		GeneratePayloadType: func(string) string { return "BYTEA" },
	}}
	if p.data, err = cbor.Marshal(payload); err != nil {
		b.Fatal(err)
	}
	publisher, err := watermillsql.NewPublisher(p.db, watermillsql.PublisherConfig{SchemaAdapter: p.schema, AutoInitializeSchema: true}, nil)
	p.publisher = opened(b, publisher, err)
	if err := p.subscriber("first").SubscribeInitialize(topic); err != nil { // makes the tables
		b.Fatal(err)
	}
	return p
}

// subscriber reads with a group of its own. It looks every millisecond, not every second, for
// new messages.
func (p *watermillPeer) subscriber(group string) *watermillsql.Subscriber {
	p.b.Helper()
	s, err := watermillsql.NewSubscriber(p.db, watermillsql.SubscriberConfig{
		ConsumerGroup: group, PollInterval: time.Millisecond,
		SchemaAdapter: p.schema, OffsetsAdapter: watermillsql.DefaultPostgreSQLOffsetsAdapter{}, InitializeSchema: true,
	}, nil)
	return opened(p.b, s, err)
}

func (p *watermillPeer) publish(events int) error {
	messages := make([]*message.Message, events)
	for i := range messages {
		messages[i] = message.NewMessage(watermill.NewUUID(), p.data)
	}
	return p.publisher.Publish(topic, messages...)
}

func (p *watermillPeer) append(writers, commits, events int) (time.Duration, error) {
	return timed(func() error {
		return together(writers, func(int) error {
			for range commits / writers {
				if err := p.publish(events); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (*watermillPeer) load(int, int) (time.Duration, error) { return 0, errNoSuchThing }

func (p *watermillPeer) catchUp(events int) (time.Duration, error) {
	messages, stop, err := p.subscribe()
	if err != nil {
		return 0, err
	}
	defer stop()
	return timed(func() error {
		for range events {
			m, ok := <-messages
			if !ok {
				return errors.New("the subscriber has ended")
			}
			var d deposited
			if err := cbor.Unmarshal(m.Payload, &d); err != nil {
				return err
			}
			m.Ack()
		}
		return nil
	})
}

func (p *watermillPeer) subscribe() (<-chan *message.Message, func(), error) {
	ctx, cancel := context.WithCancel(context.Background())
	messages, err := p.subscriber(evento.NewID().String()).Subscribe(ctx, topic)
	return messages, cancel, err
}

func (p *watermillPeer) latency(commits int) (ms []float64, err error) {
	messages, stop, err := p.subscribe()
	if err != nil {
		return nil, err
	}
	defer stop()
	last := message.NewMessage(watermill.NewUUID(), p.data) // of what there is already
	if err := p.publisher.Publish(topic, last); err != nil {
		return nil, err
	}
	for m := range messages {
		m.Ack()
		if m.UUID == last.UUID {
			break
		}
	}
	got := make(chan time.Time, commits)
	go func() {
		for m := range messages {
			got <- time.Now()
			m.Ack()
		}
	}()
	for range commits {
		if err := p.publish(1); err != nil {
			return nil, err
		}
		committed := time.Now()
		ms = append(ms, max(0, milliseconds((<-got).Sub(committed))))
	}
	return ms, nil
}

func (p *watermillPeer) deliver(writers, commits int) (lost int, err error) {
	messages, stop, err := p.subscribe()
	if err != nil {
		return 0, err
	}
	defer stop()
	ids := make(chan string, 2*commits)
	go func() {
		for m := range messages {
			ids <- m.UUID
			m.Ack()
		}
	}()
	if _, err := p.append(writers, commits, 1); err != nil {
		return 0, fmt.Errorf("publishing: %w", err)
	}
	return missing(commits, ids), nil
}
