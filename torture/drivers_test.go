package torture_test

// The tests look into SQLite files by themselves, and the library registers no driver.
import _ "github.com/ncruces/go-sqlite3/driver"
