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
// `Set.handle`, `link.inbound`, `hasMedia`. Where there is a dot, each part must be declared, or
// be a package.
func TestArchitectureNames(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	require.NoError(t, err)
	known := declared(t, root)
	known["traceparent"] = true // of HTTP
	isName := regexp.MustCompile(`^[A-Za-z]\w*(\.[A-Za-z]\w*)*(\(\))?$`)
	named := 0
	for _, quoted := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(string(text), -1) {
		if isPath.MatchString(quoted[1]) || !isName.MatchString(quoted[1]) {
			continue
		}
		named++
		for part := range strings.SplitSeq(strings.TrimSuffix(quoted[1], "()"), ".") {
			assert.True(t, known[part], "ARCHITECTURE.md names %s, but no %s is declared", quoted[1], part)
		}
	}
	require.Greater(t, named, 100, "the names were not found")
}

// declared returns what the Go files below root declare (packages, functions, types, fields and
// values), and the functions of pages.
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
		for n := range ast.Preorder(file) {
			var names []*ast.Ident
			switch n := n.(type) {
			case *ast.FuncDecl:
				names = append(names, n.Name)
			case *ast.TypeSpec:
				names = append(names, n.Name)
			case *ast.Field: // of interfaces, too
				names = n.Names
			case *ast.ValueSpec:
				names = n.Names
			}
			for _, name := range names {
				known[name.Name] = true
			}
		}
		return nil
	}))
	return known
}
