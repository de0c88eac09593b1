// Package kinds has events with every kind of field that can be stored. What
// is generated for them is held to what the default codec does by reflection.
package kinds

import (
	"encoding/json"
	"math/big"
	"net/netip"
	"time"

	"github.com/evento-go/evento/internal/gen/kinds/other"
)

//go:generate go run ../../../cmd/evento-gen

//evento:aggregate kinds/Thing
type (
	// Basic has the basic kinds.
	Basic struct {
		Bool    bool
		Int     int
		Int8    int8
		Int16   int16
		Int32   int32
		Int64   int64
		Uint    uint
		Uint8   uint8
		Uint16  uint16
		Uint32  uint32
		Uint64  uint64
		Float32 float32
		Float64 float64
		String  string
		Rune    rune
	}
	// Named has named types of the basic kinds.
	Named struct {
		Flag   Flag
		Cents  Cents
		Small  Small
		Ratio  Ratio
		Label  Label
		Letter Letter
		Raw    Raw
		Labels Labels
		Counts Counts
		Wait   time.Duration
		Lists  []list
	}
	// Composite has what holds others.
	Composite struct {
		Bytes    []byte
		Hash     [32]byte
		Numbers  []int
		Texts    []string
		Grid     [2][3]int16
		Nested   [][]string
		Pointer  *string
		Deep     **int
		Pointers []*Point
		Points   []Point
		ByName   map[string]int
		ByLabel  map[Label][]Point
		ByNumber map[int16]string
		ByCount  map[uint8]map[string]bool
		Maps     []map[string]*Point
		Nothing  struct{}
		Inline   struct {
			A int `json:"a"`
			B []string
		}
	}
	// Times has what is stored in a way of its own.
	Times struct {
		At       time.Time
		Until    *time.Time
		All      []time.Time
		Addr     netip.Addr
		Prefix   *netip.Prefix
		Price    other.Decimal
		Prices   []other.Decimal
		ByName   map[string]other.Decimal
		Token    other.Token
		Tokens   []other.Token
		MaybeTok *other.Token
		JSON     json.RawMessage
	}
	// Foreign has types of another package, embedded ones and generic ones.
	Foreign struct {
		other.Common
		base
		Address other.Address
		Span    other.Range[time.Time]
		Spans   []other.Range[int]
		Pairs   Pair[string, Point]
		Sealed  other.Sealed
	}
	// Tagged has options in its tags.
	Tagged struct {
		A    int               `json:"a,omitempty"`
		B    string            `json:"b,omitempty"`
		C    []string          `json:"c,omitempty"`
		D    map[string]string `json:"d,omitempty"`
		E    *int              `json:"e,omitempty"`
		F    bool              `json:"f,omitempty"`
		G    float64           `json:"g,omitempty"`
		H    time.Time         `json:"h,omitzero"`
		I    string            `json:"i" cbor:"eye"`
		J    int               `json:"-"`
		K    int               `cbor:"-,"`
		L    uint8             `json:",omitzero"`
		M    []byte            `json:"m,omitempty"`
		N    any               `json:"n,omitempty"`
		O    [0]int            `json:"o,omitempty"`
		P    Point             `json:"p,omitempty"`
		Long string            `json:"a_name_that_takes_a_byte_more_for_its_length_ümlauts"`
		_    int
	}
	// Slow has fields that go through the default codec by themselves.
	Slow struct {
		Any    any
		Anys   []any
		Map    map[string]any
		Big    *big.Int
		Tree   Tree
		List   *Link
		Keys   map[netip.Addr]string
		Bytes  []Letter8
		Opt    Opt
		Number int
	}
	// Whole goes through the default codec as a whole.
	Whole struct {
		Name  string
		Opt   *other.Decimal `json:",omitempty"`
		Empty Opt            `json:",omitempty"`
	}
	// Wide has more fields than there are bits in a word.
	Wide struct {
		A00, A01, A02, A03, A04, A05, A06, A07, A08, A09 int
		B00, B01, B02, B03, B04, B05, B06, B07, B08, B09 string
		C00, C01, C02, C03, C04, C05, C06, C07, C08, C09 int
		D00, D01, D02, D03, D04, D05, D06, D07, D08, D09 string
		E00, E01, E02, E03, E04, E05, E06, E07, E08, E09 int
		F00, F01, F02, F03, F04, F05, F06, F07, F08, F09 string
		G00, G01, G02, G03, G04, G05, G06, G07, G08, G09 bool
	}
	// Empty has nothing to say.
	Empty struct{}
	// Usual is an event as they mostly are, for the benchmark.
	Usual struct {
		OrderID  string
		Customer string
		Cents    int64
		Quantity int
		Paid     bool
		Rate     float64
		At       time.Time
		Receipt  []byte
		Tags     []string
		Address  other.Address
		Labels   map[string]string
		Coupon   *string
	}
)

// The rest is what the fields are made of.

type (
	// Flag is a named bool.
	Flag bool
	// Cents is a named integer.
	Cents int64 // Cents is a named integer.
	// Small is a named unsigned integer.
	Small uint16 // Small is a named unsigned integer.
	// Ratio is a named float.
	Ratio float32 // Ratio is a named float.
	// Label is a named string.
	Label string // Label is a named string.
	// Letter is a named rune.
	Letter rune // Letter is a named rune.
	// Letter8 is a named byte.
	Letter8 uint8 // Letter8 is a named byte.
	// Raw is a named slice of bytes.
	Raw []byte // Raw is a named slice of bytes.
	// Labels is a named slice.
	Labels []Label // Labels is a named slice.
	// Counts is a named map.
	Counts map[Label]Cents // Counts is a named map.
	list   string          // has the name of a variable in generated code

	// Point is a struct of this package.
	Point struct {
		X, Y int
		Name string `json:",omitempty"`
	}
	// Pair is generic.
	Pair[K comparable, V any] struct {
		Key   K
		Value V
	}
	base struct {
		Version int
	}
	// Tree contains itself.
	Tree struct {
		Name     string
		Children []Tree
	}
	// Link contains itself by a pointer.
	Link struct {
		N    int
		Next *Link
	}
	// Opt may be empty as a whole.
	Opt struct {
		A int    `json:"a,omitempty"`
		B string `json:"b,omitempty"`
	}
)
