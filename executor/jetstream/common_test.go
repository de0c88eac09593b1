package jetstream_test

import (
	"log/slog"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

const thing evento.AggregateType = "test/Thing"

var backward = cursor.Backward(1, "")

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
