package cdn_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// A keyframe that was asked for before anything came of a layer is asked of its
// sender with the layer's first packet, whatever came of the input before: but only
// if that packet does not bring it.
func TestRequestsThatWait(t *testing.T) {
	for name, c := range map[string]struct {
		sound    bool // comes first, so that the input is the active one already
		asked    bool
		keyframe bool // the first packet begins one
		want     int
	}{
		"the first packet is no keyframe":              {want: 1},
		"the first packet is no keyframe, asked":       {asked: true, want: 1},
		"sound first":                                  {sound: true, want: 1},
		"sound first, asked":                           {sound: true, asked: true, want: 1},
		"the first packet is a keyframe":               {keyframe: true},
		"the first packet is a keyframe, asked":        {asked: true, keyframe: true},
		"sound first, the packet is a keyframe, asked": {sound: true, asked: true, keyframe: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *cdn.Node) {
				s := newStream(t, n)
				in := newInput(t, s, cdn.InputConfig{}, vp8, opus)
				video, b := newLayer(t, in, 0)
				sound, _ := newLayer(t, in, 1)
				if c.sound {
					sound.Write(time.Now(), frame(1, 0, false, 1), nil)
					time.Sleep(20 * time.Millisecond)
				}
				if c.asked {
					s.Tracks()[0].Layers()[0].RequestKeyframe()
				}
				synctest.Wait()
				asked, _ := b.counts()
				require.Zero(t, asked, "nobody knows yet whether it begins with one")
				video.Write(time.Now(), frame(1, 0, c.keyframe, 1), nil)
				synctest.Wait()
				asked, _ = b.counts()
				require.Equal(t, c.want, asked)
				time.Sleep(400 * time.Millisecond)
				asked, _ = b.counts()
				require.Equal(t, c.want, asked)
			})
		})
	}
}

// A layer that its sender leaves out is asked for nothing, while others of the
// track come; what was asked of it meanwhile is asked when it comes again.
func TestNothingIsAskedOfALayerThatIsLeftOut(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		simulcast := vp8
		simulcast.Layers = []string{"l", "h"}
		s := newStream(t, n)
		in := newInput(t, s, cdn.InputConfig{}, simulcast)
		low, high := &back{}, &back{}
		l, err := in.Layer(0, "l", low)
		require.NoError(t, err)
		h, err := in.Layer(0, "h", high)
		require.NoError(t, err)
		seq := uint16(0)
		frames := func(count int, layers ...*cdn.LayerInput) {
			for range count {
				for _, li := range layers {
					li.Write(time.Now(), frame(seq, uint32(seq)*3000, seq == 0, seq), nil)
				}
				seq++
				time.Sleep(time.Second / 30)
			}
		}
		frames(30, l, h)
		frames(60, l)
		layer := s.Tracks()[0].Layer("h")
		for range 20 {
			layer.RequestKeyframe()
			frames(15, l)
		}
		asked, _ := high.counts()
		require.Zero(t, asked)
		frames(1, l, h)
		synctest.Wait()
		asked, _ = high.counts()
		require.Equal(t, 1, asked)
		asked, _ = low.counts()
		require.Zero(t, asked)
	})
}

// Requests that a silent sender left without an answer do not make the next ones
// wait when it is heard again.
func TestASilentSenderIsAskedAtOnceWhenItIsHeardAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		video, b := newLayer(t, newInput(t, s, cdn.InputConfig{}, vp8), 0)
		video.Write(time.Now(), frame(1, 0, true, 1), nil)
		s.Tracks()[0].Layers()[0].RequestKeyframe()
		time.Sleep(31 * time.Second) // the pace is slow by now
		before, _ := b.counts()
		video.Write(time.Now(), frame(2, 31*90000, false, 2), nil)
		synctest.Wait()
		after, _ := b.counts()
		require.Equal(t, before+1, after)
	})
}
