package send

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// drawn reads the transitions out of the picture in mode.go: "from event to".
func drawn(t *testing.T) (all map[string]bool) {
	f, err := os.Open("mode.go")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	all = map[string]bool{}
	var to []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, ok := strings.CutPrefix(lines.Text(), "//\t")
		cells := strings.Split(line, "|")
		if !ok || len(cells) < 2 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if to == nil {
			to = cells
			continue
		}
		require.Len(t, cells, len(to), line)
		for i, cell := range cells[1:] {
			for event := range strings.SplitSeq(cell, ",") {
				if event = strings.TrimSpace(event); event != "-" {
					all[cells[0]+" "+event+" "+to[i+1]] = true
				}
			}
		}
	}
	require.Equal(t, modeNames[:], to[1:], "each mode has a column")
	return all
}

// transition returns what drawn has for a transition.
func transition(from, to mode, on event) string { return fmt.Sprint(from, " ", on, " ", to) }

// A scene leads a sender through modes.
type scene struct {
	track cdn.TrackInfo
	play  func(v *viewer)
	want  []mode // one after the other
}

// scenes make all transitions together.
func scenes() map[string]scene {
	all := viewerScenes()
	maps.Copy(all, switchScenes())
	maps.Copy(all, nodeScenes())
	return all
}

func viewerScenes() map[string]scene {
	h264 := sendtest.H264()
	return map[string]scene{
		"a viewer catches up": {h264, func(v *viewer) {
			v.Play(6*time.Second, 0)
			v.join(Config{})
			v.Play(4 * time.Second)
		}, []mode{catchingUp, observing, live}},
		"a keyframe comes while it catches up": {h264, func(v *viewer) {
			v.Play(6*time.Second, 0)
			v.join(Config{})
			v.Play(3*time.Second, 190)
		}, []mode{catchingUp, waiting, observing, live}},
		"a viewer is shown a snapshot": {h264, func(v *viewer) {
			v.Play(2*time.Second, 0)
			v.join(Config{Start: Start{Mode: StartSnapshot}})
			v.Play(3*time.Second, 110)
		}, []mode{opening, waiting, observing, live}},
		"a keyframe comes while it is shown a snapshot": {h264, func(v *viewer) {
			v.Play(2*time.Second, 0)
			v.join(Config{Start: Start{Mode: StartSnapshot}})
			v.Play(3*time.Second, 65)
		}, []mode{opening, observing, live}},
		"packets are lost": {h264, func(v *viewer) {
			v.Play(time.Second, 0)
			v.join(Config{})
			v.Play(3 * time.Second)
			v.pause()
			v.Play(time.Second, v.layer.Next+3)
		}, []mode{catchingUp, observing, live, waiting, live}},
		"packets are lost while it catches up": {h264, func(v *viewer) {
			v.Play(3*time.Second, 0)
			v.join(Config{})
			v.Play(100 * ms)
			v.pause()
			v.Play(2*time.Second, v.layer.Next+3)
		}, []mode{catchingUp, waiting, observing, live}},
		"packets are lost while observing": {h264, func(v *viewer) {
			v.join(Config{})
			v.Play(500*ms, 0)
			v.pause()
			v.Play(2*time.Second, v.layer.Next+3)
		}, []mode{observing, waiting, live}},
		"a burst from upstream": {h264, func(v *viewer) {
			v.join(Config{})
			v.Begun = v.Begun.Add(-2 * time.Second)
			v.Play(3*time.Second, 0)
		}, []mode{observing, catchingUp, observing, live}},
		"there was a gap in what it catches up with": {h264, func(v *viewer) {
			v.Play(time.Second, 0)
			time.Sleep(6 * time.Second)
			v.layer.Skip()
			v.Play(time.Second)
			v.join(Config{})
			v.Play(3 * time.Second)
		}, []mode{catchingUp, observing, catchingUp, observing, live}},
		"a long gap while observing": {h264, func(v *viewer) {
			v.Play(200*ms, 0)
			v.join(Config{})
			v.Play(300 * ms)
			time.Sleep(8 * time.Second)
			v.layer.Skip()
			v.Play(100 * ms)
		}, []mode{catchingUp, observing, live}},
	}
}

// untilLive has a viewer of the first layer begin, and go on until it is live. The other
// layers come when they are asked for a keyframe, the second one late.
func untilLive(v *viewer) {
	v.Layers[1].Delay = 400 * ms
	for _, l := range v.Layers {
		l.Obeys = true
	}
	v.Play(time.Second, 0)
	v.join(Config{Layer: "l"})
	v.Play(4 * time.Second)
}

// untilSettling has a viewer that is live go over to the second layer.
func untilSettling(v *viewer) {
	untilLive(v)
	v.switchTo(v.Layers[1])
	for v.sender.mode != settling {
		v.Play(10 * ms)
	}
}

func switchScenes() map[string]scene {
	vp8 := sendtest.VP8("l", "h", "unknown")
	until := []mode{catchingUp, observing, live, settling}
	return map[string]scene{
		"the next layer is behind": {vp8, func(v *viewer) {
			untilSettling(v)
			v.Play(4 * time.Second)
		}, append(until[:4:4], live)},
		"it goes back while settling": {vp8, func(v *viewer) {
			untilSettling(v)
			v.switchTo(v.Layers[0])
			v.Play(time.Second)
		}, append(until[:4:4], live)},
		"it goes on to an unknown clock while settling": {vp8, func(v *viewer) {
			v.Layers[2].Silent = true
			untilSettling(v)
			v.switchTo(v.Layers[2])
			v.Play(2 * time.Second)
		}, append(until[:4:4], observing, live)},
		"packets are lost while settling": {vp8, func(v *viewer) {
			untilSettling(v)
			v.pause()
			v.Play(2 * time.Second)
		}, append(until[:4:4], waiting, settling, live)},
		"a gap while settling": {vp8, func(v *viewer) {
			untilSettling(v)
			time.Sleep(400 * ms)
			v.Layers[1].Skip()
			v.Layers[1].Frame(false)
			v.serve()
			v.Layers[1].Delay = 0
			v.Play(3 * time.Second)
		}, append(until[:4:4], observing, live)},
		"a long gap while settling, found late": {vp8, func(v *viewer) {
			untilSettling(v)
			time.Sleep(6 * time.Second)
			v.Layers[1].Skip()
			v.Layers[1].Frame(false)
			time.Sleep(120 * ms)
			v.serve()
		}, append(until[:4:4], live)},
		"a keyframe comes while settling": {vp8, func(v *viewer) {
			v.Layers[1].Off, v.Layers[2].Off = true, true
			untilLive(v)
			v.Layers[0].Off = true
			v.Play(2 * time.Second)
			v.switchTo(v.Layers[1])
			v.Layers[1].Resume(60)
			v.Layers[1].Delay = 0
			v.Play(400 * ms)
			v.Layers[1].RequestKeyframe()
			v.Play(2 * time.Second)
		}, append(until[:4:4], waiting, live)},
		"it goes over while observing": {vp8, func(v *viewer) {
			v.Layers[1].Obeys = true
			v.Play(200*ms, 0)
			v.join(Config{Layer: "l"})
			v.Play(200 * ms)
			v.switchTo(v.Layers[1])
			v.Play(100 * ms)
		}, []mode{catchingUp, observing, live}},
		"it goes over to one that is behind while observing": {vp8, func(v *viewer) {
			v.Layers[1].Obeys = true
			v.Layers[1].Delay = 400 * ms
			v.Play(600*ms, 0)
			v.join(Config{Layer: "l"})
			v.Play(300 * ms)
			v.switchTo(v.Layers[1])
			v.Play(100 * ms)
		}, []mode{catchingUp, observing, settling}},
		"it goes over while it catches up": {vp8, func(v *viewer) {
			v.Layers[1].Obeys = true
			v.Play(3*time.Second, 0)
			v.join(Config{Layer: "l"})
			v.Play(100 * ms)
			v.switchTo(v.Layers[1])
			v.Play(100 * ms)
		}, []mode{catchingUp, observing}},
		"the next layer's clock is unknown": {vp8, func(v *viewer) {
			v.Layers[2].Silent = true
			untilLive(v)
			v.switchTo(v.Layers[2])
			v.Play(3 * time.Second)
		}, []mode{catchingUp, observing, live, observing, live}},
	}
}

func nodeScenes() map[string]scene {
	h264, node := sendtest.H264(), Config{Node: true, Start: Start{Mode: StartCatchUp}}
	return map[string]scene{
		"a node catches up": {h264, func(v *viewer) {
			v.Play(3*time.Second, 0)
			v.join(node)
			v.Play(3 * time.Second)
		}, []mode{catchingUp, live}},
		"there was a gap in what a node catches up with": {h264, func(v *viewer) {
			v.Play(time.Second, 0)
			time.Sleep(6 * time.Second)
			v.layer.Skip()
			v.Play(time.Second)
			v.join(node)
			v.Play(3 * time.Second)
		}, []mode{catchingUp, live}},
		"it does not want the layer for a while": {h264, func(v *viewer) {
			v.Play(3*time.Second, 0)
			v.join(node)
			v.Play(50 * ms)
			v.want(false)
			v.want(true)
			v.Play(time.Second)
			v.want(false)
			v.want(true)
			v.want(false)
			v.Play(time.Second)
			v.want(true)
			v.Play(time.Second)
		}, []mode{catchingUp, idle, catchingUp, live, idle, live, idle, catchingUp, live}},
		"it does not want it from the start": {h264, func(v *viewer) {
			v.add(node)
			v.want(false)
			v.want(true)
			v.start()
			v.Play(time.Second, 3)
		}, []mode{idle, waiting, live}},
		"it does not want to begin with a snapshot": {h264, func(v *viewer) {
			v.Play(time.Second, 0)
			v.add(Config{Node: true, Start: Start{Mode: StartSnapshot}})
			v.set.Start()
			v.want(false)
		}, []mode{opening, idle}},
	}
}

// All scenes together make all transitions that are drawn, and no others.
func TestTransitions(t *testing.T) {
	made := map[string]bool{}
	for name, s := range scenes() {
		t.Run(name, func(t *testing.T) {
			withViewer(t, sendtest.Config{Track: s.track, Path: []cdn.NodeID{"origin"}}, func(v *viewer) {
				var was []mode
				v.onMode = func(from, to mode, on event) {
					made[transition(from, to, on)] = true
					was = append(was, to)
				}
				s.play(v)
				require.Equal(t, s.want, was)
			})
		})
	}
	require.Equal(t, slices.Sorted(maps.Keys(drawn(t))), slices.Sorted(maps.Keys(made)))
}
