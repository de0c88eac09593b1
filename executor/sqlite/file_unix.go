//go:build unix

package sqlite

import (
	"os"
	"syscall"
)

// giveTo makes the owner of a file that of a path, as far as this process may.
func giveTo(file os.FileInfo, path string) {
	made, err := os.Stat(path)
	if err != nil {
		return
	}
	of, ok1 := file.Sys().(*syscall.Stat_t)
	has, ok2 := made.Sys().(*syscall.Stat_t)
	if ok1 && ok2 && (of.Uid != has.Uid || of.Gid != has.Gid) {
		_ = os.Chown(path, int(of.Uid), int(of.Gid))
	}
}
