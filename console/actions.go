// What changes something: each is a POST that a page has asked for, and then leads to a page.

package console

import (
	"net/http"

	"github.com/evento-go/evento"
)

func (c *console) actions(*http.ServeMux) {}

// acts is what the buttons of a parked event need.
type acts struct {
	Root, Token string
	May         map[Action]bool
	Status      status
	Parked      *evento.Parked
}

func parkedActs(root, token string, may map[Action]bool, s status, p *evento.Parked) acts {
	return acts{root, token, may, s, p}
}
