package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// offenders returns what is beyond its limit: by kind, the worst first.
func (r *report) offenders() (all []item) {
	for _, i := range r.items {
		if i.count > limits[i.kind] {
			all = append(all, i)
		}
	}
	if n := r.p95(); n > maxP95 {
		all = append(all, item{kind: "p95", name: "functions", count: n})
	}
	slices.SortStableFunc(all, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(b.count, a.count), cmp.Compare(a.name, b.name))
	})
	return all
}

// p95 returns the 95th percentile of the lines of functions.
func (r *report) p95() int {
	var all []int
	for _, i := range r.items {
		if i.kind == kindLines {
			all = append(all, i.count)
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0
	}
	return all[(len(all)*95+99)/100-1]
}

// most returns how many things of a kind there are, how many are beyond the limit, and
// the largest.
func (r *report) most(kind string) (n, beyond int, largest item) {
	for _, i := range r.items {
		if i.kind != kind {
			continue
		}
		n++
		if i.count > limits[kind] {
			beyond++
		}
		if i.count > largest.count {
			largest = i
		}
	}
	return n, beyond, largest
}

// print writes the table, and what is beyond the limits.
func (r *report) print(w io.Writer, k known) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tcounted\tlimit\tlargest\tbeyond\twhich")
	for _, row := range []struct{ kind, what string }{
		{kindFields, "fields of a struct, embedded ones included"},
		{kindLines, "lines of a function"},
		{kindMethods, "methods of an exported interface"},
		{kindFile, "lines of a file"},
		{kindAlias, "exported names for internal things"},
	} {
		n, beyond, largest := r.most(row.kind)
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\n", row.what, n, limits[row.kind], largest.count, beyond, largest.name)
		if row.kind == kindLines {
			fmt.Fprintf(t, "  95th percentile\t\t%d\t%d\t\t\n", maxP95, r.p95())
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	bad := r.offenders()
	if len(bad) > 0 {
		fmt.Fprintln(w, "\nbeyond the limits:")
	}
	for _, o := range bad {
		fmt.Fprintln(w, o)
	}
	for _, o := range k.shrunk(bad) {
		fmt.Fprintf(w, "%s is better than known.txt says: -update\n", o)
	}
	return nil
}
