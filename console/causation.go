// The page of a correlation: what caused what.

package console

import "net/http"

func (c *console) causation(r *http.Request) (*page, error) { return nil, notFound("not built") }
