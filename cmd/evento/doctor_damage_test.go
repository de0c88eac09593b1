package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
)

// fillWhole makes a small store that uses everything: events of both codecs with and without
// routing keys, metadata and tags, deadlines, subscriptions, and snapshots. Positions 1 to
// 18 are of orders o-0 to o-2, with the routing key of their first event; then come
// customers.
func fillWhole(ctx context.Context, store string) error {
	return onNewStore(ctx, store, func(ex evento.Executor) error {
		for i := range 18 {
			b := evento.Aggregate(fmt.Sprint("o-", i%3)).AnyVersion().RequestedBy("ada").Metadata("n", fmt.Sprint(i)).
				Event(orderPlaced{i, "żółw", []string{"shop:1", "item:żółw", "\"gift\""}[:i%4%3]})
			if i%3 > 0 {
				b.RoutingKey([]string{"", "eu", "us"}[i%3])
			}
			if i == 17 {
				b.Deadline("later", later, orderPlaced{})
			}
			if _, err := b.Commit(ctx, ex); err != nil {
				return err
			}
		}
		for i := range 3 {
			if _, err := evento.Aggregate(fmt.Sprint("c-", i)).Codec(evento.JSON()).Event(customerLeft{}).Commit(ctx, ex); err != nil {
				return err
			}
		}
		sub := evento.NewSubscription("mails").RoutingKey("eu").Logger(quiet).Handler(
			evento.HandleEvery(func(context.Context, evento.RawEvent) error { return nil }))
		if err := sub.Execute(ctx, ex); err != nil {
			return err
		}
		orders := evento.NewProjection[orderState]("orders", "shop/Order").SnapshotEvery(1).Handler(
			evento.Apply(func(o *orderState, e evento.Event[orderPlaced]) error {
				o.Sum += e.Data.N
				return nil
			}))
		_, err := orders.Load(ctx, ex, "o-1")
		return err
	})
}

// storeDamage is what somebody does to a store, and what doctor and export say.
type storeDamage struct {
	// do are the statements, by kind of store; "": for all others. None: not for this kind.
	do map[storeKind][]string
	// want are the findings: a severity and a check, a colon, and a part of subject, detail
	// and remedy.
	want []string
	// export is a part of what a refused export says; "": the export can be imported.
	export string
}

// either: what is exported, if it is, can be imported.
const either = "either"

func every(texts ...string) map[storeKind][]string { return map[storeKind][]string{"": texts} }

func only(kind storeKind, texts ...string) map[storeKind][]string {
	return map[storeKind][]string{kind: texts}
}

// set changes columns of the event at a position, past the triggers.
func set(position int, what string) map[storeKind][]string {
	update := fmt.Sprintf("UPDATE SCHEMA.event SET %s WHERE position = %d", what, position)
	return map[storeKind][]string{
		"":            {update},
		postgresStore: {"ALTER TABLE SCHEMA.event DISABLE TRIGGER immutable", update, "ALTER TABLE SCHEMA.event ENABLE TRIGGER immutable"},
		sqliteStore:   {unlock, update, lock},
	}
}

const (
	unlock = "DROP TRIGGER evento_event_update; DROP TRIGGER evento_event_delete"
	lock   = `CREATE TRIGGER evento_event_update BEFORE UPDATE ON evento_event BEGIN SELECT raise(ABORT, 'evento: events are immutable'); END;
CREATE TRIGGER evento_event_delete BEFORE DELETE ON evento_event BEGIN SELECT raise(ABORT, 'evento: events are immutable'); END`
	// unstrict lets SQLite's columns have values of any type.
	unstrict = `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name LIKE 'evento_%'; PRAGMA writable_schema = RESET`
)

// untyped sets columns of SQLite to values of other types.
func untyped(position int, what string) map[storeKind][]string {
	return only(sqliteStore, append([]string{unstrict}, set(position, what)[sqliteStore]...)...)
}

// but is what is done on all kinds of stores but one.
func but(kind storeKind, do map[storeKind][]string) map[storeKind][]string {
	do = maps.Clone(do)
	do[kind] = nil
	return do
}

// removed deletes the event at a position.
func removed(position int) map[storeKind][]string {
	do := set(position, "version = version")
	for kind, texts := range do {
		do[kind] = slices.Clone(texts)
		for i, text := range texts {
			if strings.HasPrefix(text, "UPDATE") {
				do[kind][i] = fmt.Sprintf("DELETE FROM SCHEMA.event WHERE position = %d", position)
			}
		}
	}
	return do
}

// names changes the name of a row in a table of names; PostgreSQL has none that are not UTF-8.
func badName(table, column, where string) map[storeKind][]string {
	mysqlColumn := column
	if column == "key" {
		mysqlColumn = "name"
	}
	return map[storeKind][]string{
		sqliteStore:   {"UPDATE SCHEMA." + table + " SET " + column + " = CAST(x'61ff' AS TEXT) WHERE " + where},
		mysqlStore:    {"UPDATE SCHEMA." + table + " SET " + mysqlColumn + " = x'61ff' WHERE " + where},
		postgresStore: {"UPDATE SCHEMA." + table + " SET " + column + " = E'a\\x01' WHERE " + where},
	}
}

// damages by their names. Events at 2 and 19 are Placed of o-1, with the routing key eu, and
// Left of c-0.
var storeDamages = map[string]storeDamage{
	"the highest position":           {set(21, "position = 9223372036854775807"), []string{"error position: position 9223372036854775807"}, "9223372036854775807"},
	"a position beyond reason":       {set(21, "position = 4611686018427387904"), []string{"error position: position 4611686018427387904"}, "4611686018427387904"},
	"position 0":                     {set(1, "position = 0"), []string{"error position: invalid position: 0"}, "position: 0"},
	"a negative position":            {set(5, "position = -5"), []string{"error position: its position is -5", "error position: there is no event at position 5"}, "position is -5"},
	"a position in between":          {set(5, "position = 100"), []string{"error position: there is no event at position 5", "error position: there are no events at positions 22 to 99"}, "position 6: there is no event at position 5"},
	"an event that is gone":          {removed(20), []string{"error position: there is no event at position 20"}, "position 21: there is no event at position 20 before it; --gaps"},
	"the first event is gone":        {removed(1), []string{"error position: there is no event at position 1", "error version: Placed, version 2 at position 4: version 2 stands where version 1"}, "position 2: "},
	"version 0":                      {set(19, "version = 0"), []string{"error version: invalid version: 0"}, "position 19: "},
	"a negative version":             {set(19, "version = -1"), []string{"error version: its version is -1"}, "position 19: "},
	"a version beyond reason":        {set(19, "version = 9223372036854775807"), []string{"error version: invalid version: 9223372036854775807"}, "position 19: "},
	"a version left out":             {set(16, "version = 9"), []string{"error version: version 9 stands where version 6 is expected"}, "position 16: version 9 stands"},
	"a time before 1970":             {set(1, "recorded_at = -1"), []string{"error timestamp: invalid timestamp: 1969"}, "position 1: "},
	"a time of the year 10000":       {set(21, "recorded_at = 253402300800000000"), []string{"error timestamp: invalid timestamp: 10000"}, "position 21: "},
	"the latest time":                {set(21, "recorded_at = 9223372036854775807"), []string{"error timestamp: invalid timestamp: "}, "position 21: "},
	"a time that falls":              {set(5, "recorded_at = 7"), []string{"error timestamp: it is of 1970-01-01T00:00:00.000007Z, earlier than"}, "position 5: it is of 1970"},
	"a kind of another type":         {set(19, "kind_id = (SELECT k.kind_id FROM (SELECT kind_id FROM SCHEMA.event WHERE position = 1) k)"), []string{"error event: position 19", `error event: "Placed", is one of the aggregate type "shop/Order", and its aggregate is of the type "shop/Customer"`}, "position 19: its kind"},
	"a kind that is missing":         {set(19, "kind_id = 99"), []string{"error event: its kind, the number 99, is not in the table"}, "position 19: "},
	"a type that is missing":         {every("DELETE FROM SCHEMA.type WHERE name = 'shop/Customer'"), []string{"error event: its aggregate type, the number 2, is not in the table", "error names: its aggregate type, the number 2, is not in the table"}, "position 19: "},
	"kinds that are missing":         {every("DELETE FROM SCHEMA.kind WHERE name = 'Left'"), []string{"error event: its kind, the number 2, is not in the table"}, "position 19: "},
	"a routing key that is missing":  {every("DELETE FROM SCHEMA.routing WHERE id = 1"), []string{"error event: its routing key, the number 1, is not in the table"}, "position 2: "},
	"routing keys that are missing":  {every("DELETE FROM SCHEMA.routing"), []string{"error event: its routing key, the number 1, is not in the table", "error event: its routing key, the number 2, is not in the table"}, "position 2: "},
	"a routing key of number 0":      {but(mysqlStore, set(2, "routing_id = 0")), []string{"error event: its routing key, the number 0, is not in the table"}, "position 2: "},
	"another routing key":            {set(5, "routing_id = 2"), []string{`error event: position 5`}, "position 5: "},
	"a routing key left out":         {but(mysqlStore, set(5, "routing_id = NULL")), []string{"error event: position 5"}, "position 5: "},
	"an aggregate that is missing":   {only(sqliteStore, "DELETE FROM SCHEMA.aggregate WHERE id = 'c-0'"), []string{"error event: is not in the table evento_aggregate"}, "position 19: "},
	"a damaged event name":           {badName("kind", "name", "name = 'Left'"), []string{"error event: invalid event name", "error names: invalid event name"}, "position 19: invalid event name"},
	"a damaged type":                 {badName("type", "name", "name = 'shop/Customer'"), []string{"error event: invalid aggregate type", "error names: invalid aggregate type"}, "position 19: invalid aggregate type"},
	"a damaged routing key":          {badName("routing", "key", "id = 1"), []string{"error event: invalid routing key", "error names: invalid routing key"}, "position 2: invalid routing key"},
	"a damaged aggregate id":         {map[storeKind][]string{sqliteStore: badName("aggregate", "id", "id = 'c-0'")[sqliteStore], mysqlStore: set(19, "aggregate_id = x'ff'")[""], postgresStore: set(19, "aggregate_id = E'a\\x7f'")[postgresStore]}, []string{"error event: invalid aggregate id"}, "position 19: invalid aggregate id"},
	"a name that is too long":        {but(mysqlStore, every("UPDATE SCHEMA.kind SET name = '"+strings.Repeat("x", 256)+"' WHERE name = 'Left'")), []string{"error event: 256 bytes, at most 255", "error names: 256 bytes"}, "position 19: "},
	"an empty name":                  {every("UPDATE SCHEMA.kind SET name = '' WHERE name = 'Left'"), []string{"error event: invalid event name: empty", "error names: it is empty"}, "position 19: "},
	"an empty codec":                 {set(19, "codec = ''"), []string{"error event: invalid codec name: empty"}, "position 19: "},
	"a codec with a line feed":       {set(19, "codec = 'a\nb'"), []string{"error event: invalid codec name"}, "position 19: "},
	"a short event id":               {only(sqliteStore, set(19, "event_id = x'0102'")[sqliteStore]...), []string{"error event: its event id is the 2 bytes 0102 and not 16 bytes"}, "position 19: its event id"},
	"a short event id on MySQL":      {only(mysqlStore, "ALTER TABLE SCHEMA.event MODIFY event_id VARBINARY(16) NOT NULL", set(19, "event_id = x'0102'")[""][0]), []string{"error event: its event id is the 2 bytes", "error schema: column evento_event.event_id is varbinary(16) not null"}, "position 19: its event id"},
	"an event id of text":            {only(postgresStore, "DROP VIEW SCHEMA.events", "ALTER TABLE SCHEMA.event ALTER event_id TYPE text", set(19, "event_id = '0102'")[postgresStore][0], set(19, "event_id = '0102'")[postgresStore][1]), []string{"error event: its event id is the text", "error schema: column event.event_id is text"}, "position 19: its event id"},
	"an event id twice":              {but(postgresStore, set(19, "event_id = (SELECT k.event_id FROM (SELECT event_id FROM SCHEMA.event WHERE position = 3) k)")), []string{"error id: as the event at position 3 has"}, "position 19: it has the event id"},
	"an event id twice on a server":  {only(postgresStore, append([]string{`DROP INDEX SCHEMA.event_id`}, set(19, "event_id = (SELECT event_id FROM SCHEMA.event WHERE position = 3)")[postgresStore]...)...), []string{"error id: as the event at position 3 has", "error schema: index event_id on event is missing"}, "position 19: it has the event id"},
	"metadata that are no JSON":      {set(2, "metadata = '{'"), []string{"error event: its metadata"}, "position 2: "},
	"metadata twice":                 {set(2, `metadata = '{"requestedBy":"a","requestedBy":"b"}'`), []string{`error event: field "requestedBy" is there twice`}, "position 2: "},
	"metadata of other capitals":     {set(2, `metadata = '{"RequestedBy":"a"}'`), []string{`error event: has to be written "requestedBy"`}, "position 2: "},
	"unknown metadata":               {set(2, `metadata = '{"colour":"red"}'`), []string{`error event: field "colour"`}, "position 2: "},
	"half a surrogate in metadata":   {map[storeKind][]string{"": set(2, `metadata = '{"requestedBy":"\\ud800"}'`)[""], sqliteStore: set(2, `metadata = '{"requestedBy":"\ud800"}'`)[sqliteStore], postgresStore: set(2, `metadata = '{"requestedBy":"\ud800"}'`)[postgresStore]}, []string{`error event: half of a pair of surrogates`}, "position 2: "},
	"an empty value of metadata":     {set(2, `metadata = '{"values":{"":"x"}}'`), []string{`error event: invalid metadata key: empty`}, "position 2: "},
	"a tag twice":                    {set(1, `metadata = '{"tags":["a","a"]}'`), []string{`error event: "a" is there twice`}, "position 1: "},
	"an empty tag":                   {set(1, `metadata = '{"tags":[""]}'`), []string{`error event: invalid tag: empty`}, "position 1: "},
	"tags that are a number":         {set(1, `metadata = '{"tags":7}'`), []string{`error event: field "tags"`}, "position 1: "},
	"a payload that is no CBOR":      {map[storeKind][]string{"": set(2, "data = x'ff'")[""], sqliteStore: set(2, "data = x'ff'")[sqliteStore], postgresStore: set(2, `data = '\xff'`)[postgresStore]}, []string{"error payload: Placed, version 1 at position 2, is no cbor"}, ""},
	"text for a version":             {untyped(19, "version = 'one'"), []string{`error version: its version is the text "one" and no whole number`, "error schema: table evento_event is"}, "position 19: its version"},
	"a real number for a version":    {untyped(19, "version = 1.5"), []string{`error version: its version is the number 1.5`}, "position 19: its version"},
	"text for a time":                {untyped(19, "recorded_at = '2026-01-01T00:00:00Z'"), []string{`error timestamp: no whole number`}, "position 19: its timestamp"},
	"text for a kind":                {untyped(19, "kind_id = 'Left'"), []string{`error event: its kind, the text "Left", is not in the table`}, "position 19: its kind"},
	"text for a routing key":         {untyped(2, "routing_id = 'eu'"), []string{`error event: its routing key, the text "eu", is not in the table`}, "position 2: its routing key"},
	"text for an aggregate":          {untyped(19, "agg_key = 'c-0'"), []string{`error event: its aggregate, the text "c-0", is not in the table`}, "position 19: its aggregate"},
	"text for an event id":           {untyped(19, "event_id = '0123456789abcdef'"), []string{`error event: its event id is the text`}, "position 19: its event id"},
	"text for data":                  {untyped(19, "data = '{}'"), []string{`error event: its payload is the text "{}" and no bytes`}, "position 19: its payload"},
	"bytes for a codec":              {untyped(19, "codec = x'6a736f6e'"), []string{`error event: its codec is the 4 bytes 6a736f6e and no text`}, "position 19: its codec"},
	"bytes for metadata":             {untyped(2, "metadata = x'7b7d'"), []string{`error event: its metadata are the 2 bytes 7b7d and no text`}, "position 2: its metadata"},
	"bytes for a name":               {only(sqliteStore, unstrict, "UPDATE SCHEMA.kind SET name = x'4c656674' WHERE name = 'Left'"), []string{`error event: its event name is the 4 bytes`, "error names: it is the 4 bytes"}, "position 19: its event name"},
	"text for a position":            {only(sqliteStore, unstrict, "ALTER TABLE SCHEMA.event RENAME TO old", "CREATE TABLE SCHEMA.event AS SELECT * FROM old", "UPDATE SCHEMA.event SET position = 'last' WHERE position = 21"), []string{`error position: its position is the text "last" and no whole number`, "error schema: index evento_event_kind", "error schema: column evento_event.position is"}, "its position is the text"},
	"no position":                    {only(sqliteStore, unstrict, "ALTER TABLE SCHEMA.event RENAME TO old", "CREATE TABLE SCHEMA.event AS SELECT * FROM old", "UPDATE SCHEMA.event SET position = NULL WHERE position = 1"), []string{`error position: its position is NULL`}, "its position is NULL"},
	"a position twice":               {only(sqliteStore, unstrict, "ALTER TABLE SCHEMA.event RENAME TO old", "CREATE TABLE SCHEMA.event AS SELECT * FROM old", "UPDATE SCHEMA.event SET position = 20 WHERE position = 21"), []string{`error position: it comes behind position 20`}, "position 20: it comes behind"},
	"a record of another name":       {badName("record", "part", "part LIKE '%0000'"), []string{`error record: `, "error subscription: mails"}, ""},
	"a record of revision 0":         {every("UPDATE SCHEMA.record SET revision = 0 WHERE part LIKE '%0000'"), []string{"error record: its revision is 0"}, ""},
	"a record of a negative one":     {every("UPDATE SCHEMA.record SET revision = -3 WHERE part LIKE '%0000'"), []string{"error record: its revision is the number -3"}, ""},
	"text for a revision":            {only(sqliteStore, strings.ReplaceAll(unstrict, ") STRICT, WITHOUT", ") WITHOUT"), "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, ') STRICT, WITHOUT', ') WITHOUT'); PRAGMA writable_schema = RESET", "UPDATE SCHEMA.record SET revision = 'two', value = 'text' WHERE part LIKE '%0000'"), []string{`error record: its revision is the text "two"`, `error record: its value is the text "text" and no bytes`}, ""},
	"a deadline's record":            {map[storeKind][]string{"": {"UPDATE SCHEMA.record SET value = '{' WHERE kind = 'due'"}, sqliteStore: {"UPDATE SCHEMA.record SET value = x'7b' WHERE kind = 'due'"}}, []string{"error deadline: cannot be read", "error deadline: is missing or damaged"}, ""},
	"a snapshot of another name":     {badName("snapshot", "projection", "1 = 1"), []string{"error snapshot: invalid projection name"}, ""},
	"a snapshot of a negative one":   {every("UPDATE SCHEMA.snapshot SET version = -1"), []string{"error snapshot: its version is the number -1"}, ""},
	"a snapshot of version 0":        {every("UPDATE SCHEMA.snapshot SET version = 0"), []string{`error snapshot: "orders" of shop/Order "o-1" invalid version: 0`}, ""},
	"a snapshot of a high version":   {every("UPDATE SCHEMA.snapshot SET version = 9223372036854775807"), []string{"error snapshot: invalid version: 9223372036854775807"}, ""},
	"a snapshot of position 0":       {every("UPDATE SCHEMA.snapshot SET position = 0"), []string{"error snapshot: invalid position: 0"}, ""},
	"a snapshot without a cursor":    {map[storeKind][]string{"": {"UPDATE SCHEMA.snapshot SET cursor = ''"}, mysqlStore: {"UPDATE SCHEMA.snapshot SET place = ''"}}, []string{"error snapshot: its cursor is empty"}, ""},
	"a snapshot that is no CBOR":     {map[storeKind][]string{"": {"UPDATE SCHEMA.snapshot SET data = x'ff'"}, postgresStore: {`UPDATE SCHEMA.snapshot SET data = '\xff'`}}, []string{"error snapshot: its state of 1 bytes is no CBOR"}, ""},
	"a snapshot that is empty":       {map[storeKind][]string{"": {"UPDATE SCHEMA.snapshot SET data = x''"}, postgresStore: {`UPDATE SCHEMA.snapshot SET data = ''`}}, []string{"error snapshot: its state of 0 bytes is no CBOR"}, ""},
	"a record of a far time":         {map[storeKind][]string{"": {"UPDATE SCHEMA.record SET changed_at = 9223372036854775807"}, postgresStore: {"UPDATE SCHEMA.record SET changed_at = '294276-01-01'"}}, []string{`error record: the time of its last change: invalid timestamp: 29`}, ""},
	"a record of a time before 1970": {map[storeKind][]string{"": {"UPDATE SCHEMA.record SET changed_at = -1"}, postgresStore: {"UPDATE SCHEMA.record SET changed_at = '-infinity'"}}, []string{`error record: `}, ""},
	"a snapshot beyond the end":      {every("UPDATE SCHEMA.snapshot SET position = 1000"), []string{"error snapshot: 1 snapshots are of events beyond the last"}, ""},
	"the identity is gone":           {every("DELETE FROM SCHEMA.store"), []string{"error identity: ", "error store: it cannot be opened"}, "evento"},
	"another identity":               {only(sqliteStore, "UPDATE SCHEMA.store SET identity = zeroblob(16)"), []string{"error identity: ", "error store: it cannot be opened"}, "identity"},
	"the counter is gone":            {but(sqliteStore, every("DELETE FROM SCHEMA.counter")), []string{"error counter: is missing"}, either},
	"the counter is behind":          {but(sqliteStore, every("UPDATE SCHEMA.counter SET position = 3")), []string{"error counter: at 3 and the last event at 21"}, ""},
	"the counter is ahead":           {but(sqliteStore, every("UPDATE SCHEMA.counter SET position = 9223372036854775807")), []string{"error counter: at 9223372036854775807"}, ""},
	"the counter has another time":   {but(sqliteStore, every("UPDATE SCHEMA.counter SET recorded_at = 5")), []string{"error counter: the counter has the time 5"}, ""},
	"the barrier is gone":            {only(mysqlStore, "DELETE FROM SCHEMA.barrier"), []string{"error barrier: "}, ""},
	"no row of migrations":           {every("DELETE FROM SCHEMA.migration"), []string{"error schema: the table of migrations does not have numbers 1 to 2"}, "store"},
	"no table of migrations":         {every("DROP TABLE SCHEMA.migration"), []string{"error schema: the table of migrations does not have numbers 1 to 2", "error schema: migration is missing", "error store: it cannot be opened"}, "store"},
	"another table of migrations":    {every("ALTER TABLE SCHEMA.migration RENAME COLUMN applied_at TO at"), []string{"error schema: the table of migrations cannot be read", "error schema: migration.applied_at is missing"}, either},
	"a migration too few":            {every("DELETE FROM SCHEMA.migration WHERE version = 2"), []string{"error schema: it has 1, the last of which is 1"}, "migration 1 of 2"},
	"the first migration is gone":    {every("DELETE FROM SCHEMA.migration WHERE version = 1"), []string{"error schema: it has 1, the last of which is 2"}, ""},
	"no index of kinds":              {map[storeKind][]string{sqliteStore: {"DROP INDEX evento_event_kind"}, mysqlStore: {"DROP INDEX evento_event_kind ON evento_event"}, postgresStore: {"DROP INDEX SCHEMA.event_kind"}}, []string{"error schema: event_kind on "}, ""},
	"no index of routing keys":       {map[storeKind][]string{sqliteStore: {"DROP INDEX evento_event_routing"}, mysqlStore: {"DROP INDEX evento_event_routing ON evento_event"}, postgresStore: {"DROP INDEX SCHEMA.event_routing"}}, []string{"error schema: event_routing on "}, ""},
	"no index of aggregates":         {map[storeKind][]string{sqliteStore: {"DROP INDEX evento_event_aggregate"}, mysqlStore: {"DROP INDEX evento_event_aggregate ON evento_event"}, postgresStore: {"DROP INDEX SCHEMA.event_aggregate"}}, []string{"error schema: event_aggregate on "}, ""},
	"an index that is not unique":    {map[storeKind][]string{sqliteStore: {"DROP INDEX evento_event_aggregate", "CREATE INDEX evento_event_aggregate ON evento_event (agg_key, version)"}, mysqlStore: {"DROP INDEX evento_event_aggregate ON evento_event", "CREATE INDEX evento_event_aggregate ON evento_event (aggregate_id, type_id, version)"}, postgresStore: {"DROP INDEX SCHEMA.event_aggregate", "CREATE INDEX event_aggregate ON SCHEMA.event (aggregate_id, type_id, version)"}}, []string{"error schema: event_aggregate on ", "error schema: unique"}, ""},
	"an index of other columns":      {map[storeKind][]string{sqliteStore: {"DROP INDEX evento_event_kind", "CREATE INDEX evento_event_kind ON evento_event (version)"}, mysqlStore: {"DROP INDEX evento_event_kind ON evento_event", "CREATE INDEX evento_event_kind ON evento_event (version)"}, postgresStore: {"DROP INDEX SCHEMA.event_kind", "CREATE INDEX event_kind ON SCHEMA.event (version)"}}, []string{"error schema: event_kind on "}, ""},
	"no view of events":              {every("DROP VIEW SCHEMA.events"), []string{"error schema: events is missing"}, ""},
	"no view of subscriptions":       {every("DROP VIEW SCHEMA.subscriptions"), []string{"error schema: subscriptions is missing"}, ""},
	"a view of other columns":        {every("DROP VIEW SCHEMA.subscriptions", "CREATE VIEW SCHEMA.subscriptions AS SELECT 1 AS x"), []string{"error schema: subscriptions is "}, ""},
	"a trigger on a condition":       {only(postgresStore, "DROP TRIGGER immutable ON SCHEMA.event", "CREATE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON SCHEMA.event FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION SCHEMA.immutable()"), []string{"error schema: trigger immutable on event is of type 58, on a condition"}, ""},
	"a trigger of one column":        {only(postgresStore, "DROP TRIGGER immutable ON SCHEMA.event", "CREATE TRIGGER immutable BEFORE UPDATE OF codec OR DELETE OR TRUNCATE ON SCHEMA.event FOR EACH STATEMENT EXECUTE FUNCTION SCHEMA.immutable()"), []string{"error schema: of type 58, of some columns"}, ""},
	"an index of another collation":  {only(postgresStore, "DROP INDEX SCHEMA.event_aggregate", `CREATE UNIQUE INDEX event_aggregate ON SCHEMA.event (aggregate_id COLLATE "POSIX", type_id, version)`), []string{"error schema: event_aggregate on event is ", "error schema: in another order"}, ""},
	"an index of another operator":   {only(postgresStore, "DROP INDEX SCHEMA.event_aggregate", `CREATE UNIQUE INDEX event_aggregate ON SCHEMA.event (aggregate_id text_pattern_ops, type_id, version)`), []string{"error schema: in another order"}, ""},
	"an index of another method":     {only(postgresStore, "DROP INDEX SCHEMA.event_kind", "CREATE INDEX event_kind ON SCHEMA.event USING brin (kind_id, position)"), []string{"error schema: index event_kind on event is brin "}, ""},
	"a key that is checked late":     {only(postgresStore, "ALTER TABLE SCHEMA.event DROP CONSTRAINT event_pkey", "ALTER TABLE SCHEMA.event ADD CONSTRAINT event_pkey PRIMARY KEY (position) DEFERRABLE"), []string{"error schema: event_pkey on event is ", "error schema: deferrable"}, ""},
	"a table that another inherits":  {only(postgresStore, "CREATE TABLE SCHEMA.more () INHERITS (SCHEMA.event)"), []string{"error schema: table event is logged, in an inheritance"}, ""},
	"no trigger against updates":     {only(sqliteStore, "DROP TRIGGER evento_event_update"), []string{"error schema: trigger evento_event_update on evento_event is missing"}, ""},
	"no trigger against deletions":   {only(sqliteStore, "DROP TRIGGER evento_event_delete"), []string{"error schema: trigger evento_event_delete on evento_event is missing"}, ""},
	"a trigger of another text":      {only(sqliteStore, "DROP TRIGGER evento_event_delete", "CREATE TRIGGER evento_event_delete BEFORE DELETE ON evento_event BEGIN SELECT 1; END"), []string{"error schema: trigger evento_event_delete on evento_event is "}, ""},
	"no trigger":                     {only(postgresStore, "DROP TRIGGER immutable ON SCHEMA.event"), []string{"error schema: trigger immutable on event is missing"}, ""},
	"a trigger that is switched off": {only(postgresStore, "ALTER TABLE SCHEMA.event DISABLE TRIGGER immutable"), []string{"error schema: switched off"}, ""},
	"a function that does nothing":   {only(postgresStore, "CREATE OR REPLACE FUNCTION SCHEMA.immutable() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"), []string{"error schema: function immutable is BEGIN RETURN NULL; END"}, ""},
	"no constraint":                  {only(postgresStore, "ALTER TABLE SCHEMA.counter DROP CONSTRAINT counter_id_check"), []string{"error schema: constraint counter_id_check on counter is missing"}, ""},
	"no constraint in SQLite":        {only(sqliteStore, "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (length(identity) = 16)', '') WHERE name = 'evento_store'; PRAGMA writable_schema = RESET"), []string{"error schema: table evento_store is "}, ""},
	"columns that may be NULL":       {map[storeKind][]string{sqliteStore: {"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'codec       TEXT NOT NULL', 'codec TEXT') WHERE name = 'evento_event'; PRAGMA writable_schema = RESET"}, mysqlStore: {"ALTER TABLE evento_event MODIFY codec VARBINARY(32)"}, postgresStore: {"ALTER TABLE SCHEMA.event ALTER codec DROP NOT NULL"}}, []string{"error schema: event.codec is "}, ""},
	"no primary key":                 {map[storeKind][]string{mysqlStore: {"ALTER TABLE evento_event DROP PRIMARY KEY"}, postgresStore: {"ALTER TABLE SCHEMA.event DROP CONSTRAINT event_pkey"}}, []string{"error schema: is missing: unique"}, either},
	"no column of metadata":          {map[storeKind][]string{sqliteStore: {"DROP VIEW evento_events", "ALTER TABLE evento_event DROP COLUMN metadata"}, mysqlStore: {"ALTER TABLE evento_event DROP COLUMN metadata"}, postgresStore: {"DROP VIEW SCHEMA.events", "ALTER TABLE SCHEMA.event DROP COLUMN metadata"}}, []string{"error schema: event.metadata is missing"}, "metadata"},
	"no column of codecs":            {map[storeKind][]string{sqliteStore: {"DROP VIEW evento_events", "ALTER TABLE evento_event DROP COLUMN codec"}, mysqlStore: {"ALTER TABLE evento_event DROP COLUMN codec"}, postgresStore: {"DROP VIEW SCHEMA.events", "ALTER TABLE SCHEMA.event DROP COLUMN codec"}}, []string{"error schema: event.codec is missing"}, "codec"},
	"a renamed column":               {map[storeKind][]string{"": {"ALTER TABLE SCHEMA.snapshot RENAME COLUMN updated_at TO changed"}}, []string{"error schema: snapshot.updated_at is missing", "error schema: snapshot.changed is not of the migrations"}, ""},
	"a column of another type":       {map[storeKind][]string{mysqlStore: {"ALTER TABLE evento_event MODIFY version INT NOT NULL"}, postgresStore: {"DROP VIEW SCHEMA.events", "ALTER TABLE SCHEMA.event ALTER version TYPE numeric"}}, []string{"error schema: event.version is "}, either},
	"a column too many":              {every("ALTER TABLE SCHEMA.event ADD COLUMN more INTEGER"), []string{"error schema: event.more is not of the migrations"}, ""},
	"no table of snapshots":          {every("DROP TABLE SCHEMA.snapshot"), []string{"error schema: snapshot is missing"}, ""},
	"no table of records":            {map[storeKind][]string{"": {"DROP TABLE SCHEMA.record"}, postgresStore: {"DROP TABLE SCHEMA.record CASCADE"}, sqliteStore: {"DROP VIEW evento_subscriptions", "DROP TABLE evento_record"}}, []string{"error schema: record is missing", "error record: could not be examined"}, ""},
	"a table of routing keys less":   {map[storeKind][]string{"": {"DROP TABLE SCHEMA.routing"}, postgresStore: {"DROP TABLE SCHEMA.routing CASCADE"}, sqliteStore: {"DROP VIEW evento_events", "DROP TABLE evento_routing"}}, []string{"error schema: routing is missing"}, "position 1: its routing key is not known"},
	"a table that is not logged":     {only(postgresStore, "ALTER TABLE SCHEMA.event SET UNLOGGED"), []string{"error schema: table event is not logged"}, ""},
	"a table of another engine":      {only(mysqlStore, "ALTER TABLE evento_event ENGINE = MyISAM"), []string{"error schema: table evento_event is MyISAM"}, ""},
	"somebody's trigger":             {map[storeKind][]string{sqliteStore: {"CREATE TRIGGER mine AFTER INSERT ON evento_event BEGIN SELECT 1; END"}, mysqlStore: {"CREATE TRIGGER mine AFTER INSERT ON evento_event FOR EACH ROW SET @x = 1"}, postgresStore: {"CREATE TRIGGER mine AFTER INSERT ON SCHEMA.event FOR EACH STATEMENT EXECUTE FUNCTION SCHEMA.immutable()"}}, []string{"warning schema: trigger mine on "}, ""},
	"somebody's unique index":        {map[storeKind][]string{"": {"CREATE UNIQUE INDEX mine ON SCHEMA.event (event_id)"}}, []string{"warning schema: index mine on "}, ""},
	"an index of tags":               {map[storeKind][]string{"": {"DELETE FROM SCHEMA.tag"}, postgresStore: {"DELETE FROM SCHEMA.event_tag"}}, []string{"error tags: it has 0 rows"}, ""},
}

// wholeStore makes a store of fillWhole, or copies the one of a kind that is made for the
// first.
func wholeStore(t *testing.T, kind storeKind, template string) string {
	t.Helper()
	if kind == sqliteStore {
		path := filepath.Join(t.TempDir(), "whole.db")
		b, err := os.ReadFile(template)
		if err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return "sqlite:" + path
	}
	store := stores[kind](t)
	if err := fillWhole(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	return store
}

// template is a SQLite store of fillWhole that others are copied from.
func template(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "template.db")
	if err := fillWhole(t.Context(), "sqlite:"+path); err != nil {
		t.Fatal(err)
	}
	statements(t, "sqlite:"+path, "PRAGMA wal_checkpoint(TRUNCATE)")
	return path
}

// Each damage is found, by whatever else it is hidden, with where it is and what to do; and
// what is exported can be imported.
func TestDoctorFindsEachDamage(t *testing.T) {
	t.Parallel()
	whole := template(t)
	for name, d := range storeDamages {
		for _, kind := range []storeKind{sqliteStore, postgresStore, mysqlStore} {
			texts, own := d.do[kind]
			if !own {
				texts = d.do[""]
			}
			if len(texts) == 0 {
				continue
			}
			t.Run(name+"/"+string(kind), func(t *testing.T) {
				t.Parallel()
				store := wholeStore(t, kind, whole)
				statements(t, store, texts...)
				wantFindings(t, store, d.want)
				wantExport(t, store, d.export)
			})
		}
	}
}

// wantFindings runs doctor, and compares the findings with those that are wanted.
func wantFindings(t *testing.T, store string, wants []string) {
	t.Helper()
	_, text := findings(t, "--store", store)
	for _, want := range wants {
		kind, part, _ := strings.Cut(want, ": ")
		if !slices.ContainsFunc(findingsIn(t, text), func(f finding) bool {
			return string(f.Severity)+" "+f.Check == kind && strings.Contains(f.Subject+" "+f.Detail, part) && f.Remedy != ""
		}) {
			t.Errorf("doctor did not find %q in\n%s", want, text)
		}
	}
	for _, f := range findingsIn(t, text) {
		if f.Severity == severe && f.Remedy == "" {
			t.Errorf("a finding has no remedy: %+v", f)
		}
	}
}

func findingsIn(t *testing.T, text string) (list []finding) {
	t.Helper()
	for line := range strings.Lines(text) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		if f.Check != "" {
			list = append(list, f)
		}
	}
	return list
}

// wantExport exports a store: it is refused with a text, or another store takes it, and has the
// same export.
func wantExport(t *testing.T, store, refusal string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "export.jsonl")
	code, _, said := call(t, "", "export", "--store", store, "--output", path)
	switch {
	case refusal == either && code != exitOK:
		return
	case refusal != "" && refusal != either:
		if code != exitFailed || !strings.Contains(said, refusal) {
			t.Errorf("export: exit code %d, %s, want %d and %q", code, said, exitFailed, refusal)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("a file was written by an export that was refused")
		}
		return
	}
	if code != exitOK {
		t.Errorf("export: exit code %d, %s", code, said)
		return
	}
	target := filepath.Join(t.TempDir(), "target.db")
	if code, _, said := call(t, "", "import", "--store", target, path); code != exitOK {
		t.Errorf("import of the export: exit code %d, %s", code, said)
	}
	var again bytes.Buffer
	if code := run(t.Context(), []string{"export", "--store", target}, nil, &again, &again); code != exitOK || !strings.HasPrefix(again.String(), readFile(t, path)) {
		t.Errorf("the export of the import: exit code %d, and it differs", code)
	}
}

// One damage hides no other, in the schema, in events, in one event, in records and snapshots.
func TestDoctorFindsAllDamages(t *testing.T) {
	t.Parallel()
	whole := template(t)
	for kind, index := range map[storeKind]string{sqliteStore: "no index of kinds", postgresStore: "no trigger", mysqlStore: "no index of kinds"} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			store := wholeStore(t, kind, whole)
			var wants []string
			for _, name := range []string{
				"a kind of another type", "a time that falls", "a version left out", "metadata twice", "an empty codec", "a version beyond reason",
				"position 0", "the highest position", "routing keys that are missing", "a record of revision 0", "a deadline's record", "a snapshot of another name", "a snapshot beyond the end",
				"the identity is gone", "an index of tags", "the first migration is gone", "no view of events", index,
			} {
				d := storeDamages[name]
				texts, own := d.do[kind]
				if !own {
					texts = d.do[""]
				}
				statements(t, store, texts...)
				for _, want := range d.want {
					wants = append(wants, strings.Replace(want, "its version is", "version", 1))
				}
			}
			wantFindings(t, store, wants)
			wantExport(t, store, "evento")
			// For people too.
			code, text, said := call(t, "", "doctor", "--store", store)
			if code != exitFailed || said != "" || !strings.Contains(text, "\n        remedy: ") {
				t.Errorf("doctor: exit code %d, %s\n%s", code, said, text)
			}
		})
	}
}

// A part of a store is read by its executor, which does not make the best of a damaged id
// either.
func TestExportOfAPartOfADamagedStore(t *testing.T) {
	t.Parallel()
	for kind, name := range map[storeKind]string{sqliteStore: "a short event id", mysqlStore: "a short event id on MySQL"} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			store := stores[kind](t)
			if err := fillWhole(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			statements(t, store, storeDamages[name].do[kind]...)
			for _, args := range [][]string{{"export", "--type", "shop/Customer"}, {"export", "--type", "shop/Customer", "--id", "c-0"}, {"events", "list"}, {"events", "list", "--reverse"}, {"events", "show", "19"}} {
				if code, _, said := call(t, "", append(args, "--store", store)...); code != exitFailed || !strings.Contains(said, "the id of the event at position 19 has 2 bytes and not 16") {
					t.Errorf("evento %q: exit code %d, %s, want the event", args, code, said)
				}
			}
			must(t, "", "export", "--type", "shop/Order", "--store", store)
		})
	}
}

// Of many findings of one kind 20 are listed, and the others counted.
func TestDoctorCountsFindings(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "many.db")
	store := "sqlite:" + path
	err := onNewStore(t.Context(), store, func(ex evento.Executor) error {
		var w evento.Write
		for i := range 1300 {
			w.Appends = append(w.Appends, evento.Append{AggregateType: "t", AggregateID: fmt.Sprint(i), Events: []evento.NewEvent{{ID: evento.NewID(), Name: "n", Codec: "json", Data: []byte("{")}}})
		}
		_, err := ex.Write(t.Context(), w)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	statements(t, store, unlock, "UPDATE evento_event SET version = 7, codec = 'json '", "UPDATE evento_event SET codec = 'json' WHERE position > 30", lock)
	code, text, _ := call(t, "", "doctor", "--store", store)
	if code != exitFailed || strings.Count(text, "\nerror   version      ") != mostListed+1 || !strings.Contains(text, "\nerror   version      and 1,280 more\n") ||
		!strings.Contains(text, "\nerror   payload      and 1,250 more\n") || !strings.Contains(text, "1300 events read, 2571 errors") {
		t.Errorf("doctor: exit code %d\n%s", code, text)
	}
	counts, text := findings(t, "--store", store)
	if counts["error version"] != mostListed || !strings.Contains(text, `"unlisted":2530,"more":{"error payload":1250,"error version":1280}`) {
		t.Errorf("found %v\n%s", counts, text)
	}
}

// A store that nobody has damaged has no findings: one that was just made, one that uses
// everything, one that was migrated from the first version, one that was imported, and one in
// a database that is also somebody else's.
func TestDoctorFindsNothing(t *testing.T) {
	t.Parallel()
	for kind, newStore := range stores {
		for name, fill := range map[string]func(t *testing.T, store string) error{
			"new":                 func(_ *testing.T, store string) error { must(t, "", "migrate", "up", "--store", store); return nil },
			"whole":               func(t *testing.T, store string) error { return fillWhole(t.Context(), store) },
			"many":                func(t *testing.T, store string) error { return fillMuch(t.Context(), store) },
			"migrated":            migrated,
			"imported":            imported,
			"beside other tables": beside,
			"with tags":           func(t *testing.T, store string) error { return fillTags(t.Context(), store) },
			"with states": func(t *testing.T, store string) error {
				return errors.Join(fillTags(t.Context(), store), onNewStore(t.Context(), store, keepStates))
			},
			"with several for all": func(t *testing.T, store string) error {
				return errors.Join(beside(t, store), fillTags(t.Context(), store), onNewStore(t.Context(), store, keepStates))
			},
		} {
			t.Run(name+"/"+string(kind), func(t *testing.T) {
				t.Parallel()
				store := newStore(t)
				if err := fill(t, store); err != nil {
					t.Fatal(err)
				}
				for _, args := range [][]string{{}, {"--fast"}, {"--memory", "1"}} {
					if got, text := findings(t, append(args, "--store", store)...); len(got) > 0 {
						t.Errorf("doctor %q found %v\n%s", args, got, text)
					}
				}
				wantExport(t, store, "")
			})
		}
	}
}

// migrated makes a store that was at the first migration, with events.
func migrated(t *testing.T, store string) error {
	t.Helper()
	err := onNewStore(t.Context(), store, func(ex evento.Executor) error {
		return commit(t.Context(), ex, evento.NewEvent{ID: evento.NewID(), Name: "n", Codec: "json", Data: []byte("{}")})
	})
	if withoutSQL(store) || err != nil {
		return err
	}
	table := "SCHEMA.tag"
	if strings.HasPrefix(store, "postgres:") {
		table = "SCHEMA.event_tag"
	}
	statements(t, store, "DROP TABLE "+table, "DELETE FROM SCHEMA.migration WHERE version = 2")
	if got, text := findings(t, "--store", store); got["error schema"] != 1 || !strings.Contains(text, "the store is at migration 1 of 2") {
		t.Errorf("before the migration: found %v\n%s", got, text)
	}
	must(t, "", "migrate", "up", "--store", store)
	return nil
}

// imported makes a store of the export of another one.
func imported(t *testing.T, store string) error {
	t.Helper()
	from := "sqlite:" + filepath.Join(t.TempDir(), "from.db")
	if err := fillWhole(t.Context(), from); err != nil {
		return err
	}
	text, _ := must(t, "", "export", "--store", from)
	must(t, text, "import", "--store", store)
	return nil
}

func withoutSQL(store string) bool {
	return strings.HasPrefix(store, "pebble:") || strings.HasPrefix(store, "nats:")
}

// beside makes a store in a database with an application's own tables, views, triggers and
// indexes, some of them of the store's tables.
func beside(t *testing.T, store string) error {
	t.Helper()
	if err := fillWhole(t.Context(), store); err != nil || withoutSQL(store) {
		return err
	}
	texts := []string{
		"CREATE TABLE SCHEMA.own (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL, at INTEGER DEFAULT 7)", "CREATE UNIQUE INDEX own_name ON SCHEMA.own (name)",
		"INSERT INTO SCHEMA.own VALUES (1, 'a', 2)", "CREATE VIEW SCHEMA.report AS SELECT position FROM SCHEMA.event", "CREATE INDEX by_time ON SCHEMA.event (recorded_at)",
	}
	switch {
	case strings.HasPrefix(store, "sqlite:"):
		texts = append(texts, "CREATE TABLE orders (a, b)", "CREATE TABLE evento_words (text)",
			"CREATE TRIGGER own_insert AFTER INSERT ON evento_own BEGIN DELETE FROM orders; END", "ANALYZE")
	case strings.HasPrefix(store, "postgres:"):
		texts = append(texts, "CREATE FUNCTION SCHEMA.now() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$", "CREATE TRIGGER own_insert AFTER INSERT ON SCHEMA.own EXECUTE FUNCTION SCHEMA.now()",
			"CREATE MATERIALIZED VIEW SCHEMA.kept AS SELECT 1", "CREATE TYPE SCHEMA.colour AS ENUM ('red')", "CREATE SEQUENCE SCHEMA.numbers", "ANALYZE SCHEMA.event")
	default:
		texts = append(texts, "CREATE TABLE orders (a INT, b JSON)", "CREATE TRIGGER own_insert AFTER INSERT ON SCHEMA.own FOR EACH ROW DELETE FROM orders", "ANALYZE TABLE SCHEMA.event")
	}
	statements(t, store, texts...)
	return nil
}
