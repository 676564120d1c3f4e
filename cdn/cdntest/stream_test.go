package cdntest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// scene is a publisher's machine, a fake SFU and a viewer's, 10 ms from it each.
type scene struct {
	t                  *testing.T
	network            *Network
	publisher, sfuHost *Host
	viewer             *Host
	sfu                *fakeSFU
}

func newScene(t *testing.T) *scene {
	t.Helper()
	n := NewNetwork(t, NetworkConfig{Seed: 1})
	s := &scene{
		t: t, network: n,
		publisher: n.Host("publisher", Path{Delay: 10 * time.Millisecond}),
		sfuHost:   n.Host("sfu", Path{}),
		viewer:    n.Host("viewer", Path{Delay: 10 * time.Millisecond}),
	}
	s.sfu = newFakeSFU(s.sfuHost)
	t.Cleanup(s.sfu.Close)
	return s
}

// publish starts a publisher and waits until its media has come to the SFU.
func (s *scene) publish(c PublisherConfig) *Publisher {
	s.t.Helper()
	c.Net, c.Dialer, c.URL, c.Stream = s.publisher.Net(), s.sfu, "publish", "live/test"
	p := Publish(s.t, c)
	require.NoError(s.t, p.WaitConnected(s.t.Context()))
	time.Sleep(100 * time.Millisecond)
	return p
}

func (s *scene) view(c ViewerConfig) *Viewer {
	s.t.Helper()
	c.Net, c.Dialer, c.URL, c.Stream = s.viewer.Net(), s.sfu, "view", "live/test"
	v := View(s.t, c)
	require.NoError(s.t, v.WaitConnected(s.t.Context()))
	return v
}

func requireFrames(t *testing.T, v *Viewer, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, v.WaitFrames(ctx, n))
}

// requireSound requires that all that came came as it was sent.
func requireSound(t *testing.T, tracks ...TrackReport) {
	t.Helper()
	for _, r := range tracks {
		require.Empty(t, r.Faults)
		require.NotEmpty(t, r.Frames)
		require.Zero(t, r.TimestampJumps)
	}
}

func TestStreamArrivesAtExactLatency(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		p := s.publish(PublisherConfig{
			Video: &Video{Extensions: []string{absCaptureTimeURI, "urn:example:refused"}},
			Audio: &Audio{Stereo: true, Extensions: []string{audioLevelURI}},
		})
		v := s.view(ViewerConfig{})
		requireFrames(t, v, 90)
		r := v.Report()
		video, audio := r.Video(), r.Audio()
		requireSound(t, video, audio)
		for _, track := range r.Tracks {
			for _, f := range track.Frames {
				require.Equal(t, 20*time.Millisecond, f.Latency())
			}
			require.Zero(t, track.Missing+track.Duplicates+track.Reordered+track.Repaired+track.Partial+track.Absent)
			require.Equal(t, 1.0, track.WholeWithin(20*time.Millisecond))
			require.NotEmpty(t, track.SenderReports)
		}
		require.Equal(t, 1.0, r.WholeWithin(20*time.Millisecond))
		require.Zero(t, r.WholeWithin(19*time.Millisecond))
		require.Equal(t, "video/VP8", video.Codec.MimeType)
		require.InDelta(t, 1_000_000.0/8*3, float64(video.Bytes), 40_000)
		require.InDelta(t, time.Second/30, video.Gap(), float64(time.Microsecond))
		require.True(t, audio.BeganWithKeyframe)
		require.NoError(t, p.Stop(t.Context()))
		require.Equal(t, 1, s.sfu.deletes)
	})
}

func TestStreamSenderReportsMapTheClock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		s.publish(PublisherConfig{})
		v := s.view(ViewerConfig{})
		requireFrames(t, v, 100)
		for _, track := range v.Report().Tracks {
			require.GreaterOrEqual(t, len(track.SenderReports), 3)
			f, sr := track.Frames[0], track.SenderReports[0]
			ticks := time.Duration(int32(uint32(f.Timestamp) - sr.RTP))
			at := sr.NTP.Add(ticks * time.Second / time.Duration(track.Codec.ClockRate))
			require.WithinDuration(t, f.Sent, at, 50*time.Microsecond)
			require.Equal(t, 20*time.Millisecond, sr.Arrived.Sub(sr.NTP).Round(time.Microsecond))
		}
	})
}

func TestStreamOfEachCodec(t *testing.T) {
	for _, codec := range videoCodecs() {
		t.Run(codec.MimeType, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newScene(t)
				s.publish(PublisherConfig{Video: &Video{Codec: codec.MimeType, KeyframeInterval: time.Second}})
				v := s.view(ViewerConfig{Codecs: []string{codec.MimeType}, Kinds: []cdn.Kind{cdn.Video}})
				requireFrames(t, v, 60)
				r := v.Report().Video()
				requireSound(t, r)
				require.Equal(t, codec.MimeType, r.Codec.MimeType)
				require.Equal(t, codec.Fmtp, r.Codec.Fmtp)
			})
		})
	}
}

func TestStreamWithLossIsRepaired(t *testing.T) {
	for name, noRTX := range map[string]bool{"RTX": false, "SameSSRC": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newScene(t)
				s.publish(PublisherConfig{Video: &Video{}})
				v := s.view(ViewerConfig{NoRTX: noRTX})
				s.viewer.SetDownlink(Path{Delay: 10 * time.Millisecond, Loss: 0.05})
				requireFrames(t, v, 200)
				r := v.Report().Video()
				requireSound(t, r)
				if noRTX {
					require.Zero(t, r.Repaired)
				} else {
					require.Greater(t, r.Repaired, 10)
				}
				require.Greater(t, r.Reordered, 10)
				require.Less(t, r.Missing, 20)
				require.Equal(t, 20*time.Millisecond, r.Latency(0.5))
				require.Greater(t, r.Latency(1), 40*time.Millisecond)
				require.Greater(t, r.WholeWithin(200*time.Millisecond), 0.95)
			})
		})
	}
}

func TestStreamWithLossUnrepaired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		s.publish(PublisherConfig{Video: &Video{}})
		v := s.view(ViewerConfig{Mute: true})
		s.viewer.SetDownlink(Path{Delay: 10 * time.Millisecond, Loss: 0.05})
		requireFrames(t, v, 200)
		r := v.Report().Video()
		requireSound(t, r)
		require.Zero(t, r.Repaired)
		require.InDelta(t, 0.05, float64(r.Missing)/float64(r.Packets), 0.02)
		require.Greater(t, r.Partial, 10)
		require.Greater(t, r.Undecodable(), 50)
		require.Equal(t, 20*time.Millisecond, r.Latency(1))
		require.Error(t, v.RequestKeyframe())
	})
}

func TestViewerSeesWhatWasChanged(t *testing.T) {
	tests := []struct {
		name   string
		mangle func(p *rtp.Packet)
		fault  string
	}{
		{"Body", func(p *rtp.Packet) { p.Payload[len(p.Payload)-1] ^= 1 }, "was changed"},
		{"Header", func(p *rtp.Packet) { p.Payload[0] ^= 0x20 }, "was changed"},
		{"Truncated", func(p *rtp.Packet) { p.Payload = p.Payload[:20] }, "nothing that a publisher sent"},
		{"Marker", func(p *rtp.Packet) { p.Marker = !p.Marker }, "marker is"},
		{"Sequence", func(p *rtp.Packet) {
			if p.Marker {
				p.SequenceNumber += 100
			}
		}, "not at its place"},
		{"Timestamp", func(p *rtp.Packet) {
			if p.Marker {
				p.Timestamp++
			}
		}, "timestamp"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newScene(t)
				s.sfu.mangle = func(_ string, p *rtp.Packet) bool {
					test.mangle(p)
					return true
				}
				s.publish(PublisherConfig{Video: &Video{}})
				v := s.view(ViewerConfig{NoNACK: true})
				time.Sleep(time.Second)
				r := v.Report().Video()
				require.NotEmpty(t, r.Faults)
				require.Contains(t, r.Faults[0], test.fault)
				require.LessOrEqual(t, len(r.Faults), maxFaults)
				require.GreaterOrEqual(t, r.FaultCount, len(r.Faults))
			})
		})
	}
}

func TestViewerAllowsRewrittenPictureID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		s.sfu.mangle = func(_ string, p *rtp.Packet) bool {
			p.Payload[3]++
			return true
		}
		s.publish(PublisherConfig{Video: &Video{}})
		v := s.view(ViewerConfig{})
		requireFrames(t, v, 30)
		requireSound(t, v.Report().Video())
	})
}

func TestKeyframeRequests(t *testing.T) {
	for name, request := range map[string]func(*Viewer) error{
		"PLI": (*Viewer).RequestKeyframe, "FIR": (*Viewer).RequestKeyframeFIR,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newScene(t)
				p := s.publish(PublisherConfig{Video: &Video{KeyframeInterval: time.Hour}})
				v := s.view(ViewerConfig{Kinds: []cdn.Kind{cdn.Video}})
				requireFrames(t, v, 10)
				r := v.Report().Video()
				require.False(t, r.BeganWithKeyframe)
				require.Equal(t, len(r.Frames), r.Undecodable())
				asked := time.Now()
				require.NoError(t, request(v))
				requireFrames(t, v, 30)
				r = v.Report().Video()
				var keys []Frame
				for _, f := range r.Frames {
					if f.Key {
						keys = append(keys, f)
					}
				}
				require.Len(t, keys, 1)
				require.True(t, keys[0].Decodable)
				require.Less(t, keys[0].Done.Sub(asked), 40*time.Millisecond+time.Second/30)
				require.Equal(t, 1, v.Report().KeyframeRequests)
				sent := p.Report().Video[0]
				require.Equal(t, 1, sent.KeyframeRequests())
				require.Equal(t, 2, sent.Keyframes)
			})
		})
	}
}

func TestSimulcast(t *testing.T) {
	for i, rid := range []string{"l", "h"} {
		t.Run(rid, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newScene(t)
				p := s.publish(PublisherConfig{Video: &Video{Layers: []VideoLayer{
					{RID: "l", Bitrate: 150_000, Width: 320, Height: 180},
					{RID: "h", Bitrate: 1_500_000, Width: 1280, Height: 720},
				}}})
				v := s.view(ViewerConfig{Layer: rid})
				requireFrames(t, v, 60)
				r := v.Report().Video()
				requireSound(t, r)
				for _, f := range r.Frames {
					require.Equal(t, i, f.Layer)
				}
				sent := p.Report().Video
				require.Len(t, sent, 2)
				require.Equal(t, rid, sent[i].RID)
				require.Greater(t, sent[1].Bytes, 8*sent[0].Bytes)
				require.Equal(t, sent[0].Frames, sent[1].Frames)
			})
		})
	}
}

func TestViewerInvited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		s.publish(PublisherConfig{})
		v := s.view(ViewerConfig{Invited: true})
		requireFrames(t, v, 10)
		requireSound(t, v.Report().Tracks...)
		require.Len(t, v.Report().Tracks, 2)
		require.Equal(t, 1, s.sfu.invited)
	})
}

func TestPublisherPauses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		p := s.publish(PublisherConfig{Video: &Video{KeyframeInterval: time.Hour}})
		v := s.view(ViewerConfig{})
		p.Pause()
		time.Sleep(time.Second)
		before := p.Report().Video[0]
		time.Sleep(time.Second)
		require.Equal(t, before, p.Report().Video[0])
		p.Resume()
		requireFrames(t, v, 10)
		r := v.Report().Video()
		requireSound(t, r)
		require.True(t, r.BeganWithKeyframe)
		require.Zero(t, r.Undecodable())
	})
}

func TestPublisherKilledSaysNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		p := s.publish(PublisherConfig{})
		time.Sleep(5 * time.Millisecond) // no frame is due at this instant
		before := s.network.Traffic(s.publisher, s.sfuHost).Sent
		p.Kill()
		time.Sleep(time.Minute)
		require.Equal(t, before, s.network.Traffic(s.publisher, s.sfuHost).Sent)
		require.NoError(t, p.Stop(t.Context()))
		require.Zero(t, s.sfu.deletes)
		<-p.Done()
	})
}

func TestViewerKilledSaysNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		s.publish(PublisherConfig{})
		v := s.view(ViewerConfig{})
		requireFrames(t, v, 10)
		time.Sleep(5 * time.Millisecond) // no report is due at this instant
		before := s.network.Traffic(s.viewer, s.sfuHost).Sent
		v.Kill()
		time.Sleep(time.Second)
		require.Equal(t, before, s.network.Traffic(s.viewer, s.sfuHost).Sent)
		require.NoError(t, v.Close())
		require.Zero(t, s.sfu.deletes)
		require.ErrorIs(t, v.WaitFrames(t.Context(), 1000), cdn.ErrClosed)
	})
}

func TestViewerSeesBye(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		s.publish(PublisherConfig{})
		v := s.view(ViewerConfig{})
		requireFrames(t, v, 1)
		said := time.Now()
		s.sfu.bye("stream ended")
		require.NoError(t, v.WaitBye(t.Context()))
		for _, r := range v.Report().Tracks {
			require.Equal(t, "stream ended", r.ByeReason)
			require.Equal(t, 10*time.Millisecond, r.Bye.Sub(said))
		}
	})
}

func TestClientsReturnTheDialersError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		s.sfu.refuse = &cdn.Error{Op: "publish", Err: cdn.ErrForbidden}
		_, err := NewPublisher(t.Context(), PublisherConfig{Net: s.publisher.Net(), Dialer: s.sfu})
		require.ErrorIs(t, err, cdn.ErrForbidden)
		_, err = NewViewer(t.Context(), ViewerConfig{Net: s.viewer.Net(), Dialer: s.sfu})
		require.ErrorIs(t, err, cdn.ErrForbidden)
	})
}

func TestClientsRefuseBadConfigs(t *testing.T) {
	for name, c := range map[string]PublisherConfig{
		"NoDialer": {}, "Codec": {Dialer: newFakeSFU(nil), Video: &Video{Codec: "video/none"}},
	} {
		_, err := NewPublisher(t.Context(), c)
		require.Error(t, err, name)
	}
	for name, c := range map[string]ViewerConfig{
		"NoDialer": {}, "Codec": {Dialer: newFakeSFU(nil), Codecs: []string{"video/none"}},
	} {
		_, err := NewViewer(t.Context(), c)
		require.Error(t, err, name)
	}
}

func TestWaitsHeedTheirContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		s.publisher.Cut()
		p := Publish(t, PublisherConfig{Net: s.publisher.Net(), Dialer: s.sfu, URL: "publish"})
		v := View(t, ViewerConfig{Net: s.viewer.Net(), Dialer: s.sfu, URL: "view"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, p.WaitConnected(ctx), context.DeadlineExceeded)
		require.ErrorIs(t, v.WaitFrames(ctx, 1), context.DeadlineExceeded)
		require.ErrorIs(t, v.WaitBye(ctx), context.DeadlineExceeded)
		<-p.Done() // ICE has failed
		require.True(t, errors.Is(p.WaitConnected(t.Context()), cdn.ErrClosed))
	})
}

func TestStreamOnTheRealNetwork(t *testing.T) {
	sfu := newFakeSFU(nil)
	t.Cleanup(sfu.Close)
	p := Publish(t, PublisherConfig{Dialer: sfu, URL: "publish", Video: &Video{KeyframeInterval: 100 * time.Millisecond}})
	require.NoError(t, p.WaitConnected(t.Context()))
	require.Equal(t, "video", <-sfu.arrived)
	v := View(t, ViewerConfig{Dialer: sfu, URL: "view"})
	requireFrames(t, v, 5)
	requireSound(t, v.Report().Video())
}

func TestManyViewers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(t)
		s.publish(PublisherConfig{Video: &Video{Bitrate: 300_000}})
		var all []*Viewer
		for range 20 {
			all = append(all, s.view(ViewerConfig{NoNACK: true, ReceiverReports: -1}))
		}
		for _, v := range all {
			requireFrames(t, v, 30)
			requireSound(t, v.Report().Video())
			require.Equal(t, 20*time.Millisecond, v.Report().Video().Latency(1))
		}
	})
}
