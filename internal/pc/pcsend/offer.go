package pcsend

import (
	"context"
	"fmt"
	"slices"

	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send"
)

// An Exchange carries our offer to a server and returns its answer.
type Exchange func(ctx context.Context, offer string) (answer string, err error)

// Offer starts a session that sends the stream to a server, as a publisher would: each
// track in the codec that it has, in one layer, which follows c.Layer and what the
// server's feedback allows, as a viewer's does. The caller ends the session when the
// stream has ended. Errors are those of exchange, and wrap [cdn.ErrNoCommonCodec] if the
// server takes no track.
func Offer(ctx context.Context, c Config, exchange Exchange) (*Session, error) {
	lines, engine, err := planPublish(c.Stream.Tracks())
	if err != nil {
		return nil, err
	}
	s, conn, err := newSession(c, engine, true)
	if err != nil {
		return nil, err
	}
	if err := s.invite(ctx, conn, lines, exchange); err != nil {
		s.End(err)
		<-s.Done()
		return nil, err
	}
	if err := s.Keep(); err != nil {
		return nil, err
	}
	s.set.Warm()
	return s, nil
}

// planPublish plans an offer with an m-section for each track.
func planPublish(tracks []*cdn.Track) (lines []*offerLine, engine *webrtc.MediaEngine, err error) {
	engine = &webrtc.MediaEngine{}
	pt := uint8(firstPayload)
	for _, t := range tracks {
		info := t.Info()
		c := sdp.Codec{Codec: info.Codec, PT: pt, Feedback: feedback[:1]}
		pt++
		if info.Kind == cdn.Video {
			c.RTX, c.Feedback = pt, feedback
			pt++
		}
		extensions := append([]string{uriMid}, sdp.Travelling(info.Extensions)...)
		if err := sdp.Register(engine, info.Kind, c, extensions[:min(len(extensions), maxExtensions)]); err != nil {
			return nil, nil, err
		}
		lines = append(lines, &offerLine{Line: send.Line{Track: t, PT: c.PT, RTX: c.RTX}, codec: c})
	}
	return lines, engine, nil
}

func (s *Session) invite(ctx context.Context, conn *webrtc.PeerConnection, lines []*offerLine, exchange Exchange) error {
	for _, l := range lines {
		layer, err := s.config.Pick(l.Track)
		if err != nil {
			return err
		}
		l.layers = []*cdn.Layer{layer}
		if err := s.addOfferLine(conn, l); err != nil {
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
	a, err := sdp.Parse(answer)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(a.Media, func(m *sdp.Media) bool { return m.Kind != 0 && !m.Rejected && m.Receives && len(m.Codecs) > 0 }) {
		return fmt.Errorf("%w: the server takes none of the tracks", cdn.ErrNoCommonCodec)
	}
	return s.Accept(ctx, answer)
}

// addOfferLine adds an m-section that sends.
func (s *Session) addOfferLine(conn *webrtc.PeerConnection, l *offerLine) error {
	t := &track{sender: s.set.Add(&l.Line, l.layers[0], ""), line: &l.Line, codec: l.codec}
	transceiver, err := conn.AddTransceiverFromTrack(t, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return err
	}
	t.transceiver = transceiver
	preferred := []webrtc.RTPCodecParameters{t.parameters()}
	if l.RTX != 0 {
		preferred = append(preferred, webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: l.codec.ClockRate, SDPFmtpLine: fmt.Sprintf("apt=%d", l.PT)},
			PayloadType:        webrtc.PayloadType(l.RTX),
		})
	}
	if err := transceiver.SetCodecPreferences(preferred); err != nil {
		return err
	}
	s.Go(func() { s.readRTCP(t, transceiver.Sender().Read) })
	return nil
}
