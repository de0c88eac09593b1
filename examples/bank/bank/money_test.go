package bank

import (
	"math"
	"testing"
)

func TestParseMoney(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Money{
		"0": 0, "7": 700, "7.5": 750, "7.05": 705, "007.50": 750, "0.01": 1, "92233720368547758.07": math.MaxInt64,
	} {
		if got, err := ParseMoney(text); got != want || err != nil {
			t.Errorf("ParseMoney(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for m, want := range map[Money]string{0: "0.00", 1: "0.01", -1: "-0.01", -1205: "-12.05", math.MaxInt64: "92233720368547758.07", math.MinInt64: "-92233720368547758.08"} {
		if got := m.String(); got != want {
			t.Errorf("Money(%d) is %q, want %q", int64(m), got, want)
		}
	}
}

func FuzzParseMoney(f *testing.F) {
	for _, s := range []string{"", "0", "1.5", "1.234", "-1", "1e5", "92233720368547758.07", "9223372036854775807", ".", "00.10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMoney(s)
		if err != nil {
			return
		}
		if m < 0 {
			t.Fatalf("ParseMoney(%q) is below zero: %d", s, m)
		}
		if again, err := ParseMoney(m.String()); again != m || err != nil {
			t.Fatalf("ParseMoney(%q) is %d, which is written %q and read as %d, %v", s, m, m, again, err)
		}
	})
}
