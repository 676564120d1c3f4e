package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/signal"
)

const (
	connectTimeout = 10 * time.Second // from the offer to the first packet
	deleteTimeout  = 2 * time.Second
)

// session publishes until ctx ends or the connection does. connected tells
// whether media flowed.
func (p *publisher) session(ctx context.Context) (connected bool, err error) {
	pe, err := p.newPeer(ctx)
	if err != nil {
		return false, err
	}
	defer pe.close()

	asking, cancel := context.WithTimeout(pe.ctx, connectTimeout)
	defer cancel()
	remote, err := p.dial(asking, pe.pc)
	if err != nil {
		return false, err
	}
	defer func() {
		deleting, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
		defer cancel()
		if e := remote.Close(deleting); e != nil {
			p.log.Debug("session is not deleted", "err", e)
		}
	}()

	answer := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: remote.SDP()}
	if err := pe.pc.SetRemoteDescription(answer); err != nil {
		return false, fmt.Errorf("answer: %w", err)
	}
	select {
	case <-pe.connected:
	case <-asking.Done():
		return false, fmt.Errorf("connecting: %w", context.Cause(asking))
	}
	p.log.Info("demo clip is being sent")
	return true, p.send(pe)
}

// dial makes the offer, with every candidate in it, and asks the server.
func (p *publisher) dial(ctx context.Context, pc *webrtc.PeerConnection) (signal.RemoteSession, error) {
	gathered := webrtc.GatheringCompletePromise(pc)
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return nil, fmt.Errorf("offer: %w", err)
	}
	if err := pc.SetLocalDescription(offer); err != nil {
		return nil, fmt.Errorf("offer: %w", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return nil, fmt.Errorf("gathering: %w", context.Cause(ctx))
	}
	return p.cfg.Dialer.Dial(ctx, p.cfg.URL, signal.Offer{
		Stream:     p.cfg.Stream,
		SDP:        pc.LocalDescription().SDP,
		Credential: p.cfg.Credential,
	})
}

// send writes the clip as it falls due, from a keyframe on, until pe ends.
func (p *publisher) send(pe *peer) error {
	if p.pacer == nil {
		p.pacer = newPacer(p.clip, time.Now())
	}
	p.pacer.skip(time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		u, media, due := p.pacer.peek()
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-pe.ctx.Done():
			return context.Cause(pe.ctx)
		}
		if now := time.Now(); p.pacer.late(now) {
			p.pacer.skip(now)
			continue
		}
		if err := p.write(pe, u, media); err != nil {
			return err
		}
		p.pacer.advance()
	}
}

func (p *publisher) write(pe *peer, u unit, media time.Duration) error {
	track, packetizer := pe.audio, p.audio
	if u.video {
		track, packetizer = pe.video, p.video
	}
	for _, packet := range packetizer.packets(u, media) {
		if err := track.WriteRTP(packet); err != nil {
			return fmt.Errorf("writing %s: %w", track.Kind(), err)
		}
	}
	return nil
}
