// The pages of subscriptions: all of them, and one.

package console

import "net/http"

func (c *console) subscriptions(r *http.Request) (*page, error) { return nil, notFound("not built") }
func (c *console) subscription(r *http.Request) (*page, error)  { return nil, notFound("not built") }
