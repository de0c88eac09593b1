// Projections whose states are shown.

package console

// Projection is a projection of a program, for [Options.Projections]. [Show] makes it.
type Projection interface{ name() string }

func checkProjections([]Projection) error { return nil }
