package browser

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// axe is axe-core, which checks pages for what keeps people out
// (https://github.com/dequelabs/axe-core).
//
//go:embed testdata/axe/axe.min.js
var axe string

// patience is how long a test may take in all.
const patience = 2 * time.Minute

// browser starts the program that the tests share, and returns a context for new pages.
var browser = sync.OnceValues(func() (context.Context, error) {
	var program string
	var err error
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if program, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.Flag("disable-dev-shm-usage", true))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancelPage := chromedp.NewContext(ctx)
	ended = func() { cancelPage(); cancel() }
	return ctx, chromedp.Do(ctx)
})

var ended = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	ended()
	built()
	os.Exit(code)
}

// tab is a page of the browser.
type tab struct {
	context.Context
	t      *testing.T
	size   size
	clicks int         // that were made with click
	cut    atomic.Bool // its connections are cut, which the browser logs as errors
}

// seen says to a page that it is seen, or that it is not.
func (p *tab) seen(is bool) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`Object.defineProperty(document, "hidden", {value: %t, configurable: true}) && document.dispatchEvent(new Event("visibilitychange"))`, !is))
}

// missing is the path of a page that there is not.
const missing = "nothing-is-here"

// isRefused reports whether a page has a status that the browser logs as an error.
func isRefused(address string) bool {
	return strings.HasSuffix(address, "/"+missing) || strings.HasSuffix(address, "/withdraw")
}

// size is that of a window, and how it looks.
type size struct {
	width, height int64
	dark          bool
}

var (
	wide   = size{1440, 900, false}
	narrow = size{390, 844, false}
	night  = size{1440, 900, true}
)

// needBrowser returns the browser, without which a test is skipped, and fails where CI is set.
func needBrowser(t *testing.T) context.Context {
	t.Helper()
	ctx, err := browser()
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatalf("there is no browser: %v", err)
	case err != nil:
		t.Skipf("there is no browser: %v", err)
	}
	return ctx
}

// open opens a page in a tab of its own. Errors that it says in its console, and requests to
// anything but its own server, fail the test. A browser has six connections to a server, and a
// live page keeps one: a test looks at pages one after the other in a tab.
func open(t *testing.T, address string, s size) *tab {
	t.Helper()
	parent := needBrowser(t)
	ctx, cancel := chromedp.NewContext(parent)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // else what bounds the page would bound the tab
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	own, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p := &tab{Context: ctx, t: t, size: s}
	err = chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if u, err := url.Parse(e.Request.URL); err != nil || u.Host != own.Host && u.Scheme != "data" {
				t.Errorf("%s asks for %s", address, e.Request.URL)
			}
		case *runtime.EventExceptionThrown:
			t.Errorf("%s: %s", address, e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError && !isRefused(e.Entry.URL) && !p.cut.Load() {
				t.Errorf("%s: %s %s", address, e.Entry.Text, e.Entry.URL)
			}
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError {
				t.Errorf("%s: console.error", address)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	scheme := "light"
	if s.dark {
		scheme = "dark"
	}
	p.do("opening "+address,
		command(log.Enable, cdp.Empty{}), command(network.Enable, network.EnableParams{}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}),
		chromedp.EmulateViewport(s.width, s.height),
		chromedp.Navigate(address))
	return p
}

// visit opens another page in the tab.
func (p *tab) visit(address string) {
	p.t.Helper()
	p.do("opening "+address, chromedp.Navigate(address))
}

// back goes back to the page before.
func (p *tab) back() {
	p.t.Helper()
	p.do("going back", chromedp.NavigateBack())
}

// withoutScripts turns off the scripts of pages from the next one on. The debugger's still run.
func (p *tab) withoutScripts() {
	p.t.Helper()
	p.do("turning scripts off", command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
}

// command is a command of the protocol as an action.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// do does things in a page.
func (p *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p, actions...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// eval returns what a script does.
func eval[V any](p *tab, script string) V {
	p.t.Helper()
	v, err := chromedp.Run(p, chromedp.Evaluate[V](script, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", script, err)
	}
	return v
}

// text is what a page shows.
func (p *tab) text() string { return eval[string](p, `document.body.innerText`) }

// until waits until a script says true.
func (p *tab) until(what, script string) {
	p.t.Helper()
	for end := time.After(patience / 3); ; {
		// A page that is being left gives an error.
		if is, err := chromedp.Run(p, chromedp.Evaluate[bool](script)); err == nil && is {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-end:
			p.t.Fatalf("%s: %s says\n%s", what, eval[string](p, "location.href"), p.text())
		}
	}
}

// becomes loads a page again until it shows a text.
func (p *tab) becomes(text string) {
	p.t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		p.t.Fatal(err)
	}
	for end := time.After(patience / 3); ; {
		if eval[bool](p, `document.body.innerText.includes(`+string(quoted)+`)`) {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-end:
			p.t.Fatalf("waiting for %s: the page says\n%s", text, p.text())
		}
		p.do("loading the page again", chromedp.Reload())
	}
}

// click clicks on the first link or button that begins with a text, and waits for the page that
// follows.
func (p *tab) click(text string) {
	p.t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		p.t.Fatal(err)
	}
	// By its place: a part of the page may be replaced by a newer one at any moment.
	at := eval[[]float64](p, `(() => {
		const e = [...document.querySelectorAll("main a, main button, nav a, [popover] button")].find((e) => e.checkVisibility() && e.textContent.trim().startsWith(`+string(quoted)+`));
		if (!e) return [];
		e.scrollIntoView({block: "center"});
		const box = e.getClientRects()[0];
		return [box.x + box.width / 2, box.y + box.height / 2];
	})()`)
	if len(at) == 0 {
		p.t.Fatalf("there is nothing to click that begins with %q; the page says\n%s", text, p.text())
	}
	p.do("clicking "+text, chromedp.MouseClickXY(at[0], at[1]), chromedp.WaitReady("main"))
	p.clicks++
}

// says checks that a page shows texts, as soon as it does.
func (p *tab) says(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		quoted, err := json.Marshal(text)
		if err != nil {
			p.t.Fatal(err)
		}
		p.until("waiting for "+text, `document.body !== null && document.body.innerText.includes(`+string(quoted)+`)`)
	}
}

// check looks for what keeps people out, and for what does not fit into the window. In the dark
// only colours are other ones.
func (p *tab) check() {
	p.t.Helper()
	at := eval[string](p, `location.href`)
	if over := eval[int](p, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		p.t.Errorf("%s is %d pixels wider than the window", at, over)
	}
	// The policy of the page forbids scripts of others, but not those of the debugger.
	if _, err := chromedp.Run(p, chromedp.Evaluate[chromedp.Void](axe)); err != nil {
		p.t.Fatalf("loading axe: %v", err)
	}
	type violation struct {
		ID, Help string
		Nodes    []struct{ HTML string }
	}
	rules := `{rules: {"target-size": {enabled: true}}}` // which it leaves out by itself
	if p.size.dark {
		rules = `{runOnly: ["color-contrast"]}`
	}
	for _, v := range eval[[]violation](p, `axe.run(document, `+rules+`).then((r) => r.violations.map((v) => ({ID: v.id, Help: v.help, Nodes: v.nodes.slice(0, 3).map((n) => ({HTML: n.html.slice(0, 200)}))})))`) {
		var where []string
		for _, n := range v.Nodes {
			where = append(where, n.HTML)
		}
		p.t.Errorf("%s: %s: %s: %s", at, v.ID, v.Help, strings.Join(where, " | "))
	}
}
