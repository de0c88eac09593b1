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
// Of these it starts none. [MariaDB] starts a server of a test's own.
package testserver
