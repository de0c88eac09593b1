package cborwire_test

import (
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cborwire"
)

// ordered is a payload as users have them, with methods as the generator writes
// them: the generator's output is compared with this file.
type ordered struct {
	Owner  string
	Cents  int64
	Count  uint32
	Ratio  float64
	Open   bool
	When   time.Time
	Raw    []byte
	Tags   []string
	Home   address
	Labels map[string]string
	Note   *string
}

type address struct {
	Street string `json:"street"`
	Zip    int    `json:"zip,omitempty"`
}

func (ordered) AggregateType() evento.AggregateType { return "shop/Order" }
func (ordered) EventName() string                   { return "Ordered" }

// AppendCBOR names the fields in the order of their encoded names.
func (e ordered) AppendCBOR(b []byte) ([]byte, error) {
	var err error
	b = cborwire.AppendMap(b, 11)
	b = cborwire.AppendRaw(b, "\x63Raw")
	b = cborwire.AppendBytes(b, e.Raw)
	b = cborwire.AppendRaw(b, "\x64Home")
	b = appendAddress(b, &e.Home)
	b = cborwire.AppendRaw(b, "\x64Note")
	if e.Note == nil {
		b = cborwire.AppendNil(b)
	} else {
		b = cborwire.AppendString(b, *e.Note)
	}
	b = cborwire.AppendRaw(b, "\x64Open")
	b = cborwire.AppendBool(b, e.Open)
	b = cborwire.AppendRaw(b, "\x64Tags")
	if e.Tags == nil {
		b = cborwire.AppendNil(b)
	} else {
		b = cborwire.AppendArray(b, len(e.Tags))
		for _, x := range e.Tags {
			b = cborwire.AppendString(b, x)
		}
	}
	b = cborwire.AppendRaw(b, "\x64When")
	if b, err = cborwire.AppendTime(b, e.When); err != nil {
		return nil, err
	}
	b = cborwire.AppendRaw(b, "\x65Cents")
	b = cborwire.AppendInt(b, e.Cents)
	b = cborwire.AppendRaw(b, "\x65Count")
	b = cborwire.AppendUint(b, uint64(e.Count))
	b = cborwire.AppendRaw(b, "\x65Owner")
	b = cborwire.AppendString(b, e.Owner)
	b = cborwire.AppendRaw(b, "\x65Ratio")
	b = cborwire.AppendFloat64(b, e.Ratio)
	b = cborwire.AppendRaw(b, "\x66Labels")
	if e.Labels == nil {
		b = cborwire.AppendNil(b)
	} else {
		b = cborwire.AppendMap(b, len(e.Labels))
		var keys [8]string
		for _, k := range cborwire.Keys(keys[:0], e.Labels) {
			b = cborwire.AppendString(b, k)
			b = cborwire.AppendString(b, e.Labels[k])
		}
	}
	return b, nil
}

func appendAddress(b []byte, v *address) []byte {
	n := 1
	if v.Zip != 0 {
		n++
	}
	b = cborwire.AppendMap(b, n)
	if v.Zip != 0 {
		b = cborwire.AppendRaw(b, "\x63zip")
		b = cborwire.AppendInt(b, int64(v.Zip))
	}
	b = cborwire.AppendRaw(b, "\x66street")
	return cborwire.AppendString(b, v.Street)
}

// DecodeCBOR decodes into a copy, so that it can leave e unchanged. The copy would
// share what e already has behind a pointer, in a slice or a map, so that is left
// to the codec.
func (e *ordered) DecodeCBOR(data []byte) (bool, error) {
	d, v, seen := cborwire.NewDecoder(data), *e, uint64(0)
	for range d.Map() {
		switch string(d.Key()) {
		case "Raw":
			d.Once(&seen, 0)
			if d.Nil() {
				v.Raw = nil
			} else {
				v.Raw = d.Bytes()
			}
		case "Home":
			d.Once(&seen, 1)
			if !d.Nil() {
				decodeAddress(&d, &v.Home)
			}
		case "Note":
			d.Once(&seen, 2)
			switch {
			case d.Nil():
				v.Note = nil
			case v.Note != nil:
				d.Unusual()
			default:
				x := d.String()
				v.Note = &x
			}
		case "Open":
			d.Once(&seen, 3)
			v.Open = d.Bool()
		case "Tags":
			d.Once(&seen, 4)
			switch {
			case d.Nil():
				v.Tags = nil
			case v.Tags != nil:
				d.Unusual()
			default:
				v.Tags = make([]string, d.Array())
				for i := range v.Tags {
					v.Tags[i] = d.String()
				}
			}
		case "When":
			d.Once(&seen, 5)
			if !d.Nil() {
				v.When = d.Time()
			}
		case "Cents":
			d.Once(&seen, 6)
			v.Cents = d.Int()
		case "Count":
			d.Once(&seen, 7)
			v.Count = uint32(d.UintOf(32))
		case "Owner":
			d.Once(&seen, 8)
			v.Owner = d.String()
		case "Ratio":
			d.Once(&seen, 9)
			v.Ratio = d.Float64()
		case "Labels":
			d.Once(&seen, 10)
			switch {
			case d.Nil():
				v.Labels = nil
			case v.Labels != nil:
				d.Unusual()
			default:
				n := d.Map()
				v.Labels = make(map[string]string, n)
				for range n {
					k := d.String()
					v.Labels[k] = d.String()
				}
				if len(v.Labels) != n {
					d.Unusual() // a duplicate key
				}
			}
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

func decodeAddress(d *cborwire.Decoder, v *address) {
	seen := uint64(0)
	for range d.Map() {
		switch string(d.Key()) {
		case "zip":
			d.Once(&seen, 0)
			v.Zip = int(d.IntOf(cborwire.IntSize))
		case "street":
			d.Once(&seen, 1)
			v.Street = d.String()
		default:
			d.Unusual()
		}
	}
}
