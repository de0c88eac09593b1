package main

import "testing"

func TestWithoutPasswords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		// Passwords, wherever somebody has put them.
		"no command postgres://app:secret@host/db; -h lists": "no command postgres://app:…@host/db; -h lists",
		"postgres://app:se@cr/et@host/db":                    "postgres://app:…@host/db",
		"postgres://app:se cret@host/db":                     "postgres://app:…@host/db",
		"postgres://:secret@host":                            "postgres://:…@host",
		"postgres://app:secret":                              "postgres://app:…",
		"postgres://app@host:secret/db":                      "postgres://app@host:…",
		"postgres://app:12:34":                               "postgres://app:…",
		"postgres:/app:secret":                               "postgres:/app:…",
		"-store=postgers://app:secret@host":                  "-store=postgers://app:…@host",
		`"mysql:app:secret@tcp(h:1)/db"`:                     `"mysql:…@tcp(h:1)/db"`,
		"mysql:app:secret/db":                                "mysql:app:…",
		"app:secret@tcp(h:1)/db":                             "app:…@tcp(h:1)/db",
		"app:/secret@host/db":                                "app:…@host/db",
		"host=h password=secret user=app":                    "host=h password=… user=app",
		"host=h password='my secret' user=app":               "host=h password=… user=app",
		`host=h password='my \'secret' user=app`:             "host=h password=… user=app",
		`"host=h password=\"my secret\" user=app"`:           `"host=h password=… user=app"`,
		"Server=h;Pwd=secret;Uid=app":                        "Server=h;Pwd=…;Uid=app",
		"sslPassword = secret":                               "sslPassword = …",
		"a.db?_pragma=hexkey('secret')":                      "a.db?_pragma=hexkey(…)",
		"postgres://a:secret@h or postgres://b:secret@h":     "postgres://a:…@h or postgres://b:…@h",
		// What has none stays.
		"the form is " + anyForm:                  "the form is " + anyForm,
		"postgres://app@db/shop: no such host":    "postgres://app@db/shop: no such host",
		"postgres://@h:5432/d?schema=s: refused":  "postgres://@h:5432/d?schema=s: refused",
		"mysql://u@h:3306/db: dial tcp 1.2.3.4:5": "mysql://u@h:3306/db: dial tcp 1.2.3.4:5",
		"postgres://u@h:5432: refused":            "postgres://u@h:5432: refused",
		"http://127.0.0.1:80/a":                   "http://127.0.0.1:80/a",
		"at 2026-03-01T09:00:00Z ada@example.com": "at 2026-03-01T09:00:00Z ada@example.com",
		"12 events (3 were there), in 2s":         "12 events (3 were there), in 2s",
		"the password is wrong":                   "the password is wrong",
		"record \"a\" key: monkey (banana)":       "record \"a\" key: monkey (banana)",
	} {
		if got := withoutPasswords(text); got != want {
			t.Errorf("withoutPasswords(%q) = %q, want %q", text, got, want)
		}
	}
}
