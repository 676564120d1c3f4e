package cdntest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/logging"
	"github.com/pion/transport/v4"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// PublisherConfig sets up a [Publisher].
type PublisherConfig struct {
	// Net is where it sends from: a [Host]'s. If nil, the real network's
	// loopback address.
	Net transport.Net
	// Dialer carries its offer to URL. Required.
	Dialer     signal.Dialer
	URL        string
	Stream     cdn.StreamID
	Credential string

	// Video and Audio are what it sends. If both are nil, one of each with all
	// defaults.
	Video *Video
	Audio *Audio

	// Seed tells what this publisher sends from what others do. If zero,
	// random.
	Seed uint32
	// SenderReports is the time between two sender reports of a track; the
	// first comes with its first packets. If zero, 1 s; if negative, none.
	SenderReports time.Duration
	// NoRTX: lost packets are not sent again.
	NoRTX bool

	// Certificate is its DTLS certificate. If nil, its [Network]'s, or a new
	// one.
	Certificate *webrtc.Certificate
	// Logger gets pion's messages. If nil, nobody does.
	Logger logging.LoggerFactory
	// Tune may change pion's settings before the connection is made.
	Tune func(*webrtc.SettingEngine, *webrtc.MediaEngine, *interceptor.Registry) error
}

// Video is what a [Publisher]'s video track looks like.
type Video struct {
	// Codec is VP8, H264, VP9, AV1 or H265, as a MIME type. If empty,
	// "video/VP8".
	Codec string
	Fmtp  string // the codec's parameters. If empty, common ones
	FPS   int    // frames a second. If zero, 30
	// Bitrate is in bits a second of RTP payload, for layers that have none
	// of their own. If zero, 1,000,000.
	Bitrate int
	// KeyframeInterval is the time from one keyframe to the next if nobody
	// asks for one. If zero, 2 s.
	KeyframeInterval time.Duration
	// KeyframeScale is how much larger than others keyframes are. If zero, 4.
	KeyframeScale int
	// PayloadSize is the size of the largest RTP payload. If zero, 1200.
	PayloadSize int
	// Layers are the simulcast layers, the lowest first. If empty, there is
	// one layer, without a RID, of 320x180.
	Layers []VideoLayer
	// Extensions are the URIs of header extensions that are offered and, where
	// the server takes them, sent: audio level, abs-capture-time and
	// abs-send-time with fitting values, others with the frame's number.
	Extensions []string
}

// A VideoLayer is one simulcast layer of a [Video].
type VideoLayer struct {
	RID           string
	Bitrate       int // bits a second. If zero, the Video's
	Width, Height int
}

// Audio is what a [Publisher]'s Opus track looks like: 50 packets a second.
type Audio struct {
	// Stereo adds "stereo=1;sprop-stereo=1" to the parameters.
	Stereo  bool
	Bitrate int // bits a second of RTP payload. If zero, 48,000
	// Extensions are as in [Video].
	Extensions []string
}

// A Publisher sends a synthetic stream in which every packet can be checked:
// [Viewer] does. Its methods may be called concurrently.
type Publisher struct {
	*client

	// Static after NewPublisher.
	config PublisherConfig
	tracks []*sendTrack

	paused  atomic.Bool
	quit    chan struct{}
	once    sync.Once
	stopErr error
	running sync.WaitGroup
}

// Publish starts a publisher, or fails the test. It is stopped when t ends.
func Publish(t testing.TB, c PublisherConfig) *Publisher {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), joinTimeout)
	defer cancel()
	p, err := NewPublisher(ctx, c)
	if err != nil {
		t.Fatalf("cdntest: publish %s: %v", c.Stream, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		_ = p.Stop(ctx) // its server may be gone, which is no fault of the test
	})
	return p
}

// joinTimeout bounds how long an offer waits for its answer.
const joinTimeout = 30 * time.Second

// NewPublisher starts a publisher, which the caller must stop. It returns when
// the server has answered; media flows as soon as the connection is made. Its
// error is the Dialer's where the server refused.
func NewPublisher(ctx context.Context, c PublisherConfig) (*Publisher, error) {
	c = c.withDefaults()
	set, err := c.codecs()
	if err != nil {
		return nil, err
	}
	responder, err := nack.NewResponderInterceptor(nack.ResponderSize(1024))
	if err != nil {
		return nil, err
	}
	interceptors := []interceptor.Factory{responder}
	if c.NoRTX {
		interceptors = nil
	}
	cl, err := newClient(c.client(), set, interceptors...)
	if err != nil {
		return nil, err
	}
	p := &Publisher{client: cl, config: c, quit: make(chan struct{})}
	if err := p.start(ctx); err != nil {
		p.end(func() error { return cl.leave(ctx) })
		return nil, err
	}
	return p, nil
}

func (p *Publisher) start(ctx context.Context) error {
	if err := p.addTracks(); err != nil {
		return err
	}
	if err := p.negotiate(ctx, false); err != nil {
		return err
	}
	for _, t := range p.tracks {
		p.running.Go(func() { p.run(t) })
	}
	return nil
}

func (p *Publisher) addTracks() error {
	if v := p.config.Video; v != nil {
		codec, _ := findCodec(v.Codec, v.Fmtp)
		if err := p.addTrack(newVideoTrack(*v, codec, p.config.Seed)); err != nil {
			return err
		}
	}
	if a := p.config.Audio; a != nil {
		return p.addTrack(newAudioTrack(*a, a.codec(), p.config.Seed))
	}
	return nil
}

func (p *Publisher) addTrack(t *sendTrack) error {
	if err := t.addTo(p.pc); err != nil {
		return err
	}
	p.tracks = append(p.tracks, t)
	for _, l := range t.layers {
		p.running.Go(func() { l.readFeedback(t.sender) })
	}
	return nil
}

// run sends t's frames, each at its time, until the publisher ends.
func (p *Publisher) run(t *sendTrack) {
	select {
	case <-p.connected:
	case <-p.quit:
		return
	}
	t.negotiated()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for start, n := time.Now(), 0; ; n++ {
		timer.Reset(time.Until(start.Add(t.elapsed(n))))
		select {
		case <-timer.C:
		case <-p.quit:
			return
		}
		if p.paused.Load() {
			t.requireKeyframes()
			continue
		}
		t.sendFrame(n, time.Now())
		if every := p.config.SenderReports; every > 0 {
			t.report(p.pc, n, time.Now(), every)
		}
	}
}

// WaitConnected waits until media can flow.
func (p *Publisher) WaitConnected(ctx context.Context) error { return p.waitConnected(ctx) }

// Done is closed when the connection has failed or was closed, by either side.
func (p *Publisher) Done() <-chan struct{} { return p.ended }

// Pause stops the media, and leaves the connection as it is.
func (p *Publisher) Pause() { p.paused.Store(true) }

// Resume undoes [Publisher.Pause]. Video goes on with a keyframe.
func (p *Publisher) Resume() { p.paused.Store(false) }

// Stop ends the session as WHIP clients do, with a DELETE, and waits until all
// has ended. ctx bounds the DELETE. It is idempotent.
func (p *Publisher) Stop(ctx context.Context) error {
	p.end(func() error { return p.leave(ctx) })
	return p.stopErr
}

// Kill ends the publisher as a power cut does: not a word is sent.
func (p *Publisher) Kill() {
	p.mute.muted.Store(true)
	p.end(func() error { return nil })
}

// end ends the publisher once; all calls wait for it.
func (p *Publisher) end(leave func() error) {
	p.once.Do(func() {
		close(p.quit)
		p.stopErr = leave()
		if err := p.close(); p.stopErr == nil {
			p.stopErr = err
		}
	})
	p.running.Wait()
}

// PublisherReport is what a [Publisher] did.
type PublisherReport struct {
	Video []SentLayer // in the order of Video.Layers
	Audio SentLayer
}

// SentLayer is what a [Publisher] did in one layer.
type SentLayer struct {
	RID       string
	SSRC      uint32
	Frames    int
	Keyframes int
	Packets   int
	Bytes     int // of RTP payload
	PLIs      int // picture loss indications that came
	FIRs      int // full intra requests that came
	NACKs     int // sequence numbers that were asked for again
	// Log has an entry for each frame, in order.
	Log []SentFrame
}

// KeyframeRequests returns how often the layer was asked for a keyframe.
func (l SentLayer) KeyframeRequests() int { return l.PLIs + l.FIRs }

// A SentFrame is one frame that a [Publisher] sent.
type SentFrame struct {
	Number  uint32
	Key     bool
	Packets int
	Sent    time.Time
}

// Report returns what the publisher did so far.
func (p *Publisher) Report() PublisherReport {
	var r PublisherReport
	for _, t := range p.tracks {
		for _, l := range t.layers {
			if t.kind == cdn.Audio {
				r.Audio = l.report()
			} else {
				r.Video = append(r.Video, l.report())
			}
		}
	}
	return r
}

func (c PublisherConfig) withDefaults() PublisherConfig {
	if c.Video == nil && c.Audio == nil {
		c.Video, c.Audio = &Video{}, &Audio{}
	}
	if c.Video != nil {
		v := c.Video.withDefaults()
		c.Video = &v
	}
	if c.Audio != nil {
		a := *c.Audio
		setDefault(&a.Bitrate, 48_000)
		c.Audio = &a
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint32()
	}
	if c.SenderReports == 0 {
		c.SenderReports = time.Second
	}
	return c
}

func (v Video) withDefaults() Video {
	if v.Codec == "" {
		v.Codec = "video/VP8"
	}
	setDefault(&v.FPS, 30)
	setDefault(&v.Bitrate, 1_000_000)
	setDefault(&v.KeyframeInterval, 2*time.Second)
	setDefault(&v.KeyframeScale, 4)
	setDefault(&v.PayloadSize, 1200)
	if len(v.Layers) == 0 {
		v.Layers = []VideoLayer{{Width: 320, Height: 180}}
	}
	v.Layers = append([]VideoLayer(nil), v.Layers...)
	for i := range v.Layers {
		setDefault(&v.Layers[i].Bitrate, v.Bitrate)
	}
	return v
}

func setDefault[T ~int | ~int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

func (c PublisherConfig) client() clientConfig {
	return clientConfig{
		net: c.Net, dialer: c.Dialer, url: c.URL,
		offer:       signal.Offer{Stream: c.Stream, Credential: c.Credential},
		certificate: c.Certificate, logger: c.Logger, tune: c.Tune,
	}
}

func (c PublisherConfig) codecs() (codecSet, error) {
	set := codecSet{nack: !c.NoRTX, rtx: !c.NoRTX, extensions: map[cdn.Kind][]string{}}
	if v := c.Video; v != nil {
		codec, ok := findCodec(v.Codec, v.Fmtp)
		if !ok {
			return set, fmt.Errorf("cdntest: unknown codec %q", v.Codec)
		}
		set.video = []cdn.Codec{codec}
		set.extensions[cdn.Video] = append([]string{midURI, ridURI, repairedRIDURI}, v.Extensions...)
	}
	if a := c.Audio; a != nil {
		set.audio = []cdn.Codec{a.codec()}
		set.extensions[cdn.Audio] = append([]string{midURI}, a.Extensions...)
	}
	return set, nil
}

func (a Audio) codec() cdn.Codec {
	c := opusCodec()
	if a.Stereo {
		c.Fmtp += ";stereo=1;sprop-stereo=1"
	}
	return c
}

func itoa(i int) string { return strconv.Itoa(i) }
