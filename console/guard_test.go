package console_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/console"
	"github.com/evento-go/evento/executor/memory"
)

// newStore is an empty store.
func newStore(t *testing.T) evento.Executor {
	t.Helper()
	ex := memory.New(nil)
	t.Cleanup(func() { _ = ex.Close() })
	return ex
}

// serve serves a console under /console/, as a program would mount it.
func serve(t *testing.T, ex evento.Executor, o console.Options) *httptest.Server {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	handler, err := console.Handler(ex, &o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/console/", http.StripPrefix("/console", handler))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// all lets everybody do everything.
func all(*http.Request, console.Action) bool { return true }

// get reads a page, given by what is behind the console's root.
func get(t *testing.T, server *httptest.Server, path string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/console/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, request)
}

func do(t *testing.T, request *http.Request) (status int, body string) {
	t.Helper()
	response, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") || strings.Contains(got, "unsafe") {
		t.Errorf("%s: the policy is %q", request.URL, got)
	}
	return response.StatusCode, string(text)
}

// says checks that a page has texts.
func says(t *testing.T, what, body string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(body, text) {
			t.Errorf("%s does not say %q:\n%s", what, text, body)
		}
	}
}

func commit(t *testing.T, ex evento.Executor, aggregate string, events ...evento.NewEvent) {
	t.Helper()
	w := evento.Write{Appends: []evento.Append{{AggregateType: "bank/Account", AggregateID: aggregate, AnyVersion: true, Events: events}}}
	if _, err := ex.Write(context.WithoutCancel(t.Context()), w); err != nil {
		t.Fatal(err)
	}
}

func happened(name, json string) evento.NewEvent {
	return evento.NewEvent{ID: evento.NewID(), Name: name, Codec: "json", Data: []byte(json)}
}

// Who may not look sees nothing, and a change needs a page of the console that has asked for it.
func TestGuard(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, "a", happened("Opened", `{}`))
	nobody := serve(t, ex, console.Options{Allow: func(*http.Request, console.Action) bool { return false }})
	for _, path := range []string{"", "events", "events/1", "subscriptions", "doctor", "stream", "nothing"} {
		if status, body := get(t, nobody, path); status != http.StatusForbidden || strings.Contains(body, "Opened") {
			t.Errorf("nobody may look at %q: status %d", path, status)
		}
	}
	server := serve(t, ex, console.Options{Allow: all})
	post := func(origin, site, cookie, token string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/console/doctor", strings.NewReader(url.Values{"token": {token}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for name, value := range map[string]string{"Origin": origin, "Sec-Fetch-Site": site, "Cookie": cookie} {
			if value != "" {
				request.Header.Set(name, value)
			}
		}
		status, _ := do(t, request)
		return status
	}
	token := strings.Repeat("x", 43)
	cookie := "evento_console=" + token
	for _, c := range []struct{ name, origin, site, cookie, token string }{
		{"without a token", "", "", cookie, ""},
		{"without a cookie", "", "", "", token},
		{"with another token", "", "", cookie, strings.Repeat("y", 43)},
		{"with empty ones", "", "", "evento_console=", ""},
		{"from another site", "https://evil.example", "", cookie, token},
		{"from no site", "null", "", cookie, token},
		{"from a page elsewhere", "", "cross-site", cookie, token},
		{"from another host of the site", "", "same-site", cookie, token},
	} {
		if got := post(c.origin, c.site, c.cookie, c.token); got != http.StatusForbidden {
			t.Errorf("%s: status %d", c.name, got)
		}
	}
	if got := post(server.URL, "same-origin", cookie, token); got == http.StatusForbidden {
		t.Error("from a page of the console: it is refused")
	}
	if got := post("https://console.example", "same-origin", cookie, token); got == http.StatusForbidden {
		t.Error("from a page of the console, behind a proxy that names another host: it is refused")
	}
}

// Who may not look sees nothing of the store, not even what it is called or how it is.
func TestNothingIsSaidToWhoMayNotLook(t *testing.T) {
	t.Parallel()
	may := true
	d := newDesk(t, &console.Options{Store: "postgres://ledger.internal/bank"})
	d.allowed = func(console.Action) bool { return may }
	d.parks(errors.New("no"))
	has(t, d.page(""), "postgres://ledger.internal/bank", "1 problem")
	may = false
	for _, path := range []string{"", "events/1", "go?q=1", "assets/console.js"} {
		a := d.get(path)
		if a.status != http.StatusForbidden {
			t.Errorf("%q: status %d", path, a.status)
		}
		without(t, a.text, "ledger", "need attention", "token")
	}
}

// Behind TLS no other host of the site can set the token.
func TestTokenBehindTLS(t *testing.T) {
	t.Parallel()
	handler, err := console.Handler(newStore(t), &console.Options{Allow: all, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	send := func(method, cookie, token string) (status int, cookies []*http.Cookie) {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/doctor", strings.NewReader(url.Values{"token": {token}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Cookie", cookie)
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		return response.StatusCode, response.Cookies()
	}
	_, cookies := send(http.MethodGet, "", "")
	if len(cookies) != 1 || cookies[0].Name != "__Host-evento_console" || !cookies[0].Secure || cookies[0].Path != "/" || cookies[0].Domain != "" {
		t.Fatalf("the cookies are %v", cookies)
	}
	token := cookies[0].Value
	if got, _ := send(http.MethodPost, "evento_console="+token, token); got != http.StatusForbidden {
		t.Errorf("with a cookie that another host can set: status %d", got)
	}
	if got, _ := send(http.MethodPost, cookies[0].Name+"="+token, token); got == http.StatusForbidden {
		t.Error("with its own cookie: it is refused")
	}
}

// A console on one machine alone is not reached by the names of other sites.
func TestLoopback(t *testing.T) {
	t.Parallel()
	handler := console.Loopback(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	for host, want := range map[string]int{
		"localhost": 200, "localhost:80": 200, "127.0.0.1:8080": 200, "127.9.9.9": 200, "[::1]:80": 200, "[::1]": 200,
		"evil.example": 421, "evil.example:80": 421, "10.0.0.1:80": 421, "": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:80": 421,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		if handler.ServeHTTP(w, r); w.Code != want {
			t.Errorf("host %q: status %d, want %d", host, w.Code, want)
		}
	}
}

// Only a form of the console changes something, whatever else a request has.
func TestOnlyFormsChange(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.place("a", 1)
	if err := d.execute(mailer("m", never)); err != nil {
		t.Fatal(err)
	}
	token := d.token()
	form := url.Values{"token": {token}}.Encode()
	for _, c := range []struct{ method, path, kind, body string }{
		{http.MethodGet, "subscriptions/m/pause?token=" + token, "", ""},
		{http.MethodGet, "subscriptions/m/pause?_method=POST&token=" + token, "application/x-www-form-urlencoded", form},
		{http.MethodHead, "subscriptions/m/pause?token=" + token, "", ""},
		{http.MethodOptions, "subscriptions/m/pause?token=" + token, "", ""},
		{http.MethodPut, "subscriptions/m/pause", "application/x-www-form-urlencoded", form},
		{http.MethodPatch, "subscriptions/m/pause", "application/x-www-form-urlencoded", form},
		{http.MethodDelete, "subscriptions/m/pause", "application/x-www-form-urlencoded", form},
		{"post", "subscriptions/m/pause", "application/x-www-form-urlencoded", form},
		{http.MethodPost, "subscriptions/m/pause?token=" + token, "application/x-www-form-urlencoded", ""},
		{http.MethodPost, "subscriptions/m/pause", "text/plain", form},
		{http.MethodPost, "subscriptions/m/pause", "application/json", `{"token":"` + token + `"}`},
		{http.MethodPost, "subscriptions/m/pause", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n" + token + "\r\n--x--\r\n"},
		{http.MethodPost, "subscriptions/m/pause", "", form},
		{http.MethodPost, "subscriptions/m/pause", "application/x-www-form-urlencoded", form + "&x=" + strings.Repeat("x", 1<<20)},
		{http.MethodPost, "subscriptions/m/pause", "application/x-www-form-urlencoded", form + "&x=%zz"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, d.at+c.path, strings.NewReader(c.body))
		if err == nil && c.kind != "" {
			r.Header.Set("Content-Type", c.kind)
		}
		if err == nil {
			r.Header.Set("X-Http-Method-Override", "POST")
		}
		if a := d.do(r, err); a.status < 400 {
			t.Errorf("%+v: status %d", c, a.status)
		}
		if s := d.status().State(); s == evento.SubscriptionPaused {
			t.Fatalf("%+v has paused it", c)
		}
	}
	for _, path := range []string{"assets/", "assets/%2e", "assets/%2e%2e%2ftemplates%2fbase.html", "assets/..%5ctemplates"} {
		if a := d.get(path); a.status < 400 {
			t.Errorf("%s: status %d", path, a.status)
		}
	}
	if a := d.post("subscriptions/m/pause", nil); a.status != http.StatusSeeOther {
		t.Errorf("the form: status %d", a.status)
	}
}
