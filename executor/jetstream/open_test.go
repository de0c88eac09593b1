package jetstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

// single is a server alone, for what needs no cluster.
func single(t *testing.T, lines ...string) string {
	t.Helper()
	return testserver.NATS(t, testserver.NATSOptions{Nodes: 1, Lines: lines}).URL()
}

func alone(name, dir string) *jetstream.Options {
	return &jetstream.Options{Name: name, Dir: dir, Replicas: 1, AllowUnsafe: true, Logger: quiet()}
}

func open(t *testing.T, url string, o *jetstream.Options) *jetstream.Executor {
	t.Helper()
	ex, err := jetstream.Open(t.Context(), url, o)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return ex
}

func one(id string, expected uint64) evento.Write {
	return evento.Write{Appends: []evento.Append{{AggregateType: thing, AggregateID: id, Expected: expected, Events: someEvents(1, 1)}}}
}

func write(t *testing.T, ex evento.Executor, id string, expected uint64) {
	t.Helper()
	if _, err := ex.Write(t.Context(), one(id, expected)); err != nil {
		t.Fatalf("Write() = %v", err)
	}
}

func connection(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func api(t *testing.T, nc *nats.Conn, subject string, request any) map[string]any {
	t.Helper()
	var data []byte
	if request != nil {
		var err error
		if data, err = json.Marshal(request); err != nil {
			t.Fatal(err)
		}
	}
	m, err := nc.Request("$JS.API."+subject, data, 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	var answer map[string]any
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		t.Fatal(err)
	}
	if answer["error"] != nil {
		t.Fatalf("%s: %v", subject, answer["error"])
	}
	return answer
}

// says fails the test unless an error matches and has the texts in it.
func says(t *testing.T, what string, err, match error, texts ...string) {
	t.Helper()
	if err == nil || match != nil && !errors.Is(err, match) || !strings.HasPrefix(err.Error(), "evento: ") || strings.Count(err.Error(), "evento: ") != 1 {
		t.Errorf("%s: %v, want one that matches %v, and says evento: once", what, err, match)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q in it", what, err, text)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for text, o := range map[string]jetstream.Options{
		`"a.b"`:               {Name: "a.b"},
		`"` + "é" + `"`:       {Name: "é"},
		"6 Replicas":          {Replicas: 6},
		"-1 Replicas":         {Replicas: -1},
		"AllowUnsafe":         {Replicas: 1},
		"negative MaxBytes":   {MaxBytes: -1},
		"there is no Reads 7": {Reads: 7},
		"1 to 64":             {Name: strings.Repeat("x", 65)},
	} {
		_, err := jetstream.Open(t.Context(), "nats://127.0.0.1:1", &o)
		says(t, text, err, evento.ErrInvalid, text)
	}
	_, err := jetstream.New(t.Context(), nil, nil)
	says(t, "no connection", err, evento.ErrInvalid, "nil")
	const servers = "nats://user:secret@127.0.0.1:1, tls://secret@127.0.0.1:2,secret@[::1]:3"
	const shown = "connect to nats://127.0.0.1:1, tls://127.0.0.1:2, nats://[::1]:3: "
	_, err = jetstream.Open(t.Context(), servers, nil)
	says(t, "no server", err, nats.ErrNoServers, shown)
	_, format := jetstream.FormatOf(t.Context(), servers, nil)
	says(t, "no server", format, nats.ErrNoServers, shown)
	if strings.Contains(err.Error()+format.Error(), "secret") || strings.Contains(err.Error(), "user") {
		t.Errorf("a password is shown: %v; %v", err, format)
	}
}

func TestStreamsOfOthers(t *testing.T) {
	t.Parallel()
	url := single(t)
	nc := connection(t, url)
	config := func(name string, change func(map[string]any)) {
		c := map[string]any{
			"name": name, "subjects": []string{"evento." + name + ".log"}, "retention": "limits", "storage": "file", "discard": "new", "num_replicas": 1,
			"max_msgs": -1, "max_bytes": -1, "max_msg_size": -1, "max_msgs_per_subject": -1, "max_consumers": -1, "deny_delete": true, "deny_purge": true, "allow_direct": true,
			"republish": map[string]any{"src": "evento." + name + ".log", "dest": "evento." + name + ".pub"},
			"metadata":  map[string]string{"evento-id": strings.Repeat("ab", 16), "evento-format": "1"},
		}
		change(c)
		api(t, nc, "STREAM.CREATE."+name, c)
	}
	config("fits", func(map[string]any) {})
	makeRecords := func(name string) {
		api(t, nc, "STREAM.CREATE."+name+"-rec", map[string]any{
			"name": name + "-rec", "subjects": []string{"evento." + name + ".rec.*"}, "retention": "limits", "storage": "file", "discard": "new", "num_replicas": 1,
			"max_msgs": -1, "max_bytes": -1, "max_msg_size": -1, "max_msgs_per_subject": 1, "max_consumers": -1, "deny_delete": true, "allow_atomic": true,
			"republish": map[string]any{"src": "evento." + name + ".rec.*", "dest": "evento." + name + ".recpub.{{wildcard(1)}}"},
		})
	}
	makeRecords("fits")
	open(t, url, alone("fits", ""))
	for text, change := range map[string]func(map[string]any){
		"subjects is":            func(c map[string]any) { c["subjects"] = []string{"other"}; delete(c, "republish") },
		"storage is memory":      func(c map[string]any) { c["storage"] = "memory" },
		"discard is old":         func(c map[string]any) { c["discard"] = "old" },
		"max_age is":             func(c map[string]any) { c["max_age"] = int64(time.Hour) },
		"max_msgs is 5":          func(c map[string]any) { c["max_msgs"] = 5 },
		"deny_delete is false":   func(c map[string]any) { delete(c, "deny_delete") },
		"deny_purge is false":    func(c map[string]any) { delete(c, "deny_purge") },
		"allow_direct is false":  func(c map[string]any) { delete(c, "allow_direct") },
		"republish is nothing":   func(c map[string]any) { delete(c, "republish") },
		"no evento-id":           func(c map[string]any) { delete(c, "metadata") },
		"retention is workqueue": func(c map[string]any) { c["retention"] = "workqueue"; c["deny_delete"], c["deny_purge"] = true, true },
	} {
		name := strings.NewReplacer(" ", "_").Replace(text)
		config(name, change)
		makeRecords(name)
		_, err := jetstream.Open(t.Context(), url, alone(name, ""))
		says(t, text, err, evento.ErrInvalid, text, name)
	}
	config("newer", func(c map[string]any) {
		c["metadata"] = map[string]string{"evento-id": strings.Repeat("ab", 16), "evento-format": "9"}
	})
	makeRecords("newer")
	_, err := jetstream.Open(t.Context(), url, alone("newer", ""))
	says(t, "a newer format", err, evento.ErrNewerStore, "format 9")
	o := alone("fits", "")
	o.AllowUnsafe, o.Replicas = false, 3
	_, err = jetstream.Open(t.Context(), url, o)
	says(t, "one replica", err, evento.ErrInvalid, "AllowUnsafe", "fits")
}

// A stream that is not evento's, and has the name of the store, is said to be that, and nothing is
// made beside it.
func TestForeignStream(t *testing.T) {
	t.Parallel()
	url := single(t)
	nc := connection(t, url)
	for _, name := range []string{"orders", "orders-rec", "orders-snap"} {
		api(t, nc, "STREAM.CREATE."+name, map[string]any{"name": name, "subjects": []string{name + ".>"}, "num_replicas": 1})
		_, err := jetstream.FormatOf(t.Context(), url, alone("orders", ""))
		says(t, "FormatOf", err, evento.ErrInvalid, "stream orders: ", "not made by evento", "evento-id")
		_, err = jetstream.Open(t.Context(), url, alone("orders", ""))
		says(t, "Open", err, evento.ErrInvalid, "stream orders: ", "not made by evento", "evento-id")
		if names := api(t, nc, "STREAM.NAMES", nil)["streams"]; name == "orders" && fmt.Sprint(names) != "[orders]" {
			t.Errorf("there are the streams %v", names)
		}
	}
}

// A store that finds no place says what it needs, and what is left of the attempt, with which the next one goes
// on.
func TestNoPlace(t *testing.T) {
	t.Parallel()
	o := alone("a", "")
	o.Replicas = 3
	_, err := jetstream.Open(t.Context(), single(t), o)
	says(t, "no cluster", err, nil, "stream a-rec: replicas > 1", "3 replicas needs as many servers")
	o.Replicas = 5
	_, err = jetstream.Open(t.Context(), testserver.NATS(t, testserver.NATSOptions{}).URL(), o)
	says(t, "a small cluster", err, nil, "stream a-rec: no suitable peers", "5 replicas needs as many servers")
	url := single(t, `accounts { A { jetstream: { max_streams: 2 }, users: [{ user: a, password: secret }] } }`)
	o = alone("a", "")
	o.Connect = []nats.Option{nats.UserInfo("a", "secret")}
	_, err = jetstream.Open(t.Context(), url, o)
	says(t, "few streams", err, nil, "stream a: maximum number of streams", "needs three streams", "Open: a-rec, a-snap")
	_, err = jetstream.Open(t.Context(), url, o)
	says(t, "few streams", err, nil, "stream a: maximum number of streams", "needs three streams")
}

func TestNoCreate(t *testing.T) {
	t.Parallel()
	url := single(t)
	o := alone("a", "")
	o.NoCreate = true
	_, err := jetstream.Open(t.Context(), url, o)
	says(t, "a store that is not there", err, evento.ErrNotFound, "stream a")
	open(t, url, alone("a", ""))
	open(t, url, o)
}

func TestIndexOfOthers(t *testing.T) {
	t.Parallel()
	url, dir := single(t), filepath.Join(t.TempDir(), "index")
	ex, err := jetstream.Open(t.Context(), url, alone("a", dir))
	if err != nil {
		t.Fatal(err)
	}
	write(t, ex, "x", 0)
	_, err = jetstream.Open(t.Context(), url, alone("a", dir))
	says(t, "in use", err, evento.ErrInvalid, "another executor has it open", dir)
	advises(t, "in use", err, false)
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = jetstream.Open(t.Context(), url, alone("b", dir))
	says(t, "of another store", err, evento.ErrInvalid, "another store", dir)
	if got := len(allEvents(t, open(t, url, alone("a", dir)))); got != 1 {
		t.Errorf("after that there are %d events, want 1", got)
	}
}

// advises fails the test unless an error says, or does not, that the directory may be removed.
func advises(t *testing.T, what string, err error, want bool) {
	t.Helper()
	if err == nil || strings.Contains(err.Error(), "directory is removed") != want {
		t.Errorf("%s: %v; want the advice to remove the directory: %t", what, err, want)
	}
}

// A directory of something else is not to be removed; that of an index whose manifest is damaged may be.
func TestIndexAdvice(t *testing.T) {
	t.Parallel()
	url, dir := single(t), t.TempDir()
	readme := filepath.Join(dir, "readme")
	if err := os.WriteFile(readme, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := jetstream.Open(t.Context(), url, alone("a", dir))
	says(t, "something else", err, evento.ErrInvalid, "readme")
	advises(t, "something else", err, false)
	dir = filled(t, url, "b", 5, 100)
	manifests, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatal(manifests, err)
	}
	for _, path := range manifests {
		if err := os.WriteFile(path, []byte("damaged, and long enough to be read"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = jetstream.Open(t.Context(), url, alone("b", dir))
	says(t, "a damaged index", err, evento.ErrDamaged, dir)
	advises(t, "a damaged index", err, true)
}

// takeBack makes the log of store a end at a message, as if it had been restored from a backup.
func takeBack(t *testing.T, url string, last int) {
	t.Helper()
	nc := connection(t, url)
	info := api(t, nc, "STREAM.INFO.a", nil)
	var backup [][]byte
	for i := range last {
		m := api(t, nc, "STREAM.MSG.GET.a", map[string]int{"seq": i + 1})["message"].(map[string]any)
		var data []byte
		if err := json.Unmarshal([]byte(`"`+m["data"].(string)+`"`), &data); err != nil {
			t.Fatal(err)
		}
		backup = append(backup, data)
	}
	api(t, nc, "STREAM.DELETE.a", nil)
	api(t, nc, "STREAM.CREATE.a", info["config"])
	for _, data := range backup {
		if _, err := nc.Request("evento.a.log", data, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
}

// A stream that was restored from a backup is shorter than the index, or has another message
// where the index was.
func TestRestoredStream(t *testing.T) {
	t.Parallel()
	for _, further := range []int{0, 3, 20} { // what is written after the backup
		url, dir := single(t), filepath.Join(t.TempDir(), "index")
		ex, err := jetstream.Open(t.Context(), url, alone("a", dir))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			write(t, ex, "x", uint64(i))
		}
		if err := ex.Close(); err != nil {
			t.Fatal(err)
		}
		takeBack(t, url, 5)
		other := open(t, url, alone("a", ""))
		for i := range further {
			write(t, other, "y", uint64(i))
		}
		again := open(t, url, alone("a", dir))
		if got, want := allEvents(t, again), allEvents(t, other); len(got) != 5+further || len(got) != len(want) {
			t.Errorf("%d further: there are %d events, another client has %d, want %d", further, len(got), len(want), 5+further)
		}
		write(t, again, "x", 5)
	}
}

// The stream of records is part of the store: without it, or with one that knows more of the log than
// there is, subscriptions would begin anew, or pass over events.
func TestRecordsOfAnotherMoment(t *testing.T) {
	t.Parallel()
	url := single(t)
	ex, err := jetstream.Open(t.Context(), url, alone("a", ""))
	if err != nil {
		t.Fatal(err)
	}
	key := evento.RecordKey{Kind: "kind", Key: "k"}
	for i := range 10 {
		write(t, ex, "x", uint64(i))
		if err := ex.Swap(t.Context(), evento.Swap{Changes: []evento.Change{{RecordKey: key, Revision: uint64(i), Value: []byte("v")}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	takeBack(t, url, 5)
	_, err = jetstream.Open(t.Context(), url, alone("a", ""))
	says(t, "records that are newer", err, evento.ErrDamaged, "a-rec is newer", "restore both")
	api(t, connection(t, url), "STREAM.DELETE.a-rec", nil)
	_, err = jetstream.Open(t.Context(), url, alone("a", ""))
	says(t, "no records", err, evento.ErrDamaged, "a-rec is gone")
}

// Whatever somebody else publishes to the log means nothing.
func TestMessagesOfOthers(t *testing.T) {
	t.Parallel()
	url := single(t)
	ex := open(t, url, alone("a", ""))
	write(t, ex, "x", 0)
	nc := connection(t, url)
	for _, data := range []string{"", "x", "EV", "EV\x01" + strings.Repeat("x", 100), "EV\x09" + strings.Repeat("x", 100)} {
		if _, err := nc.Request("evento.a.log", []byte(data), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	write(t, ex, "x", 1)
	for _, client := range []evento.Executor{ex, open(t, url, alone("a", ""))} {
		if got := len(allEvents(t, client)); got != 2 {
			t.Errorf("there are %d events, want 2", got)
		}
	}
	write(t, ex, "x", 2)
}

// Who may not publish is told so, and who has no account is refused.
func TestPermissions(t *testing.T) {
	t.Parallel()
	denied, users := map[string]string{}, ""
	for i, subject := range []string{
		"$JS.API.STREAM.INFO.a", "$JS.API.STREAM.INFO.a-rec", "$JS.API.STREAM.INFO.a-snap", "$JS.API.DIRECT.GET.a", "evento.a.pub", "evento.a.recpub.*",
	} {
		denied[subject] = fmt.Sprint("denied", i)
		users += fmt.Sprintf("{ user: denied%d, password: secret, permissions: { publish: { deny: %q }, subscribe: { deny: %[2]q } } }\n", i, subject)
	}
	url := single(t, `accounts { A { jetstream: enabled, users: [
		{ user: all, password: secret }
		`+users+`
		{ user: reader, password: secret, permissions: { publish: { deny: "evento.*.log" } } }
	] } }`)
	_, err := jetstream.Open(t.Context(), url, alone("a", ""))
	says(t, "nobody", err, nats.ErrAuthorization)
	as := func(user string) *jetstream.Options {
		o := alone("a", "")
		o.Connect = []nats.Option{nats.UserInfo(user, "secret")}
		return o
	}
	write(t, open(t, url, as("all")), "x", 0)
	for subject, user := range denied {
		t.Run(subject, func(t *testing.T) {
			t.Parallel()
			_, err := jetstream.Open(t.Context(), url, as(user))
			says(t, subject, err, nats.ErrPermissionViolation, subject)
		})
	}
	reader := open(t, url, as("reader"))
	if got := len(allEvents(t, reader)); got != 1 {
		t.Errorf("a reader reads %d events, want 1", got)
	}
	_, err = reader.Write(t.Context(), one("y", 0))
	says(t, "a reader writes", err, nats.ErrPermissionViolation, "evento.a.log", evento.ErrReadOnly.Error())
}

// A log that is full refuses commits, and stores nothing of them.
func TestFullLog(t *testing.T) {
	t.Parallel()
	url := single(t)
	o := alone("a", "")
	o.MaxBytes = 100 << 10
	ex := open(t, url, o)
	stored, full := 0, error(nil)
	for n := 0; full == nil && n < 1000; n++ {
		w := one(fmt.Sprint(n), 0)
		w.Appends[0].Events[0].Data = make([]byte, 1<<10)
		if _, full = ex.Write(t.Context(), w); full == nil {
			stored++
		}
	}
	says(t, "a full log", full, evento.ErrFull)
	if got := len(allEvents(t, ex)); got != stored || stored < 50 {
		t.Errorf("there are %d events, and %d were acknowledged", got, stored)
	}
}

// A context that ends while there is no server ends the call.
func TestContextWithoutServer(t *testing.T) {
	t.Parallel()
	c := testserver.NATS(t, testserver.NATSOptions{Nodes: 1})
	ex := open(t, c.URL(), alone("a", ""))
	write(t, ex, "x", 0)
	c.Nodes[0].Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := ex.Read(ctx, evento.Query{}, backward); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read() = %v, want the context's error", err)
	}
	if _, err := ex.Write(ctx, one("y", 0)); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, evento.ErrOutcomeUnknown) {
		t.Errorf("Write() = %v", err)
	}
	w := one("z", 0)
	late, cancelLate := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelLate()
	if _, err := ex.Write(late, w); !errors.Is(err, evento.ErrOutcomeUnknown) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Write() = %v, want ErrOutcomeUnknown", err)
	}
	c.Nodes[0].Start()
	w.Retry = true
	if _, err := ex.Write(t.Context(), w); err != nil {
		t.Errorf("when the server is there again: %v", err)
	}
	local := alone("a", "")
	local.Reads = jetstream.Local
	other := open(t, c.URL(), local)
	c.Nodes[0].Kill()
	if got := len(allEvents(t, other)); got < 2 {
		t.Errorf("without a server, local reads see %d events", got)
	}
	c.Nodes[0].Start()
}
