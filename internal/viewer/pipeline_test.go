package viewer

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/udp/egress"
)

// sink takes datagrams and has no use for them.
type sink struct{ datagrams int }

func (s *sink) WriteTo(b []byte, _ net.Addr) (int, error) {
	s.datagrams++
	return len(b), nil
}

type noBack struct{}

func (noBack) RequestKeyframe() {}
func (noBack) Nack([]uint16)    {}

// pipeline is what lies between a packet's arrival and the socket, for so many
// viewers who have connected.
type pipeline struct {
	began   time.Time
	input   *cdn.LayerInput
	viewers []*Session
	sink    sink
	batch   *egress.Batch
	seq     uint16
	payload []byte
}

var offerOfOneVideo = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 " + strings.Repeat("00:", 31) + "00\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:them\r\na=ice-pwd:0123456789012345678901\r\n" +
	"a=rtcp-mux\r\na=setup:actpass\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" +
	"a=extmap:3 " + toffset + "\r\na=recvonly\r\n"

const toffset = "urn:ietf:params:rtp-hdrext:toffset"

// newPipeline is a pipeline whose frames come faster than live: the path has to carry more.
func newPipeline(tb testing.TB, viewers int) *pipeline {
	return newPipelineAt(tb, viewers, 1e12)
}

// newPipelineAt is a pipeline whose bursts leave at a rate, in bits a second; negative: at
// once.
func newPipelineAt(tb testing.TB, viewers int, rate float64) *pipeline {
	return newPipelineOf(tb, pipelineConfig{viewers: viewers, rate: rate, offer: offerOfOneVideo})
}

// A pipelineConfig is so many viewers, whose bursts leave at a rate, as newPipelineAt has it.
type pipelineConfig struct {
	viewers int
	rate    float64
	offer   string
	policy  func() allot.Policy // nil: the default
}

func newPipelineOf(tb testing.TB, of pipelineConfig) *pipeline {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, node.Close()) })
	stream, err := node.NewStream("live")
	require.NoError(tb, err)
	in, err := stream.NewInput(cdn.InputConfig{})
	require.NoError(tb, err)
	require.NoError(tb, in.Start([]cdn.TrackInfo{{
		ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: []string{""},
		Extensions: []string{toffset},
	}}))
	p := &pipeline{payload: make([]byte, 1150), began: time.Now()}
	p.payload[0] = 0x10
	p.batch = egress.New(&p.sink, nil).NewBatch()
	p.input, err = in.Layer(0, "", noBack{})
	require.NoError(tb, err)
	p.publish(1) // a keyframe
	p.payload[1] = 1
	c := send.Config{StartRate: of.rate, Policy: of.policy}
	for range of.viewers {
		s, err := Answer(Config{Config: c, Stream: stream, Transport: node.Internal(), Log: node.Internal().PionLog}, of.offer)
		require.NoError(tb, err)
		tb.Cleanup(func() { s.End(cdn.ErrClosed); <-s.Done() })
		out, err := dtlssrtp.NewSealer(srtp.ProtectionProfileAeadAes128Gcm, make([]byte, 16), make([]byte, 12))
		require.NoError(tb, err)
		s.Assume(netip.MustParseAddrPort("127.0.0.1:9"), nil, out)
		s.media, s.replies = s.Writer(), s.Writer()
		s.ReplyBy(egress.New(&sink{}, nil).NewNonblockingBatch()) // the port's reader has the node's
		s.set.Start()
		p.viewers = append(p.viewers, s)
	}
	p.serve()
	return p
}

// publish writes packets of one frame.
func (p *pipeline) publish(n int) { p.publishAt(time.Now(), n) }

func (p *pipeline) publishAt(now time.Time, n int) {
	for i := range n {
		p.seq++
		packet := rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: p.seq, Timestamp: uint32(now.Sub(p.began) * 9 / 100_000), Marker: i == n-1},
			Payload: p.payload,
		}
		p.input.Write(now, &packet, []cdn.Ext{{ID: 1, Data: p.payload[2:5]}})
	}
}

func (p *pipeline) serve() {
	for _, s := range p.viewers {
		s.Consume(p.batch)
	}
	_ = p.batch.Flush()
}

// From the ring to the socket nothing is allocated.
func TestConsumeDoesNotAllocate(t *testing.T) {
	p := newPipeline(t, 10)
	require.NotZero(t, p.sink.datagrams)
	for range 100 { // all buffers have their size
		p.publish(9)
		p.serve()
	}
	before := p.sink.datagrams
	publishing := testing.AllocsPerRun(200, func() { p.publish(9) })
	p.serve()
	// A sender report falls due once a second, and a slow machine may see one.
	require.Less(t, testing.AllocsPerRun(200, func() {
		p.publish(9)
		p.serve()
	}), publishing+2)
	require.Equal(t, 402*9*10, p.sink.datagrams-before)
}

// BenchmarkConsume is a packet's way from the ring to the socket, which does
// nothing here: numbers, header, sealing, batch. A burst of one is what audio is.
func BenchmarkConsume(b *testing.B) {
	for _, viewers := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("viewers=%d", viewers), func(b *testing.B) { consume(b, viewers, 9, 1150) })
	}
	b.Run("audio", func(b *testing.B) { consume(b, 100, 1, 100) })
}

// newSteadyPipeline is a pipeline whose viewers have begun a while ago.
func newSteadyPipeline(b *testing.B, viewers int) *pipeline {
	p := newPipeline(b, viewers)
	p.warmUp()
	return p
}

func (p *pipeline) warmUp() {
	for range 30 {
		time.Sleep(50 * time.Millisecond)
		p.publish(3) // 64 packets are not as all the others
		p.serve()
	}
}

func consume(b *testing.B, viewers, perFrame, size int) {
	p := newSteadyPipeline(b, viewers)
	p.payload = p.payload[:size]
	p.sink.datagrams = 0
	b.ReportAllocs()
	for b.Loop() {
		p.publish(perFrame)
		p.serve()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(p.sink.datagrams), "ns/packet")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkConsumeCold is BenchmarkConsume where nothing is left in the
// processor's caches of what the burst before has used, as on a node that has sent
// megabytes since: what counts is how many cache lines a viewer takes.
func BenchmarkConsumeCold(b *testing.B) {
	b.Run("video", func(b *testing.B) { consumeCold(b, 9, 1150) })
	b.Run("audio", func(b *testing.B) { consumeCold(b, 1, 100) })
}

func consumeCold(b *testing.B, perFrame, size int) {
	p := newSteadyPipeline(b, 100)
	p.payload = p.payload[:size]
	p.sink.datagrams = 0
	var caches caches
	var spent time.Duration
	for b.Loop() {
		spent += p.serveCold(&caches, perFrame)
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(p.sink.datagrams), "ns/packet")
	b.ReportMetric(0, "ns/op")
}

// caches are the processor's.
type caches struct{ other []byte }

// empty leaves nothing in them of what was used before.
func (c *caches) empty() {
	if c.other == nil {
		c.other = make([]byte, 32<<20)
	}
	for i := 0; i < len(c.other); i += 64 {
		c.other[i]++
	}
}

// serveCold publishes a frame, and returns how long it takes to serve it.
func (p *pipeline) serveCold(c *caches, packets int) time.Duration {
	c.empty()
	p.publish(packets)
	begun := time.Now()
	p.serve()
	return time.Since(begun)
}

// BenchmarkPacing is what a packet costs more because it might have had to wait, where none
// has to: paced and unpaced viewers are served by turns, and the median of the pairs' ratios
// counts.
func BenchmarkPacing(b *testing.B) {
	for name, frame := range map[string]struct{ packets, size int }{"video": {9, 1150}, "audio": {1, 100}} {
		b.Run(name, func(b *testing.B) {
			paced, unpaced := newPipelineAt(b, 100, 1e12), newPipelineAt(b, 100, -1)
			for _, p := range []*pipeline{paced, unpaced} {
				p.warmUp()
				p.payload = p.payload[:frame.size]
			}
			var caches caches
			var ratios []float64
			for b.Loop() {
				with := paced.serveCold(&caches, frame.packets)
				without := unpaced.serveCold(&caches, frame.packets)
				ratios = append(ratios, float64(with)/float64(without))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "paced/unpaced")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkSeal is the sealing by itself.
func BenchmarkSeal(b *testing.B) {
	for _, profile := range []srtp.ProtectionProfile{
		srtp.ProtectionProfileAeadAes128Gcm, srtp.ProtectionProfileAeadAes256Gcm, srtp.ProtectionProfileAes128CmHmacSha1_80,
	} {
		b.Run(profile.String(), func(b *testing.B) {
			p := newPipeline(b, 1)
			s := p.viewers[0]
			keyLen, err := profile.KeyLen()
			require.NoError(b, err)
			saltLen, err := profile.SaltLen()
			require.NoError(b, err)
			s.media.Sealer, err = dtlssrtp.NewSealer(profile, make([]byte, keyLen), make([]byte, saltLen))
			require.NoError(b, err)
			s.media.Into(p.batch, s.To())
			h := []byte{0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}
			b.ReportAllocs()
			for n := uint16(0); b.Loop(); n++ {
				binary.BigEndian.PutUint16(h[2:], n)
				if _, err := s.media.WriteRTP(h, p.payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// stuck is a socket that is full until it is released.
type stuck struct {
	once     sync.Once
	entered  chan struct{}
	released chan struct{}
}

func (s *stuck) WriteTo(b []byte, _ net.Addr) (int, error) {
	s.once.Do(func() {
		close(s.entered)
		<-s.released
	})
	return len(b), nil
}

// The port's one reader does not wait until a viewer's media has left.
func TestReaderDoesNotWaitForTheSocket(t *testing.T) {
	p := newPipeline(t, 1)
	s := p.viewers[0]
	theirs := viewerOf(t, s)
	out := &stuck{entered: make(chan struct{}), released: make(chan struct{})}
	batch := egress.New(out, nil).NewBatch()
	m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(s.Credentials().Ufrag+":x"),
		stun.NewShortTermIntegrity(s.Credentials().Pwd), stun.Fingerprint)
	require.NoError(t, err)
	raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: s.ssrcs[0], FractionLost: 64}}}})
	require.NoError(t, err)
	sealed, err := theirs.EncryptRTCP(nil, raw, nil)
	require.NoError(t, err)
	p.publish(400) // more than a batch holds
	var wg sync.WaitGroup
	wg.Go(func() { s.Consume(batch); _ = batch.Flush() })
	<-out.entered
	read := make(chan struct{})
	wg.Go(func() {
		s.Receive(time.Now(), time.Now(), m.Raw, s.To())
		s.Receive(time.Now(), time.Now(), sealed, s.To())
		close(read)
	})
	select {
	case <-read:
	case <-time.After(10 * time.Second):
		t.Error("the reader waits for the worker's system call")
	}
	close(out.released)
	wg.Wait()
	require.Equal(t, 0.25, s.Stats().Loss, "and what was said is taken")
}
