package sdp

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// The order of the lines that WebRTC uses, in a session's part and in a media part (RFC 8866
// section 9).
const (
	sessionOrder = "voscta"
	mediaOrder   = "mca"
)

// unused has the types of line that WebRTC does not use: titles, contacts, bandwidths,
// repetitions, keys. Unknown types and values of bandwidths must be ignored (RFC 8866 section
// 5.8).
const unused = "iuepbrzk"

// tidy returns an offer as RFC 8866 wants it written, of one that says the same in
// another way: with line feeds alone, a byte order mark, spaces at the ends of
// lines, empty lines, no break at the end, lines in another order, lines that WebRTC does
// not use, or without lines that are mandatory though it does not use them (o=, s=, t=).
func tidy(offer string) string {
	offer = strings.TrimLeft(offer, "\ufeff")
	if isTidy(offer) {
		return offer
	}
	var parts [][]string // of the session, and of each m-section
	parts = append(parts, nil)
	var seen [256]bool // the types of line that the present part has
	for line := range strings.SplitSeq(offer, "\n") {
		if line = strings.TrimRight(line, " \t\r"); line == "" {
			continue
		}
		if strings.HasPrefix(line, "m=") {
			parts, seen = append(parts, nil), [256]bool{}
		}
		if isOnce(line) && seen[line[0]] || !isRead(line) {
			continue
		}
		last := len(parts) - 1
		parts[last], seen[line[0]] = append(parts[last], line), true
	}
	if len(parts[0]) == 0 || !strings.HasPrefix(parts[0][0], "v=") {
		return offer // it is none
	}
	for _, missing := range []string{"o=- 0 0 IN IP4 0.0.0.0", "s=-", "t=0 0"} {
		if !slices.ContainsFunc(parts[0], func(line string) bool { return strings.HasPrefix(line, missing[:2]) }) {
			parts[0] = append(parts[0], missing)
		}
	}
	var b strings.Builder
	for i, lines := range parts {
		order := mediaOrder
		if i == 0 {
			order = sessionOrder
		}
		slices.SortStableFunc(lines, func(x, y string) int {
			return cmp.Compare(place(order, x), place(order, y))
		})
		for _, line := range lines {
			if line == "s=" {
				line = "s=-"
			}
			b.WriteString(line + "\r\n")
		}
	}
	return b.String()
}

// place is where in the order a line stands. One of no known type is last, and
// will be found to be wrong there.
func place(order, line string) int {
	if i := strings.IndexByte(order, line[0]); i >= 0 {
		return i
	}
	return len(order)
}

// isOnce reports whether a part has at most one line of that type.
func isOnce(line string) bool { return strings.IndexByte("vost", line[0]) >= 0 }

// isRead reports whether a line is kept: WebRTC uses its type, or the type is mandatory and the
// line is well-formed.
func isRead(line string) bool {
	if len(line) < 2 || line[1] != '=' {
		return true // and will be found to be wrong
	}
	switch line[0] {
	case 'o':
		f := strings.Fields(line[2:])
		return len(f) == 6 && isNumber(f[1]) && isNumber(f[2]) && isAddress(f[3:])
	case 't':
		f := strings.Fields(line[2:])
		return len(f) == 2 && isNumber(f[0]) && isNumber(f[1])
	case 'c':
		return isAddress(strings.Fields(line[2:]))
	}
	return strings.IndexByte(unused, line[0]) < 0
}

// isNumber reports whether s is a decimal number of 64 bits, without a sign.
func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// isAddress reports whether fields are as in "IN IP4 0.0.0.0".
func isAddress(f []string) bool {
	return len(f) == 3 && f[0] == "IN" && (f[1] == "IP4" || f[1] == "IP6")
}

// isTidy reports whether there is nothing to do, as in nearly every description.
func isTidy(offer string) bool {
	if !strings.HasSuffix(offer, "\n") {
		return false
	}
	order, last, once := sessionOrder, -1, 0
	for line := range strings.Lines(offer) {
		text := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if text == "" || text == "s=" || text != strings.TrimRight(text, " \t\r") {
			return false
		}
		if strings.HasPrefix(text, "m=") {
			order, last = mediaOrder, -1
		}
		at := place(order, text)
		if at < last || at == last && isOnce(text) || text[0] != 'a' && !isRead(text) {
			return false
		}
		if isOnce(text) {
			once++
		}
		last = at
	}
	return once == len("vost")
}
