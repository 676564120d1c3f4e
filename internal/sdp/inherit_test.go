package sdp

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An offer that says the same in another way is read the same.
func TestOddlyWrittenOffers(t *testing.T) {
	good := read(t, "chromium.sdp")
	lines := func(edit func([]string) []string) string {
		return strings.Join(edit(strings.Split(strings.TrimSuffix(good, "\r\n"), "\r\n")), "\r\n") + "\r\n"
	}
	drop := func(prefix string) string {
		return lines(func(all []string) []string {
			return slices.DeleteFunc(all, func(l string) bool { return strings.HasPrefix(l, prefix) })
		})
	}
	want := parse(t, good)
	for name, offer := range map[string]string{
		"line feeds alone":       strings.ReplaceAll(good, "\r\n", "\n"),
		"no last line break":     strings.TrimSuffix(good, "\r\n"),
		"no last line feed":      strings.TrimSuffix(good, "\n"),
		"a byte order mark":      "\ufeff" + good,
		"spaces at the ends":     strings.ReplaceAll(good, "\r\n", " \t\r\n"),
		"empty lines":            "\r\n" + strings.ReplaceAll(good, "\r\nm=", "\r\n\r\nm=") + "\r\n\r\n",
		"no session name":        drop("s="),
		"an empty session name":  strings.Replace(good, "s=-", "s=", 1),
		"a session name":         strings.Replace(good, "s=-", "s=Wohnzimmer ä", 1),
		"no timing":              drop("t="),
		"no origin":              drop("o="),
		"no lines but what says": strings.Replace(strings.Replace(drop("o="), "s=-\r\n", "", 1), "t=0 0\r\n", "", 1),
		"attributes come early": lines(func(all []string) []string {
			return slices.Insert(all, 1, "a=x-early:1")
		}),
		"a connection behind attributes": lines(func(all []string) []string {
			i := slices.IndexFunc(all, func(l string) bool { return strings.HasPrefix(l, "a=mid:1") })
			return slices.Insert(all, i, "b=AS:6000", "b=TIAS:6000000")
		}),
		"IPv6":                strings.ReplaceAll(good, "c=IN IP4 0.0.0.0", "c=IN IP6 ::"),
		"two spaces in fmtp":  strings.ReplaceAll(good, "a=fmtp:111 ", "a=fmtp:111  "),
		"bandwidth, no c=":    strings.ReplaceAll(good, "c=IN IP4 0.0.0.0\r\n", "b=AS:1000\r\n"),
		"lines in odd places": strings.Replace(good, "s=-\r\nt=0 0\r\n", "t=0 0\r\ns=-\r\n", 1),
	} {
		got, err := Parse(offer)
		require.NoError(t, err, name)
		require.Len(t, got.Media, len(want.Media), name)
		for i, m := range got.Media {
			w := want.Media[i]
			require.Equal(t, w.Mid, m.Mid, name)
			require.Equal(t, w.Codecs, m.Codecs, name)
			require.Equal(t, w.Extensions, m.Extensions, name)
			require.Equal(t, w.Rids, m.Rids, name)
			require.Equal(t, []bool{w.Sends, w.Receives}, []bool{m.Sends, m.Receives}, name)
		}
	}
}

// Where no direction is given, sendrecv is meant, and one at session level is for
// all m-sections without their own (RFC 8866 section 6.7, RFC 3264 section 5.1). A
// PeerConnection is told the same: it answers each m-section.
func TestDirections(t *testing.T) {
	for name, tc := range map[string]struct {
		session, first, second string
		sends, receives        [2]bool
	}{
		"none":                   {"", "", "", [2]bool{true, true}, [2]bool{true, true}},
		"of the session":         {"sendonly", "", "", [2]bool{true, true}, [2]bool{false, false}},
		"of the session, to us":  {"recvonly", "", "", [2]bool{false, false}, [2]bool{true, true}},
		"an own one counts":      {"recvonly", "sendonly", "", [2]bool{true, false}, [2]bool{false, true}},
		"an own one, inactive":   {"sendrecv", "inactive", "sendrecv", [2]bool{false, true}, [2]bool{false, true}},
		"none of the session":    {"", "sendonly", "", [2]bool{true, true}, [2]bool{false, true}},
		"inactive, but for one":  {"inactive", "", "sendonly", [2]bool{false, true}, [2]bool{false, false}},
		"sendrecv in one, alone": {"sendonly", "sendrecv", "", [2]bool{true, true}, [2]bool{true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			offer := strings.ReplaceAll(read(t, "chromium.sdp"), "a=sendonly\r\n", "")
			line := func(direction string) string {
				if direction == "" {
					return ""
				}
				return "a=" + direction + "\r\n"
			}
			offer = strings.Replace(offer, "t=0 0\r\n", "t=0 0\r\n"+line(tc.session), 1)
			offer = strings.Replace(offer, "a=mid:0\r\n", "a=mid:0\r\n"+line(tc.first), 1)
			offer = strings.Replace(offer, "a=mid:1\r\n", "a=mid:1\r\n"+line(tc.second), 1)
			o := parse(t, offer)
			var choices []Choice
			for i, m := range o.Media[:2] {
				require.Equal(t, tc.sends[i], m.Sends)
				require.Equal(t, tc.receives[i], m.Receives)
				if m.Sends {
					choices = append(choices, Choice{Media: m, Codec: m.Codecs[0]})
				}
			}
			if len(choices) == 0 {
				return
			}
			sdp, engine, err := o.Reduce(choices)
			require.NoError(t, err)
			answer := o.Restore(answerTo(t, sdp, engine), choices)
			sections := strings.Split(answer, "\r\nm=")[1:]
			require.Len(t, sections, len(o.Media))
			for i, sends := range tc.sends {
				require.Equal(t, sends, strings.Contains(sections[i], "a=recvonly"), sections[i])
			}
		})
	}
}

// What stands at session level counts for each m-section that has none of its own.
func TestSessionLevelAttributes(t *testing.T) {
	const level = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
	offer := read(t, "chromium.sdp")
	o := parse(t, offer)
	var moved string
	for _, name := range []string{"ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup", "rtcp-mux"} {
		value, ok := o.Media[0].Attribute(name)
		require.True(t, ok, name)
		line := "a=" + name + ":" + value + "\r\n"
		if value == "" {
			line = "a=" + name + "\r\n"
		}
		require.Contains(t, offer, line)
		offer = strings.ReplaceAll(offer, line, "")
		moved += line
	}
	offer = strings.ReplaceAll(offer, level, "")
	moved += level + "a=extmap:13 urn:not-taken\r\n"
	got := parse(t, strings.Replace(offer, "t=0 0\r\n", "t=0 0\r\n"+moved, 1))
	for i, m := range got.Media[:2] {
		for _, name := range []string{"ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup", "rtcp-mux"} {
			want, _ := o.Media[0].Attribute(name)
			v, ok := m.Attribute(name)
			require.True(t, ok, name)
			require.Equal(t, want, v, name)
		}
		require.Equal(t, uint8(1), m.Extensions["urn:ietf:params:rtp-hdrext:ssrc-audio-level"])
		if i == 1 {
			require.Equal(t, uint8(13), m.Extensions["urn:3gpp:video-orientation"], "an id of its own counts")
			require.NotContains(t, m.Extensions, "urn:not-taken")
		}
	}
	choices := []Choice{
		{Media: got.Media[0], Codec: got.Media[0].Codecs[0]}, {Media: got.Media[1], Codec: got.Media[1].Codecs[0]},
	}
	sdp, engine, err := got.Reduce(choices)
	require.NoError(t, err)
	require.Contains(t, got.Restore(answerTo(t, sdp, engine), choices), "m=video 9 UDP/TLS/RTP/SAVPF 96")
}

// Of several tracks, or layers, in one m-section (Plan B) the first is taken, and
// what repairs it.
func TestOlderLayoutsAreNotRefused(t *testing.T) {
	const ids = " cname:x\r\n"
	for name, lines := range map[string]string{
		"layers": "a=ssrc-group:SIM 1 2 3\r\na=ssrc-group:FID 1 11\r\na=ssrc-group:FID 2 12\r\na=ssrc-group:FID 3 13\r\n" +
			"a=ssrc:1" + ids + "a=ssrc:2" + ids + "a=ssrc:3" + ids + "a=ssrc:11" + ids + "a=ssrc:12" + ids + "a=ssrc:13" + ids,
		"tracks": "a=ssrc-group:FID 1 11\r\na=ssrc:1 msid:s one\r\na=ssrc:11 msid:s one\r\n" +
			"a=ssrc-group:FID 2 12\r\na=ssrc:2 msid:s two\r\na=ssrc:12 msid:s two\r\n",
		"repair first":   "a=ssrc-group:FID 1 11\r\na=ssrc:11" + ids + "a=ssrc:1" + ids + "a=ssrc:2" + ids,
		"without groups": "a=ssrc:1" + ids + "a=ssrc:2" + ids,
	} {
		t.Run(name, func(t *testing.T) {
			offer := read(t, "chromium.sdp")
			for _, prefix := range []string{"a=simulcast", "a=rid:"} {
				offer = strings.Join(slices.DeleteFunc(strings.Split(offer, "\r\n"), func(l string) bool { return strings.HasPrefix(l, prefix) }), "\r\n")
			}
			offer = strings.ReplaceAll(offer, "a=mid:1\r\n", "a=mid:video\r\n"+lines)
			offer = strings.ReplaceAll(offer, "BUNDLE 0 1", "BUNDLE 0 video")
			o := parse(t, offer)
			choices := []Choice{{Media: o.Media[1], Codec: o.Media[1].Codecs[0]}}
			sdp, engine, err := o.Reduce(choices)
			require.NoError(t, err)
			require.Contains(t, sdp, "a=ssrc:1 ")
			require.NotContains(t, sdp, "a=ssrc:2 ")
			require.NotContains(t, sdp, "SIM")
			require.Contains(t, o.Restore(answerTo(t, sdp, engine), choices), "a=recvonly")
		})
	}
}
