package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/examples/bank/bank"
	"github.com/evento-go/evento/executor/memory"
)

// asProgram runs the test binary as the program, for tests that send it signals.
const asProgram = "BANK_WEB_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site is a running bank.
type site struct {
	t     *testing.T
	store *store
	url   string
}

// start starts a bank without accounts.
func start(t *testing.T) *site {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s, err := openStore(t.Context(), filepath.Join(t.TempDir(), "bank.db"), &telemetry{}, quiet)
	must(t, err)
	listener, err := listen(t.Context(), "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, listener, 0) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
		must(t, s.close())
	})
	return &site{t: t, store: s, url: "http://" + listener.Addr().String()}
}

// opened starts a bank with account 1, of Ann, and account 2, of Ben, each with 100.00.
func opened(t *testing.T) *site {
	t.Helper()
	s := start(t)
	now := time.Now()
	for number, owner := range map[string]string{"1": "Ann", "2": "Ben"} {
		must(t, s.store.bank.Open(t.Context(), number, owner, now))
		must(t, s.store.bank.Deposit(t.Context(), number, 100_00, now))
	}
	s.settled()
	return s
}

// settled waits until the subscriptions have handled everything.
func (s *site) settled() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for _, key := range []string{"bank-transfers", "bank-balances"} {
		page, err := s.store.events.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
		must(s.t, err)
		must(s.t, evento.WaitFor(ctx, s.store.events, key, page.Edges[0].Node.Position))
	}
}

// browser does not follow redirects.
var browser = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// send sends a request, wants a status, and returns the header and the page.
func (s *site) send(want int, r *http.Request) (http.Header, string) {
	s.t.Helper()
	answer, err := browser.Do(r)
	must(s.t, err)
	body, err := io.ReadAll(answer.Body)
	must(s.t, err)
	must(s.t, answer.Body.Close())
	if answer.StatusCode != want {
		s.t.Fatalf("%s %s: status %d, want %d\n%s", r.Method, r.URL, answer.StatusCode, want, body)
	}
	return answer.Header, string(body)
}

func (s *site) get(want int, path string) string {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	must(s.t, err)
	_, body := s.send(want, r)
	return body
}

// postOf makes the request of a form.
func (s *site) postOf(path string, form url.Values) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+path, strings.NewReader(form.Encode()))
	must(s.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r
}

// post sends a form, and returns where it leads to and the page.
func (s *site) post(want int, path string, form url.Values) (location, body string) {
	s.t.Helper()
	header, body := s.send(want, s.postOf(path, form))
	return header.Get("Location"), body
}

// form is a form of a page, as a browser would send it.
func (s *site) form(page, action string, typed ...string) url.Values {
	s.t.Helper()
	_, after, found := strings.Cut(page, `action="`+action+`"`)
	key := regexp.MustCompile(`name="request" value="([^"]+)"`).FindStringSubmatch(after)
	if !found || key == nil {
		s.t.Fatalf("there is no form %s in\n%s", action, page)
	}
	values := url.Values{"request": {key[1]}}
	for i := 0; i < len(typed); i += 2 {
		values.Set(typed[i], typed[i+1])
	}
	return values
}

func (s *site) balance(number string) string {
	s.t.Helper()
	acc, err := s.store.bank.Load(s.t.Context(), number)
	must(s.t, err)
	return acc.State.Balance.String()
}

func (s *site) wantBalance(number, want string) {
	s.t.Helper()
	if got := s.balance(number); got != want {
		s.t.Errorf("account %s has %s, want %s", number, got, want)
	}
}

func wantText(t *testing.T, page string, texts ...string) {
	t.Helper()
	page = html.UnescapeString(page)
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("there is no %q in\n%s", text, page[max(strings.Index(page, "<main"), 0):])
		}
	}
}

// Pages answer, and a browser is told to run nothing but what the bank serves.
func TestPages(t *testing.T) {
	t.Parallel()
	s := opened(t)
	must(t, s.store.bank.Send(t.Context(), "T", "1", "2", 5_00, time.Now()))
	s.settled()
	inline := regexp.MustCompile(`<script(?:>| [^>]*>[^<])|<style| style=| on[a-z]+=|javascript:`)
	for path, status := range map[string]int{
		"/": 200, "/accounts/1": 200, "/accounts/1?version=1": 200, "/transfers/T": 200, "/assets/bank.css": 200, "/assets/bank.js": 200, "/assets/": 404, "/assets/%2e%2e%2ftemplates%2fbase.html": 400,
		"/accounts/3": 404, "/accounts/1?version=99": 404, "/accounts/1?version=0": 404, "/accounts/1?version=x": 404, "/accounts/~x": 404,
		"/accounts/1?time=2020-01-01T00:00": 404, "/accounts/1?time=noon": 400, "/accounts/1?after=x": 400, "/accounts/1?before=x": 400, "/?after=x": 400,
		"/transfers/none": 404, "/transfers/" + strings.Repeat("x", 5000): 404, "/nothing": 404, "/live?account=" + strings.Repeat("&account=", 100): 400,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		must(t, err)
		header, body := s.send(status, r)
		policy := header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if !strings.HasPrefix(path, "/assets/bank") && inline.MatchString(body) {
			t.Errorf("%s has %q", path, inline.FindString(body))
		}
	}
	wantText(t, s.get(200, "/"), "Ann", "Ben", "95.00", "105.00")
	wantText(t, s.get(200, "/console/"), "the bank")
	wantText(t, s.get(200, "/console/events"), "TransferSent")
	wantText(t, s.get(200, "/console/aggregates/bank%2FAccount/"+bank.AccountID("1")), `"Owner":</span> "Ann"`)
}

// A form that is sent twice asks for one thing.
func TestFormSentTwice(t *testing.T) {
	t.Parallel()
	s := opened(t)
	page := s.get(200, "/accounts/1")
	for _, action := range []string{"deposit", "withdraw", "transfer"} {
		form := s.form(page, "/accounts/1/"+action, "amount", "7.50", "to", "2")
		first, _ := s.post(303, "/accounts/1/"+action, form)
		again, _ := s.post(303, "/accounts/1/"+action, form)
		if first != again {
			t.Errorf("%s leads to %s, and sent again to %s", action, first, again)
		}
	}
	s.settled()
	s.wantBalance("1", "92.50")
	s.wantBalance("2", "107.50")

	form := s.form(page, "/accounts/1/freeze")
	s.post(303, "/accounts/1/freeze", form)
	s.post(303, "/accounts/1/freeze", form)
	form = s.form(s.get(200, "/"), "/accounts", "number", "3", "owner", "Cem")
	s.post(303, "/accounts", form)
	if location, _ := s.post(303, "/accounts", form); location != "/accounts/3" {
		t.Errorf("opening an account leads to %s", location)
	}
}

// A form that comes again with other values, as after going back, is no new request by itself.
func TestFormSentAgainWithOtherValues(t *testing.T) {
	t.Parallel()
	s := opened(t)
	form := s.form(s.get(200, "/accounts/1"), "/accounts/1/deposit", "amount", "5")
	s.post(303, "/accounts/1/deposit", form)
	form.Set("amount", "6")
	_, page := s.post(422, "/accounts/1/deposit", form)
	wantText(t, page, "This was sent before, with other values: nothing was done now.", `value="6"`)
	s.wantBalance("1", "105.00")
	s.post(303, "/accounts/1/deposit", s.form(page, "/accounts/1/deposit", "amount", "6"))
	s.wantBalance("1", "111.00")
}

// What the bank refuses is said beside the form, which keeps what was typed. The same form may
// be sent again then.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := opened(t)
	for _, tt := range []struct{ path, field, typed, to, want string }{
		{"/accounts/1/withdraw", "amount", "100.01", "", "Account 1 has 100.00 to spend, not 100.01."},
		{"/accounts/1/withdraw", "amount", "ten", "", "Amount ten is not a decimal with at most two places."},
		{"/accounts/1/withdraw", "amount", "", "", `Amount "" is not a decimal with at most two places.`},
		{"/accounts/1/deposit", "amount", "0", "", "Account 1 takes only amounts above zero."},
		{"/accounts/1/transfer", "amount", "5", "1", "Account 1 cannot transfer to itself."},
		{"/accounts/1/transfer", "amount", "5", "", "A transfer needs an account to which it goes."},
		{"/accounts/1/transfer", "amount", "5", "\xff", "This is not text in UTF-8."},
		{"/accounts", "number", "1", "", "Account 1 exists already."},
		{"/accounts", "number", "7", "", "Account 7 needs an owner."},
	} {
		at := "/accounts/1"
		if tt.path == "/accounts" {
			at = "/"
		}
		form := s.form(s.get(200, at), tt.path, tt.field, tt.typed, "to", tt.to)
		_, page := s.post(422, tt.path, form)
		_, beside, _ := strings.Cut(page, `action="`+tt.path+`"`)
		beside, _, _ = strings.Cut(beside, "</form>")
		wantText(t, beside, tt.want, fmt.Sprintf("value=%q", tt.typed), form.Get("request"))
		if strings.Count(page, `role="alert"`) != 1 {
			t.Errorf("%s: the error is not beside one form", tt.path)
		}
	}
	form := s.form(s.get(200, "/accounts/1"), "/accounts/1/withdraw", "amount", "101")
	s.post(422, "/accounts/1/withdraw", form)
	form.Set("amount", "99")
	s.post(303, "/accounts/1/withdraw", form)
	s.wantBalance("1", "1.00")

	s.post(400, "/accounts/1/withdraw", url.Values{"amount": {"1"}})
	s.post(404, "/accounts/1/rob", form)
	s.post(404, "/accounts/9/deposit", form)
	form.Set("amount", strings.Repeat("9", mostForm))
	s.post(400, "/accounts/1/deposit", form)
}

// A page of another site cannot use the bank.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	s := opened(t)
	form := s.form(s.get(200, "/accounts/1"), "/accounts/1/withdraw", "amount", "5")
	for name, change := range map[string]func(*http.Request){
		"by its origin":       func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "https://evil.example") },
		"by what it is":       func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"by a sister domain":  func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"by an unknown frame": func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "null") },
	} {
		r := s.postOf("/accounts/1/withdraw", form)
		change(r)
		if _, body := s.send(403, r); !strings.Contains(body, "another site") {
			t.Errorf("%s: %q", name, body)
		}
	}
	r := s.postOf("/accounts/1/withdraw", form)
	r.Host = "evil.example" // a name that leads to this machine
	s.send(421, r)
	s.wantBalance("1", "100.00")
}

// An account is shown as it was at a version, and at a time.
func TestAsItWas(t *testing.T) {
	t.Parallel()
	s := opened(t)
	ctx, b := t.Context(), s.store.bank
	must(t, b.Withdraw(ctx, "1", 30_00, time.Now()))
	page, err := s.store.events.Read(ctx, evento.Query{Filters: []evento.Filter{bank.AccountFilter(bank.AccountID("1"))}}, cursor.Backward(1, ""))
	must(t, err)
	stored := page.Edges[0].Node.Timestamp
	must(t, b.Deposit(ctx, "1", 1_00, time.Now()))

	then := s.get(200, "/accounts/1?version=3")
	wantText(t, then, "Account 1 at version 3", "its first 3 events of 4", "Withdrawn.", "-30.00",
		`<td class="num soft">100.00</td>`, "<ins>70.00</ins>", `<td class="num soft">71.00</td>`, "?version=2", "?version=4")
	first := s.get(200, "/accounts/1?version=1")
	wantText(t, first, "The first version", "Opened for Ann")
	wantText(t, s.get(200, "/accounts/1?version=4"), "This is how it is now")
	at := stored.Add(time.Microsecond).Format("2006-01-02T15:04:05.999999")
	wantText(t, s.get(200, "/accounts/1?time="+url.QueryEscape(at)), "As of ", "Account 1 at version 3")
	wantText(t, s.get(404, "/accounts/1?version=5"), "Account 1 has no version 5: it is at version 4.")
	wantText(t, s.get(404, "/accounts/1?time=2020-01-01T00:00"), "Account 1 was not there yet")
}

// A statement is read page by page, both ways, with the balance after each event.
func TestStatementPages(t *testing.T) {
	t.Parallel()
	s := opened(t)
	for range 43 { // with the opening and the first deposit, two pages and a rest
		must(t, s.store.bank.Deposit(t.Context(), "1", 1_00, time.Now()))
	}
	rows := regexp.MustCompile(`\?version=(\d+)" title[^£]*?data-l="Balance">([0-9.]+)<`)
	versions := func(page string) (all []int) {
		for _, m := range rows.FindAllStringSubmatch(page, -1) {
			v, err := strconv.Atoi(m[1])
			must(t, err)
			want := "0.00"
			if v > 1 {
				want = fmt.Sprintf("%d.00", 100+v-2)
			}
			if m[2] != want {
				t.Errorf("at version %d the balance is %s, want %s", v, m[2], want)
			}
			all = append(all, v)
		}
		return all
	}
	next := func(page, rel string) string {
		m := regexp.MustCompile(`rel="` + rel + `" href="([^"]+)"`).FindStringSubmatch(page)
		if m == nil {
			return ""
		}
		return html.UnescapeString(m[1])
	}
	var seen []string
	path := "/accounts/1"
	for path != "" {
		page := s.get(200, path)
		seen = append(seen, fmt.Sprint(versions(page)))
		path = next(page, "next")
		if path == "" {
			back := next(page, "prev")
			seen = append(seen, fmt.Sprint(versions(s.get(200, back))))
			seen = append(seen, fmt.Sprint(versions(s.get(200, next(s.get(200, back), "prev")))))
		}
	}
	down := func(from, to int) string {
		var all []int
		for v := from; v >= to; v-- {
			all = append(all, v)
		}
		return fmt.Sprint(all)
	}
	want := []string{down(45, 26), down(25, 6), down(5, 1), down(25, 6), down(45, 26)}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("pages of versions %v, want %v", seen, want)
	}
}

func TestAccountPages(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i := range 25 {
		must(t, s.store.bank.Open(t.Context(), fmt.Sprint(1001+i), "Ann", time.Now()))
	}
	s.settled()
	page := s.get(200, "/")
	more := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(page)
	if more == nil || !strings.Contains(page, ">1020<") || strings.Contains(page, ">1021<") {
		t.Fatalf("the first page has no 20 accounts and a link to the next:\n%s", page)
	}
	page = s.get(200, html.UnescapeString(more[1]))
	wantText(t, page, ">1021<", ">1025<", `rel="prev"`)
}

// A transfer's steps are visible, also of one that comes back.
func TestTransfer(t *testing.T) {
	t.Parallel()
	s := opened(t)
	send := func(to string) string {
		location, _ := s.post(303, "/accounts/1/transfer", s.form(s.get(200, "/accounts/1"), "/accounts/1/transfer", "amount", "10", "to", to))
		s.settled()
		return s.get(200, location)
	}
	arrived := send("2")
	wantText(t, arrived, "Transfer of 10.00", "It has arrived.", "<h2>Sent</h2>", "<h2>Received</h2>", "<h2>Completed</h2>", `/accounts/2?version=3`)
	returned := send("4711")
	wantText(t, returned, "It came back.", "<h2>Sent</h2>", "<h2>Returned</h2>", "account 4711 does not exist")
	for _, page := range []string{arrived, returned} {
		if strings.Contains(page, "http-equiv") {
			t.Error("the page of a transfer that has ended is loaded again")
		}
	}
	s.wantBalance("1", "90.00")
	s.wantBalance("2", "110.00")
	wantText(t, s.get(200, "/accounts/1"), "transfer returned: account 4711 does not exist")
}

// A transfer that no process has handled is on its way, and its page is loaded again.
func TestTransferOnItsWay(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.DiscardHandler)
	s, err := openStore(t.Context(), filepath.Join(t.TempDir(), "bank.db"), &telemetry{}, quiet)
	must(t, err)
	t.Cleanup(func() { must(t, s.close()) })
	must(t, s.bank.Open(t.Context(), "1", "Ann", time.Now()))
	must(t, s.bank.Deposit(t.Context(), "1", 10_00, time.Now()))
	must(t, s.bank.Send(t.Context(), "T", "1", "2", 10_00, time.Now()))
	h, err := s.handler(t.Context(), newLive(s.bank, quiet), false)
	must(t, err)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/transfers/T", nil))
	wantText(t, w.Body.String(), "It is on its way.", `http-equiv="refresh"`)
}

// Numbers and owners may be any text.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	s := start(t)
	const owner = `<script>alert(1)</script>"'&` + "\u202e"
	for _, number := range []string{".", "..", "a/b", "../../etc", "?q#f", "~1", " x", `"><script>alert(1)</script>`, "\x1b[31m", "日本", strings.Repeat("9", 1024), "nul\x00", "%2e%2e"} {
		must(t, s.store.bank.Open(t.Context(), number, owner, time.Now()))
		must(t, s.store.bank.Deposit(t.Context(), number, 5_00, time.Now()))
		page := s.get(200, accountPath(number))
		wantText(t, page, "Account "+bank.Show(number))
		location, _ := s.post(303, accountPath(number)+"/deposit", s.form(page, accountPath(number)+"/deposit", "amount", "1"))
		s.get(200, location+"?version=3")
		s.wantBalance(number, "6.00")
		location, _ = s.post(303, accountPath(number)+"/transfer", s.form(page, accountPath(number)+"/transfer", "amount", "1", "to", "<b>"))
		s.get(200, location)
		s.settled()
		for _, path := range []string{"/", accountPath(number), location, "/console/events"} {
			if page := s.get(200, path); strings.Contains(page, "<script>") || strings.ContainsAny(page, "\u202e\x1b\x00") || strings.Contains(page, "<b>") {
				t.Errorf("%q: %s has markup or control characters of a name", number, path)
			}
		}
	}
}

// listenTo opens a stream, and returns what reads its next state.
func (s *site) listenTo(path string) (next func() string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	must(s.t, err)
	answer, err := http.DefaultClient.Do(r)
	must(s.t, err)
	s.t.Cleanup(func() { _ = answer.Body.Close() })
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		s.t.Fatalf("%s is %s", path, kind)
	}
	lines := bufio.NewScanner(answer.Body)
	return func() string {
		s.t.Helper()
		for lines.Scan() {
			if data, found := strings.CutPrefix(lines.Text(), "data: "); found {
				return data
			}
		}
		s.t.Fatalf("the stream has ended: %v", lines.Err())
		return ""
	}
}

// Open pages are told of new balances: of their accounts, and of no others.
func TestLive(t *testing.T) {
	t.Parallel()
	s := opened(t)
	one, two := "/live?account="+bank.AccountID("1"), "/live?account="+bank.AccountID("2")+"&account=nobody"
	var ofOne []func() string
	for range 20 {
		ofOne = append(ofOne, s.listenTo(one))
	}
	ofTwo := s.listenTo(two)
	for _, next := range append(ofOne, ofTwo) {
		wantText(t, next(), `"version":2`, `"balance":"100.00"`)
	}
	s.post(303, "/accounts/1/deposit", s.form(s.get(200, "/accounts/1"), "/accounts/1/deposit", "amount", "7"))
	for _, next := range ofOne {
		wantText(t, next(), bank.AccountID("1"), `"version":3`, `"balance":"107.00"`, `"status":"open"`)
	}
	must(t, s.store.bank.Freeze(t.Context(), "2", time.Now()))
	wantText(t, ofTwo(), bank.AccountID("2"), `"status":"frozen"`)
}

// counting counts the reads of a store.
type counting struct {
	evento.Executor
	reads atomic.Int64
	first chan struct{} // closed after the first
}

func (c *counting) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if c.reads.Add(1) == 1 {
		defer close(c.first)
	}
	return c.Executor.Read(ctx, q, args)
}

// However many look, the store is read as for one.
func TestManyViewers(t *testing.T) {
	t.Parallel()
	store := memory.New(nil)
	others := bank.New(store)
	must(t, others.Open(t.Context(), "1", "Ann", time.Now()))
	must(t, others.Open(t.Context(), "2", "Ben", time.Now()))
	id := bank.AccountID("1")
	readsFor := func(viewers int) int64 {
		counted := &counting{Executor: store, first: make(chan struct{})}
		l := newLive(bank.New(counted), slog.New(slog.DiscardHandler))
		all := make([]*viewer, viewers)
		for i := range all {
			all[i] = &viewer{watched: []string{id}, news: map[string]*liveState{}, wake: make(chan struct{}, 1)}
			l.join(all[i])
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- l.run(ctx) }()
		<-counted.first // it has found the end of the store
		before := counted.reads.Load()
		for range 20 {
			must(t, others.Deposit(ctx, "1", 1, time.Now()))
			must(t, others.Deposit(ctx, "2", 1, time.Now())) // nobody looks at it
			for _, v := range all {
				<-v.wake
			}
		}
		reads := counted.reads.Load() - before
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		return reads
	}
	if one, many := readsFor(1), readsFor(200); many > 2*one+50 {
		t.Errorf("%d reads with one viewer, %d with 200", one, many)
	}
}

// A viewer that does not read gets the last state when it does, and nothing piles up for it.
func TestSlowViewer(t *testing.T) {
	t.Parallel()
	l := newLive(nil, nil)
	v := &viewer{watched: []string{"a", "b"}, news: map[string]*liveState{}, wake: make(chan struct{}, 1)}
	if !l.join(v) {
		t.Fatal("it cannot join")
	}
	for version := range uint64(1000) {
		l.tell(&liveState{ID: "a", Version: version})
		l.tell(&liveState{ID: "b", Version: 1000 - version})
		l.tell(&liveState{ID: "c", Version: version})
	}
	news := l.take(v)
	if len(news) != 2 || news[0].Version+news[1].Version != 999+1000 {
		t.Errorf("it is told of %d states", len(news))
	}
	for range mostViewers - 1 {
		l.join(&viewer{})
	}
	if l.join(&viewer{}) {
		t.Errorf("more than %d can watch", mostViewers)
	}
	l.leave(v)
	if !l.join(&viewer{}) {
		t.Error("nobody can join when one has left")
	}
}

// A new program opens accounts, makes payments, and says where it listens. A signal ends it:
// also streams, and the temporary store is removed.
func TestProgram(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]os.Signal{"SIGINT": os.Interrupt, "SIGTERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-listen", "127.0.0.1:0", "-traffic", "1ms", "-otel")
			cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+t.TempDir())
			var errs bytes.Buffer
			cmd.Stderr = &errs
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			lines := bufio.NewScanner(out)
			var said []string
			for len(said) < 4 && lines.Scan() {
				said = append(said, lines.Text())
			}
			path := regexp.MustCompile(`/\S+/bank\.db`).FindString(strings.Join(said, "\n"))
			address := regexp.MustCompile(`http://[0-9.:]+`).FindString(strings.Join(said, "\n"))
			if _, err := os.Stat(path); err != nil || address == "" {
				t.Fatalf("it says %q: %v\n%s", said, err, errs.String())
			}
			s := &site{t: t, url: address}
			wantText(t, s.get(200, "/"), "1001", "Alice Adler", "Carol Clark", "frozen", "closed")
			next := s.listenTo("/live?account=" + bank.AccountID(alice))
			for first := next(); next() == first; { // until there is a payment
			}
			console := s.listenTo("/console/stream")
			console()
			must(t, cmd.Process.Signal(signal))
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
			if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
				t.Errorf("%s is left behind: %v", filepath.Dir(path), err)
			}
			wantText(t, errs.String(), `name="GET /"`, `name="commit bank/Account"`, `name="handle bank/Account"`, "the bank closes")
			if strings.Contains(errs.String(), "level=ERROR") || strings.Contains(errs.String(), "level=WARN") {
				t.Errorf("it logged\n%s", errs.String())
			}
		})
	}
}

// Another program may work on the store meanwhile, such as examples/bank: the bank waits for
// its subscriptions, and goes on.
func TestAnotherProgram(t *testing.T) {
	t.Parallel()
	s := opened(t)
	must(t, s.store.balances.Subscription().Execute(t.Context(), s.store.events))
	must(t, s.store.bank.Transfers().Execute(t.Context(), s.store.events))
	must(t, s.store.bank.Send(t.Context(), "T", "1", "2", 5_00, time.Now()))
	s.settled()
	wantText(t, s.get(200, "/"), "95.00", "105.00")
}

// A store of its own stays, and goes on where it was: nothing is opened in it again.
func TestStoreStays(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "bank.db")
	events := func() (n int) {
		s, err := openStore(t.Context(), db, &telemetry{}, slog.New(slog.DiscardHandler))
		must(t, err)
		for _, err := range evento.Events(t.Context(), s.events, evento.Query{}) {
			must(t, err)
			n++
		}
		must(t, s.close())
		return n
	}
	var counts [2]int
	for i := range counts {
		ctx, cancel := context.WithCancel(t.Context())
		var errs bytes.Buffer
		code := run(ctx, []string{"-db", db, "-listen", "127.0.0.1:0"}, writerFunc(func(b []byte) (int, error) {
			if bytes.Contains(b, []byte("Ctrl-C")) {
				cancel()
			}
			return len(b), nil
		}), &errs)
		if counts[i] = events(); code != 0 {
			t.Fatalf("exit code %d\n%s", code, errs.String())
		}
	}
	if counts[0] < 15 || counts[1] < counts[0] || counts[1] > counts[0]+8 { // the second may settle what the first has sent
		t.Errorf("%d events after the first time, %d after the second", counts[0], counts[1])
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// The usual port may be taken; one that was asked for may not.
func TestListen(t *testing.T) {
	t.Parallel()
	first, err := listen(t.Context(), "")
	must(t, err)
	second, err := listen(t.Context(), "")
	must(t, err)
	if first.Addr().String() == second.Addr().String() {
		t.Errorf("both listen at %s", first.Addr())
	}
	if l, err := listen(t.Context(), second.Addr().String()); err == nil {
		t.Errorf("it listens at %s, which is taken", l.Addr())
	}
	for _, l := range []net.Listener{first, second} {
		must(t, l.Close())
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "-listen HOST:PORT"},
		{[]string{"-what"}, 2, "-what"},
		{[]string{"bank.db"}, 2, `no argument "bank.db"`},
		{[]string{"-listen", "nowhere"}, 1, "nowhere"},
		{[]string{"-db", filepath.Join(t.TempDir(), "missing", "bank.db")}, 1, "missing"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), tt.args, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("bank-web %q: exit code %d, want %d and %q in\n%s", tt.args, code, tt.code, tt.want, out.String())
		}
	}
}
