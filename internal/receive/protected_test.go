package receive

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/rtp/fec/fectest"
)

const (
	mediaPT, redPT, ulpPT, flexPT, redRTX = 96, 121, 122, 49, 123

	ulpCodecs  = "96=VP8/90000,121=red/90000,122=ulpfec/90000"
	flexCodecs = "96=VP8/90000,49=flexfec-03/90000"
)

// planned is a plan that takes corrections.
func planned(t testing.TB, always bool, codecs string, lines ...string) *Plan {
	plan, err := Accept(offerHead+offered("video", "0", codecs, lines...), nil)
	require.NoError(t, err)
	plan.Correct(always)
	return plan
}

// Forward error correction is asked for where nothing else repairs, or always if that is
// wanted: FlexFEC where the sender says that it has a stream of it, or nothing else.
func TestWhatCorrectionIsAnswered(t *testing.T) {
	const nack = "a=rtcp-fb:96 nack"
	both := ulpCodecs + ",49=flexfec-03/90000"
	ulp := "m=video 9 UDP/TLS/RTP/SAVPF 96 121 122\r\n"
	none := "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
	for name, c := range map[string]struct {
		always bool
		codecs string
		lines  []string
		want   []string
	}{
		"ULPFEC":              {codecs: ulpCodecs, want: []string{ulp, "a=rtpmap:121 red/90000\r\na=rtpmap:122 ulpfec/90000\r\n"}},
		"ULPFEC and PLI":      {codecs: ulpCodecs, lines: []string{"a=rtcp-fb:96 nack pli"}, want: []string{ulp, "a=rtcp-fb:96 nack pli\r\n"}},
		"ULPFEC and NACK":     {codecs: ulpCodecs, lines: []string{nack}, want: []string{none}},
		"ULPFEC, NACK of all": {codecs: ulpCodecs, lines: []string{"a=rtcp-fb:* nack"}, want: []string{none}},
		"always":              {always: true, codecs: ulpCodecs, lines: []string{nack}, want: []string{ulp, "a=rtcp-fb:96 nack\r\n"}},
		"always, RTX": {
			always: true, codecs: "96=VP8/90000,97=rtx/90000,121=red/90000,123=rtx/90000,122=ulpfec/90000",
			lines: []string{nack, "a=fmtp:97 apt=96", "a=fmtp:123 apt=121"},
			want: []string{
				"m=video 9 UDP/TLS/RTP/SAVPF 96 97 121 123 122\r\n", "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
				"a=rtpmap:121 red/90000\r\na=rtpmap:123 rtx/90000\r\na=fmtp:123 apt=121\r\na=rtpmap:122 ulpfec/90000\r\n",
			},
		},
		"ULPFEC without RED": {codecs: "96=VP8/90000,122=ulpfec/90000", want: []string{none}},
		"RED alone":          {codecs: "96=VP8/90000,121=red/90000", want: []string{none}},
		"of another rate":    {codecs: "96=VP8/90000,121=red/1000,122=ulpfec/1000", want: []string{none}},
		"FlexFEC": {
			codecs: flexCodecs, lines: []string{"a=fmtp:49 repair-window=10000000", "a=rtcp-fb:49 transport-cc", "a=rtcp-fb:49 goog-remb"},
			want: []string{"m=video 9 UDP/TLS/RTP/SAVPF 96 49\r\n", "a=rtpmap:49 flexfec-03/90000\r\na=fmtp:49 repair-window=10000000\r\na=rtcp-fb:49 transport-cc\r\n"},
		},
		"FlexFEC of the RFC": {
			codecs: "96=VP8/90000,50=FlexFEC/90000", lines: []string{"a=fmtp:50 repair-window=200000"},
			want: []string{"SAVPF 96 50\r\n", "a=rtpmap:50 flexfec/90000\r\na=fmtp:50 repair-window=200000\r\n"},
		},
		"both":              {codecs: both, want: []string{ulp}},
		"both, a stream":    {codecs: both, lines: []string{"a=ssrc-group:FEC-FR 1 2"}, want: []string{"SAVPF 96 49\r\n"}},
		"both, and NACK":    {codecs: both, lines: []string{nack, "a=ssrc-group:FEC-FR 1 2"}, want: []string{none}},
		"no number of ours": {codecs: "96=VP8/90000,80=red/90000,81=ulpfec/90000", want: []string{none}},
	} {
		sdp := answer(planned(t, c.always, c.codecs, c.lines...), endpoint.Local{}, false, 1)
		for _, want := range c.want {
			require.Contains(t, sdp, want, name)
		}
		if c.want[0] == none {
			require.NotContains(t, sdp, "fec", name)
			require.NotContains(t, sdp, "red/", name)
		}
	}
}

// A payload type that is something else in another m-section is not taken for correction:
// GStreamer offers such at times, and its packets could not be matched.
func TestAmbiguousCorrection(t *testing.T) {
	for name, c := range map[string]struct {
		video, other string
		taken        bool
	}{
		"RED is Opus":          {"96=VP8/90000,97=red/90000,98=ulpfec/90000", offered("audio", "1", "97=opus/48000/2"), false},
		"ULPFEC is RTX":        {"96=VP8/90000,97=red/90000,98=ulpfec/90000", offered("video", "1", "96=VP8/90000,98=rtx/90000", "a=fmtp:98 apt=96"), false},
		"RED and ULPFEC swap":  {"96=VP8/90000,97=red/90000,98=ulpfec/90000", offered("video", "1", "96=VP8/90000,98=red/90000,97=ulpfec/90000"), false},
		"the same in both":     {"96=VP8/90000,97=red/90000,98=ulpfec/90000", offered("video", "1", "96=VP8/90000,97=red/90000,98=ulpfec/90000"), true},
		"FlexFEC is Opus":      {"96=VP8/90000,49=flexfec-03/90000", offered("audio", "1", "49=opus/48000/2"), false},
		"another in the other": {"96=VP8/90000,49=flexfec-03/90000", offered("audio", "1", "111=opus/48000/2"), true},
	} {
		for _, always := range []bool{false, true} {
			plan, err := Accept(offerHead+offered("video", "0", c.video)+c.other, nil)
			require.NoError(t, err)
			plan.Correct(always)
			require.Equal(t, c.taken, plan.Choices[0].FEC.Any(), name)
			b := newBenchOf(t, plan)
			if strings.HasPrefix(c.other, "m=audio") {
				b.send(a{ssrc: 1, pt: plan.Choices[1].Codec.PT, seq: 1, body: opusFrame(1)})
				require.Equal(t, "audio:1", b.packets(), name)
			}
		}
	}
}

// Of the clients of the corpus, one alone is asked for correction by default: the others
// offer NACK, too, and get the answer that they would get without.
func TestCorrectionOfTheCorpus(t *testing.T) {
	some := 0
	for name, offer := range offers(t) {
		plan, err := Accept(offer, nil)
		require.NoError(t, err)
		before := answer(plan, endpoint.Local{}, false, 1)
		_, before, _ = strings.Cut(before, "\r\n") // a number of its own
		_, before, _ = strings.Cut(before, "\r\n")
		plan.Correct(false)
		after := answer(plan, endpoint.Local{}, false, 1)
		_, after, _ = strings.Cut(after, "\r\n")
		_, after, _ = strings.Cut(after, "\r\n")
		if name == "gstreamer-fec" {
			require.Contains(t, after, "SAVPF 96 98 99\r\n")
		} else {
			require.Equal(t, before, after, name)
		}
		plan.Correct(true)
		always := answer(plan, endpoint.Local{}, false, 1)
		for _, c := range plan.Choices {
			if c.Media.FEC.Any() {
				some++
				require.Contains(t, always, "red/90000", name)
				require.Contains(t, always, "ulpfec/90000", name)
				require.NotContains(t, always, "flexfec", name)
			}
		}
	}
	require.Greater(t, some, 20)
}

// A sender has a frame of four packets each 3000 ticks, and corrects it.
type fecSender struct {
	*bench
	cursor cdn.Cursor
	seq    uint16
	ts     uint32
	frame  int
	sent   [][]byte // payloads of media, in order
}

const fecSSRC = 7

func newFECSender(t testing.TB, plan *Plan) *fecSender {
	b := newBenchOf(t, plan)
	return &fecSender{bench: b, cursor: b.stream.Tracks()[0].Layers()[0].Live(), seq: 65500, ts: 1<<32 - 9000}
}

// media returns the packets of the next frame, as they are protected.
func (f *fecSender) media(n int) (all [][]byte) {
	f.ts += 3000
	f.frame++
	for i := range n {
		descriptor := byte(0)
		if i == 0 {
			descriptor = 0x10
		}
		payload := []byte{descriptor, byte(f.frame & 1), byte(f.frame), byte(i), 5}
		payload = append(payload, make([]byte, 3*i)...)
		p := rtp.Packet{
			Header:  rtp.Header{Version: 2, SSRC: fecSSRC, PayloadType: mediaPT, SequenceNumber: f.seq, Timestamp: f.ts, Marker: i == n-1},
			Payload: payload,
		}
		raw, err := p.Marshal()
		require.NoError(f.t, err)
		f.seq++
		all, f.sent = append(all, raw), append(f.sent, payload)
	}
	return all
}

// deliver has a packet come, in RED if it says so.
func (f *fecSender) deliver(pt uint8, raw []byte) {
	var p rtp.Packet
	require.NoError(f.t, p.Unmarshal(raw))
	if pt == redPT {
		p.PayloadType, p.Payload = redPT, append([]byte{p.PayloadType}, p.Payload...)
	}
	raw, err := p.Marshal()
	require.NoError(f.t, err)
	sealed, err := f.theirs.EncryptRTP(nil, raw, nil)
	require.NoError(f.t, err)
	require.True(f.t, f.r.rtp(f.now, sealed, nil))
}

// parity is a packet of ULPFEC in the numbers of the media.
func (f *fecSender) parity(protected ...[]byte) []byte {
	p := rtp.Packet{
		Header:  rtp.Header{Version: 2, SSRC: fecSSRC, PayloadType: ulpPT, SequenceNumber: f.seq, Timestamp: f.ts + 700},
		Payload: fectest.ULP(-1, protected...),
	}
	f.seq++
	raw, err := p.Marshal()
	require.NoError(f.t, err)
	return raw
}

// ulpFrame sends a frame with two parities, of which the packets numbered lost do not come.
func (f *fecSender) ulpFrame(lost ...int) {
	m := f.media(4)
	all := append(slices.Clone(m), f.parity(m[0], m[1], m[3]), f.parity(m[0], m[2]))
	for i, raw := range all {
		if !slices.Contains(lost, i) {
			f.deliver(redPT, raw)
		}
	}
	f.pass(33 * time.Millisecond)
}

// got are the payloads that the layer has since the last call, and their numbers, by their
// place behind the first.
func (f *fecSender) got() (payloads [][]byte, numbers []int, first uint64) {
	for p := f.cursor.Next(); p != nil; p = f.cursor.Next() {
		if first == 0 {
			first = p.Seq
		}
		payloads, numbers = append(payloads, slices.Clone(p.Payload)), append(numbers, int(p.Seq-first))
	}
	return payloads, numbers, first
}

// What ULPFEC repairs comes into the stream as it was sent, once, and its own packets leave
// no gap, whether they come or are lost.
func TestULPFECRepairs(t *testing.T) {
	f := newFECSender(t, planned(t, false, ulpCodecs))
	for frame := range 120 {
		switch frame % 10 {
		case 1:
			f.ulpFrame(1) // media
		case 2:
			f.ulpFrame(3) // the last of a frame
		case 3:
			f.ulpFrame(0, 1) // by both
		case 4:
			f.ulpFrame(4) // of correction
		case 5:
			f.ulpFrame(5)
		case 6:
			f.ulpFrame(4, 5)
		case 7:
			f.ulpFrame(2, 4)
		case 8:
			f.ulpFrame(3, 5)
		default:
			f.ulpFrame()
		}
	}
	require.Empty(t, f.dropped())
	payloads, numbers, _ := f.got()
	require.Len(t, payloads, len(f.sent))
	inOrder := make([][]byte, len(payloads))
	for i, n := range numbers {
		require.Less(t, n, len(f.sent), "numbers without gaps")
		inOrder[n] = payloads[i]
	}
	require.Equal(t, f.sent, inOrder)
	require.EqualValues(t, 12*6, f.r.stats.Restored)
	s := f.stream.Tracks()[0].Layers()[0].Stats()
	require.Zero(t, s.Lost)
	require.Zero(t, s.Duplicates)
	require.EqualValues(t, 2*120, s.Padding, "of correction, those among them that were lost")
}

// FlexFEC has an SSRC and numbers of its own. It is about those that it names.
func TestFlexFECRepairs(t *testing.T) {
	for name, c := range map[string]struct {
		codecs string
		packet func(m ...[]byte) rtp.Packet
	}{
		"draft": {flexCodecs, func(m ...[]byte) rtp.Packet { return rtp.Packet{Payload: fectest.Flex03(fecSSRC, m...)} }},
		"RFC 8627": {"96=VP8/90000,49=flexfec/90000", func(m ...[]byte) rtp.Packet {
			return rtp.Packet{Header: rtp.Header{CSRC: []uint32{fecSSRC}}, Payload: fectest.Flex(m...)}
		}},
		"RFC 8627, rows": {"96=VP8/90000,49=flexfec/90000", func(m ...[]byte) rtp.Packet {
			return rtp.Packet{Header: rtp.Header{CSRC: []uint32{fecSSRC}}, Payload: fectest.FlexFixed(4, 0, m...)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFECSender(t, planned(t, false, c.codecs))
			number := uint16(99)
			for frame := range 50 {
				m := f.media(4)
				for i, raw := range m {
					if i != frame%5 {
						f.deliver(mediaPT, raw)
					}
				}
				p := c.packet(m...)
				p.Version, p.SSRC, p.PayloadType, p.SequenceNumber, p.Timestamp = 2, 8, flexPT, number, f.ts
				number++
				raw, err := p.Marshal()
				require.NoError(t, err)
				if frame > 0 || frame%5 == 4 {
					f.deliver(flexPT, raw)
				}
				f.pass(33 * time.Millisecond)
			}
			require.Empty(t, f.dropped())
			payloads, _, _ := f.got()
			require.Len(t, payloads, len(f.sent)-1, "all but the first, ahead of which nothing was known")
			require.EqualValues(t, 39, f.r.stats.Restored)
			require.Equal(t, "video:199", f.packets())
			require.False(t, f.r.sources[8].media, "no receiver report is about it")
		})
	}
}

// Correction about others, or that makes no sense, is dropped.
func TestCorrectionThatIsOfNoUse(t *testing.T) {
	f := newFECSender(t, planned(t, false, flexCodecs))
	send := func(payload []byte) {
		p := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 8, PayloadType: flexPT, SequenceNumber: f.seq}, Payload: payload}
		f.seq++
		raw, err := p.Marshal()
		require.NoError(t, err)
		f.deliver(flexPT, raw)
	}
	m := f.media(4)
	send(fectest.Flex03(fecSSRC, m...)) // ahead of all media
	for _, raw := range m {
		f.deliver(mediaPT, raw)
	}
	send(fectest.Flex03(9, m...))
	send([]byte{1, 2, 3})
	require.Equal(t, "unreadable:1 unmatched:2", f.dropped())
	// What is repaired has to be of the section's payload type, and of the present.
	other := slices.Clone(f.media(1)[0])
	other[1] = 97
	send(fectest.Flex03(fecSSRC, other))
	old := slices.Clone(f.media(1)[0])
	old[4] ^= 0x40
	send(fectest.Flex03(fecSSRC, old))
	require.Equal(t, "unreadable:3 unmatched:2", f.dropped())
	require.Equal(t, "video:4", f.packets())
}

// A sender that sends RED or correction that nobody asked for does no harm.
func TestCorrectionThatWasNotAskedFor(t *testing.T) {
	f := newFECSender(t, planned(t, false, ulpCodecs+",49=flexfec-03/90000", "a=rtcp-fb:96 nack"))
	require.False(t, f.r.sections[0].fec.agreed)
	for frame := range 20 {
		m := f.media(4)
		for _, raw := range append(slices.Clone(m), f.parity(m...)) {
			if frame < 10 {
				f.deliver(redPT, raw)
			} else {
				f.deliver(0, raw)
			}
		}
		f.pass(33 * time.Millisecond)
	}
	p := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 8, PayloadType: flexPT, SequenceNumber: 1}, Payload: fectest.Flex03(fecSSRC, f.media(1)...)}
	raw, err := p.Marshal()
	require.NoError(t, err)
	f.deliver(flexPT, raw)
	require.Equal(t, "payload type:1", f.dropped())
	payloads, numbers, _ := f.got()
	require.Equal(t, f.sent[:80], payloads)
	require.Equal(t, 79, numbers[79])
	require.Nil(t, f.r.sources[fecSSRC].repairer, "nothing is kept")
}

// Retransmissions of what travels in RED are taken out of it, and those of correction are
// padding.
func TestRetransmissionsInRED(t *testing.T) {
	f := newFECSender(t, planned(t, true, ulpCodecs+",97=rtx/90000,123=rtx/90000", "a=rtcp-fb:96 nack", "a=fmtp:97 apt=96", "a=fmtp:123 apt=121"))
	number := uint16(0)
	again := func(raw []byte, pt byte) {
		number++
		var p rtp.Packet
		require.NoError(t, p.Unmarshal(raw))
		p.Payload = append([]byte{raw[2], raw[3], pt}, p.Payload...)
		p.SSRC, p.PayloadType, p.SequenceNumber = 9, redRTX, number
		raw, err := p.Marshal()
		require.NoError(t, err)
		f.deliver(redRTX, raw)
	}
	f.ulpFrame()
	m := f.media(4)
	parity := f.parity(m...)
	f.deliver(redPT, m[0])
	f.deliver(redPT, m[1])
	again(m[3], mediaPT)
	again(m[2], mediaPT)
	again(parity, ulpPT)
	again(m[2], 17)
	f.ulpFrame()
	require.Equal(t, "unreadable:1", f.dropped())
	payloads, numbers, _ := f.got()
	require.Len(t, payloads, 12)
	require.Equal(t, 11, slices.Max(numbers))
	require.EqualValues(t, 4, f.r.stats.Repairs)
}

// Layers are repaired each by itself, from their first packets on.
func TestCorrectionOfLayers(t *testing.T) {
	plan := planned(t, false, ulpCodecs, extRid, "a=rid:q send", "a=rid:f send", "a=simulcast:send q;f")
	b := newBenchOf(t, plan)
	senders := []*fecSender{{bench: b, seq: 100}, {bench: b, seq: 50000}}
	for frame := range 10 {
		for i, f := range senders {
			m := f.media(4)
			for j, raw := range append(slices.Clone(m), f.parity(m...)) {
				var p rtp.Packet
				require.NoError(t, p.Unmarshal(raw))
				p.SSRC = uint32(20 + i)
				if frame == 1 { // the first ones do not say it
					require.NoError(t, p.SetExtension(2, []byte("qf"[i:i+1])))
				}
				raw, err := p.Marshal()
				require.NoError(t, err)
				if frame < 2 || j != frame%5 {
					f.deliver(redPT, raw)
				}
			}
		}
		b.pass(33 * time.Millisecond)
	}
	require.Equal(t, "video/q:40 video/f:40", b.packets())
	require.Empty(t, b.dropped())
}

// A packet of a section that is protected costs no allocation either.
func TestProtectedPacketsDoNotAllocate(t *testing.T) {
	allocations := func(plan *Plan, pt uint8) float64 {
		f := newFECSender(t, plan)
		var sealed [][]byte
		for range 400 {
			m := f.media(4)
			all := m
			if pt == redPT {
				all = append(slices.Clone(m), f.parity(m[0], m[1], m[3]))
			}
			for i, raw := range all {
				var p rtp.Packet
				require.NoError(t, p.Unmarshal(raw))
				if pt == redPT {
					p.PayloadType, p.Payload = redPT, append([]byte{p.PayloadType}, p.Payload...)
				}
				raw, err := p.Marshal()
				require.NoError(t, err)
				one, err := f.theirs.EncryptRTP(nil, raw, nil)
				require.NoError(t, err)
				if i != 1 || pt != redPT {
					sealed = append(sealed, one)
				}
			}
		}
		i := 0
		frame := func() {
			for range 4 {
				f.r.rtp(f.now, sealed[i], nil)
				i++
			}
			f.now = f.now.Add(33 * time.Millisecond)
		}
		for range 300 {
			frame()
		}
		return testing.AllocsPerRun(90, frame)
	}
	plain := allocations(planned(t, false, ulpCodecs, "a=rtcp-fb:96 nack"), mediaPT)
	require.LessOrEqual(t, allocations(planned(t, false, ulpCodecs), redPT), plain+0.5)
}
