package main

import (
	"context"
	"io"
	"testing"

	"github.com/evento-go/evento/internal/story"
	"github.com/evento-go/evento/internal/testserver"
)

// The story is the one in the comment of the program.
func TestStory(t *testing.T) {
	t.Parallel()
	wantStory(t, "")
}

// A database may have any number of stories.
func TestStoryOnPostgres(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t)
	wantStory(t, url)
	wantStory(t, url)
}

func wantStory(t *testing.T, url string) {
	t.Helper()
	story.Test(t, func(ctx context.Context, out io.Writer) error { return run(ctx, url, out) })
}
