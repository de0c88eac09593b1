//go:build !unix

package torture

import (
	"os"
	"time"
)

const canHalt = false

func halt(*os.Process, time.Duration) {}
