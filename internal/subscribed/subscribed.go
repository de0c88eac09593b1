// Package subscribed has the words about subscriptions that the command and the console share.
package subscribed

import (
	"fmt"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

// Scope says of which routing keys a selection is.
func Scope(all bool, routingKey string) string {
	switch {
	case all:
		return "events of all routing keys"
	case routingKey != "":
		return "events of routing key " + printable.Text(routingKey)
	}
	return "events without a routing key"
}

// OwnError is an error without the name of the subscription, beside which it stands.
func OwnError(s evento.SubscriptionName, text string) string {
	name := fmt.Sprintf("%q", s.Key)
	if s.RoutingKey != "" {
		name += fmt.Sprintf(" of routing key %q", s.RoutingKey)
	}
	return strings.TrimPrefix(text, "evento: subscription "+name+": ")
}
