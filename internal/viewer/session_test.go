package viewer_test

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/viewer"
)

var (
	vp8  = cdn.TrackInfo{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: []string{""}}
	opus = cdn.TrackInfo{ID: "audio", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}, Layers: []string{""}}
)

// place is a node with a stream of video and audio, on a virtual network.
type place struct {
	t       *testing.T
	network *cdntest.Network
	node    *cdn.Node
	stream  *cdn.Stream
	video   *cdn.LayerInput
	sound   *cdn.LayerInput
	seq     uint16
	time    uint32       // timestamp of the last frame
	ticks   uint32       // from one frame to the next
	spoken  uint16       // packets of sound
	more    int          // bytes in a packet
	asked   atomic.Int32 // for keyframes
}

// RequestKeyframe implements cdn.Upstream.
func (p *place) RequestKeyframe() { p.asked.Add(1) }

// Nack does, too.
func (p *place) Nack([]uint16) {}

func inPlace(t *testing.T, f func(t *testing.T, p *place)) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{t: t, ticks: 3000, network: cdntest.NewNetwork(t, cdntest.NetworkConfig{})}
		host := p.network.Host("node", cdntest.Path{Delay: 5 * time.Millisecond})
		var err error
		p.node, err = cdn.Listen(cdn.Config{Addr: netip.AddrPortFrom(host.IP(), 7000).String(), Net: host.Net()})
		require.NoError(t, err)
		defer func() { require.NoError(t, p.node.Close()) }()
		p.publishes()
		f(t, p)
	})
}

// publishes makes the stream.
func (p *place) publishes() {
	var err error
	p.stream, err = p.node.NewStream("live")
	require.NoError(p.t, err)
	in, err := p.stream.NewInput(cdn.InputConfig{})
	require.NoError(p.t, err)
	require.NoError(p.t, in.Start([]cdn.TrackInfo{vp8, opus}))
	p.video, err = in.Layer(0, "", p)
	require.NoError(p.t, err)
	p.sound, err = in.Layer(1, "", p)
	require.NoError(p.t, err)
}

// frame publishes one keyframe of one packet.
func (p *place) frame() {
	p.seq++
	p.time += p.ticks
	p.video.Write(time.Now(), &rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: p.seq, Timestamp: p.time, Marker: true},
		Payload: append([]byte{0x10, 0, 0, 0, 1, 2, 3}, make([]byte, p.more)...),
	}, nil)
}

// speak publishes a packet of sound.
func (p *place) speak() {
	p.spoken++
	p.sound.Write(time.Now(), &rtp.Packet{
		Header: rtp.Header{Version: 2, SequenceNumber: p.spoken, Timestamp: uint32(p.spoken) * 1600}, Payload: []byte{1, 2, 3},
	}, nil)
}

func (p *place) frames(n int) {
	for range n {
		p.frame()
		time.Sleep(time.Second / 30)
	}
}

func (p *place) answer(offer string) (*viewer.Session, error) {
	return viewer.Answer(viewer.Config{Config: send.Config{}, Stream: p.stream, Transport: p.node.Internal(), Log: p.node.Internal().PionLog}, offer)
}

// client is a pion PeerConnection that receives.
type client struct {
	*webrtc.PeerConnection
	packets atomic.Int64
	closed  chan struct{}
	close   func() // closes closed; pion may tell of it twice if both sides close
}

func (p *place) client(name string, tune func(*webrtc.SettingEngine)) *client {
	host := p.network.Host(name, cdntest.Path{Delay: 5 * time.Millisecond})
	return p.clientOf(func(s *webrtc.SettingEngine) {
		host.Use(s)
		if tune != nil {
			tune(s)
		}
	})
}

// clientOf is a client on a network of its own choice.
func (p *place) clientOf(tune func(*webrtc.SettingEngine)) *client {
	var s webrtc.SettingEngine
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	tune(&s)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	require.NoError(p.t, err)
	c := &client{PeerConnection: pc, closed: make(chan struct{})}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		_, err = pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(p.t, err)
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for buf := make([]byte, 1500); ; c.packets.Add(1) {
			if _, _, err := track.Read(buf); err != nil {
				return
			}
		}
	})
	c.close = sync.OnceFunc(func() { close(c.closed) })
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateClosed {
			c.close()
		}
	})
	return c
}

func (c *client) offer(t *testing.T) string {
	offer, err := c.CreateOffer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(c.PeerConnection)
	require.NoError(t, c.SetLocalDescription(offer))
	<-gathered
	return c.LocalDescription().SDP
}

func (c *client) accept(t *testing.T, answer string) {
	require.NoError(t, c.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
}

// join connects a client and waits until its media flows and its reports come.
func (p *place) join(name string, tune func(*webrtc.SettingEngine)) (*client, *viewer.Session) {
	c := p.client(name, tune)
	s, err := p.answer(c.offer(p.t))
	require.NoError(p.t, err)
	c.accept(p.t, s.SDP())
	p.frames(90)
	require.Positive(p.t, c.packets.Load())
	return c, s
}

// In each protection profile media comes out as it went in, and who closes is
// heard of at once though DTLS has been set aside meanwhile.
func TestPlaysAndParts(t *testing.T) {
	for name, profile := range map[string]dtls.SRTPProtectionProfile{
		"AES-128-GCM": dtls.SRTP_AEAD_AES_128_GCM, "AES-256-GCM": dtls.SRTP_AEAD_AES_256_GCM, "AES-CM": dtls.SRTP_AES128_CM_HMAC_SHA1_80,
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(t *testing.T, p *place) {
				only := func(s *webrtc.SettingEngine) { s.SetSRTPProtectionProfiles(profile) }
				leaver, served := p.join("leaver", only)
				require.NoError(t, leaver.GracefulClose())
				select {
				case <-served.Done():
					require.ErrorIs(t, served.Err(), cdn.ErrPeerLost)
				case <-time.After(100 * time.Millisecond):
					t.Fatal("a viewer's close is heard at once")
				}

				left, ours := p.join("left", only)
				require.NoError(t, ours.Close())
				select {
				case <-left.closed:
				case <-time.After(100 * time.Millisecond):
					t.Fatal("ours is, too")
				}
				require.NoError(t, left.GracefulClose())
			})
		})
	}
}

// Either side may begin the DTLS handshake (RFC 8842 section 5.1), whatever is lost
// of it; who closes is heard of in both roles.
func TestDTLSRoles(t *testing.T) {
	for role, answered := range map[string]string{"actpass": "passive", "active": "passive", "passive": "active"} {
		for _, loss := range []float64{0, 0.2} {
			t.Run(fmt.Sprint(role, loss), func(t *testing.T) {
				inPlace(t, func(t *testing.T, p *place) {
					host := p.network.Host("viewer", cdntest.Path{Delay: 5 * time.Millisecond, Loss: loss})
					c := p.clientOf(func(s *webrtc.SettingEngine) { host.Use(s) })
					s, err := p.answer(strings.ReplaceAll(c.offer(t), "a=setup:actpass", "a=setup:"+role))
					require.NoError(t, err)
					require.Contains(t, s.SDP(), "a=setup:"+answered+"\r\n")
					c.accept(t, s.SDP())
					p.frames(150)
					require.Positive(t, c.packets.Load())
					if loss > 0 {
						require.NoError(t, s.Close())
						require.NoError(t, c.GracefulClose())
						return
					}
					require.NoError(t, c.GracefulClose())
					select {
					case <-s.Done():
						require.ErrorIs(t, s.Err(), cdn.ErrPeerLost)
					case <-time.After(100 * time.Millisecond):
						t.Fatal("a viewer's close is heard at once")
					}
				})
			})
		}
	}
}

// A controlling agent that waits for a check of the other side's, as pion does,
// need not wait for its next turn: connected means checked (one round trip),
// nominated (one) and DTLS (two).
func TestConnectsWithinFourRoundTrips(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		const roundTrip = 4 * 5 * time.Millisecond
		c := p.client("viewer", nil)
		connected := make(chan time.Time, 1)
		c.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
			switch state {
			case webrtc.PeerConnectionStateConnected:
				connected <- time.Now()
			case webrtc.PeerConnectionStateClosed:
				c.close()
			default:
			}
		})
		s, err := p.answer(c.offer(t))
		require.NoError(t, err)
		begun := time.Now()
		c.accept(t, s.SDP())
		require.Equal(t, 4*roundTrip, (<-connected).Sub(begun))
		require.NoError(t, s.Close())
		<-c.closed
		require.NoError(t, c.GracefulClose())
	})
}

// A certificate that the offer does not name gets nothing.
func TestFingerprints(t *testing.T) {
	print := regexp.MustCompile(`(?m)^a=fingerprint:.*$`)
	const wrong = "a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF"
	for name, c := range map[string]struct {
		change func(string) string
		answer error // of Answer
		end    error
	}{
		"wrong":   {change: func(o string) string { return print.ReplaceAllString(o, wrong+"\r") }, end: cdn.ErrInvalid},
		"missing": {change: func(o string) string { return print.ReplaceAllString(o, "a=x\r") }, answer: cdn.ErrInvalid},
		"weak":    {change: func(o string) string { return strings.ReplaceAll(o, "a=fingerprint:sha-256", "a=fingerprint:sha-1") }, answer: cdn.ErrInvalid},
		"several": {change: func(o string) string { return print.ReplaceAllString(o, wrong+"\r\n$0") }},
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(t *testing.T, p *place) {
				cl := p.client("viewer", nil)
				defer func() { require.NoError(t, cl.GracefulClose()) }()
				s, err := p.answer(c.change(cl.offer(t)))
				if c.answer != nil {
					require.ErrorIs(t, err, c.answer)
					return
				}
				require.NoError(t, err)
				cl.accept(t, s.SDP())
				p.frames(60)
				if c.end != nil {
					<-s.Done()
					require.ErrorIs(t, s.Err(), c.end)
					require.Zero(t, cl.packets.Load())
					return
				}
				require.Positive(t, cl.packets.Load())
				require.NoError(t, s.Close())
			})
		})
	}
}

// A viewer that goes without a word is missed.
func TestSilenceEndsTheSession(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		var host *cdntest.Host
		c, s := p.join("viewer", func(e *webrtc.SettingEngine) {
			host = p.network.Host("silent", cdntest.Path{Delay: 5 * time.Millisecond})
			host.Use(e)
		})
		host.Cut()
		begun := time.Now()
		<-s.Done()
		require.ErrorIs(t, s.Err(), cdn.ErrPeerLost)
		require.LessOrEqual(t, time.Since(begun), 13*time.Second)
		require.NoError(t, c.GracefulClose())

		idle := p.client("never", nil)
		defer func() { require.NoError(t, idle.GracefulClose()) }()
		never, err := p.answer(idle.offer(t))
		require.NoError(t, err)
		begun = time.Now()
		<-never.Done()
		require.ErrorIs(t, never.Err(), cdn.ErrTimeout)
		require.Equal(t, 20*time.Second, time.Since(begun))
	})
}

// The end of the stream is the end of its sessions, and a session that is over stays so.
func TestEndsWithStream(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		c := p.client("viewer", nil)
		var ended atomic.Int32
		s, err := viewer.Answer(viewer.Config{
			Stream: p.stream, Transport: p.node.Internal(), Log: p.node.Internal().PionLog,
			Ended: func(error, send.Stats) { ended.Add(1) },
		}, c.offer(t))
		require.NoError(t, err)
		s.End(cdn.ErrExpired)
		<-s.Done()
		require.ErrorIs(t, s.Err(), cdn.ErrUnauthorized)
		require.Equal(t, int32(1), ended.Load())
		_, err = s.Patch(context.Background(), "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n")
		require.ErrorIs(t, err, cdn.ErrUnauthorized)
		require.NoError(t, c.GracefulClose())

		other, last := p.join("other", nil)
		p.stream.End(cdn.ErrEnded)
		<-last.Done()
		require.ErrorIs(t, last.Err(), cdn.ErrEnded)
		require.NoError(t, other.GracefulClose())
	})
}

// What is not one bundled transport is for a PeerConnection to answer.
func TestOffersForPeerConnections(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		c := p.client("viewer", nil)
		defer func() { require.NoError(t, c.GracefulClose()) }()
		offer := c.offer(t)
		for old, changed := range map[string]string{
			"a=setup:actpass": "a=setup:holdconn", "a=rtcp-mux\r\n": "",
		} {
			require.Contains(t, offer, old)
			_, err := p.answer(strings.ReplaceAll(offer, old, changed))
			require.ErrorIs(t, err, cdn.ErrUnsupported, old)
		}
		_, err := p.answer(strings.Replace(offer, "a=group:", "a=ice-lite\r\na=group:", 1))
		require.ErrorIs(t, err, cdn.ErrUnsupported)
		for _, needed := range []string{"a=ice-ufrag", "a=ice-pwd", "a=group"} {
			_, err := p.answer(strings.ReplaceAll(offer, needed, "a=x"))
			require.ErrorIs(t, err, cdn.ErrInvalid)
		}
		// Of other lengths than those of RFC 8839.
		for _, credentials := range []string{"abc\r\na=ice-pwd:0123456789012345678901", "abcd\r\na=ice-pwd:012345678901234567890", strings.Repeat("a", 257) + "\r\na=ice-pwd:0123456789012345678901"} {
			bad := regexp.MustCompile(`(?m)^a=ice-(ufrag|pwd):.*\r\n`).ReplaceAllString(offer, "")
			_, err := p.answer(strings.Replace(bad, "a=mid:0\r\n", "a=mid:0\r\na=ice-ufrag:"+credentials+"\r\n", 1))
			require.ErrorIs(t, err, cdn.ErrInvalid)
		}
	})
}

// An answer has the offer's m-sections, in its order, and rejects those that
// are of no use under their own names.
func TestRejectedSections(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		c := p.client("viewer", nil)
		defer func() { require.NoError(t, c.GracefulClose()) }()
		_, err := c.CreateDataChannel("chat", nil)
		require.NoError(t, err)
		_, err = c.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
		s, err := p.answer(c.offer(t))
		require.NoError(t, err)
		lines := regexp.MustCompile(`(?m)^m=(\w+) (\d+)`).FindAllStringSubmatch(s.SDP(), -1)
		var got []string
		for _, l := range lines {
			got = append(got, l[1]+" "+l[2])
		}
		require.Equal(t, []string{"video 9", "audio 9", "video 0", "application 0"}, got)
		require.Contains(t, s.SDP(), "a=group:BUNDLE 0 1\r\n")
		c.accept(t, s.SDP())
		p.frames(60)
		require.Positive(t, c.packets.Load())
		require.NoError(t, s.Close())
	})
}

// The transport of a bundle is that of its first section, so that is kept
// though nothing is sent in it.
func TestFirstSectionIsKept(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		c := p.client("viewer", nil)
		require.NoError(t, c.GetTransceivers()[0].SetCodecPreferences([]webrtc.RTPCodecParameters{{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP9, ClockRate: 90000, SDPFmtpLine: "profile-id=0"},
			PayloadType:        98,
		}}))
		s, err := p.answer(c.offer(t))
		require.NoError(t, err)
		require.Equal(t, []string{"(video)", "audio"}, sections(t, s.SDP()))
		require.Contains(t, s.SDP(), "a=group:BUNDLE 0 1\r\n")
		c.accept(t, s.SDP())
		p.frames(60)
		require.Equal(t, webrtc.PeerConnectionStateConnected, c.ConnectionState())
		require.NoError(t, s.Close())
		require.NoError(t, c.GracefulClose())
	})
}

// A viewer who is answered before the stream is ready connects, can ask what
// time it is, and gets media from the first keyframe on; or hears that there is
// none.
func TestStreamComesLater(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		before := func(name string) (*client, *viewer.Session, chan []rtcp.Packet) {
			c := p.client(name, nil)
			s, err := viewer.Answer(viewer.Config{Transport: p.node.Internal(), Log: p.node.Internal().PionLog}, c.offer(t))
			require.NoError(t, err)
			c.accept(t, s.SDP())
			heard := make(chan []rtcp.Packet, 100)
			for _, r := range c.GetReceivers() {
				go func() {
					for {
						packets, _, err := r.ReadRTCP()
						if err != nil {
							return
						}
						heard <- packets
					}
				}()
			}
			time.Sleep(time.Second)
			require.Equal(t, webrtc.PeerConnectionStateConnected, c.ConnectionState())
			require.NoError(t, c.WriteRTCP([]rtcp.Packet{&rtcp.ExtendedReport{SenderSSRC: 1, Reports: []rtcp.ReportBlock{
				&rtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: 1 << 32},
			}}}))
			time.Sleep(time.Second)
			require.Equal(t, send.Stats{Path: send.PathStats{Source: bwe.Nothing, Mode: allot.Full}}, s.Stats())
			return c, s, heard
		}
		announced := func(s *viewer.Session) (all []uint32) {
			for _, m := range regexp.MustCompile(`(?m)^a=ssrc:(\d+) `).FindAllStringSubmatch(s.SDP(), -1) {
				n, err := strconv.ParseUint(m[1], 10, 32)
				require.NoError(t, err)
				all = append(all, uint32(n))
			}
			return all
		}

		c, s, _ := before("viewer")
		p.frame() // too old when it begins
		time.Sleep(time.Second)
		require.NoError(t, s.Play(p.stream))
		require.Zero(t, c.packets.Load())
		p.frames(60)
		require.Positive(t, c.packets.Load())
		require.Equal(t, c.packets.Load(), int64(s.Stats().Packets))
		p.stream.End(cdn.ErrEnded)
		<-s.Done()
		require.ErrorIs(t, s.Err(), cdn.ErrEnded)
		<-c.closed
		require.NoError(t, c.GracefulClose())

		c, s, heard := before("refused")
		s.End(cdn.ErrNotFound)
		require.ErrorIs(t, s.Play(p.stream), cdn.ErrNotFound)
		<-c.closed
		require.NoError(t, c.GracefulClose())
		synctest.Wait()
		close(heard)
		var bye *rtcp.Goodbye
		for packets := range heard {
			for _, one := range packets {
				if b, ok := one.(*rtcp.Goodbye); ok {
					bye = b
				}
			}
		}
		require.NotNil(t, bye)
		require.Equal(t, "not found", bye.Reason)
		require.Subset(t, announced(s), bye.Sources)
		require.Len(t, bye.Sources, 2)
	})
}
