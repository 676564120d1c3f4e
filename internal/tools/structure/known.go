package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// known are offenders that may stay as they are: by kind and name, how far beyond the
// limit they may be.
type known map[string]int

func (i item) key() string { return i.kind + " " + i.name }

// readKnown reads the list, one offender a line: kind, name, count.
func readKnown(name string) (known, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return known{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	k := known{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var i item
		if _, err := fmt.Sscanf(line, "%s %s %d", &i.kind, &i.name, &i.count); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", name, line, err)
		}
		k[i.key()] = i.count
	}
	return k, lines.Err()
}

// unknown returns the offenders that the list does not allow.
func (k known) unknown(offenders []item) (bad []item) {
	for _, o := range offenders {
		if o.count > k[o.key()] {
			bad = append(bad, o)
		}
	}
	return bad
}

// shrunk returns what the list allows and does not have to any more.
func (k known) shrunk(offenders []item) []string {
	left := maps.Clone(k)
	for _, o := range offenders {
		if o.count >= left[o.key()] {
			delete(left, o.key())
		}
	}
	return slices.Sorted(maps.Keys(left))
}

// writeKnown writes what is left of the list. Only a list that is empty may grow.
func writeKnown(name string, k known, offenders []item) error {
	if bad := k.unknown(offenders); len(k) > 0 && len(bad) > 0 {
		return fmt.Errorf("the list would grow by %v", bad)
	}
	var b strings.Builder
	b.WriteString("# What is beyond the limits of command structure, and may only shrink.\n")
	for _, o := range offenders {
		fmt.Fprintf(&b, "%s %s %d\n", o.kind, o.name, o.count)
	}
	return os.WriteFile(name, []byte(b.String()), 0o644)
}
