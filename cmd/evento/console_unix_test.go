//go:build unix

package main

import (
	"bufio"
	"bytes"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// serving starts a console, and returns its address and what it writes to its standard error.
func serving(t *testing.T, args ...string) (cmd *exec.Cmd, address string, stderr *bytes.Buffer) {
	t.Helper()
	cmd = program(t, t.TempDir(), append([]string{"console"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr = &bytes.Buffer{}
	cmd.Stderr = stderr
	start(t, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	found := regexp.MustCompile(`^The console of .* is at (http://127\.0\.0\.1:[0-9]+/)\n$`).FindStringSubmatch(line)
	if err != nil || found == nil {
		_ = cmd.Wait()
		t.Fatalf("it says %q, %v, and %s", line, err, stderr)
	}
	return cmd, found[1], stderr
}

// visitor is a browser.
type visitor struct {
	t      *testing.T
	client *http.Client
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, &http.Client{Jar: jar}}
}

// load returns the status of a page and its text.
func (v *visitor) load(method, address string, form url.Values) (int, string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		v.t.Fatal(err)
	}
	return resp.StatusCode, html.UnescapeString(string(text))
}

// token is that of the forms.
func (v *visitor) token(address string) url.Values {
	v.t.Helper()
	_, page := v.load(http.MethodGet, address+"doctor", nil)
	found := regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(page)
	if found == nil {
		v.t.Fatalf("there is no token: %s", page)
	}
	return url.Values{"token": {found[1]}}
}

// The console serves every kind of store, with the doctor of the command, and ends in order.
func TestConsole(t *testing.T) {
	t.Parallel()
	for kind, newStore := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			if err := fill(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			cmd, address, stderr := serving(t, "--store", store)
			v := newVisitor(t)
			if status, page := v.load(http.MethodGet, address+"subscriptions", nil); status != http.StatusOK || !strings.Contains(page, "mailer") || strings.Contains(page, `method="post"`) {
				t.Errorf("subscriptions: %d: %s", status, page)
			}
			form := v.token(address)
			if status, page := v.load(http.MethodPost, address+"subscriptions/mailer/pause", form); status != http.StatusForbidden {
				t.Errorf("a pause without --allow-changes: %d: %s", status, page)
			}
			if status, page := v.load(http.MethodPost, address+"doctor", form); status != http.StatusOK || !strings.Contains(page, "stuck") || !strings.Contains(page, "events are parked") || strings.Contains(page, "could not") {
				t.Errorf("the doctor: %d: %s", status, page)
			}
			send(t, cmd, syscall.SIGINT)
			interrupted(t, cmd)
			if stderr.Len() > 0 {
				t.Errorf("it says %s", stderr)
			}
		})
	}
}

func TestConsoleAllowsChanges(t *testing.T) {
	t.Parallel()
	for kind, newStore := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			if err := fill(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			cmd, address, _ := serving(t, "--store", store, "--allow-changes", "--listen", "127.0.0.1:0")
			v := newVisitor(t)
			form := v.token(address)
			if status, page := v.load(http.MethodPost, address+"subscriptions/mailer/pause", form); status != http.StatusOK || !strings.Contains(page, "It is paused.") {
				t.Errorf("a pause: %d: %s", status, page)
			}
			if status, page := v.load(http.MethodPost, address+"doctor", form); status != http.StatusOK || !strings.Contains(page, "it is paused") {
				t.Errorf("the doctor: %d: %s", status, page)
			}
			send(t, cmd, syscall.SIGTERM)
			interrupted(t, cmd)
		})
	}
}

// It is reached on this machine alone, and by its names alone.
func TestConsoleIsOfThisMachine(t *testing.T) {
	t.Parallel()
	store := large(t)
	for _, listen := range []string{"0.0.0.0:1", ":1", "[::]:1", "example.org:1", "1", "192.0.2.1:80"} {
		code, out, errs := ended(t, program(t, t.TempDir(), "console", "--store", store, "--listen", listen))
		if code != exitUsage || out != "" || !strings.Contains(errs, "--listen") {
			t.Errorf("--listen %s: exit code %d, %s%s", listen, code, out, errs)
		}
	}
	if code, _, errs := ended(t, program(t, t.TempDir(), "console", "--store", "missing.db")); code != exitFailed || !strings.Contains(errs, "there is no such store") {
		t.Errorf("no store: exit code %d, %s", code, errs)
	}
	_, address, _ := serving(t, "--store", store)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "elsewhere.example"
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("by another name: status %d", resp.StatusCode)
	}
}
