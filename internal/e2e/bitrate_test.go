package delta_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// grants makes an Authorizer that has one grant for all.
func grants(g cdn.Grant) func(*cdn.Config) {
	return func(c *cdn.Config) {
		c.Authorizer = cdn.AuthorizerFunc(func(context.Context, cdn.AuthRequest) (cdn.Grant, error) { return g, nil })
	}
}

// A publisher that keeps sending more than a quarter beyond its bound is sent away after
// ten seconds, and the error names the bound. One that strays less stays.
func TestPublishersAreHeldToTheirBitrate(t *testing.T) {
	for _, tc := range someOf([]struct {
		name    string
		grant   int
		limits  cdn.Limits
		later   *cdn.Limits // after 20 s
		ended   bool
		after   time.Duration
		because cdn.LimitError
	}{
		{"no bound", 0, cdn.Limits{}, nil, false, 0, cdn.LimitError{}},
		{"a good one", 1_000_000, cdn.Limits{PublisherBitrate: 2_000_000}, nil, false, 0, cdn.LimitError{}},
		{"strays", 900_000, cdn.Limits{}, nil, false, 0, cdn.LimitError{}},
		{"the grant's", 500_000, cdn.Limits{PublisherBitrate: 600_000}, nil, true, 10 * time.Second, cdn.LimitError{Name: "max_bitrate", Limit: 500_000}},
		{"the node's", 2_000_000, cdn.Limits{PublisherBitrate: 600_000}, nil, true, 10 * time.Second, cdn.LimitError{Name: "publisher_bitrate", Limit: 600_000}},
		{"the node's, later", 0, cdn.Limits{}, &cdn.Limits{PublisherBitrate: 600_000}, true, 30 * time.Second, cdn.LimitError{Name: "publisher_bitrate", Limit: 600_000}},
		{"of viewers, not of it", 0, cdn.Limits{ViewerBitrate: 1000}, nil, false, 0, cdn.LimitError{}},
	}) {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(5)}
				o := w.origin("origin", path, origin.Config{}, grants(cdn.Grant{MaxBitrate: tc.grant}), func(c *cdn.Config) { c.Limits = tc.limits })
				p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 1_000_000}})
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				begun := time.Now()
				if tc.later != nil {
					time.Sleep(20 * time.Second)
					require.NoError(t, o.SetLimits(*tc.later))
				}
				var ended *cdn.SessionEnded
				for ended == nil && time.Since(begun) < time.Minute {
					select {
					case e := <-w.events:
						if e, ok := e.(cdn.SessionEnded); ok {
							ended = &e
						}
					case <-time.After(time.Second):
					}
				}
				if !tc.ended {
					require.Nil(t, ended)
					return
				}
				require.NotNil(t, ended)
				require.ErrorIs(t, ended.Err, cdn.ErrOverLimit)
				var limit *cdn.LimitError
				require.ErrorAs(t, ended.Err, &limit)
				require.Equal(t, tc.because, *limit)
				require.InDelta(t, tc.after.Seconds(), time.Since(begun).Seconds(), 1)
			})
		})
	}
}

// The answer says what a publisher may send: as a whole no more than its bound, and b=AS
// with what packets need around it. Publishers that know REMB are told by that, too,
// whether or not they estimate by themselves.
func TestPublishersAreToldTheirBitrate(t *testing.T) {
	const transportCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	for _, bound := range []int{0, 300_000, 2_500_000} {
		for _, estimates := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, %v", bound, estimates), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					o := w.origin("origin", cdntest.Path{}, origin.Config{}, grants(cdn.Grant{MaxBitrate: bound}))
					video := videoTrack(webrtc.MimeTypeVP8)
					sound := &rawTrack{kind: webrtc.RTPCodecTypeAudio, id: "sound", codec: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}}
					p, err := rawPublish(t, w, o, "live", w.network.Host("publisher", cdntest.Path{}), func(m *webrtc.MediaEngine) {
						require.NoError(t, m.RegisterDefaultCodecs())
						if estimates {
							require.NoError(t, m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: transportCC}, webrtc.RTPCodecTypeVideo))
							m.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC}, webrtc.RTPCodecTypeVideo)
						}
					}, nil, video, sound)
					require.NoError(t, err)
					for i := range 300 {
						_ = video.send(rtp.Header{SequenceNumber: uint16(i), Timestamp: uint32(3000 * i)}, vp8Picture(i == 0, i))
						time.Sleep(ms(33))
					}
					video.mu.Lock()
					told := video.remb
					video.mu.Unlock()
					if bound == 0 {
						require.NotContains(t, p.answer, "\r\nb=")
						require.Equal(t, estimates || peerConnections, len(told) == 0)
						return
					}
					requireBound(t, p.answer, bound)
					if !peerConnections {
						require.NotEmpty(t, told)
					}
					for _, bitrate := range told {
						require.LessOrEqual(t, bitrate, 1.001*float32(bound)) // its mantissa has 18 bits
					}
				})
			})
		}
	}
}

// requireBound checks the b lines of an answer to an offer of video and sound.
func requireBound(t *testing.T, answer string, bound int) {
	total := 0
	sections := strings.Split(answer, "\r\nm=")[1:]
	require.Len(t, sections, 2)
	for _, s := range sections {
		m := regexp.MustCompile(`\r\nc=[^\r]*\r\nb=AS:(\d+)\r\nb=TIAS:(\d+)\r\na=`).FindStringSubmatch(s)
		require.NotNil(t, m, "behind the c line and ahead of all attributes:\n%s", s)
		as, _ := strconv.Atoi(m[1])
		tias, _ := strconv.Atoi(m[2])
		require.Greater(t, as*1000, tias-1000)
		require.LessOrEqual(t, float64(as*1000), 1.1*float64(tias))
		total += tias
		if strings.HasPrefix(s, "audio") {
			require.LessOrEqual(t, tias, 128_000)
		}
	}
	require.LessOrEqual(t, total, bound)
	require.Greater(t, total, bound-2)
}

// A viewer gets the best layer that its bound allows, and the lowest if none does; a
// bound that changes moves it.
func TestViewersGetLayersWithinTheirBitrate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		bounded := 0
		e := w.node("edge", path, func(c *cdn.Config) {
			c.Authorizer = cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
				bound, _ := strconv.Atoi(r.Credential)
				return cdn.Grant{MaxBitrate: bound}, nil
			})
		})
		w.fetch(e, o)
		w.serveViewers(e, e.relay, edge.Config{})
		p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Layers: []cdntest.VideoLayer{
			{RID: "l", Bitrate: 150_000, Width: 320, Height: 180},
			{RID: "m", Bitrate: 500_000, Width: 640, Height: 360},
			{RID: "h", Bitrate: 1_500_000, Width: 1280, Height: 720},
		}}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		view := func(bound, layer string) (*cdntest.Viewer, func() int) {
			bounded++
			v := w.view(e, "live", fmt.Sprint("viewer ", bounded), path, cdntest.ViewerConfig{Credential: bound, Layer: layer})
			require.NoError(t, v.WaitFrames(w.within(10*time.Second), 30))
			return v, func() int {
				r := v.Report().Video()
				require.Zero(t, r.FaultCount, r.Faults)
				return r.Frames[len(r.Frames)-1].Layer
			}
		}
		settled := func() { time.Sleep(5 * time.Second) }
		_, free := view("", "")
		settled()
		require.Equal(t, 2, free())
		for _, tc := range someOf([]struct {
			bound, layer string
			want         int
		}{
			{"2000000", "", 2},
			{"700000", "", 1},
			{"200000", "", 0},
			{"1000", "", 0},
			{"700000", "h", 1},
			{"700000", "l", 0},
			{"1000", "h", 0},
		}) {
			v, layer := view(tc.bound, tc.layer)
			for _, f := range v.Report().Video().Frames {
				require.LessOrEqual(t, f.Layer, tc.want, "%v: not even at first", tc)
			}
			settled()
			require.Equal(t, tc.want, layer(), tc)
			require.NoError(t, v.Close())
		}

		_, moved := view("", "")
		settled()
		for _, step := range []struct{ bound, want int }{{0, 2}, {700_000, 1}, {200_000, 0}, {700_000, 1}, {0, 2}} {
			require.NoError(t, e.SetLimits(cdn.Limits{ViewerBitrate: step.bound}))
			settled()
			require.Equal(t, step.want, moved(), step)
		}
	})
}
