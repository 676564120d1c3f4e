package delta_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
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

// needOwnIngest skips a test of what the reference, a PeerConnection of pion's,
// cannot do: to take packets by anything but declared SSRCs, to follow an SSRC that
// changes, to take layers without a=rid, and to answer m-sections without a=mid.
func needOwnIngest(t *testing.T) {
	if peerConnections {
		t.Skip("a PeerConnection cannot do that")
	}
}

// An ingest is a publisher whose packets and offer are the test's own, and viewers at
// the origin and behind a hop.
type ingest struct {
	t       *testing.T
	world   *world
	origin  *node
	at      []*node
	audio   *rawTrack
	video   *rawTrack
	pub     *rawPublisher
	viewers []*rawViewer
	begun   time.Time
	n       int // pictures
}

type ingestConfig struct {
	mid    bool                    // the mid extension is offered
	audio  bool                    // there is sound, too
	edit   func(string) string     // of the offer
	answer func(string) string     // as the publisher is to see it
	each   func(in *ingest, n int) // sends picture n; nil: one packet, and sound beside
}

func runIngest(t *testing.T, c ingestConfig, pictures int, check func(in *ingest)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		in := &ingest{t: t, world: w, origin: w.origin("origin", path, origin.Config{}), video: videoTrack(webrtc.MimeTypeVP8)}
		in.at = []*node{in.origin, w.edge("hop", path, edge.Config{}, in.origin)}
		tracks := []*rawTrack{in.video}
		if c.audio {
			in.audio = opusTrack()
			tracks = []*rawTrack{in.audio, in.video}
		}
		var tune func(*webrtc.MediaEngine)
		if c.mid {
			tune = withMid
		}
		var err error
		in.pub, err = rawPublishAnswered(t, w, in.origin, "live", w.network.Host("pub", path), tune, c.edit, c.answer, tracks...)
		require.NoError(t, err)
		each := c.each
		if each == nil {
			each = func(in *ingest, n int) { in.picture(n, rtp.Header{}) }
		}
		in.begun = time.Now()
		for in.n = 0; in.n < pictures; in.n++ {
			time.Sleep(time.Until(in.begun.Add(time.Duration(in.n) * 33 * time.Millisecond)))
			if in.n == 10 {
				for i, at := range in.at {
					kinds := []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo}
					if c.audio {
						kinds = append(kinds, webrtc.RTPCodecTypeAudio)
					}
					v, err := rawView(t, w, at, "live", w.network.Host(fmt.Sprint("view", i), path), nil, nil, kinds...)
					require.NoError(t, err)
					in.viewers = append(in.viewers, v)
				}
			}
			each(in, in.n)
		}
		time.Sleep(ms(300))
		check(in)
	})
}

// picture sends one of one packet, whose header may say more, and sound.
func (in *ingest) picture(n int, h rtp.Header) {
	h.SequenceNumber, h.Timestamp, h.Marker = h.SequenceNumber+uint16(n), h.Timestamp+uint32(n*2970), true
	_ = in.video.send(h, vp8Picture(n%30 == 0, n))
	if in.audio != nil {
		_ = in.audio.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 1584)}, make([]byte, 60))
	}
}

// played requires that every viewer got video without a break: numbers without a gap,
// timestamps that rise, and no pause longer than most; and sound, if there is any.
func (in *ingest) played(most time.Duration) {
	for i, v := range in.viewers {
		got := v.packets("video")
		require.NotEmpty(in.t, got, "video of viewer %d", i)
		for j := 1; j < len(got); j++ {
			require.Equal(in.t, got[j-1].h.SequenceNumber+1, got[j].h.SequenceNumber, "viewer %d, packet %d", i, j)
			require.Positive(in.t, int32(got[j].h.Timestamp-got[j-1].h.Timestamp), "viewer %d, packet %d", i, j)
			require.LessOrEqual(in.t, got[j].at.Sub(got[j-1].at), most, "viewer %d, packet %d", i, j)
		}
		last := got[len(got)-1].at
		require.Less(in.t, time.Since(last), most+ms(400), "viewer %d gets video to the end", i)
		if in.audio != nil {
			require.NotEmpty(in.t, v.packets("audio"), "sound of viewer %d", i)
		}
	}
}

// pictures returns the numbers of the pictures that a viewer got.
func (v *rawViewer) pictures() (all []int) {
	for _, p := range v.packets("video") {
		all = append(all, int(p.data[4])<<8|int(p.data[5]))
	}
	return all
}

func noSSRC(s string) string { return dropLines(s, "a=ssrc:", "a=ssrc-group:") }

// Offers need not say whose packets are which (RFC 8829, RFC 9143 section 9.2): the
// mid does, or a payload type of one m-section.
func TestPublishersWithoutSSRCs(t *testing.T) {
	needOwnIngest(t)
	for name, c := range someIn(map[string]struct {
		audio, mid bool
		edit       func(string) string
	}{
		"all declared":                        {audio: true, edit: func(s string) string { return s }},
		"video alone":                         {edit: noSSRC},
		"video alone, mid in packets":         {mid: true, edit: noSSRC},
		"audio and video, mid in packets":     {audio: true, mid: true, edit: noSSRC},
		"audio and video, payload types only": {audio: true, edit: noSSRC},
		"audio and video, no a=msid":          {audio: true, edit: func(s string) string { return dropLines(noSSRC(s), "a=msid:") }},
		"another SSRC declared": {audio: true, edit: func(s string) string {
			return regexp.MustCompile(`a=ssrc:\d+ `).ReplaceAllString(dropLines(s, "a=ssrc-group:"), "a=ssrc:12345 ")
		}},
		"no direction": {edit: func(s string) string { return dropLines(s, "a=sendrecv", "a=sendonly") }},
		"a direction for all m-sections": {edit: func(s string) string {
			return strings.Replace(dropLines(s, "a=sendrecv", "a=sendonly"), "t=0 0\r\n", "t=0 0\r\na=sendonly\r\n", 1)
		}},
		"DTLS passive": {audio: true, edit: func(s string) string { return strings.ReplaceAll(s, "a=setup:actpass", "a=setup:passive") }},
		"DTLS active":  {audio: true, edit: func(s string) string { return strings.ReplaceAll(s, "a=setup:actpass", "a=setup:active") }},
		"no feedback":  {audio: true, edit: func(s string) string { return dropLines(s, "a=rtcp-fb:", "a=rtcp-rsize") }},
	}) {
		t.Run(name, func(t *testing.T) {
			runIngest(t, ingestConfig{audio: c.audio, mid: c.mid, edit: c.edit, each: func(in *ingest, n int) {
				if n == 0 && c.mid {
					in.video.midOf = "0"
					if c.audio {
						in.audio.midOf, in.video.midOf = "0", "1"
					}
					require.NotZero(t, in.video.mid)
				}
				in.picture(n, rtp.Header{})
			}}, 60, func(in *ingest) {
				require.Equal(t, strings.Count(in.pub.pc.LocalDescription().SDP, "\r\nm="), strings.Count(in.pub.answer, "\r\nm="))
				in.played(ms(150))
			})
		})
	}
}

// M-sections without a=mid cannot be bundled, but have one transport all the same.
func TestPublishersWithoutMids(t *testing.T) {
	needOwnIngest(t)
	for _, audio := range []bool{false, true} {
		runIngest(t, ingestConfig{
			audio: audio,
			edit:  func(s string) string { return dropLines(noSSRC(s), "a=mid:", "a=group:", "a=extmap") },
			answer: func(s string) string { // pion wants them
				mid := -1
				s = strings.Replace(s, "a=ice-lite", "a=group:BUNDLE 0 1\r\na=ice-lite", 1)
				if !audio {
					s = strings.Replace(s, "a=group:BUNDLE 0 1", "a=group:BUNDLE 0", 1)
				}
				return regexp.MustCompile(`a=setup:`).ReplaceAllStringFunc(s, func(line string) string {
					mid++
					return fmt.Sprintf("a=mid:%d\r\n%s", mid, line)
				})
			},
		}, 60, func(in *ingest) { in.played(ms(150)) })
	}
}

// Whatever an SSRC does, viewers see no break, and get every picture.
func TestSSRCsThatChange(t *testing.T) {
	needOwnIngest(t)
	other := func(n int) rtp.Header {
		return rtp.Header{SSRC: uint32(1000 + n), SequenceNumber: uint16(7000 * n), Timestamp: uint32(900000 * n)}
	}
	for name, c := range map[string]struct {
		edit func(string) string
		key  func(n int) bool
		of   func(n int) rtp.Header
		most time.Duration
	}{
		"at a keyframe":         {of: func(n int) rtp.Header { return other(n / 60) }},
		"anywhere":              {of: func(n int) rtp.Header { return other((n + 17) / 45) }},
		"and its numbers go on": {of: func(n int) rtp.Header { return rtp.Header{SSRC: uint32(1000 + (n+17)/45)} }},
		"and it comes back":     {of: func(n int) rtp.Header { return other((n + 17) / 45 % 2) }},
		"undeclared":            {edit: noSSRC, of: func(n int) rtp.Header { return other((n + 17) / 45) }},
		"many times":            {of: func(n int) rtp.Header { return other(n / 3) }},
	} {
		t.Run(name, func(t *testing.T) {
			runIngest(t, ingestConfig{audio: true, edit: c.edit, each: func(in *ingest, n int) { in.picture(n, c.of(n)) }}, 300, func(in *ingest) {
				in.played(ms(150))
				for i, v := range in.viewers {
					got := v.pictures()
					for j := 1; j < len(got); j++ {
						require.Equal(t, got[j-1]+1, got[j], "viewer %d", i)
					}
				}
				require.Empty(t, in.origin.origin.Stats().Dropped)
			})
		})
	}
}

// A second SSRC that sends beside the first, and that nothing explains, disturbs
// nobody; it is counted. When the first one goes, it goes on in its place.
func TestASecondSSRC(t *testing.T) {
	needOwnIngest(t)
	runIngest(t, ingestConfig{each: func(in *ingest, n int) {
		if n < 150 {
			in.picture(n, rtp.Header{})
		}
		if n >= 30 {
			_ = in.video.send(rtp.Header{SSRC: 77, SequenceNumber: uint16(n), Timestamp: uint32(n * 2970), Marker: true}, vp8Picture(n%30 == 0, 1000+n))
		}
	}}, 240, func(in *ingest) {
		in.played(ms(900))
		for i, v := range in.viewers {
			got := v.pictures()
			at := slices.IndexFunc(got, func(n int) bool { return n >= 1000 })
			require.Positive(t, at, "viewer %d", i)
			for _, n := range got[at:] {
				require.GreaterOrEqual(t, n, 1000, "viewer %d sees one of the two", i)
			}
		}
		require.NotZero(t, in.origin.origin.Stats().Dropped["second source"])
	})
}

// Simulcast as it was before a=rid: the offer's SIM group says which SSRCs are the
// layers of one track.
func TestLayersWithoutRIDs(t *testing.T) {
	needOwnIngest(t)
	edit := func(s string) string {
		return strings.Replace(dropLines(s, "a=ssrc:", "a=ssrc-group:"), "a=sendrecv", "a=ssrc-group:SIM 101 102 103\r\n"+
			"a=ssrc:101 cname:x\r\na=ssrc:102 cname:x\r\na=ssrc:103 cname:x\r\na=sendrecv", 1)
	}
	runIngest(t, ingestConfig{edit: edit, each: func(in *ingest, n int) {
		for i := range uint32(3) {
			in.picture(n, rtp.Header{SSRC: 101 + i, SequenceNumber: uint16(500 * i)})
		}
	}}, 90, func(in *ingest) {
		in.played(ms(150))
		layers := in.origin.Stats().Streams[0].Tracks[0].Layers
		require.Len(t, layers, 3)
		for _, l := range layers {
			require.EqualValues(t, 90, l.Packets, "layer %s", l.Name)
		}
		require.Empty(t, in.origin.origin.Stats().Dropped)
	})
}

// Several SSRCs of one m-section without a group, as Plan B had its tracks: one is
// taken.
func TestSeveralDeclaredSSRCs(t *testing.T) {
	needOwnIngest(t)
	edit := func(s string) string {
		return strings.Replace(dropLines(s, "a=ssrc:", "a=ssrc-group:"), "a=sendrecv", "a=ssrc:101 cname:x\r\na=ssrc:102 cname:x\r\na=sendrecv", 1)
	}
	runIngest(t, ingestConfig{edit: edit, each: func(in *ingest, n int) {
		in.picture(n, rtp.Header{SSRC: 101})
		in.picture(n, rtp.Header{SSRC: 102, SequenceNumber: 900})
	}}, 90, func(in *ingest) { in.played(ms(150)) })
}

// The mid in a packet moves its SSRC to another m-section; sound may come late.
func TestAnSSRCThatMoves(t *testing.T) {
	needOwnIngest(t)
	runIngest(t, ingestConfig{audio: true, mid: true, edit: noSSRC, each: func(in *ingest, n int) {
		h := rtp.Header{SSRC: 500, SequenceNumber: uint16(n), Timestamp: uint32(n * 2970), Marker: true}
		in.audio.midOf, in.video.midOf = "0", "1"
		switch {
		case n < 45:
			_ = in.video.send(h, vp8Picture(n%30 == 0, n))
		default: // it is the sound's now, and video has another
			_ = in.audio.send(rtp.Header{SSRC: 500, SequenceNumber: uint16(n), Timestamp: uint32(n * 1584)}, make([]byte, 60))
			h.SSRC = 501
			_ = in.video.send(h, vp8Picture(n%30 == 0, n))
		}
	}}, 120, func(in *ingest) { in.played(ms(150)) })
}

// Two m-sections may share a payload type, if their packets carry the mid: those that
// do not yet are kept until one does.
func TestSharedPayloadTypes(t *testing.T) {
	needOwnIngest(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		one, two := videoTrack(webrtc.MimeTypeVP8), videoTrack(webrtc.MimeTypeVP8)
		two.id = "w"
		_, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), withMid, noSSRC, one, two)
		require.NoError(t, err)
		for n := range 60 {
			if n >= 3 {
				one.midOf, two.midOf = "0", "1"
			}
			for i, tr := range []*rawTrack{one, two} {
				_ = tr.send(rtp.Header{SSRC: uint32(50 + i), SequenceNumber: uint16(n), Timestamp: uint32(n * 2970), Marker: true}, vp8Picture(n%30 == 0, n))
			}
			time.Sleep(ms(33))
		}
		tracks := o.Stats().Streams[0].Tracks
		require.Len(t, tracks, 2)
		for _, tr := range tracks {
			require.EqualValues(t, 60, tr.Layers[0].Packets, tr.Info.ID)
		}
		require.Empty(t, o.origin.Stats().Dropped)
	})
}

// A publisher none of whose packets can be matched is warned of and counted.
func TestUnmatchedPacketsAreCounted(t *testing.T) {
	needOwnIngest(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		v := videoTrack(webrtc.MimeTypeVP8)
		_, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), nil, nil, v)
		require.NoError(t, err)
		for n := range 10 {
			_ = v.send(rtp.Header{PayloadType: 126, SequenceNumber: uint16(n)}, vp8Picture(true, n))
		}
		time.Sleep(ms(100))
		require.EqualValues(t, 10, o.origin.Stats().Dropped["payload type"])
		require.EqualValues(t, 10, o.origin.Stats().Packets)
		require.Equal(t, 1, o.origin.Stats().Publishers)
	})
}

// Packets that are lost on the way in are asked for again, and come by RTX.
func TestRepairsOfPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{Delay: ms(5)}, origin.Config{})
		w.publish(o, "live", cdntest.Path{Delay: ms(20), Loss: 0.05}, cdntest.PublisherConfig{Video: &cdntest.Video{}})
		v := w.view(o, "live", "viewer", cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(20*time.Second), 150))
		layer := o.Stats().Streams[0].Tracks[0].Layers[0]
		require.NotZero(t, layer.Nacked)
		require.Less(t, layer.Lost, layer.Packets/100)
		if !peerConnections {
			require.NotZero(t, o.origin.Stats().Repairs)
		}
	})
}

// Sessions of publishers end as others do: by themselves when the grant expires, at
// once when the publisher or we say goodbye, and after silence.
func TestPublishersSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{Grace: -1}, func(c *cdn.Config) {
			c.Authorizer = cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
				if r.Stream == "short" {
					return cdn.Grant{Expires: time.Now().Add(3 * time.Second)}, nil
				}
				return cdn.Grant{}, nil
			})
		})
		ended := func() cdn.SessionEnded {
			for {
				select {
				case e := <-w.events:
					if e, ok := e.(cdn.SessionEnded); ok {
						return e
					}
				case <-time.After(30 * time.Second):
					t.Fatal("no session ends")
				}
			}
		}
		begun := time.Now()
		publish := func(stream string, host *cdntest.Host) *rawPublisher {
			v := videoTrack(webrtc.MimeTypeVP8)
			p, err := rawPublish(t, w, o, stream, host, nil, nil, v)
			require.NoError(t, err)
			_ = v.send(rtp.Header{SequenceNumber: 1}, vp8Picture(true, 1))
			return p
		}
		publish("short", w.network.Host("short", path))
		require.ErrorIs(t, ended().Err, cdn.ErrUnauthorized)
		require.InDelta(t, 3, time.Since(begun).Seconds(), 0.2)

		p := publish("close", w.network.Host("close", path))
		time.Sleep(time.Second)
		begun = time.Now()
		require.NoError(t, p.pc.Close())
		require.ErrorIs(t, ended().Err, cdn.ErrPeerLost)
		require.Less(t, time.Since(begun), ms(200))

		silent := w.network.Host("silent", path)
		publish("silent", silent)
		time.Sleep(time.Second)
		silent.Cut()
		begun = time.Now()
		require.ErrorIs(t, ended().Err, cdn.ErrPeerLost)
		require.InDelta(t, 10.5, time.Since(begun).Seconds(), 2)

		ours := publish("ours", w.network.Host("ours", path))
		closed := make(chan struct{})
		closes := sync.OnceFunc(func() { close(closed) }) // pion may tell of it twice
		ours.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
			if s == webrtc.PeerConnectionStateClosed {
				closes()
			}
		})
		time.Sleep(time.Second)
		require.NoError(t, o.origin.Close())
		select {
		case <-closed:
		case <-time.After(time.Second):
			t.Fatal("the publisher is told")
		}
	})
}

// A publisher that has another address restarts ICE by PATCH, and its media goes on in
// the same session.
func TestPublishersRestartICE(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		video := videoTrack(webrtc.MimeTypeVP8)
		p, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), nil, nil, video)
		require.NoError(t, err)
		n := 0
		send := func(d time.Duration) (came uint64) {
			layers := o.Stats().Streams[0].Tracks[0].Layers
			before := layers[0].Packets
			for end := time.Now().Add(d); time.Now().Before(end); n++ {
				_ = video.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 2970), Marker: true}, vp8Picture(n%30 == 0, n))
				time.Sleep(ms(33))
			}
			return o.Stats().Streams[0].Tracks[0].Layers[0].Packets - before
		}
		require.Greater(t, send(2*time.Second), uint64(50))
		offer := offerOf(t, p.pc, true)
		fragment, err := p.remote.Patch(t.Context(), "a=ice-ufrag:"+attr(offer, "ice-ufrag")+"\r\na=ice-pwd:"+attr(offer, "ice-pwd")+"\r\n")
		require.NoError(t, err)
		requireOneComponent(t, p.answer, fragment)
		answer := strings.NewReplacer(
			"a=ice-ufrag:"+attr(p.answer, "ice-ufrag"), "a=ice-ufrag:"+attr(fragment, "ice-ufrag"),
			"a=ice-pwd:"+attr(p.answer, "ice-pwd"), "a=ice-pwd:"+attr(fragment, "ice-pwd"),
		).Replace(p.answer)
		require.NotEqual(t, p.answer, answer)
		require.NoError(t, p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
		send(2 * time.Second)
		require.Greater(t, send(30*time.Second), uint64(880))
		require.Len(t, o.Stats().Streams, 1)
	})
}
