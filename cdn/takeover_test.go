package cdn_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// A relayed publication reaches a node by two ways, of which the second may be
// behind.
type twoWays struct {
	*testing.T
	stream *cdn.Stream
	layer  *cdn.Layer
	input  *cdn.Input
	first  *cdn.LayerInput
	second *cdn.LayerInput
	cursor cdn.Cursor
	began  time.Time
	sent   [2]int // frames, by each way
	late   [2]time.Duration
	keys   map[int]bool
	all    []*cdn.Packet
}

func newTwoWays(t *testing.T, n *cdn.Node, keys ...int) *twoWays {
	w := &twoWays{T: t, stream: newStream(t, n), began: time.Now(), keys: map[int]bool{}}
	w.input = newInput(t, w.stream, cdn.InputConfig{Publication: "p", Path: []cdn.NodeID{"origin", "one"}}, vp8)
	w.first, _ = newLayer(t, w.input, 0)
	w.layer = w.stream.Tracks()[0].Layers()[0]
	w.cursor = w.layer.Live()
	for _, k := range keys {
		w.keys[k] = true
	}
	return w
}

// join adds the second way, which begins with a frame and is so late.
func (w *twoWays) join(from int, late time.Duration) *back {
	in := newInput(w.T, w.stream, cdn.InputConfig{Publication: "p", Path: []cdn.NodeID{"origin", "two"}}, vp8)
	var b *back
	w.second, b = newLayer(w.T, in, 0)
	w.sent[1], w.late[1] = from, late
	return b
}

// play has what is due come by both ways, at most eight frames each 5 ms.
func (w *twoWays) play(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for i, li := range []*cdn.LayerInput{w.first, w.second} {
			for n := 0; n < 8 && li != nil && time.Since(w.began)-w.late[i] >= time.Duration(w.sent[i])*time.Second/30; n++ {
				k := w.sent[i]
				li.Write(time.Now(), frame(uint16(1000*i+k), uint32(7000+k*3000), w.keys[k], uint16(k)), nil)
				w.sent[i]++
			}
		}
		w.all = append(w.all, read(&w.cursor)...)
	}
}

// lose ends the first way.
func (w *twoWays) lose() {
	w.first = nil
	w.input.Close(cdn.ErrPeerLost)
}

// requireForward requires that nothing comes twice, and that timestamps end where the
// first way's would be.
func (w *twoWays) requireForward() {
	w.Helper()
	for i, p := range w.all[1:] {
		require.Equal(w, w.all[i].Seq+1, p.Seq)
		require.Greater(w, p.Timestamp, w.all[i].Timestamp)
	}
	last := w.all[len(w.all)-1]
	require.InDelta(w, last.Arrival.Sub(w.began).Seconds()*90000, last.Timestamp-w.all[0].Timestamp, 3000)
}

// Where the second way brings the same encoder's frames, it goes on with the next
// frame: no keyframe is needed, and nothing is shown twice.
func TestAFailoverGoesOnWithTheNextFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		w := newTwoWays(t, n, 0, 60)
		w.play(3 * time.Second)
		w.lose()
		w.play(300 * time.Millisecond)
		w.join(60, 0) // all since the newest keyframe
		w.play(time.Second)
		w.requireForward()
		require.Greater(t, len(w.all), 120, "none is left out")
		for i, p := range w.all {
			require.Equal(t, uint16(i), pictureID(p))
		}
	})
}

// Where frames are missing in between, it waits for a keyframe that is newer, and
// asks for one.
func TestAFailoverWaitsForANewKeyframe(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		w := newTwoWays(t, n, 0, 60, 130)
		w.play(3 * time.Second)
		w.lose()
		w.play(300 * time.Millisecond)
		b := w.join(60, 0)
		w.play(6 * time.Millisecond) // the keyframe, and some more
		w.sent[1] = 95               // the others were lost on the way
		w.play(400 * time.Millisecond)
		asked, _ := b.counts()
		require.Equal(t, 1, asked)
		before := len(w.all)
		require.Less(t, before, 95)
		w.play(time.Second)
		w.requireForward()
		require.Equal(t, w.all[0].Timestamp+130*3000, w.all[before].Timestamp)
	})
}

// One that comes beside the first way, and is a little behind, may take over at a
// keyframe as ever.
func TestATakeoverByALongerPath(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		w := newTwoWays(t, n, 0, 70)
		w.play(2 * time.Second)
		w.join(60, 40*time.Millisecond)
		w.play(time.Second)
		require.Equal(t, uint64(1), w.layer.Stats().Splices)
		require.ErrorIs(t, w.input.Err(), cdn.ErrSuperseded)
	})
}

// A publisher that comes here itself begins with timestamps and a clock of its own: where
// they are near those of the one before it by chance, its first keyframe takes over all
// the same.
func TestAPublishersOwnTimestampsAreNoDelay(t *testing.T) {
	for name, c := range map[string]struct {
		behind time.Duration // by its timestamps
		clock  time.Duration // by its sender reports
		gone   bool          // the publisher before it
	}{
		"timestamps 10 s behind":           {behind: 10 * time.Second},
		"timestamps 110 s behind":          {behind: 110 * time.Second},
		"timestamps half a second ahead":   {behind: -500 * time.Millisecond},
		"a clock that is 5 s slow":         {behind: time.Hour, clock: 5 * time.Second},
		"a clock that is 5 s slow, later":  {behind: time.Hour, clock: 5 * time.Second, gone: true},
		"timestamps 10 s behind, later":    {behind: 10 * time.Second, gone: true},
		"nothing that is near, and no one": {behind: time.Hour, gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *cdn.Node) {
				s := newStream(t, n)
				publish := func(base uint32, slow time.Duration) (send func()) {
					in := newInput(t, s, cdn.InputConfig{Publication: "p"}, vp8)
					li, _ := newLayer(t, in, 0)
					began := time.Now()
					li.SenderReport(began, began.Add(-slow), base)
					t.Cleanup(func() { in.Close(cdn.ErrLeft) })
					return func() {
						for i := range 30 {
							ts := base + uint32(time.Since(began).Seconds()*90000)
							li.Write(time.Now(), frame(uint16(i), ts, i == 0, uint16(i)), nil)
							time.Sleep(time.Second / 30)
						}
						if c.gone && slow == 0 {
							in.Close(cdn.ErrPeerLost)
						}
					}
				}
				publish(1<<30, 0)()
				l := s.Tracks()[0].Layers()[0]
				cursor := l.Live()
				publish(uint32(1<<30+90000-int64(c.behind.Seconds()*90000)), c.clock)()
				require.Equal(t, uint64(1), l.Stats().Splices)
				all := read(&cursor)
				require.Len(t, all, 30)
				for i, p := range all[1:] {
					require.Equal(t, all[i].Seq+1, p.Seq)
					require.InDelta(t, 3000, p.Timestamp-all[i].Timestamp, 1)
				}
			})
		})
	}
}

// A redundant publisher has a session with each origin, and each session has timestamps of its
// own. Those of one session may happen to be a little older than those of the other. Its media
// take over with their first keyframe all the same: the publisher's clock shows that they are new.
func TestTimestampsOfAnotherOriginAreNoDelay(t *testing.T) {
	for name, c := range map[string]struct {
		behind time.Duration // by timestamps
		gone   bool          // the first origin
	}{
		"2 s behind, later":    {2 * time.Second, true},
		"10 s behind, later":   {10 * time.Second, true},
		"110 s behind, later":  {110 * time.Second, true},
		"an hour away, later":  {time.Hour, true},
		"10 s behind, beside":  {10 * time.Second, false},
		"110 s behind, beside": {110 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *cdn.Node) {
				s := newStream(t, n)
				fetch := func(origin cdn.NodeID, base uint32) *cdn.Input {
					in := newInput(t, s, cdn.InputConfig{Publication: "p", Path: []cdn.NodeID{origin}}, vp8)
					li, _ := newLayer(t, in, 0)
					began := time.Now()
					li.SenderReport(began, began, base)
					for i := range 30 {
						ts := base + uint32(time.Since(began).Seconds()*90000)
						li.Write(time.Now(), frame(uint16(i), ts, i == 0, uint16(i)), nil)
						time.Sleep(time.Second / 30)
					}
					return in
				}
				first := fetch("one", 1<<30)
				if c.gone {
					first.Close(cdn.ErrPeerLost)
				}
				l := s.Tracks()[0].Layers()[0]
				cursor := l.Live()
				fetch("two", uint32(1<<30+90000-int64(c.behind.Seconds()*90000))).Close(cdn.ErrLeft)
				first.Close(cdn.ErrLeft)
				all := read(&cursor)
				require.Len(t, all, 30)
				for i, p := range all[1:] {
					require.Equal(t, all[i].Seq+1, p.Seq)
					require.InDelta(t, 3000, p.Timestamp-all[i].Timestamp, 1)
				}
			})
		})
	}
}

// The timestamps of a publisher that pauses may stand still meanwhile, while its clock goes on. A
// node that is tried in the pause has what the layer has, and nothing newer.
func TestAPausedPublisherIsNotAhead(t *testing.T) {
	for _, pause := range []time.Duration{2 * time.Second, 30 * time.Second, 5 * time.Minute} {
		t.Run(pause.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *cdn.Node) {
				const base = 1 << 30
				s := newStream(t, n)
				first, _ := newLayer(t, newInput(t, s, cdn.InputConfig{Publication: "p", Path: []cdn.NodeID{"one"}}, vp8), 0)
				first.SenderReport(time.Now(), time.Now(), base)
				ts := uint32(base)
				for i := range 30 {
					ts = base + uint32(i)*3000
					first.Write(time.Now(), frame(uint16(i), ts, i == 0, uint16(i)), nil)
					time.Sleep(time.Second / 30)
				}
				time.Sleep(pause)
				standby, _ := newLayer(t, newInput(t, s, cdn.InputConfig{Publication: "p", Path: []cdn.NodeID{"two"}}, vp8), 0)
				standby.SenderReport(time.Now(), time.Now(), ts)
				standby.Write(time.Now(), frame(0, base, true, 0), nil)
				standby.Write(time.Now(), frame(29, ts, false, 29), nil)
				require.False(t, standby.Ahead())
			})
		})
	}
}
