package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The list names each case of the old commit once, with what took its place.
func TestList(t *testing.T) {
	t.Parallel()
	all, err := readCases("96480ec.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[name]bool)
	for _, l := range all {
		if known[l.old] {
			t.Errorf("%v twice", l.old)
		}
		known[l.old] = true
		if l.old.pkg == "" || l.old.test == "" || l.gone == "" && (l.now.pkg == "" || l.now.test == "") {
			t.Errorf("%v says nothing", l)
		}
	}
	if len(all) < 2000 {
		t.Errorf("only %d cases", len(all))
	}
}

// Each test that the list names is there today. Subtests are found by -check alone.
func TestNamesAreOfToday(t *testing.T) {
	t.Parallel()
	all, err := readCases("96480ec.txt")
	if err != nil {
		t.Fatal(err)
	}
	for pkg, tests := range all.by(newName) {
		there, err := declared(filepath.Join("../../..", filepath.FromSlash(pkg)))
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range tests {
			if top, _, _ := strings.Cut(test, "/"); !there[top] {
				t.Errorf("%s has no %s", pkg, top)
			}
		}
	}
}

// declared returns the names of a folder's tests, fuzz tests and examples.
func declared(dir string) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	all := make(map[string]bool)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, m := range declaration.FindAllSubmatch(text, -1) {
			all[string(m[1])] = true
		}
	}
	return all, nil
}

var declaration = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`)

// A test whose subtests are all named is matched as a whole, so that the package testing
// does not compile expressions while the tests run. Of others the named subtests are.
func TestPattern(t *testing.T) {
	t.Parallel()
	tests := []string{"TestA", "TestA/x", "TestA/y|z", "TestB", "TestC", "TestC/x"}
	found := map[string]bool{"TestA": true, "TestA/x": true, "TestA/y|z": true, "TestA/w": true, "TestB": true, "TestB/x": true, "TestC": true, "TestC/x": true}
	for _, c := range []struct {
		found map[string]bool
		want  string
	}{
		{nil, `^(TestA|TestB|TestC)$`},
		{found, `^TestA$/^x$|^TestA$/^y\|z$|^(TestB|TestC)$`},
	} {
		if got := pattern(tests, c.found); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestPassed(t *testing.T) {
	t.Parallel()
	got := passed("=== RUN   TestA\n--- PASS: TestA (0.01s)\n    --- SKIP: TestA/x (0.00s)\n--- FAIL: TestB (0.00s)\n")
	if len(got) != 2 || !got["TestA"] || !got["TestA/x"] {
		t.Errorf("%v", got)
	}
}
