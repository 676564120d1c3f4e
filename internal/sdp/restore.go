package sdp

import (
	"slices"
	"strings"
)

// Restore turns the answer to a reduced offer into one to the offer itself:
// what was not chosen is rejected under its own name, is in no bundle, and
// carries no candidates. Candidates for RTCP alone, which is never apart from
// RTP here, are left out, and header extensions get their direction, which pion
// does not write.
func (o *Offer) Restore(answer string, choices []Choice) string {
	sections := strings.Split(strings.TrimSuffix(answer, "\r\n"), "\r\nm=")
	if len(sections) != len(o.Media)+1 {
		return answer
	}
	var candidates, rejected []string
	for i, m := range o.Media {
		lines, own := splitCandidates(sections[i+1])
		candidates = append(candidates, own...)
		if k := slices.IndexFunc(choices, func(c Choice) bool { return c.Media == m }); k >= 0 {
			directExtensions(lines, choices[k])
			sections[i+1] = strings.Join(lines, "\r\n")
			continue
		}
		sections[i+1] = m.Rejection() + "\r\nc=IN IP4 0.0.0.0\r\n"
		if m.Mid != "" {
			sections[i+1] += "a=mid:" + m.Mid + "\r\n"
		}
		sections[i+1] += "a=inactive"
		rejected = append(rejected, m.Mid)
	}
	sections[0] = withoutBundled(sections[0], rejected)
	for i, m := range o.Media {
		if slices.ContainsFunc(choices, func(c Choice) bool { return c.Media == m }) {
			sections[i+1] = strings.Join(append([]string{sections[i+1]}, candidates...), "\r\n")
			break
		}
	}
	return strings.Join(sections, "\r\nm=") + "\r\n"
}

// directExtensions adds the directions of header extensions to a=extmap lines.
func directExtensions(lines []string, c Choice) {
	for i, line := range lines {
		value, ok := strings.CutPrefix(line, "a=extmap:")
		if !ok {
			continue
		}
		if _, uri, ok := parseExtmap(value); ok {
			_, direction := c.Extension(uri)
			number, rest, _ := strings.Cut(value, " ")
			lines[i] = "a=extmap:" + number + direction + " " + rest
		}
	}
}

// splitCandidates takes the candidates out of a section.
func splitCandidates(section string) (rest, candidates []string) {
	for line := range strings.SplitSeq(section, "\r\n") {
		switch {
		case strings.HasPrefix(line, "a=candidate:"):
			if f := strings.Fields(line); len(f) > 1 && f[1] == "1" {
				candidates = append(candidates, line)
			}
		case line == "a=end-of-candidates":
			candidates = append(candidates, line)
		default:
			rest = append(rest, line)
		}
	}
	return rest, candidates
}

// withoutBundled takes m-sections out of a=group:BUNDLE.
func withoutBundled(session string, mids []string) string {
	lines := strings.Split(session, "\r\n")
	for i, line := range lines {
		bundled, ok := strings.CutPrefix(line, "a=group:BUNDLE ")
		if !ok {
			continue
		}
		kept := slices.DeleteFunc(strings.Fields(bundled), func(mid string) bool { return slices.Contains(mids, mid) })
		lines[i] = "a=group:BUNDLE " + strings.Join(kept, " ")
	}
	return strings.Join(lines, "\r\n")
}
