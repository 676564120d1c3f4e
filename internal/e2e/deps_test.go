package delta_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/deltacdn/delta"

// importRule is one line of the import picture: the packages that match from,
// and none of except, may not depend on any that match never. Tests may.
// Patterns are as of [path.Match], relative to the module; one that ends in
// "/..." matches what is below, too.
type importRule struct {
	name   string
	from   []string
	except []string
	never  []string
	// direct limits the rule to the packages' own imports; otherwise what they
	// reach through others counts as well.
	direct bool
}

// webrtcModule is the one module outside that rules name.
const webrtcModule = "github.com/pion/webrtc/v4"

// between are the packages that stand between pion/webrtc and the services.
var between = []string{
	"internal/endpoint", "internal/link", "internal/pc", "internal/pc/*", "internal/receive", "internal/route",
	"internal/route/nearby", "internal/sdp", "internal/send", "internal/service", "internal/trouble", "internal/trouble/reason", "internal/viewer",
}

var importRules = []importRule{
	{
		name: "services meet only at cdn.Source", from: []string{"origin/..."},
		never: []string{"relay/...", "edge/...", "signal/*/..."},
	},
	{
		name: "services meet only at cdn.Source", from: []string{"relay/..."},
		never: []string{"origin/...", "edge/..."},
	},
	{
		name: "services meet only at cdn.Source", from: []string{"edge/..."},
		never: []string{"origin/...", "relay/...", "signal/*/..."},
	},
	{
		name: "cdn is below its siblings", from: []string{"cdn"},
		never: []string{"signal/...", "origin/...", "relay/...", "edge/..."},
	},
	{
		name: "cdntest tests contracts, not services", from: []string{"cdn/cdntest"},
		never: []string{"signal/*/...", "origin/...", "relay/...", "edge/..."},
	},
	{
		name: "cdntest and sendtest are for tests", from: []string{"..."}, except: []string{"cdn/cdntest", "internal/send/sendtest"},
		never: []string{"cdn/cdntest", "internal/send/sendtest"},
	},
	{
		name: "package signal knows contracts only", from: []string{"signal"}, direct: true,
		never: []string{"internal/...", "signal/*/...", webrtcModule},
	},
	{
		name: "signaling knows contracts, not services", from: []string{"signal/..."},
		never: []string{"origin/...", "relay/...", "edge/..."},
	},
	{
		name: "signaling carries SDP, it does not make it", from: []string{"signal/..."}, direct: true,
		never: []string{webrtcModule},
	},
	{
		name: "leaves are pure", from: []string{"internal/...", "cdn/internal/..."}, except: append(between, "internal/demo/...", "internal/send/sendtest"),
		never: append([]string{webrtcModule, "cdn", "signal/...", "origin/...", "relay/...", "edge/..."}, between...),
	},
	{
		name: "ICE, DTLS and SRTP are behind the endpoint", from: []string{"..."}, direct: true,
		except: []string{"internal/endpoint/...", "internal/pc/..."},
		never:  []string{"github.com/pion/ice/...", "github.com/pion/dtls/...", "github.com/pion/srtp/...", "internal/endpoint/dtlssrtp", "internal/endpoint/icecheck"},
	},
	{
		name: "services import internal packages, not the reverse", from: between,
		never: []string{"origin/...", "relay/...", "edge/..."},
	},
	{
		name: "the admin API is for programs", from: []string{"..."}, except: []string{"cdn/admin/...", "examples/...", "internal/demo/..."},
		never: []string{"cdn/admin/..."},
	},
	{
		name: "examples are nobody's library", from: []string{"..."},
		never: []string{"examples/..."}, direct: true,
	},
	{
		name: "what examples share is for them alone", from: []string{"..."}, except: []string{"examples/...", "internal/demo/..."},
		never: []string{"internal/demo/..."},
	},
}

// TestImports holds the import picture of ARCHITECTURE.md.
func TestImports(t *testing.T) {
	pkgs := listPackages(t)
	require.NotEmpty(t, pkgs)
	for _, rule := range importRules {
		for _, p := range pkgs {
			for _, dep := range rule.broken(p) {
				t.Errorf("%s: %s depends on %s", rule.name, p.ImportPath, dep)
			}
		}
	}
}

// TestImportRules shows that the rules bite.
func TestImportRules(t *testing.T) {
	for _, tc := range []struct {
		pkg, dep string
		broken   bool
	}{
		{"edge", "origin", true},
		{"edge", "cdn", false},
		{"edge", "internal/rtp/codec", false},
		{"relay", "signal/whep", false},
		{"origin", "signal/whip", true},
		{"origin", "signal", false},
		{"cdn", "signal", true},
		{"cdn", webrtcModule, false},
		{"cdn", "cdn/cdntest", true},
		{"cdn/cdntest", "cdn", false},
		{"signal", "cdn", false},
		{"signal", "internal/jitter", true},
		{"signal/whip", "internal/jitter", false},
		{"signal/whip", webrtcModule, true},
		{"cdn/internal/ring", "cdn", true},
		{"cdn/internal/ring", webrtcModule, true},
		{"cdn/internal/ring", "internal/rtp/seqnum", false},
		{"cdn/internal/ring", "internal/pc/pcsend", true},
		{"internal/pc/pcsend", webrtcModule, false},
		{"internal/pc/pcsend", "edge", true},
		{"internal/link", "internal/endpoint", false},
		{"internal/link", "internal/endpoint/dtlssrtp", true},
		{"internal/viewer", "internal/endpoint/icecheck", true},
		{"internal/endpoint", "internal/endpoint/dtlssrtp", false},
		{"cdn", "internal/endpoint/icecheck", true},
		{"cdn", "internal/pc/setting", false},
		{"examples/threenode", "edge", false},
		{"edge", "internal/demo", true},
	} {
		dep := tc.dep
		if dep != webrtcModule {
			dep = path.Join(module, dep)
		}
		p := goPackage{ImportPath: path.Join(module, tc.pkg), Imports: []string{dep}, Deps: []string{dep}}
		broken := slices.ContainsFunc(importRules, func(r importRule) bool { return len(r.broken(p)) > 0 })
		assert.Equal(t, tc.broken, broken, "%s importing %s", tc.pkg, tc.dep)
	}
}

// broken returns the dependencies of p that the rule forbids.
func (r importRule) broken(p goPackage) []string {
	self := relative(p.ImportPath)
	if !matchesAny(r.from, self) || matchesAny(r.except, self) {
		return nil
	}
	deps := p.Deps
	if r.direct {
		deps = p.Imports
	}
	var bad []string
	for _, dep := range deps {
		if dep := relative(dep); matchesAny(r.never, dep) {
			bad = append(bad, dep)
		}
	}
	return bad
}

// relative returns the path of a package in the module, and other paths, but
// for those of the standard library (which has an internal/ too), as they are.
func relative(importPath string) string {
	first, _, _ := strings.Cut(importPath, "/")
	switch {
	case importPath == module:
		return "."
	case !strings.Contains(first, "."):
		return "std/" + importPath
	}
	return strings.TrimPrefix(importPath, module+"/")
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

func matches(pattern, name string) bool {
	if pattern == "..." {
		return true
	}
	tree := strings.HasSuffix(pattern, "/...")
	pattern = strings.TrimSuffix(pattern, "/...")
	elements, want := strings.Split(name, "/"), strings.Count(pattern, "/")+1
	if len(elements) < want || !tree && len(elements) > want {
		return false
	}
	ok, err := path.Match(pattern, strings.Join(elements[:want], "/"))
	return ok && err == nil
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	var pkgs []goPackage
	d := json.NewDecoder(bytes.NewReader(runGo(t, "list", "-e", "-json=ImportPath,Imports,Deps", "./...")))
	for {
		var p goPackage
		err := d.Decode(&p)
		if err == io.EOF {
			return pkgs
		}
		require.NoError(t, err)
		pkgs = append(pkgs, p)
	}
}

const modulesFile = "testdata/modules.txt"

// TestModules fails when the module graph, which every user of Delta gets to
// see, is another than the committed one.
func TestModules(t *testing.T) {
	committed, err := os.ReadFile(modulesFile)
	require.NoError(t, err)
	want := strings.Fields(string(committed))
	got := strings.Fields(string(runGo(t, "list", "-m", "-f", "{{.Path}}", "all")))
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("new in the module graph: %q; gone: %q.\nIf that is worth its weight to every user, and the commit says why:\n"+
			"\tgo list -m -f '{{.Path}}' all | LC_ALL=C sort > internal/e2e/%s", without(got, want), without(want, got), modulesFile)
	}
}

func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}

// TestNoReplace: a replace or an exclude would hold here and not for users.
func TestNoReplace(t *testing.T) {
	var mod struct{ Replace, Exclude []any }
	require.NoError(t, json.Unmarshal(runGo(t, "mod", "edit", "-json"), &mod))
	assert.Empty(t, mod.Replace)
	assert.Empty(t, mod.Exclude)
}

// runGo runs the go command in the root of the module.
func runGo(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), &stderr)
	return out
}
