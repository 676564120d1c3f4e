// Command cases compares what the same test cases cost in two commits. A list names
// each case of the old commit, subtests included, and the case of today that took its
// place:
//
//	go -C internal/tools run ./cases -list          # lists the cases of the old commit
//	go -C internal/tools run ./cases -check         # runs those of today: is any missing?
//	go -C internal/tools run ./cases -time 3        # runs both in turn, three times each
//
// The cost is the CPU time, user and system, of the test binaries. Building them is
// not part of it, and neither is a first run, in which all subtests run.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("cases: ")
	repo := flag.String("repo", "../..", "the repository's root")
	old := flag.String("old", "96480ec", "the commit to compare with")
	path := flag.String("cases", "", "the list of cases (default cases/OLD.txt)")
	list := flag.Bool("list", false, "print the cases of the old commit with the names that they have in the list, or had")
	check := flag.Bool("check", false, "run the cases of today, and fail if one of the list did not run")
	pairs := flag.Int("time", 0, "run the cases of both commits in turn, so many times each")
	work := flag.String("work", "", "a folder in which the old commit's test binaries are kept for the next time (default: none)")
	flag.Parse()
	if err := run(*repo, *old, cmp.Or(*path, filepath.Join("cases", *old+".txt")), *work, *list, *check, *pairs); err != nil {
		log.Fatal(err)
	}
}

func run(repo, commit, path, work string, list, check bool, pairs int) error {
	dir, err := os.MkdirTemp("", "delta-cases")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cases, err := readCases(path)
	if err != nil {
		return err
	}
	today := side{name: "today", root: repo, binaries: filepath.Join(dir, "today"), packages: cases.by(newName)}
	before := side{name: commit, root: filepath.Join(dir, "tree"), binaries: filepath.Join(dir, "before"), packages: cases.by(oldName)}
	if work != "" {
		before.binaries, before.kept = filepath.Join(work, commit), true
	}
	if list || pairs > 0 {
		if err := command(repo, "git", "worktree", "add", "--detach", before.root, commit); err != nil {
			return err
		}
		defer func() { _ = command(repo, "git", "worktree", "remove", "--force", before.root) }()
	}
	switch {
	case list:
		return listCases(before, cases, os.Stdout)
	case check:
		if err := today.build(); err != nil {
			return err
		}
		_, err := today.run()
		return err
	case pairs > 0:
		return compare(before, today, pairs)
	}
	return errors.New("one of -list, -check and -time has to be given")
}

// A name is a test of a package: "." or a path below the repository's root.
type name struct{ pkg, test string }

// A line is one case of the list.
type line struct {
	old, now name
	gone     string // why there is no such case today; "": there is one
}

func oldName(l line) name { return l.old }
func newName(l line) name { return l.now }

type cases []line

// readCases reads a list. Its lines have the old package and test, and the new ones,
// separated by tabs, or in place of the latter "-" and a reason.
func readCases(path string) (all cases, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i, text := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		if strings.HasPrefix(text, "#") {
			continue
		}
		f := strings.Split(text, "\t")
		if len(f) != 4 {
			return nil, fmt.Errorf("%s:%d: %d fields in place of 4", path, i+1, len(f))
		}
		l := line{old: name{f[0], f[1]}, now: name{f[2], f[3]}}
		if f[2] == "-" {
			l.now, l.gone = name{}, f[3]
		}
		all = append(all, l)
	}
	return all, nil
}

// by returns the tests of each package, those that are gone left out.
func (all cases) by(side func(line) name) map[string][]string {
	tests := make(map[string][]string)
	for _, l := range all {
		if n := side(l); l.gone == "" && !slices.Contains(tests[n.pkg], n.test) {
			tests[n.pkg] = append(tests[n.pkg], n.test)
		}
	}
	return tests
}

// listCases prints the cases of a commit, each with its place in the list, if it has
// one there, and otherwise with the name that it had.
func listCases(before side, known cases, out io.Writer) error {
	pkgs, err := before.testPackages()
	if err != nil {
		return err
	}
	before.packages = make(map[string][]string)
	for _, pkg := range pkgs {
		before.packages[pkg] = nil
	}
	if err := before.build(); err != nil {
		return err
	}
	all, failed := before.run() // those that have passed are listed all the same
	for _, pkg := range pkgs {
		for _, test := range slices.Sorted(maps.Keys(all[pkg].ran)) {
			l := line{old: name{pkg, test}, now: name{pkg, test}}
			if i := slices.IndexFunc(known, func(k line) bool { return k.old == l.old }); i >= 0 {
				l = known[i]
			}
			fmt.Fprintln(out, l)
		}
	}
	return failed
}

func (l line) String() string {
	if l.gone != "" {
		return strings.Join([]string{l.old.pkg, l.old.test, "-", l.gone}, "\t")
	}
	return strings.Join([]string{l.old.pkg, l.old.test, l.now.pkg, l.now.test}, "\t")
}

// compare runs both sides in turn, and prints the CPU time of each package and the
// ratio of the sums.
func compare(before, today side, pairs int) error {
	for _, s := range []side{before, today} {
		if err := s.build(); err != nil {
			return err
		}
	}
	var ratios []float64
	var failed []error // the cost is told all the same
	sides := []*side{&before, &today}
	for _, s := range sides {
		all, err := s.run()
		s.found, failed = all, append(failed, err)
	}
	for i := range pairs {
		var sums [2]time.Duration
		for k, s := range sides {
			all, err := s.run()
			failed = append(failed, err)
			for _, pkg := range slices.Sorted(maps.Keys(all)) {
				sums[k] += all[pkg].cpu
				fmt.Printf("%-10s %-36s %8.2f s  %d cases\n", s.name, pkg, all[pkg].cpu.Seconds(), len(all[pkg].ran))
			}
			fmt.Printf("%-10s %-36s %8.2f s\n", s.name, "all", sums[k].Seconds())
		}
		ratios = append(ratios, sums[1].Seconds()/sums[0].Seconds())
		fmt.Printf("pair %d: today / %s = %.3f\n", i+1, before.name, ratios[i])
	}
	slices.Sort(ratios)
	fmt.Printf("median of %d pairs: %.3f\n", pairs, ratios[len(ratios)/2])
	return errors.Join(failed...)
}

func command(dir, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, out)
	}
	return nil
}
