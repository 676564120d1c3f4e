package cdntest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/transport/v4"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// ViewerConfig sets up a [Viewer].
type ViewerConfig struct {
	// Net is where it receives: a [Host]'s. If nil, the real network's
	// loopback address.
	Net transport.Net
	// Dialer carries its offer to URL. Required.
	Dialer     signal.Dialer
	URL        string
	Stream     cdn.StreamID
	Layer      string // the simulcast layer it wants. If empty, the best
	Credential string
	// Invited: the server makes the offer ([signal.Offerer]).
	Invited bool

	// Kinds are what it wants of the stream. If empty, audio and video.
	Kinds []cdn.Kind
	// Codecs are the MIME types that it can receive. If empty, all that a
	// [Publisher] can send.
	Codecs []string
	// Extensions are the URIs of the header extensions that it takes.
	Extensions []string

	// NoNACK: it asks for no lost packet again. NoRTX: it does, but takes the
	// answer only as the lost packet itself.
	NoNACK, NoRTX bool
	// NACKInterval is how often it looks for lost packets. If zero, 20 ms.
	NACKInterval time.Duration
	// ReceiverReports is the time between two receiver reports. If zero, 1 s;
	// if negative, none.
	ReceiverReports time.Duration
	// Mute: it sends no RTCP at all, as a viewer does whose way back is
	// blocked.
	Mute bool

	// Certificate is its DTLS certificate. If nil, its [Network]'s, or a new
	// one.
	Certificate *webrtc.Certificate
	// Logger gets pion's messages. If nil, nobody does.
	Logger logging.LoggerFactory
	// Tune may change pion's settings before the connection is made.
	Tune func(*webrtc.SettingEngine, *webrtc.MediaEngine, *interceptor.Registry) error
}

// A Viewer receives what a [Publisher] sent and checks every packet. Its methods
// may be called concurrently.
type Viewer struct {
	*client

	// Static after NewViewer.
	config  ViewerConfig
	began   time.Time
	once    sync.Once
	stopErr error
	running sync.WaitGroup

	mu          sync.Mutex
	closing     bool // no reader may start any more
	connectedAt time.Time
	tracks      []*receivedTrack
	requests    int           // for keyframes
	changed     chan struct{} // closed, and replaced, at each whole frame and BYE
}

// View starts a viewer, or fails the test. It is closed when t ends.
func View(t testing.TB, c ViewerConfig) *Viewer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), joinTimeout)
	defer cancel()
	v, err := NewViewer(ctx, c)
	if err != nil {
		t.Fatalf("cdntest: view %s: %v", c.Stream, err)
	}
	t.Cleanup(func() { _ = v.Close() }) // its server may be gone, which is no fault of the test
	return v
}

// NewViewer starts a viewer, which the caller must close. It returns when
// server and viewer have exchanged descriptions; the connection is then being
// made. Its error is the Dialer's where the server refused.
func NewViewer(ctx context.Context, c ViewerConfig) (*Viewer, error) {
	c = c.withDefaults()
	set, err := c.codecs()
	if err != nil {
		return nil, err
	}
	interceptors, err := c.feedback()
	if err != nil {
		return nil, err
	}
	v := &Viewer{config: c, began: time.Now(), changed: make(chan struct{})}
	if v.client, err = newClient(c.client(), set, interceptors...); err != nil {
		return nil, err
	}
	if err := v.start(ctx); err != nil {
		v.end(func() error { return v.leave(ctx) })
		return nil, err
	}
	return v, nil
}

func (v *Viewer) start(ctx context.Context) error {
	v.pc.OnTrack(v.receive)
	if !v.config.Invited {
		for _, k := range v.config.Kinds {
			_, err := v.pc.AddTransceiverFromKind(rtpKind(k),
				webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
			if err != nil {
				return err
			}
		}
	}
	v.running.Go(v.noteConnected)
	return v.negotiate(ctx, v.config.Invited)
}

// feedback returns what sends the viewer's regular RTCP.
func (c ViewerConfig) feedback() ([]interceptor.Factory, error) {
	var all []interceptor.Factory
	if c.ReceiverReports > 0 && !c.Mute {
		f, err := report.NewReceiverInterceptor(report.ReceiverInterval(c.ReceiverReports))
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	if !c.NoNACK && !c.Mute {
		f, err := newNACKGenerator(c.NACKInterval)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// newNACKGenerator returns what asks for lost packets again.
func newNACKGenerator(interval time.Duration) (interceptor.Factory, error) {
	return nack.NewGeneratorInterceptor(nack.GeneratorInterval(interval), nack.GeneratorSize(1024))
}

func (v *Viewer) noteConnected() {
	select {
	case <-v.connected:
		v.mu.Lock()
		defer v.mu.Unlock()
		v.connectedAt = time.Now()
	case <-v.ended:
	}
}

// receive reads a track, on the goroutine that pion made for it.
func (v *Viewer) receive(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	t := newReceivedTrack(remote, receiver)
	v.mu.Lock()
	if v.closing {
		v.mu.Unlock()
		return
	}
	v.tracks = append(v.tracks, t)
	v.running.Add(1)
	v.running.Go(func() { v.readReports(t, receiver) })
	v.mu.Unlock()
	defer v.running.Done()
	v.readPackets(t, remote)
}

func (v *Viewer) readPackets(t *receivedTrack, remote *webrtc.TrackRemote) {
	buf := make([]byte, 1<<16)
	for {
		n, attributes, err := remote.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		repaired := attributes.Get(webrtc.AttributeRtxSequenceNumber) != nil
		v.mu.Lock()
		if whole := t.packet(now, buf[:n], repaired); whole {
			v.notifyLocked()
		}
		v.mu.Unlock()
	}
}

func (v *Viewer) readReports(t *receivedTrack, receiver *webrtc.RTPReceiver) {
	for {
		packets, _, err := receiver.ReadRTCP()
		if err != nil {
			return
		}
		now := time.Now()
		v.mu.Lock()
		if ended := t.rtcp(now, packets); ended {
			v.notifyLocked()
		}
		v.mu.Unlock()
	}
}

func (v *Viewer) notifyLocked() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// WaitConnected waits until media can flow.
func (v *Viewer) WaitConnected(ctx context.Context) error { return v.waitConnected(ctx) }

// Done is closed when the connection has failed or was closed, by either side.
func (v *Viewer) Done() <-chan struct{} { return v.ended }

// WaitFrames waits until n whole frames of video have come, or of audio if the
// viewer wants no video. Its error says how many have.
func (v *Viewer) WaitFrames(ctx context.Context, n int) error {
	kind := v.mainKind()
	err := v.waitUntil(ctx, func() bool { return v.framesLocked(kind) >= n })
	if err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		return fmt.Errorf("cdntest: %d of %d frames of %v: %w", v.framesLocked(kind), n, kind, err)
	}
	return nil
}

// WaitBye waits until the server has said that all tracks ended (RFC 3550
// section 6.6).
func (v *Viewer) WaitBye(ctx context.Context) error {
	return v.waitUntil(ctx, func() bool {
		for _, t := range v.tracks {
			if t.report.Bye.IsZero() {
				return false
			}
		}
		return len(v.tracks) > 0
	})
}

// waitUntil waits until done, which is called with mu held, returns true.
func (v *Viewer) waitUntil(ctx context.Context, done func() bool) error {
	for {
		v.mu.Lock()
		ok, changed := done(), v.changed
		v.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-v.ended:
			return cdn.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (v *Viewer) mainKind() cdn.Kind {
	for _, k := range v.config.Kinds {
		if k == cdn.Video {
			return cdn.Video
		}
	}
	return cdn.Audio
}

func (v *Viewer) framesLocked(k cdn.Kind) int {
	var n int
	for _, t := range v.tracks {
		if t.report.Kind == k {
			n += len(t.report.Frames)
		}
	}
	return n
}

// RequestKeyframe sends a picture loss indication for each video track. A muted
// viewer cannot.
func (v *Viewer) RequestKeyframe() error {
	return v.request(func(ssrc uint32) rtcp.Packet {
		return &rtcp.PictureLossIndication{MediaSSRC: ssrc}
	})
}

// RequestKeyframeFIR sends a full intra request (RFC 5104 section 4.3.1) for
// each video track, as some clients do in place of a PLI.
func (v *Viewer) RequestKeyframeFIR() error {
	return v.request(func(ssrc uint32) rtcp.Packet {
		return &rtcp.FullIntraRequest{
			MediaSSRC: ssrc, FIR: []rtcp.FIREntry{{SSRC: ssrc, SequenceNumber: uint8(v.requests)}},
		}
	})
}

// request sends a packet for each video track; packet is called with mu held.
func (v *Viewer) request(packet func(ssrc uint32) rtcp.Packet) error {
	if v.config.Mute {
		return errors.New("cdntest: the viewer is mute")
	}
	v.mu.Lock()
	var packets []rtcp.Packet
	for _, t := range v.tracks {
		if t.report.Kind == cdn.Video {
			v.requests++
			packets = append(packets, packet(t.report.SSRC))
		}
	}
	v.mu.Unlock()
	if len(packets) == 0 {
		return errors.New("cdntest: no video track yet")
	}
	return v.pc.WriteRTCP(packets)
}

// Close ends the session as WHEP clients do, with a DELETE, and waits until all
// has ended. It is idempotent.
func (v *Viewer) Close() error {
	v.end(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		return v.leave(ctx)
	})
	return v.stopErr
}

// Kill ends the viewer as a power cut does: not a word is sent.
func (v *Viewer) Kill() {
	v.mute.muted.Store(true)
	v.end(func() error { return nil })
}

// end ends the viewer once; all calls wait for it.
func (v *Viewer) end(leave func() error) {
	v.once.Do(func() {
		v.mu.Lock()
		v.closing = true
		v.mu.Unlock()
		v.stopErr = leave()
		if err := v.close(); v.stopErr == nil {
			v.stopErr = err
		}
	})
	v.running.Wait()
}

func (c ViewerConfig) withDefaults() ViewerConfig {
	if len(c.Kinds) == 0 {
		c.Kinds = []cdn.Kind{cdn.Video, cdn.Audio}
	}
	if len(c.Codecs) == 0 {
		for _, codec := range append(videoCodecs(), opusCodec()) {
			c.Codecs = append(c.Codecs, codec.MimeType)
		}
	}
	setDefault(&c.NACKInterval, 20*time.Millisecond)
	if c.ReceiverReports == 0 {
		c.ReceiverReports = time.Second
	}
	return c
}

func (c ViewerConfig) client() clientConfig {
	return clientConfig{
		net: c.Net, dialer: c.Dialer, url: c.URL,
		offer:       signal.Offer{Stream: c.Stream, Layer: c.Layer, Credential: c.Credential},
		certificate: c.Certificate, logger: c.Logger, tune: c.Tune,
	}
}

func (c ViewerConfig) codecs() (codecSet, error) {
	set := codecSet{rtx: !c.NoRTX, nack: !c.NoNACK, extensions: map[cdn.Kind][]string{}}
	for _, mime := range c.Codecs {
		codec, ok := findCodec(mime, "")
		switch {
		case !ok:
			return set, fmt.Errorf("cdntest: unknown codec %q", mime)
		case strings.HasPrefix(strings.ToLower(mime), "audio/"):
			set.audio = append(set.audio, codec)
		default:
			set.video = append(set.video, codec)
		}
	}
	for _, k := range []cdn.Kind{cdn.Audio, cdn.Video} {
		set.extensions[k] = append([]string{midURI}, c.Extensions...)
	}
	return set, nil
}
