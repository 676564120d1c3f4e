package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// The kinds of offenders, with their limits.
const (
	kindFields  = "fields"
	kindLines   = "lines"
	kindMethods = "methods"
	kindFile    = "file"
	kindAlias   = "alias"
)

var limits = map[string]int{kindFields: 25, kindLines: 60, kindMethods: 4, kindFile: 500, kindAlias: 0}

// maxP95 bounds the 95th percentile of the lines of functions.
const maxP95 = 30

// exempt reports whether an interface may have as many methods as it needs: a session
// of signaling is used by its client as a whole.
func exempt(name string) bool {
	return strings.HasPrefix(name, "signal.") && strings.HasSuffix(name, "Session")
}

// An item is something that was counted.
type item struct {
	kind  string
	name  string // such as internal/send.Sender
	count int
	at    token.Position
}

func (i item) String() string {
	return fmt.Sprintf("%6d %-7s  %s  (%s:%d)", i.count, i.kind, i.name, i.at.Filename, i.at.Line)
}

// A report is what was counted in a repository.
type report struct{ items []item }

func measure(s *source) *report {
	r := &report{}
	for _, f := range s.files {
		c := &counter{source: s, file: f, report: r}
		c.add(kindFile, f.name, f.lines, f.syntax.Package)
		for _, d := range f.syntax.Decls {
			c.declaration(d)
		}
	}
	return r
}

// A counter counts what is in one file.
type counter struct {
	*source
	file   *file
	report *report
}

func (c *counter) add(kind, name string, count int, at token.Pos) {
	p := c.fset.Position(at)
	p.Filename = c.file.name
	c.report.items = append(c.report.items, item{kind, name, count, p})
}

func (c *counter) qualified(name string) string { return c.file.dir + "." + name }

func (c *counter) declaration(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := c.qualified(funcName(d))
		if d.Body != nil {
			c.add(kindLines, name, c.lines(d.Pos(), d.Body.Rbrace), d.Pos())
		}
		c.structs(name, d)
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			c.spec(spec)
		}
	}
}

func (c *counter) lines(from, to token.Pos) int {
	return c.fset.Position(to).Line - c.fset.Position(from).Line + 1
}

func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return d.Name.Name
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}

func (c *counter) spec(spec ast.Spec) {
	switch x := spec.(type) {
	case *ast.TypeSpec:
		name := c.qualified(x.Name.Name)
		if i, ok := x.Type.(*ast.InterfaceType); ok && x.Name.IsExported() && !exempt(name) {
			methods := map[string]bool{}
			c.methods(c.file, i, methods)
			c.add(kindMethods, name, len(methods), x.Pos())
		}
		if x.Assign.IsValid() {
			c.alias(x.Name, x.Type)
		}
		c.structs(name, x.Type)
	case *ast.ValueSpec:
		for i, id := range x.Names {
			if i < len(x.Values) {
				c.alias(id, x.Values[i])
			}
		}
		for _, v := range x.Values {
			c.literals(v)
			c.structs(c.qualified(x.Names[0].Name), v)
		}
	}
}

// literals counts the functions that a variable of the package holds.
func (c *counter) literals(v ast.Expr) {
	ast.Inspect(v, func(n ast.Node) bool {
		f, ok := n.(*ast.FuncLit)
		if ok {
			c.add(kindLines, c.qualified("func literal"), c.lines(f.Pos(), f.Body.Rbrace), f.Pos())
		}
		return !ok
	})
}

// structs counts the fields of all struct types in n.
func (c *counter) structs(name string, n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		if t, ok := n.(*ast.StructType); ok {
			c.add(kindFields, name, c.fields(c.file, t, nil), t.Pos())
		}
		return true
	})
}

// fields returns how many fields a struct has with all that it embeds.
func (c *counter) fields(f *file, t *ast.StructType, within []*ast.StructType) (n int) {
	within = append(within, t)
	for _, field := range t.Fields.List {
		if len(field.Names) > 0 {
			n += len(field.Names)
			continue
		}
		n += c.embedded(f, field.Type, within)
	}
	return n
}

func (c *counter) embedded(f *file, expr ast.Expr, within []*ast.StructType) int {
	most := 1
	for _, d := range c.lookup(f, expr) {
		if !c.ours(d) {
			continue
		}
		switch t := d.spec.Type.(type) {
		case *ast.StructType:
			if !slices.Contains(within, t) {
				most = max(most, c.fields(d.file, t, within))
			}
		case *ast.Ident, *ast.SelectorExpr: // another name for a struct, perhaps
			most = max(most, c.embedded(d.file, d.spec.Type, within))
		}
	}
	return most
}

// ours reports whether a type is declared in the repository.
func (c *counter) ours(d decl) bool {
	first, _, _ := strings.Cut(d.file.importPath, "/")
	return strings.Contains(first, ".")
}

// methods collects the names of an interface's methods.
func (c *counter) methods(f *file, t *ast.InterfaceType, names map[string]bool) {
	for _, m := range t.Methods.List {
		for _, id := range m.Names {
			names[id.Name] = true
		}
		if len(m.Names) > 0 {
			continue
		}
		c.embeddedMethods(f, m.Type, names)
	}
}

func (c *counter) embeddedMethods(f *file, expr ast.Expr, names map[string]bool) {
	switch expr.(type) {
	case *ast.Ident, *ast.SelectorExpr, *ast.IndexExpr, *ast.IndexListExpr:
	default:
		return // a constraint: ~int, or int | string
	}
	found := c.lookup(f, expr)
	for _, d := range found {
		switch t := d.spec.Type.(type) {
		case *ast.InterfaceType:
			c.methods(d.file, t, names)
		case *ast.Ident, *ast.SelectorExpr, *ast.IndexExpr, *ast.IndexListExpr:
			c.embeddedMethods(d.file, t, names)
		}
	}
	if id, ok := expr.(*ast.Ident); ok && id.Name == "error" {
		names["Error"] = true
	}
	if x, ok := expr.(*ast.SelectorExpr); ok && len(found) == 0 { // of another module: one at least
		names[x.Sel.Name] = true
	}
}

// alias notes an exported name for something of an internal package.
func (c *counter) alias(name *ast.Ident, value ast.Expr) {
	if x, ok := value.(*ast.IndexExpr); ok {
		value = x.X
	}
	x, ok := value.(*ast.SelectorExpr)
	if !ok || !name.IsExported() || !c.file.public() {
		return
	}
	if id, ok := x.X.(*ast.Ident); ok && isInternal(c.file.imports[id.Name]) {
		c.add(kindAlias, c.qualified(name.Name), 1, name.Pos())
	}
}
