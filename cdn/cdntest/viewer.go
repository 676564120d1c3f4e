package cdntest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

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
// made. Where the server makes an offer of its own ([signal.CounterOffer]), the
// viewer answers that. Its error is the Dialer's where the server refused.
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
		var counter *signal.CounterOffer
		if errors.As(err, &counter) && !c.Invited {
			c.Invited, c.Dialer = true, offered{counter.Session}
			return NewViewer(ctx, c)
		}
		return nil, err
	}
	return v, nil
}

// offered dials a session that is there already, whose SDP is the server's offer.
type offered struct{ session signal.RemoteSession }

func (o offered) Dial(context.Context, string, signal.Offer) (signal.RemoteSession, error) {
	return o.session, nil
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
	if remote.Kind() == webrtc.RTPCodecTypeVideo && !v.config.NoNACK && !v.config.Mute {
		t.repair = newRepairer(v.pc, uint32(remote.SSRC()))
		defer t.repair.close()
	}
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
