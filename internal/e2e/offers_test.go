package delta_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// Offers that say what they mean in another way than browsers do are answered
// m-section by m-section, and media flows: without directions, or with one for the
// session (RFC 8866 section 6.7), with everything about the transport at session
// level, and oddly written (kevmo314/tinywhip issue 2, pion/webrtc issue 1715).
func TestOffersInOtherWords(t *testing.T) {
	undirected := func(s string) string { return dropLines(s, "a=sendrecv", "a=sendonly", "a=recvonly") }
	session := func(line string) func(string) string {
		return func(s string) string { return strings.Replace(s, "t=0 0\r\n", "t=0 0\r\n"+line+"\r\n", 1) }
	}
	// raise moves lines of the m-sections to session level.
	raise := func(s string, prefixes ...string) string {
		for _, prefix := range prefixes {
			i := strings.Index(s, "\r\n"+prefix) + 2
			line := s[i : i+strings.Index(s[i:], "\r\n")]
			s = session(line)(dropLines(s, prefix))
		}
		return s
	}
	same := func(edit func(string) string) [2]func(string) string { return [2]func(string) string{edit, edit} }
	for name, edit := range map[string][2]func(string) string{ // the publisher's, the viewer's
		"no direction": same(undirected),
		"a direction of the session": {
			func(s string) string { return session("a=sendonly")(undirected(s)) },
			func(s string) string { return session("a=recvonly")(undirected(s)) },
		},
		"sendrecv of the session": same(func(s string) string { return session("a=sendrecv")(undirected(s)) }),
		"transport of the session": same(func(s string) string {
			return raise(s, "a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup")
		}),
		"line feeds alone":   same(func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }),
		"no last line break": same(func(s string) string { return strings.TrimSuffix(s, "\r\n") }),
		"a byte order mark":  same(func(s string) string { return "\ufeff" + s }),
		"spaces at the ends": same(func(s string) string { return strings.ReplaceAll(s, "\r\n", " \r\n") }),
		"no s= and t= lines": same(func(s string) string { return dropLines(s, "s=", "t=") }),
		"empty s= line":      same(func(s string) string { return strings.Replace(s, "s=-", "s=", 1) }),
	} {
		for hop, where := range map[bool]string{false: "origin", true: "hop"} {
			t.Run(name+", "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					path := cdntest.Path{Delay: ms(5)}
					o := w.origin("origin", path, origin.Config{})
					at := o
					if hop {
						at = w.edge("edge", path, edge.Config{}, o)
					}
					a, v := opusTrack(), videoTrack(webrtc.MimeTypeVP8)
					p, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), nil, edit[0], a, v)
					require.NoError(t, err)
					require.Equal(t, 2, strings.Count(p.answer, "\r\nm="))
					var view *rawViewer
					start := time.Now()
					for n := range 40 {
						time.Sleep(time.Until(start.Add(time.Duration(n) * 50 * time.Millisecond)))
						_ = a.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 2400)}, make([]byte, 60))
						_ = v.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 4500), Marker: true}, vp8Picture(n%20 == 0, n))
						if n == 10 {
							view, err = rawView(t, w, at, "live", w.network.Host("view", path), nil, edit[1], webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo)
							require.NoError(t, err)
							require.Equal(t, 2, strings.Count(view.answer, "\r\nm="))
						}
					}
					require.NotEmpty(t, view.packets("audio"))
					require.NotEmpty(t, view.packets("video"))
				})
			})
		}
	}
}
