//go:build !unix

package torture

import (
	"os"
	"os/exec"
	"time"
)

const canHalt = false

func halt(*os.Process, time.Duration) {}

func ownGroup(*exec.Cmd) {}
