package gen

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Refused input: the source, and the lines reported about it. Each is a package of
// its own, below "package p" and a line of imports.
var refused = map[string]struct{ source, want string }{
	"unknowndirective": {"//evento:agregate p/A\ntype E struct{}",
		`3:1: there is no directive //evento:agregate; use one of aggregate, default, dropped, event, retired, tag, untag, upcast, was`},
	"nearspace": {"//evento:aggregate p/A\ntype E struct {\n\tA string // evento:tag a\n}",
		"5:11: this comment is not followed, as it does not begin with //evento:tag; write it so if it is meant, and else begin it with another word"},
	"nearcapitals": {"//evento:aggregate p/A\ntype E struct {\n\tA string //Evento:Tag a\n}",
		"5:11: this comment is not followed, as it does not begin with //evento:tag; write it so if it is meant, and else begin it with another word"},
	"nearkind": {"//evento:aggregate p/A\ntype E struct {\n\tA string /*evento:tag a*/\n}",
		"5:11: this comment is not followed, as it does not begin with //evento:tag; write it so if it is meant, and else begin it with another word"},
	"nearcolon": {"//evento:aggregate p/A\ntype E struct {\n\tA string //evento :tag a\n}",
		"5:11: this comment is not followed, as it does not begin with //evento:tag; write it so if it is meant, and else begin it with another word"},
	"nearslash": {"//evento:aggregate p/A\ntype E struct {\n\tA string ///evento:tag a\n}",
		"5:11: this comment is not followed, as it does not begin with //evento:tag; write it so if it is meant, and else begin it with another word"},
	"nearname": {"//evento:aggregate p/A\ntype E struct {\n\tA string //event:tag a\n}",
		"5:11: this comment is not followed, as it does not begin with //evento:tag; write it so if it is meant, and else begin it with another word"},
	"gluedaggregate": {"//evento:aggregate p//A\ntype E struct{ A string }",
		"3:1: //evento:aggregate p//A: it is not clear whether the // is of the name; put a space in front of a comment, or quotes around a name"},
	"gluedtag": {"//evento:aggregate p/A\ntype E struct{ A string //evento:tag a//b\n}",
		"4:25: //evento:tag a//b: it is not clear whether the // is of the name; put a space in front of a comment, or quotes around a name"},
	"gluedwas": {"//evento:aggregate p/A\n//evento:was Old//old\ntype E struct{ A string }",
		"4:1: //evento:was Old//old: it is not clear whether the // is of the name; put a space in front of a comment, or quotes around a name"},
	"nearaggregate": {"// evento:aggregate p/A\ntype E struct{ A string }",
		"3:1: this comment is not followed, as it does not begin with //evento:aggregate; write it so if it is meant, and else begin it with another word"},
	"nearprose": {"// evento: event sourcing. Event: tag it.\n//\n//	//evento:was Old\n//\n// evento:was, of old. //evento:tag too.\ntype F struct{}\n//evento:aggregate p/A\ntype E struct{ C chan int }",
		`10:16: event E, field C: a chan int cannot be stored; leave it out of the event, or tag it json:"-"`},
	"nodirectivename": {"//evento:\ntype E struct{}",
		`3:1: there is no directive //evento:; use one of aggregate, default, dropped, event, retired, tag, untag, upcast, was`},
	"onfunction": {"//evento:aggregate p/A\nfunc F() {}",
		`3:1: //evento:aggregate means nothing here; it belongs above a type declaration or a group of them`},
	"onnestedfield": {"//evento:aggregate p/A\ntype E struct{ X N }\ntype N struct {\n\tA int //evento:was B\n}",
		`6:8: //evento:was means nothing here; it belongs above an event's type or a field of it`},
	"defaultontype": {"//evento:aggregate p/A\n//evento:default 5\ntype E struct{ A int }",
		`4:1: //evento:default means nothing here; it belongs above a field of an event`},
	"noevents": {"//evento:aggregate p/A\ntype (\n\te struct{}\n)",
		`3:1: aggregate "p/A" has no events here: no type below is an exported struct; put the directive above the structs that are its events`},
	"notstruct": {"//evento:aggregate p/A\ntype E int",
		`4:6: E is not a struct, so it cannot be an event; write type E struct { … }`},
	"generic": {"//evento:aggregate p/A\ntype E[T any] struct{ A T }",
		`4:6: E has type parameters, so it cannot be an event: its shape is not known; declare a struct for each kind of event, with fields of instantiated types`},
	"badaggregate": {"//evento:aggregate a b c\ntype E struct{}",
		`3:1: //evento:aggregate a b c does not name an aggregate; write //evento:aggregate bank/Account, and behind it the name that generated code is to use if that is not Account`},
	"twoaggregates": {"//evento:aggregate bank/Account\ntype E struct{}\n//evento:aggregate shop/Account\ntype F struct{}",
		`5:1: two aggregates of the name Account: "shop/Account", and "bank/Account" at twoaggregates/p.go:3:1; name one of them differently: //evento:aggregate shop/Account OtherAccount`},
	"twoidents": {"//evento:aggregate p/A\ntype E struct{}\n//evento:aggregate p/A Konto\ntype F struct{}",
		`5:1: aggregate "p/A" is Konto here and A at twoidents/p.go:3:1; use one name`},
	"duplicateevent": {"//evento:aggregate p/A\ntype (\n\tE struct{}\n\t//evento:event E\n\tF struct{}\n)",
		`7:2: event "E" of "p/A" is F here and E at duplicateevent/p.go:5:2; name one of them differently with //evento:event`},
	"duplicatewas": {"//evento:aggregate p/A\ntype (\n\tE struct{}\n\t//evento:was E\n\tF struct{}\n)",
		`7:2: event "E" of "p/A" is F here and E at duplicatewas/p.go:5:2; name one of them differently with //evento:event`},
	"wasnoname": {"//evento:aggregate p/A\n//evento:was\ntype E struct{}",
		`4:1: //evento:was needs one name behind it; write //evento:was Name`},
	"retiredargs": {"//evento:aggregate p/A\n//evento:retired yesterday\ntype E struct{}",
		`4:1: //evento:retired takes nothing behind it; say why in a comment of its own`},
	"chan": {"//evento:aggregate p/A\ntype E struct {\n\tA int\n\tC chan int\n}",
		"6:2: event E, field C: a chan int cannot be stored; leave it out of the event, or tag it json:\"-\""},
	"nestedfunc": {"//evento:aggregate p/A\ntype E struct{ Lines []L }\ntype L struct{ F func() }",
		"4:16: event E, field Lines[].F: a func() cannot be stored; leave it out of the event, or tag it json:\"-\""},
	"complex": {"//evento:aggregate p/A\ntype E struct{ C complex128 }",
		`4:16: event E, field C: a complex128 cannot be stored; store what it stands for as a string, a number or bytes`},
	"pointer": {"import \"unsafe\"\n//evento:aggregate p/A\ntype E struct{ C unsafe.Pointer }",
		`5:16: event E, field C: a unsafe.Pointer cannot be stored; store what it stands for as a string, a number or bytes`},
	"mutex": {"import \"sync\"\n//evento:aggregate p/A\ntype E struct{ M sync.Mutex }",
		`5:16: event E, field M: nothing of sync.Mutex would be stored: it has no exported fields; export its fields, or give it MarshalText and UnmarshalText`},
	"allunexported": {"//evento:aggregate p/A\ntype E struct{ a int }",
		`4:6: event E: nothing of E would be stored: it has no exported fields; export its fields, or give it MarshalText and UnmarshalText`},
	"interface": {"//evento:aggregate p/A\ntype E struct{ S interface{ String() string } }",
		`4:16: event E, field S: the interface interface{String() string} has methods, and what it held cannot be read back; use a struct with a field for each kind, or any`},
	"unknowntype": {"//evento:aggregate p/A\ntype E struct{ S Missing }",
		`4:16: event E, field S: its type is not known; correct the type, or generate the code that it comes from first`},
	"marshalonly": {"//evento:aggregate p/A\ntype E struct{ X M }\ntype M struct{}\nfunc (M) MarshalText() ([]byte, error) { return nil, nil }",
		`4:16: event E, field X: M has MarshalText and no UnmarshalText, so what is stored could not be read back; add the method`},
	"mapbypointer": {"//evento:aggregate p/A\ntype E struct{ M map[*int]string }",
		`4:16: event E, field M: a map by pointers would be read back with other keys; use what they point to as the key`},
	"mapbystruct": {"//evento:aggregate p/A\ntype E struct{ M []map[struct{ A int; P *int }]string }",
		`4:16: event E, field M[]: a map by struct{A int; P *int}, which contains pointers, would be read back with other keys; use a key with what they point to`},
	"mapbyarray": {"//evento:aggregate p/A\ntype E struct{ M map[[2]*string]string }",
		`4:16: event E, field M: a map by [2]*string, which contains pointers, would be read back with other keys; use a key with what they point to`},
	"mapbyinner": {"//evento:aggregate p/A\ntype E struct{ In *S }\ntype S struct{ M map[K]string }\ntype K struct{ A [1]struct{ In L } }\ntype L struct{ Of *S }",
		`4:16: event E, field In.M: a map by K, which contains pointers, would be read back with other keys; use a key with what they point to`},
	"mapbyembedded": {"//evento:aggregate p/A\ntype E struct{ M map[K]string }\ntype K struct{ *L }\ntype L struct{ A int }",
		`4:16: event E, field M: a map by K, which contains pointers, would be read back with other keys; use a key with what they point to`},
	"mapbyitself": {"//evento:aggregate p/A\ntype E struct{ Of *K }\ntype K struct{ P *E }\n//evento:aggregate p/A\ntype F struct{ In T }\ntype T struct{ P *U }\ntype U struct{ M map[T]string }",
		`7:16: event F, field In.P.M: a map by T, which contains pointers, would be read back with other keys; use a key with what they point to`},
	"mapbytext": {"import \"net/netip\"\n//evento:aggregate p/A\ntype E struct{ M map[struct{ A netip.Addr; K K; V any; p *int }]string; N map[*int]string }\ntype K struct{ P *int }\nfunc (K) MarshalText() ([]byte, error) { return nil, nil }\nfunc (*K) UnmarshalText([]byte) error { return nil }",
		`5:73: event E, field N: a map by pointers would be read back with other keys; use what they point to as the key`},
	"sametag": {"//evento:aggregate p/A\ntype E struct {\n\tA int `json:\"x\"`\n\tB int `json:\"x\"`\n}",
		"5:2: event E, field A: B is stored as \"x\" too, so that neither would be; give one of them another name with a json tag"},
	"embedstime": {"import \"time\"\n//evento:aggregate p/A\ntype E struct {\n\ttime.Time\n\tA int\n}",
		"6:7: E has MarshalBinary from its embedded Time, so that nothing else of it would be stored; give the field a name\n" +
			"6:7: E has MarshalText from its embedded Time, so that nothing else of it would be stored; give the field a name\n" +
			"6:7: E has MarshalJSON from its embedded Time, so that nothing else of it would be stored by the JSON codec; give the field a name\n" +
			"6:7: E has UnmarshalJSON from its embedded Time, so that nothing else of it would be read back by the JSON codec; give the field a name"},
	"embedsjson": {"//evento:aggregate p/A\ntype E struct {\n\tJ\n\tA int\n}\ntype J struct{ X int }\nfunc (J) MarshalJSON() ([]byte, error) { return nil, nil }\nfunc (*J) UnmarshalJSON([]byte) error { return nil }",
		"5:2: E has MarshalJSON from its embedded J, so that nothing else of it would be stored by the JSON codec; give the field a name\n" +
			"5:2: E has UnmarshalJSON from its embedded J, so that nothing else of it would be read back by the JSON codec; give the field a name"},
	"embedsunmarshalcbor": {"//evento:aggregate p/A\ntype E struct {\n\tJ\n\tA int\n}\ntype J struct{ X int }\nfunc (*J) UnmarshalCBOR([]byte) error { return nil }",
		"5:2: E has UnmarshalCBOR from its embedded J, so that nothing else of it would be read back; give the field a name"},
	"embedsappendcbor": {"//evento:aggregate p/A\ntype E struct {\n\tJ\n\tA int\n}\ntype J struct{ X int }\nfunc (*J) AppendCBOR(b []byte) ([]byte, error) { return b, nil }",
		"5:2: E has AppendCBOR from its embedded J, so that nothing else of it would be stored; give the field a name"},
	"embedsdecodecbor": {"//evento:aggregate p/A\ntype E struct {\n\tJ\n\tA int\n}\ntype J struct{ X int }\nfunc (*J) DecodeCBOR([]byte) (bool, error) { return true, nil }",
		"5:2: E has DecodeCBOR from its embedded J, so that nothing else of it would be read back; give the field a name"},
	"embedsdecodeevent": {"//evento:aggregate p/A\ntype E struct {\n\tJ\n\tA int\n}\ntype J struct{ X int }\nfunc (*J) DecodeEvent(string, any, []byte) error { return nil }",
		"5:2: E has DecodeEvent from its embedded J, so that nothing else of it would be read back; give the field a name"},
	"embedsformernames": {"//evento:aggregate p/A\ntype E struct {\n\tJ\n\tA int\n}\ntype J struct{ X int }\nfunc (*J) FormerNames() []string { return nil }",
		"5:2: E has FormerNames from its embedded J, so that it would read the events of other names; give the field a name"},
	"embedsretired": {"//evento:aggregate p/A\ntype E struct {\n\tJ\n\tA int\n}\ntype J struct{ X int }\nfunc (*J) Retired() {}",
		"5:2: E has Retired from its embedded J, so that no commit would accept it; give the field a name"},
	"withintime": {"import \"time\"\n//evento:aggregate p/A\ntype E struct{ Z []Z }\ntype Z struct {\n\ttime.Time\n\tZone string\n}",
		"5:16: event E, field Z[]: Z has MarshalBinary from its embedded Time, so that nothing else of it would be stored; give the embedded field a name, or write the method for all of it"},
	"withinjson": {"//evento:aggregate p/A\ntype E struct{ In Z }\ntype Z struct {\n\tJ\n\tZone string\n}\ntype J struct{ X int }\nfunc (*J) UnmarshalJSON([]byte) error { return nil }",
		"4:16: event E, field In: Z has UnmarshalJSON from its embedded J, so that nothing else of it would be read back by the JSON codec; give the embedded field a name, or write the method for all of it"},
	"withincbor": {"//evento:aggregate p/A\ntype E struct{ In Z }\ntype Z struct {\n\tJ\n\tZone string\n}\ntype J struct{ X int }\nfunc (*J) UnmarshalCBOR([]byte) error { return nil }",
		"4:16: event E, field In: Z has UnmarshalCBOR from its embedded J, so that nothing else of it would be read back; give the embedded field a name, or write the method for all of it"},
	"withinalone": {"import \"time\"\n//evento:aggregate p/A\ntype E struct{ D D; C chan int }\ntype D struct {\n\ttime.Time\n\tnote string\n}",
		`5:21: event E, field C: a chan int cannot be stored; leave it out of the event, or tag it json:"-"`},
	"embedsevent": {"//evento:aggregate p/A\ntype (\n\tE struct{ A int }\n\tF struct{ E }\n)",
		`6:12: F embeds the event E, and would be taken for it; move what they share to a struct that both embed`},
	"methodthere": {"//evento:aggregate p/A\ntype E struct{}\nfunc (E) EventName() string { return \"\" }",
		`5:10: event E has a method EventName, which evento gen writes; remove it`},
	"fieldnamed": {"//evento:aggregate p/A\ntype E struct{ EventName string }",
		"4:16: event E has a field EventName, which is the name of a method that it needs; rename the field, and keep what is stored with `json:\"EventName\"`"},
	"identtaken": {"//evento:aggregate p/A\ntype E struct{}\ntype AView struct{}",
		`5:6: AView is declared here, and evento gen declares it too; remove or rename it, or give the aggregate another name: //evento:aggregate p/A OtherA`},
	"filterstaken": {"//evento:aggregate p/A\n//evento:event \"e e\"\ntype E struct{}\nfunc EFilters() {}",
		`6:6: EFilters is declared here, and evento gen declares it too; remove or rename it, or rename the event, and keep what is stored with //evento:event "e e"`},
	"importtaken": {"import AType \"fmt\"\n//evento:aggregate p/A\ntype E struct{}\nvar _ = AType.Sprint",
		`3:8: AType is the name of an import here, or of what a dot import brings, and evento gen declares it too; import it under another name, or give the aggregate another name: //evento:aggregate p/A OtherA`},
	"dotimporttaken": {"import . \"text/template/parse\"\n//evento:aggregate p/Node\ntype E struct{ A NodeType }",
		`3:8: NodeType is the name of an import here, or of what a dot import brings, and evento gen declares it too; import it under another name, or give the aggregate another name: //evento:aggregate p/Node OtherNode`},
	"declaredtwice": {"//evento:aggregate p/ApplyA\ntype E struct{}\n//evento:aggregate p/AType\ntype F struct{}",
		`5:1: ApplyAType would be declared for the aggregate AType and for the aggregate ApplyA; give the aggregate another name: //evento:aggregate p/AType OtherAType`},
	"declaredforevent": {"//evento:aggregate declaredforevent/XFilters\ntype SubscribeX struct{}",
		`4:6: SubscribeXFilters would be declared for the event SubscribeX and for the aggregate XFilters; rename the event, and keep what is stored with //evento:event SubscribeX`},
	"noletter": {"//evento:aggregate p/口座\ntype E struct{}",
		`3:1: //evento:aggregate p/口座 has no name that Go exports for generated code; write one behind it, such as //evento:aggregate p/口座 Account`},
	"othername": {"//evento:aggregate p/A konto\ntype E struct{}",
		`3:1: //evento:aggregate p/A konto has no name that Go exports for generated code; write one behind it, such as //evento:aggregate p/A Account`},
	"defaulttext": {"//evento:aggregate p/A\ntype E struct {\n\tN int //evento:default \"five\"\n}",
		`5:8: field N: //evento:default "five": cannot use "five" (untyped string constant) as int value; write a constant of the field's type, such as //evento:default 5`},
	"defaultoverflow": {"//evento:aggregate p/A\ntype E struct {\n\tN uint8 //evento:default 256\n}",
		`5:10: field N: //evento:default 256: cannot use 256 (untyped int constant) as uint8 value (overflows); write a constant of the field's type, such as //evento:default 5`},
	"defaultvariable": {"//evento:aggregate p/A\ntype E struct {\n\tN int //evento:default five\n}\nvar five = 5",
		`5:8: field N: //evento:default five: five is not a constant; write a constant of the field's type, such as //evento:default 5`},
	"defaultempty": {"//evento:aggregate p/A\ntype E struct {\n\tN int //evento:default\n}",
		`5:8: //evento:default of N says no value; write a constant of the field's type, such as //evento:default 5`},
	"defaultslice": {"//evento:aggregate p/A\ntype E struct {\n\tN []int //evento:default nil\n}",
		`5:10: field N: a default is for bools, numbers, strings and pointers to these; use //evento:upcast for others`},
	"directivetwofields": {"//evento:aggregate p/A\ntype E struct {\n\tN, M int //evento:was O\n}",
		`5:11: the directive is for one field with a name; give each field a line of its own`},
	"directiveunstored": {"//evento:aggregate p/A\ntype E struct {\n\tA int\n\tN int `json:\"-\"` //evento:was O\n}",
		`6:19: the field N is not stored, so there is nothing to say of it; remove the directive`},
	"waspresent": {"//evento:aggregate p/A\ntype E struct {\n\tO int\n\tN int //evento:was O\n}",
		`6:2: event E: //evento:was O of field N: that name is the one of field O; name what the field was stored as before`},
	"upcastmissing": {"//evento:aggregate p/A\n//evento:upcast none\ntype E struct{}",
		`4:1: there is no function none; write //evento:upcast name, where name is a func(Old) E of this package`},
	"upcastsignature": {"//evento:aggregate p/A\n//evento:upcast f\ntype E struct{}\nfunc f(a, b int) E { return E{} }",
		`4:1: f is a func(a int, b int) E; write //evento:upcast name, where name is a func(Old) E of this package, which may also return an error`},
	"upcastnoevent": {"//evento:aggregate p/A\n//evento:upcast f\ntype E struct{}\nfunc f(int) E { return E{} }",
		`4:1: f takes a int, which is no event; put //evento:event above that type, with the name it was stored under`},
	"upcastnotretired": {"//evento:aggregate p/A\ntype (\n\tO struct{}\n\t//evento:upcast f\n\tE struct{}\n)\nfunc f(O) E { return E{} }",
		`6:2: O is still committed; put //evento:retired above it`},
	"tagontype": {"//evento:aggregate p/A\n//evento:tag course\ntype E struct{ A int }",
		`4:1: //evento:tag means nothing here; it belongs above a field of an event`},
	"tagonnestedfield": {"//evento:aggregate p/A\ntype E struct{ X N }\ntype N struct {\n\tA int //evento:tag a\n}",
		`6:8: //evento:tag means nothing here; it belongs above a field of an event`},
	"tagnoname": {"//evento:aggregate p/A\ntype E struct {\n\tA string //evento:tag\n\tB string //evento:tag a b\n\tC string //evento:tag a:b\n\tD string //evento:tag \"a\"\n}",
		"5:11: //evento:tag needs one name behind it, without spaces, colons and quotes; write //evento:tag course\n" +
			"6:11: //evento:tag needs one name behind it, without spaces, colons and quotes; write //evento:tag course\n" +
			"7:11: //evento:tag needs one name behind it, without spaces, colons and quotes; write //evento:tag course\n" +
			"8:11: //evento:tag needs one name behind it, without spaces, colons and quotes; write //evento:tag course"},
	"tagtwice": {"//evento:aggregate p/A\ntype E struct {\n\t//evento:tag a\n\tA string //evento:tag a\n}",
		`6:11: a second //evento:tag a for A; keep one`},
	"tagtwofields": {"//evento:aggregate p/A\ntype E struct {\n\tA, B string //evento:tag a\n}",
		`5:14: the directive is for one field with a name; give each field a line of its own`},
	"tagunstored": {"//evento:aggregate p/A\ntype E struct {\n\tA int\n\tB string `json:\"-\"` //evento:tag b\n}",
		`6:22: the field B is not stored, so there is nothing to say of it; remove the directive`},
	"tagkinds": {"import (\"math/big\"; \"time\")\n//evento:aggregate p/A\ntype E struct {\n\tA float64 //evento:tag a\n\tB bool //evento:tag b\n\tC []byte //evento:tag c\n\tD N //evento:tag d\n" +
		"\tE map[string]string //evento:tag e\n\tF time.Time //evento:tag f\n\tG [2]string //evento:tag g\n\tH [][]string //evento:tag h\n\tI **int //evento:tag i\n\tJ any //evento:tag j\n" +
		"\tK []float32 //evento:tag k\n\tL Ratio //evento:tag l\n\tM *big.Int //evento:tag m\n}\ntype N struct{ A string }\ntype Ratio float64\nfunc (Ratio) String() string { return \"\" }",
		"6:12: field A: a float64 cannot be a tag; " + tagsAreOf +
			"\n7:9: field B: a bool cannot be a tag; " + tagsAreOf +
			"\n8:11: field C: a []byte cannot be a tag; " + tagsAreOf +
			"\n9:6: field D: a N cannot be a tag; " + tagsAreOf +
			"\n10:22: field E: a map[string]string cannot be a tag; " + tagsAreOf +
			"\n11:14: field F: a time.Time cannot be a tag; " + tagsAreOf +
			"\n12:14: field G: a [2]string cannot be a tag; " + tagsAreOf +
			"\n13:15: field H: a [][]string cannot be a tag; " + tagsAreOf +
			"\n14:10: field I: a **int cannot be a tag; " + tagsAreOf +
			"\n15:8: field J: a any cannot be a tag; " + tagsAreOf +
			"\n16:14: field K: a []float32 cannot be a tag; " + tagsAreOf +
			"\n17:10: field L: a Ratio cannot be a tag; " + tagsAreOf},
	"tagmethodthere": {"//evento:aggregate p/A\ntype E struct {\n\tA string //evento:tag a\n}\nfunc (E) Tags() []string { return nil }",
		`7:10: event E has a method Tags, which evento gen writes; remove it`},
	"tagfieldnamed": {"//evento:aggregate p/A\ntype E struct {\n\tTags []string //evento:tag a\n}",
		"5:2: event E has a field Tags, which is the name of a method that it needs; rename the field, and keep what is stored with `json:\"Tags\"`"},
	"tagmethodembedded": {"//evento:aggregate p/A\ntype E struct {\n\tTenant\n\tA string //evento:tag a\n}\ntype Tenant struct{ ID string }\nfunc (t Tenant) Tags() []string { return []string{t.ID} }",
		`4:6: event E has a method Tags from what it embeds, which that of its //evento:tag would hide; write one method for all of its tags, and remove the directives`},
	"tagofold": {"//evento:aggregate p/A\n//evento:upcast f\ntype E struct{}\n//evento:event Old\ntype o struct {\n\tA string //evento:tag a\n}\nfunc f(o) E { return E{} }",
		`8:11: o is read alone, and no event gets its tags; remove the directive`},
	"tagencoding": {"//evento:aggregate p/A\ntype E struct {\n\tA string //evento:tag a\n}\nfunc (E) MarshalText() ([]byte, error) { return nil, nil }\nfunc (*E) UnmarshalText([]byte) error { return nil }",
		`5:11: E has an encoding of its own, of which the directive knows nothing; write the method Tags`},
	"tagunnamed": {"//evento:aggregate p/A\ntype E struct {\n\tA struct{ Ref; F chan int `json:\"-\"` } //evento:tag a\n}\ntype Ref struct{ N int }\nfunc (Ref) String() string { return \"\" }",
		`5:41: the type of A, struct{Ref; F chan int "json:\"-\""}, cannot be written in generated code, which the directive takes; declare a type with a name for it`},
	"waswithoutname": {"//evento:aggregate p/A\ntype E struct {\n\tA []struct{ N int; F func() `json:\"-\"` } //evento:was B\n}",
		`5:43: the type of A, []struct{N int; F func() "json:\"-\""}, cannot be written in generated code, which the directive takes; declare a type with a name for it, or use //evento:upcast`},
	"wasinarray": {"//evento:aggregate p/A\ntype E struct {\n\t_ struct{} `cbor:\",toarray\"`\n\tA int //evento:was B\n\tC int //evento:default 5\n}",
		"6:8: field A: the event is stored as an array (toarray), so that the directive has no name to go by; keep the name in its tag and remove the directive, or use //evento:upcast\n" +
			"7:8: field C: the event is stored as an array (toarray), so that the directive has no name to go by; keep the name in its tag and remove the directive, or use //evento:upcast"},
	"wasquotes": {"//evento:aggregate p/A\n//evento:was \"a\"b\ntype E struct{}",
		`4:1: //evento:was needs one name behind it; write //evento:was Name`},
	"groupnotstruct": {"//evento:aggregate p/A\ntype (\n\tE struct{}\n\t//evento:retired\n\tF int\n)",
		`7:2: F is not a struct, so it cannot be an event; write type F struct { … }`},
	"upcastcycle": {"//evento:aggregate p/A\ntype (\n\t//evento:retired\n\t//evento:upcast g\n\tO struct{}\n\t//evento:retired\n\t//evento:upcast f\n\tE struct{}\n)\nfunc f(O) E { return E{} }\nfunc g(E) O { return O{} }",
		`7:2: O is upcast to itself in the end; remove one of the //evento:upcast`},
	"upcastofold": {"//evento:aggregate p/A\n//evento:upcast f\ntype E struct{}\n//evento:event First\n//evento:upcast g\ntype first struct{ A int }\n//evento:event Zeroth\ntype zeroth struct{ A bool }\n" +
		"func f(first) E { return E{} }\nfunc g(zeroth) first { return first{} }",
		`7:1: first is read alone, so that its //evento:upcast would not be called; put it into the group of its aggregate with //evento:retired`},
	"defaultomitempty":   {"//evento:aggregate p/A\ntype E struct {\n\tN int `json:\",omitempty\"` //evento:default 5\n}", defaultOmitted("5:28", "N")},
	"defaultomitzero":    {"//evento:aggregate p/A\ntype E struct {\n\tN string `cbor:\",omitzero\"` //evento:default \"x\"\n}", defaultOmitted("5:30", "N")},
	"defaultomitpointer": {"//evento:aggregate p/A\ntype E struct {\n\tN *int `json:\"n,omitempty\"` //evento:default 5\n}", defaultOmitted("5:30", "n")},
	"defaultomitbool":    {"//evento:aggregate p/A\ntype E struct {\n\tN bool `json:\",omitempty\"` //evento:default true\n}", defaultOmitted("5:29", "N")},
	"defaultomitjson":    {"//evento:aggregate p/A\ntype E struct {\n\tN int `json:\",omitempty\" cbor:\"N\"` //evento:default 5\n}", defaultOmitted("5:37", "N")},
	"defaultomitcbor":    {"//evento:aggregate p/A\ntype E struct {\n\tN int `json:\"N\" cbor:\",omitempty\"` //evento:default 5\n}", defaultOmitted("5:37", "N")},
	"defaultembedded": {"//evento:aggregate p/A\ntype E struct{ I }\ntype I struct {\n\tN int //evento:default 5\n}",
		`6:8: //evento:default means nothing here; it belongs above a field of an event`},
	"defaultofembedded": {"//evento:aggregate p/A\ntype E struct {\n\tI //evento:default 5\n}\ntype I struct { N int }",
		`5:4: the directive is for one field with a name; give each field a line of its own`},
	"wasquoted": {"//evento:aggregate p/A\ntype E struct {\n\tA *int `json:\",string\"` //evento:was B\n}",
		`5:2: event E, field A: //evento:was cannot read a pointer that the JSON codec quotes (the option string); keep the name in its tag, and remove the directive`},
	"wascase": {"//evento:aggregate p/A\ntype E struct {\n\tA int\n\tB int //evento:was a\n}",
		`6:2: event E: field B would also get what field A is stored as, A, as the codecs do not heed case; change one of the names`},
	"wascases": {"//evento:aggregate p/A\ntype E struct {\n\tX int //evento:was ab\n\tY int //evento:was Ab\n\tAB int\n}",
		`7:2: event E: field AB would also get what field X is stored as, ab, as the codecs do not heed case; change one of the names`},
	"keyasintname": {"//evento:aggregate p/A\ntype E struct {\n\tA int `cbor:\"a,keyasint\"`\n}",
		"5:2: event E, field A: it has the option keyasint, and its name \"a\" is no integer; write a number in its tag, such as `cbor:\"1,keyasint\"`"},
	"keyasinttwice": {"//evento:aggregate p/A\ntype E struct {\n\tA int `cbor:\"1,keyasint\"`\n\tB int `cbor:\"01,keyasint\"`\n}",
		"5:2: event E, field A: B is stored as \"1\" too, so that neither would be; give one of them another name with a json tag"},
	"toindefarray": {"//evento:aggregate p/A\ntype E struct{ X I }\ntype I struct {\n\t_ struct{} `cbor:\",toindefarray\"`\n\tA int\n}",
		`4:16: event E, field X: I has the option toindefarray, which the codec does not write; use toarray`},
	"itselfbyvalue": {"//evento:aggregate p/A\ntype E struct{ X T }\ntype T struct { N int; X T }",
		`4:16: event E, field X: its type is not known; correct the type, or generate the code that it comes from first`},
	"oldunused": {"//evento:aggregate p/A\ntype E struct{}\n//evento:event Old\ntype o struct{ A int }",
		`6:6: o is of no aggregate and nothing is upcast from it; put //evento:aggregate above it, or //evento:upcast above the event that a function makes of it`},
}

const tagsAreOf = "tags are of strings, integers, types with MarshalText or String, and pointers to and slices of these"

func defaultOmitted(at, name string) string {
	return at + ": field " + name + ": a zero is left out of the event (omitempty, omitzero), and would be read back as the default; remove the option from its tag, or //evento:default"
}

func TestRefused(t *testing.T) {
	t.Parallel()
	files := map[string]string{"go.mod": "module example.com/app\n\ngo 1.26\n"}
	for name, c := range refused {
		files[name+"/p.go"] = "package p\n\n" + strings.ReplaceAll(c.source, "p/A", name+"/A") + "\n"
	}
	for name, problems := range problemsOf(t, files) {
		want := strings.Split(strings.ReplaceAll(refused[name].want, "p/A", name+"/A"), "\n")
		if !slices.Equal(problems, want) {
			t.Errorf("%s:\n%s\nsaid\n%s\nwant\n%s", name, files[name+"/p.go"], strings.Join(problems, "\n"), strings.Join(want, "\n"))
		}
	}
}

// problemsOf runs the generator, and returns what it reports about each folder,
// without the folder's name. It must not write anything.
func problemsOf(t *testing.T, files map[string]string) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	writeFiles(t, dir, files)
	_, err := Run(t.Context(), Options{Dir: dir, Patterns: []string{"./..."}})
	var ps RefusedError
	if !errors.As(err, &ps) {
		t.Fatalf("%v, want problems", err)
	}
	if after := readFiles(t, dir); !equalFiles(after, files) {
		t.Errorf("files were written: %v", slices.Sorted(maps.Keys(after)))
	}
	found := map[string][]string{}
	for name := range files {
		if folder, _, ok := strings.Cut(name, "/"); ok {
			found[folder] = nil
		}
	}
	for _, p := range ps {
		folder, rest, _ := strings.Cut(p.String(), "/")
		rest = strings.TrimPrefix(rest, "p.go:")
		found[folder] = append(found[folder], rest)
	}
	return found
}

// A syntax error anywhere refuses everything, also correct packages.
func TestSyntaxError(t *testing.T) {
	t.Parallel()
	problems := problemsOf(t, map[string]string{
		"go.mod":           "module example.com/app\n\ngo 1.26\n",
		"good/p.go":        "package p\n\n//evento:aggregate p/A\ntype E struct{}\n",
		"good/p_evento.go": "package p // of before\n",
		"bad/p.go":         "package p\n\n//evento:aggregate q/A\ntype E struct{\n\tA int,\n}\n",
	})
	want := `5:7: syntax error: expected ';', found ','; correct it and generate again`
	if got := problems["bad"]; len(got) != 1 || got[0] != want {
		t.Errorf("said %q, want %q", got, want)
	}
}

func TestTwoPackagesOneAggregate(t *testing.T) {
	t.Parallel()
	problems := problemsOf(t, map[string]string{
		"go.mod": "module example.com/app\n\ngo 1.26\n",
		"a/p.go": "package p\n\n//evento:aggregate p/A\ntype E struct{}\n",
		"b/p.go": "package p\n\n//evento:aggregate p/A\ntype F struct{}\n",
	})
	want := `3:1: two aggregates of the name "p/A": the other is in package example.com/app/a; an aggregate belongs to one package`
	if got := problems["b"]; len(got) != 1 || got[0] != want {
		t.Errorf("said %q, want %q", got, want)
	}
}
