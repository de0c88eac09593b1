// Making pages: the frame around each, errors, and what templates call.

package console

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// page is what a template gets: the frame, and in Body what the page is about.
type page struct {
	Template string // the file of the page, without its ending
	Title    string
	Nav      string // the entry of the navigation that is current
	Stream   string // what the page wants to be told of; "": nothing
	Body     any
	status   int
	Closed   bool // its reader may not look: it says nothing of the store

	// Set by serve.
	Root     string // what links of this page begin with
	Store    string
	Now      time.Time
	Problems int    // subscriptions that need attention
	Token    string // of forms
	May      map[Action]bool
}

// templates are the pages, each with the frame.
type templates struct{ byName map[string]*template.Template }

func parseTemplates(place func(uint64, evento.ID) string) (*templates, error) {
	base, err := template.New("base").Funcs(functions).Funcs(template.FuncMap{"place": place}).ParseFS(files, "templates/base.html", "templates/*parts.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	all := &templates{byName: map[string]*template.Template{}}
	for _, name := range names {
		own, err := base.Clone()
		if err == nil {
			own, err = own.ParseFS(files, name)
		}
		if err != nil {
			return nil, err
		}
		all.byName[strings.TrimSuffix(path.Base(name), ".html")] = own
	}
	return all, nil
}

// oneLine keeps the ends of lines in a message of one line.
var oneLine = strings.NewReplacer("\n", "&#10;", "\r", "&#13;")

// fragment makes a part of a page, in one line.
func (t *templates) fragment(name string, data any) (string, error) {
	var b bytes.Buffer
	err := t.byName["base"].ExecuteTemplate(&b, name, data)
	return oneLine.Replace(b.String()), err
}

// patience is how long a page may take.
const patience = 20 * time.Second

// serve makes the handler of a page.
func (c *console) serve(view func(*http.Request) (*page, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		p, err := view(r.WithContext(ctx))
		if err != nil {
			c.fail(w, r, err)
			return
		}
		c.write(w, r, p)
	}
}

// write writes a page in its frame.
func (c *console) write(w http.ResponseWriter, r *http.Request, p *page) {
	p.Root, p.Now, p.May = root(r), time.Now().UTC(), map[Action]bool{}
	if !p.Closed {
		p.Store, p.Problems, p.Token = c.opts.Store, c.live.problems(), c.token(w, r)
		for _, a := range []Action{Pause, Resume, Reset, Retry, Drop} {
			p.May[a] = c.allowed(r, a)
		}
	}
	var b bytes.Buffer
	if err := c.pages.byName[p.Template].ExecuteTemplate(&b, "base", p); err != nil {
		c.opts.Logger.Error("evento: a page of the console could not be made", "page", p.Template, "error", err)
		http.Error(w, "This page could not be made; the log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(cmp.Or(p.status, http.StatusOK))
	_, _ = w.Write(b.Bytes()) // the reader may have gone
}

// root is the way from a page back to the root, whatever prefix the console has.
func root(r *http.Request) string {
	if n := strings.Count(r.URL.EscapedPath(), "/") - 1; n > 0 {
		return strings.Repeat("../", n)
	}
	return "./"
}

// refusal is an error that a page shows to its reader.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

func notFound(format string, args ...any) error {
	return &refusal{http.StatusNotFound, fmt.Sprintf(format, args...)}
}
func badRequest(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}
func forbidden(text string) error { return &refusal{http.StatusForbidden, text} }

// fail shows an error.
func (c *console) fail(w http.ResponseWriter, r *http.Request, err error) {
	var known *refusal
	if errors.As(err, &known) {
		c.write(w, r, &page{Template: "error", Title: known.text, Body: known.text, status: known.status})
		return
	}
	text, status := "The store gives an error.", http.StatusBadGateway
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		text, status = fmt.Sprintf("The store has not answered for %s.", patience), http.StatusGatewayTimeout
	case r.Context().Err() != nil: // nobody waits for it any more
	case errors.Is(err, evento.ErrInvalid), errors.Is(err, cursor.ErrInvalid):
		text, status = "This cannot be asked for.", http.StatusBadRequest
	default:
		c.opts.Logger.Error("evento: a page of the console failed", "path", r.URL.Path, "error", err)
	}
	c.write(w, r, &page{Template: "error", Title: text, Body: err.Error(), status: status})
}
