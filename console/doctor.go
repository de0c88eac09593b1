// The page of the doctor.

package console

import "net/http"

func (c *console) doctor(r *http.Request) (*page, error) { return nil, notFound("not built") }
