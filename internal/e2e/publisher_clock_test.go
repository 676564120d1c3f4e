package delta_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// A studio is a publisher of sound and picture whose clocks, reports and numbers
// are the test's own, and a viewer behind three hops.
type studio struct {
	*world
	origin, edge *node
	publisher    *rawPublisher
	sound, video *rawTrack
	viewer       *rawViewer
	began        time.Time
	ppm          float64 // by how much the sound card is faster than the camera
	jitter       time.Duration
	soundShift   time.Duration // of timestamps
	videoShift   time.Duration
	rng          *rand.Rand
}

func newStudio(t *testing.T) *studio {
	w := newWorld(t)
	path := cdntest.Path{Delay: ms(5)}
	o := w.origin("origin", path, origin.Config{Takeover: origin.TakeoverAlways})
	far := w.relay("far", path, w.relay("near", path, o))
	s := &studio{
		world: w, origin: o, edge: w.edge("edge", path, edge.Config{}, far),
		sound: opusTrack(), video: videoTrack(webrtc.MimeTypeVP8), rng: rand.New(rand.NewPCG(1, 1)),
	}
	var err error
	s.publisher, err = rawPublish(t, w, o, "live", w.network.Host("publisher", path), nil, nil, s.sound, s.video)
	require.NoError(t, err)
	s.began = time.Now()
	return s
}

func (s *studio) view(name string) *rawViewer {
	v, err := rawView(s.t, s.world, s.edge, "live", s.network.Host(name, cdntest.Path{Delay: ms(5)}), nil, nil, webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo)
	require.NoError(s.t, err)
	return v
}

func (s *studio) soundTime(after time.Duration) uint32 {
	return 1000 + uint32(int64((after+s.soundShift).Seconds()*48000*(1+s.ppm*1e-6)))
}

func (s *studio) videoTime(after time.Duration) uint32 {
	return 0xfff0_0000 + uint32(int64((after+s.videoShift).Seconds()*90000)) // it wraps soon
}

// play sends until the time is over: 10 packets of sound and 5 frames a second are
// enough. Each step each is called, with the number of the step.
func (s *studio) play(d time.Duration, each func(step int, after time.Duration)) {
	s.playMuted(d, func(time.Duration) bool { return false }, each)
}

// playMuted is play, and sends nothing while muted says so.
func (s *studio) playMuted(d time.Duration, muted func(after time.Duration) bool, each func(step int, after time.Duration)) {
	var seq uint16
	for n := 0; time.Since(s.began) < d; n++ {
		at := time.Duration(n) * ms(100)
		late := time.Duration(0)
		if s.jitter > 0 {
			late = time.Duration(s.rng.Int64N(int64(s.jitter)))
		}
		time.Sleep(time.Until(s.began.Add(at + late)))
		if muted(at) {
			continue
		}
		seq++
		_ = s.sound.send(rtp.Header{SequenceNumber: seq, Timestamp: s.soundTime(at)}, sound(n))
		if n%2 == 0 {
			_ = s.video.send(rtp.Header{SequenceNumber: seq / 2, Timestamp: s.videoTime(at), Marker: true}, vp8Picture(n%20 == 0, n))
		}
		if n == 20 {
			s.viewer = s.view("viewer")
		}
		each(n, at)
	}
}

// apart returns by how much later sound is taken to be captured than the picture of
// the same moment, by the newest reports.
func (s *studio) apart() time.Duration {
	offset := func(kind string, rate float64) time.Duration {
		all, reports := s.viewer.packets(kind), s.viewer.reports(kind)
		require.NotEmpty(s.t, all, kind)
		require.NotEmpty(s.t, reports, kind)
		last := all[len(all)-1]
		return captured(reports, last.h.Timestamp, rate).Sub(s.began.Add(time.Duration(pictureNumber(last)) * ms(100)))
	}
	return offset("audio", 48000) - offset("video", 90000)
}

// Through three hops, and for as long as a stream lives, sound and picture that were
// captured together are played together: whether a publisher reports on its clocks
// or not, or on one of them, and whatever it reports (RFC 3550 section 6.4.1).
func TestSoundAndPictureStayTogether(t *testing.T) {
	right := func(s *studio, tr *rawTrack, ts uint32, after time.Duration) {
		s.publisher.report(tr, ntpOf(s.began.Add(after+17*time.Hour)), ts)
	}
	reports := map[string]func(s *studio, step int, after time.Duration){
		"no reports": func(*studio, int, time.Duration) {},
		"reports": func(s *studio, step int, after time.Duration) {
			if step%50 == 30 {
				right(s, s.sound, s.soundTime(after), after)
				right(s, s.video, s.videoTime(after), after)
			}
		},
		"reports on sound only": func(s *studio, step int, after time.Duration) {
			if step%50 == 30 {
				right(s, s.sound, s.soundTime(after), after)
			}
		},
		"reports on the picture that end": func(s *studio, step int, after time.Duration) {
			if step%50 == 30 && step < 600 {
				right(s, s.video, s.videoTime(after), after)
			}
		},
		"an hour too much on sound, now and then": func(s *studio, step int, after time.Duration) {
			if step%50 == 30 {
				d := time.Duration(step/50%2) * time.Hour
				s.publisher.report(s.sound, ntpOf(s.began.Add(after+17*time.Hour+d)), s.soundTime(after))
				right(s, s.video, s.videoTime(after), after)
			}
		},
		"zeros, and a clock that stands still": func(s *studio, step int, after time.Duration) {
			switch step % 50 {
			case 30:
				right(s, s.video, s.videoTime(after), after)
			case 31:
				s.publisher.report(s.sound, 0, s.soundTime(after))
			case 32:
				s.publisher.report(s.sound, ntpOf(s.began), s.soundTime(after))
			case 33:
				s.publisher.report(s.video, ntpOf(s.began.Add(after)), 0)
			}
		},
	}
	for _, name := range someOf(slices.Sorted(maps.Keys(reports))) {
		report := reports[name]
		for _, ppm := range []float64{500, -500} {
			t.Run(fmt.Sprintf("%s, %+v ppm", name, ppm), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newStudio(t)
					s.ppm, s.jitter = ppm, ms(20)
					worst := time.Duration(0)
					s.play(span(6*time.Minute), func(step int, after time.Duration) {
						report(s, step, after)
						if step < 60 || step%10 != 0 && step > 600 {
							return
						}
						d := s.apart()
						s.viewer.forget()
						worst = max(worst, d.Abs())
						require.LessOrEqual(t, d.Abs(), ms(100), "after %v", after)
					})
					t.Logf("at most %v apart", worst)
				})
			})
		}
	}
}

// What an uplink delays on one track only is known from the reports, and reaches the
// viewer as it was captured.
func TestAnUplinkThatDelaysThePicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t)
		for n := range 200 {
			at := time.Duration(n) * ms(100)
			time.Sleep(time.Until(s.began.Add(at)))
			_ = s.sound.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: s.soundTime(at)}, sound(n))
			if n >= 3 {
				_ = s.video.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: s.videoTime(at - ms(300)), Marker: true}, vp8Picture(n%20 == 3, n))
			}
			if n%20 == 5 {
				s.publisher.report(s.sound, ntpOf(time.Now()), s.soundTime(at))
				s.publisher.report(s.video, ntpOf(time.Now()), s.videoTime(at))
			}
			if n == 30 {
				s.viewer = s.view("viewer")
			}
			if n > 50 {
				require.InDelta(t, 0.3, s.apart().Seconds(), 0.02, "after %v", at)
			}
		}
	})
}

// A publisher whose RTP time goes back, or whose numbers jump, as an encoder that is
// reset makes them do behind one session: viewers behind hops see one stream that
// goes on, who joins later begins at once, and a takeover moves nobody by minutes.
func TestAPublisherThatJumps(t *testing.T) {
	for name, jump := range someIn(map[string]struct {
		seq uint16
		ts  int
	}{
		"time back by ten minutes":    {ts: -600 * 90000},
		"time forward by ten minutes": {ts: 600 * 90000},
		"500 numbers":                 {seq: 500},
		"3,000 numbers":               {seq: 3000},
		"20,000 numbers":              {seq: 20000},
		"32,000 numbers":              {seq: 32000},
		"40,000 numbers":              {seq: 40000},
		"both":                        {seq: 12345, ts: -600 * 90000},
	}) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStudio(t)
				var late *rawViewer
				var joined time.Time
				send := func(tr *rawTrack, n int, seq uint16, ts int, key bool) {
					time.Sleep(time.Until(s.began.Add(time.Duration(n) * time.Second / 30)))
					_ = tr.send(rtp.Header{SequenceNumber: uint16(n) + seq, Timestamp: uint32(2_000_000_000 + n*3000 + ts), Marker: true}, vp8Picture(key, n))
				}
				for n := range 600 {
					seq, ts := uint16(0), 0
					if n >= 215 {
						seq, ts = jump.seq, jump.ts
					}
					send(s.video, n, seq, ts, n%60 == 0 || s.video.wanted())
					switch n {
					case 20:
						s.viewer = s.view("early")
					case 400:
						joined, late = time.Now(), s.view("late")
					}
				}
				layer := s.origin.Stats().Streams[0].Tracks[1].Layers[0]
				require.Zero(t, layer.Nacked, "what was never sent is not asked for")
				second := videoTrack(webrtc.MimeTypeVP8)
				_, err := rawPublish(t, s.world, s.origin, "live", s.network.Host("second", cdntest.Path{Delay: ms(5)}), nil, nil, opusTrack(), second)
				require.NoError(t, err)
				for n := 600; n < 750; n++ {
					send(second, n, 7, -123456789, n%60 == 0 || second.wanted())
				}
				for name, v := range map[string]*rawViewer{"early": s.viewer, "late": late} {
					all := v.packets("video")
					require.NotEmpty(t, all, name)
					require.Zero(t, all[0].data[1]&1, "%s begins with a keyframe", name)
					after := 0
					for i, p := range all[1:] {
						require.Equal(t, all[i].h.SequenceNumber+1, p.h.SequenceNumber, "%s: packet %d", name, i+1)
						moved := time.Duration(int32(p.h.Timestamp-all[i].h.Timestamp)) * time.Second / 90000
						require.InDelta(t, p.at.Sub(all[i].at).Seconds(), moved.Seconds(), 0.5, "%s: frame %d", name, pictureNumber(p))
						if n := pictureNumber(p); n >= 215 && n < 600 {
							after++
						}
					}
					if name == "early" {
						require.GreaterOrEqual(t, after, 378, "of 385 frames behind the jump")
					} else {
						require.Less(t, all[0].at.Sub(joined), time.Second)
					}
					require.Greater(t, pictureNumber(all[len(all)-1]), 740, "%s follows the takeover", name)
				}
			})
		})
	}
}

// sound is a payload of sound that has a number where a picture has it.
func sound(n int) []byte {
	b := make([]byte, 60)
	b[4], b[5] = byte(n>>8), byte(n)
	return b
}

func pictureNumber(p got) int { return int(p.data[4])<<8 | int(p.data[5]) }

// forget drops all but the newest of what came.
func (v *rawViewer) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for kind, all := range v.rtp {
		v.rtp[kind] = append([]got(nil), all[len(all)-1])
	}
	for kind, all := range v.srs {
		v.srs[kind] = append([]gotSR(nil), all[len(all)-1])
	}
}

// wanted reports whether a keyframe has been asked for since it was last called.
func (t *rawTrack) wanted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	yes := t.requests > 0
	t.requests = 0
	return yes
}

// Neither mutes, over which timestamps go on or stand still, nor jumps in the
// timestamps of one track part sound and picture for longer than it takes to see it.
func TestSoundAndPictureStayTogetherAcrossMutesAndJumps(t *testing.T) {
	for _, reports := range someOf([]bool{false, true}) {
		t.Run(fmt.Sprintf("reports: %v", reports), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStudio(t)
				s.ppm, s.jitter = 300, ms(20)
				disturbed := time.Duration(0)
				s.playMuted(4*time.Minute, func(after time.Duration) (muted bool) {
					at := int(after / ms(100))
					switch at {
					case 600:
						s.videoShift = -10 * time.Minute
					case 900:
						s.soundShift = time.Hour
					case 1500: // both stood still for the ten seconds of the second mute
						s.videoShift -= 10 * time.Second
						s.soundShift -= 10 * time.Second
					default:
						return at >= 1100 && at < 1300 || at >= 1400 && at < 1500
					}
					disturbed = after
					return false
				}, func(step int, after time.Duration) {
					if reports && step%50 == 30 {
						s.publisher.report(s.sound, ntpOf(s.began.Add(after+17*time.Hour)), s.soundTime(after))
						s.publisher.report(s.video, ntpOf(s.began.Add(after+17*time.Hour)), s.videoTime(after))
					}
					if step < 80 || step%10 != 0 || after-disturbed < 3*time.Second {
						return
					}
					require.LessOrEqual(t, s.apart().Abs(), ms(100), "after %v", after)
				})
			})
		})
	}
}
