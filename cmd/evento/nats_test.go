package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

// Opened to look at it, a store on NATS cannot be changed, and is not made.
func TestNATSLooking(t *testing.T) {
	t.Parallel()
	store := natsURL(t, "")
	a, err := parseStore(store)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, how := range []access{looking, changing} {
		if _, err := a.open(ctx, how); err == nil || !strings.Contains(err.Error(), "evento migrate up --store nats://127.0.0.1") {
			t.Errorf("open(%d) of no store = %v", how, err)
		}
		if _, err := a.openNATS(ctx, how); err == nil || !strings.Contains(err.Error(), "evento migrate up --store nats://127.0.0.1") {
			t.Errorf("openNATS(%d) of no store = %v", how, err)
		}
	}
	if err := fill(ctx, store); err != nil {
		t.Fatal(err)
	}
	before, _ := must(t, "", "export", "--store", store)
	ex, err := a.open(ctx, looking)
	if err != nil {
		t.Fatal(err)
	}
	key := evento.SnapshotKey{Projection: "p", Variant: strings.Repeat("0", 64), AggregateType: "shop/Order", AggregateID: "o1"}
	event := evento.NewEvent{ID: evento.NewID(), Name: "n", Codec: "json", Data: []byte("{}")}
	_, isImporter := ex.(evento.Importer)
	for what, err := range map[string]error{
		"Write":           commit(ctx, ex, event),
		"Swap":            ex.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "k", Key: "k", Part: "p"}}}}),
		"SaveSnapshot":    ex.SaveSnapshot(ctx, key, evento.Snapshot{Version: 1, Position: 1}),
		"RemoveSnapshots": ex.RemoveSnapshots(ctx, []evento.SnapshotKey{key}),
		"Pause":           evento.ControlOf(ex, "mailer").Pause(ctx),
		"Import":          ex.(evento.Importer).Import(ctx, []evento.RawEvent{{Position: 7}}),
	} {
		if !isImporter || err == nil || !strings.Contains(err.Error(), "read-only store") {
			t.Errorf("%s = %v, want ErrReadOnly", what, err)
		}
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
	if after, _ := must(t, "", "export", "--store", store); after != before {
		t.Errorf("the store was changed:\n%s\nand before\n%s", after, before)
	}
}

// A store is made on as many servers as the URL says, and on fewer than three only if it says
// that this is enough.
func TestNATSReplicas(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t, testserver.NATSOptions{Nodes: 1}).URL()
	if code, _, errs := call(t, "", "migrate", "up", "--store", server+"/shop"); code != exitFailed || !strings.Contains(errs, "replicas") {
		t.Errorf("on one server: exit code %d, %s", code, errs)
	}
	must(t, "", "migrate", "up", "--store", server+"/shop?replicas=1&unsafe=true")
	if code, _, errs := call(t, "", "migrate", "up", "--store", server+"/shop"); code != exitFailed || !strings.Contains(errs, "1 replicas") {
		t.Errorf("of one that is there: exit code %d, %s", code, errs)
	}
	must(t, "", "events", "list", "--store", server+"/shop")
	code, out, errs := call(t, "", "doctor", "--store", server+"/shop")
	if code != exitOK || !strings.Contains(out, "stream shop: it is on 1 of at least 3 servers") || !strings.Contains(out, " 3 warnings") {
		t.Errorf("doctor: exit code %d, %s%s", code, out, errs)
	}
}

// An account, or servers, without JetStream are an error that says so.
func TestNATSWithoutJetStream(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t, testserver.NATSOptions{Nodes: 1, Lines: []string{accounts}}).URL()
	store := strings.Replace(server, "//", "//none:none-password@", 1) + "/shop"
	for _, args := range [][]string{{"events", "list"}, {"migrate", "up"}, {"migrate", "status"}, {"doctor"}} {
		if code, out, errs := call(t, "", append(args, "--store", store)...); code != exitFailed || !strings.Contains(errs, "JetStream not enabled") || strings.Contains(out+errs, "none") {
			t.Errorf("evento %q: exit code %d, %s%s", args, code, out, errs)
		}
	}
}

const accounts = `system_account: SYS
accounts {
  SYS { users: [{user: "sys", password: "sys-password"}] }
  APP { jetstream: enabled, users: [{user: "app", password: "app-password"}] }
  NONE { users: [{user: "none", password: "none-password"}] }
}`

// doctor asks the servers whether they sync always, if it may.
func TestNATSSyncAlways(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t, testserver.NATSOptions{Nodes: 1, Lines: []string{accounts}}).URL()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), privateFile); err != nil {
			t.Fatal(err)
		}
		return path
	}
	app, sys, other := file("app", "app:app-password\n"), file("sys", "sys:sys-password"), file("other", "no password")
	store := server + "/shop?replicas=1&unsafe=true&creds=" + app
	must(t, "", "migrate", "up", "--store", store)
	for _, test := range []struct {
		creds, want string
		code        int
	}{
		{"", "note    durability   whether the servers sync", exitOK},
		{sys, ": 0 events read, 0 errors, 0 warnings", exitOK},
		{app, "not those of a user of the system account", exitFailed},
		{other, "neither those of a user of NATS nor a line user:password", exitFailed},
		{filepath.Join(dir, "missing"), "no such file", exitFailed},
	} {
		code, out, errs := call(t, "", "doctor", "--store", store, "--system-creds", test.creds)
		if code != test.code || !strings.Contains(out, test.want) || strings.Contains(out+errs, "-password") || strings.Contains(out, "restore a backup") {
			t.Errorf("doctor --system-creds %q: exit code %d, %s%s, want %d and %q", test.creds, code, out, errs, test.code, test.want)
		}
		if test.creds == sys && strings.Contains(out, "durability") {
			t.Errorf("doctor --system-creds: %s", out)
		}
	}
	if code, _, errs := call(t, "", "doctor", "--store", filled(t), "--system-creds", sys); code != exitUsage || !strings.Contains(errs, "for stores on NATS") {
		t.Errorf("of another kind: exit code %d, %s", code, errs)
	}
}

// Replicas that are offline are found, and servers that do not sync always.
func TestNATSDoctorCluster(t *testing.T) {
	t.Parallel()
	c := testserver.NATS(t, testserver.NATSOptions{Lines: []string{accounts, `jetstream { store_dir: "data", sync_interval: "1m" }`}})
	sys := filepath.Join(t.TempDir(), "sys")
	if err := os.WriteFile(sys, []byte("sys:sys-password"), privateFile); err != nil {
		t.Fatal(err)
	}
	store := strings.Replace(c.URL(), "//", "//app:app-password@", 1) + "/shop"
	store = strings.ReplaceAll(store, ",nats://", ",")
	if err := fill(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	got, text := findings(t, "--store", store, "--system-creds", sys)
	if got["error durability"] != 3 || !strings.Contains(text, `"subject":"server n2","detail":"it does not sync what it acknowledges, but every 1m0s"`) {
		t.Errorf("found %v\n%s", got, text)
	}
	c.Nodes[1].Kill()
	for got["error replicas"]+got["warning replicas"] == 0 { // the leaders do not know it at once
		got, text = findings(t, "--store", store, "--system-creds", sys)
	}
	if got["warning durability"] == 0 || got["error durability"] != 2 {
		t.Errorf("without a server: found %v\n%s", got, text)
	}
}

// A stream that is nearly full is found.
func TestNATSDoctorLimits(t *testing.T) {
	t.Parallel()
	store := natsURL(t, "")
	a, err := parseStore(store)
	if err != nil {
		t.Fatal(err)
	}
	ex, err := jetstream.Open(t.Context(), a.place, &jetstream.Options{Name: "shop", Replicas: 1, AllowUnsafe: true, MaxBytes: 3000})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = commit(t.Context(), ex, evento.NewEvent{ID: evento.NewID(), Name: "n", Codec: "json", Data: []byte("{}")})
	}
	if !errors.Is(err, evento.ErrFull) {
		t.Fatalf("Write() = %v, want ErrFull", err)
	}
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	if got, text := findings(t, "--store", store); got["warning limits"] != 1 || !strings.Contains(text, "of 3,000 bytes are used") {
		t.Errorf("found %v\n%s", got, text)
	}
}

// A user who may do what a program needs can use the command, though doctor is not told the limits
// of the account.
func TestNATSPermissions(t *testing.T) {
	t.Parallel()
	const users = `accounts {
  APP { jetstream: enabled, users: [{user: "app", password: "app-password", permissions: {publish: {deny: "$JS.API.INFO"}}}] }
}`
	server := testserver.NATS(t, testserver.NATSOptions{Nodes: 1, Lines: []string{users}}).URL()
	store := strings.Replace(server, "//", "//app:app-password@", 1) + "/shop?replicas=1&unsafe=true"
	must(t, "", "migrate", "up", "--store", store)
	code, out, errs := call(t, "", "doctor", "--store", store)
	if code != exitOK || !strings.Contains(out, "note    limits       the account: ") || !strings.Contains(out, "remedy: let the user publish to $JS.API.INFO") {
		t.Errorf("doctor: exit code %d, %s%s", code, out, errs)
	}
}

// What is no index is named, and stays as it is.
func TestNATSNoIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), privateFile); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, privateDirectory); err != nil {
		t.Fatal(err)
	}
	for index, want := range map[string]string{
		file: "file is not a directory", empty: "there is no index in " + empty, filepath.Join(dir, "none"): "no such file",
	} {
		for _, args := range [][]string{{"verify"}, {"copy", "--to", filepath.Join(dir, "copy")}} {
			store := "nats://127.0.0.1:1/shop?dir=" + index // no server is asked
			if code, _, errs := call(t, "", append([]string{"index", "--store", store}, args...)...); code != exitFailed || !strings.Contains(errs, want) {
				t.Errorf("evento index %q with %s: exit code %d, %s, want %s", args, index, code, errs, want)
			}
		}
	}
	if list := slices.Concat(names(t, dir), names(t, empty)); !slices.Equal(list, []string{"empty", "file"}) {
		t.Errorf("there is %q", list)
	}
}

// An index is compared with the log, and copied.
func TestNATSIndex(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "an index")
	store := natsURL(t, dir)
	if code, _, errs := call(t, "", "index", "verify", "--store", store); code != exitFailed || !strings.Contains(errs, "there is no index") {
		t.Errorf("verify without an index: exit code %d, %s", code, errs)
	}
	if err := fill(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != privateDirectory {
		t.Errorf("the index is %v, %v", info, err)
	}
	want := ", 6 events, 0 differences"
	if out, _ := must(t, "", "index", "verify", "--store", store); !strings.Contains(out, want) {
		t.Errorf("verify: %s, want %s", out, want)
	}
	if out, _ := must(t, "", "index", "verify", "--store", store, "-o", "json"); !strings.HasPrefix(out, `{"summary":{"sequence":`) || !strings.HasSuffix(out, `"events":6,"differences":0}}`+"\n") {
		t.Errorf("verify -o json: %s", out)
	}
	copied := filepath.Join(filepath.Dir(dir), "copy")
	must(t, "", "index", "copy", "--store", store, "--to", copied)
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != privateDirectory {
		t.Errorf("the copy is %v, %v", info, err)
	}
	if code, _, errs := call(t, "", "index", "copy", "--store", store, "--to", copied); code != exitFailed || !strings.Contains(errs, "exists") {
		t.Errorf("copy to what is there: exit code %d, %s", code, errs)
	}
	for _, within := range []string{dir, filepath.Join(dir, "copy"), filepath.Join(dir, "a", "b")} { // Pebble would not open it any more
		if code, _, errs := call(t, "", "index", "copy", "--store", store, "--to", within); code != exitUsage || !strings.Contains(errs, "in the index itself") {
			t.Errorf("copy to %s: exit code %d, %s", within, code, errs)
		}
	}
	if list := names(t, filepath.Dir(dir)); len(list) != 2 {
		t.Errorf("there is %q", list)
	}
	onCopy := strings.Replace(store, "an+index", "copy", 1)
	if out, _ := must(t, "", "index", "verify", "--store", onCopy); !strings.Contains(out, want) {
		t.Errorf("verify of the copy: %s, want %s", out, want)
	}
	events, _ := must(t, "", "events", "list", "--store", store)
	if out, _ := must(t, "", "events", "list", "--store", onCopy); out != events {
		t.Errorf("the copy has\n%s\nand the index\n%s", out, events)
	}
}

// An index that a process has open is an error at once.
func TestNATSIndexInUse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "index")
	store := natsURL(t, dir)
	err := onNewStore(t.Context(), store, func(ex evento.Executor) error {
		for _, args := range [][]string{{"events", "list"}, {"index", "verify"}, {"index", "copy", "--to", dir + "2"}} {
			if code, _, errs := call(t, "", append(args, "--store", store)...); code != exitFailed || !strings.Contains(errs, "another executor has it open") {
				t.Errorf("evento %q: exit code %d, %s", args, code, errs)
			}
		}
		return ex.(*jetstream.Executor).CopyIndex(t.Context(), dir+"3")
	})
	if err != nil {
		t.Error(err)
	}
	must(t, "", "index", "verify", "--store", strings.Replace(store, "index", "index3", 1))
	if list := names(t, filepath.Dir(dir)); len(list) != 2 {
		t.Errorf("there is %q", list)
	}
}

// Whatever of an index is not what the log says is found, and gone when the index is made anew.
func TestNATSIndexDamaged(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "index")
	store := natsURL(t, dir)
	if err := fill(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	db, err := lsm.Open(dir, &lsm.Options{Logger: unlogged{}})
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "index/"
	raw := rawPebble{t, db}
	raw.remove(prefix + "e" + be(2))
	third := raw.get(prefix + "e" + be(3))
	raw.set(prefix+"e"+be(3), append(third, ' '))
	raw.remove(raw.first(prefix + "csubscription\x00mailer\x00"))
	raw.set(prefix+"q", []byte("x"))
	place := raw.get(prefix + "xa")
	place[15] ^= 1 // the hash
	raw.set(prefix+"xa", place)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	code, out, errs := call(t, "", "index", "verify", "--store", store)
	for _, want := range []string{
		"its hash of what was decided up to message ", "the event at position 2 is missing\n", "the event at position 3 is another\n",
		`the record subscription "mailer" `, `the key "index/q" should not be there`, ", 6 events, 6 differences\n",
	} {
		if code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("verify: exit code %d, want %s in\n%s%s", code, want, out, errs)
		}
	}
	if code, out, _ := call(t, "", "index", "verify", "--store", store, "-o", "json"); code != exitFailed || !strings.Contains(out, `{"detail":"the event at position 2 is missing"}`) || !strings.Contains(out, `"differences":6}}`) {
		t.Errorf("verify -o json: exit code %d\n%s", code, out)
	}
	if got, text := findings(t, "--store", store); got["error index"] == 0 || got["error identity"] != 1 || got["error position"] != 1 {
		t.Errorf("doctor found %v\n%s", got, text)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	must(t, "", "events", "list", "--store", store)
	must(t, "", "index", "verify", "--store", store)
}

// An index that is ahead of the log is found.
func TestNATSIndexAhead(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "index")
	store := natsURL(t, dir)
	if err := fill(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	db, err := lsm.Open(dir, &lsm.Options{Logger: unlogged{}})
	if err != nil {
		t.Fatal(err)
	}
	raw := rawPebble{t, db}
	place := raw.get("index/xa")
	place[6] = 1
	raw.set("index/xa", place)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := call(t, "", "index", "verify", "--store", store); code != exitFailed || !strings.Contains(out, "the log was restored from a backup") {
		t.Errorf("verify: exit code %d\n%s", code, out)
	}
}

// Of an index of another store nothing is compared or copied.
func TestNATSIndexOfAnotherStore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "index")
	store := natsURL(t, dir)
	other := strings.Replace(store, "/shop?", "/other?", 1)
	must(t, "", "migrate", "up", "--store", store)
	must(t, "", "migrate", "up", "--store", strings.Split(other, "&dir")[0])
	for _, args := range [][]string{{"index", "verify"}, {"index", "copy", "--to", dir + "2"}} {
		if code, _, errs := call(t, "", append(args, "--store", other)...); code != exitFailed || !strings.Contains(errs, "index of another store") {
			t.Errorf("evento %q: exit code %d, %s", args, code, errs)
		}
	}
}

// A user whose inbox has a prefix can use the command with it, and is told so without it.
func TestNATSInbox(t *testing.T) {
	t.Parallel()
	const users = `accounts {
  APP { jetstream: enabled, users: [{user: "app", password: "app-password", permissions: {subscribe: {deny: "_INBOX.>"}}}] }
}`
	server := testserver.NATS(t, testserver.NATSOptions{Nodes: 1, Lines: []string{users}}).URL()
	store := strings.Replace(server, "//", "//app:app-password@", 1) + "/shop?replicas=1&unsafe=true"
	for _, args := range [][]string{{"migrate", "up"}, {"migrate", "status"}, {"events", "list"}, {"doctor"}} {
		if code, out, errs := call(t, "", append(args, "--store", store)...); code != exitFailed || !strings.Contains(errs, `Subscription to "_INBOX.`) || strings.Contains(out+errs, "app-password") {
			t.Errorf("evento %q: exit code %d, %s%s", args, code, out, errs)
		}
	}
	store += "&inbox=_INBOX_app"
	for _, args := range [][]string{{"migrate", "up"}, {"migrate", "status"}, {"events", "list"}, {"doctor"}} {
		must(t, "", append(args, "--store", store)...)
	}
	if code, _, errs := call(t, "", "events", "list", "--store", store+".>"); code != exitFailed || !strings.Contains(errs, "invalid custom prefix") {
		t.Errorf("with a wrong prefix: exit code %d, %s", code, errs)
	}
}

// Servers that ask for certificates of a CA of their own are reached with files named in the URL.
func TestNATSCertificates(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "evento-tls-") //nolint:usetesting // the server runs as another user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ca, cert, key := certificates(t, dir)
	lines := fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, ca)
	server := testserver.NATS(t, testserver.NATSOptions{Nodes: 1, Lines: []string{lines}}).URL()
	store := server + "/shop?replicas=1&unsafe=true&ca=" + ca
	for store, want := range map[string]string{
		store: "tls", // "certificate required", unless the server was faster to close the connection
		server + "/shop?cert=" + cert + "&key=" + key: "unknown authority",
		store + "x":                           ca + "x",
		store + "&cert=" + cert + "&key=none": "none",
	} {
		if code, _, errs := call(t, "", "migrate", "status", "--store", store); code != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("migrate status --store %s: exit code %d, %s, want %q", store, code, errs, want)
		}
	}
	store += "&cert=" + cert + "&key=" + key
	must(t, "", "migrate", "up", "--store", store)
	if code, out, errs := call(t, "", "events", "list", "--store", store); code != exitOK || strings.Contains(out+errs, dir) {
		t.Errorf("events list: exit code %d, %s%s", code, out, errs)
	}
}

// certificates makes the files of a CA and of one certificate of it, for servers and clients on this
// machine, and its key.
func certificates(t *testing.T, dir string) (ca, cert, key string) {
	t.Helper()
	if err := os.Chmod(dir, 0o755); err != nil { // the server runs as another user
		t.Fatal(err)
	}
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o644); err != nil { // as above
			t.Fatal(err)
		}
		return path
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, public, private)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, public, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write("ca.pem", "CERTIFICATE", rootDER), write("cert.pem", "CERTIFICATE", leafDER), write("key.pem", "PRIVATE KEY", keyDER)
}
