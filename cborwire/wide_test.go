package cborwire_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cborwire"
)

// wide has the kinds of fields that ordered does not have.
type wide struct {
	A int8
	B uint16
	C float32
	D [4]byte
	E netip.Addr // MarshalBinary
	F level      // MarshalText
	G any
	H *tree // may be nested without bound
	I map[int8]bool
	J []time.Time
	K [][]int16
	L time.Duration
}

type tree struct {
	Left, Right *tree
}

// level is stored by its name.
type level int

func (l level) MarshalText() ([]byte, error) {
	if l < 0 {
		return nil, fmt.Errorf("level %d", int(l))
	}
	return fmt.Appendf(nil, "level %d", int(l)), nil
}

func (l *level) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "level %d", (*int)(l))
	return err
}

func (wide) AggregateType() evento.AggregateType { return "shop/Order" }
func (wide) EventName() string                   { return "Wide" }

func (e wide) AppendCBOR(b []byte) ([]byte, error) {
	var err error
	b = cborwire.AppendMap(b, 12)
	b = cborwire.AppendString(b, "A")
	b = cborwire.AppendInt(b, int64(e.A))
	b = cborwire.AppendString(b, "B")
	b = cborwire.AppendUint(b, uint64(e.B))
	b = cborwire.AppendString(b, "C")
	b = cborwire.AppendFloat32(b, e.C)
	b = cborwire.AppendString(b, "D")
	b = cborwire.AppendBytes(b, e.D[:])
	b = cborwire.AppendString(b, "E")
	if b, err = cborwire.AppendBinary(b, e.E); err != nil {
		return nil, err
	}
	b = cborwire.AppendString(b, "F")
	if b, err = cborwire.AppendText(b, e.F); err != nil {
		return nil, err
	}
	b = cborwire.AppendString(b, "G")
	if b, err = cborwire.AppendAny(b, e.G); err != nil {
		return nil, err
	}
	b = cborwire.AppendString(b, "H")
	if b, err = cborwire.AppendAny(b, e.H); err != nil {
		return nil, err
	}
	b = cborwire.AppendString(b, "I")
	if e.I == nil {
		b = cborwire.AppendNil(b)
	} else {
		b = cborwire.AppendMap(b, len(e.I))
		var keys [8]int8
		for _, k := range cborwire.IntKeys(keys[:0], e.I) {
			b = cborwire.AppendInt(b, int64(k))
			b = cborwire.AppendBool(b, e.I[k])
		}
	}
	b = cborwire.AppendString(b, "J")
	if e.J == nil {
		b = cborwire.AppendNil(b)
	} else {
		b = cborwire.AppendArray(b, len(e.J))
		for _, x := range e.J {
			if b, err = cborwire.AppendTime(b, x); err != nil {
				return nil, err
			}
		}
	}
	b = cborwire.AppendString(b, "K")
	if e.K == nil {
		b = cborwire.AppendNil(b)
	} else {
		b = cborwire.AppendArray(b, len(e.K))
		for _, x := range e.K {
			if x == nil {
				b = cborwire.AppendNil(b)
				continue
			}
			b = cborwire.AppendArray(b, len(x))
			for _, y := range x {
				b = cborwire.AppendInt(b, int64(y))
			}
		}
	}
	b = cborwire.AppendString(b, "L")
	return cborwire.AppendInt(b, int64(e.L)), nil
}

func (e *wide) DecodeCBOR(data []byte) (bool, error) {
	d, v, seen := cborwire.NewDecoder(data), *e, uint64(0)
	for range d.Map() {
		switch string(d.Key()) {
		case "A":
			d.Once(&seen, 0)
			v.A = int8(d.IntOf(8))
		case "B":
			d.Once(&seen, 1)
			v.B = uint16(d.UintOf(16))
		case "C":
			d.Once(&seen, 2)
			v.C = d.Float32()
		case "D":
			d.Once(&seen, 3)
			d.BytesInto(v.D[:])
		case "E":
			d.Once(&seen, 4)
			d.Binary(&v.E)
		case "F":
			d.Once(&seen, 5)
			d.Text(&v.F)
		case "G":
			d.Once(&seen, 6)
			if v.G != nil {
				d.Unusual()
			}
			d.Any(&v.G)
		case "H":
			d.Once(&seen, 7)
			if v.H != nil {
				d.Unusual()
			}
			d.Any(&v.H)
		case "I":
			d.Once(&seen, 8)
			switch {
			case d.Nil():
				v.I = nil
			case v.I != nil:
				d.Unusual()
			default:
				n := d.Map()
				v.I = make(map[int8]bool, n)
				for range n {
					k := int8(d.IntOf(8))
					v.I[k] = d.Bool()
				}
				if len(v.I) != n {
					d.Unusual()
				}
			}
		case "J":
			d.Once(&seen, 9)
			switch {
			case d.Nil():
				v.J = nil
			case v.J != nil:
				d.Unusual()
			default:
				v.J = make([]time.Time, d.Array())
				for i := range v.J {
					if !d.Nil() {
						v.J[i] = d.Time()
					}
				}
			}
		case "K":
			d.Once(&seen, 10)
			switch {
			case d.Nil():
				v.K = nil
			case v.K != nil:
				d.Unusual()
			default:
				v.K = make([][]int16, d.Array())
				for i := range v.K {
					if d.Nil() {
						continue
					}
					v.K[i] = make([]int16, d.Array())
					for j := range v.K[i] {
						v.K[i][j] = int16(d.IntOf(16))
					}
				}
			}
		case "L":
			d.Once(&seen, 11)
			v.L = time.Duration(d.Int())
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
