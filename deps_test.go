package evento_test

import (
	"os/exec"
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
	mysql := append([]string{"filippo.io/edwards25519", "github.com/go-sql-driver/mysql"}, core...)
	for pkg, allowed := range map[string][]string{
		".":                       core,
		"./cursor":                nil,
		"./executor/memory":       core,
		"./executor/executortest": core,
		"./executor/sqlite":       sqlite,
		"./executor/mysql":        mysql,
		"./internal/appendqueue":  nil,
		"./examples/quickstart":   sqlite,
		"./internal/signal":       nil,
		"./examples/bank":         sqlite,
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
