package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// When the console ends, streams end, and pages that are under way are finished before the store is
// closed.
func TestConsoleFinishesPages(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started, ending, finished := make(chan string, 2), make(chan struct{}), atomic.Bool{}
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started <- r.URL.Path
		if r.URL.Path == "/stream" {
			<-r.Context().Done()
			close(ending)
			return
		}
		<-ending
		if err := r.Context().Err(); err != nil {
			t.Errorf("a page is ended: %v", err)
		}
		_, _ = io.WriteString(w, "whole")
		finished.Store(true)
	})
	ctx, end := context.WithCancel(t.Context())
	defer end()
	served := make(chan error, 1)
	go func() {
		err := serveUntil(ctx, listener, pages)
		if !finished.Load() {
			t.Error("it ends before a page that is under way")
		}
		served <- err
	}()
	texts := make(chan string, 2)
	for _, path := range []string{"/stream", "/events"} {
		go func() { texts <- path + " " + body(t, "http://"+listener.Addr().String()+path) }()
	}
	<-started
	<-started
	end()
	if one, other := <-texts, <-texts; one != "/stream " && other != "/stream " || one != "/events whole" && other != "/events whole" {
		t.Errorf("the pages are %q and %q", one, other)
	}
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("serving ends with %v", err)
	}
}

// body is the text of a page, or the error of reading it.
func body(t *testing.T, address string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, address, nil)
	if err != nil {
		return err.Error()
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
