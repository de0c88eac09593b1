// Parsing the URLs of stores. One parser is for all commands, so that each finds the
// same store. Nothing that it says contains a part of a password: it names what is
// wrong by its place, and shows the form instead of the text.

package main

import (
	"cmp"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/printable"
)

// Forms of the URLs of servers. Their password is none, and is printed.
const (
	formLogin    = "user:password@"
	postgresForm = "postgres://" + formLogin + "host:port/database?schema=evento"
	mysqlDSN     = "mysql:" + formLogin + "tcp(host:3306)/database"
	mysqlURL     = "mysql://" + formLogin + "host:3306/database"
	mysqlForms   = mysqlDSN + " or " + mysqlURL
	natsForm     = "nats://" + formLogin + "host:4222,host:4222/STORE?dir=DIR"
	anyForm      = "sqlite:FILE, pebble:DIR, " + postgresForm + ", " + mysqlForms + ", " + natsForm
)

// scheme matches the scheme of a URL; a single letter may be a drive.
var scheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]+):`)

// parseStore parses the value of --store or, if it is "", of the environment
// variable. Its errors contain nothing that may be a password.
func parseStore(text string) (address, error) {
	from := "--store"
	if text == "" {
		text, from = os.Getenv(storeVariable), storeVariable
	}
	if text == "" {
		return address{}, usagef("which store? Give --store URL or set %s: %s", storeVariable, anyForm)
	}
	a, err := parseAddress(text)
	if err != nil {
		return address{}, usagef("%s: %s", from, strings.TrimPrefix(err.Error(), "evento: "))
	}
	return a, nil
}

func parseAddress(text string) (address, error) {
	name, rest := "", text
	if m := scheme.FindStringSubmatch(text); m != nil {
		name, rest = strings.ToLower(m[1]), text[len(m[0]):]
	}
	switch name {
	case "":
		if err := notPath(text); err != nil {
			return address{}, err
		}
		if strings.Contains(text, ":") && !isPath(text) && text != ":memory:" { // which pathOf refuses
			return address{}, usagef("the name of a file with a colon in it is written sqlite:FILE; else it is one of %s", anyForm)
		}
		return pathOf(sqliteStore, text)
	case "sqlite", "pebble":
		path := strings.TrimPrefix(rest, "//")
		if uri, ok := cutFile(path); ok && name == "sqlite" {
			return parseURI(uri)
		}
		if path == "" {
			return address{}, usagef("there is no path behind \"%s:\"; write %s:PATH", name, name)
		}
		if err := notPath(path); err != nil && !isPath(path) {
			return address{}, err
		}
		return pathOf(storeKind(name), path)
	case "file":
		return parseURI(rest)
	case "postgres", "postgresql":
		return parsePostgres(name, rest)
	case "mysql", "mariadb":
		return parseMySQL(rest)
	case "nats", "tls":
		return parseNATS(name, rest)
	}
	if err := notPath(text); err != nil && !strings.HasPrefix(rest, "//") {
		return address{}, err
	}
	return address{}, usagef("there is no kind %s: it is one of %s; a file with a colon in its name is sqlite:FILE", printable.Text(name), anyForm)
}

func pathOf(kind storeKind, path string) (address, error) {
	a := address{kind: kind, place: path, path: path, shown: withoutPasswords(string(kind) + ":" + path)}
	return a, a.checkSQLite()
}

// checkSQLite refuses what the executor refuses before it opens a file.
func (a address) checkSQLite() error {
	if a.kind != sqliteStore {
		return nil
	}
	in, err := sqlite.Inspect(a.place)
	if err != nil {
		return usageError{err}
	}
	return in.Close()
}

// What is no path but names a database in a way that other programs know.
var (
	keywords = regexp.MustCompile(`(?i)(^|[\s;&?,:'"])(host|hostaddr|port|user|user id|uid|username|password|passwd|pwd|dbname|database|server|data source|sslmode|passfile)\s*=`)
	protocol = regexp.MustCompile(`@[A-Za-z0-9]*\(`)
	login    = regexp.MustCompile(`(?s):.*@`)
	settings = regexp.MustCompile(`[?&](_pragma|_txlock|mode|modeof|cache|vfs|psow|immutable|nolock|key|hexkey|textkey)=`)
	options  = regexp.MustCompile(`(^|\s)--?[A-Za-z]`)
)

// isPath reports whether a text is written as a path and nothing else.
func isPath(text string) bool {
	return filepath.IsAbs(text) || strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../")
}

// notPath returns an error that names the form that a text should have, if it looks
// like anything but the path of a file or directory.
func notPath(text string) error {
	var what, form string
	switch {
	case keywords.MatchString(text):
		what, form = "the keywords of a database", postgresForm+" or "+mysqlURL
	case protocol.MatchString(text):
		what, form = "the DSN of MySQL's driver", mysqlDSN
	case strings.Contains(text, "://") || strings.HasPrefix(text, "//"):
		what, form = "a URL of another kind", anyForm
	case login.MatchString(text):
		what, form = "the user, password and host of a server", postgresForm+" or "+mysqlForms
	case settings.MatchString(text):
		what, form = "a URI of SQLite", "sqlite:file:FILE?SETTINGS"
	case isPath(text):
		return nil
	case strings.ContainsAny(text, `="{}`):
		what, form = "the settings of a database", anyForm
	case options.MatchString(text):
		what, form = "the options of a program", anyForm
	default:
		return nil
	}
	return usagef("that looks like %s: write %s; a file of such a name is sqlite:./FILE", what, form)
}

// cutFile cuts the scheme of a URI of SQLite.
func cutFile(text string) (rest string, ok bool) {
	const prefix = "file:"
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return "", false
	}
	return text[len(prefix):], true
}

// parseURI parses what is behind "file:" (https://sqlite.org/uri.html).
func parseURI(rest string) (address, error) {
	rest, _, _ = strings.Cut(rest, "#")
	name, query, _ := strings.Cut(rest, "?")
	if after, ok := strings.CutPrefix(name, "//"); ok {
		host, path, _ := strings.Cut(after, "/")
		if host != "" && host != "localhost" {
			return address{}, usagef("a URI of SQLite has no host: file:PATH or file:///PATH")
		}
		name = "/" + path
	}
	path, err := url.PathUnescape(name)
	if err != nil {
		return address{}, usagef("in the path of the URI, a %% is not followed by two hexadecimal digits; %% itself is written %%25")
	}
	if path == "" {
		return address{}, usagef("there is no path behind \"file:\"; write sqlite:file:PATH")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return address{}, usagef("the settings of the URI are not NAME=VALUE&NAME=VALUE, with what is special written %%XX")
	}
	for _, pragma := range values["_pragma"] {
		if name := strings.ToLower(strings.TrimSpace(pragma)); strings.HasPrefix(name, "key") || strings.HasPrefix(name, "hexkey") || strings.HasPrefix(name, "textkey") {
			return address{}, usagef("the URI has a key: this command opens no encrypted files")
		}
	}
	if path, err = filepath.Abs(path); err != nil {
		return address{}, err
	}
	a := address{kind: sqliteStore, path: path, shown: withoutPasswords("sqlite:file:" + path)}
	a.place = (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: query}).String()
	a.fixed = values.Has("vfs") || values.Has("mode") && values["mode"][len(values["mode"])-1] != "rwc"
	return a, a.checkSQLite()
}

// serverURL are the parts of the URL of a server, as they are written.
type serverURL struct{ login, host, path, query string }

var (
	port      = regexp.MustCompile(`^[0-9]*$`)
	parameter = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)
	// mayHaveAt are the parameters whose values may have an @ as it is.
	mayHaveAt = []string{"user", "password", "sslpassword", "application_name"}
	// shownParameters are those whose values the driver prints.
	shownParameters = []string{"user", "dbname", "database"}
)

const escapes = "in a user, password or database, write / as %2F, ? as %3F, # as %23, @ as %40, : as %3A and % as %25"

// splitURL splits what is behind the scheme. It refuses a URL in which a part of a
// password may be taken for a host, a port, a database or a parameter, as these are
// printed, although it may be valid.
func splitURL(rest string) (u serverURL, err error) {
	after, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return u, errors.New("there is no // behind the kind")
	}
	end := cmp.Or(strings.IndexAny(after, "/?#")+1, len(after)+1) - 1
	authority, tail := after[:end], after[end:]
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		u.login, authority = authority[:at], authority[at+1:]
	}
	u.host = authority
	if strings.Contains(tail, "#") {
		return u, errors.New("there is a # behind the host; " + escapes)
	}
	u.path, u.query, _ = strings.Cut(tail, "?")
	if strings.ContainsAny(u.path, "@:") {
		return u, errors.New("there is an @ or a : behind the host; " + escapes)
	}
	return u, errors.Join(u.checkLogin(), u.checkHost(), u.checkQuery())
}

func (u *serverURL) checkLogin() error {
	user, password, _ := strings.Cut(u.login, ":")
	for _, part := range [][2]string{{"user", user}, {"password", password}} {
		if _, err := url.PathUnescape(part[1]); err != nil {
			return errors.New("in the " + part[0] + ", a % is not followed by two hexadecimal digits; " + escapes)
		}
		if _, err := url.Parse("a://" + part[1] + "@b"); err != nil {
			return errors.New("in the " + part[0] + ", there is a character that is to be written %XX; " + escapes)
		}
	}
	if strings.Contains(strings.ToUpper(user), "%3A") {
		return errors.New("the user has a colon; that before the password is written as it is")
	}
	return nil
}

// checkHost looks at the ports: without an @, a password is where a port is.
func (u *serverURL) checkHost() error {
	for host := range strings.SplitSeq(u.host, ",") {
		_, number, _ := strings.Cut(host[strings.LastIndexByte(host, ']')+1:], ":")
		if !port.MatchString(number) {
			return errors.New("behind the host and a : there is no number of a port; user and password are before an @")
		}
		if _, err := url.Parse("a://" + host); err != nil || strings.ContainsAny(host, "()") {
			return errors.New("behind the @ there is no name of a host")
		}
	}
	return nil
}

func (u *serverURL) checkQuery() error {
	values, err := url.ParseQuery(u.query)
	if err != nil {
		return errors.New("the parameters behind the ? are not NAME=VALUE&NAME=VALUE, with what is special, such as ;, written %XX")
	}
	for name := range values {
		if !parameter.MatchString(name) {
			return errors.New("behind the ? there is no name of a parameter; " + escapes)
		}
	}
	for setting := range strings.SplitSeq(u.query, "&") {
		switch name, value, ok := strings.Cut(setting, "="); {
		case !ok && setting != "":
			return errors.New("behind the ? there is a parameter without a value; in a value, & is written %26")
		case strings.Contains(value, "@") && !slices.Contains(mayHaveAt, name):
			return errors.New("there is an @ behind the ?; " + escapes)
		}
	}
	for _, name := range shownParameters {
		if strings.Contains(values.Get(name), ":") {
			return errors.New("in the parameter " + name + ", there is a colon, as between a user and a password")
		}
	}
	return nil
}

func parsePostgres(name, rest string) (address, error) {
	bad := func(err error) (address, error) { return address{}, usagef("%w; the form is %s", err, postgresForm) }
	parts, err := splitURL(rest)
	if err != nil {
		return bad(err)
	}
	u, err := url.Parse(name + ":" + rest)
	if err != nil || u.Host == "" && u.RawQuery == "" && u.Path == "" {
		return bad(errors.New("that is not a URL"))
	}
	q := u.Query()
	schema := q.Get("schema")
	q.Del("schema") // the server does not know it
	u.RawQuery = q.Encode()
	in, err := postgres.Inspect(u.String(), schema)
	if err != nil {
		// The driver shows the URL, and hides the password in it as well as it can.
		reason := err.Error()
		if end := strings.LastIndex(reason, "`: "); end >= 0 {
			reason = reason[end+len("`: "):]
		}
		return bad(errors.New(reason))
	}
	shown := "postgres://" + u.User.Username() + "@" + parts.host + u.Path
	if schema != "" {
		shown += "?schema=" + url.QueryEscape(schema)
	}
	return address{kind: postgresStore, place: u.String(), schema: schema, shown: shown}, in.Close()
}

// parseMySQL accepts the driver's DSN, and a URL.
func parseMySQL(rest string) (address, error) {
	dsn, form, err := rest, mysqlDSN, error(nil)
	if strings.HasPrefix(rest, "//") {
		form = mysqlURL
		dsn, err = dsnOf(rest)
	}
	if err == nil {
		err = checkDSN(dsn)
	}
	if err != nil {
		return address{}, usagef("%w; the form is %s", err, form)
	}
	user, host, database, err := mysql.ParseDSN(dsn)
	switch {
	case err != nil:
		return address{}, usagef("the driver does not take the parameters behind the ?; the form is %s", form)
	case database == "":
		return address{}, usagef("the URL names no database; the form is %s", form)
	}
	return address{kind: mysqlStore, place: dsn, shown: "mysql://" + user + "@" + host + "/" + database}, nil
}

// dsnOf makes the driver's DSN of what is behind "mysql:" in a URL.
func dsnOf(rest string) (string, error) {
	parts, err := splitURL(rest)
	if err != nil {
		return "", err
	}
	if parts.host == "" {
		return "", errors.New("there is no host")
	}
	u, err := url.Parse("mysql:" + rest)
	if err != nil {
		return "", errors.New("that is not a URL")
	}
	dsn := u.User.Username()
	if password, ok := u.User.Password(); ok {
		dsn += ":" + password
	}
	dsn += "@tcp(" + u.Host + ")/" + url.PathEscape(strings.TrimPrefix(u.Path, "/"))
	if u.RawQuery != "" {
		dsn += "?" + strings.ReplaceAll(u.RawQuery, "/", "%2F") // the driver looks for the last slash
	}
	return dsn, nil
}

// checkDSN looks for the parts of a DSN where the driver does, and refuses one whose
// password the driver would take for a network or a host, which are printed.
func checkDSN(dsn string) error {
	slash := strings.LastIndexByte(dsn, '/')
	if slash < 0 {
		return errors.New("there is no / before the database")
	}
	before := dsn[:slash]
	database, query, _ := strings.Cut(dsn[slash:], "?")
	network, host, open := strings.Cut(before[strings.LastIndexByte(before, '@')+1:], "(")
	switch {
	case !slices.Contains([]string{"", "tcp", "tcp4", "tcp6", "unix"}, network):
		return errors.New("between the @ and the / there is no tcp(host:3306) or unix(socket)")
	case open && strings.IndexByte(host, ')') != len(host)-1:
		return errors.New("the parenthesis is not closed right before the / of the database")
	case strings.ContainsAny(database, "@:"):
		return errors.New("there is an @ or a : in the database; user and password are before the host")
	}
	for setting := range strings.SplitSeq(query, "&") {
		switch name, _, _ := strings.Cut(setting, "="); {
		case setting == "":
		case !parameter.MatchString(name):
			return errors.New("behind the ? there is no name of a parameter")
		case slices.Contains([]string{"user", "password", "pwd", "strict"}, strings.ToLower(name)):
			return errors.New("there is no parameter " + name)
		}
	}
	return nil
}
