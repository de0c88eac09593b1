package evento_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// Each module that this repository depends on by its own choice has a reason in
// docs/decisions.md, which gives none for a module that is not used any more.
func TestDependenciesHaveReasons(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/decisions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Dependencies\n")
	table, _, _ = strings.Cut(table, "\n## ")
	reasons := map[string]bool{} // of a module: is it used
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		for _, module := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(cells[1], -1) {
			if strings.Contains(module[1], ".") && strings.TrimSpace(cells[3]) != "" && !strings.HasPrefix(module[1], "internal/") {
				reasons[module[1]] = false
			}
		}
	}
	for mod, direct := range directDependencies(t) {
		for _, module := range direct {
			if _, ok := reasons[module]; !ok {
				t.Errorf("%s requires %s, for which docs/decisions.md has no reason", mod, module)
			}
			reasons[module] = true
		}
	}
	for module, used := range reasons {
		if !used {
			t.Errorf("docs/decisions.md has a reason for %s, which no module requires", module)
		}
	}
}

// directDependencies returns the modules that each go.mod of the repository requires for
// its own code and tools, without those that only dependencies need.
func directDependencies(t *testing.T) map[string][]string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "go.mod" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string][]string{}
	for _, file := range files {
		out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json", file).Output()
		if err != nil {
			t.Fatalf("go mod edit -json %s: %v", file, err)
		}
		var mod struct {
			Require []struct {
				Path     string
				Indirect bool
			}
			Tool []struct{ Path string }
		}
		if err := json.Unmarshal(out, &mod); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		direct[file] = nil
		for _, r := range mod.Require {
			isTool := false
			for _, tool := range mod.Tool {
				isTool = isTool || tool.Path == r.Path || strings.HasPrefix(tool.Path, r.Path+"/")
			}
			if (!r.Indirect || isTool) && r.Path != "github.com/evento-go/evento" {
				direct[file] = append(direct[file], r.Path)
			}
		}
	}
	if len(direct) < 5 {
		t.Fatalf("there are %d modules, want at least 5", len(direct))
	}
	return direct
}
