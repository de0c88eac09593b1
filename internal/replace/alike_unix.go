//go:build unix

package replace

import (
	"os"
	"syscall"
)

// alike gives a file the owner of another, and reports whether it can take its place:
// not where the owner cannot be given, or the other has further names.
func alike(f *os.File, other os.FileInfo) bool {
	want, ok := other.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	has, ok := info.Sys().(*syscall.Stat_t)
	if !ok || want.Nlink > 1 {
		return false
	}
	return has.Uid == want.Uid && has.Gid == want.Gid || f.Chown(int(want.Uid), int(want.Gid)) == nil
}
