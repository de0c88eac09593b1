// Package v1 has the events of orders as they were at first. In an application it is not there
// any more: it is what package v2 was, some releases ago. Here it writes what version 2 has
// to read.
package v1

import "github.com/evento-go/evento"

const orderType evento.AggregateType = "evolution/Order"

type (
	Created   struct{ Client, Item string }
	Addressed struct{ Address string }
	Completed struct{ Cents int64 } // delivered and paid
)

func (Created) AggregateType() evento.AggregateType   { return orderType }
func (Created) EventName() string                     { return "Created" }
func (Addressed) AggregateType() evento.AggregateType { return orderType }
func (Addressed) EventName() string                   { return "Addressed" }
func (Completed) AggregateType() evento.AggregateType { return orderType }
func (Completed) EventName() string                   { return "Completed" }
