package viewer_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	pionsdp "github.com/pion/sdp/v3"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/viewer"
)

// A sample is an offer in testdata/offers and what there is in it.
type sample struct {
	// sections are in the offer's order. Those in parentheses are inactive;
	// those in brackets are stopped, or are data channels.
	sections string
	video    string // which of VP8 and H264 (constrained baseline, mode 1) it takes
	// unbundled: what it asks for is more than one transport.
	unbundled bool
}

var corpus = map[string]sample{
	"chromium-video-audio":      {sections: "video audio", video: "VP8 H264"},
	"chromium-gathered":         {sections: "audio video", video: "VP8 H264"},
	"chromium-audio":            {sections: "audio"},
	"chromium-video":            {sections: "video", video: "VP8 H264"},
	"chromium-data":             {sections: "video audio [application]", video: "VP8 H264"},
	"chromium-data-first":       {sections: "audio video [application]", video: "VP8 H264"},
	"chromium-two-videos":       {sections: "video video audio", video: "VP8 H264"},
	"chromium-max-compat":       {sections: "audio video", video: "VP8 H264"},
	"chromium-max-bundle":       {sections: "video audio", video: "VP8 H264"},
	"chromium-stereo":           {sections: "audio video", video: "VP8 H264"},
	"chromium-extensions":       {sections: "audio video", video: "VP8 H264"},
	"chromium-h264-only":        {sections: "video audio", video: "H264"},
	"chromium-sendrecv":         {sections: "audio video", video: "VP8 H264"},
	"chromium-inactive":         {sections: "(audio) video", video: "VP8 H264"},
	"chromium-stopped":          {sections: "[video] audio video", video: "VP8 H264"},
	"chromium-offer-to-receive": {sections: "audio video", video: "VP8 H264"},

	"firefox-video-audio": {sections: "video audio", video: "VP8"},
	"firefox-gathered":    {sections: "audio video", video: "VP8"},
	"firefox-audio":       {sections: "audio"},
	"firefox-video":       {sections: "video", video: "VP8"},
	"firefox-data":        {sections: "video audio [application]", video: "VP8"},
	"firefox-data-first":  {sections: "audio video [application]", video: "VP8"},
	"firefox-two-videos":  {sections: "video video audio", video: "VP8"},
	"firefox-max-compat":  {sections: "video audio", video: "VP8"},
	"firefox-max-bundle":  {sections: "video audio", video: "VP8"},
	"firefox-stereo":      {sections: "audio video", video: "VP8"},
	"firefox-sendrecv":    {sections: "audio video", video: "VP8"},
	"firefox-inactive":    {sections: "(audio) video", video: "VP8"},
	"firefox-stopped":     {sections: "[video] audio video", video: "VP8"},

	"pion-video-audio": {sections: "video audio", video: "VP8 H264"},
	"pion-ungathered":  {sections: "video audio", video: "VP8 H264"},
	"pion-audio":       {sections: "audio"},
	"pion-video":       {sections: "video", video: "VP8 H264"},
	"pion-data":        {sections: "video audio [application]", video: "VP8 H264"},
	"pion-max-bundle":  {sections: "audio video", video: "VP8 H264"},
	"pion-max-compat":  {sections: "audio video", video: "VP8 H264"},
	"pion-bare":        {sections: "video audio", video: "VP8"},

	"gstreamer-default":    {sections: "video audio", video: "VP8", unbundled: true},
	"gstreamer-balanced":   {sections: "video audio", video: "VP8", unbundled: true},
	"gstreamer-max-bundle": {sections: "video audio", video: "VP8"},
	"gstreamer-max-compat": {sections: "video audio", video: "VP8"},
	"gstreamer-nack":       {sections: "video audio", video: "H264"},
	"gstreamer-two-codecs": {sections: "video audio", video: "VP8 H264"},
	"gstreamer-audio":      {sections: "audio"},
	"gstreamer-video":      {sections: "video", video: "H264"},
	"gstreamer-data":       {sections: "video audio [application]", video: "H264"},

	"aiortc-video-audio": {sections: "video audio", video: "VP8 H264"},
	"aiortc-ungathered":  {sections: "audio video", video: "VP8 H264"},
	"aiortc-audio":       {sections: "audio"},
	"aiortc-video":       {sections: "video", video: "VP8 H264"},
	"aiortc-data":        {sections: "audio video [application]", video: "VP8 H264"},

	"libwebrtc-video-audio":        {sections: "video audio", video: "VP8"},
	"libwebrtc-gathered":           {sections: "audio video", video: "VP8"},
	"libwebrtc-data":               {sections: "audio video [application]", video: "VP8"},
	"libwebrtc-plan-b":             {sections: "audio video", video: "VP8"},
	"libwebrtc-rtcp-mux-negotiate": {sections: "audio video", video: "VP8"},

	"werift-video-audio": {sections: "video audio", video: "VP8"},
	"werift-max-bundle":  {sections: "audio video", video: "VP8"},
	"werift-disable":     {sections: "audio video", video: "VP8", unbundled: true},
	"werift-data":        {sections: "audio video [application]", video: "VP8"},

	"handwritten-safari":    {sections: "video audio", video: "VP8 H264"},
	"handwritten-safari-12": {sections: "audio video", video: "VP8 H264"},
	"handwritten-ios":       {sections: "audio video", video: "VP8 H264"},
	"handwritten-savpf":     {sections: "audio video", video: "VP8 H264"},
	"handwritten-directed":  {sections: "audio video", video: "VP8 H264"},
}

func (s sample) takes(track cdn.TrackInfo) bool {
	_, name, _ := strings.Cut(track.Codec.MimeType, "/")
	return track.Kind == cdn.Audio || slices.Contains(strings.Fields(s.video), name)
}

// answered is what the sections of an answer to s are, if the stream has
// tracks, and how many are sent.
func (s sample) answered(tracks []cdn.TrackInfo) (sections []string, sent int) {
	left := slices.Clone(tracks)
	first := !s.unbundled // that is not stopped: its transport is the bundle's
	for _, kind := range strings.Fields(s.sections) {
		i := slices.IndexFunc(left, func(t cdn.TrackInfo) bool { return t.Kind.String() == kind && s.takes(t) })
		switch {
		case i >= 0:
			left = slices.Delete(left, i, i+1)
			sent++
		case kind[0] != '[' && first:
			kind = "(" + strings.Trim(kind, "()") + ")"
		default:
			kind = "[" + strings.Trim(kind, "[]()") + "]"
		}
		sections = append(sections, kind)
		first = first && kind[0] == '['
	}
	return sections, sent
}

// streams are what viewers ask for.
var streams = func() map[cdn.StreamID][]cdn.TrackInfo {
	video, audio := vp8, opus
	video.Extensions = []string{"urn:3gpp:video-orientation", "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"}
	audio.Extensions = []string{"urn:ietf:params:rtp-hdrext:ssrc-audio-level", "urn:ietf:params:rtp-hdrext:csrc-audio-level"}
	h264 := video
	h264.Codec = cdn.Codec{
		MimeType: "video/H264", ClockRate: 90000,
		Fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
	}
	return map[cdn.StreamID][]cdn.TrackInfo{"vp8": {video, audio}, "h264": {h264, audio}, "video": {video}, "audio": {audio}}
}()

// shelf is a node with each of the streams.
func shelf(t testing.TB) (*cdn.Node, map[cdn.StreamID]*cdn.Stream) {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	all := map[cdn.StreamID]*cdn.Stream{}
	for id, tracks := range streams {
		stream, err := node.NewStream(id)
		require.NoError(t, err)
		in, err := stream.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		require.NoError(t, in.Start(tracks))
		all[id] = stream
	}
	return node, all
}

func answerTo(node *cdn.Node, stream *cdn.Stream, offer string) (string, error) {
	s, err := viewer.Answer(viewer.Config{Stream: stream, Transport: node.Internal(), Log: node.Internal().PionLog}, offer)
	if err != nil {
		return "", err
	}
	return s.SDP(), s.Close()
}

func readOffers(t testing.TB) map[string]string { return readOffersOf(t, "testdata/offers") }

func readOffersOf(t testing.TB, dir string) map[string]string {
	files, err := filepath.Glob(filepath.Join(dir, "*.sdp"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := map[string]string{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		all[strings.TrimSuffix(filepath.Base(name), ".sdp")] = string(b)
	}
	return all
}

// What clients really send is answered, and the answer is one to that offer.
func TestCorpus(t *testing.T) {
	node, all := shelf(t)
	offers := readOffers(t)
	for name := range corpus {
		require.Contains(t, offers, name)
	}
	for name, offer := range offers {
		t.Run(name, func(t *testing.T) {
			s, ok := corpus[name]
			require.True(t, ok, "an offer that the table does not have")
			for id, tracks := range streams {
				want, sent := s.answered(tracks)
				answer, err := answerTo(node, all[id], offer)
				switch {
				case sent == 0:
					require.ErrorIs(t, err, cdn.ErrNoCommonCodec, id)
				case s.unbundled && sent > 1:
					require.ErrorIs(t, err, cdn.ErrInvalid, id)
				default:
					require.NoError(t, err, id)
					require.Equal(t, want, sections(t, answer), id)
					requireFits(t, offer, answer)
					requireOne(t, answer)
				}
			}
		})
	}
}

// What clients really send is answered before it is known what the stream has,
// and whatever that then is can be sent.
func TestCorpusBeforeTheStream(t *testing.T) {
	node, all := shelf(t)
	for name, offer := range readOffers(t) {
		t.Run(name, func(t *testing.T) {
			s := corpus[name]
			for id, tracks := range streams {
				session, err := answerBefore(node, offer)
				if s.unbundled {
					require.ErrorIs(t, err, cdn.ErrUnsupported, "it may need two transports")
					return
				}
				require.NoError(t, err, id)
				require.Equal(t, s.answeredBefore(), sections(t, session.SDP()), id)
				requireFits(t, offer, session.SDP())
				requireAll(t, offer, session.SDP())
				_, sent := s.answered(tracks)
				err = session.Play(all[id])
				picture := slices.ContainsFunc(tracks, func(t cdn.TrackInfo) bool { return t.Kind == cdn.Video && s.takes(t) })
				switch {
				case sent == 0:
					require.ErrorIs(t, err, cdn.ErrNoCommonCodec, id)
				case strings.Contains(" "+s.sections, " video") && !picture:
					require.ErrorIs(t, err, viewer.ErrNoVideo, id)
				default:
					require.NoError(t, err, id)
				}
				require.NoError(t, session.Close())
			}
		})
	}
}

func answerBefore(node *cdn.Node, offer string) (*viewer.Session, error) {
	return viewer.Answer(viewer.Config{Transport: node.Internal(), Log: node.Internal().PionLog}, offer)
}

// requireOne checks that there is one format for media in each section, and no
// more than one each for its retransmissions and for sound with redundancy.
func requireOne(t *testing.T, answer string) {
	for _, m := range parse(t, answer).MediaDescriptions {
		if m.MediaName.Media == "application" {
			continue
		}
		allowed := []string{"rtx"}
		if m.MediaName.Media == "audio" {
			allowed = append(allowed, "red")
		}
		for _, format := range m.MediaName.Formats[1:] {
			name, _, _ := strings.Cut(values(m.Attributes, "rtpmap", format)[0], "/")
			at := slices.Index(allowed, name)
			require.GreaterOrEqual(t, at, 0, name)
			allowed = slices.Delete(allowed, at, at+1)
		}
	}
}

// answeredBefore is what the sections of an answer to s are that is made before
// the stream is ready.
func (s sample) answeredBefore() (sections []string) {
	first := true // that is not stopped
	for _, kind := range strings.Fields(s.sections) {
		if kind[0] == '(' && !first || kind == "[application]" {
			kind = "[" + strings.Trim(kind, "[]()") + "]"
		}
		sections = append(sections, kind)
		first = first && kind[0] == '['
	}
	return sections
}

// requireAll checks that an answer has all formats of the sections in which it
// sends that carry media, their retransmissions, and the feedback; and the header
// extensions that the offerer takes.
func requireAll(t *testing.T, offer, answer string) {
	o, a := parse(t, offer), parse(t, answer)
	no := regexp.MustCompile(`(?i)^(red|ulpfec|flexfec|flexfec-03|CN|telephone-event)/`)
	for i, theirs := range o.MediaDescriptions {
		ours := a.MediaDescriptions[i]
		if !has(ours.Attributes, "sendonly") {
			continue
		}
		for _, v := range values(theirs.Attributes, "extmap", "") {
			f := strings.Fields(v)
			_, way, _ := strings.Cut(f[0], "/")
			if takes := way == "" || way == "sendrecv" || way == "recvonly"; takes && len(f) == 2 && sdp.TravelsOn(f[1]) {
				require.Contains(t, strings.Join(values(ours.Attributes, "extmap", ""), "\n"), f[1])
			}
		}
		for _, pt := range theirs.MediaName.Formats {
			if strings.HasPrefix(last(values(theirs.Attributes, "rtpmap", pt)), "red/48000") { // of Opus
				require.Equal(t, values(theirs.Attributes, "fmtp", pt), values(ours.Attributes, "fmtp", pt))
				continue
			}
			if no.MatchString(last(values(theirs.Attributes, "rtpmap", pt))) || redundant(theirs, pt) {
				require.NotContains(t, ours.MediaName.Formats, pt)
				continue
			}
			require.Contains(t, ours.MediaName.Formats, pt)
			for _, fb := range values(theirs.Attributes, "rtcp-fb", pt) {
				if strings.HasPrefix(last(values(theirs.Attributes, "rtpmap", pt)), "rtx/") {
					break // which pion says, and means nothing
				}
				if fb == "nack" || fb == "nack pli" || fb == "ccm fir" {
					require.Contains(t, values(ours.Attributes, "rtcp-fb", pt), fb)
				}
			}
		}
	}
}

// redundant reports whether a format repairs another that is not there or
// carries no media itself.
func redundant(m *pionsdp.MediaDescription, pt string) bool {
	apt, ok := strings.CutPrefix(last(values(m.Attributes, "fmtp", pt)), "apt=")
	return ok && regexp.MustCompile(`(?i)^(red|)(/|$)`).MatchString(last(values(m.Attributes, "rtpmap", apt)))
}

func FuzzAnswer(f *testing.F) {
	node, all := shelf(f)
	ids := []cdn.StreamID{"vp8", "h264", "video", "audio"}
	for _, offer := range readOffers(f) {
		for i := range 2 * len(ids) {
			f.Add(offer, uint8(i))
		}
	}
	for _, offer := range readOffersOf(f, "../receive/testdata/offers") { // of publishers that come to the wrong URL
		f.Add(offer, uint8(0))
		f.Add(strings.ReplaceAll(offer, "a=sendonly", "a=recvonly"), uint8(len(ids)))
	}
	f.Fuzz(func(t *testing.T, offer string, i uint8) {
		stream := all[ids[int(i)%len(ids)]]
		fits := func(answer string) {
			// Offers are read that a strict reader refuses, and spaces at the end of a
			// line do not count.
			read := endOfLine.ReplaceAllString(offer, "$1")
			if new(pionsdp.SessionDescription).UnmarshalString(read) == nil {
				requireFits(t, read, answer)
			} else {
				parse(t, answer)
			}
		}
		answer, err := answerTo(node, stream, offer)
		if err == nil {
			fits(answer)
		}
		if int(i)%8 >= len(ids) {
			planned := err
			var before *viewer.Session
			if before, err = answerBefore(node, offer); err == nil {
				fits(before.SDP())
				err = before.Play(stream)
				if errors.Is(err, viewer.ErrNoVideo) {
					err = nil
				}
				if planned == nil { // what one was refused for, more sections may have
					require.NoError(t, err)
				}
				require.Equal(t, errors.Is(planned, cdn.ErrNoCommonCodec), errors.Is(err, cdn.ErrNoCommonCodec))
				require.NoError(t, before.Close())
			}
		}
		if err == nil {
			return
		}
		for _, one := range []error{cdn.ErrInvalid, cdn.ErrNoCommonCodec, cdn.ErrUnsupported} {
			if errors.Is(err, one) {
				return
			}
		}
		t.Fatal(err)
	})
}

var endOfLine = regexp.MustCompile(`[ \t]+(\r?\n|$)`)

func parse(t *testing.T, text string) *pionsdp.SessionDescription {
	d := &pionsdp.SessionDescription{}
	require.NoError(t, d.UnmarshalString(text), text)
	return d
}

// sections returns the kinds of the m-sections, in brackets where rejected and
// in parentheses where inactive.
func sections(t *testing.T, text string) (all []string) {
	for _, m := range parse(t, text).MediaDescriptions {
		kind := m.MediaName.Media
		switch {
		case m.MediaName.Port.Value == 0:
			kind = "[" + kind + "]"
		case has(m.Attributes, "inactive"):
			kind = "(" + kind + ")"
		}
		all = append(all, kind)
	}
	return all
}

// values returns those of the attributes named, without the payload type where
// one is given.
func values(attributes []pionsdp.Attribute, name, pt string) (all []string) {
	for _, a := range attributes {
		if a.Key != name {
			continue
		}
		if pt == "" {
			all = append(all, a.Value)
		} else if v, ok := strings.CutPrefix(a.Value, pt+" "); ok {
			all = append(all, strings.TrimSpace(v))
		}
	}
	return all
}

func has(attributes []pionsdp.Attribute, name string) bool {
	return len(values(attributes, name, "")) > 0
}

// What parts of an answer look like.
var (
	isLine         = regexp.MustCompile(`^[a-z]=[^\r\n]+$`)
	isFingerprint  = regexp.MustCompile(`^sha-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}$`)
	areCredentials = regexp.MustCompile(`^[A-Za-z0-9+/]{4,256} [A-Za-z0-9+/]{22,256}$`)
)

// requireFits checks that an answer is one to the offer (RFC 8829 section 5.3,
// RFC 3264 section 6) by a lite agent that sends (RFC 8839 section 4.2.1).
func requireFits(t *testing.T, offer, answer string) {
	lines := strings.Split(answer, "\r\n")
	require.Empty(t, lines[len(lines)-1], "each line ends")
	for _, line := range lines[:len(lines)-1] {
		if !isLine.MatchString(line) {
			require.Regexp(t, isLine, line)
		}
	}
	o, a := parse(t, offer), parse(t, answer)
	require.Len(t, a.MediaDescriptions, len(o.MediaDescriptions))
	require.Equal(t, []string{""}, values(a.Attributes, "ice-lite", ""))
	require.Len(t, values(a.Attributes, "fingerprint", ""), 1)
	require.Regexp(t, isFingerprint, values(a.Attributes, "fingerprint", "")[0])

	var mids, ssrcs, transports, addressed []string
	sent, candidates := 0, 0
	for i, theirs := range o.MediaDescriptions {
		ours := a.MediaDescriptions[i]
		require.Equal(t, theirs.MediaName.Media, ours.MediaName.Media)
		require.Equal(t, theirs.MediaName.Protos, ours.MediaName.Protos, "RFC 8829 section 5.3.1")
		require.Equal(t, first(values(theirs.Attributes, "mid", "")), first(values(ours.Attributes, "mid", "")))
		for _, no := range []string{"bundle-only", "ice-options", "simulcast", "rid", "group", "ice-lite"} {
			require.False(t, has(ours.Attributes, no), no)
		}
		if ours.MediaName.Port.Value == 0 {
			require.True(t, has(ours.Attributes, "inactive"))
			require.False(t, has(ours.Attributes, "candidate"))
			continue
		}
		requireOpen(t, o, theirs, ours)
		if !has(ours.Attributes, "inactive") {
			requireSends(t, o, theirs, ours)
			sent++
		}
		mids = append(mids, values(ours.Attributes, "mid", "")...)
		for _, s := range values(ours.Attributes, "ssrc", "") {
			require.NotContains(t, ssrcs, s)
			ssrcs = append(ssrcs, s)
		}
		transports = append(transports, first(values(ours.Attributes, "ice-ufrag", ""))+" "+first(values(ours.Attributes, "ice-pwd", "")))
		require.Equal(t, has(ours.Attributes, "candidate"), has(ours.Attributes, "end-of-candidates"))
		if has(ours.Attributes, "candidate") {
			addressed = append(addressed, values(ours.Attributes, "mid", "")...)
			candidates++
		}
	}
	require.Equal(t, 1, candidates, "one section has them for all")
	require.Positive(t, sent)
	require.Len(t, slices.Compact(transports), 1)
	require.Regexp(t, areCredentials, transports[0])
	requireBundle(t, o, a, mids, addressed)
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

func last(all []string) string { return first(all[max(0, len(all)-1):]) }

// requireBundle checks the group: what is accepted, in the order of the offer's
// (RFC 8843 section 7.3).
func requireBundle(t *testing.T, o, a *pionsdp.SessionDescription, mids, addressed []string) {
	groups := values(a.Attributes, "group", "")
	if len(groups) == 0 {
		require.LessOrEqual(t, len(mids), 1)
		return
	}
	require.Len(t, groups, 1)
	got := strings.Fields(groups[0])
	require.Equal(t, "BUNDLE", got[0])
	require.ElementsMatch(t, mids, got[1:])
	require.Equal(t, got[1:2], addressed)
	require.True(t, slices.ContainsFunc(values(o.Attributes, "group", ""), func(offered string) bool {
		left := slices.DeleteFunc(strings.Fields(offered), func(one string) bool { return !slices.Contains(got, one) })
		return slices.Equal(left, got)
	}), "what was not offered as a bundle is none")
}

// requireRole checks that we wait for the other side's DTLS unless it waits for ours (RFC 8842
// section 5.3).
func requireRole(t *testing.T, o *pionsdp.SessionDescription, theirs, ours *pionsdp.MediaDescription) {
	offered := values(theirs.Attributes, "setup", "")
	if len(offered) == 0 {
		offered = values(o.Attributes, "setup", "")
	}
	role := values(ours.Attributes, "setup", "")
	require.Len(t, role, 1)
	switch role[0] {
	case "active":
		require.Contains(t, offered, "passive")
	case "passive":
		require.False(t, len(offered) > 0 && offered[len(offered)-1] == "passive", "nobody begins")
	default:
		require.Fail(t, "no role of an answer", role[0])
	}
}

// requireOpen checks an m-section that is not rejected.
func requireOpen(t *testing.T, o *pionsdp.SessionDescription, theirs, ours *pionsdp.MediaDescription) {
	require.True(t, theirs.MediaName.Port.Value != 0 || has(theirs.Attributes, "bundle-only"))
	requireRole(t, o, theirs, ours)
	require.True(t, has(ours.Attributes, "rtcp-mux"))
	require.Equal(t, has(theirs.Attributes, "rtcp-rsize"), has(ours.Attributes, "rtcp-rsize"))
	for _, no := range []string{"sendrecv", "recvonly"} {
		require.False(t, has(ours.Attributes, no), no)
	}
	require.True(t, has(ours.Attributes, "sendonly") != has(ours.Attributes, "inactive"))
	for _, pt := range ours.MediaName.Formats {
		requireIn(t, theirs.MediaName.Formats, pt)
		require.Len(t, values(ours.Attributes, "rtpmap", pt), 1)
		if offered := values(theirs.Attributes, "rtpmap", pt); len(offered) > 0 {
			require.Equal(t, format(ours.MediaName.Media, last(offered)), format(ours.MediaName.Media, values(ours.Attributes, "rtpmap", pt)[0]))
		}
		require.LessOrEqual(t, len(values(ours.Attributes, "fmtp", pt)), 1)
		for _, fb := range values(ours.Attributes, "rtcp-fb", pt) {
			requireIn(t, append(values(theirs.Attributes, "rtcp-fb", pt), values(theirs.Attributes, "rtcp-fb", "*")...), fb)
		}
	}
	for _, name := range []string{"rtpmap", "fmtp", "rtcp-fb"} {
		for _, v := range values(ours.Attributes, name, "") {
			pt, _, _ := strings.Cut(v, " ")
			requireIn(t, ours.MediaName.Formats, pt)
		}
	}
}

// requireIn is require.Contains, which compares by reflection: there are tens of thousands.
func requireIn(t *testing.T, all []string, one string) {
	if !slices.Contains(all, one) {
		require.Contains(t, all, one)
	}
}

// format is an rtpmap without what says nothing.
func format(kind, rtpmap string) string {
	f := append(strings.Split(strings.TrimSpace(rtpmap), "/"), "", "")
	f[1] = strings.TrimLeft(f[1], "0")
	if n, err := strconv.Atoi(f[2]); err == nil && n > 1 && kind == "audio" {
		return f[0] + "/" + f[1] + "/" + strconv.Itoa(n)
	}
	if strings.EqualFold(f[0], "rtx") {
		return "rtx" // its clock is that of what it repairs, whatever is said
	}
	return f[0] + "/" + f[1]
}

// requireSends checks an m-section that sends.
func requireSends(t *testing.T, o *pionsdp.SessionDescription, theirs, ours *pionsdp.MediaDescription) {
	const mixed = "extmap-allow-mixed"
	require.False(t, has(theirs.Attributes, "sendonly") || has(theirs.Attributes, "inactive"))
	require.Equal(t, has(theirs.Attributes, mixed) || has(o.Attributes, mixed), has(ours.Attributes, mixed))
	requireRepairs(t, theirs, ours)
	requireExtensions(t, theirs.Attributes, ours.Attributes)
}

// requireRepairs checks that each format for media is followed by one for its
// retransmissions where that is offered, and that these have an SSRC.
func requireRepairs(t *testing.T, theirs, ours *pionsdp.MediaDescription) {
	repairs := 0
	for i, pt := range ours.MediaName.Formats {
		if !strings.HasPrefix(values(ours.Attributes, "rtpmap", pt)[0], "rtx/") {
			repaired := i+1 < len(ours.MediaName.Formats) && slices.Equal(values(ours.Attributes, "fmtp", ours.MediaName.Formats[i+1]), []string{"apt=" + pt})
			require.False(t, !repaired && slices.ContainsFunc(theirs.MediaName.Formats, func(other string) bool {
				return strings.HasPrefix(last(values(theirs.Attributes, "rtpmap", other)), "rtx/") &&
					last(values(theirs.Attributes, "fmtp", other)) == "apt="+pt
			}), "retransmissions are offered")
			continue
		}
		require.Positive(t, i)
		apt := ours.MediaName.Formats[i-1]
		require.Equal(t, []string{"apt=" + apt}, values(ours.Attributes, "fmtp", pt))
		if offered := last(values(theirs.Attributes, "fmtp", pt)); offered != "apt="+apt {
			require.Regexp(t, `(?i)apt=0*`+apt, offered)
		}
		repairs++
	}
	group := strings.Fields(first(values(ours.Attributes, "ssrc-group", "")))
	var ssrcs []string
	for _, s := range values(ours.Attributes, "ssrc", "") {
		number, _, _ := strings.Cut(s, " ")
		ssrcs = append(ssrcs, number)
	}
	if repairs == 0 {
		require.Empty(t, group)
		require.Len(t, ssrcs, 1)
		return
	}
	require.Equal(t, append([]string{"FID"}, ssrcs...), group)
	require.Len(t, ssrcs, 2)
}

// requireExtensions checks that header extensions have the ids of the offer,
// and that none is sent that the offerer does not take (RFC 8285 section 7).
func requireExtensions(t *testing.T, theirs, ours []pionsdp.Attribute) {
	offered := map[string]string{} // what is before the URI
	for _, v := range values(theirs, "extmap", "") {
		if f := strings.Fields(v); len(f) >= 2 {
			offered[f[1]] = f[0]
		}
	}
	var seen []string
	for _, v := range values(ours, "extmap", "") {
		f := strings.Fields(v)
		require.Len(t, f, 2)
		require.NotContains(t, seen, f[1])
		seen = append(seen, f[1])
		theirID, theirWay, _ := strings.Cut(offered[f[1]], "/")
		ourID, ourWay, _ := strings.Cut(f[0], "/")
		require.Equal(t, theirID, ourID, v)
		switch theirWay {
		case "recvonly":
			require.Equal(t, "sendonly", ourWay, v)
		default:
			require.NotContains(t, []string{"sendonly", "inactive"}, theirWay, v)
			require.Empty(t, ourWay, v)
		}
	}
}
