//go:build unix

package torture_test

import (
	"context"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

const jetStreamName = "JetStream"

// jetStreamStore is a place of a store on a cluster of its own.
func jetStreamStore(t *testing.T) string {
	t.Helper()
	return testserver.NATS(t, testserver.NATSOptions{}).URL() + " torture"
}

// openJetStream opens a store with an index in memory.
func openJetStream(ctx context.Context, place string) (evento.Executor, error) {
	url, name, _ := strings.Cut(place, " ")
	ex, err := jetstream.Open(ctx, url, &jetstream.Options{Name: name})
	if err != nil {
		return nil, err
	}
	return ex, nil
}
