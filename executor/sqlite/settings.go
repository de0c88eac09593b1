// Settings of a URI and of connections: what would change what statements mean is
// refused where it is asked for, and overruled where it is set already.

package sqlite

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/evento-go/evento"
)

// uriSettings are what a URI may set. Of SQLite's own immutable, nolock and a shared
// cache are left out: with them a reader sees what is not committed, or misses what is.
var uriSettings = []string{"mode", "modeof", "vfs", "psow", "cache", "_pragma", "_txlock"}

// uriPragmas change how fast a file is read and written, or what an application's own
// statements do, but not what is stored or found by ours.
var uriPragmas = []string{
	"analysis_limit", "automatic_index", "busy_timeout", "cache_size", "cache_spill", "cell_size_check", "checkpoint_fullfsync",
	"foreign_keys", "fullfsync", "hard_heap_limit", "hexkey", "journal_size_limit", "key", "max_page_count", "mmap_size", "optimize",
	"recursive_triggers", "secure_delete", "soft_heap_limit", "temp_store", "textkey", "threads", "trusted_schema", "wal_autocheckpoint",
}

// withoutSettings is a path for errors: the settings of a URI may have a key.
func withoutSettings(path string) string {
	if strings.HasPrefix(path, "file:") {
		path, _, _ = strings.Cut(path, "?")
	}
	return path
}

// checkURI refuses the settings of a path that begins with "file:".
func checkURI(path string) error {
	_, query, _ := strings.Cut(path, "?")
	query, _, _ = strings.Cut(query, "#")
	settings, err := url.ParseQuery(query)
	path = withoutSettings(path)
	if err != nil {
		return fmt.Errorf("%w sqlite path %q: its settings are not NAME=VALUE&NAME=VALUE, with what is special written %%XX", evento.ErrInvalid, path)
	}
	for name, values := range settings {
		if !slices.Contains(uriSettings, name) || name == "cache" && slices.Contains(values, "shared") {
			return fmt.Errorf("%w sqlite path %q: this value of %s may change what is read and stored; a URI may set %s",
				evento.ErrInvalid, path, name, strings.Join(uriSettings, ", "))
		}
	}
	for _, pragma := range settings["_pragma"] {
		name := strings.ToLower(strings.TrimSpace(pragma))
		if end := strings.IndexFunc(name, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }); end >= 0 {
			name = name[:end]
		}
		if !slices.Contains(uriPragmas, name) || strings.Contains(pragma, ";") {
			return fmt.Errorf("%w sqlite path %q: the pragma %q may change what is read and stored; a URI may set %s",
				evento.ErrInvalid, path, name, strings.Join(uriPragmas, ", "))
		}
	}
	return nil
}

// ownSettings are those of every connection. A caller's database may have others. A lock
// that is kept would keep out the connections beside it.
const ownSettings = "PRAGMA locking_mode = NORMAL; PRAGMA read_uncommitted = OFF; PRAGMA ignore_check_constraints = OFF; " +
	"PRAGMA writable_schema = OFF; PRAGMA reverse_unordered_selects = OFF; PRAGMA defer_foreign_keys = OFF"
