package cdn

import (
	"fmt"
	"path"
	"strings"
)

// A StreamPattern matches streams by their IDs. It consists of elements separated by "/",
// as a [StreamID] does, and matches an ID element by element: within an element "*"
// stands for any characters but "/", "?" for one, and "[a-z]" and "[^a-z]" for one of a
// class, as in [path.Match]; an element "**" stands for any number of elements, also for
// none. So "live/*" matches "live/a", "live/**" matches "live", "live/a" and "live/a/b",
// and "**" matches every stream.
type StreamPattern string

// maxPattern is the longest StreamPattern, in bytes.
const maxPattern = 512

// ParseStreamPattern returns s as a StreamPattern, or an error wrapping [ErrInvalid] that
// says what is wrong with it.
func ParseStreamPattern(s string) (StreamPattern, error) {
	if s == "" || len(s) > maxPattern {
		return "", fmt.Errorf("%w: stream pattern of %d bytes, 1 to %d are allowed", ErrInvalid, len(s), maxPattern)
	}
	for element := range strings.SplitSeq(s, "/") {
		if element == "" {
			return "", fmt.Errorf("%w: stream pattern %.80q has an empty element", ErrInvalid, s)
		}
		if strings.Contains(element, "**") && element != "**" {
			return "", fmt.Errorf("%w: stream pattern %.80q has \"**\" beside other characters of an element", ErrInvalid, s)
		}
		if _, err := path.Match(element, ""); err != nil {
			return "", fmt.Errorf("%w: stream pattern %.80q: element %.80q: %w", ErrInvalid, s, element, err)
		}
		if i := strings.IndexFunc(element, func(r rune) bool { return !patternRune(r) }); i >= 0 {
			return "", fmt.Errorf("%w: stream pattern %.80q: no stream id has %q", ErrInvalid, s, []rune(element[i:])[0])
		}
	}
	return StreamPattern(s), nil
}

func patternRune(r rune) bool { return streamIDRune(r) || strings.ContainsRune(`*?[]^\`, r) }

// Match reports whether the pattern matches the ID. A pattern that is malformed matches
// nothing. It takes time in proportion to the product of the two lengths at most.
func (p StreamPattern) Match(id StreamID) bool {
	if p == "" || id == "" {
		return false
	}
	pattern, name := strings.Split(string(p), "/"), strings.Split(string(id), "/")
	// As with "*" in one string: only the last "**" has to be tried with more elements.
	at, i := 0, 0
	star, taken := -1, 0
	for i < len(name) {
		switch {
		case at < len(pattern) && pattern[at] == "**":
			star, taken = at, i
			at++
			continue
		case at < len(pattern) && matchElement(pattern[at], name[i]):
			at, i = at+1, i+1
			continue
		case star < 0:
			return false
		}
		taken++
		at, i = star+1, taken
	}
	for at < len(pattern) && pattern[at] == "**" {
		at++
	}
	return at == len(pattern)
}

func matchElement(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
