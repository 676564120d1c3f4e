package pcrecv

import (
	"context"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/receive"
)

// An Exchange carries our offer to a server and returns its answer.
type Exchange func(ctx context.Context, offer string) (answer string, err error)

// Offer starts a session that receives what a server has, by an offer of one audio and
// one video section with the codecs of [offered]. The input must not be started: it is,
// as soon as it is known in which codecs the server sends. It is closed when the session
// ends, and on an error. Errors are those of exchange, and wrap [cdn.ErrInvalid] and
// [cdn.ErrNoCommonCodec] for an answer that is of no use.
func Offer(ctx context.Context, c Config, exchange Exchange) (*Session, error) {
	c.Dial = true
	engine, err := offerEngine()
	if err != nil {
		c.Input.Close(err)
		return nil, err
	}
	s := &Session{config: c, bound: receive.Bound{Max: c.MaxBitrate}}
	if err := s.connect(engine); err != nil {
		c.Input.Close(err)
		return nil, err
	}
	if err = s.invite(ctx, exchange); err == nil {
		err = s.Keep()
	}
	if err != nil {
		s.End(err)
		<-s.Done()
		return nil, err
	}
	s.Go(s.watchInput)
	return s, nil
}

// invite makes the offer and takes the answer.
func (s *Session) invite(ctx context.Context, exchange Exchange) error {
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		_, err := s.PC().AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		if err != nil {
			return err
		}
	}
	if err := s.Session.Offer(ctx, nil); err != nil {
		return err
	}
	answer, err := exchange(ctx, s.SDP())
	if err != nil {
		return err
	}
	first := func(cdn.Kind, []cdn.Codec) int { return 0 } // until packets tell
	if s.plan, err = receive.Accept(answer, first); err != nil {
		return err
	}
	s.codecs = newAnsweredCodecs(s.plan)
	s.Go(s.startWhenKnown)
	return s.Accept(ctx, answer)
}

// startWhenKnown starts the input when the codecs are known.
func (s *Session) startWhenKnown() {
	select {
	case <-s.codecs.known:
	case <-s.codecs.arriving:
		late := time.NewTimer(codecsWithin)
		defer late.Stop()
		select {
		case <-s.codecs.known:
		case <-late.C:
		case <-s.Stopping():
			return
		}
	case <-s.Stopping():
		return
	}
	s.codecs.finish()
	if err := s.config.Input.Start(s.plan.Tracks); err != nil {
		s.End(err)
		return
	}
	close(s.codecs.started)
}

// awaitStart waits until the input was started. It is false if the session ends first.
func (s *Session) awaitStart() bool {
	select {
	case <-s.codecs.started:
		return true
	case <-s.Stopping():
		return false
	}
}
