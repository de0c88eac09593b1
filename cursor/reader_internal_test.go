package cursor

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
	"time"
)

type allKinds struct {
	I int
	U uint
	F float64
	S string
	Y []byte
	B bool
	T time.Time
}

func orderOfAllKinds(f interface{ Fatal(...any) }) order[allKinds] {
	o, err := newOrder("", []Column[allKinds]{
		Asc("s", func(a allKinds) string { return a.S }),
		Desc("y", func(a allKinds) []byte { return a.Y }),
		Asc("b", func(a allKinds) bool { return a.B }),
		Asc("f", func(a allKinds) float64 { return a.F }),
		Asc("t", func(a allKinds) time.Time { return a.T }),
		Asc("i", func(a allKinds) int { return a.I }),
		Asc("u", func(a allKinds) uint { return a.U }),
	})
	if err != nil {
		f.Fatal(err)
	}
	return o
}

// seal makes a cursor that passes every check except those of the values.
func seal(o order[allKinds], values []byte) Value {
	b := append([]byte{placesVersion, readerKind}, o.print[:]...)
	b = append(b, values...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return Value(base64.RawURLEncoding.EncodeToString(b))
}

func TestDecodeRefusesValues(t *testing.T) {
	t.Parallel()
	o := orderOfAllKinds(t)
	zeros := make([]byte, 12+8+8)
	copy(zeros, "\xff\xff\xff\xf1\x88\x6e\x09\x00") // the first second of the year 1
	whole := func(s, y, b, f string) []byte { return append([]byte(s+y+b+f), zeros...) }
	const zero = "\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, test := range []struct {
		name   string
		values []byte
		ok     bool
	}{
		{"zeros", whole("\x00", "\x00", "\x00", zero), true},
		{"nothing", nil, false},
		{"one byte too many", append(whole("\x00", "\x00", "\x00", zero), 0), false},
		{"one too few", whole("\x00", "\x00", "\x00", zero[:7]), false},
		{"a length of 2^64-1", []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), false},
		{"a length that overflows", []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), false},
		{"a length in more bytes than it needs", whole("\x80\x00", "\x00", "\x00", zero), false},
		{"a string that is not UTF-8", whole("\x01\xff", "\x00", "\x00", zero), false},
		{"a string with NUL", whole("\x01\x00", "\x00", "\x00", zero), false},
		{"bytes may be anything", whole("\x01a", "\x02\xff\x00", "\x01", zero), true},
		{"a bool of 2", whole("\x00", "\x00", "\x02", zero), false},
		{"NaN", whole("\x00", "\x00", "\x00", "\x7f\xf8\x00\x00\x00\x00\x00\x00"), false},
		{"a second before the year 1", append([]byte("\x00\x00\x00"+zero+"\xff\xff\xff\xf1\x88\x6e\x08\xff"), make([]byte, 20)...), false},
		{"a second of two", append([]byte("\x00\x00\x00"+zero+zero+"\x3b\x9a\xca\x00"), make([]byte, 16)...), false},
		{"the most nanoseconds", append([]byte("\x00\x00\x00"+zero+zero+"\x3b\x9a\xc9\xff"), make([]byte, 16)...), true},
	} {
		v := seal(o, test.values)
		key, err := o.decode(v)
		if (err == nil) != test.ok || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s (%x): %v, %v, want it taken: %t", test.name, test.values, key, err, test.ok)
		}
	}
	if key, err := o.decode(seal(o, whole("\x00", "\x00", "\x00", zero))); err != nil || key[1].([]byte) == nil {
		t.Errorf("empty bytes come back as %#v (%v), want them not nil, which would be NULL", key[1], err)
	}
}

// Every accepted cursor has only one text: the one that encode returns.
func FuzzDecode(f *testing.F) {
	o := orderOfAllKinds(f)
	for _, a := range []allKinds{
		{T: time.Unix(0, 0)},
		{I: -1, U: 1 << 60, F: -0.5, S: "zoë", Y: make([]byte, 200), B: true, T: time.Unix(1e9, 999_999_999)},
	} {
		v, err := o.encode(o.key(a))
		if err != nil {
			f.Fatal(err)
		}
		b, err := base64.RawURLEncoding.DecodeString(string(v))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[2+printLen : len(b)-sumLen])
	}
	f.Add([]byte{0x80, 0x00})
	f.Fuzz(func(t *testing.T, values []byte) {
		v := seal(o, values)
		key, err := o.decode(v)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%x: %v does not match ErrMalformed", values, err)
			}
			return
		}
		again, err := o.encode(key)
		if err != nil || again != v {
			t.Errorf("%x: written again as %q (%v), want %q", values, again, err, v)
		}
		if o.compare(key, key) != 0 {
			t.Errorf("%x: not equal to itself", values)
		}
	})
}
