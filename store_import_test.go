package evento_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

func stored(position uint64, id string, version uint64) evento.RawEvent {
	return evento.RawEvent{
		ID: evento.NewID(), Position: position, AggregateType: "bank/Account", AggregateID: id, Version: version,
		Name: "Opened", Codec: "raw", Data: []byte("data"), Timestamp: time.UnixMicro(1_700_000_000_000_000 + int64(position)).UTC(),
	}
}

func TestCheckImport(t *testing.T) {
	t.Parallel()
	good := func() []evento.RawEvent {
		return []evento.RawEvent{stored(7, "a", 3), stored(8, "b", 1), stored(9, "a", 4)}
	}
	for _, events := range [][]evento.RawEvent{nil, good(), good()[1:2]} {
		if err := evento.CheckImport(events); err != nil {
			t.Errorf("CheckImport(%v) = %v", events, err)
		}
	}
	epoch, end := stored(1, "a", 1), stored(2, "a", 2)
	epoch.Timestamp, end.Timestamp = time.UnixMicro(0), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	if err := evento.CheckImport([]evento.RawEvent{epoch, end}); err != nil {
		t.Errorf("CheckImport() of the first and the last time = %v", err)
	}
	for name, tt := range map[string]struct {
		bend func(es []evento.RawEvent) []evento.RawEvent
		want error
		says string
	}{
		"no position":           {func(es []evento.RawEvent) []evento.RawEvent { es[0].Position = 0; return es[:1] }, evento.ErrInvalid, "position"},
		"position too high":     {func(es []evento.RawEvent) []evento.RawEvent { es[0].Position = 1 << 63; return es[:1] }, evento.ErrInvalid, "position"},
		"a gap":                 {func(es []evento.RawEvent) []evento.RawEvent { return []evento.RawEvent{es[0], es[2]} }, evento.ErrInvalid, "position 9"},
		"a position twice":      {func(es []evento.RawEvent) []evento.RawEvent { es[1].Position = 7; return es }, evento.ErrInvalid, "position 7"},
		"no version":            {func(es []evento.RawEvent) []evento.RawEvent { es[1].Version = 0; return es }, evento.ErrInvalid, "version"},
		"version too high":      {func(es []evento.RawEvent) []evento.RawEvent { es[1].Version = 1 << 63; return es }, evento.ErrInvalid, "version"},
		"a version left out":    {func(es []evento.RawEvent) []evento.RawEvent { es[2].Version = 5; return es }, evento.ErrInvalid, "version 5"},
		"another routing key":   {func(es []evento.RawEvent) []evento.RawEvent { es[2].RoutingKey = "key"; return es }, evento.ErrInvalid, "routing key"},
		"an id twice":           {func(es []evento.RawEvent) []evento.RawEvent { es[2].ID = es[1].ID; return es }, evento.ErrInvalid, "event id"},
		"a time that falls":     {func(es []evento.RawEvent) []evento.RawEvent { es[2].Timestamp = es[0].Timestamp; return es }, evento.ErrInvalid, "timestamp"},
		"a time of nanoseconds": {func(es []evento.RawEvent) []evento.RawEvent { es[2].Timestamp = es[2].Timestamp.Add(1); return es }, evento.ErrInvalid, "timestamp"},
		"a time too early":      {func(es []evento.RawEvent) []evento.RawEvent { es[0].Timestamp = time.UnixMicro(-1); return es }, evento.ErrInvalid, "timestamp"},
		"a time too late": {func(es []evento.RawEvent) []evento.RawEvent {
			es[2].Timestamp = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
			return es
		}, evento.ErrInvalid, "timestamp"},
		"a name":   {func(es []evento.RawEvent) []evento.RawEvent { es[1].Name = ""; return es }, evento.ErrInvalid, "event name"},
		"a type":   {func(es []evento.RawEvent) []evento.RawEvent { es[1].AggregateType = "\xff"; return es }, evento.ErrInvalid, "aggregate type"},
		"a codec":  {func(es []evento.RawEvent) []evento.RawEvent { es[1].Codec = ""; return es }, evento.ErrInvalid, "codec"},
		"metadata": {func(es []evento.RawEvent) []evento.RawEvent { es[1].Metadata.ID = "\x00"; return es }, evento.ErrInvalid, "metadata id"},
		"a payload too large": {func(es []evento.RawEvent) []evento.RawEvent {
			es[1].Data = make([]byte, evento.MaxPayload+1)
			return es
		}, evento.ErrTooLarge, "payload"},
		"too much at once": {func([]evento.RawEvent) []evento.RawEvent {
			large := make([]byte, evento.MaxPayload)
			var many []evento.RawEvent
			for i := range evento.MaxCommit/evento.MaxPayload + 1 {
				e := stored(uint64(i+1), "a", uint64(i+1))
				e.Data = large
				many = append(many, e)
			}
			return many
		}, evento.ErrTooLarge, "import"},
		"too many at once": {func([]evento.RawEvent) []evento.RawEvent { return make([]evento.RawEvent, evento.MaxCommitEvents+1) }, evento.ErrTooLarge, "import"},
	} {
		err := evento.CheckImport(tt.bend(good()))
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) || strings.Count(err.Error(), "evento:") != 1 {
			t.Errorf("%s: CheckImport() = %v, want %v about %q", name, err, tt.want, tt.says)
		}
	}
}
