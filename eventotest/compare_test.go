package eventotest_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotest"
)

// basket is a state with all that options are about.
type basket struct {
	Items, Notes []string
	Counts       map[string]int
	Weight       float64
	Weights      []float64
	At           time.Time
	secret       int
	Inner        []*basket
}

// baskets computes the state that it is given.
func baskets(state basket) *evento.Projection[basket] {
	return evento.NewProjection[basket]("baskets", accountType).Handler(
		evento.Apply(func(b *basket, _ evento.Event[AccountOpened]) error { *b = state; return nil }))
}

func compared(t *testing.T, got, want basket, opts ...cmp.Option) *recorder {
	t.Helper()
	return record(t, func(t testing.TB) {
		eventotest.Project(t, baskets(got)).Given(AccountOpened{}).Compare(opts...).Then(want)
	})
}

// Where an option of the test applies, ours does not; everywhere else it does.
func TestCompare(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	noon := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	strict := func(a, b []string) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }
	inNotes := func(p cmp.Path) bool { return p.Last().String() == ".Notes" }
	nilNotes := func(a, b []string) bool { return (a == nil) != (b == nil) }
	floats := func(same bool) cmp.Option { return cmp.Comparer(func(_, _ float64) bool { return same }) }
	joined := cmp.Transformer("joined", func(s []string) string { return strings.Join(s, ",") })
	deep := basket{Items: []string{}, Inner: []*basket{{Notes: []string{}, Counts: map[string]int{}}, {Weight: nan}}}
	flat := basket{Inner: []*basket{{}, {Weight: nan}}}
	for name, test := range map[string]struct {
		got, want basket
		opts      []cmp.Option
		same      bool
	}{
		"nothing":                  {deep, flat, nil, true},
		"EquateEmpty":              {deep, flat, []cmp.Option{cmpopts.EquateEmpty()}, true},
		"EquateNaNs":               {deep, flat, []cmp.Option{cmpopts.EquateNaNs()}, true},
		"both, twice":              {deep, flat, []cmp.Option{cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateNaNs()}}, true},
		"both, different":          {deep, basket{Weight: nan}, []cmp.Option{cmpopts.EquateEmpty(), cmpopts.EquateNaNs()}, false},
		"strict, of a type":        {basket{Items: []string{}}, basket{}, []cmp.Option{cmp.Comparer(strict)}, false},
		"strict, other types":      {basket{Counts: map[string]int{}, Weights: []float64{}}, basket{}, []cmp.Option{cmp.Comparer(strict)}, true},
		"strict, at a path":        {basket{Notes: []string{}}, basket{}, []cmp.Option{cmp.FilterPath(inNotes, cmp.Comparer(strict))}, false},
		"strict, at another path":  {basket{Items: []string{}}, basket{}, []cmp.Option{cmp.FilterPath(inNotes, cmp.Comparer(strict))}, true},
		"strict, of some values":   {basket{Items: []string{}}, basket{}, []cmp.Option{cmp.FilterValues(nilNotes, cmp.Comparer(strict))}, false},
		"strict, of other values":  {basket{Items: []string{}, Notes: []string{}}, basket{Notes: []string{}, Items: []string{}}, []cmp.Option{cmp.FilterValues(nilNotes, cmp.Comparer(strict))}, true},
		"transformer":              {basket{Items: []string{}, Notes: []string{"a"}}, basket{Notes: []string{"a"}}, []cmp.Option{joined}, true},
		"transformer, different":   {basket{Items: []string{"b"}}, basket{}, []cmp.Option{joined}, false},
		"comparer of floats":       {basket{Weight: nan, Weights: []float64{1}}, basket{Weight: nan, Weights: []float64{2}}, []cmp.Option{floats(true)}, true},
		"refuses floats":           {basket{Weight: nan}, basket{Weight: nan}, []cmp.Option{floats(false)}, false},
		"EquateApprox":             {basket{Weight: 1, Weights: []float64{nan}}, basket{Weight: 1.01, Weights: []float64{nan}}, []cmp.Option{cmpopts.EquateApprox(0.1, 0)}, true},
		"SortSlices":               {basket{Items: []string{"a", "b"}}, basket{Items: []string{"b", "a"}, Notes: []string{}}, []cmp.Option{cmpopts.SortSlices(strings.Compare)}, true},
		"a comparer of everything": {basket{Items: []string{"a"}}, basket{}, []cmp.Option{cmp.FilterPath(func(cmp.Path) bool { return true }, cmp.Comparer(func(_, _ any) bool { return true }))}, true},
		"EquateApproxTime":         {basket{At: noon}, basket{At: noon.Add(time.Second)}, []cmp.Option{cmpopts.EquateApproxTime(time.Minute)}, true},
		"comparer of times":        {basket{At: noon}, basket{At: noon.Add(time.Second)}, []cmp.Option{cmp.Comparer(func(_, _ time.Time) bool { return true })}, true},
		"refuses times":            {basket{At: noon}, basket{At: noon}, []cmp.Option{cmp.Comparer(func(_, _ time.Time) bool { return false })}, false},
		"times in other zones":     {basket{At: noon}, basket{At: noon.In(time.FixedZone("", 3600))}, nil, true},
		"unexported":               {basket{secret: 1}, basket{secret: 2}, nil, false},
		"AllowUnexported":          {basket{secret: 1}, basket{secret: 2}, []cmp.Option{cmp.AllowUnexported(basket{})}, false},
		"IgnoreUnexported":         {basket{secret: 1}, basket{secret: 2}, []cmp.Option{cmpopts.IgnoreUnexported(basket{})}, true},
		"IgnoreFields":             {basket{Weight: nan, Items: []string{}}, basket{Weight: 1}, []cmp.Option{cmpopts.IgnoreFields(basket{}, "Weight", "Items")}, true},
		"comparer of the whole":    {basket{secret: 1}, basket{}, []cmp.Option{cmp.Comparer(func(_, _ basket) bool { return true })}, true},
	} {
		r := compared(t, test.got, test.want, test.opts...)
		if r.Failed() == test.same {
			t.Errorf("%s: reports %q, want the same: %t", name, r.reports, test.same)
		}
		for _, report := range r.reports {
			if strings.Contains(report, "cannot be compared") {
				t.Errorf("%s: %s", name, report)
			}
		}
	}
}

// It holds for events and for deadlines, and for all comparisons of a test.
func TestCompareEvents(t *testing.T) {
	t.Parallel()
	options := []cmp.Option{cmpopts.EquateEmpty(), cmpopts.EquateNaNs()}
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Compare(options...).Given(AccountOpened{}).When(withdraw(0)).Then(MoneyWithdrawn{})
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Command(t).Compare(options...).Given(eventotest.Of("rock", Announced{Seats: 1})).
			Decide(reserve("rock", "o1", "ann", noon)).Then(Reserved{"o1"}, Placed{"rock", "ann"}, payment("o1", noon))
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, welcome()).Compare(options...).Given(AccountOpened{"Ann"}).
			Redelivered(func() any { return []string{} }).Then(MoneyDeposited{10}).ThenHandled(AccountOpened{"Ann"})
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, welcome()).Compare(options...).Redelivered(func() any { return nil }).Then().ThenHandled()
	})
}

// Options of the test that contradict each other are its mistake.
func TestCompareContradiction(t *testing.T) {
	t.Parallel()
	same := cmp.Comparer(func(_, _ []string) bool { return true })
	for _, opts := range [][]cmp.Option{
		{same, same},
		{cmpopts.EquateEmpty(), same},
		{cmp.Comparer(func(_, _ float64) bool { panic("it cannot") })},
		{cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Notes" || p[len(p)+1] == nil }, same)},
	} {
		r := compared(t, basket{Items: []string{}, Weight: 1}, basket{Weight: 2}, opts...)
		if len(r.reports) != 1 || !strings.Contains(r.reports[0], "they cannot be compared") || !strings.Contains(r.reports[0], "see Compare") {
			t.Errorf("reports %q, want that they cannot be compared", r.reports)
		}
	}
}

// They are not taken for what a codec loses.
func TestCompareContradictionOfPayloads(t *testing.T) {
	t.Parallel()
	same := cmp.Comparer(func(_, _ string) bool { return true })
	r := record(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Compare(same).Compare(same).Given(AccountOpened{"Ann"}).Then(Account{Owner: "Ann"})
	})
	want := "given event 1 and what comes back from its codec: they cannot be compared: ambiguous set of applicable options"
	if len(r.reports) != 1 || !strings.Contains(r.reports[0], want) || !strings.Contains(r.reports[0], "see Compare") || strings.Contains(r.reports[0], "not stored") {
		t.Errorf("reports %q, want %q", r.reports, want)
	}
}
