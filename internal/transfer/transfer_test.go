package transfer_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/transfer"
)

// childStore names the store into which a child process imports its standard input.
const childStore = "EVENTO_TEST_TRANSFER_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childStore); path != "" {
		if err := child(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

func child(path string) error {
	ctx := context.Background()
	ex, err := openPath(ctx, path)
	if err != nil {
		return err
	}
	_, err = transfer.Import(ctx, ex, os.Stdin, transfer.ImportOptions{Progress: func(p transfer.Progress) { fmt.Println(p.Events) }})
	return err
}

// openPath opens a SQLite file, or a Pebble directory.
func openPath(ctx context.Context, path string) (evento.Executor, error) {
	if filepath.Ext(path) == ".db" {
		return sqlite.Open(ctx, path, nil)
	}
	return pebble.Open(ctx, path, nil)
}

// many is a store with small events.
func many(t *testing.T, n int) evento.Executor {
	t.Helper()
	ex := memory.New(nil)
	var events []evento.RawEvent
	for i := range n {
		events = append(events, evento.RawEvent{
			ID: evento.NewID(), Position: uint64(i + 1), AggregateType: "bank/Account", AggregateID: fmt.Sprint("account ", i%1000), Version: uint64(i/1000 + 1),
			Name: "Deposited", Codec: "raw", Data: fmt.Append(nil, i), Timestamp: time.UnixMicro(1_600_000_000_000_000 + int64(i)).UTC(),
		})
	}
	for part := range slices.Chunk(events, evento.MaxCommitEvents) {
		if err := ex.Import(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	return ex
}

// The input ends anywhere in the middle, and the import is continued.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	want := export(t, many(t, 25_000), transfer.ExportOptions{})
	target := stores()["sqlite"](t)
	failure := errors.New("the network is gone")
	imported := uint64(0)
	for _, at := range []int{0, 1, 100, len(want) / 3, len(want) / 2, len(want) * 9 / 10, len(want) - 1} {
		p, err := transfer.Import(t.Context(), target, io.MultiReader(strings.NewReader(want[:at]), iotest.ErrReader(failure)), transfer.ImportOptions{Resume: true})
		if !errors.Is(err, failure) || !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("Import() of %d bytes = %v, want %v with the line", at, err, failure)
		}
		p2, err := transfer.Import(t.Context(), target, strings.NewReader(want[:at]), transfer.ImportOptions{Resume: true})
		if !errors.Is(err, evento.ErrInvalid) || !strings.HasPrefix(err.Error(), "line ") || p2.Events != p.Events || p2.Skipped != p2.Events {
			t.Errorf("Import() of %d bytes = %+v, %v, after %+v", at, p2, err, p)
		}
		if p.Events < imported {
			t.Errorf("Import() of %d bytes = %+v, less than %d before", at, p, imported)
		}
		imported = p.Events
	}
	if imported != 20_000 {
		t.Errorf("%d events were imported, want the whole batches", imported)
	}
	if _, err := transfer.Import(t.Context(), target, strings.NewReader(want), transfer.ImportOptions{}); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "resume") {
		t.Errorf("Import() of a store with events = %v, want %v with the remedy", err, evento.ErrInvalid)
	}
	if p := take(t, target, want, transfer.ImportOptions{Resume: true}); p.Events != 25_000 || p.Skipped != 20_000 {
		t.Errorf("Import() = %+v", p)
	}
	same(t, export(t, target, transfer.ExportOptions{}), want)
}

// A process that imports is killed in the middle, and another one continues.
func TestKilled(t *testing.T) {
	t.Parallel()
	want := export(t, many(t, 40_000), transfer.ExportOptions{})
	for _, name := range []string{"events.db", "pebble"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env, cmd.Stdin, cmd.Stderr = append(os.Environ(), childStore+"="+path), strings.NewReader(want), os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil || line != "10000\n" {
				t.Fatalf("the child said %q, %v", line, err)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // as it was killed
			ex := opened(t)(openPath(t.Context(), path))
			p := take(t, ex, want, transfer.ImportOptions{Resume: true})
			if p.Skipped < 10_000 || p.Skipped%10_000 != 0 {
				t.Errorf("Import() = %+v, want whole batches that were there, and what was acknowledged", p)
			}
			same(t, export(t, ex, transfer.ExportOptions{}), want)
		})
	}
}

// Every mistake in a file is an error that names the line. If the file is not
// longer than a batch, nothing is stored.
func TestDamaged(t *testing.T) {
	t.Parallel()
	good := export(t, many(t, 20), transfer.ExportOptions{})
	lines := linesOf(good)
	lines[len(lines)-1] += "\n"
	edit := func(change func([]string) []string) string { return strings.Join(change(slices.Clone(lines)), "") }
	for _, tt := range []struct {
		name, text, want string
	}{
		{"nothing", "", "line 1:"},
		{"an empty line", "\n", "line 1:"},
		{"no header", edit(func(l []string) []string { return l[1:] }), "line 1:"},
		{"another format", strings.Replace(good, `"version":1}`, `"version":2}`, 1), "line 1:"},
		{"another file", "<html>\n</html>\n", "line 1:"},
		{"no last line", edit(func(l []string) []string { return l[:21] }), "line 21:"},
		{"only a header", lines[0], "line 1:"},
		{"cut within a line", good[:len(good)/2], "cut off"},
		{"cut within the last line", good[:len(good)-10], "line 22:"},
		{"cut before the last line end", good[:len(good)-1], "line 22:"},
		{"a line left out", edit(func(l []string) []string { return slices.Delete(l, 5, 6) }), "line 6:"},
		{"a line twice", edit(func(l []string) []string { return slices.Insert(l, 5, l[5]) }), "line 7:"},
		{"lines in another order", edit(func(l []string) []string { l[4], l[5] = l[5], l[4]; return l }), "line 5:"},
		{"a letter changed", strings.Replace(good, `"Deposited"`, `"deposited"`, 1), "line 22:"},
		{"data changed", strings.Replace(good, `"data":"MA=="`, `"data":"MQ=="`, 1), "line 22:"},
		{"data with bits behind its end", strings.Replace(good, `"data":"MA=="`, `"data":"MB=="`, 1), `line 2: evento: invalid event: field "data": `},
		{"a byte order mark", "\ufeff" + good, "line 1:"},
		{"UTF-16", string(utf16le(good)), "line 1:"},
		{"line ends of Windows", strings.ReplaceAll(good, "\n", "\r\n"), "line 1:"},
		{"a line end of Windows", edit(func(l []string) []string { l[3] = strings.TrimSuffix(l[3], "\n") + "\r\n"; return l }), "line 4:"},
		{"a header with more", strings.Replace(good, `"version":1}`, `"version":1,"more":2}`, 1), `line 1: evento: invalid export: it is not the first line of one: field "more"`},
		{"a header of other capitals", strings.Replace(good, `{"evento"`, `{"Evento"`, 1), "line 1:"},
		{"a header of a real number", strings.Replace(good, `"version":1}`, `"version":1.0}`, 1), "line 1:"},
		{"an end with more", edit(func(l []string) []string { l[21] = strings.Replace(l[21], `}`, `,"more":2}`, 1); return l }), `line 22: evento: invalid export: its last line: field "more"`},
		{"an end twice", edit(func(l []string) []string { return append(l, l[21]) }), "line 23:"},
		{"a checksum in capitals", edit(func(l []string) []string {
			at := strings.Index(l[21], `"sha256":"`) + 10
			l[21] = l[21][:at] + strings.ToUpper(l[21][at:])
			return l
		}), "line 22:"},
		{"NULs for a line", edit(func(l []string) []string { l[3] = strings.Repeat("\x00", len(l[3])-1) + "\n"; return l }), "line 4:"},
		{"two files", good + good, "line 23:"},
		{"a line behind the end", good + "\n", "line 23:"},
		{"two headers", edit(func(l []string) []string { return slices.Insert(l, 1, l[0]) }), "line 2:"},
		{"an empty line within", edit(func(l []string) []string { return slices.Insert(l, 3, "\n") }), "line 4:"},
		{"no JSON", edit(func(l []string) []string { l[3] = "{nonsense}\n"; return l }), "line 4:"},
		{"half a line", edit(func(l []string) []string { l[3] = l[3][:40] + "\n"; return l }), "line 4:"},
		{"two values", edit(func(l []string) []string { l[3] = strings.TrimSpace(l[3]) + l[4]; return l }), "line 4:"},
		{"an unknown field", edit(func(l []string) []string { l[3] = strings.Replace(l[3], `"codec"`, `"colour"`, 1); return l }), "line 4:"},
		{"no data", edit(func(l []string) []string { l[3], _, _ = strings.Cut(l[3], `,"data"`); l[3] += "}\n"; return l }), "line 4:"},
		{"a position of text", edit(func(l []string) []string { l[3] = strings.Replace(l[3], `"position":3`, `"position":"3"`, 1); return l }), "line 4:"},
		{"an id too short", edit(func(l []string) []string { l[3] = strings.Replace(l[3], `"id":"0`, `"id":"`, 1); return l }), "line 4:"},
		{"a time of another zone", edit(func(l []string) []string { l[3] = strings.Replace(l[3], `Z",`, `+01:00",`, 1); return l }), "line 4:"},
		{"tags that are no texts", edit(func(l []string) []string {
			l[3] = strings.Replace(l[3], `,"timestamp"`, `,"tags":["a",7],"timestamp"`, 1)
			return l
		}), "line 4:"},
		{"a tag added", edit(func(l []string) []string {
			l[3] = strings.Replace(l[3], `,"timestamp"`, `,"tags":["a"],"timestamp"`, 1)
			return l
		}), "line 22:"},
		{"data that is no base64", edit(func(l []string) []string { l[3] = strings.Replace(l[3], `"data":"`, `"data":"!`, 1); return l }), "line 4:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ex := memory.New(nil)
			_, err := transfer.Import(t.Context(), ex, strings.NewReader(tt.text), transfer.ImportOptions{})
			if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), tt.want) || strings.Count(err.Error(), "evento:") != 1 {
				t.Errorf("Import() = %v, want %v and %q", err, evento.ErrInvalid, tt.want)
			}
			if page, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, "")); err != nil || len(page.Edges) > 0 {
				t.Errorf("the store has %v, %v, want nothing", page, err)
			}
		})
	}
	endless := io.MultiReader(strings.NewReader(lines[0]), neverEnding('x'))
	if _, err := transfer.Import(t.Context(), memory.New(nil), endless, transfer.ImportOptions{}); !errors.Is(err, evento.ErrTooLarge) || !strings.HasPrefix(err.Error(), "line 2:") {
		t.Errorf("Import() of an endless line = %v, want %v", err, evento.ErrTooLarge)
	}
	// Verify finds what only the checksum shows.
	for _, text := range []string{"", lines[0], good[:len(good)/2], good + good, strings.Replace(good, `"Deposited"`, `"deposited"`, 1)} {
		if err := transfer.Verify(t.Context(), strings.NewReader(text), transfer.ImportOptions{}); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Verify(%.100q…) = %v, want %v", text, err, evento.ErrInvalid)
		}
	}
}

func utf16le(text string) (b []byte) {
	for i := range len(text) {
		b = append(b, text[i], 0)
	}
	return b
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

// sign corrects the last line after lines were changed.
func sign(lines []string) string {
	body := strings.Join(lines[:len(lines)-1], "")
	return body + fmt.Sprintf("{\"evento\":\"end\",\"events\":%d,\"sha256\":\"%x\"}\n", len(lines)-2, sha256.Sum256([]byte(body)))
}

// linesOf splits an export; the event at position p is lines[p].
func linesOf(text string) []string { return strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n") }

// The error names the line of an event that cannot be imported, wherever it is, and the batches
// before it are imported.
func TestRefusedLine(t *testing.T) {
	t.Parallel()
	const n, at = 10_900, 10_500
	lines := linesOf(export(t, many(t, n), transfer.ExportOptions{}))
	same(t, sign(lines), strings.Join(lines, "")+"\n")
	replace := func(old, by string) string {
		l := slices.Clone(lines)
		if l[at] = strings.Replace(l[at], old, by, 1); l[at] == lines[at] {
			t.Fatalf("no %s in %s", old, l[at])
		}
		return sign(l)
	}
	for name, tt := range map[string]struct {
		text string
	}{
		"a version that the store has not reached": {replace(`"version":11,`, `"version":12,`)},
		"a name that no store takes":               {replace(`"name":"Deposited"`, `"name":"Depo\nsited"`)},
		"a tag that no store takes":                {replace(`,"timestamp"`, `,"tags":["a","b\nc"],"timestamp"`)},
		"a tag twice":                              {replace(`,"timestamp"`, `,"tags":["a","b","a"],"timestamp"`)},
		"a position left out":                      {replace(`"position":10500`, `"position":10501`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ex := memory.New(nil)
			_, err := transfer.Import(t.Context(), ex, strings.NewReader(tt.text), transfer.ImportOptions{})
			if !errors.Is(err, evento.ErrInvalid) || !strings.HasPrefix(err.Error(), "line 10501: ") {
				t.Errorf("Import() = %v, want %v and line 10501", err, evento.ErrInvalid)
			}
			if got := len(linesOf(export(t, ex, transfer.ExportOptions{}))) - 2; got != 10_000 {
				t.Errorf("%d events are there, want 10000", got)
			}
		})
	}
	t.Run("tags that differ from the store's", func(t *testing.T) {
		t.Parallel()
		ex := memory.New(nil)
		take(t, ex, replace(`,"timestamp"`, `,"tags":["a","b"],"timestamp"`), transfer.ImportOptions{})
		for _, text := range []string{sign(lines), replace(`,"timestamp"`, `,"tags":["b","a"],"timestamp"`)} {
			_, err := transfer.Import(t.Context(), ex, strings.NewReader(text), transfer.ImportOptions{Resume: true})
			if !errors.Is(err, evento.ErrInvalid) || !strings.HasPrefix(err.Error(), "line 10501: ") || !strings.Contains(err.Error(), "tags") {
				t.Errorf("Import() = %v, want line 10501 and the field", err)
			}
		}
	})
	t.Run("an event that differs from the store's", func(t *testing.T) {
		t.Parallel()
		ex := memory.New(nil)
		take(t, ex, replace(`"name":"Deposited"`, `"name":"Another"`), transfer.ImportOptions{})
		_, err := transfer.Import(t.Context(), ex, strings.NewReader(sign(lines)), transfer.ImportOptions{Resume: true})
		if !errors.Is(err, evento.ErrInvalid) || !strings.HasPrefix(err.Error(), "line 10501: ") || !strings.Contains(err.Error(), "name") {
			t.Errorf("Import() = %v, want line 10501 and the field", err)
		}
	})
}

// A part of a store is exported, and imported with new positions.
func TestRenumber(t *testing.T) {
	t.Parallel()
	source := memory.New(nil)
	fill(t, source)
	part := export(t, source, transfer.ExportOptions{Query: evento.Query{Filters: []evento.Filter{evento.ByType("bank/Account")}}})
	empty := memory.New(nil)
	if _, err := transfer.Import(t.Context(), empty, strings.NewReader(part), transfer.ImportOptions{}); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "renumber") {
		t.Errorf("Import() of a part = %v, want %v with the remedy", err, evento.ErrInvalid)
	}
	p := take(t, empty, part, transfer.ImportOptions{Renumber: true})
	if p.Events != 100 {
		t.Errorf("Import() = %+v, want 100 events", p)
	}
	got := linesOf(export(t, empty, transfer.ExportOptions{}))
	for i, line := range linesOf(part) {
		if i == 0 || i == 101 {
			continue
		}
		_, rest, _ := strings.Cut(line, ",")
		if want := fmt.Sprintf("{\"position\":%d,%s", i, rest); got[i] != want {
			t.Fatalf("got %s, want %s", got[i], want)
		}
	}

	// After the store's own events; again, and after half of it: the result is the
	// same.
	ahead := many(t, 10)
	take(t, ahead, part, transfer.ImportOptions{Renumber: true})
	whole := export(t, ahead, transfer.ExportOptions{})
	if p := take(t, ahead, part, transfer.ImportOptions{Renumber: true}); p.Skipped != 100 {
		t.Errorf("Import() again = %+v, want 100 events that were there", p)
	}
	same(t, export(t, ahead, transfer.ExportOptions{}), whole)
	half := many(t, 10)
	same(t, export(t, half, transfer.ExportOptions{After: 10}), export(t, memory.New(nil), transfer.ExportOptions{}))
	take(t, half, sign(append(slices.Clone(linesOf(part)[:51]), "")), transfer.ImportOptions{Renumber: true})
	if p := take(t, half, part, transfer.ImportOptions{Renumber: true}); p.Skipped != 50 {
		t.Errorf("Import() of the rest = %+v, want 50 events that were there", p)
	}
}

// In a group, positions are those of its members.
func TestGroupAsSource(t *testing.T) {
	t.Parallel()
	first, second := memory.New(nil), memory.New(nil)
	fill(t, first)
	fillOther(t, second)
	text := export(t, group.New(first, second), transfer.ExportOptions{})
	target := memory.New(nil)
	if _, err := transfer.Import(t.Context(), target, strings.NewReader(text), transfer.ImportOptions{}); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("Import() = %v, want %v", err, evento.ErrInvalid)
	}
	if p := take(t, memory.New(nil), text, transfer.ImportOptions{Renumber: true}); p.Events != 126 {
		t.Errorf("Import() = %+v, want 126 events", p)
	}
	if _, err := transfer.Export(t.Context(), group.New(first, second), io.Discard, transfer.ExportOptions{After: 3}); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("Export() of a group after a position = %v, want %v", err, evento.ErrInvalid)
	}
}

func fillOther(t *testing.T, ex evento.Executor) {
	t.Helper()
	if _, err := ex.Write(t.Context(), evento.Write{Appends: []evento.Append{{
		AggregateType: "other", AggregateID: "other", Events: []evento.NewEvent{{ID: evento.NewID(), Name: "Made", Codec: "raw"}},
	}}}); err != nil {
		t.Fatal(err)
	}
}

// One export continues another.
func TestAfter(t *testing.T) {
	t.Parallel()
	source, target := many(t, 100), memory.New(nil)
	all := linesOf(export(t, source, transfer.ExportOptions{}))
	take(t, target, sign(append(slices.Clone(all[:41]), "")), transfer.ImportOptions{})
	rest := export(t, source, transfer.ExportOptions{After: 40})
	same(t, rest, sign(append(append([]string{all[0]}, all[41:101]...), "")))
	if p := take(t, target, rest, transfer.ImportOptions{}); p.Events != 60 || p.Skipped != 0 {
		t.Errorf("Import() = %+v, want 60 events", p)
	}
	same(t, export(t, target, transfer.ExportOptions{}), export(t, source, transfer.ExportOptions{}))
	if got := export(t, source, transfer.ExportOptions{After: 100}); len(linesOf(got)) != 2 {
		t.Errorf("Export() after the end = %q, want no events", got)
	}
	for ex, after := range map[evento.Executor]uint64{source: 101, memory.New(nil): 1} {
		if _, err := transfer.Export(t.Context(), ex, io.Discard, transfer.ExportOptions{After: after}); err == nil {
			t.Errorf("Export() after %d of a store that is not there yet: no error", after)
		}
	}
	// The events before are missing.
	if _, err := transfer.Import(t.Context(), memory.New(nil), strings.NewReader(rest), transfer.ImportOptions{}); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "41") {
		t.Errorf("Import() of the rest alone = %v, want %v", err, evento.ErrInvalid)
	}
}

func TestStopped(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	source := many(t, 3)
	if _, err := transfer.Export(ended, source, io.Discard, transfer.ExportOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Export() = %v, want %v", err, context.Canceled)
	}
	text := export(t, source, transfer.ExportOptions{})
	if _, err := transfer.Import(ended, memory.New(nil), strings.NewReader(text), transfer.ImportOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Import() = %v, want %v", err, context.Canceled)
	}
	if err := transfer.Verify(t.Context(), struct {
		io.Reader
		io.Seeker
	}{iotest.ErrReader(io.ErrClosedPipe), strings.NewReader("")}, transfer.ImportOptions{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Verify() = %v, want %v", err, io.ErrClosedPipe)
	}
	full := errors.New("the disk is full")
	if _, err := transfer.Export(t.Context(), source, writerOf(full), transfer.ExportOptions{}); !errors.Is(err, full) {
		t.Errorf("Export() = %v, want %v", err, full)
	}
	if _, err := transfer.Import(t.Context(), struct{ evento.Executor }{memory.New(nil)}, strings.NewReader(text), transfer.ImportOptions{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Import() to an executor that is no Importer = %v, want %v", err, errors.ErrUnsupported)
	}
}

func writerOf(err error) io.Writer { return failing{err} }

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
