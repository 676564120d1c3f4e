package sdp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// However carelessly an offer is written, it is read as if it were not.
func TestParseIgnoresHowLinesAreWritten(t *testing.T) {
	const good = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nb=AS:1\r\nt=0 0\r\na=group:BUNDLE 0\r\n" +
		"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\n"
	for name, offer := range map[string]string{
		"no last line break": strings.TrimSuffix(good, "\r\n"),
		"line feeds":         strings.ReplaceAll(good, "\r", ""),
		"mixed":              strings.Replace(good, "\r\n", "\n", 3),
		"byte order mark":    "\ufeff" + good,
		"spaces at the end":  strings.ReplaceAll(good, "\r\n", " \t\r\n"),
		"empty lines":        strings.ReplaceAll(good, "\r\n", "\r\n\r\n"),
		"no name":            strings.Replace(good, "s=-\r\n", "", 1),
		"no time":            strings.Replace(good, "t=0 0\r\n", "", 1),
		"neither":            strings.NewReplacer("s=-\r\n", "", "t=0 0\r\n", "").Replace(good),
		"empty name":         strings.Replace(good, "s=-", "s=", 1),
		"a name of a space":  strings.Replace(good, "s=-", "s= ", 1),
		"a negative origin":  strings.Replace(good, "o=- 1 2", "o=- -4962303333179871722 2", 1),
		"a long origin":      strings.Replace(good, "o=- 1 2", "o=- 99999999999999999999 2", 1),
		"an odd origin":      strings.Replace(good, "o=- 1 2 IN IP4 127.0.0.1", "o=phone", 1),
		"two origins":        strings.Replace(good, "o=- 1 2", "o=- 0 0 IN IP4 0.0.0.0\r\no=- 1 2", 1),
		"an odd time":        strings.Replace(good, "t=0 0", "t=now -", 1),
		"no address":         strings.Replace(good, "c=IN IP4 0.0.0.0", "c=", 2),
		"a bandwidth":        strings.ReplaceAll(good, "a=mid", "b=AS:2500.5\r\nb=TIAS:-1\r\nb=CT:NaN\r\nb=X-YZ:1\r\nb=ZZ:1:2\r\na=mid"),
		"titles":             strings.NewReplacer("c=IN IP4 0.0.0.0\r\nb", "i=x\r\nu=:%\r\ne=a\r\ne=b\r\np=c\r\nb", "a=mid", "i=camera\r\nk=clear:x\r\na=mid").Replace(good),
		"repetitions":        strings.Replace(good, "t=0 0", "t=0 0\r\nr=x\r\nt=1 2\r\nz=y", 1),
	} {
		o, err := Parse(offer)
		require.NoError(t, err, name)
		require.Len(t, o.Media, 1)
		require.Equal(t, "0", o.Media[0].Mid)
		require.Equal(t, []string{"BUNDLE 0"}, o.Attributes("group"))
		require.Len(t, o.Media[0].Codecs, 1)
		require.True(t, o.Media[0].Sends && !o.Media[0].Receives)
	}
	for _, bad := range []string{"", " ", "\n", "hello", "v=0\r\n", "\ufeff", "s=-\r\nt=0 0\r\n", strings.Replace(good, "s=-\r\n", "s=-\r\x00\r\n", 1)} {
		_, err := Parse(bad)
		require.ErrorIs(t, err, cdn.ErrInvalid, "%q", bad)
		var e *cdn.Error
		require.ErrorAs(t, err, &e)
		require.NotEmpty(t, e.Detail, "the client is told")
	}
}

// What browsers write is not touched.
func TestTidyLeavesGoodOffersAlone(t *testing.T) {
	files, err := filepath.Glob("../viewer/testdata/offers/*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	touched := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		if tidy(string(text)) != string(text) {
			touched++
		}
	}
	require.Less(t, touched, len(files)/10)
}

// The time that an offer takes grows with its length, and not with the square of it: then this
// test would take a quarter of an hour, and not a fraction of a second, and time out.
func TestTidyIsLinear(t *testing.T) {
	const lines = 250_000
	for _, line := range []string{"a=x\n", "t=0 0\n"} {
		got := tidy("v=0\n" + strings.Repeat("a=x\n", lines) + strings.Repeat(line, lines))
		require.GreaterOrEqual(t, strings.Count(got, "a=x\r\n"), lines, "%q", line)
	}
}

// recorded returns the offers of clients in the field: viewers' and publishers'.
func recorded(t testing.TB) (all []string) {
	for _, pattern := range []string{"../viewer/testdata/offers/*.sdp", "../receive/testdata/offers/*.sdp"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, name := range files {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			all = append(all, string(text))
		}
	}
	return all
}

func FuzzTidy(f *testing.F) {
	for _, offer := range recorded(f) {
		f.Add(offer)
	}
	f.Add("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 X 0\r\n")
	f.Add("\ufeffo=\n\nm= \ta=\n")
	f.Fuzz(func(t *testing.T, desc string) {
		once := tidy(desc)
		require.Equal(t, once, tidy(once))
	})
}
