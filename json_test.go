package evento_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// random makes random values, as the store and the library make them: times are in UTC,
// and there is no empty slice or map, but nil.
type random struct{ *rand.Rand }

func (r random) text() string {
	texts := []string{"", "a", "bank/Account", "ü\u2028<&>\"\\", strings.Repeat("x", 255)}
	return texts[r.IntN(len(texts))]
}

func (r random) fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		if r.IntN(4) > 0 {
			v.Set(reflect.ValueOf(time.UnixMicro(r.Int64N(1 << 52)).UTC()))
		}
		return
	case error:
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type().Field(i).Type != reflect.TypeFor[error]() {
				r.fill(f)
			}
		}
	case reflect.Slice:
		if n := r.IntN(3); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		for i := range v.Len() {
			r.fill(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			r.fill(v.Index(i))
		}
	case reflect.Map:
		for range r.IntN(3) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			r.fill(key)
			r.fill(value)
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		v.SetString(r.text())
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Uint8:
		v.SetUint(r.Uint64N(256))
	case reflect.Uint64:
		v.SetUint(r.Uint64() >> r.IntN(64))
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64() >> r.IntN(63))
	default:
		panic(fmt.Sprint("no random ", v.Type()))
	}
}

// What a handler may answer with comes back as it was, also numbers that JavaScript would
// not hold; and every name is in lower camel case.
func TestJSON(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := random{rand.New(rand.NewPCG(seed, 0))}
	name := regexp.MustCompile(`^[a-z][a-zA-Z0-9]*$`)
	for _, v := range []any{
		evento.RawEvent{}, evento.Event[MoneyDeposited]{}, evento.Metadata{}, evento.AggregateKey{}, evento.Receipt{}, evento.Loaded[Balance]{},
		evento.ConflictError{}, evento.Deadline{},
		evento.Status{}, evento.PartitionStatus{}, evento.SubscriptionName{}, evento.Selection{}, evento.ControlChange{}, evento.Parked{},
		evento.Record{}, evento.RecordKey{}, evento.RecordPage{}, evento.Snapshot{}, evento.SnapshotKey{}, evento.StoredSnapshot{}, evento.SnapshotPage{},
		cursor.Page[evento.RawEvent]{},
	} {
		of := reflect.TypeOf(v)
		for range 200 {
			in, out := reflect.New(of), reflect.New(of)
			r.fill(in.Elem())
			if e, ok := in.Interface().(*evento.Event[MoneyDeposited]); ok {
				e.RawEvent.Data = nil
			}
			text, err := json.Marshal(in.Interface())
			if err == nil {
				err = json.Unmarshal(text, out.Interface())
			}
			if err != nil || !reflect.DeepEqual(in.Interface(), out.Interface()) {
				t.Fatalf("%s: %+v\nis in JSON %s\nand back %+v, %v", of, in.Elem(), text, out.Elem(), err)
			}
			var fields map[string]any
			if err := json.Unmarshal(text, &fields); err != nil {
				t.Fatal(err)
			}
			for key := range fields {
				if !name.MatchString(key) {
					t.Fatalf("%s: %s has the name %q", of, text, key)
				}
			}
		}
	}
}

func TestJSONNames(t *testing.T) {
	t.Parallel()
	id, err := ulid.ParseStrict("01J8ZQ4Y7KX3V5T9B2M6N8P0RS")
	noErr(t, err)
	raw := evento.RawEvent{
		ID: id, Position: 1<<53 + 1, AggregateType: Account, AggregateID: "a", Version: 2, Name: "MoneyDeposited", RoutingKey: "eu",
		Tags: []string{"x"}, Codec: "json", Data: []byte(`{"Amount":5}`), Timestamp: time.Date(2026, time.March, 1, 12, 0, 0, 1000, time.UTC),
		Metadata: evento.Metadata{ID: "r", RequestedBy: "ann", RequestedAs: "ben", CorrelationID: "c", CausationID: "d", Values: map[string]string{"k": "v"}},
	}
	event := `{"id":"01J8ZQ4Y7KX3V5T9B2M6N8P0RS","position":9007199254740993,"aggregateType":"bank/Account","aggregateId":"a","version":2,` +
		`"name":"MoneyDeposited","routingKey":"eu","tags":["x"],"codec":"json","data":"eyJBbW91bnQiOjV9",` +
		`"metadata":{"id":"r","requestedBy":"ann","requestedAs":"ben","correlationId":"c","causationId":"d","values":{"k":"v"}},"timestamp":"2026-03-01T12:00:00.000001Z"}`
	decoded, err := evento.Decode[MoneyDeposited](raw)
	noErr(t, err)
	for _, test := range []struct {
		v    any
		want string
	}{
		{raw, event},
		{decoded, strings.Replace(strings.Replace(event, `"data":"eyJBbW91bnQiOjV9",`, "", 1), `.000001Z"}`, `.000001Z","data":{"Amount":5}}`, 1)},
		{evento.RawEvent{ID: id, Data: []byte{}}, `{"id":"01J8ZQ4Y7KX3V5T9B2M6N8P0RS","position":0,"aggregateType":"","aggregateId":"","version":0,"name":"","codec":"","data":"","timestamp":"0001-01-01T00:00:00Z"}`},
		{evento.Receipt{AggregateID: "a", Version: 2, Position: 3}, `{"aggregateId":"a","version":2,"position":3}`},
		{&evento.Loaded[int]{ID: "a", Version: 2, Position: 3, State: 4, SnapshotErr: errPoor}, `{"id":"a","version":2,"position":3,"state":4}`},
		{evento.AggregateKey{Type: Account, ID: "a"}, `{"type":"bank/Account","id":"a"}`},
		{evento.Status{Key: "s", Lag: time.Second, Partitions: []evento.PartitionStatus{{Owner: "w"}}},
			`{"key":"s","routingKey":"","selection":{"routingKey":"","all":false,"aggregates":null,"events":null},"partitions":[{"owner":"w","host":"",` +
				`"live":false,"epoch":0,"cursor":"","position":0,"changedAt":"0001-01-01T00:00:00Z","paused":false,"error":"","errorEvent":""}],` +
				`"parked":0,"position":0,"head":0,"behind":0,"lagNanoseconds":1000000000,"now":"0001-01-01T00:00:00Z"}`},
		{evento.Parked{ID: id}, `{"part":"","id":"01J8ZQ4Y7KX3V5T9B2M6N8P0RS","position":0,"aggregateType":"","aggregateId":"","version":0,"name":"",` +
			`"attempts":0,"parkedAt":"0001-01-01T00:00:00Z","after":""}`},
	} {
		got, err := json.Marshal(test.v)
		noErr(t, err)
		if string(got) != test.want {
			t.Errorf("%T is\n%s\nwant\n%s", test.v, got, test.want)
		}
	}
}

// Payloads that contain types of the library are read, whether they were stored before
// these types had names in JSON or after it.
func TestStoredWithFormerNames(t *testing.T) {
	t.Parallel()
	type formerKey struct {
		Type evento.AggregateType
		ID   string
	}
	type formerReceipt struct {
		AggregateID       string
		Version, Position uint64
	}
	for _, codec := range []evento.Codec{evento.CBOR(), evento.JSON()} {
		before := struct {
			Of formerKey
			At formerReceipt
		}{formerKey{Account, "a"}, formerReceipt{"a", 2, 3}}
		after := struct {
			Of evento.AggregateKey
			At evento.Receipt
		}{evento.AggregateKey{Type: Account, ID: "a"}, evento.Receipt{AggregateID: "a", Version: 2, Position: 3}}
		for _, test := range []struct{ stored, want any }{{before, &after}, {after, &before}} {
			data, err := codec.Marshal(test.stored)
			noErr(t, err)
			got := reflect.New(reflect.TypeOf(test.want).Elem())
			if err := codec.Unmarshal(data, got.Interface()); err != nil || !reflect.DeepEqual(got.Interface(), test.want) {
				t.Errorf("%s: %+v, %v, want %+v", codec.Name(), got.Elem(), err, test.want)
			}
		}
	}
}
