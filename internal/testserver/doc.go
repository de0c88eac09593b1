// Package testserver gives tests the servers that they need: shared servers, which
// environment variables name, and private ones, for tests that stop and kill them.
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
// A test without its server is left out: it is skipped and says why, or fails if CI is
// set.
package testserver
