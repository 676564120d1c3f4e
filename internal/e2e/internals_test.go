//go:build !race

package delta_test

import (
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// allowedInternals are where internal types stand in what is exported: the one door to
// what only our own services use.
var allowedInternals = []string{"cdn.Node.Internal"}

// TestNoInternals fails when a public package exports an internal type under a name of
// its own, or has one in a signature, a field, or a constant.
func TestNoInternals(t *testing.T) {
	aliases, signatures := exportedInternals(t, listPublic(t)...)
	assert.Empty(t, aliases, "exported names for what is internal: go doc shows nothing of what that has")
	assert.Equal(t, allowedInternals, signatures, "internal types in what is exported")
}

// TestExportedInternals shows that the search finds what is there.
func TestExportedInternals(t *testing.T) {
	sources := sourceImporter{
		module + "/internal/i": "package i; type T struct{ Next *T }; func (T) Method(T) {}; type G[X any] struct{}; const C T2 = 1; type T2 int",
		module + "/p": `package p; import "` + module + `/internal/i"
			type Alias = i.T
			type Literal = []i.T
			const Constant = i.C
			type Struct struct { Field map[string]*i.T; Alias Alias; hidden i.T; embedded }
			type embedded struct{}
			func (embedded) Promoted(i.T) {}
			func (*Struct) Method() chan i.G[int] { return nil }
			func (*Struct) unexported(i.T) {}
			type Interface interface { Take(i.T); own(i.T) }
			func Function(func(...i.T) error) {}
			type Defined i.T
			var unexported i.T`,
	}
	p, err := sources.Import(module + "/p")
	require.NoError(t, err)
	s := internalSearch{aliases: map[string]bool{}, signatures: map[string]bool{}}
	s.packageScope(p)
	assert.Equal(t, []string{"p.Alias", "p.Constant", "p.Literal"}, slices.Sorted(maps.Keys(s.aliases)))
	assert.Equal(t, []string{
		"p.Defined.Next", "p.Function", "p.Interface.Take", "p.Struct.Field", "p.Struct.Method", "p.Struct.Promoted",
	}, slices.Sorted(maps.Keys(s.signatures)))
}

// exportedInternals returns the exported names for what is internal, and what is
// exported with an internal type in it.
func exportedInternals(t *testing.T, packages ...string) (aliases, signatures []string) {
	t.Helper()
	exports := exportData(t, packages)
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	s := internalSearch{aliases: map[string]bool{}, signatures: map[string]bool{}}
	for _, p := range packages {
		pkg, err := imports.Import(module + "/" + p)
		require.NoError(t, err)
		s.packageScope(pkg)
	}
	return slices.Sorted(maps.Keys(s.aliases)), slices.Sorted(maps.Keys(s.signatures))
}

// An internalSearch walks through what packages export and notes where types of our
// internal packages stand in it.
type internalSearch struct{ aliases, signatures map[string]bool }

func (s internalSearch) packageScope(p *types.Package) {
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		where := p.Name() + "." + name
		switch o := o.(type) {
		case *types.TypeName:
			if o.IsAlias() {
				s.note(s.aliases, types.Unalias(o.Type()), where)
				continue
			}
			s.declared(o.Type().(*types.Named), where)
		case *types.Const, *types.Var:
			s.note(s.aliases, o.Type(), where)
		default:
			s.note(s.signatures, o.Type(), where)
		}
	}
}

// declared looks at the fields and methods of a type, promoted ones included.
func (s internalSearch) declared(n *types.Named, where string) {
	switch u := n.Underlying().(type) {
	case *types.Struct:
		for f := range u.Fields() {
			if f.Exported() {
				s.note(s.signatures, f.Type(), where+"."+f.Name())
			}
		}
	case *types.Interface:
		for m := range u.Methods() {
			if m.Exported() {
				s.note(s.signatures, m.Type(), where+"."+m.Name())
			}
		}
		return
	default:
		s.note(s.signatures, u, where)
	}
	for m := range types.NewMethodSet(types.NewPointer(n)).Methods() {
		if m.Obj().Exported() {
			s.note(s.signatures, m.Type(), where+"."+m.Obj().Name())
		}
	}
}

// note notes where if t has an internal type in it. What t leads to behind names that
// are exported is looked at with these.
func (s internalSearch) note(in map[string]bool, t types.Type, where string) {
	if hasInternal(t) {
		in[where] = true
	}
}

func hasInternal(t types.Type) bool {
	switch t := t.(type) {
	case *types.Alias:
		return namesInternal(t.Obj())
	case *types.Named:
		return namesInternal(t.Obj()) || slices.ContainsFunc(slices.Collect(t.TypeArgs().Types()), hasInternal)
	case *types.Signature:
		return hasInternalVar(t.Params()) || hasInternalVar(t.Results())
	case *types.Struct:
		return slices.ContainsFunc(slices.Collect(t.Fields()), func(f *types.Var) bool { return hasInternal(f.Type()) })
	case *types.Interface:
		return slices.ContainsFunc(slices.Collect(t.Methods()), func(m *types.Func) bool { return hasInternal(m.Type()) })
	case *types.Map:
		return hasInternal(t.Key()) || hasInternal(t.Elem())
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels
		return hasInternal(t.Elem())
	}
	return false
}

func hasInternalVar(t *types.Tuple) bool {
	return slices.ContainsFunc(slices.Collect(t.Variables()), func(v *types.Var) bool { return hasInternal(v.Type()) })
}

func namesInternal(o *types.TypeName) bool {
	return o.Pkg() != nil && strings.HasPrefix(o.Pkg().Path(), module+"/") && isInternal(o.Pkg().Path())
}
