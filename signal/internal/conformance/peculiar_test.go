package conformance

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What clients in the field send that others do not. The inputs are from
// tinywhip #2 and SRS #3581 (OBS), atm0s-media-server #176 (media types), and
// Eyevinn/whip #99, #10 and #140. Right is 201, but for a type that is not SDP
// (415) and a body that is none (400): nothing is a reason to refuse that the
// request does not ask for.
func TestPeculiarPublishers(t *testing.T) {
	const sdp = "application/sdp"
	s := serve(t, false, nil)
	target := &Target{}
	plain := target.offer()
	lines := func(edit func(line string) string) string {
		var b strings.Builder
		for line := range strings.SplitAfterSeq(plain, "\r\n") {
			b.WriteString(edit(line))
		}
		return b.String()
	}
	without := func(prefix string) string {
		return lines(func(line string) string {
			if strings.HasPrefix(line, prefix) {
				return ""
			}
			return line
		})
	}
	replaced := func(prefix, by string) string {
		return lines(func(line string) string {
			if strings.HasPrefix(line, prefix) {
				return by + "\r\n"
			}
			return line
		})
	}
	for _, c := range []struct {
		name   string
		path   string // "": /whip/live
		kind   string
		header string
		offer  string // "": plain
		status int    // 0: 201
	}{
		{name: "charset in the media type", kind: "application/sdp; charset=utf-8"},
		{name: "media type in capitals", kind: "Application/SDP"},
		{name: "a parameter without a value", kind: "application/sdp; charset"},
		{name: "a semicolon at the end", kind: "application/sdp;"},
		{name: "no media type", kind: "-", status: http.StatusUnsupportedMediaType},
		{name: "text/plain", kind: "text/plain", status: http.StatusUnsupportedMediaType},
		{name: "continue is expected", header: "Expect: 100-continue"},
		{name: "trailing slash", path: "/whip/live/"},
		{name: "query of a player", path: "/whip/live?token=1&x=%2F"},
		{name: "bearer in small letters", header: "Authorization: bearer abc"},
		{name: "Bearer with nothing", header: "Authorization: Bearer "},
		{name: "Bearer alone", header: "Authorization: Bearer"},
		{name: "Basic", header: "Authorization: Basic dTpw"},
		{name: "line feeds alone", offer: strings.ReplaceAll(plain, "\r", "")},
		{name: "no last line break", offer: strings.TrimSuffix(plain, "\r\n")},
		{name: "several line breaks at the end", offer: plain + "\r\n\r\n"},
		{name: "byte order mark", offer: "\ufeff" + plain},
		{name: "a space at the end of each line", offer: strings.ReplaceAll(plain, "\r\n", " \r\n")},
		{name: "c=IN IP6", offer: replaced("c=", "c=IN IP6 ::")},
		{name: "session name in UTF-8", offer: replaced("s=", "s=Wohnzimmer ä")},
		{name: "empty session name", offer: replaced("s=", "s=")},
		{name: "no t= line", offer: without("t=")},
		{name: "no s= line", offer: without("s=")},
		{name: "b=AS and b=TIAS", offer: lines(func(line string) string {
			if strings.HasPrefix(line, "c=") {
				return line + "b=AS:6000\r\nb=TIAS:6000000\r\n"
			}
			return line
		})},
		{name: "b=AS of a fraction", offer: lines(func(line string) string {
			if strings.HasPrefix(line, "c=") {
				return line + "b=AS:2500.5\r\n"
			}
			return line
		})},
		{name: "o= with a negative number", offer: replaced("o=", "o=- -4962303333179871722 1 IN IP4 127.0.0.1")},
		{name: "two spaces in a=fmtp", offer: strings.NewReplacer("fmtp:111 ", "fmtp:111  ", "fmtp:97 ", "fmtp:97  ").Replace(plain)},
		{name: "no SDP", offer: "hello\r\n", status: http.StatusBadRequest},
		{name: "HTML", offer: "<html></html>", status: http.StatusBadRequest},
		{name: "JSON with a description", offer: `{"type":"offer","sdp":"v=0\r\n"}`, status: http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer target.clean(t.Context())
			or := func(value, otherwise string) string {
				if value == "" {
					return otherwise
				}
				return value
			}
			header := []string{"Content-Type: " + strings.TrimPrefix(or(c.kind, sdp), "-")}
			if c.header != "" {
				header = append(header, c.header)
			}
			resp, err := target.do(t.Context(), http.MethodPost, s.URL+or(c.path, "/whip/live"), or(c.offer, plain), header...)
			require.NoError(t, err)
			if c.status == 0 {
				c.status = http.StatusCreated
			}
			require.Equal(t, c.status, resp.StatusCode, resp.body)
			if session, err := resp.Location(); err == nil {
				target.made = append(target.made, session.String())
			}
		})
	}
	t.Run("chunked", func(t *testing.T) {
		resp, err := http.Post(s.URL+"/whip/live", sdp, struct{ *strings.Reader }{strings.NewReader(plain)})
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		require.Equal(t, http.StatusCreated, resp.StatusCode)
		session, err := resp.Location()
		require.NoError(t, err)
		target.made = append(target.made, session.String())
		target.clean(t.Context())
	})
}
