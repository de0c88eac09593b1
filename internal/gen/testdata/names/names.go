// Package names has aggregates and imports whose names collide, and comments
// and tags of all sorts.
package names

import (
	"time"

	other "github.com/evento-go/evento/internal/gen/kinds/other"
)

// The aggregate is named after the package.
//
//evento:aggregate
type (
	Begun struct {
		At    time.Time
		Where other.Address
	}
	helper struct{ n int } // is no event
	Weight int
)

// One type alone, of an aggregate of this package.
//
//evento:aggregate Offer-line
type Offered struct {
	A, B int // two at once
	_    int
	Weight
}

// Another aggregate of the name Names, which generated code calls something
// else.
//
//evento:aggregate elsewhere/names Elsewhere // since the name is taken
//evento:event "went away"
type Left struct {
	X *struct {
		Y []map[string]struct{ Z Weight }
	}
}

// More of the first.
//
//evento:aggregate
type (
	Ended struct{}
	//evento:aggregate elsewhere/names
	Returned struct{ Cborwire evento }
)

type evento struct{ Helper int }

var cborwire = 5

var _ = helper{cborwire}
