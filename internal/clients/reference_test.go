package clients

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/vp8"
)

// A reference is a viewer made of pion. It counts whole frames from the first
// keyframe on, and decodes keyframes of VP8.
type reference struct {
	pc *webrtc.PeerConnection

	mu     sync.Mutex
	counts counts
	codec  string
	err    error // the first, in what came
}

// view plays url until t ends.
func view(t *testing.T, url string) *reference {
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	r := &reference{pc: pc}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		_, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
	}
	pc.OnTrack(r.receive)
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.counts.State = s.String()
	})
	t.Cleanup(func() { _ = pc.GracefulClose() })
	offer, err := pc.CreateOffer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(pc)
	require.NoError(t, pc.SetLocalDescription(offer))
	<-gathered
	resp, body := post(t, url, pc.LocalDescription().SDP)
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: body}))
	return r
}

func post(t *testing.T, url, sdp string) (*http.Response, string) {
	resp, err := http.Post(url, "application/sdp", strings.NewReader(sdp))
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

func (r *reference) receive(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	if track.Kind() == webrtc.RTPCodecTypeAudio {
		for {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
			r.mu.Lock()
			r.counts.Audio++
			r.mu.Unlock()
		}
	}
	r.mu.Lock()
	r.codec = track.Codec().MimeType
	r.mu.Unlock()
	f := frames{codec: track.Codec().MimeType}
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		frame, err := f.take(p)
		r.mu.Lock()
		switch {
		case err != nil:
			r.err = cmp.Or(r.err, err)
		case frame == nil:
		default:
			r.err = cmp.Or(r.err, r.countLocked(frame, f.gaps))
		}
		r.mu.Unlock()
	}
}

// countLocked counts a frame that has come whole.
func (r *reference) countLocked(frame []byte, gaps bool) error {
	key := false
	switch r.codec {
	case webrtc.MimeTypeVP8:
		key = frame[0]&1 == 0
	case webrtc.MimeTypeH264:
		key = bytes.Contains(frame, []byte{0, 0, 1, 0x65}) || bytes.Contains(frame, []byte{0, 0, 1, 0x25}) || bytes.Contains(frame, []byte{0, 0, 1, 0x45})
	}
	if key {
		r.counts.Keyframes++
	}
	if r.counts.Keyframes == 0 {
		if !gaps {
			return errors.New("the first frame cannot be decoded alone")
		}
		return nil // the keyframe was lost on the publisher's way, and not repaired
	}
	r.counts.Video++
	if !key || r.codec != webrtc.MimeTypeVP8 {
		return nil
	}
	d := vp8.NewDecoder()
	d.Init(bytes.NewReader(frame), len(frame))
	header, err := d.DecodeFrameHeader()
	if err == nil {
		_, err = d.DecodeFrame()
	}
	r.counts.Width = header.Width
	return err
}

func (r *reference) read(*testing.T) counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// frames puts the packets of a track together. A gap in their numbers ends a frame
// that is not whole.
type frames struct {
	codec string
	next  uint16
	begun bool
	parts []byte
	lost  bool // a part of the present frame
	gaps  bool // some packet
	h264  codecs.H264Packet
}

func (f *frames) take(p *rtp.Packet) (frame []byte, err error) {
	if f.begun && p.SequenceNumber != f.next {
		f.lost, f.gaps = true, true // lost until the next frame
	}
	f.begun, f.next = true, p.SequenceNumber+1
	if len(p.Payload) == 0 {
		return nil, nil // padding
	}
	var payload []byte
	switch f.codec {
	case webrtc.MimeTypeVP8:
		var d codecs.VP8Packet
		if payload, err = d.Unmarshal(p.Payload); err != nil {
			return nil, err
		}
		if d.S == 1 && d.PID == 0 {
			f.parts, f.lost = nil, false
		}
	case webrtc.MimeTypeH264:
		if payload, err = f.h264.Unmarshal(p.Payload); err != nil {
			return nil, err
		}
	default:
		payload = p.Payload
	}
	f.parts = append(f.parts, payload...)
	if !p.Marker {
		return nil, nil
	}
	frame, f.parts = f.parts, nil
	if f.lost || len(frame) == 0 {
		f.lost = false
		return nil, nil
	}
	return frame, nil
}

// patience bounds every wait. It is not asserted: a slow machine only waits.
const (
	patience     = 45 * time.Second
	pollInterval = 50 * time.Millisecond
)
