package delta_test

import (
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
