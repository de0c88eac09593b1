package main

import (
	"os"
	"strings"
	"testing"

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
	var out strings.Builder
	if err := run(t.Context(), url, &out); err != nil {
		t.Fatalf("%v, after\n%s", err, out.String())
	}
	code, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, story, _ := strings.Cut(string(code), "story of it:\n//\n")
	story, _, _ = strings.Cut(story, "package main")
	story = strings.ReplaceAll(strings.ReplaceAll(story, "//\t", ""), "//\n", "\n")
	if out.String() != story {
		t.Errorf("the story is\n%s\nthe comment says\n%s", out.String(), story)
	}
}
