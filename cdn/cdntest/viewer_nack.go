package cdntest

import (
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn/internal/nack"
)

// A repairer asks for the packets that a track misses. It counts those that
// come by RTX too, which pion's own generator asks for again and again.
type repairer struct {
	pc   *webrtc.PeerConnection
	ssrc uint32

	mu      sync.Mutex
	gen     *nack.Generator
	timer   *time.Timer
	pending sync.WaitGroup // timers that have fired
	closed  bool
}

func newRepairer(pc *webrtc.PeerConnection, ssrc uint32) *repairer {
	return &repairer{pc: pc, ssrc: ssrc, gen: nack.New(nack.Config{})}
}

// received notes the packet with extended sequence number seq.
func (r *repairer) received(now time.Time, seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gen.Received(now, seq)
	if r.gen.Missing() > 0 {
		r.askLocked(now)
	}
}

// askLocked sends what is due and sees to it that the rest will be.
func (r *repairer) askLocked(now time.Time) {
	due, next := r.gen.Due(now, nil)
	if len(due) > 0 {
		seqs := make([]uint16, len(due))
		for i, seq := range due {
			seqs[i] = uint16(seq)
		}
		_ = r.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
			MediaSSRC: r.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(seqs),
		}}) // lost or refused, it is sent again
	}
	if next.IsZero() || r.closed {
		return
	}
	r.stopLocked()
	r.pending.Add(1)
	r.timer = time.AfterFunc(next.Sub(now), func() {
		defer r.pending.Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.closed {
			r.askLocked(time.Now())
		}
	})
}

func (r *repairer) stopLocked() {
	if r.timer != nil && r.timer.Stop() {
		r.pending.Done()
	}
	r.timer = nil
}

// close waits until nothing is sent any more.
func (r *repairer) close() {
	r.mu.Lock()
	r.closed = true
	r.stopLocked()
	r.mu.Unlock()
	r.pending.Wait()
}
