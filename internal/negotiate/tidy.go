package negotiate

import "strings"

// tidy returns a description as RFC 8866 section 9 wants it written, where clients
// leave out or add what changes nothing: a byte order mark, white space at the end
// of lines, empty lines, the last line break, and the lines "s=" and "t=" of a
// session that has neither name nor end.
func tidy(desc string) string {
	desc = strings.TrimPrefix(desc, "\ufeff")
	if isTidy(desc) {
		return desc
	}
	var b strings.Builder
	b.Grow(len(desc) + len(sessionName) + len(sessionTime))
	named, timed := false, false
	for line := range strings.SplitSeq(desc, "\n") {
		line = strings.TrimRight(line, " \t\r")
		if line == "" {
			continue
		}
		kind := line[0]
		if kind != 'v' && kind != 'o' && kind != 's' && !named {
			b.WriteString(sessionName)
			named = true
		}
		if strings.IndexByte("vosiuepcbt", kind) < 0 && !timed {
			b.WriteString(sessionTime)
			timed = true
		}
		named, timed = named || kind == 's', timed || kind == 't'
		b.WriteString(line + "\r\n")
	}
	return b.String()
}

const (
	sessionName = "s=-\r\n"
	sessionTime = "t=0 0\r\n"
)

// isTidy reports whether there is nothing to do, as in nearly every description.
func isTidy(desc string) bool {
	session, _, _ := strings.Cut(desc, "\nm=")
	return strings.HasSuffix(desc, "\n") && strings.Contains(session, "\ns=") && strings.Contains(session, "\nt=") &&
		!strings.Contains(desc, " \r") && !strings.Contains(desc, " \n") && !strings.Contains(desc, "\t\r") && !strings.Contains(desc, "\t\n") &&
		!strings.Contains(desc, "\n\n") && !strings.Contains(desc, "\n\r")
}
