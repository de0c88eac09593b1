// The page of an aggregate: its events, and its state at each version.

package console

import "net/http"

func (c *console) aggregate(r *http.Request) (*page, error) { return nil, notFound("not built") }
