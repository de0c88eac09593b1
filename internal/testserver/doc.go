// Package testserver gives tests the servers that they need: those that
// environment variables name, which tests share, and private ones, for tests
// that stop and kill them.
//
//	func TestSomething(t *testing.T) {
//		dsn := testserver.MySQL(t) // a database of its own
//		…
//	}
//
//	func TestCrash(t *testing.T) {
//		server := testserver.StartPostgres(t)
//		…
//		server.Kill()
//		server.Restart()
//		…
//	}
//
// A test whose server cannot be had is left out: skipped, with the reason, or
// failed where CI is set.
package testserver
