// What all pages have in common.

package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/examples/bank/bank"
)

//go:embed assets templates
var files embed.FS

// pages makes the pages of a bank. It is safe for concurrent use.
type pages struct {
	*store
	live      *live
	templates map[string]*template.Template
}

var functions = template.FuncMap{
	"show":        bank.Show,
	"sentence":    sentence,
	"accountPath": accountPath,
	"id":          bank.AccountID,
	"inFlight":    inFlight,
	"clock":       func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"iso":         func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
}

func newPages(s *store, l *live) (*pages, error) {
	p := &pages{store: s, live: l, templates: map[string]*template.Template{}}
	for _, name := range []string{"accounts", "account", "then", "transfer", "message"} {
		t, err := template.New(name).Funcs(functions).ParseFS(files, "templates/base.html", "templates/"+name+".html")
		if err != nil {
			return nil, err
		}
		p.templates[name] = t
	}
	return p, nil
}

func (p *pages) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/{file}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "assets/"+r.PathValue("file"))
	})
	mux.HandleFunc("GET /{$}", p.page(p.accounts))
	mux.HandleFunc("POST /accounts", p.page(p.open))
	mux.HandleFunc("GET /accounts/{account}", p.page(p.account))
	mux.HandleFunc("POST /accounts/{account}/{action}", p.page(p.act))
	mux.HandleFunc("GET /transfers/{transfer}", p.page(p.transfer))
	mux.HandleFunc("/", p.page(func(*http.Request) (*view, error) { return nil, notFound("There is no such page.") }))
	return mux
}

// view is a page to be shown, or where to go instead.
type view struct {
	template string
	status   int // 0: 200
	location string

	Title   string
	Refresh bool // soon, without a script
	Body    any
}

// seeOther leads to a page after a form has done something, so that loading that page again
// sends nothing again.
func seeOther(location string) *view { return &view{location: location} }

// problem is an error that its reader can understand.
type problem struct {
	status int
	text   string
}

func (e *problem) Error() string { return e.text }

func notFound(text string) error { return &problem{http.StatusNotFound, text} }

// page makes the handler of a page.
func (p *pages) page(of func(*http.Request) (*view, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		if r.Method == http.MethodPost {
			r.Body = http.MaxBytesReader(w, r.Body, mostForm)
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience)) // what cannot set it has none
		}
		v, err := of(r.WithContext(ctx))
		if err != nil {
			v = p.message(r, err)
		}
		if v.location != "" {
			http.Redirect(w, r, v.location, http.StatusSeeOther)
			return
		}
		var b bytes.Buffer
		if err := p.templates[v.template].ExecuteTemplate(&b, "base", v); err != nil {
			p.logger.Error("a page could not be made", "path", r.URL.Path, "error", err)
			http.Error(w, "This page could not be made.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if v.status != 0 {
			w.WriteHeader(v.status)
		}
		_, _ = w.Write(b.Bytes()) // the reader may have gone
	}
}

// message is the page of an error.
func (p *pages) message(r *http.Request, err error) *view {
	v := &view{template: "message", status: http.StatusInternalServerError, Title: "This did not work", Body: "The bank cannot answer now. If you have sent something, send it once more: it is done once."}
	var known *problem
	var refusal bank.RefusalError
	switch {
	case errors.As(err, &known):
		v.status, v.Body = known.status, known.text
	case errors.As(err, &refusal):
		v.status, v.Body = http.StatusNotFound, sentence(refusal.Error())
	case errors.Is(err, cursor.ErrInvalid):
		v.status, v.Body = http.StatusBadRequest, "This link does not lead to a page of a list."
	default:
		p.logger.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	return v
}

// sentence makes a refusal a sentence.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// inFlight is money in flight; "" if there is none.
func inFlight(m bank.Money) string {
	if m == 0 {
		return ""
	}
	return m.String()
}

// pageRows is how many rows a page of a list has.
const pageRows = 20

var pageSize = cursor.PageSize{Default: pageRows, Max: pageRows}

// link is to another page of a list.
type link struct{ Newer, Older string }

// links are those to the pages around one, in a list of which the newest, or first, is on top
// when reversed, or not.
func links(path string, info cursor.PageInfo, reversed bool) (l link) {
	previous, next := "", ""
	if info.HasPreviousPage {
		previous = pageLink(path, "before", info.StartCursor)
	}
	if info.HasNextPage {
		next = pageLink(path, "after", info.EndCursor)
	}
	if reversed {
		return link{Newer: next, Older: previous}
	}
	return link{Newer: previous, Older: next}
}

func pageLink(path, direction string, at cursor.Value) string {
	return path + "?" + url.Values{direction: {string(at)}}.Encode()
}

// accountPath is the path of an account's page. Any text is a number: one that does not fit
// in a path is replaced by the account's id.
func accountPath(number string) string {
	if number == "" || len(number) > 64 || strings.Trim(number, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "" {
		number = "~" + bank.AccountID(number)
	}
	return "/accounts/" + number
}

// loadAccount returns the account of a path.
func (p *pages) loadAccount(r *http.Request) (*evento.Loaded[bank.Account], error) {
	name := r.PathValue("account")
	id, byID := strings.CutPrefix(name, "~")
	if !byID {
		id = bank.AccountID(name)
	}
	acc, err := p.bank.ByID(r.Context(), id)
	if errors.Is(err, bank.ErrNoAccount) || errors.Is(err, evento.ErrInvalid) {
		err = notFound(fmt.Sprintf("There is no account %s.", bank.Show(name)))
	}
	return acc, err
}
