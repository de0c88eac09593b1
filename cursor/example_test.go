package cursor_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/evento-go/evento/cursor"
)

// A slice in memory, page by page, sorted by name. A cursor stays at its place when
// items are added or removed.
func ExampleReader() {
	type city struct {
		Name   string
		People int
	}
	byName := cursor.Asc("name", func(c city) string { return c.Name })
	cities := []city{{"Oslo", 709_000}, {"Bergen", 291_000}, {"Tromsø", 78_000}, {"Molde", 32_000}}

	reader, err := cursor.NewReader(cities, byName)
	if err != nil {
		log.Fatal(err)
	}
	page, err := reader.Read(cursor.Forward(2, ""))
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range page.Edges {
		fmt.Println(e.Node.Name, e.Node.People)
	}

	// Bodø would be on the page before; Narvik is on the next.
	reader, err = cursor.NewReader(append(cities, city{"Bodø", 53_000}, city{"Narvik", 21_000}), byName)
	if err != nil {
		log.Fatal(err)
	}
	page, err = reader.Read(cursor.Forward(2, page.PageInfo.EndCursor))
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range page.Edges {
		fmt.Println(e.Node.Name, e.Node.People)
	}
	fmt.Println(page.PageInfo.HasPreviousPage, page.PageInfo.HasNextPage)
	// Output:
	// Bergen 291000
	// Molde 32000
	// Narvik 21000
	// Oslo 709000
	// true true
}

type player struct {
	ID    int64
	Name  string
	Score int64
}

// The best first; with equal scores, the earlier one. The id makes the order
// unique.
var byScore = cursor.NewKeyset(cursor.SQLite,
	cursor.Desc("score", func(p player) int64 { return p.Score }),
	cursor.Asc("id", func(p player) int64 { return p.ID }))

func scanPlayer(row cursor.Row) (p player, err error) {
	err = row.Scan(&p.ID, &p.Name, &p.Score)
	return p, err
}

// An application's own SQL table, page by page, with its own conditions.
func ExampleKeyset() {
	ctx := context.Background()
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(1) // each connection would get its own in-memory database
	_, err = db.ExecContext(ctx, `
		CREATE TABLE players (id INTEGER PRIMARY KEY, name TEXT NOT NULL, team TEXT NOT NULL, score INTEGER NOT NULL);
		CREATE INDEX players_by_score ON players (team, score DESC, id);
		INSERT INTO players (name, team, score) VALUES
			('Ada', 'red', 7), ('Bob', 'red', 9), ('Cleo', 'blue', 9), ('Dan', 'red', 7), ('Eve', 'red', 3);`)
	if err != nil {
		log.Fatal(err)
	}

	read := func(args cursor.Args) *cursor.Page[player] {
		page, err := byScore.Read(ctx, db, args, scanPlayer,
			"SELECT id, name, score FROM players WHERE team = ?", "red")
		if err != nil {
			log.Fatal(err)
		}
		for _, e := range page.Edges {
			fmt.Print(e.Node.Name, " ", e.Node.Score, "; ")
		}
		fmt.Println("more before:", page.PageInfo.HasPreviousPage, "after:", page.PageInfo.HasNextPage)
		return page
	}
	page := read(cursor.Forward(2, ""))
	page = read(cursor.Forward(2, page.PageInfo.EndCursor))
	read(cursor.Backward(2, page.PageInfo.StartCursor))

	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Bob 9; Ada 7; more before: false after: true
	// Dan 7; Eve 3; more before: true after: false
	// Bob 9; Ada 7; more before: false after: true
}

// Every error about a cursor or a page size matches ErrInvalid: it is the caller's
// mistake, and not a failure of the store.
func ExampleErrInvalid() {
	reader, err := cursor.NewReader([]int{1, 2, 3}, cursor.Asc("n", func(n int) int { return n }))
	if err != nil {
		log.Fatal(err)
	}
	_, err = reader.Read(cursor.Forward(2, "somebody typed this"))
	fmt.Println(errors.Is(err, cursor.ErrInvalid), err)
	_, err = reader.Read(cursor.Forward(1_000_000, ""))
	fmt.Println(errors.Is(err, cursor.ErrInvalid), err)
	// Output:
	// true invalid cursor: malformed: "somebody typed this"
	// true invalid cursor: a page has 1 to 10000 items, not 1000000
}

// A handler that pages: the query says which page, and the answer has the shape of a GraphQL
// connection. What a caller does wrong is a 400. Map leaves out what clients are not shown.
func ExampleArgsFrom() {
	type account struct{ Owner, Password string }
	type shown struct {
		Owner string `json:"owner"`
	}
	accounts, err := cursor.NewReader([]account{{"Cleo", "x"}, {"Ada", "y"}, {"Bob", "z"}},
		cursor.Asc("owner", func(a account) string { return a.Owner }))
	if err != nil {
		log.Fatal(err)
	}
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, err := func() (*cursor.Page[shown], error) {
			args, err := cursor.ArgsFrom(r.URL.Query(), cursor.PageSize{Default: 2, Max: 100})
			if err != nil {
				return nil, err
			}
			page, err := accounts.Read(args)
			if err != nil {
				return nil, err
			}
			return cursor.Map(page, func(a account) (shown, error) { return shown{a.Owner}, nil })
		}()
		switch {
		case errors.Is(err, cursor.ErrInvalid):
			http.Error(w, err.Error(), http.StatusBadRequest)
		case err != nil:
			http.Error(w, "it failed", http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(page) // fails when the client has gone
		}
	})
	get := func(query string) string {
		w := httptest.NewRecorder()
		pages(w, httptest.NewRequest(http.MethodGet, "/accounts?"+query, nil))
		fmt.Print(w.Code, " ", w.Body)
		var page cursor.Page[shown]
		_ = json.Unmarshal(w.Body.Bytes(), &page)
		return string(page.PageInfo.EndCursor)
	}
	end := get("")
	get("first=5&after=" + end)
	get("first=101")
	get("first=1&after=nothing")
	// Output:
	// 200 {"edges":[{"cursor":"AXJvlMzey5ihnQNBZGFDpqHx","node":{"owner":"Ada"}},{"cursor":"AXJvlMzey5ihnQNCb2I7HZfZ","node":{"owner":"Bob"}}],"pageInfo":{"hasNextPage":true,"hasPreviousPage":false,"startCursor":"AXJvlMzey5ihnQNBZGFDpqHx","endCursor":"AXJvlMzey5ihnQNCb2I7HZfZ"}}
	// 200 {"edges":[{"cursor":"AXJvlMzey5ihnQRDbGVvt6B3SA","node":{"owner":"Cleo"}}],"pageInfo":{"hasNextPage":false,"hasPreviousPage":true,"startCursor":"AXJvlMzey5ihnQRDbGVvt6B3SA","endCursor":"AXJvlMzey5ihnQRDbGVvt6B3SA"}}
	// 400 invalid cursor: first is "101", and a page has 1 to 100 items
	// 400 invalid cursor: malformed: "nothing"
}
