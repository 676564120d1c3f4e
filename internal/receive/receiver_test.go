package receive

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
	"github.com/deltacdn/delta/internal/rtp/ntp"
	"github.com/deltacdn/delta/internal/sdp"
)

const offerHead = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 " +
	"00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00\r\n" +
	"a=ice-ufrag:them\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n"

// section is an m-section of an offer.
func offered(kind, mid, codecs string, lines ...string) string {
	pts, maps := "", ""
	for c := range strings.SplitSeq(codecs, ",") {
		pt, name, _ := strings.Cut(c, "=")
		pts += " " + pt
		maps += "a=rtpmap:" + pt + " " + name + "\r\n"
	}
	return "m=" + kind + " 9 UDP/TLS/RTP/SAVPF" + pts + "\r\nc=IN IP4 0.0.0.0\r\na=mid:" + mid + "\r\na=rtcp-mux\r\na=sendonly\r\n" +
		maps + strings.Join(append(lines, ""), "\r\n")
}

const (
	extMid = "a=extmap:1 " + sdp.URIMid
	extRid = "a=extmap:2 " + sdp.URIRid
	extRep = "a=extmap:3 " + sdp.URIRepairedRid
	extCC  = "a=extmap:4 " + sdp.URITransportCC
)

// A bench has a receiver with a stream behind it.
type bench struct {
	t      testing.TB
	r      *receiver
	stream *cdn.Stream
	theirs *srtp.Context
	now    time.Time
}

type noBack struct{}

func (noBack) RequestKeyframe() {}
func (noBack) Nack([]uint16)    {}

func newBench(t testing.TB, sections ...string) *bench {
	plan, err := Accept(offerHead+strings.Join(sections, ""), nil)
	require.NoError(t, err)
	return newBenchOf(t, plan)
}

func newBenchOf(t testing.TB, plan *Plan) *bench {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = node.Close() })
	b := &bench{t: t, now: time.Now()}
	b.stream, err = node.NewStream("live")
	require.NoError(t, err)
	in, err := b.stream.NewInput(cdn.InputConfig{})
	require.NoError(t, err)
	require.NoError(t, in.Start(plan.Tracks))
	b.r = newReceiver(in, plan)
	b.r.back = func(*source) cdn.Upstream { return noBack{} }
	b.r.feedback.transport, b.r.feedback.remb = congestionControl(plan, false)
	b.r.feedback.max = b.r.bound.Bits
	b.r.feedback.init(b.now, 1, "us")
	key, salt := make([]byte, 16), make([]byte, 12)
	b.theirs, err = srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm)
	require.NoError(t, err)
	opener, err := dtlssrtp.NewPacketOpener(srtp.ProtectionProfileAeadAes128Gcm, key, salt, 100)
	require.NoError(t, err)
	b.r.opener = &endpoint.Opener{PacketOpener: opener}
	return b
}

// a is a packet, with header extensions "id=value".
type a struct {
	ssrc uint32
	pt   uint8
	seq  uint16
	ts   uint32
	ext  string
	osn  int // of RTX, 0: it is none
	body []byte
	pad  bool
}

func (b *bench) send(p a) {
	q := rtp.Packet{
		Header:  rtp.Header{Version: 2, SSRC: p.ssrc, PayloadType: p.pt, SequenceNumber: p.seq, Timestamp: p.ts, Marker: true},
		Payload: []byte{0x10, 0, byte(p.seq >> 8), byte(p.seq), 1},
	}
	if p.osn != 0 {
		q.Payload = append(binary.BigEndian.AppendUint16(nil, uint16(p.osn)), 0x10, 0, byte(p.osn>>8), byte(p.osn), 1)
	}
	if p.body != nil {
		q.Payload = p.body
	}
	for one := range strings.FieldsSeq(p.ext) {
		id, value, _ := strings.Cut(one, "=")
		require.NoError(b.t, q.SetExtension(id[0]-'0', []byte(value)))
	}
	if p.pad {
		q.Padding, q.PaddingSize = true, 7
	}
	raw, err := q.Marshal()
	require.NoError(b.t, err)
	sealed, err := b.theirs.EncryptRTP(nil, raw, nil)
	require.NoError(b.t, err)
	require.True(b.t, b.r.rtp(b.now, sealed, nil))
}

// pass lets time pass, and the clock look.
func (b *bench) pass(d time.Duration) {
	b.now = b.now.Add(d)
	b.r.endContests(b.now, nil)
}

// packets is how many each layer has, as "video/l0:3 audio:1".
func (b *bench) packets() string {
	var all []string
	for _, t := range b.stream.Tracks() {
		for _, l := range t.Layers() {
			if n := l.Stats().Packets; n > 0 {
				name := t.Info().ID
				if l.Name() != "" {
					name += "/" + l.Name()
				}
				all = append(all, fmt.Sprintf("%s:%d", name, n))
			}
		}
	}
	return strings.Join(all, " ")
}

func (b *bench) dropped() string {
	var all []string
	for i, n := range b.r.stats.Dropped {
		if n > 0 {
			all = append(all, fmt.Sprintf("%v:%d", Drop(i), n))
		}
	}
	return strings.Join(all, " ")
}

var (
	vp8     = "96=VP8/90000,97=rtx/90000"
	apt     = "a=fmtp:97 apt=96"
	opus    = "111=opus/48000/2"
	layered = []string{apt, extMid, extRid, extRep, "a=rid:l0 send", "a=rid:l1 send", "a=simulcast:send l0;l1"}
)

// What packets belong to, by what they say and by what was said of them.
func TestPacketsAreMatched(t *testing.T) {
	audio, video := offered("audio", "0", opus, extMid), offered("video", "1", vp8, apt, extMid)
	simulcast := offered("video", "1", vp8, layered...)
	for name, k := range map[string]struct {
		sections []string
		packets  []a
		pass     time.Duration
		want     string
		dropped  string
	}{
		"by payload type": {
			sections: []string{audio, video},
			packets:  []a{{ssrc: 1, pt: 111, seq: 1}, {ssrc: 2, pt: 96, seq: 1}, {ssrc: 2, pt: 96, seq: 2}},
			want:     "audio:1 video:2",
		},
		"by mid, which moves it": {
			sections: []string{audio, video, offered("video", "2", vp8, apt, extMid)},
			packets: []a{
				{ssrc: 1, pt: 96, seq: 1, ext: "1=1"}, {ssrc: 1, pt: 96, seq: 2}, {ssrc: 1, pt: 96, seq: 3, ext: "1=2"}, {ssrc: 1, pt: 96, seq: 4},
			},
			want: "video:2 video2:2",
		},
		"a mid that was not accepted": {
			sections: []string{audio, video}, packets: []a{{ssrc: 1, pt: 96, seq: 1, ext: "1=7"}}, dropped: "unmatched:1",
		},
		"a payload type that was not accepted": {
			sections: []string{audio, video}, packets: []a{{ssrc: 1, pt: 100, seq: 1}, {ssrc: 1, pt: 111, seq: 2, ext: "1=1"}}, dropped: "payload type:2",
		},
		"kept until a mid comes": {
			sections: []string{video, offered("video", "2", vp8, apt, extMid)},
			packets:  []a{{ssrc: 1, pt: 96, seq: 1}, {ssrc: 1, pt: 96, seq: 2}, {ssrc: 1, pt: 96, seq: 3, ext: "1=2"}},
			want:     "video2:3",
		},
		"and not for long": {
			sections: []string{video, offered("video", "2", vp8, apt, extMid)},
			packets:  []a{{ssrc: 1, pt: 96, seq: 1}}, pass: 2 * time.Second, dropped: "unmatched:1",
		},
		"layers by rid": {
			sections: []string{simulcast},
			packets:  []a{{ssrc: 1, pt: 96, seq: 1, ext: "2=l0"}, {ssrc: 2, pt: 96, seq: 1, ext: "2=l1"}, {ssrc: 2, pt: 96, seq: 2}},
			want:     "video/l0:1 video/l1:2",
		},
		"kept until a rid comes": {
			sections: []string{simulcast},
			packets:  []a{{ssrc: 1, pt: 96, seq: 1}, {ssrc: 1, pt: 96, seq: 2, ext: "2=l1"}},
			want:     "video/l1:2",
		},
		"a layer that was not offered": {
			sections: []string{simulcast}, packets: []a{{ssrc: 1, pt: 96, seq: 1, ext: "2=l7"}}, dropped: "unknown layer:1",
		},
		"layers that nothing names, in their order": {
			sections: []string{offered("video", "1", vp8, apt, "a=rid:l0 send", "a=rid:l1 send")},
			packets:  []a{{ssrc: 1, pt: 96, seq: 1}, {ssrc: 2, pt: 96, seq: 1}, {ssrc: 3, pt: 96, seq: 1}},
			want:     "video/l0:1 video/l1:1", dropped: "second source:1",
		},
		"repairs of the only layer": {
			sections: []string{video},
			packets:  []a{{ssrc: 1, pt: 96, seq: 10}, {ssrc: 1, pt: 96, seq: 12}, {ssrc: 2, pt: 97, seq: 900, osn: 11}},
			want:     "video:3",
		},
		"repairs by repaired rid": {
			sections: []string{simulcast},
			packets: []a{
				{ssrc: 1, pt: 96, seq: 10, ext: "2=l0"},
				{ssrc: 2, pt: 96, seq: 10, ext: "2=l1"},
				{ssrc: 2, pt: 96, seq: 12},
				{ssrc: 3, pt: 97, seq: 5, osn: 11, ext: "3=l1"},
			},
			want: "video/l0:1 video/l1:3",
		},
		"repairs by a FID group": {
			sections: []string{offered("video", "1", vp8, apt, "a=ssrc-group:SIM 1 2", "a=ssrc-group:FID 1 3", "a=ssrc-group:FID 2 4",
				"a=ssrc:1 cname:x", "a=ssrc:2 cname:x", "a=ssrc:3 cname:x", "a=ssrc:4 cname:x")},
			packets: []a{
				{ssrc: 1, pt: 96, seq: 10}, {ssrc: 2, pt: 96, seq: 10}, {ssrc: 2, pt: 96, seq: 12}, {ssrc: 4, pt: 97, seq: 5, osn: 11},
			},
			want: "video/0:1 video/1:3",
		},
		"repairs by their numbers": {
			sections: []string{simulcast},
			packets: []a{
				{ssrc: 1, pt: 96, seq: 10, ext: "2=l0"},
				{ssrc: 2, pt: 96, seq: 30010, ext: "2=l1"},
				{ssrc: 2, pt: 96, seq: 30012},
				{ssrc: 3, pt: 97, seq: 5, osn: 30011},
			},
			want: "video/l0:1 video/l1:3",
		},
		"repairs of nothing": {
			sections: []string{video}, packets: []a{{ssrc: 2, pt: 97, seq: 900, osn: 11}}, dropped: "unmatched:1",
		},
		"padding": {
			sections: []string{video}, packets: []a{{ssrc: 1, pt: 96, seq: 10, pad: true}}, want: "video:1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, k.sections...)
			for _, p := range k.packets {
				b.now = b.now.Add(time.Millisecond)
				b.send(p)
			}
			b.pass(k.pass)
			require.Equal(t, k.want, b.packets())
			require.Equal(t, k.dropped, b.dropped())
		})
	}
}

// A source takes the place of another once that is quiet for a frame, and at once if
// it has said goodbye; what sends beside it does not, whatever it sends.
func TestSourcesTakeTurns(t *testing.T) {
	b := newBench(t, offered("video", "1", vp8, apt))
	frame := 0
	send := func(ssrc uint32) {
		frame++
		b.send(a{ssrc: ssrc, pt: 96, seq: uint16(frame), ts: uint32(3000 * frame)})
	}
	step := func() { b.pass(33 * time.Millisecond) }
	for range 3 {
		send(1)
		step()
	}
	require.Equal(t, "video:3", b.packets())
	send(2)
	require.Equal(t, "video:3", b.packets(), "it waits")
	step()
	send(2)
	require.Equal(t, "video:5", b.packets(), "nothing came of the first")
	for range 10 { // both send
		step()
		send(2)
		send(1)
	}
	require.Equal(t, "video:15", b.packets())
	require.NotZero(t, b.r.stats.Dropped[SecondSource])

	bye, err := (&rtcp.Goodbye{Sources: []uint32{2}}).Marshal()
	require.NoError(t, err)
	step()
	b.r.rtcp(b.now, bye)
	send(3)
	require.Equal(t, "video:16", b.packets(), "at once")
	b.pass(100 * time.Millisecond)
	send(4)
	b.pass(100 * time.Millisecond)
	b.pass(200 * time.Millisecond)
	require.Equal(t, "video:17", b.packets(), "one frame alone need not wait for the next")
	require.LessOrEqual(t, len(b.r.sources), maxSources)
}

// The SSRCs that are kept, and what waits, are bounded.
func TestManySources(t *testing.T) {
	b := newBench(t, offered("video", "1", vp8, apt, extMid), offered("video", "2", vp8, apt, extMid))
	for n := range uint32(1000) {
		b.now = b.now.Add(time.Millisecond)
		b.send(a{ssrc: n, pt: 96, seq: uint16(n), ts: n, ext: "1=1"})
		b.send(a{ssrc: 10000 + n, pt: 96, seq: uint16(n), ts: n})
		require.LessOrEqual(t, len(b.r.sources), maxSources+1)
		require.LessOrEqual(t, len(b.r.strays), maxStrays)
	}
	require.NotZero(t, b.r.stats.Dropped[Unmatched])
}

// Receiver reports say what came of each source, and answer its reports (RFC 3550
// section 6.4.1).
func TestReceiverReports(t *testing.T) {
	b := newBench(t, offered("video", "1", vp8, apt))
	at := b.now
	sr, err := (&rtcp.SenderReport{SSRC: 7, NTPTime: ntp.Stamp(at), RTPTime: 1}).Marshal()
	require.NoError(t, err)
	for n := range uint16(100) {
		b.now = at.Add(time.Duration(n) * 10 * time.Millisecond)
		if n%10 != 3 {
			b.send(a{ssrc: 7, pt: 96, seq: 65500 + n, ts: uint32(n) * 900})
		}
		if n == 50 {
			b.r.rtcp(b.now, sr)
		}
	}
	b.now = at.Add(1500 * time.Millisecond)
	packets := b.r.feedback.reportDue(b.now, b.r.sources)
	require.Len(t, packets, 2)
	report := packets[0].(*rtcp.ReceiverReport).Reports[0]
	require.EqualValues(t, 7, report.SSRC)
	require.EqualValues(t, 10, report.TotalLost)
	require.EqualValues(t, 25, report.FractionLost)
	require.EqualValues(t, 1<<16|63, report.LastSequenceNumber)
	require.Zero(t, report.Jitter)
	require.Equal(t, ntp.Middle(ntp.Stamp(at)), report.LastSenderReport)
	require.EqualValues(t, 65536, report.Delay)
	require.Nil(t, b.r.feedback.reportDue(b.now, b.r.sources), "not at once again")
}

// Transport-wide feedback goes where it was agreed on; REMB to those who know only
// that; neither to those who know neither.
func TestCongestionControl(t *testing.T) {
	fb := func(what string) string { return "a=rtcp-fb:96 " + what }
	for name, k := range map[string]struct {
		lines     []string
		transport bool
		remb      bool
	}{
		"transport-cc":           {lines: []string{extCC, fb("transport-cc"), fb("goog-remb")}, transport: true},
		"extension only":         {lines: []string{extCC}},
		"extension and REMB":     {lines: []string{extCC, fb("goog-remb")}, remb: true},
		"REMB":                   {lines: []string{fb("goog-remb")}, remb: true},
		"neither":                {},
		"feedback, no extension": {lines: []string{fb("transport-cc")}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, offered("video", "1", vp8, append(k.lines, apt)...))
			for n := range uint16(100) {
				b.now = b.now.Add(12 * time.Millisecond)
				p := a{ssrc: 7, pt: 96, seq: n, ts: uint32(n)}
				if len(k.lines) > 0 && k.lines[0] == extCC {
					p.ext = "4=" + string([]byte{1, byte(n) + 33})
				}
				b.send(p)
			}
			compound := b.r.feedback.transportDue(b.now, nil)
			require.Equal(t, k.transport, len(compound) > 0)
			if k.transport {
				transport, err := rtcp.Unmarshal(compound)
				require.NoError(t, err)
				require.Len(t, transport, 3, "reduced size was not agreed on")
				cc := transport[2].(*rtcp.TransportLayerCC)
				require.EqualValues(t, 100, cc.PacketStatusCount)
				require.EqualValues(t, 7, cc.MediaSSRC)
			}
			estimates := 0
			for _, p := range b.r.feedback.reportDue(b.now, b.r.sources) {
				if e, ok := p.(*rtcp.ReceiverEstimatedMaximumBitrate); ok {
					estimates++
					require.GreaterOrEqual(t, e.Bitrate, float32(leastEstimate))
				}
			}
			require.Equal(t, k.remb, estimates > 0)
		})
	}
}

// Header extensions that do not add up take no media away, and those ahead of them are read.
func TestHeaderExtensionsThatAreCutOff(t *testing.T) {
	const oneByte, twoBytes = 0xbede, 0x1000
	for name, tc := range map[string]struct {
		profile uint16
		block   string // of 8 bytes, in which extension 1 is "1"
		read    bool
	}{
		"whole":                     {oneByte, "\x101\x000000\x00", true},
		"too long by one":           {oneByte, "\x101\x000\x43123", true},
		"the longest":               {oneByte, "\x101\x5f12345", true},
		"reserved":                  {oneByte, "\x101\xff12345", true},
		"two bytes":                 {twoBytes, "\x01\x011\x00\x00\x05\xc8x", true},
		"two bytes, without length": {twoBytes, "\x01\x011\x00\x00\x00\x00\x05", true},
		"ahead of the other":        {oneByte, "\x5f11\x101234", false},
		"unknown":                   {0xabcd, "\xff\xff\xff\xff\xff\xff\xff\xff", false},
	} {
		for _, sources := range []string{"", "abcdefgh"} {
			require.Len(t, tc.block, 8)
			packet := append([]byte{0x90 | byte(len(sources)/4), 0x80 | 96, 0, 7, 0, 0, 0, 9, 0, 0, 0, 5}, sources...)
			packet = append(packet, byte(tc.profile>>8), byte(tc.profile), 0, 2)
			packet = append(packet, tc.block...)
			var h rtp.Header
			n, ok := readHeader(&h, append(packet, "media"...))
			require.True(t, ok, name)
			require.Equal(t, len(packet), n, name)
			require.Equal(t, []uint32{96, 7, 9, 5}, []uint32{uint32(h.PayloadType), uint32(h.SequenceNumber), h.Timestamp, h.SSRC}, name)
			require.Equal(t, tc.read, string(h.GetExtension(1)) == "1", name)
			for cut := range packet {
				_, ok := readHeader(&h, packet[:cut])
				require.False(t, ok, "%s, %d bytes", name, cut)
			}
		}
	}
}

// No packet, authentic or not, makes the receiver panic or keep more than its bounds.
func FuzzPackets(f *testing.F) {
	f.Add([]byte{0x90, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0x10, '1', 0, 0, 0x10, 0, 1}, []byte{0x80, 200, 0, 6})
	f.Add([]byte{0xb0, 97, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0x10, 0, 0, 1, 0x22, 'l', '0', 0, 0, 9}, []byte{0x81, 203, 0, 1, 0, 0, 0, 1})
	b := newBench(f, offered("audio", "0", opus, extMid), offered("video", "1", vp8, append(layered, extCC, "a=rtcp-fb:96 transport-cc")...))
	b.r.warn = func(Drop, uint32, uint8) {}
	n := uint16(0)
	f.Fuzz(func(_ *testing.T, packet, compound []byte) {
		b.now = b.now.Add(10 * time.Millisecond)
		b.r.rtp(b.now, append([]byte(nil), packet...), nil)
		var h rtp.Header
		if _, err := h.Unmarshal(packet); err == nil {
			n++
			binary.BigEndian.PutUint16(packet[2:], n)
			if sealed, err := b.theirs.EncryptRTP(nil, packet, nil); err == nil {
				b.r.rtp(b.now, sealed, nil)
			}
		}
		b.r.rtcp(b.now, compound)
		b.r.endContests(b.now, nil)
		_ = b.r.feedback.transportDue(b.now, b.r.feedback.compound(b.r.feedback.reportDue(b.now, b.r.sources)...))
		if len(b.r.sources) > maxSources+1 || len(b.r.strays) > maxStrays {
			panic("unbounded")
		}
	})
}
