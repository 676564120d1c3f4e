package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A side is the tests of one commit.
type side struct {
	name     string
	root     string              // of its tree
	binaries string              // folder of the test binaries
	packages map[string][]string // tests to run; none: all
	kept     bool                // binaries that are there already are of this commit
	found    map[string]sum      // what ran when the tests were run with all their subtests; nil: not yet
}

// A sum is what one package's tests have cost.
type sum struct {
	cpu time.Duration // user and system
	ran map[string]bool
}

// testPackages returns the packages of the root module that have tests.
func (s side) testPackages() ([]string, error) {
	cmd := exec.Command("go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}", "./...")
	cmd.Dir, cmd.Env = s.root, append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	root, err := filepath.EvalSymlinks(s.root)
	if err != nil {
		return nil, err
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	var all []string
	for dir := range strings.Lines(string(out)) {
		pkg, err := filepath.Rel(root, strings.TrimSpace(dir))
		if err != nil {
			return nil, err
		}
		all = append(all, filepath.ToSlash(pkg))
	}
	return all, nil
}

// binary is the path of a package's test binary.
func (s side) binary(pkg string) string {
	return filepath.Join(s.binaries, strings.ReplaceAll(pkg, "/", "_")+".test")
}

func (s side) build() error {
	if err := os.MkdirAll(s.binaries, 0o755); err != nil {
		return err
	}
	for pkg := range s.packages {
		abs, err := filepath.Abs(s.binary(pkg))
		if err != nil {
			return err
		}
		dir := filepath.Join(s.root, filepath.FromSlash(pkg))
		if strings.HasPrefix(pkg, "examples/") { // the old commit's test builds it, and is not to compile it, too
			if err := command(dir, "go", "build", "-o", os.DevNull, "."); err != nil {
				return err
			}
		}
		if _, err := os.Stat(abs); s.kept && err == nil {
			continue
		}
		if err := command(dir, "go", "test", "-c", "-o", abs, "."); err != nil {
			return err
		}
	}
	return nil
}

// run runs the tests of all packages, one package at a time. It fails if some fail or do
// not run.
func (s side) run() (map[string]sum, error) {
	all := make(map[string]sum)
	var failed []error
	for _, pkg := range slices.Sorted(maps.Keys(s.packages)) {
		one, err := s.runPackage(pkg, s.packages[pkg])
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %s: %w", s.name, pkg, err))
		}
		all[pkg] = one
	}
	return all, errors.Join(failed...)
}

func (s side) runPackage(pkg string, tests []string) (sum, error) {
	binary, err := filepath.Abs(s.binary(pkg))
	if err != nil {
		return sum{}, err
	}
	args := []string{"-test.v=true", "-test.count=1", "-test.timeout=15m"}
	if len(tests) > 0 {
		args = append(args, "-test.run="+pattern(tests, s.found[pkg].ran))
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir = filepath.Join(s.root, filepath.FromSlash(pkg))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return sum{}, err
	}
	one := sum{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), ran: passed(out.String())}
	if err != nil {
		return one, fmt.Errorf("%w\n%s", err, tail(out.String()))
	}
	var missing []string
	for _, t := range tests {
		if !one.ran[t] {
			missing = append(missing, t)
		}
	}
	if len(missing) > 0 {
		return one, fmt.Errorf("did not run: %s", strings.Join(missing, ", "))
	}
	return one, nil
}

// result is how a test's end looks in verbose output.
var result = regexp.MustCompile(`(?m)^ *--- (?:PASS|SKIP): (\S+) \(`)

func passed(output string) map[string]bool {
	all := make(map[string]bool)
	for _, m := range result.FindAllStringSubmatch(output, -1) {
		all[m[1]] = true
	}
	return all
}

// pattern matches these tests. Of a test whose subtests are not all named, it matches
// the named ones alone; found are all subtests that there are, so far as is known.
//
// A test is matched as a whole where that is the same: the package testing compiles an
// expression anew whenever it differs from the one ahead of it, so that hundreds of
// subtests, matched with an expression for each, cost more than they do themselves.
func pattern(tests []string, found map[string]bool) string {
	named, split := make(map[string]bool), make(map[string]bool)
	for _, t := range tests {
		top, _, sub := strings.Cut(t, "/")
		named[t] = true
		split[top] = split[top] || sub
	}
	partly := make(map[string]bool) // tests with subtests that are named, and others that are not
	for t := range found {
		top, _, _ := strings.Cut(t, "/")
		partly[top] = partly[top] || split[top] && !named[t]
	}
	var whole, all []string
	for _, t := range tests {
		top, _, _ := strings.Cut(t, "/")
		switch {
		case !partly[top] && !slices.Contains(whole, top):
			whole = append(whole, top) // a name in Go
		case partly[top] && !slices.ContainsFunc(tests, func(other string) bool { return strings.HasPrefix(other, t+"/") }):
			all = append(all, exactly(t))
		}
	}
	if len(whole) > 0 {
		all = append(all, "^("+strings.Join(whole, "|")+")$")
	}
	return strings.Join(all, "|")
}

// exactly matches a subtest, or a test with all that it has.
func exactly(test string) string {
	var elements []string
	for e := range strings.SplitSeq(test, "/") {
		elements = append(elements, "^"+regexp.QuoteMeta(e)+"$")
	}
	return strings.Join(elements, "/")
}

// tail is the end of an output.
func tail(s string) string {
	const most = 4000
	return s[max(0, len(s)-most):]
}
