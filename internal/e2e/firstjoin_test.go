package delta_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// A firstJoin is a viewer who is the first at its node to want a stream.
type firstJoin struct {
	hops   int           // between the viewer's node and the origin
	path   time.Duration // one way, of each link between two hosts
	gop    time.Duration
	codec  string
	layers int           // of simulcast; 1: none
	begin  string        // with which track the publisher begins
	apart  time.Duration // by how much
	after  time.Duration // the viewer comes so long after the publisher is connected; negative: ahead of it
	warm   bool          // the links between the nodes stand
	lost   bool          // the publisher's first keyframe does not arrive
}

const firstJoinFPS = 30

// anyFirstJoin draws one.
func anyFirstJoin(r *rand.Rand) firstJoin {
	pick := func(all ...time.Duration) time.Duration { return all[r.IntN(len(all))] }
	j := firstJoin{
		hops: r.IntN(3), path: time.Duration(r.IntN(11)) * time.Millisecond,
		gop:   pick(time.Second, 2*time.Second, 10*time.Second),
		codec: []string{"video/VP8", "video/H264"}[r.IntN(2)], layers: 1 + 2*r.IntN(2),
		begin: []string{"both", "sound", "picture"}[r.IntN(3)], apart: pick(ms(20), ms(200), time.Second),
		warm: r.IntN(2) == 0, lost: r.IntN(3) == 0,
	}
	j.after = time.Duration(r.Int64N(int64(min(j.gop+j.gop/5, 5*time.Second))))
	switch r.IntN(4) {
	case 0: // just now
		j.after = time.Duration(r.IntN(300)) * time.Millisecond
	case 1: // when there is no keyframe that may be begun with
		j.gop, j.after = time.Minute, 13*time.Second+time.Duration(r.IntN(2000))*time.Millisecond
	case 2: // it waits for the stream
		j.after = -time.Duration(r.IntN(1000)) * time.Millisecond
	}
	return j
}

func (j firstJoin) String() string {
	return fmt.Sprintf("%d hops of %v, links stand %v, first keyframe lost %v, %s, %d layers, a keyframe each %v, begins with %s by %v, joined after %v",
		j.hops, j.path, j.warm, j.lost, j.codec, j.layers, j.gop, j.begin, j.apart, j.after)
}

// allowed is how long the first packet of a picture may take: a round trip between
// viewer and publisher, and a frame.
func (j firstJoin) allowed() time.Duration {
	ends := time.Duration(j.hops+2) * 2 * j.path // of each link both hosts delay what they send
	return 2*ends + time.Second/firstJoinFPS
}

// joined is how a join went.
type joined struct {
	took      time.Duration // to the first packet of a picture, since that could be had
	decodable bool          // it began a keyframe
}

// run returns how the first viewer fares, and one that comes 100 ms after it. A
// picture can be had once the viewer is connected, the tracks are known, and the
// publisher has begun.
func (j firstJoin) run(t *testing.T) (all [2]joined) {
	w := newWorld(t)
	path := cdntest.Path{Delay: j.path}
	c := edge.Config{Wait: 20 * time.Second}
	o := w.origin("origin", path, origin.Config{})
	w.serveViewers(o, o.origin, c)
	at := o
	for i := range j.hops {
		next := w.node(fmt.Sprint("hop", i+1), path)
		w.fetch(next, at)
		w.serveNodes(next, next.relay)
		w.serveViewers(next, next.relay, c)
		at = next
	}
	if j.warm {
		time.Sleep(3 * time.Second)
	}
	video := &cdntest.Video{Codec: j.codec, FPS: firstJoinFPS, Bitrate: 150_000, KeyframeInterval: j.gop, NoFirstKeyframe: j.lost}
	if j.layers > 1 {
		for i := range j.layers {
			video.Layers = append(video.Layers, cdntest.VideoLayer{RID: fmt.Sprint("l", i), Bitrate: 50_000 << (2 * i), Width: 160 << i, Height: 90 << i})
		}
	}
	audio := &cdntest.Audio{}
	switch j.begin {
	case "sound":
		video.Begins = j.apart
	case "picture":
		audio.Begins = j.apart
	}
	var p *cdntest.Publisher
	publish := func() { p = w.publish(o, "live", path, cdntest.PublisherConfig{Video: video, Audio: audio}) }
	var v *cdntest.Viewer
	var tracks time.Time // when the viewer's node knew them
	join := func() {
		known := make(chan time.Time, 1)
		go func() { known <- w.known(at, "live") }()
		v = w.view(at, "live", "viewer", path, cdntest.ViewerConfig{})
		tracks = <-known
	}
	if j.after < 0 {
		joined := make(chan struct{})
		go func() { defer close(joined); join() }()
		time.Sleep(-j.after)
		publish()
		<-joined
	} else {
		publish()
		require.NoError(t, p.WaitConnected(w.within(10*time.Second)))
		time.Sleep(j.after)
		join()
	}
	time.Sleep(ms(100))
	second := w.view(at, "live", "second", path, cdntest.ViewerConfig{})
	for i, v := range []*cdntest.Viewer{v, second} {
		require.NoError(t, v.WaitConnected(w.within(20*time.Second)))
		for range 200 {
			if time.Sleep(ms(50)); !v.Report().Video().First.IsZero() && len(v.Report().Video().Frames) > 0 {
				break
			}
		}
		r := v.Report()
		from := r.Connected
		for _, at := range []time.Time{tracks, p.Report().Video[0].Log[0].Sent} {
			if at.After(from) {
				from = at
			}
		}
		all[i] = joined{r.Video().First.Sub(from), r.Video().BeganWithKeyframe}
	}
	return all
}

// known waits until a node knows a stream's tracks, and returns when that was.
func (w *world) known(n *node, id cdn.StreamID) time.Time {
	var source cdn.Source = n.origin
	if n.relay != nil {
		source = n.relay
	}
	for {
		sub, err := source.Open(w.t.Context(), cdn.Request{Stream: id})
		if err == nil {
			err = sub.Stream().Ready(w.within(20 * time.Second))
			sub.Close()
		}
		if err == nil {
			return time.Now()
		}
		time.Sleep(ms(1))
	}
}

// No first viewer of a stream waits for its picture longer than a keyframe takes to
// be asked for and to come, wherever it is and however the publisher begins.
func TestFirstJoinsAreNotLate(t *testing.T) {
	needLinks(t)
	firstJoins(t, fewer(60))
}

func firstJoins(t *testing.T, n int) {
	r := rand.New(rand.NewPCG(11, 4))
	late := 0
	for i := range n {
		j := anyFirstJoin(r)
		var all [2]joined
		synctest.Test(t, func(t *testing.T) { all = j.run(t) })
		for k, one := range all {
			if one.took > j.allowed() || !one.decodable {
				late++
				t.Errorf("join %d, viewer %d: %v, allowed %v, decodable %v: %v", i, k+1, one.took, j.allowed(), one.decodable, j)
			}
		}
	}
	t.Logf("%d of %d joins are late, the first and the second of %d streams", late, 2*n, n)
}
