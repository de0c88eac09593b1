package evento_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// What a user of a package has to download and trust: beyond the standard
// library and evento itself, no more than this.
func TestDependencies(t *testing.T) {
	t.Parallel()
	core := []string{"github.com/fxamacker/cbor/v2", "github.com/oklog/ulid/v2", "github.com/x448/float16"}
	sqlite := append([]string{
		"github.com/ncruces/go-sqlite3", "github.com/ncruces/go-sqlite3-wasm/v6", "github.com/ncruces/julianday", "golang.org/x/sys",
	}, core...)
	postgres := append([]string{
		"github.com/jackc/pgx/v5", "github.com/jackc/pgpassfile", "github.com/jackc/pgservicefile", "github.com/jackc/puddle/v2",
		"golang.org/x/sync", "golang.org/x/text",
	}, core...)
	mysql := append([]string{"filippo.io/edwards25519", "github.com/go-sql-driver/mysql"}, core...)
	pebble := append(strings.Fields(`
		github.com/DataDog/zstd
		github.com/RaduBerinde/axisds github.com/RaduBerinde/btreemap
		github.com/beorn7/perks github.com/cespare/xxhash/v2
		github.com/cockroachdb/crlib github.com/cockroachdb/errors github.com/cockroachdb/logtags
		github.com/cockroachdb/pebble/v2 github.com/cockroachdb/redact github.com/cockroachdb/swiss
		github.com/cockroachdb/tokenbucket
		github.com/getsentry/sentry-go github.com/gogo/protobuf github.com/golang/protobuf
		github.com/golang/snappy github.com/klauspost/compress
		github.com/kr/pretty github.com/kr/text
		github.com/matttproud/golang_protobuf_extensions github.com/minio/minlz github.com/pkg/errors
		github.com/prometheus/client_golang github.com/prometheus/client_model
		github.com/prometheus/common github.com/prometheus/procfs github.com/rogpeppe/go-internal
		golang.org/x/exp golang.org/x/sys golang.org/x/text google.golang.org/protobuf`), core...)
	otel := append(strings.Fields(`
		github.com/cespare/xxhash/v2 github.com/go-logr/logr github.com/go-logr/stdr go.opentelemetry.io/auto/sdk
		go.opentelemetry.io/otel go.opentelemetry.io/otel/log go.opentelemetry.io/otel/metric go.opentelemetry.io/otel/trace`), core...)
	otelSDK := []string{"go.opentelemetry.io/otel/sdk", "github.com/google/uuid"}
	jetstream := append(strings.Fields(`
		github.com/nats-io/nats.go github.com/nats-io/nkeys github.com/nats-io/nuid golang.org/x/crypto`), pebble...)
	tools := []string{"golang.org/x/mod", "golang.org/x/sync", "golang.org/x/tools"}
	command := slices.Concat(sqlite, postgres, mysql, jetstream, tools, []string{"github.com/spf13/cobra", "github.com/spf13/pflag"})
	for pkg, allowed := range map[string][]string{
		".":                       core,
		"./cborwire":              core,
		"./cborwire/predeclared":  nil,
		"./cursor":                nil,
		"./executor/memory":       core,
		"./executor/group":        core,
		"./executor/rw":           core,
		"./executor/routed":       core,
		"./executor/executortest": core,
		"./eventotest":            append([]string{"github.com/google/go-cmp"}, core...),
		"./executor/pebble":       pebble,
		"./executor/jetstream":    jetstream,
		"./executor/sqlite":       sqlite,
		"./executor/mysql":        mysql,
		"./executor/postgres":     postgres,
		"./internal/appendqueue":  nil,
		"./internal/partition":    nil,
		"./examples/quickstart":   sqlite,
		"./examples/bank":         sqlite,
		"./examples/bank/bank":    sqlite,
		"./examples/bank-web":     slices.Concat(sqlite, otel, otelSDK),
		"./examples/readmodel":    slices.Concat(sqlite, postgres),
		"./examples/cluster":      jetstream,
		"./examples/evolution":    sqlite,
		"./examples/moving":       slices.Concat(sqlite, postgres, pebble),
		"./examples/uniqueness":   slices.Concat(sqlite, postgres),
		"./examples/process":      slices.Concat(sqlite, postgres),
		"./examples/shop":         slices.Concat(sqlite, postgres),
		"./console":               core,
		"./torture":               core,
		"./internal/payload":      core,
		"./internal/seek":         core,
		"./internal/subscribed":   core,
		"./internal/printable":    nil,
		"./eventotel":             otel,
		"./cmd/evento":            command,
		"./cmd/evento-gen":        slices.Concat(tools, core),
		"./internal/gen":          tools,
		"./internal/gen/kinds":    core,
		"./internal/sqlstore":     core,
		"./internal/store":        core,
		"./internal/transfer":     core,
	} {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), "go", "list", "-deps",
				"-f", "{{if .Module}}{{if not .Module.Main}}{{.Module.Path}}{{end}}{{end}}", pkg).CombinedOutput()
			if err != nil {
				t.Fatalf("go list: %v\n%s", err, out)
			}
			known := map[string]bool{}
			for _, module := range allowed {
				known[module] = true
			}
			for module := range strings.FieldsSeq(string(out)) {
				if !known[module] {
					t.Errorf("%s depends on %s", pkg, module)
				}
			}
		})
	}
}

// A storage's driver is imported by its executor and, but for applications with
// tables of their own, by nothing else.
func TestDrivers(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}\n{{end}}", "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		var pkg, imported string
		if _, err := fmt.Sscan(line, &pkg, &imported); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		pkg = strings.TrimPrefix(pkg, "github.com/evento-go/evento/")
		if strings.HasPrefix(pkg, "examples/") || pkg == "internal/testserver" {
			continue
		}
		for driver, executor := range map[string]string{
			"github.com/ncruces/go-sqlite3": "executor/sqlite", "github.com/jackc/pgx/": "executor/postgres",
			"github.com/go-sql-driver/mysql": "executor/mysql", "github.com/cockroachdb/pebble/": "executor/pebble",
			"github.com/nats-io/": "executor/jetstream",
		} {
			if strings.HasPrefix(imported, driver) && pkg != executor {
				t.Errorf("%s imports %s: only %s may", pkg, imported, executor)
			}
		}
	}
}
