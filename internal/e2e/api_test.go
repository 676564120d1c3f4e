package delta_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
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

// allowedTypes are the types of other modules that may appear in the exported
// API, each for a reason. A new major version of their module is a new major
// version of Delta's API. So none of pion's transport, ice, dtls, or stun is
// here: those change majors often, and users who need another would not build.
var allowedTypes = map[string]string{
	"github.com/pion/webrtc/v4.SettingEngine": "Config.Tune, and cdntest's Tune and Host.Use",
	"github.com/pion/webrtc/v4.MediaEngine":   "Config.Tune, and cdntest's Tune",
	"github.com/pion/interceptor.Registry":    "Config.Tune, and cdntest's Tune",
	"github.com/pion/webrtc/v4.Certificate":   "cdntest: clients on one network share a certificate",
	"github.com/pion/rtp.Packet":              "LayerInput.Write",
	"github.com/pion/logging.LoggerFactory":   "cdntest's Logger: what pion's settings want",
}

// TestExportedTypes fails when a type of another module appears in the exported
// API that is not known to be wanted there.
func TestExportedTypes(t *testing.T) {
	found := foreignTypes(t, listPublic(t)...)
	for name, where := range found {
		if allowedTypes[name] == "" {
			t.Errorf("%s is in the exported API: %s", name, strings.Join(where, ", "))
		}
	}
	for name := range allowedTypes {
		assert.Contains(t, found, name, "allowed, and not in the exported API any more")
	}
}

// TestForeignTypes shows that the search finds what is there, behind whatever
// stands in between.
func TestForeignTypes(t *testing.T) {
	sources := sourceImporter{
		"net/http":      "package http; type Client struct{}",
		"example.com/a": "package a; type ( Field struct{ Inner }; Inner int; Result string; Promoted bool; Hidden int; Argument int )",
		module + "/internal/p": `package p; import "example.com/a"
			type Aliased struct{}
			func (*Aliased) Method() chan a.Result { return nil }`,
		module + "/p": `package p; import ("net/http"; "example.com/a"; internal "` + module + `/internal/p")
			type Alias = internal.Aliased
			type Struct struct { Field map[string][]*a.Field; hidden a.Hidden; Std http.Client; embedded }
			type embedded struct{}
			func (embedded) Method(a.Promoted) {}
			func (*Struct) unexported(a.Hidden) {}
			func Function(func(...a.Argument) error) {}
			var unexported a.Hidden`,
	}
	p, err := sources.Import(module + "/p")
	require.NoError(t, err)
	s := newTypeSearch()
	s.packageScope(p)
	assert.Equal(t, []string{
		"example.com/a.Argument", "example.com/a.Field", "example.com/a.Promoted", "example.com/a.Result",
	}, slices.Sorted(maps.Keys(s.found)))
}

// A sourceImporter holds the source of packages by their paths.
type sourceImporter map[string]string

func (i sourceImporter) Import(path string) (*types.Package, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, i[path], 0)
	if err != nil {
		return nil, err
	}
	return (&types.Config{Importer: i}).Check(path, fset, []*ast.File{f}, nil)
}

// listPublic returns the packages of the module that users can import, relative to it.
func listPublic(t *testing.T) (public []string) {
	t.Helper()
	out := string(runGo(t, "list", "-f", "{{if ne .Name \"main\"}}{{.ImportPath}}{{end}}", "./..."))
	for p := range strings.FieldsSeq(out) {
		if !isInternal(p) && p != module {
			public = append(public, strings.TrimPrefix(p, module+"/"))
		}
	}
	require.NotEmpty(t, public)
	return public
}

func isInternal(path string) bool { return slices.Contains(strings.Split(path, "/"), "internal") }

// foreignTypes returns the named types of other modules that the exported API of
// the packages has, and where.
func foreignTypes(t *testing.T, packages ...string) map[string][]string {
	t.Helper()
	exports := exportData(t, packages)
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(file)
	})
	s := newTypeSearch()
	for _, p := range packages {
		pkg, err := imports.Import(module + "/" + p)
		require.NoError(t, err)
		s.packageScope(pkg)
	}
	return s.found
}

// exportData returns the file with the types of each package that the packages
// depend on.
func exportData(t *testing.T, packages []string) map[string]string {
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	for _, p := range packages {
		args = append(args, "./"+p)
	}
	exports := map[string]string{}
	d := json.NewDecoder(bytes.NewReader(runGo(t, args...)))
	for {
		var p struct{ ImportPath, Export string }
		err := d.Decode(&p)
		if err == io.EOF {
			return exports
		}
		require.NoError(t, err)
		exports[p.ImportPath] = p.Export
	}
}

// A typeSearch walks through exported types, those of our own internal packages
// too where an exported name leads to them, up to types of other modules. What
// Node.Internal returns is nobody else's.
type typeSearch struct {
	found map[string][]string // where a type of another module stands, by its name
	seen  map[types.Type]bool
}

func newTypeSearch() *typeSearch {
	return &typeSearch{found: map[string][]string{}, seen: map[types.Type]bool{}}
}

func (s *typeSearch) packageScope(p *types.Package) {
	for _, name := range p.Scope().Names() {
		if o := p.Scope().Lookup(name); o.Exported() {
			s.walk(o.Type(), p.Name()+"."+name)
		}
	}
}

func (s *typeSearch) walk(t types.Type, where string) {
	if n, ok := t.(*types.Named); ok && (s.foreign(n.Obj(), where) || n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == module+"/internal/service") {
		return
	}
	if s.seen[t] {
		return
	}
	s.seen[t] = true
	switch t := t.(type) {
	case *types.Alias:
		s.walk(types.Unalias(t), where)
	case *types.Named:
		s.walk(t.Underlying(), where)
		for m := range t.Methods() {
			if m.Exported() {
				s.walk(m.Type(), where+"."+m.Name())
			}
		}
		for a := range t.TypeArgs().Types() {
			s.walk(a, where)
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() { // whose methods are promoted
				s.walk(f.Type(), where+"."+f.Name())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			if m.Exported() {
				s.walk(m.Type(), where+"."+m.Name())
			}
		}
	case *types.Signature:
		for _, tuple := range []*types.Tuple{t.Params(), t.Results()} {
			for v := range tuple.Variables() {
				s.walk(v.Type(), where)
			}
		}
	case *types.Map:
		s.walk(t.Key(), where)
		s.walk(t.Elem(), where)
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels
		s.walk(t.Elem(), where)
	}
}

// foreign notes a type of another module. Those of the standard library have no
// dot in the first element of their path.
func (s *typeSearch) foreign(o *types.TypeName, where string) bool {
	if o.Pkg() == nil {
		return false // error, comparable
	}
	path := o.Pkg().Path()
	if path == module || strings.HasPrefix(path, module+"/") {
		return false
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return true
	}
	name := path + "." + o.Name()
	s.found[name] = append(s.found[name], where)
	return true
}
