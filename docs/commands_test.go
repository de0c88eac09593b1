package docs_test

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento/internal/testserver"
)

// leftOut are commands that no test can run, by how they begin.
var leftOut = map[string]string{
	"go install ": "it asks the network for a release",
	"make test":   "it runs this test too",
}

// The commands in blocks of these guides run, one after the other, on a store that has what
// they are about. Those behind a $ print what is shown below them.
func TestCommands(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/evento", "./examples/bank", "./examples/bank-web")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for guide, fill := range map[string]func(t *testing.T, s *shell){
		"../README.md":  fillBank,
		"command.md":    fillBank,
		"production.md": fillRestored,
	} {
		t.Run(strings.TrimSuffix(filepath.Base(guide), ".md"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(guide)
			if err != nil {
				t.Fatal(err)
			}
			s := &shell{dir: t.TempDir(), env: append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH")), cleanup: t.Cleanup}
			fill(t, s)
			commands := commandsIn(string(text))
			if len(commands) < 3 {
				t.Fatalf("%d commands were found", len(commands))
			}
			for _, c := range commands {
				s.check(t, c)
			}
		})
	}
}

// command is a line of a guide.
type command struct {
	text string
	want string // what is shown of its output, masked
	show bool   // its output is shown
}

// commandsIn returns the commands in the blocks of a guide that have no language, one a line,
// and in blocks of the language console, behind a $.
func commandsIn(guide string) (all []command) {
	for i, block := range strings.Split(guide, "```") {
		language, block, _ := strings.Cut(block, "\n")
		if i%2 == 0 || language != "" && language != "console" {
			continue
		}
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			text, isCommand := strings.CutPrefix(line, "$ ")
			switch {
			case language == "console" && isCommand:
				all = append(all, command{text: text, show: true})
			case language == "console":
				all[len(all)-1].want += masked(line)
			case line != "":
				text, _, _ := strings.Cut(line, " # ")
				all = append(all, command{text: strings.TrimSpace(text)})
			}
		}
	}
	return all
}

// masked replaces what differs from run to run, and spaces that follow from it.
func masked(line string) string {
	for _, m := range []struct{ pattern, mask string }{
		{`AX[A-Za-z0-9_-]{34}`, "CURSOR"},
		{`[0-9A-HJKMNP-TV-Z]{26}`, "ULID"},
		{`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`, "TIME"},
		{`\b\d+(\.\d+)?(µs|ms|s|m\d+s|h\d+m\d+s)\b`, "DURATION"},
	} {
		line = regexp.MustCompile(m.pattern).ReplaceAllString(line, m.mask)
	}
	if line = strings.Join(strings.Fields(line), " "); line != "" {
		line += "\n"
	}
	return line
}

// shell runs the commands of a guide.
type shell struct {
	dir     string
	env     []string
	cleanup func(func()) // of the test of the guide
	nats    string       // the URL of a cluster; "": none was started
}

var assignment = regexp.MustCompile(`^(?:export )?([A-Za-z_]+=\S+)$`)

func (s *shell) check(t *testing.T, c command) {
	t.Helper()
	for begin, why := range leftOut {
		if strings.HasPrefix(c.text, begin) {
			t.Logf("LEFT OUT: %s: %s", c.text, why)
			return
		}
	}
	program, _, _ := strings.Cut(c.text, " ")
	switch m := assignment.FindStringSubmatch(c.text); {
	case m != nil:
		s.env = append(s.env, m[1])
	case strings.HasPrefix(c.text, "evento events tail"):
		s.tail(t, c)
	case strings.HasPrefix(c.text, "evento console"), c.text == "go run ./examples/bank-web":
		s.serve(t, c)
	case program == "evento" && strings.Contains(c.text, "postgres://"):
		t.Run(strings.ReplaceAll(c.text, "/", "_"), func(t *testing.T) { s.run(t, s.onPostgres(t, c)) })
	case program == "evento" && strings.Contains(c.text, "nats://"):
		s.run(t, s.onNATS(t, c))
	case program == "evento" || program == "go":
		s.run(t, c)
	default:
		t.Errorf("%s: the test does not know how to run it; say in leftOut why it cannot be run, or give its block a language", c.text)
	}
}

// onPostgres puts the address of a test's server into a command.
func (s *shell) onPostgres(t *testing.T, c command) command {
	t.Helper()
	address := regexp.MustCompile(`postgres://\S*`)
	if !slices.ContainsFunc(s.env, func(v string) bool { return strings.HasPrefix(v, "POSTGRES=") }) {
		s.env = append(s.env, "POSTGRES="+postgresStore(t, s.cleanup))
	}
	c.text = address.ReplaceAllString(c.text, `"$$POSTGRES"`)
	return c
}

// onNATS puts the addresses of a cluster of the test's into a command, whose directory has the
// credentials of its system account.
func (s *shell) onNATS(t *testing.T, c command) command {
	t.Helper()
	if s.nats == "" {
		accounts := `system_account: SYS
no_auth_user: app
accounts {
  SYS { users: [{user: "sys", password: "sys"}] }
  APP { jetstream: enabled, users: [{user: "app", password: "app"}] }
}`
		s.nats = strings.ReplaceAll(testserver.NATS(t, testserver.NATSOptions{Lines: []string{accounts}}).URL(), ",nats://", ",")
		if err := os.WriteFile(filepath.Join(s.dir, "sys.creds"), []byte("sys:sys\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.text = strings.ReplaceAll(c.text, "nats://n1,n2,n3", s.nats)
	return c
}

// asks are the commands that ask on a terminal. Here is none.
var asks = regexp.MustCompile(`^evento (subscriptions (reset|remove)|subscriptions parked \S+ drop|snapshots delete) `)

// empty are commands that may have nothing to list.
var empty = regexp.MustCompile(`^evento (migrate (status|up)|export|import|doctor|subscriptions (pending|parked)|.* --until 20)|^go `)

func (s *shell) run(t *testing.T, c command) {
	t.Helper()
	text, _, _ := strings.Cut(c.text, " | psql ") // the statements are enough
	if asks.MatchString(text) && !strings.Contains(text, "--yes") {
		text += " --yes"
	}
	cmd := s.command(t, text)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s%s", c.text, err, &stdout, &stderr)
		return
	}
	lines := slices.Collect(strings.Lines(stdout.String()))
	if table := !asks.MatchString(text) && !c.show && strings.Contains(text, " list"); !empty.MatchString(text) && (len(lines) == 0 || table && len(lines) < 2) {
		t.Errorf("%s: it finds nothing\n%s", c.text, &stdout)
	}
	got := ""
	for _, line := range lines {
		got += masked(line)
	}
	if c.show && got != c.want {
		t.Errorf("%s: it prints\n%swhich is, without what changes,\n%swant\n%s", c.text, &stdout, got, c.want)
	}
}

// command is the program that runs a line. Programs in go are run in the repository.
func (s *shell) command(t *testing.T, text string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = s.dir, s.env
	if strings.HasPrefix(text, "go ") {
		cmd.Dir = ".."
	}
	return cmd
}

// serve runs a command that does not end by itself: until a page of it was read.
func (s *shell) serve(t *testing.T, c command) {
	t.Helper()
	text := strings.Replace(c.text, "go run ./examples/", "", 1) // which was built
	if strings.Contains(text, "postgres://") {
		text = s.onPostgres(t, command{text: text}).text
	}
	cmd := s.command(t, "exec "+text+" 2>&1")
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said, address := "", ""
	lines := bufio.NewScanner(stdout)
	for address == "" && lines.Scan() {
		said += lines.Text() + "\n"
		address = regexp.MustCompile(`http://\S+`).FindString(lines.Text())
	}
	if address == "" {
		t.Errorf("%s: it gives no address\n%s", c.text, said)
	} else if response, err := http.Get(address); err != nil || response.StatusCode != http.StatusOK { //nolint:noctx // of this machine
		t.Errorf("%s: %s: %v, %v", c.text, address, response, err)
	} else {
		_ = response.Body.Close()
	}
	_ = cmd.Process.Signal(os.Interrupt)
	for lines.Scan() {
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 130) {
		t.Errorf("%s: interrupted, it ends with %v, want 130\n%s", c.text, err, said)
	}
}

// tail runs a command that does not end by itself: until it has shown an event that
// is committed meanwhile.
func (s *shell) tail(t *testing.T, c command) {
	t.Helper()
	text, _, _ := strings.Cut(c.text, " | ")
	cmd := s.command(t, "exec "+text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	shown := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() && !strings.Contains(lines.Text(), "Followed") {
		}
		shown <- lines.Err() == nil && strings.Contains(lines.Text(), "Followed")
		for lines.Scan() {
		}
	}()
	for waits := true; waits; {
		select {
		case ok := <-shown:
			if waits = false; !ok {
				t.Errorf("%s: it ended before it showed a new event\n%s", c.text, &stderr)
			}
		case <-time.After(20 * time.Millisecond): // it may not follow yet
			addFollowed(t, s)
		}
	}
	_ = cmd.Process.Signal(os.Interrupt)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("%s: interrupted, it ends with %v, want 130\n%s", c.text, err, &stderr)
	}
}
