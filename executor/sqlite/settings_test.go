package sqlite_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/storetest"
)

// A URI may set what other applications have set for themselves. The store is the
// same, or is not opened.
func TestSettings(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	plain := openFile(t, path)
	defer closeAll(t, plain)
	settings := []string{
		"mode=rw", "mode=rwc", "mode=ro", "cache=shared", "cache=private", "immutable=1", "nolock=1", "psow=0", "_txlock=exclusive", "_timefmt=sqlite",
		"_pragma=query_only(1)", "_pragma=synchronous(off)", "_pragma=foreign_keys(1)", "_pragma=ignore_check_constraints(1)", "_pragma=writable_schema(1)",
		"_pragma=read_uncommitted(1)", "_pragma=recursive_triggers(1)", "_pragma=reverse_unordered_selects(1)", "_pragma=case_sensitive_like(1)", "_pragma=locking_mode(exclusive)",
		"_pragma=journal_mode(memory)", "_pragma=journal_mode(delete)", "_pragma=journal_mode(off)", "_pragma=wal_autocheckpoint(1)", "_pragma=busy_timeout(1)", "_pragma=automatic_index(0)",
		"_pragma=count_changes(1)", "_pragma=short_column_names(0)", "_pragma=full_column_names(1)", "_pragma=empty_result_callbacks(1)", "_pragma=defer_foreign_keys(1)", "_pragma=cell_size_check(1)",
		"_pragma=trusted_schema(0)", "_pragma=temp_store(memory)", "_pragma=cache_size(1)", "_pragma=mmap_size(0)", "_pragma=max_page_count(10000)", "_pragma=hard_heap_limit(100000000)",
		"_pragma=journal_size_limit(0)", "_pragma=secure_delete(1)", "_pragma=threads(2)", "_pragma=nosuch(1)", "_pragma=no%20such", "_pragma=checkpoint_fullfsync(0)", "_pragma=legacy_alter_table(1)",
	}
	storetest.Settings(t, plain, settings, func(error) bool { return false }, func(setting string) (evento.Executor, error) {
		ex, err := sqlite.Open(t.Context(), "file:"+path+"?"+setting, nil)
		if err != nil {
			return nil, err
		}
		return ex, nil
	})
}

// No error shows the settings of a URI, which may have a key.
func TestErrorsHaveNoSettings(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{"key=secret", "mode=ro&_pragma=key('secret%zz')", "_pragma=ley('secret')", "_pragma=keys('secret')", "mode=memory&_pragma=key('secret')", "mode=ro&_pragma=key('secret')", "cache=shared&_pragma=key(secret)", "vfs=none&_pragma=key(secret)"} {
		uri := "file:" + filepath.Join(t.TempDir(), "a.db") + "?" + settings
		_, err := sqlite.Open(t.Context(), uri, nil)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) = %v, want an error without the settings", uri, err)
		}
	}
}
