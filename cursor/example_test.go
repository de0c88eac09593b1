package cursor_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"

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
