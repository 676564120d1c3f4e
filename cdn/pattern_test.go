package cdn_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func TestStreamPatterns(t *testing.T) {
	for _, tc := range []struct {
		pattern   string
		yes, no   []cdn.StreamID
		malformed bool
	}{
		{pattern: "live", yes: []cdn.StreamID{"live"}, no: []cdn.StreamID{"live/a", "Live", "liv", "lives", ""}},
		{pattern: "live/*", yes: []cdn.StreamID{"live/a", "live/a.b"}, no: []cdn.StreamID{"live", "live/a/b", "x/live/a"}},
		{pattern: "live/**", yes: []cdn.StreamID{"live", "live/a", "live/a/b"}, no: []cdn.StreamID{"alive", "x/live"}},
		{pattern: "**", yes: []cdn.StreamID{"a", "a/b/c"}, no: []cdn.StreamID{""}},
		{pattern: "*", yes: []cdn.StreamID{"a"}, no: []cdn.StreamID{"a/b"}},
		{pattern: "**/cam", yes: []cdn.StreamID{"cam", "a/cam", "a/b/cam", "cam/cam"}, no: []cdn.StreamID{"cam/a", "a/xcam"}},
		{pattern: "a/**/b/**/c", yes: []cdn.StreamID{"a/b/c", "a/x/b/c", "a/b/b/c/c", "a/b/x/y/c"}, no: []cdn.StreamID{"a/c", "a/b", "a/c/b"}},
		{pattern: "cam[0-9]?", yes: []cdn.StreamID{"cam1x"}, no: []cdn.StreamID{"cam1", "camxx"}},
		{pattern: "[^a]b", yes: []cdn.StreamID{"bb"}, no: []cdn.StreamID{"ab"}},
		{pattern: "", malformed: true},
		{pattern: "a//b", malformed: true},
		{pattern: "/a", malformed: true},
		{pattern: "a**", malformed: true},
		{pattern: "***", malformed: true},
		{pattern: "a/[", malformed: true},
		{pattern: "a b", malformed: true},
		{pattern: strings.Repeat("a", 513), malformed: true},
	} {
		p, err := cdn.ParseStreamPattern(tc.pattern)
		if tc.malformed {
			require.ErrorIs(t, err, cdn.ErrInvalid, tc.pattern)
			continue
		}
		require.NoError(t, err, tc.pattern)
		for _, id := range tc.yes {
			require.True(t, p.Match(id), "%s matches %s", p, id)
		}
		for _, id := range tc.no {
			require.False(t, p.Match(id), "%s matches %s", p, id)
		}
	}
}

// The matcher agrees with a regular expression that says the same.
func FuzzStreamPattern(f *testing.F) {
	f.Add("a/**/b", "a/x/b")
	f.Add("**/**", "a")
	f.Add("a*b?/**", "axbx/y")
	f.Fuzz(func(t *testing.T, pattern, id string) {
		p, err := cdn.ParseStreamPattern(pattern)
		if err != nil || strings.ContainsAny(pattern, `[\`) {
			return
		}
		name, err := cdn.ParseStreamID(id)
		if err != nil {
			return
		}
		if want := asRegexp(pattern).MatchString(id); want != p.Match(name) {
			t.Fatalf("%q matches %q: %v, want %v", p, name, !want, want)
		}
	})
}

// asRegexp matches what the pattern does, of "id/".
func asRegexp(pattern string) slashed {
	out := "^"
	for element := range strings.SplitSeq(pattern, "/") {
		if element == "**" {
			out += "([^/]+/)*"
			continue
		}
		e := regexp.QuoteMeta(element)
		e = strings.ReplaceAll(e, `\*`, "[^/]*")
		e = strings.ReplaceAll(e, `\?`, "[^/]")
		out += e + "/"
	}
	return slashed{regexp.MustCompile(out + "$")}
}

type slashed struct{ *regexp.Regexp }

func (s slashed) MatchString(id string) bool { return s.Regexp.MatchString(id + "/") }
