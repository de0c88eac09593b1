// Package grammar holds every statement that executor/mysql sends against the
// grammar of MySQL 8, as the other tests run on MariaDB. It is a module of its
// own, so that the parser is nobody's dependency.
package grammar

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	driver "github.com/go-sql-driver/mysql"
	"github.com/pingcap/tidb/pkg/parser"
	_ "github.com/pingcap/tidb/pkg/parser/test_driver"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

// recorder keeps the texts of all statements that go through its connections.
type recorder struct {
	mu    sync.Mutex
	texts map[string]bool
}

func (r *recorder) add(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts[text] = true
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.texts))
}

// connector makes connections that record.
type connector struct {
	sqldriver.Connector
	r *recorder
}

func (c connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	under, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return conn{under.(driverConn), c.r}, nil
}

// driverConn is what the driver's connections can do.
type driverConn interface {
	sqldriver.Conn
	sqldriver.ConnBeginTx
	sqldriver.ConnPrepareContext
	sqldriver.ExecerContext
	sqldriver.NamedValueChecker
	sqldriver.Pinger
	sqldriver.QueryerContext
	sqldriver.SessionResetter
	sqldriver.Validator
}

type conn struct {
	driverConn
	r *recorder
}

func (c conn) PrepareContext(ctx context.Context, text string) (sqldriver.Stmt, error) {
	c.r.add(text)
	return c.driverConn.PrepareContext(ctx, text)
}

func (c conn) ExecContext(ctx context.Context, text string, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	c.r.add(text)
	return c.driverConn.ExecContext(ctx, text, args)
}

func (c conn) QueryContext(ctx context.Context, text string, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	c.r.add(text)
	return c.driverConn.QueryContext(ctx, text, args)
}

// stores opens executors whose connections record.
type stores struct {
	r       *recorder
	several bool // whether a connection takes several statements at once
}

func (s *stores) db(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	cfg, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MultiStatements = s.several
	cfg.Logger = &driver.NopLogger{}
	under, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return sql.OpenDB(connector{under, s.r})
}

func (s *stores) open(t testing.TB, dsn string) evento.Executor {
	t.Helper()
	db := s.db(t, dsn)
	if err := mysql.Migrate(context.Background(), db); err != nil {
		t.Fatalf("Migrate() = %v", err)
	}
	ex, err := mysql.New(context.Background(), db, nil)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("closing the database: %v", err)
		}
	})
	return ex
}

func (s *stores) config() executortest.Config {
	c := storetest.Config(testserver.MySQL, s.open)
	c.Transactor = true
	return c
}

// The contract suite goes through all paths of the executor; whatever it sends
// is MySQL 8.
func TestGrammar(t *testing.T) {
	if testserver.MySQL(t) == "" {
		return
	}
	r := &recorder{texts: map[string]bool{}}
	t.Run("Contract", func(t *testing.T) {
		for name, several := range map[string]bool{"Several": true, "Single": false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				executortest.Test(t, (&stores{r: r, several: several}).config())
			})
		}
	})
	t.Run("Inspect", func(t *testing.T) {
		s, dsn := &stores{r: r, several: true}, testserver.MySQL(t)
		in, err := mysql.Inspect(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if err := in.DB.Close(); err != nil {
			t.Fatal(err)
		}
		in.DB = s.db(t, dsn)
		storetest.Inspector(t, in, "evento_", func() evento.Executor { return s.open(t, dsn) })
	})
	texts := r.all()
	p := parser.New()
	for _, text := range texts {
		if _, _, err := p.ParseSQL(text); err != nil {
			t.Errorf("not MySQL 8: %s\n%v", text, err)
		}
	}
	t.Run("Complete", func(t *testing.T) { complete(t, texts) })
	t.Run("Refused", func(t *testing.T) { refused(t, p, texts) })
	t.Logf("%d statements", len(texts))
}

// sqlText is how the parts of statements in the source begin.
var sqlText = regexp.MustCompile(`^[ (]*(SELECT|INSERT|UPDATE|DELETE|REPLACE|SET|DO|CREATE|ALTER|DROP|BEGIN|START|COMMIT|ROLLBACK|SAVEPOINT|FROM|WHERE|AND|ORDER BY|GROUP BY|UNION|FORCE|LIMIT|ON DUPLICATE|FOR UPDATE|DESC|CONCAT)\b`)

// complete checks that each part of a statement that the source or a migration
// has was sent: else the contract suite has left out a path.
func complete(t *testing.T, texts []string) {
	t.Helper()
	whole := strings.Join(texts, "\n\n")
	known := 0
	want := func(where, text string) {
		known++
		if !strings.Contains(whole, text) {
			t.Errorf("%s: never sent: %s", where, text)
		}
	}
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := goparser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			l, ok := n.(*ast.BasicLit)
			if !ok || l.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(l.Value)
			if err != nil {
				t.Fatal(err)
			}
			if sqlText.MatchString(text) {
				for part := range strings.SplitSeq(text, "%d") {
					want(file, part)
				}
			}
			return true
		})
	}
	migrations := mysql.Migrations()
	entries, err := fs.ReadDir(migrations, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := fs.ReadFile(migrations, e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(string(text), ";\n") {
			want(e.Name(), strings.TrimSpace(part))
		}
	}
	if known < 60 {
		t.Errorf("only %d parts of statements were found in the source", known)
	}
}

// refused checks that the grammar refuses what MySQL 8 does not have.
func refused(t *testing.T, p *parser.Parser, texts []string) {
	t.Helper()
	returning := 0
	for _, text := range texts {
		if !strings.HasPrefix(text, "INSERT") {
			continue
		}
		returning++
		if _, _, err := p.ParseSQL(text + " RETURNING id"); err == nil {
			t.Errorf("not refused: %s RETURNING id", text)
		}
	}
	if returning == 0 {
		t.Error("no INSERT was recorded")
	}
	for _, text := range []string{
		"DELETE FROM evento_event WHERE position = 1 RETURNING position",
		"REPLACE INTO evento_type (name) VALUES ('x') RETURNING id",
		"CREATE OR REPLACE TABLE evento_store (id INT)",
		"CREATE TABLE x (id INT) WITH SYSTEM VERSIONING",
		"SELECT id FROM evento_type ORDER BY id OFFSET 1 ROWS FETCH FIRST 2 ROWS ONLY",
		"SELECT id FROM evento_type LIMIT ROWS EXAMINED 10",
		"SET STATEMENT max_statement_time = 1 FOR SELECT 1",
		"INSERT INTO evento_type (name) VALUES ('x') ON CONFLICT DO NOTHING",
		"SELECT id FROM evento_type WHERE name = 'x'::text",
	} {
		if _, _, err := p.ParseSQL(text); err == nil {
			t.Errorf("not refused: %s", text)
		}
	}
}
