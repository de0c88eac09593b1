package executortest_test

import (
	"os"
	"regexp"
	"testing"
)

// The package comment names each topic of the suite.
func TestCommentNamesTopics(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("executortest.go")
	if err != nil {
		t.Fatal(err)
	}
	comment, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	topics := regexp.MustCompile(`\{"(\w+)", test`).FindAllSubmatch(code, -1)
	if len(topics) < 20 {
		t.Fatalf("%d topics were found", len(topics))
	}
	for _, topic := range topics {
		if !regexp.MustCompile(`//   (- (\w+, )*|  (\w+, )*)` + string(topic[1]) + `[,:]`).Match(comment) {
			t.Errorf("the package comment does not say what %s is about", topic[1])
		}
	}
}
