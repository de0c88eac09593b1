// The page of deadlines.

package console

import "net/http"

func (c *console) deadlines(r *http.Request) (*page, error) { return nil, notFound("not built") }
