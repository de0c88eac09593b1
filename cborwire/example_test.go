package cborwire_test

import (
	"fmt"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cborwire"
)

// Renamed is a payload that encodes and decodes itself.
type Renamed struct{ Name string }

func (Renamed) AggregateType() evento.AggregateType { return "shop/Customer" }
func (Renamed) EventName() string                   { return "Renamed" }

func (e Renamed) AppendCBOR(b []byte) ([]byte, error) {
	b = cborwire.AppendMap(b, 1)
	b = cborwire.AppendString(b, "Name")
	return cborwire.AppendString(b, e.Name), nil
}

func (e *Renamed) DecodeCBOR(data []byte) (bool, error) {
	d, v, seen := cborwire.NewDecoder(data), *e, uint64(0)
	for range d.Map() {
		switch string(d.Key()) {
		case "Name":
			d.Once(&seen, 0)
			v.Name = d.String()
		default:
			d.Unusual()
		}
	}
	if !d.End() {
		return false, nil
	}
	*e = v
	return true, nil
}

func Example() {
	data, err := evento.CBOR().Marshal(Renamed{Name: "Zoë"})
	fmt.Printf("%q %v\n", data, err)

	var e Renamed
	err = evento.CBOR().Unmarshal(data, &e)
	fmt.Println(e.Name, err)

	// The codec decodes other shapes.
	err = evento.CBOR().Unmarshal([]byte("\xa2\x65Other\x01\x64name\x63Max"), &e)
	fmt.Println(e.Name, err)

	// Output:
	// "\xa1dNamedZoë" <nil>
	// Zoë <nil>
	// Max <nil>
}
