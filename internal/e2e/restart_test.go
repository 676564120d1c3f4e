package delta_test

import (
	"context"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal"
)

// A viewer that has another address restarts ICE by PATCH, and its media goes
// on in the same session.
func TestICERestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		p := w.publish(o, "live", path, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))

		var settings webrtc.SettingEngine
		w.network.Host("viewer", path).Use(&settings)
		pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
		require.NoError(t, err)
		defer func() { require.NoError(t, pc.GracefulClose()) }()
		_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
		var packets atomic.Int64
		pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			for buf := make([]byte, 1500); ; packets.Add(1) {
				if _, _, err := track.Read(buf); err != nil {
					return
				}
			}
		})
		s, err := o.edge.Offer(context.Background(), signal.Offer{Stream: "live", SDP: offerOf(t, pc, false)})
		require.NoError(t, err)
		require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: s.SDP()}))
		time.Sleep(2 * time.Second)
		require.Positive(t, packets.Load())

		offer := offerOf(t, pc, true)
		fragment, err := s.Patch(context.Background(), "a=ice-ufrag:"+attr(offer, "ice-ufrag")+"\r\na=ice-pwd:"+attr(offer, "ice-pwd")+"\r\n")
		require.NoError(t, err)
		answer := s.SDP()
		require.Equal(t, attr(answer, "ice-ufrag"), attr(fragment, "ice-ufrag"), "what is said of the restart is what is so")
		requireOneComponent(t, s.SDP(), fragment)
		require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
		time.Sleep(2 * time.Second)
		before := packets.Load()
		time.Sleep(30 * time.Second)
		require.Greater(t, packets.Load(), before+500)
		require.NoError(t, s.Err())

		_, err = s.Patch(context.Background(), "a=ice-ufrag:half\r\n")
		require.ErrorIs(t, err, cdn.ErrInvalid)
		_, err = s.Patch(context.Background(), "nonsense")
		require.ErrorIs(t, err, cdn.ErrInvalid)
		answer, err = s.Patch(context.Background(), "m=video 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 2130706431 10.9.9.9 5000 typ host\r\na=end-of-candidates\r\n")
		require.NoError(t, err)
		require.Empty(t, answer)
		for range 3 { // a phone's networks come and go
			_, err = s.Patch(context.Background(), strings.Repeat("a=candidate:1 1 udp 2130706431 10.9.9.9 5000 typ host\r\n", 64))
			require.NoError(t, err, "those beyond are of no use, and are dropped as others that are not")
		}
		require.NoError(t, s.Close())
		require.ErrorIs(t, s.Err(), cdn.ErrClosed)
	})
}

// requireOneComponent requires that descriptions name addresses, and for RTP alone: RTCP
// goes the same way (RFC 5761), and some clients cannot tell the two apart.
func requireOneComponent(t *testing.T, descriptions ...string) {
	t.Helper()
	for _, d := range descriptions {
		require.Regexp(t, `(?m)^a=candidate:\S+ 1 `, d)
		require.NotRegexp(t, `(?m)^a=candidate:\S+ [^1]`, d)
	}
}

func offerOf(t *testing.T, pc *webrtc.PeerConnection, restart bool) string {
	offer, err := pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restart})
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(pc)
	require.NoError(t, pc.SetLocalDescription(offer))
	<-gathered
	return pc.LocalDescription().SDP
}

func attr(sdp, name string) string {
	m := regexp.MustCompile(`(?m)^a=` + name + `:(.*)$`).FindStringSubmatch(sdp)
	if m == nil {
		return ""
	}
	return strings.TrimSpace(m[1])
}

// Sessions that never connect, and grants that run out, end by themselves.
func TestSessionsEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		expires := cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
			if r.Action == cdn.ActionPlay && r.Credential == "short" {
				return cdn.Grant{Expires: time.Now().Add(3 * time.Second)}, nil
			}
			return cdn.Grant{}, nil
		})
		o := w.origin("origin", cdntest.Path{}, origin.Config{}, func(c *cdn.Config) { c.Authorizer = expires })
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))

		v := w.view(o, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{Credential: "short"})
		<-v.Done()
		synctest.Wait()
		var ended error
		for len(w.events) > 0 {
			if e, ok := (<-w.events).(cdn.SessionEnded); ok {
				ended = e.Err
			}
		}
		require.ErrorIs(t, ended, cdn.ErrUnauthorized)

		host := w.network.Host("silent", cdntest.Path{})
		host.Cut()
		begun := time.Now()
		silent, err := cdntest.NewViewer(w.within(time.Second), cdntest.ViewerConfig{
			Net: host.Net(), Dialer: w.dialer, URL: o.url() + "/whep/live", Stream: "live",
		})
		require.NoError(t, err, "signaling goes another way")
		defer silent.Kill()
		require.Len(t, o.edge.Stats().Sessions, 1)
		time.Sleep(21 * time.Second)
		require.Empty(t, o.edge.Stats().Sessions, "after %v", time.Since(begun))
	})
}
