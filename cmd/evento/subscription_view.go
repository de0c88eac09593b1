// Printing subscriptions.

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/internal/subscribed"
)

// subscriptionView is a subscription for programs. The names of its fields are
// stable.
type subscriptionView struct {
	Key        string         `json:"key"`
	RoutingKey string         `json:"routingKey"`
	State      string         `json:"state"`
	Position   uint64         `json:"position"`
	Head       uint64         `json:"head"`
	Behind     uint64         `json:"behind"`
	LagSeconds float64        `json:"lagSeconds"`
	Paused     bool           `json:"paused"`
	Live       bool           `json:"live"`
	Parked     int            `json:"parked"`
	LastError  string         `json:"lastError,omitempty"`
	Changed    *changeView    `json:"changed,omitempty"`
	Selection  *selectionView `json:"selection,omitempty"`
	// Keeps are the projections whose states it keeps.
	Keeps      []string        `json:"keeps,omitempty"`
	Partitions []partitionView `json:"partitions"`
	// Error is why the status cannot be read.
	Error string `json:"error,omitempty"`

	unnamed bool // its routing key is not known
}

// changeView is the last change of a subscription with Control.
type changeView struct {
	What string    `json:"what"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
}

// selectionView is which events a subscription handles.
type selectionView struct {
	RoutingKey string                            `json:"routingKey,omitempty"`
	All        bool                              `json:"all,omitempty"`
	Aggregates map[evento.AggregateType][]string `json:"aggregates,omitempty"`
	Events     map[evento.AggregateType][]string `json:"events,omitempty"`
}

type partitionView struct {
	Owner string `json:"owner,omitempty"`
	Host  string `json:"host,omitempty"`
	Live  bool   `json:"live"`
	// SilentSeconds is the time since the owner's last sign of life.
	SilentSeconds float64      `json:"silentSeconds,omitempty"`
	Epoch         uint64       `json:"epoch"`
	Position      uint64       `json:"position"`
	Cursor        cursor.Value `json:"cursor"`
	ChangedAt     time.Time    `json:"changedAt"`
	Paused        bool         `json:"paused"`
	Error         string       `json:"error,omitempty"`
	ErrorEvent    string       `json:"errorEvent,omitempty"`

	state evento.SubscriptionState // as if it were not paused
}

// States of a subscription, beside those of the library.
const (
	damaged    = "damaged"    // a record was not written by the library
	unreadable = "unreadable" // a cursor is not of this store
)

func subscriptionViewOf(st *evento.Status) subscriptionView {
	v := subscriptionView{
		Key: st.Key, RoutingKey: st.RoutingKey, Position: st.Position, Head: st.Head, Behind: st.Behind,
		LagSeconds: st.Lag.Seconds(), Parked: st.Parked, Live: len(st.Partitions) > 0, Selection: (*selectionView)(&st.Selection), Keeps: st.Keeps,
		Partitions: make([]partitionView, 0, len(st.Partitions)),
	}
	if st.Changed != (evento.ControlChange{}) {
		v.Changed = &changeView{st.Changed.What, st.Changed.By, st.Changed.At}
	}
	for i := range st.Partitions {
		p := &st.Partitions[i]
		pv := partitionView{
			Owner: p.Owner, Host: p.Host, Live: p.Live, Epoch: p.Epoch, Position: p.Position, Cursor: p.Cursor,
			ChangedAt: p.ChangedAt, Paused: p.Paused, Error: p.Error, ErrorEvent: p.ErrorEvent,
		}
		unpaused := *p
		unpaused.Paused = false
		pv.state = unpaused.State()
		if p.Owner != "" {
			pv.SilentSeconds = st.Now.Sub(p.ChangedAt).Seconds()
		}
		v.Partitions = append(v.Partitions, pv)
		v.Paused = v.Paused || p.Paused
		v.Live = v.Live && p.Live
		if p.Error != "" {
			v.LastError = p.Error
		}
	}
	v.State = string(st.State())
	return v
}

// selectionRows returns a selection as rows of a table.
func selectionRows(s *selectionView) [][]string {
	rows := [][]string{{"selects", subscribed.Scope(s.All, s.RoutingKey)}}
	for _, t := range slices.Sorted(maps.Keys(s.Aggregates)) {
		rows = append(rows, []string{"", "aggregates " + printable.Text(string(t)) + ": " + showSome(s.Aggregates[t])})
	}
	for _, t := range slices.Sorted(maps.Keys(s.Events)) {
		names := "all"
		if len(s.Events[t]) > 0 {
			names = showSome(s.Events[t])
		}
		rows = append(rows, []string{"", "events " + printable.Text(string(t)) + ": " + names})
	}
	return rows
}

// showSome shows the first few of many texts.
func showSome(texts []string) string {
	const most = 20
	var b strings.Builder
	for i, text := range texts[:min(len(texts), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(printable.Text(text))
	}
	if more := len(texts) - most; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

func (v *subscriptionView) row() []string {
	routing := "-"
	switch {
	case v.unnamed:
		routing = "?"
	case v.RoutingKey != "":
		routing = printable.Text(v.RoutingKey)
	}
	if v.Error != "" {
		return []string{printable.Text(v.Key), routing, "?", "?", "?", "?", "?", "?", v.State, cutText(v.Error)}
	}
	lag := "-"
	if v.LagSeconds > 0 {
		lag = showDuration(seconds(v.LagSeconds))
	}
	return []string{printable.Text(v.Key), routing, number(len(v.Partitions)), v.owners(), number(v.Position), number(v.Behind), lag, number(v.Parked), v.showState(),
		cutText(v.lastError())}
}

// lastError returns the last error without the name of the subscription, which is
// in the row.
func (v *subscriptionView) lastError() string {
	return subscribed.OwnError(evento.SubscriptionName{Key: v.Key, RoutingKey: v.RoutingKey}, v.LastError)
}

// owners returns the owners of the partitions, for one cell.
func (v *subscriptionView) owners() string {
	names := map[string]bool{}
	name, gone := "-", 0
	for i := range v.Partitions {
		p := &v.Partitions[i]
		if p.Owner == "" || names[p.Owner] {
			continue
		}
		names[p.Owner] = true
		name = p.ownerName()
		if !p.Live {
			gone++
		}
	}
	switch {
	case len(names) <= 1:
		return name
	case gone > 0:
		return fmt.Sprintf("%d workers, %d dead", len(names), gone)
	}
	return fmt.Sprintf("%d workers", len(names))
}

// showState returns the state and who paused it.
func (v *subscriptionView) showState() string {
	if v.State == string(evento.SubscriptionPaused) {
		return v.showPaused()
	}
	return v.State
}

// showPaused returns who paused it, unless it was changed since.
func (v *subscriptionView) showPaused() string {
	if v.Changed != nil && v.Changed.What == "Pause" {
		return "paused by " + printable.Text(v.Changed.By)
	}
	return string(evento.SubscriptionPaused)
}

func (p *partitionView) ownerName() string {
	silent := seconds(p.SilentSeconds)
	switch {
	case p.Owner == "":
		return "-"
	case p.Live:
		return printable.Text(p.Host)
	case silent < 0:
		return fmt.Sprintf("dead (%s), heard of %s ahead of the store's clock", printable.Text(p.Host), showDuration(-silent))
	}
	return fmt.Sprintf("dead (%s), not heard of for %s", printable.Text(p.Host), showDuration(silent))
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

func showDuration(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// cutText returns the beginning of a text, for a column.
func cutText(text string) string {
	const most = 120
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return printable.OrDash(text)
}
