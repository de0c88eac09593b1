//go:build !unix

package replace

import "os"

func alike(*os.File, os.FileInfo) bool { return true }
