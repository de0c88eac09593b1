//go:build unix

package sqlite

import (
	"os"
	"syscall"
)

// linked reports whether a file has further names.
func linked(file os.FileInfo) bool {
	has, ok := file.Sys().(*syscall.Stat_t)
	return ok && has.Nlink > 1
}

// giveTo makes the owner of a file, which is at a name in a folder, that of another one, as far
// as this process may.
func giveTo(folder *os.Root, name string, file, like os.FileInfo) {
	of, ok1 := like.Sys().(*syscall.Stat_t)
	has, ok2 := file.Sys().(*syscall.Stat_t)
	if ok1 && ok2 && (of.Uid != has.Uid || of.Gid != has.Gid) {
		_ = folder.Lchown(name, int(of.Uid), int(of.Gid))
	}
}
