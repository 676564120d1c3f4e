package mediaclock

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// began is when all tests begin, by this node's clock.
var began = time.Unix(1_800_000_000, 0)

// A media is a track whose clock runs fast by ppm, and whose packets come with
// jitter, and sometimes through a queue.
type media struct {
	Track

	rate   uint32
	every  time.Duration
	ppm    float64
	jitter time.Duration
	muted  time.Duration // over which timestamps stood still
	rng    *rand.Rand
}

func newMedia(rate uint32, every time.Duration, ppm float64, jitter time.Duration) *media {
	return &media{Track: NewTrack(rate, false), rate: rate, every: every, ppm: ppm, jitter: jitter, rng: rand.New(rand.NewPCG(1, uint64(rate)))}
}

// rtp is the timestamp of what is captured so long after the beginning.
func (m *media) rtp(after time.Duration) uint64 {
	return 1<<32 + 77 + uint64((after-m.muted).Seconds()*float64(m.rate)*(1+m.ppm*1e-6))
}

// send has the media arrive that was captured so long after the beginning.
func (m *media) send(after, queue time.Duration) {
	late := queue
	if m.jitter > 0 {
		late += time.Duration(m.rng.Int64N(int64(m.jitter)))
	}
	m.Observe(began.Add(after+late), m.rtp(after))
}

// wall returns the wall clock at which the track is taken to have captured what it
// captured so long after the beginning.
func (m *media) wall(t *testing.T, w *Wall, after time.Duration) time.Time {
	t.Helper()
	r, ok := m.Read(began.Add(after))
	require.True(t, ok)
	at := r.NTP.Add(duration(int64(m.rtp(after)-r.RTP), int64(m.rate)))
	if r.ByArrival {
		return at.Add(w.Offset)
	}
	return at.Add(w.Set - r.Set)
}

// A stage is a publisher with sound and picture.
type stage struct {
	*testing.T
	audio, video *media
	wall         Wall
	ahead        time.Duration // of the publisher's wall clock
}

// report has a track's sender report come, for what is captured now.
func (s *stage) report(m *media, after time.Duration) bool {
	return m.Report(&s.wall, began.Add(after+ms), began.Add(after+s.ahead), m.rtp(after))
}

// play plays from one moment to another, and requires at each second that sound and
// picture that were captured together are taken to be.
func (s *stage) play(from, to time.Duration, queue time.Duration, each func(second int, after time.Duration)) {
	s.Helper()
	for after := from; after < to; after += 20 * ms {
		s.audio.send(after, queue)
		if after%(40*ms) == 0 {
			s.video.send(after, queue)
		}
		if after%time.Second != 0 {
			continue
		}
		second := int(after / time.Second)
		if each != nil {
			each(second, after)
		}
		if after-from < time.Second {
			continue
		}
		apart := s.audio.wall(s.T, &s.wall, after).Sub(s.video.wall(s.T, &s.wall, after))
		if apart.Abs() > 80*ms {
			require.LessOrEqual(s, apart.Abs(), 80*ms, "after %v: sound is taken to be %v later", after, apart)
		}
	}
}

// Sound and picture stay together for hours, whatever their clocks do, with
// reports, without, and with reports of one of them.
func TestSoundAndPictureStayTogether(t *testing.T) {
	for _, drift := range [][2]float64{{0, 0}, {500, 0}, {0, 500}, {-500, 500}, {500, -500}, {-500, -500}} {
		for _, reports := range []string{"", "audio", "video", "both"} {
			for _, jitter := range []time.Duration{0, 50 * ms} {
				t.Run(fmt.Sprintf("%v ppm, reports of %q, jitter %v", drift, reports, jitter), func(t *testing.T) {
					s := &stage{
						T: t, ahead: 17 * time.Hour,
						audio: newMedia(48000, 20*ms, drift[0], jitter), video: newMedia(90000, 40*ms, drift[1], jitter),
					}
					begin := time.Duration(0)
					s.play(begin, 2*time.Hour, 0, func(second int, after time.Duration) {
						if second%5 == 3 && (reports == "audio" || reports == "both") {
							require.True(t, s.report(s.audio, after))
						}
						if second%5 == 4 && (reports == "video" || reports == "both") {
							require.True(t, s.report(s.video, after))
						}
					})
					if reports != "" {
						at := 2*time.Hour - time.Second
						require.InDelta(t, 0, s.audio.wall(t, &s.wall, at).Sub(began.Add(at+s.ahead)).Seconds(), 0.08)
					}
				})
			}
		}
	}
}

// A queue on the way, and mutes over which timestamps go on or stand still, do not
// part them for longer than it takes to see it.
func TestQueuesAndMutes(t *testing.T) {
	s := &stage{T: t, audio: newMedia(48000, 20*ms, 300, 20*ms), video: newMedia(90000, 40*ms, -300, 20*ms)}
	s.play(0, time.Minute, 0, nil)
	s.play(time.Minute, 2*time.Minute, 800*ms, nil)
	s.play(2*time.Minute, 4*time.Minute, 0, nil)
	s.play(5*time.Minute, 6*time.Minute, 0, nil) // timestamps went on
	s.audio.muted, s.video.muted = 30*time.Second, 30*time.Second
	s.play(7*time.Minute, 8*time.Minute, 0, nil) // they stood still for half of it
	s.audio.muted += 10 * time.Second            // of sound only
	for after := 8 * time.Minute; after < 8*time.Minute+10*time.Second; after += 40 * ms {
		s.video.send(after, 0)
	}
	s.play(8*time.Minute+10*time.Second, 9*time.Minute, 0, nil)
}

// What cannot be true is not believed, and moves nothing.
func TestReportsThatCannotBeTrue(t *testing.T) {
	for name, lie := range map[string]func(s *stage, second int, after time.Duration) (now, ntp time.Time, rtp uint64){
		"no wall clock": func(s *stage, _ int, after time.Duration) (time.Time, time.Time, uint64) {
			return began.Add(after), time.Unix(ntpEpoch, 0), s.audio.rtp(after)
		},
		"an hour ahead, once": func(s *stage, second int, after time.Duration) (time.Time, time.Time, uint64) {
			d := time.Duration(0)
			if second == 103 {
				d = time.Hour
			}
			return began.Add(after), began.Add(after + d), s.audio.rtp(after)
		},
		"ten minutes back, now and then": func(s *stage, second int, after time.Duration) (time.Time, time.Time, uint64) {
			d := time.Duration(0)
			if second%10 == 3 && second > 100 {
				d = -10 * time.Minute
			}
			return began.Add(after), began.Add(after + d), s.audio.rtp(after)
		},
		"an hour ahead always, as the picture's show": func(s *stage, second int, after time.Duration) (time.Time, time.Time, uint64) {
			d := time.Duration(0)
			if second > 100 {
				d = time.Hour
			}
			return began.Add(after), began.Add(after + d), s.audio.rtp(after)
		},
		"an hour ahead from the first": func(s *stage, _ int, after time.Duration) (time.Time, time.Time, uint64) {
			return began.Add(after), began.Add(after + time.Hour), s.audio.rtp(after)
		},
		"a frozen wall clock": func(s *stage, second int, after time.Duration) (time.Time, time.Time, uint64) {
			if second > 100 {
				return began.Add(after), began.Add(100 * time.Second), s.audio.rtp(after)
			}
			return began.Add(after), began.Add(after), s.audio.rtp(after)
		},
		"a frozen timestamp": func(s *stage, second int, after time.Duration) (time.Time, time.Time, uint64) {
			if second > 100 {
				return began.Add(after), began.Add(after), s.audio.rtp(100 * time.Second)
			}
			return began.Add(after), began.Add(after), s.audio.rtp(after)
		},
		"all frozen": func(s *stage, second int, after time.Duration) (time.Time, time.Time, uint64) {
			at := min(after, 100*time.Second)
			return began.Add(after), began.Add(at), s.audio.rtp(at)
		},
		"no timestamp": func(s *stage, second int, after time.Duration) (time.Time, time.Time, uint64) {
			return began.Add(after), began.Add(after), 1 << 32
		},
		"a clock at half the speed": func(s *stage, second int, after time.Duration) (time.Time, time.Time, uint64) {
			return began.Add(after), began.Add(after / 2), s.audio.rtp(after)
		},
		"any": func(s *stage, _ int, after time.Duration) (time.Time, time.Time, uint64) {
			return began.Add(after), time.Unix(s.audio.rng.Int64N(1e10), 0), s.audio.rng.Uint64N(1 << 33)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &stage{T: t, audio: newMedia(48000, 20*ms, 500, 20*ms), video: newMedia(90000, 40*ms, -500, 20*ms)}
			s.play(0, 20*time.Minute, 0, func(second int, after time.Duration) {
				if second%5 == 3 && second > 0 {
					now, ntp, rtp := lie(s, second, after)
					s.audio.Report(&s.wall, now, ntp, rtp)
				}
				if second%5 == 4 {
					s.report(s.video, after)
				}
			})
		})
	}
}

// A publisher may set its clock: once its reports agree, all tracks follow at once.
func TestAClockThatIsSet(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -10 * time.Minute} {
		s := &stage{T: t, audio: newMedia(48000, 20*ms, 100, 20*ms), video: newMedia(90000, 40*ms, -100, 20*ms)}
		each := func(second int, after time.Duration) {
			if second%5 == 3 {
				s.report(s.audio, after)
			}
			if second%5 == 4 {
				s.report(s.video, after)
			}
		}
		s.play(0, 2*time.Minute, 0, each)
		s.ahead += by
		s.play(2*time.Minute, 3*time.Minute, 0, each)
		at := 3*time.Minute - 20*ms
		require.InDelta(t, 0, s.audio.wall(t, &s.wall, at).Sub(began.Add(at+s.ahead)).Seconds(), 0.08)
	}
}

// What is late on one track only is known by the reports, and stays known.
func TestTracksThatArriveApart(t *testing.T) {
	s := &stage{T: t, audio: newMedia(48000, 20*ms, 0, 0), video: newMedia(90000, 40*ms, 0, 0)}
	for after := time.Duration(0); after < 2*time.Minute; after += 20 * ms {
		s.audio.send(after, 0)
		s.video.send(after, 300*ms)
		if after%(5*time.Second) == time.Second && after < time.Minute {
			require.True(t, s.report(s.audio, after))
			require.True(t, s.report(s.video, after))
		}
		if after > time.Second { // and when no report comes any more
			apart := s.audio.wall(t, &s.wall, after).Sub(s.video.wall(t, &s.wall, after))
			require.LessOrEqual(t, apart.Abs(), 20*ms, "after %v", after)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	m, w, after := newMedia(48000, 20*ms, 0, 10*ms), &Wall{}, time.Duration(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		after += 20 * ms
		m.send(after, 0)
		m.Report(w, began.Add(after), began.Add(after), m.rtp(after))
		m.Read(began.Add(after))
	}))
}
