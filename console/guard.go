// Who may do what, and what a browser may do with a page.

package console

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// policy lets a page load what the console itself serves, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

const noLook = "You may not look at this store."

// mostURL is how many bytes the URL of a page may have: its links repeat what is in it.
const mostURL = 64 << 10

// guard lets through who may look, and changes that a page of the console has asked for.
func (c *console) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !strings.HasPrefix(r.URL.Path, "/assets/") {
			h.Set("Cache-Control", "no-store")
		}
		switch {
		case len(r.URL.EscapedPath())+len(r.URL.RawQuery) > mostURL:
			http.Error(w, "This URL is too long.", http.StatusRequestURITooLong)
		case !c.allowed(r, Look):
			c.write(w, r, &page{Template: "error", Title: noLook, Body: noLook, status: http.StatusForbidden, Closed: true})
		case r.Method == http.MethodPost && !sameOrigin(r):
			c.fail(w, r, forbidden("This request came from another site. Nothing was changed."))
		case r.Method == http.MethodPost && !c.hasToken(w, r):
			c.fail(w, r, forbidden("The page was too old. Nothing was changed: go back, load it again, and repeat what you did."))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// allowed reports whether a request may do something.
func (c *console) allowed(r *http.Request, a Action) bool {
	if c.opts.Allow == nil {
		return a == Look
	}
	return c.opts.Allow(r, a)
}

// sameOrigin reports whether a browser says that a page of this host has sent the request. One that
// says nothing is no browser of today, and has no login to misuse. What it says of the site is
// enough: behind a proxy that names another host the origin would be that of another.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin" || site == "none"
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

// A form has a token that its browser has in a cookie too: another site can send the cookie, and
// cannot read it.
const (
	tokenCookie = "evento_console"
	hostCookie  = "__Host-" + tokenCookie // which no other host of the site can set
	tokenField  = "token"
	tokenLength = 32
	mostForm    = 1 << 20 // bytes of a form
)

// cookieOf is the name of the cookie.
func cookieOf(r *http.Request) string {
	if r.TLS != nil {
		return hostCookie
	}
	return tokenCookie
}

// token returns the token of a browser, which gets one if it has none.
func (c *console) token(w http.ResponseWriter, r *http.Request) string {
	if cookie, err := r.Cookie(cookieOf(r)); err == nil && len(cookie.Value) == base64.RawURLEncoding.EncodedLen(tokenLength) {
		return cookie.Value
	}
	b := make([]byte, tokenLength)
	_, _ = rand.Read(b) // it ends the program rather than to fail
	token := base64.RawURLEncoding.EncodeToString(b)
	// A page of any depth may be the first, and the prefix is not known.
	http.SetCookie(w, &http.Cookie{Name: cookieOf(r), Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil}) //nolint:gosec // a console on loopback has no TLS
	return token
}

func (c *console) hasToken(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	cookie, err := r.Cookie(cookieOf(r))
	if err != nil || cookie.Value == "" || r.ParseForm() != nil {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(r.PostForm.Get(tokenField))) == 1
}

// Loopback is the handler of a console that one machine alone is to reach: it refuses requests to
// other names than those of the machine itself, with which a page of another site could reach it
// in the browser of somebody here (DNS rebinding).
func Loopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "This console is reached as localhost alone.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
