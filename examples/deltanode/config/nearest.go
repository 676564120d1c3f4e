package config

import "strings"

// nearest returns the one of names that is most like name; "" if there are none.
func nearest(name string, names []string) (best string) {
	const long = 200
	if len(name) > long {
		name = name[:long]
	}
	least := -1
	for _, n := range names {
		d := distance(name, n)
		// A name in the wrong section, and the beginning of one, are as good as near.
		if last(n) == last(name) || strings.HasPrefix(n, name) {
			d = min(d, 1)
		}
		if least < 0 || d < least {
			best, least = n, d
		}
	}
	return best
}

func last(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// distance is how many letters are to be added, removed or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := before
			if a[i] != b[j] {
				changed++
			}
			before = row[j+1]
			row[j+1] = min(changed, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
