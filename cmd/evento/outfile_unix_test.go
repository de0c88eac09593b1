//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// withUmask runs a command with a umask.
func withUmask(cmd *exec.Cmd, umask string) *exec.Cmd {
	cmd.Args = append([]string{"sh", "-c", "umask " + umask + `; exec "$0" "$@"`}, cmd.Args...)
	cmd.Path = "/bin/sh"
	return cmd
}

func modeOf(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// An export replaces what is there, keeps its permissions, and is private when it is new.
func TestExportTo(t *testing.T) {
	t.Parallel()
	store := filled(t)
	want, _ := must(t, "", "export", "--store", store)
	long := strings.Repeat("n", 255)
	for name, test := range map[string]struct {
		make   func(t *testing.T, dir string) // what is there before
		output string                         // in the directory
		umask  string
		mode   os.FileMode
		file   string   // that has the export then
		names  []string // of what is in the directory then
	}{
		"a new file":                    {nil, "a", "022", 0o600, "a", []string{"a"}},
		"a new file with a wide umask":  {nil, "a", "000", 0o600, "a", []string{"a"}},
		"a new file of a strange umask": {nil, "a", "277", 0o400, "a", []string{"a"}},
		"a long name":                   {nil, long, "022", 0o600, long, []string{long}},
		"a file": {func(t *testing.T, dir string) {
			t.Helper()
			write(t, dir+"/a", "old", 0o640)
		}, "a", "077", 0o640, "a", []string{"a"}},
		"a longer file": {func(t *testing.T, dir string) {
			t.Helper()
			write(t, dir+"/a", want+want, 0o666)
		}, "a", "077", 0o666, "a", []string{"a"}},
		"a link": {func(t *testing.T, dir string) {
			t.Helper()
			write(t, dir+"/a", "old", 0o644)
			link(t, "a", dir+"/l")
		}, "l", "077", 0o644, "a", []string{"a", "l"}},
		"a link to a link in another folder": {func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Mkdir(dir+"/d", 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, dir+"/d/a", "old", 0o604)
			link(t, "d/m", dir+"/l")
			link(t, dir+"/d/a", dir+"/d/m")
		}, "l", "077", 0o604, "d/a", []string{"d", "l"}},
		"a link to nothing": {func(t *testing.T, dir string) {
			t.Helper()
			link(t, "a", dir+"/l")
		}, "l", "022", 0o600, "a", []string{"a", "l"}},
		"a file with two names": {func(t *testing.T, dir string) {
			t.Helper()
			write(t, dir+"/a", want+"old", 0o644)
			if err := os.Link(dir+"/a", dir+"/b"); err != nil {
				t.Fatal(err)
			}
		}, "b", "077", 0o644, "a", []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if test.make != nil {
				test.make(t, dir)
			}
			code, out, errs := ended(t, withUmask(program(t, dir, "export", "--store", store, "--output", test.output), test.umask))
			if code != exitOK || out != "" {
				t.Fatalf("exit code %d, %q, %q", code, out, errs)
			}
			if info, err := os.Lstat(filepath.Join(dir, test.output)); err != nil || (info.Mode().Type() == os.ModeSymlink) != (test.output == "l") {
				t.Errorf("the output is %v, %v", info.Mode(), err)
			}
			file := filepath.Join(dir, test.file)
			if mode := modeOf(t, file); mode != test.mode {
				t.Errorf("it has the permissions %v, want %v", mode, test.mode)
			}
			if err := os.Chmod(file, 0o600); err != nil {
				t.Fatal(err)
			}
			if readFile(t, file) != want {
				t.Error("it does not have the export")
			}
			if got := names(t, dir); !slices.Equal(got, test.names) {
				t.Errorf("there is %q, want %q", got, test.names)
			}
		})
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// What is no file is written to as it is, and standard output where it stands.
func TestExportToDevices(t *testing.T) {
	t.Parallel()
	store := filled(t)
	want, _ := must(t, "", "export", "--store", store)
	// The shell opens the files; what is printed is what they have then.
	for name, script := range map[string]string{
		"/dev/stdout as a pipe":     `evento export --store "$STORE" --output /dev/stdout | cat`,
		"/dev/stdout as a file":     `{ printf begin; evento export --store "$STORE" --output /dev/stdout; printf end; } >f; [ "$(ls)" = f ] && sed 's/^begin//; s/end$//' f`,
		"/dev/stdout appended to":   `printf begin >f; evento export --store "$STORE" --output /dev/stdout >>f; sed 's/^begin//' f`,
		"/dev/fd/1":                 `evento export --store "$STORE" --output /dev/fd/1 >f && cat f`,
		"/proc/self/fd/1":           `evento export --store "$STORE" --output /proc/self/fd/1 >f && cat f`,
		"a link to /dev/stdout":     `ln -s /dev/stdout l && evento export --store "$STORE" --output l >f && cat f && [ -L l ]`,
		"/dev/stderr":               `evento export --store "$STORE" --output /dev/stderr 2>f; grep -v '^exported 30 events' f`,
		"an open file":              `exec 3>f; printf begin >&3; evento export --store "$STORE" --output /dev/fd/3; sed 's/^begin//' f`,
		"an open pipe":              `{ evento export --store "$STORE" --output /dev/fd/3 3>&1 1>&2; } | cat`,
		"a named pipe":              `mkfifo p && { cat p & } && evento export --store "$STORE" --output p && wait && [ -p p ]`,
		"a link to a named pipe":    `mkfifo p && ln -s p l && { cat p & } && evento export --store "$STORE" --output l && wait && [ -L l ]`,
		"a dash":                    `evento export --store "$STORE" --output -`,
		"a file whose name is dash": `evento export --store "$STORE" --output ./- && cat ./-`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := program(t, t.TempDir(), "")
			cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", script}
			cmd.Env = append(cmd.Env, "STORE="+store)
			if code, out, errs := ended(t, cmd); code != 0 || out != want {
				t.Errorf("exit code %d, %d bytes, want %d\n%s", code, len(out), len(want), errs)
			}
		})
	}
}

// An export that fails says why, and leaves what was there.
func TestExportFails(t *testing.T) {
	t.Parallel()
	store, tooLarge := filled(t), large(t)
	for name, test := range map[string]struct {
		script, want string
		code         int
	}{
		"a full device":            {`evento export --store "$STORE" --output /dev/full`, "no space left", exitFailed},
		"a link to a full device":  {`ln -s /dev/full l; evento export --store "$STORE" --output l`, "no space left", exitFailed},
		"a full standard output":   {`evento export --store "$STORE" >/dev/full`, "no space left", exitFailed},
		"a list to a full device":  {`evento events list --store "$STORE" >/dev/full`, "no space left", exitFailed},
		"help to a full device":    {`evento events list -h >/dev/full`, "no space left", exitFailed},
		"scripts to a full device": {`evento completion bash >/dev/full`, "no space left", exitFailed},
		"SQL to a full device":     {`evento migrate sql sqlite >/dev/full`, "no space left", exitFailed},
		"a limit":                  {`printf old >f; ulimit -f 100; evento export --store "$LARGE" --output f; code=$?; [ "$(cat f)" = old ] && [ "$(ls -A)" = f ] && exit $code`, "too large", exitFailed},
		"a directory":              {`mkdir d; evento export --store "$STORE" --output d`, "is a directory", exitUsage},
		"a link to a directory":    {`mkdir d; ln -s d l; evento export --store "$STORE" --output l`, "is a directory", exitUsage},
		"no directory":             {`evento export --store "$STORE" --output d/f`, "open d/f: no such file", exitFailed},
		"links in a circle":        {`ln -s a b; ln -s b a; evento export --store "$STORE" --output a`, "symbolic links", exitFailed},
		"the store":                {`evento export --store "$STORE" --output "$STORE"`, "is the store itself", exitUsage},
		"a link to the store":      {`ln -s "$STORE" l; evento export --store "$STORE" --output l`, "is the store itself", exitUsage},
		"a log of the store":       {`cp "$STORE" s; evento export --store s --output ./s-journal; code=$?; [ ! -e s-journal ] && exit $code`, "is the store itself", exitUsage},
		"a file in an index":       {`mkdir i; evento export --store 'nats://127.0.0.1:1/s?dir=i' --output i/MANIFEST`, "is the store itself", exitUsage},
		"a file in the store":      {`evento migrate up --store pebble:d >/dev/null; evento export --store pebble:d --output d/MANIFEST`, "is the store itself", exitUsage},
		"a pipe as the store":      {`mkfifo p; evento export --store p`, "it is no file, but a pipe", exitFailed},
		"a device as the store":    {`evento migrate up --store /dev/null`, "it is no file, but a pipe", exitFailed},
		"a pipe whose reader goes": {`mkfifo p; head -c 1 p >/dev/null & evento export --store "$LARGE" --output p`, "broken pipe", exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := program(t, dir, "")
			cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", test.script}
			cmd.Env = append(cmd.Env, "STORE="+store, "LARGE="+tooLarge)
			if code, out, errs := ended(t, cmd); code != test.code || out != "" || !strings.Contains(errs, test.want) {
				t.Errorf("exit code %d, %q, %q, want %d and %q", code, out, errs, test.code, test.want)
			}
			if left := names(t, dir); slices.ContainsFunc(left, func(name string) bool { return strings.HasPrefix(name, ".") }) {
				t.Errorf("it has left %q", left)
			}
		})
	}
	must(t, "", "doctor", "--store", store)
}

// A file is written to where its folder is not, and not where it is not itself.
func TestExportAsAnotherUser(t *testing.T) {
	t.Parallel()
	store := filled(t)
	want, _ := must(t, "", "export", "--store", store)
	for name, test := range map[string]struct {
		file, folder os.FileMode
		mine         bool // the file is this user's and not the other's
		code         int
	}{
		"a folder that is not writable": {0o644, 0o555, false, exitOK},
		"another's file in it":          {0o666, 0o555, true, exitOK},
		"another's file in a folder":    {0o666, 0o777, true, exitOK},
		"a file that is not writable":   {0o444, 0o777, false, exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := open(t)
			dir := filepath.Join(base, "d")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "f")
			write(t, file, want+"old", test.file)
			cmd := program(t, base, "export", "--store", shared(t, store, base), "--output", file)
			asAnother(t, cmd, base)
			if os.Getuid() == 0 && !test.mine {
				chown(t, file)
			}
			chown(t, dir)
			if err := os.Chmod(dir, test.folder); err != nil {
				t.Fatal(err)
			}
			before := owner(t, file)
			code, _, errs := ended(t, cmd)
			if code != test.code {
				t.Fatalf("exit code %d, %s, want %d", code, errs, test.code)
			}
			want := want
			if code == exitFailed {
				want += "old"
			}
			if readFile(t, file) != want || modeOf(t, file) != test.file || owner(t, file) != before {
				t.Errorf("it is %v of user %d, want %v of %d; it has the export: %t", modeOf(t, file), owner(t, file), test.file, before, readFile(t, file) == want)
			}
			if got := names(t, dir); !slices.Equal(got, []string{"f"}) {
				t.Errorf("there is %q, want the file", got)
			}
		})
	}
}

const nobody = 65534

// open returns a directory that every user may enter and write to.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shared copies a store for every user.
func shared(t *testing.T, store, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "store.db")
	write(t, path, readFile(t, store), 0o666)
	return path
}

// asAnother runs a command as another user, if this one may do everything.
func asAnother(t *testing.T, cmd *exec.Cmd, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	// What the path has is behind folders of this user. A copy may be "busy" when
	// another test starts a process while it is written.
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = filepath.Join(dir, "evento")
	if err := os.Link(program, cmd.Path); err != nil {
		t.Skipf("the program is on another disk: %v", err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

func chown(t *testing.T, path string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	if err := os.Chown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
}

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

// Who may not make files beside a store, or not read it, is told so; and a sound store is not
// called damaged.
func TestLookingWithoutRights(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file, folder os.FileMode
		want         string
	}{
		"a folder that may not be written to": {0o644, 0o555, "files -wal and -shm beside it"},
		"a file that may not be read":         {0o000, 0o777, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := open(t)
			folder := filepath.Join(dir, "folder")
			if err := os.Mkdir(folder, 0o777); err != nil {
				t.Fatal(err)
			}
			store := shared(t, filled(t), folder)
			chmod(t, store, test.file)
			chmod(t, folder, test.folder)
			t.Cleanup(func() { chmod(t, folder, 0o777) })
			for _, args := range [][]string{{"events", "list"}, {"doctor"}} {
				cmd := program(t, dir, append(args, "--store", store)...)
				asAnother(t, cmd, t.TempDir())
				code, stdout, stderr := ended(t, cmd)
				if code != exitFailed || !strings.Contains(stdout+stderr, test.want) || strings.Contains(stdout, "restore") {
					t.Errorf("%q: exit code %d, want %d and %q\n%s%s", args, code, exitFailed, test.want, stdout, stderr)
				}
			}
			if left := names(t, folder); len(left) != 1 {
				t.Errorf("there are %q", left)
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// What the command makes is private, and what is there keeps its permissions.
func TestStoresArePrivate(t *testing.T) {
	t.Parallel()
	export, _ := must(t, "", "export", "--store", filled(t))
	for _, store := range []string{"sqlite:a", "sqlite:file:a", "sqlite:file:a?mode=rwc", "pebble:a", "pebble:d/a"} {
		for _, args := range [][]string{{"migrate", "up"}, {"import", "-"}} {
			t.Run(store+" "+args[0], func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				cmd := withUmask(program(t, dir, append(args, "--store", store)...), "022")
				cmd.Stdin = strings.NewReader(export)
				if code, _, errs := ended(t, cmd); code != exitOK {
					t.Fatalf("exit code %d, %s", code, errs)
				}
				if code, _, errs := ended(t, withUmask(program(t, dir, "events", "list", "--store", store), "022")); code != exitOK { // it makes files beside
					t.Fatalf("exit code %d, %s", code, errs)
				}
				for _, name := range names(t, dir) {
					if mode := modeOf(t, filepath.Join(dir, name)); mode&0o077 != 0 {
						t.Errorf("%s has the permissions %v", name, mode)
					}
				}
			})
		}
	}
	t.Run("what is there", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		write(t, dir+"/a", "", 0o664)
		if err := os.Mkdir(dir+"/p", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir+"/p", 0o750); err != nil {
			t.Fatal(err)
		}
		for _, store := range []string{"sqlite:a", "pebble:p"} {
			if code, _, errs := ended(t, program(t, dir, "migrate", "up", "--store", store)); code != exitOK {
				t.Fatalf("exit code %d, %s", code, errs)
			}
		}
		if a, p := modeOf(t, dir+"/a"), modeOf(t, dir+"/p"); a != 0o664 || p != 0o750 {
			t.Errorf("they have the permissions %v and %v, want those that they had", a, p)
		}
	})
}

// A store that cannot be made leaves nothing.
func TestStoreThatCannotBeMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, store := range []string{"sqlite:file:a?vfs=none", "sqlite:file:a?mode=ro", "sqlite:file:a?_pragma=busy_timeout(", "sqlite:d/a", "sqlite:" + strings.Repeat("n", 300)} {
		if code, _, errs := ended(t, program(t, dir, "migrate", "up", "--store", store)); code == exitOK || errs == "" {
			t.Errorf("%s: exit code %d, %q", store, code, errs)
		}
	}
	if made := names(t, dir); len(made) > 0 {
		t.Errorf("there is %q", made)
	}
}
