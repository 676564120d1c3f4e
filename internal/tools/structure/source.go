package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
)

// A source is the parsed code of a repository.
type source struct {
	fset     *token.FileSet
	files    []*file
	packages map[string]*pkg // by import path; those of the standard library as they are asked for
}

// A pkg is the types of a package. A type has several declarations where build
// constraints choose one.
type pkg struct {
	name  string
	types map[string][]decl
}

type decl struct {
	spec *ast.TypeSpec
	file *file
}

// A file is one file of the repository, or of the standard library.
type file struct {
	name       string // relative to the repository
	importPath string // of its package
	dir        string // of its package, relative to the repository
	syntax     *ast.File
	lines      int
	imports    map[string]string // paths by the name used in the file
}

// public reports whether users can import the file's package.
func (f *file) public() bool { return f.syntax.Name.Name != "main" && !isInternal(f.importPath) }

func isInternal(importPath string) bool {
	for e := range strings.SplitSeq(importPath, "/") {
		if e == "internal" {
			return true
		}
	}
	return false
}

// load parses all modules below root, without tests and what is generated.
func load(root string) (*source, error) {
	s := &source{fset: token.NewFileSet(), packages: map[string]*pkg{}}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch base := d.Name(); {
		case d.IsDir() && (base == "testdata" || base == "node_modules" || base == ".git"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go"):
			return nil
		}
		importPath, err := importPath(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f, err := s.parse(name, filepath.ToSlash(rel), importPath)
		if err == nil && !ast.IsGenerated(f.syntax) {
			s.files = append(s.files, f)
		}
		return err
	})
	if err == nil && len(s.files) == 0 {
		err = fmt.Errorf("no Go files below %s", root)
	}
	return s, err
}

// importPath returns the import path of the package in dir, by the nearest go.mod.
func importPath(root, dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		gomod, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil {
			rel, err := filepath.Rel(at, dir)
			return path.Join(modfile.ModulePath(gomod), filepath.ToSlash(rel)), err
		}
		if !errors.Is(err, fs.ErrNotExist) || filepath.Clean(at) == filepath.Clean(root) {
			return "", fmt.Errorf("the module of %s: %w", dir, err)
		}
	}
}

func (s *source) parse(name, rel, importPath string) (*file, error) {
	syntax, err := parser.ParseFile(s.fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	// A file ends with a newline, after which the parser sees one line more.
	f := &file{
		name: rel, dir: path.Dir(rel), importPath: importPath, syntax: syntax,
		lines: s.fset.File(syntax.FileStart).LineCount() - 1, imports: map[string]string{},
	}
	for _, i := range syntax.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		if i.Name != nil {
			f.imports[i.Name.Name] = p
		} else {
			f.imports[path.Base(p)] = p // our packages, and those of the standard library, are named so
		}
	}
	s.add(f)
	return f, nil
}

func (s *source) add(f *file) {
	p := s.packages[f.importPath]
	if p == nil {
		p = &pkg{name: f.syntax.Name.Name, types: map[string][]decl{}}
		s.packages[f.importPath] = p
	}
	for _, d := range f.syntax.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			if t, ok := spec.(*ast.TypeSpec); ok {
				p.types[t.Name.Name] = append(p.types[t.Name.Name], decl{t, f})
			}
		}
	}
}

// lookup returns the declarations of the type that an expression in f names; none for
// a type of another module, and for one that is no name.
func (s *source) lookup(f *file, expr ast.Expr) []decl {
	switch x := expr.(type) {
	case *ast.StarExpr:
		return s.lookup(f, x.X)
	case *ast.ParenExpr:
		return s.lookup(f, x.X)
	case *ast.IndexExpr:
		return s.lookup(f, x.X)
	case *ast.IndexListExpr:
		return s.lookup(f, x.X)
	case *ast.Ident:
		return s.packages[f.importPath].types[x.Name]
	case *ast.SelectorExpr:
		if id, ok := x.X.(*ast.Ident); ok {
			if p := s.pkg(f.imports[id.Name]); p != nil {
				return p.types[x.Sel.Name]
			}
		}
	}
	return nil
}

// pkg returns a package of ours, or of the standard library.
func (s *source) pkg(importPath string) *pkg {
	if p, ok := s.packages[importPath]; ok || importPath == "" {
		return p
	}
	if first, _, _ := strings.Cut(importPath, "/"); strings.Contains(first, ".") {
		return nil
	}
	s.packages[importPath] = nil // if it cannot be read
	found, err := build.Default.Import(importPath, "", 0)
	if err != nil {
		return nil
	}
	for _, name := range found.GoFiles {
		_, _ = s.parse(filepath.Join(found.Dir, name), name, importPath)
	}
	return s.packages[importPath]
}
