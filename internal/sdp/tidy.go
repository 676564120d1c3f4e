package sdp

import (
	"cmp"
	"slices"
	"strings"
)

// The order of lines in a session's part and in a media part (RFC 8866 section 9).
const (
	sessionOrder = "vosiuepcbtrzka"
	mediaOrder   = "micbka"
)

// tidy returns an offer as RFC 8866 wants it written, of one that says the same in
// another way: with line feeds alone, a byte order mark, spaces at the ends of
// lines, empty lines, no break at the end, lines in another order, or without
// those that say nothing to WebRTC (o=, s=, t=).
func tidy(offer string) string {
	offer = strings.TrimLeft(offer, "\ufeff")
	if isTidy(offer) {
		return offer
	}
	var parts [][]string // of the session, and of each m-section
	parts = append(parts, nil)
	for line := range strings.SplitSeq(offer, "\n") {
		if line = strings.TrimRight(line, " \t\r"); line == "" {
			continue
		}
		if strings.HasPrefix(line, "m=") {
			parts = append(parts, nil)
		}
		last := len(parts) - 1
		parts[last] = append(parts[last], line)
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

// isTidy reports whether there is nothing to do, as in nearly every description.
func isTidy(offer string) bool {
	if !strings.HasSuffix(offer, "\n") {
		return false
	}
	order, last, seen := sessionOrder, 0, 0
	for line := range strings.Lines(offer) {
		text := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if text == "" || text == "s=" || text != strings.TrimRight(text, " \t\r") {
			return false
		}
		if strings.HasPrefix(text, "m=") {
			order, last = mediaOrder, 0
		}
		at := place(order, text)
		if at < last {
			return false
		}
		if strings.IndexByte("vost", text[0]) >= 0 && at != last {
			seen++
		}
		last = at
	}
	return seen == 3 // o=, s= and t=; v= is first
}
