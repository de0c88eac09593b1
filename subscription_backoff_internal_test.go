package evento

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

// What is said of how long the default retries take is what the waits add up to.
func TestDefaultRetriesTake(t *testing.T) {
	t.Parallel()
	const samples = 4000
	var most, sum time.Duration
	for failures := range defaultRetries {
		longest := min(firstBackoff<<min(failures, 20), mostBackoff)
		most += longest
		for range samples {
			wait := backoff(failures)
			if wait < longest/2 || wait > longest {
				t.Fatalf("after %d failures: %s, want %s to %s", failures+1, wait, longest/2, longest)
			}
			sum += wait
		}
	}
	mean := most.Seconds() * 3 / 4                                // of waits between a half and the whole
	if got := sum.Seconds() / samples; math.Abs(got-mean) > 1.5 { // its standard deviation is 0.1 s
		t.Errorf("they take %.1f s in the mean, want %.1f", got, mean)
	}
	for path, want := range map[string]string{
		"docs/subscriptions.md": fmt.Sprintf("up to `Retry` times: %d by default, which take %.0f s in the mean and %.0f s at most.", defaultRetries, mean, most.Seconds()),
		"subscription.go":       fmt.Sprintf("Default %d, which take %.0f s on average and %.0f s at most.", defaultRetries, mean, most.Seconds()),
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\n//", "\n")), " "), want) {
			t.Errorf("%s does not say %q", path, want)
		}
	}
}
