package gen

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/tools/go/packages"
)

// code is what was read of a package: its events and aggregates.
type code struct {
	pkg        *packages.Package
	dir        string
	aggregates []*aggregate
	all        []*event             // including those that only an upcaster reads
	declared   map[string]token.Pos // outside of functions, in any build and in tests
	imported   map[string]token.Pos // what imports are called, and what dot imports bring
}

// aggregate is a type of aggregate and its events in the order of the source.
type aggregate struct {
	typ    string // "bank/Account"
	ident  string // "Account", which generated names begin with
	pos    token.Pos
	events []*event
}

// event is a struct that is stored now, or was stored before.
type event struct {
	name      string // the stored name
	ident     string // the name of the Go type
	aggregate *aggregate
	was       []string
	dropped   []string
	retired   bool
	tags      []tag
	untags    []untag
	broken    bool // what it is stored as is not known, as something of it was refused
	// old is a struct that an upcaster reads and that belongs to no aggregate
	// directive: no methods are generated for it.
	old     bool
	upcasts []*upcast // from older events to this one
	into    *event    // what this one is upcast to
	shape   *shape

	spec *ast.TypeSpec
	obj  *types.TypeName
}

// fields returns the fields of the event's struct.
func (e *event) fields() []*field { return e.shape.fields }

// names returns the names that it is stored under, without those of events that are
// upcast to it.
func (e *event) names() []string { return append([]string{e.name}, e.was...) }

// former returns all other names that are read as this event.
func (e *event) former() []string {
	names := slices.Clone(e.was)
	for _, u := range e.upcasts {
		names = append(names, u.from.name)
		names = append(names, u.from.former()...)
	}
	return names
}

// evolved reports whether the event decodes itself.
func (e *event) evolved() bool {
	return len(e.upcasts) > 0 || slices.ContainsFunc(e.fields(), func(f *field) bool {
		return len(f.was) > 0 || f.dflt != ""
	})
}

// upcast is a function that makes a newer event from an older one.
type upcast struct {
	function string
	from     *event
	fails    bool // it also returns an error
	d        *directive
}

// reader reads the events of one package.
type reader struct {
	*code
	ps         *problems
	shaper     *shaper
	directives directives
	sources    map[string][]byte
	upcasts    map[*event][]*directive
	groups     map[*event]*directive // where the aggregate was declared
}

func (r *reader) problem(pos token.Pos, format string, args ...any) {
	r.ps.add(r.place(pos), format, args...)
}

// read finds the events of a package. It reports mistakes to ps.
func read(pkg *packages.Package, others []unbuilt, ps *problems) *code {
	r := &reader{
		code: &code{pkg: pkg, dir: packageDir(pkg)}, ps: ps, shaper: &shaper{pkg: pkg.Types},
		directives: directives{}, sources: map[string][]byte{},
		upcasts: map[*event][]*directive{}, groups: map[*event]*directive{},
	}
	for _, file := range pkg.Syntax {
		for pos, d := range directivesOf(file) {
			r.directives[pos] = d
		}
		r.nearMisses(file)
	}
	if len(r.directives) == 0 {
		return r.code
	}
	for _, file := range pkg.Syntax {
		for _, d := range file.Decls {
			if decl, ok := d.(*ast.GenDecl); ok && decl.Tok == token.TYPE {
				r.declaration(decl)
			}
		}
	}
	r.declare(others)
	r.resolveUpcasts()
	for _, e := range r.all {
		r.fields(e)
	}
	r.checkNames()
	r.checkDirectives()
	return r.code
}

// declaration reads a type declaration or a group of them.
func (r *reader) declaration(decl *ast.GenDecl) {
	ofGroup := r.aggregateOf(decl.Doc)
	before := len(r.all)
	for _, s := range decl.Specs {
		spec, ok := s.(*ast.TypeSpec)
		if !ok {
			continue
		}
		docs := []*ast.CommentGroup{spec.Doc, spec.Comment}
		if !decl.Lparen.IsValid() {
			docs = append(docs, decl.Doc)
		}
		agg, direct := ofGroup, ofGroup != nil && !decl.Lparen.IsValid()
		if own := r.aggregateOf(spec.Doc); own != nil {
			agg, direct = own, true
		}
		r.typeSpec(spec, agg, direct, docs)
	}
	if ofGroup != nil && len(r.all) == before && !r.ps.mentions(r.place(decl.Pos()), r.place(decl.End())) {
		r.problem(ofGroup.pos, "aggregate %q has no events here: no type below is an exported struct; "+
			"put the directive above the structs that are its events", ofGroup.typ)
	}
}

// aggregateOf returns the aggregate that a comment declares, or nil.
func (r *reader) aggregateOf(doc *ast.CommentGroup) *aggregate {
	ds := r.directives.take("aggregate", doc)
	if len(ds) == 0 {
		return nil
	}
	d := ds[0]
	if len(ds) > 1 {
		r.problem(ds[1].pos, "a second //evento:aggregate for the same types; keep one, or make groups of their own")
	}
	typ, ident, ok := aggregateNames(d.args, r.pkg.Name)
	switch {
	case !ok:
		r.problem(d.pos, "//evento:aggregate %s does not name an aggregate; write //evento:aggregate bank/Account, "+
			"and behind it the name that generated code is to use if that is not Account", d.args)
		return &aggregate{typ: "?", ident: "?", pos: d.pos} // continue with its events
	case !token.IsIdentifier(ident) || !token.IsExported(ident):
		r.problem(d.pos, "//evento:aggregate %s has no name that Go exports for generated code; write one behind it, such as //evento:aggregate %s Account",
			d.args, typ)
		return &aggregate{typ: "?", ident: "?", pos: d.pos}
	}
	for _, a := range r.aggregates {
		if a.typ != typ {
			continue
		}
		if a.ident != ident && len(strings.Fields(d.args)) > 1 {
			r.problem(d.pos, "aggregate %q is %s here and %s at %s; use one name", typ, ident, a.ident, r.at(a.pos))
		}
		return a
	}
	for _, a := range r.aggregates {
		if a.ident == ident {
			r.problem(d.pos, "two aggregates of the name %s: %q, and %q at %s; name one of them differently: //evento:aggregate %s Other%s",
				ident, typ, a.typ, r.at(a.pos), typ, ident)
		}
	}
	a := &aggregate{typ: typ, ident: ident, pos: d.pos}
	r.aggregates = append(r.aggregates, a)
	return a
}

// aggregateNames parses the arguments of //evento:aggregate: the type, and
// optionally the name for generated code; default: the last part of the type. A
// type without a slash gets the package's name in front. Without arguments, the
// aggregate is named after the package, unless that is main.
func aggregateNames(args, pkg string) (typ, ident string, ok bool) {
	words := strings.Fields(args)
	switch len(words) {
	case 0:
		if pkg == "main" {
			return "", "", false
		}
		typ = pkg + "/" + exportedIdent(pkg)
	case 1, 2:
		if typ = words[0]; !strings.Contains(typ, "/") {
			typ = pkg + "/" + typ
		}
	default:
		return "", "", false
	}
	ident = exportedIdent(typ[strings.LastIndexByte(typ, '/')+1:])
	if len(words) == 2 {
		ident = words[1]
	}
	return typ, ident, storable(typ)
}

// exportedIdent makes an exported identifier from a name: ledger-day becomes
// LedgerDay.
func exportedIdent(name string) string {
	var b strings.Builder
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return !isIdent(r) }) {
		first, size := utf8.DecodeRuneInString(part)
		b.WriteRune(unicode.ToUpper(first))
		b.WriteString(part[size:])
	}
	return b.String()
}

func isIdent(r rune) bool { return token.IsIdentifier("a" + string(r)) }

func (r *reader) at(pos token.Pos) string {
	p := problems{dir: r.ps.dir}
	p.add(r.place(pos), "")
	return strings.TrimSuffix(p.all[0].String(), ": ")
}

// typeSpec reads a type and its directives if it is an event. direct says that the
// aggregate was declared above this very type.
func (r *reader) typeSpec(spec *ast.TypeSpec, agg *aggregate, direct bool, docs []*ast.CommentGroup) {
	named := r.directives.take("event", docs...)
	_, isStruct := spec.Type.(*ast.StructType)
	if agg == nil && len(named) == 0 {
		return
	}
	switch {
	case !spec.Name.IsExported() && !direct && len(docsOf(r.directives, docs)) == 0:
		return // a type of the group that is not an event
	case !isStruct || spec.Assign.IsValid():
		// The other types of a group are types of fields.
		ds := docsOf(r.directives, docs)
		for _, d := range ds {
			d.used = true // its mistakes are reported below
		}
		if direct || len(ds) > 0 {
			r.problem(spec.Name.Pos(), "%s is not a struct, so it cannot be an event; write type %[1]s struct { … }", spec.Name.Name)
		}
		return
	case spec.TypeParams != nil:
		r.problem(spec.Name.Pos(), "%s has type parameters, so it cannot be an event: its shape is not known; "+
			"declare a struct for each kind of event, with fields of instantiated types", spec.Name.Name)
		return
	case !spec.Name.IsExported() && agg != nil:
		r.problem(spec.Name.Pos(), "%s is not exported, so it cannot be an event; export it", spec.Name.Name)
		return
	}
	obj, ok := r.pkg.TypesInfo.Defs[spec.Name].(*types.TypeName)
	if !ok {
		r.problem(spec.Name.Pos(), "%s has no type; correct its declaration", spec.Name.Name)
		return
	}
	e := &event{name: spec.Name.Name, ident: spec.Name.Name, aggregate: agg, spec: spec, obj: obj, old: agg == nil}
	for i, d := range named {
		if name, ok := r.oneName(d); ok {
			e.name = name
		}
		if i > 0 {
			r.problem(d.pos, "a second //evento:event for %s; keep one, and name former ones with //evento:was", e.ident)
		}
	}
	for _, d := range r.directives.take("was", docs...) {
		if name, ok := r.oneName(d); ok {
			e.was = append(e.was, name)
		}
	}
	for _, d := range r.directives.take("dropped", docs...) {
		if name, ok := r.oneName(d); ok {
			e.dropped = append(e.dropped, name)
		}
	}
	for _, d := range r.directives.take("untag", docs...) {
		r.untag(e, d)
	}
	for _, d := range r.directives.take("retired", docs...) {
		e.retired = true
		if d.args != "" {
			r.problem(d.pos, "//evento:retired takes nothing behind it; say why in a comment of its own")
		}
	}
	r.upcasts[e] = r.directives.take("upcast", docs...)
	r.all = append(r.all, e)
	if agg != nil {
		agg.events = append(agg.events, e)
	}
}

// docsOf returns the directives about an event in comments.
func docsOf(ds directives, docs []*ast.CommentGroup) (found []*directive) {
	for _, group := range docs {
		if group == nil {
			continue
		}
		for _, c := range group.List {
			if d := ds[c.Pos()]; d != nil && d.name != "aggregate" {
				found = append(found, d)
			}
		}
	}
	return found
}

// resolveUpcasts finds the upcast functions, and from what to what they convert.
func (r *reader) resolveUpcasts() {
	for _, e := range slices.Clone(r.all) {
		for _, d := range r.upcasts[e] {
			r.upcast(e, d)
		}
	}
	for _, e := range r.all {
		if e.old && e.into == nil {
			r.problem(e.spec.Name.Pos(), "%s is of no aggregate and nothing is upcast from it; "+
				"put //evento:aggregate above it, or //evento:upcast above the event that a function makes of it", e.ident)
		}
		for into, steps := e.into, 0; into != nil; into, steps = into.into, steps+1 {
			if steps > len(r.all) {
				r.problem(e.spec.Name.Pos(), "%s is upcast to itself in the end; remove one of the //evento:upcast", e.ident)
				for _, e := range r.all { // check no more of them
					e.into, e.upcasts = nil, nil
				}
				return
			}
		}
	}
}

func (r *reader) upcast(e *event, d *directive) {
	const remedy = "write //evento:upcast name, where name is a func(Old) %s of this package"
	name, ok := r.oneName(d)
	if !ok {
		return
	}
	fn, ok := r.pkg.Types.Scope().Lookup(name).(*types.Func)
	if !ok {
		r.problem(d.pos, "there is no function %s; "+remedy, name, e.ident)
		return
	}
	sig := fn.Signature()
	results := sig.Results()
	good := sig.Params().Len() == 1 && !sig.Variadic() && sig.TypeParams() == nil &&
		(results.Len() == 1 || results.Len() == 2 && types.Identical(results.At(1).Type(), errorType)) &&
		types.Identical(results.At(0).Type(), e.obj.Type())
	if !good {
		r.problem(d.pos, "%s is a %s; "+remedy+", which may also return an error", name, r.shaper.name(sig), e.ident)
		return
	}
	from := sig.Params().At(0).Type()
	i := slices.IndexFunc(r.all, func(o *event) bool { return types.Identical(o.obj.Type(), from) })
	switch {
	case i < 0:
		r.problem(d.pos, "%s takes a %s, which is no event; put //evento:event above that type, with the name it was stored under", name, r.shaper.name(from))
		return
	case r.all[i] == e:
		r.problem(d.pos, "%s makes %s of itself; it is for an older event", name, e.ident)
		return
	}
	old := r.all[i]
	switch {
	case old.into != nil:
		r.problem(d.pos, "%s is upcast to %s already; keep one", old.ident, old.into.ident)
	case old.aggregate != nil && old.aggregate != e.aggregate:
		r.problem(d.pos, "%s is an event of %q, not of %q; upcast events of the same aggregate", old.ident, old.aggregate.typ, aggregateType(e))
	case !old.old && !old.retired:
		r.problem(d.pos, "%s is still committed; put //evento:retired above it", old.ident)
	default:
		old.into = e
		if old.old {
			old.retired, old.aggregate = true, e.aggregate
		}
		e.upcasts = append(e.upcasts, &upcast{function: name, from: old, fails: results.Len() == 2, d: d})
	}
}

func aggregateType(e *event) string {
	if e.aggregate == nil {
		return ""
	}
	return e.aggregate.typ
}
