package docs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

const servers = "nats://a:4222,nats://b:4222,nats://c:4222"

func openShop(ctx context.Context) error {
	store, err := jetstream.Open(ctx, servers, &jetstream.Options{
		Name: "shop",                // the streams are shop, shop-rec and shop-snap
		Dir:  "/var/lib/shop/index", // this process's own; made anew if it is lost
		Connect: []nats.Option{
			nats.UserInfo("shop", os.Getenv("SHOP_PASSWORD")),
			nats.CustomInboxPrefix("_INBOX_shop"), // nobody else's answers
		},
	})
	if err != nil {
		return err
	}
	r, err := evento.Create().Event(AccountOpened{Owner: "Ada"}).Commit(ctx, store)
	if err == nil {
		log.Println("stored on a majority of the servers, at position", r.Position)
	}
	return errors.Join(err, store.Close())
}

// The address of the program is one of the guide's.
func TestOpenShop(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := openShop(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

const shopAccount = `
accounts {
	SHOP {
		jetstream: enabled
		users: [{
			user: shop, password: $SHOP_PASSWORD
			permissions {
				publish: [
					"evento.shop.log", "evento.shop.rec.*", "evento.shop.snap.*"
					"$JS.API.STREAM.INFO.shop", "$JS.API.STREAM.INFO.shop-rec", "$JS.API.STREAM.INFO.shop-snap"
					"$JS.API.STREAM.CREATE.shop", "$JS.API.STREAM.CREATE.shop-rec", "$JS.API.STREAM.CREATE.shop-snap"
					"$JS.API.STREAM.MSG.GET.shop", "$JS.API.STREAM.MSG.GET.shop-rec", "$JS.API.STREAM.MSG.GET.shop-snap"
					"$JS.API.STREAM.PURGE.shop-rec", "$JS.API.STREAM.PURGE.shop-snap", "$JS.API.DIRECT.GET.shop"
				]
				subscribe: ["evento.shop.pub", "evento.shop.recpub.*", "_INBOX_shop.>"]
			}
		}]
	}
}
`

// shopServer is a server that allows what the guide says, and an operator everything.
func shopServer(t *testing.T, permissions string) string {
	t.Helper()
	config := strings.ReplaceAll(permissions, "$SHOP_PASSWORD", "secret")
	config = strings.Replace(config, "users: [{", "users: [ { user: operator, password: secret }, {", 1)
	return testserver.NATS(t, testserver.NATSOptions{Nodes: 1, Lines: []string{config}}).URL()
}

// complaints are what a server refuses beside its answers.
type complaints struct {
	mu  sync.Mutex
	all []string
}

func (c *complaints) add(_ *nats.Conn, _ *nats.Subscription, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, err.Error())
}

func (c *complaints) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.all, "\n")
}

func asShop(dir string, c *complaints) *jetstream.Options {
	return &jetstream.Options{
		Name: "shop", Dir: dir, Replicas: 1, AllowUnsafe: true, Logger: slog.New(slog.DiscardHandler),
		Connect: []nats.Option{
			nats.UserInfo("shop", "secret"), nats.CustomInboxPrefix("_INBOX_shop"), nats.ErrorHandler(c.add),
		},
	}
}

func openAsShop(t *testing.T, url, dir string, c *complaints) *jetstream.Executor {
	t.Helper()
	ex, err := jetstream.Open(t.Context(), url, asShop(dir, c))
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	return ex
}

// everything is done that needs a server.
func everything(t *testing.T, url string, c *complaints) {
	t.Helper()
	ctx, dir := t.Context(), filepath.Join(t.TempDir(), "index")
	key := evento.SnapshotKey{Projection: "p", Variant: "v", AggregateType: account, AggregateID: "ada"}
	for version := range uint64(2) { // the second time with an index
		ex := openAsShop(t, url, dir, c)
		owner := strings.Repeat("Ada", 1<<19) // several messages
		_, err := evento.Aggregate("ada").OriginalVersion(version).Event(AccountOpened{Owner: owner}).Commit(ctx, ex)
		page, readErr := ex.Read(ctx, evento.Query{Filters: []evento.Filter{{AggregateType: account, AggregateID: "ada"}}}, cursor.Forward(10, ""))
		if readErr != nil || len(page.Edges) != int(version)+1 {
			t.Fatalf("Read() has %d events, %v", len(page.Edges), readErr)
		}
		err = errors.Join(err, recordsEverywhere(ctx, ex))
		position := page.Edges[version].Node.Position
		snapshot := evento.Snapshot{Version: position, Position: position, Cursor: page.Edges[version].Cursor, Data: bytes.Repeat([]byte("x"), 2<<20)}
		err = errors.Join(err, ex.SaveSnapshot(ctx, key, snapshot))
		_, getErr := ex.Snapshot(ctx, key)
		listed, listErr := ex.Snapshots(ctx, evento.SnapshotQuery{})
		if listErr != nil || len(listed.Snapshots) != 1 {
			t.Errorf("there are %d snapshots, %v", len(listed.Snapshots), listErr)
		}
		if err := errors.Join(err, getErr, ex.RemoveSnapshots(ctx, []evento.SnapshotKey{key}), ex.Close()); err != nil {
			t.Error(err)
		}
	}
}

// recordsEverywhere makes a record, changes it where records live, moves it to the log with an
// event, and removes it.
func recordsEverywhere(ctx context.Context, ex evento.Executor) error {
	for revision := range uint64(4) {
		swap := setRecord(revision, "x")
		swap.Changes[0].Remove = revision == 3
		var err error
		if revision == 2 {
			a := evento.Append{AggregateType: account, AggregateID: rand.Text(), Events: []evento.NewEvent{{ID: evento.NewID(), Name: "n", Codec: "c", Data: []byte("x")}}}
			_, err = ex.Write(ctx, evento.Write{Appends: []evento.Append{a}, Swap: &swap})
		} else {
			err = ex.Swap(ctx, swap)
		}
		if err != nil {
			return fmt.Errorf("the record at revision %d: %w", revision, err)
		}
	}
	return nil
}

func setRecord(revision uint64, value string) evento.Swap {
	return evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "k", Key: "key"}, Revision: revision, Value: []byte(value)}}}
}

// The permissions of the guide are enough.
func TestPermissions(t *testing.T) {
	t.Parallel()
	refused := &complaints{}
	url := shopServer(t, shopAccount)
	everything(t, url, refused)
	if said := refused.said(); said != "" {
		t.Errorf("the server has refused: %s", said)
	}

	// And they allow nothing else that would harm the store.
	nc := natsConnection(t, url, "shop")
	for _, subject := range []string{
		"evento.shop.pub", "evento.shop.recpub.x", "$JS.API.STREAM.DELETE.shop", "$JS.API.STREAM.DELETE.shop-rec", "$JS.API.STREAM.UPDATE.shop-rec",
		"$JS.API.STREAM.UPDATE.shop", "$JS.API.STREAM.PURGE.shop",
		"$JS.API.STREAM.MSG.DELETE.shop", "$JS.API.STREAM.RESTORE.shop", "$JS.API.STREAM.CREATE.other", "evento.other.log",
	} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := nc.LastError(); err == nil || !strings.Contains(err.Error(), `"`+subject+`"`) {
			t.Errorf("%s is allowed: %v", subject, err)
		}
	}
}

func natsConnection(t *testing.T, url, user string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserInfo(user, "secret"), nats.CustomInboxPrefix("_INBOX_shop"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// request asks a server's API.
func request(t *testing.T, nc *nats.Conn, subject string, body any) map[string]any {
	t.Helper()
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	m, err := nc.Request("$JS.API."+subject, data, 30*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	var answer map[string]any
	if err := json.Unmarshal(m.Data, &answer); err != nil || answer["error"] != nil {
		t.Fatalf("%s: %s", subject, m.Data)
	}
	return answer
}

// backup is what `nats stream backup` does, and restore `nats stream restore`
// (https://docs.nats.io/nats-concepts/jetstream/disaster_recovery).
func backup(t *testing.T, nc *nats.Conn, stream string) (answer map[string]any, data []byte) {
	t.Helper()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	answer = request(t, nc, "STREAM.SNAPSHOT."+stream, map[string]any{"deliver_subject": inbox, "jsck": true})
	for {
		m, err := sub.NextMsg(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Data) == 0 {
			return answer, data
		}
		data = append(data, m.Data...)
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func restore(t *testing.T, nc *nats.Conn, stream string, of map[string]any, data []byte) {
	t.Helper()
	answer := request(t, nc, "STREAM.RESTORE."+stream, map[string]any{"config": of["config"], "state": of["state"]})
	for piece := range slices.Chunk(data, 64<<10) {
		if _, err := nc.Request(answer["deliver_subject"].(string), piece, 30*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	m, err := nc.Request(answer["deliver_subject"].(string), nil, 30*time.Second)
	if err != nil || strings.Contains(string(m.Data), `"error"`) {
		t.Fatalf("restoring %s: %s, %v", stream, m.Data, err)
	}
}

// A backup of the server's that was made while clients write is restored when none runs:
// without a new identity the index is made anew, with one its directory has to be removed,
// and cursors of before are refused. Records are as in the backup, and if their stream is gone
// the store is refused.
func TestBackup(t *testing.T) {
	t.Parallel()
	url := shopServer(t, shopAccount)
	nc, ctx := natsConnection(t, url, "operator"), t.Context()
	dir := filepath.Join(t.TempDir(), "index")
	ex := openAsShop(t, url, dir, &complaints{})
	commit := func(ex evento.Executor, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if _, err := evento.Aggregate(fmt.Sprint(i)).Event(AccountOpened{Owner: rand.Text()}).Commit(ctx, ex); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit(ex, 0, 100)
	record := func(ex evento.Executor) string {
		t.Helper()
		page, err := ex.Records(ctx, evento.RecordQuery{Kind: "k"})
		if err != nil || len(page.Records) != 1 {
			t.Fatalf("there are %d records, %v", len(page.Records), err)
		}
		return string(page.Records[0].Value)
	}
	set := func(ex evento.Executor, revision uint64, value string) {
		t.Helper()
		if err := ex.Swap(ctx, setRecord(revision, value)); err != nil {
			t.Fatal(err)
		}
	}
	set(ex, 0, "born")
	set(ex, 1, "changed")
	ofRecords, records := backup(t, nc, "shop-rec")
	of, data := backup(t, nc, "shop")
	set(ex, 2, "changed later")
	commit(ex, 100, 150)
	kept, err := ex.CursorAt(40)
	if err := errors.Join(err, ex.Close()); err != nil {
		t.Fatal(err)
	}
	count := func(ex evento.Executor) (n int) {
		t.Helper()
		for _, err := range evento.Events(ctx, ex, evento.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}

	request(t, nc, "STREAM.DELETE.shop", nil)
	request(t, nc, "STREAM.DELETE.shop-rec", nil)
	restore(t, nc, "shop", of, data)
	restore(t, nc, "shop-rec", ofRecords, records)
	ex = openAsShop(t, url, dir, &complaints{})
	if got := count(ex); got != 100 {
		t.Errorf("after the restore there are %d events, want 100", got)
	}
	if got := record(ex); got != "changed" {
		t.Errorf("after the restore the record is %q", got)
	}
	set(ex, 2, "changed again")
	commit(ex, 100, 120)
	if _, err := ex.Read(ctx, evento.Query{}, cursor.Forward(10, kept)); err != nil {
		t.Errorf("a cursor of before: %v", err)
	}
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}

	config := maps.Clone(of["config"].(map[string]any))
	metadata := maps.Clone(config["metadata"].(map[string]any))
	metadata["evento-id"] = strings.Repeat("5a", 16)
	config["metadata"] = metadata
	request(t, nc, "STREAM.UPDATE.shop", config)
	if _, err := jetstream.Open(ctx, url, asShop(dir, &complaints{})); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("with the index of before: %v, want ErrInvalid", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	ex = openAsShop(t, url, dir, &complaints{})
	if got := count(ex); got != 120 {
		t.Errorf("with a new identity there are %d events, want 120", got)
	}
	if got := record(ex); got != "changed again" {
		t.Errorf("with a new identity the record is %q", got)
	}
	if _, err := ex.Read(ctx, evento.Query{}, cursor.Forward(10, kept)); !errors.Is(err, cursor.ErrForeign) {
		t.Errorf("a cursor of before: %v, want ErrForeign", err)
	}
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}

	request(t, nc, "STREAM.DELETE.shop-rec", nil)
	if _, err := jetstream.Open(ctx, url, asShop(dir, &complaints{})); !errors.Is(err, evento.ErrDamaged) {
		t.Errorf("without the stream of records: %v, want ErrDamaged", err)
	}
}
