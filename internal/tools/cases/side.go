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
		args = append(args, "-test.run="+pattern(tests))
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

// pattern matches these tests and subtests, and as few others as possible.
func pattern(tests []string) string {
	var all []string
	for _, t := range tests {
		if slices.ContainsFunc(tests, func(other string) bool { return strings.HasPrefix(other, t+"/") }) {
			continue // its subtests name it
		}
		var elements []string
		for e := range strings.SplitSeq(t, "/") {
			elements = append(elements, "^"+regexp.QuoteMeta(e)+"$")
		}
		all = append(all, strings.Join(elements, "/"))
	}
	return strings.Join(all, "|")
}

// tail is the end of an output.
func tail(s string) string {
	const most = 4000
	return s[max(0, len(s)-most):]
}
