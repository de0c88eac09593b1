// Package testserver gives tests databases of their own on servers that
// environment variables name.
//
//	func TestSomething(t *testing.T) {
//		dsn := testserver.MySQL(t)
//		if dsn == "" {
//			return
//		}
//		…
//	}
//
// It starts no servers.
package testserver
