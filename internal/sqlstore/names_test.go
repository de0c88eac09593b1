package sqlstore_test

import (
	"slices"
	"testing"

	"github.com/evento-go/evento/internal/sqlstore"
)

func TestNames(t *testing.T) {
	t.Parallel()
	var n, m sqlstore.Names
	if !n.Empty() {
		t.Error("there are names in the beginning")
	}
	m.AddType(1, "a")
	m.AddKind(5, sqlstore.Kind{TypeID: 1, Name: "five"})
	m.AddKind(3, sqlstore.Kind{TypeID: 1, Name: "three"})
	m.AddKind(3, sqlstore.Kind{TypeID: 1, Name: "three"})
	m.AddRouting(9, "r")
	if got := m.KindsOf(1); !slices.Equal(got, []int64{5, 3}) {
		t.Errorf("KindsOf(1) = %v, want them as they were added", got)
	}
	n.Merge(&m)
	n.Merge(&m)
	if got := n.KindsOf(1); !slices.Equal(got, []int64{3, 5}) || n.Empty() {
		t.Errorf("KindsOf(1) after a merge = %v, want each once and in order", got)
	}
	if k, typ, ok := n.Kind(5); k.Name != "five" || typ != "a" || !ok {
		t.Errorf("Kind(5) = %v, %v, %v", k, typ, ok)
	}
	if id, ok := n.KindID(sqlstore.Kind{TypeID: 1, Name: "three"}); id != 3 || !ok {
		t.Errorf("KindID(three) = %d, %v", id, ok)
	}
	if id, ok := n.TypeID("a"); id != 1 || !ok {
		t.Errorf("TypeID(a) = %d, %v", id, ok)
	}
	if id, ok := n.RoutingID("r"); id != 9 || !ok {
		t.Errorf("RoutingID(r) = %d, %v", id, ok)
	}
	if key, ok := n.Routing(9); key != "r" || !ok {
		t.Errorf("Routing(9) = %q, %v", key, ok)
	}
	if _, ok := n.Routing(8); ok {
		t.Error("Routing(8) is known")
	}
}
