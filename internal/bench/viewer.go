package main

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
	"github.com/pion/webrtc/v4"
)

// A viewer counts packets by their clear headers. Only a full one has pion
// decrypt them: to do so for all would cost more than any server that is
// measured. It does not look at the packets' numbers, since a server that leaves
// something out may close the gap: what is missing shows beside the publisher's
// own count.
type viewer struct {
	pc        *webrtc.PeerConnection
	session   session
	full      bool
	flow      *flow // nil: nobody asks for it
	reception reception
	quit      chan struct{}
	wg        sync.WaitGroup

	connected atomic.Bool
	got       atomic.Uint64 // packets

	mu      sync.Mutex
	latency []time.Duration

	once     sync.Once
	keyframe chan time.Time // when a full viewer had the first packet of the first one
	whole    chan time.Time // when it had the last packet of that
}

func view(ctx context.Context, url string, full bool, l load) (*viewer, error) {
	v, err := newViewer(full, nil, l)
	if err != nil {
		return nil, err
	}
	o, err := offerOf(v.pc)
	if err == nil {
		v.session, err = o.take(ctx, url, "")
	}
	if err != nil {
		v.close()
		return nil, err
	}
	v.plays()
	return v, nil
}

// newViewer makes a viewer that has still to connect. What comes to it is noted in f,
// unless that is nil.
func newViewer(full bool, f *flow, l load) (*viewer, error) {
	v := &viewer{full: full, flow: f, reception: newReception(l), quit: make(chan struct{}), keyframe: make(chan time.Time, 1), whole: make(chan time.Time, 1)}
	base, err := stdnet.NewNet()
	if err != nil {
		return nil, err
	}
	var s webrtc.SettingEngine
	s.SetNet(tapNet{base, v, l.gro, l.stamps})
	if v.pc, err = newPeer(s, l.signals); err != nil {
		return nil, err
	}
	kinds := []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio}
	if !l.sound {
		kinds = append(kinds, webrtc.RTPCodecTypeVideo)
	}
	for _, kind := range kinds {
		if _, err := v.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			v.close()
			return nil, err
		}
	}
	v.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { v.read(track) })
	return v, nil
}

// plays says that the viewer is connected.
func (v *viewer) plays() {
	v.reception.negotiated(v.pc.RemoteDescription().SDP)
	v.connected.Store(true)
	v.wg.Go(v.report)
}

// report tells the server what is heard, as players do.
func (v *viewer) report() {
	tick := time.NewTicker(v.reception.signals.interval())
	defer tick.Stop()
	for {
		if packets := v.reception.report(time.Now()); len(packets) > 0 {
			_ = v.pc.WriteRTCP(packets)
		}
		select {
		case <-tick.C:
		case <-v.quit:
			return
		}
	}
}

func (v *viewer) read(track *webrtc.TrackRemote) {
	begun := false // the first keyframe
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if track.Kind() == webrtc.RTPCodecTypeVideo && beginsKeyframe(p.Payload) {
			v.once.Do(func() {
				v.keyframe <- time.Now()
				begun = true
			})
		}
		if begun && p.Marker {
			v.whole <- time.Now()
			begun = false
		}
		if len(p.Payload) >= stampOffset+8 {
			sent := time.Unix(0, int64(binary.BigEndian.Uint64(p.Payload[stampOffset:])))
			v.mu.Lock()
			v.latency = append(v.latency, time.Since(sent))
			v.mu.Unlock()
		}
	}
}

// beginsKeyframe reports whether it is the first packet of one, by the two bits
// of VP8 that sendFrame sets.
func beginsKeyframe(payload []byte) bool {
	return len(payload) > 1 && payload[0]&0x10 != 0 && payload[1]&1 == 0
}

// late returns the latencies that were noted since it was last called.
func (v *viewer) late() []time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	latency := v.latency
	v.latency = nil
	return latency
}

func (v *viewer) close() {
	select {
	case <-v.quit:
	default:
		close(v.quit)
	}
	_ = v.pc.Close()
	v.wg.Wait()
}

// count notes an RTP packet that came at a time, and reports whether pion need not see it.
func (v *viewer) count(b []byte, at time.Time) (taken bool) {
	const headerLen = 12
	if len(b) < headerLen || b[0]>>6 != 2 || b[1] >= 192 && b[1] < 224 {
		return false
	}
	v.got.Add(1)
	if v.flow != nil {
		v.flow.note(b)
	}
	if !v.connected.Load() {
		return false
	}
	if feedback := v.reception.note(b, at); feedback != nil {
		_ = v.pc.WriteRTCP([]rtcp.Packet{feedback})
	}
	return !v.full
}

// tapNet is a network whose UDP sockets show what comes to their viewer first.
type tapNet struct {
	*stdnet.Net
	viewer *viewer
	gro    bool
	stamps bool
}

func (n tapNet) ListenUDP(network string, addr *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := listen(network, addr)
	if err != nil {
		return nil, err
	}
	t := &tap{conn, n.viewer, nil}
	if n.gro || n.stamps {
		if t.whole, err = newMessages(conn, n.gro, n.stamps); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return t, nil
}

// listen opens the socket of one who is sent to.
func listen(network string, addr *net.UDPAddr) (*net.UDPConn, error) {
	conn, err := net.ListenUDP(network, addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(4 << 20) // as much as the system allows
	return conn, nil
}

type tap struct {
	*net.UDPConn
	viewer *viewer
	whole  *messages // nil: packets are read one by one
}

func (t *tap) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, at, err := t.read(b)
		if err != nil {
			return n, nil, err
		}
		if !t.viewer.count(b[:n], at) {
			return n, net.UDPAddrFromAddrPort(from), nil
		}
	}
}

// read returns a packet, and when it came if the system says so.
func (t *tap) read(b []byte) (n int, from netip.AddrPort, at time.Time, err error) {
	if t.whole == nil {
		n, from, err = t.ReadFromUDPAddrPort(b)
		return n, from, at, err
	}
	packet, from, err := t.whole.next()
	return copy(b, packet), from, t.whole.at, err
}
