package delta_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestArchitecturePaths fails when ARCHITECTURE.md names a file or a directory that does
// not exist. A path may leave out its first directories, as `send/start.go` does.
func TestArchitecturePaths(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	require.NoError(t, err)
	var tree []string
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		tree = append(tree, strings.TrimPrefix(filepath.ToSlash(path), root))
		return err
	}))
	named := 0
	for _, quoted := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(string(text), -1) {
		for _, path := range alternatives(quoted[1]) {
			if !isPath.MatchString(path) {
				continue
			}
			named++
			assert.True(t, slices.ContainsFunc(tree, func(s string) bool { return matchesEnd(path, s) }), "ARCHITECTURE.md names %s, which does not exist", path)
		}
	}
	require.Greater(t, named, 100, "the paths were not found")
}

// isPath tells paths from other names in code: they have a directory, or a file's ending.
var isPath = regexp.MustCompile(`^([a-z0-9_.*-]+/)+[a-z0-9_.*-]*$|^[a-z0-9_*]+\.(go|js|json)$`)

// alternatives returns every path that one with braces stands for.
func alternatives(s string) []string {
	before, rest, ok := strings.Cut(s, "{")
	if !ok {
		return []string{s}
	}
	inside, after, _ := strings.Cut(rest, "}")
	var all []string
	for part := range strings.SplitSeq(inside, ",") {
		all = append(all, alternatives(before+strings.TrimSpace(part)+after)...)
	}
	return all
}

// matchesEnd reports whether pattern matches the last elements of path.
func matchesEnd(pattern, path string) bool {
	elements := strings.Split(path, "/")
	n := strings.Count(pattern, "/") + 1
	if n > len(elements) {
		return false
	}
	ok, err := filepath.Match(pattern, strings.Join(elements[len(elements)-n:], "/"))
	return ok && err == nil
}

// TestArchitectureNames fails when ARCHITECTURE.md names something in code that is not declared:
// `Set.handle`, `link.inbound`, `hasMedia`. What follows a dot must be declared in the package,
// or be a field or method of the type, that is named ahead of the dot.
func TestArchitectureNames(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	require.NoError(t, err)
	known := declared(t, root)
	known["traceparent"] = true // an HTTP header
	isName := regexp.MustCompile(`^[A-Za-z]\w*(\.[A-Za-z]\w*)*(\(\))?$`)
	named := 0
	for _, quoted := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(string(text), -1) {
		if isPath.MatchString(quoted[1]) || !isName.MatchString(quoted[1]) {
			continue
		}
		named++
		parts := strings.Split(strings.TrimSuffix(quoted[1], "()"), ".")
		assert.True(t, known[parts[0]], "ARCHITECTURE.md names %s, but no %s is declared", quoted[1], parts[0])
		for i := range len(parts) - 1 {
			pair := parts[i] + "." + parts[i+1]
			assert.True(t, known[pair], "ARCHITECTURE.md names %s, but no %s is declared", quoted[1], pair)
		}
	}
	require.Greater(t, named, 100, "the names were not found")
}

// declared returns what the Go files below root declare, and the functions of pages. What is
// declared in a package is there by itself and as package.name, and fields and methods are as
// field and as type.field. A field that has members itself is there as if it were their type.
func declared(t *testing.T, root string) map[string]bool {
	known, files := map[string]bool{}, token.NewFileSet()
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "testdata"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".js"):
			script, err := os.ReadFile(path)
			for _, f := range regexp.MustCompile(`function (\w+)`).FindAllStringSubmatch(string(script), -1) {
				known[f[1]] = true
			}
			return err
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		known[file.Name.Name] = true
		for _, d := range file.Decls {
			declare(known, file.Name.Name, d)
		}
		return nil
	}))
	return known
}

// declare notes what one declaration of a package declares, but for what is in functions.
func declare(known map[string]bool, pkg string, d ast.Decl) {
	note := func(of string, names ...*ast.Ident) {
		for _, name := range names {
			known[name.Name], known[of+"."+name.Name] = true, true
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			note(pkg, d.Name)
		} else {
			note(typeName(d.Recv.List[0].Type), d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				note(pkg, s.Names...)
			case *ast.TypeSpec:
				note(pkg, s.Name)
				declareMembers(s.Name.Name, s.Type, note)
			}
		}
	}
}

// declareMembers notes the fields of a struct, also of those in it, or the methods of an
// interface. Those that are embedded have the name of their type.
func declareMembers(of string, t ast.Expr, note func(string, ...*ast.Ident)) {
	var members *ast.FieldList
	switch t := t.(type) {
	case *ast.StructType:
		members = t.Fields
	case *ast.InterfaceType:
		members = t.Methods
	default:
		return
	}
	for _, f := range members.List {
		note(of, f.Names...)
		if name := typeName(f.Type); len(f.Names) == 0 && name != "" {
			note(of, ast.NewIdent(name))
		}
		for _, name := range f.Names {
			declareMembers(name.Name, f.Type, note)
		}
	}
}

// typeName returns the name of a type without its package, or "".
func typeName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.SelectorExpr:
		return t.Sel.Name
	case *ast.IndexExpr:
		return typeName(t.X)
	case *ast.IndexListExpr:
		return typeName(t.X)
	}
	return ""
}
