package evolution

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

// stored is an event as an old program has committed it.
func stored(t *testing.T, codec evento.Codec, name string, payload any) evento.RawEvent {
	t.Helper()
	data, err := codec.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return evento.RawEvent{AggregateType: OrderType, AggregateID: "1", Name: name, Codec: codec.Name(), Data: data}
}

func ptr[T any](v T) *T { return &v }

// defaults is what the first events of an order are decoded to.
func defaults() Placed {
	return Placed{Currency: "EUR", Priority: ptr(8), Rate: 0.25, Gift: true, Kind: KindUsual, Wait: 5 * time.Minute}
}

func TestReadsFormerShapes(t *testing.T) {
	t.Parallel()
	with := func(change func(*Placed)) Placed {
		p := defaults()
		change(&p)
		return p
	}
	now := Placed{Customer: "Ada", Currency: "USD", Items: []Item{{"Pen", 2}}, Priority: ptr(0), Notes: ptr("n"), Kind: "b", Wait: 1}
	type old map[string]any
	tests := []struct {
		what, name string
		payload    any
		want       evento.Payload
	}{
		{"empty", "Created", old{}, defaults()},
		{"first names", "Created", old{"customer_name": "Ada", "Lines": []old{{"Name": "Pen", "Count": 2}}}, with(func(p *Placed) {
			p.Customer, p.Items = "Ada", []Item{{"Pen", 2}}
		})},
		{"second names", "OrderCreated", old{"Client": "Ada", "Note": "n"}, with(func(p *Placed) { p.Customer, p.Notes = "Ada", ptr("n") })},
		{"a name that a tag has to quote", "OrderCreated", old{"-": "Ada"}, with(func(p *Placed) { p.Customer = "Ada" })},
		{"null under a former name", "OrderCreated", old{"Client": nil, "Note": nil}, defaults()},
		{"present name before former ones", "OrderPlaced", old{"Client": "Eve", "Customer": "Ada"}, with(func(p *Placed) { p.Customer = "Ada" })},
		{"zero is not missing", "OrderPlaced", old{"currency": "", "Rate": 0, "Gift": false, "Priority": 0, "Wait": 0, "Kind": ""},
			Placed{Priority: ptr(0)}},
		{"null is missing, but for a pointer", "OrderPlaced", old{"currency": nil, "Priority": nil}, with(func(p *Placed) { p.Priority = nil })},
		{"as it is now", "OrderPlaced", now, now},
		{"upcast twice", "OrderPaid", old{"Euros": 3}, Paid{Cents: 300, Currency: "EUR"}},
		{"upcast once", "OrderPaidV2", PaidText{"II USD"}, Paid{Cents: 200, Currency: "USD"}},
		{"not upcast", "OrderPaidV3", old{"Cents": 5}, Paid{Cents: 5, Currency: "EUR"}},
		{"retired", "Faxed", Faxed{"123"}, Faxed{"123"}},
	}
	for _, codec := range []evento.Codec{evento.CBOR(), evento.JSON()} {
		for _, test := range tests {
			raw := stored(t, codec, test.name, test.payload)
			var got evento.Payload
			var err error
			switch test.want.(type) {
			case Placed:
				got, err = decoded[Placed](raw)
			case Paid:
				got, err = decoded[Paid](raw)
			case Faxed:
				got, err = decoded[Faxed](raw)
			}
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("%s, %s: %+v, %v; want %+v", codec.Name(), test.what, got, err, test.want)
			}
		}
	}
}

func decoded[D evento.Payload](raw evento.RawEvent) (evento.Payload, error) {
	e, err := evento.Decode[D](raw)
	return e.Data, err
}

func TestUpcastFails(t *testing.T) {
	t.Parallel()
	raw := stored(t, evento.CBOR(), "OrderPaidV2", PaidText{"III"})
	if _, err := evento.Decode[Paid](raw); !errors.Is(err, evento.ErrDecode) {
		t.Errorf("%v, want ErrDecode", err)
	}
}

// view is the state of an order. It has no method for PaidText, which is upcast to
// Paid: if it needed one, this would not compile.
type view struct{ Log []string }

func (v *view) OnPlaced(e evento.Event[Placed]) error {
	v.Log = append(v.Log, e.Name+" "+e.Data.Customer)
	return nil
}

func (v *view) OnPaid(e evento.Event[Paid]) error {
	v.Log = append(v.Log, e.Name+" "+e.Data.Currency)
	return nil
}

func (v *view) OnFaxed(e evento.Event[Faxed]) error {
	v.Log = append(v.Log, e.Name+" "+e.Data.Number)
	return nil
}

// once is a payload of an old program.
type once struct {
	name   string
	Client string
	Euros  int
	Number string
}

func (once) AggregateType() evento.AggregateType { return OrderType }
func (o once) EventName() string                 { return o.name }

func TestProjectionOfAllDays(t *testing.T) {
	t.Parallel()
	ex := memory.New(nil)
	if _, err := evento.Aggregate("1").Event(once{name: "Created", Client: "Ada"}, once{name: "OrderPaid", Euros: 2}, once{name: "Faxed", Number: "5"},
		Placed{Customer: "Eve"}).Commit(t.Context(), ex); err != nil {
		t.Fatal(err)
	}
	loaded, err := evento.NewProjection[view]("order", OrderType).Handler(OrderHandlers[view]()...).SafetyCheck().Load(t.Context(), ex, "1")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"Created Ada", "OrderPaid EUR", "Faxed 5", "OrderPlaced Eve"}; !slices.Equal(loaded.State.Log, want) {
		t.Errorf("%q, want %q", loaded.State.Log, want)
	}
	var names []string
	for e, err := range evento.Events(t.Context(), ex, evento.Query{Filters: slices.Concat(PlacedFilters("1"), PaidFilters("1"))}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name)
	}
	if want := []string{"Created", "OrderPaid", "OrderPlaced"}; !slices.Equal(names, want) {
		t.Errorf("filters gave %q, want %q", names, want)
	}
	for _, e := range evento.Events(t.Context(), ex, evento.Query{Filters: PlacedFilters("")}) {
		if !errors.Is(e, evento.ErrInvalid) {
			t.Errorf("filters without an id: %v, want ErrInvalid", e)
		}
	}
}

func TestDecodeAndApply(t *testing.T) {
	t.Parallel()
	var v view
	for _, raw := range []evento.RawEvent{
		stored(t, evento.CBOR(), "OrderCreated", once{Client: "Ada"}), stored(t, evento.JSON(), "OrderPaid", once{Euros: 1}),
	} {
		p, err := DecodeOrder(raw)
		if err == nil {
			err = ApplyOrder(&v, p)
		}
		if err != nil {
			t.Errorf("%s: %v", raw.Name, err)
		}
	}
	if want := []string{" Ada", " EUR"}; !slices.Equal(v.Log, want) {
		t.Errorf("%q, want %q", v.Log, want)
	}
	other := stored(t, evento.CBOR(), "Elsewhere", once{})
	if p, err := DecodeOrder(other); !errors.Is(err, evento.ErrUnhandledEvent) {
		t.Errorf("an event of another name: %v, %v; want ErrUnhandledEvent", p, err)
	}
	other.Name, other.AggregateType = "OrderCreated", "shop/Other"
	if p, err := DecodeOrder(other); !errors.Is(err, evento.ErrUnhandledEvent) {
		t.Errorf("an event of another aggregate: %v, %v; want ErrUnhandledEvent", p, err)
	}
	other.AggregateType, other.Data = OrderType, []byte{0xff}
	if p, err := DecodeOrder(other); !errors.Is(err, evento.ErrDecode) || p != nil {
		t.Errorf("a broken event: %v, %v; want ErrDecode", p, err)
	}
	if err := ApplyOrder(&v, once{}); !errors.Is(err, evento.ErrUnhandledEvent) {
		t.Errorf("a payload that is none of an order: %v, want ErrUnhandledEvent", err)
	}
}

func TestRetiredIsNotCommitted(t *testing.T) {
	t.Parallel()
	for _, p := range []evento.Payload{Faxed{}, PaidText{}} {
		if _, err := evento.Create().Event(p).Commit(t.Context(), memory.New(nil)); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("%T: %v, want ErrInvalid", p, err)
		}
	}
}

func TestSubscriberOfNothing(t *testing.T) {
	t.Parallel()
	err := evento.NewSubscription("none").Handler(SubscribeOrder(nil)...).Execute(t.Context(), memory.New(nil))
	if !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("%v, want ErrInvalid", err)
	}
}
