// Package sendtest has what the tests of package send need around a receiver: a stream
// whose frames come in virtual time as the test wants it, and a recorder of what is sent.
package sendtest

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// FrameTime is the time between two frames, if a Config has no other.
const FrameTime = time.Second / 30

// H264 returns a video track whose frames are of two packets. A keyframe has parameter
// sets ahead of it.
func H264() cdn.TrackInfo {
	return cdn.TrackInfo{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/H264", ClockRate: 90000}}
}

// VP8 returns a video track whose frames are of one packet, in the layers named.
func VP8(layers ...string) cdn.TrackInfo {
	return cdn.TrackInfo{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: layers}
}

// Opus returns an audio track.
func Opus() cdn.TrackInfo {
	return cdn.TrackInfo{ID: "audio", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000}}
}

// Config says what a World is like.
type Config struct {
	Track     cdn.TrackInfo // if it has no ID, H264
	Second    cdn.TrackInfo // if it has an ID, another track, of which nothing comes until the test says so
	FrameTime time.Duration // if zero, FrameTime
	Ring      cdn.RingConfig
	Path      []cdn.NodeID // of the stream's input
}

// A World is a stream of one track, or two. Its frames are numbered. One goroutine at a time uses
// a World.
type World struct {
	*testing.T
	Stream    *cdn.Stream
	Track     *cdn.Track
	Layers    []*Layer
	Second    []*Layer  // of the second track
	Begun     time.Time // when frame 0 is captured
	FrameTime time.Duration
	// Serve is called after each frame, and each Tick if that is not zero.
	Serve func()
	Tick  time.Duration
}

// Run calls f with a new World, in a bubble of package synctest.
func Run(t *testing.T, c Config, f func(w *World)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net(), Ring: c.Ring})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close()) }()
		w := &World{T: t, Begun: time.Now(), FrameTime: FrameTime, Serve: func() {}}
		if c.FrameTime != 0 {
			w.FrameTime = c.FrameTime
		}
		if c.Track.ID == "" {
			c.Track = H264()
		}
		w.Stream, err = node.NewStream("live")
		require.NoError(t, err)
		in, err := w.Stream.NewInput(cdn.InputConfig{Path: c.Path})
		require.NoError(t, err)
		tracks := []cdn.TrackInfo{c.Track}
		if c.Second.ID != "" {
			tracks = append(tracks, c.Second)
		}
		require.NoError(t, in.Start(tracks))
		w.Track = w.Stream.Tracks()[0]
		w.Layers = w.layers(in, 0)
		if c.Second.ID != "" {
			w.Second = w.layers(in, 1)
			for _, l := range w.Second {
				l.Off = true
			}
		}
		f(w)
	})
}

// layers returns the layers of one of the input's tracks.
func (w *World) layers(in *cdn.Input, track int) (all []*Layer) {
	t := w.Stream.Tracks()[track]
	for i, l := range t.Layers() {
		made := &Layer{Layer: l, world: w, seq: uint16(1000 * i)}
		var err error
		made.Input, err = in.Layer(track, l.Name(), made)
		require.NoError(w, err)
		all = append(all, made)
	}
	return all
}

// Made returns when a frame is captured.
func (w *World) Made(frame int) time.Time { return w.Begun.Add(time.Duration(frame) * w.FrameTime) }

// Newest returns the number of the frame that was captured last.
func (w *World) Newest() int { return int(time.Since(w.Begun) / w.FrameTime) }

// Age returns how long a packet has taken from its capture to the receiver.
func (w *World) Age(p Packet) time.Duration { return p.At.Sub(w.Made(p.Frame())) }

// Play has the frames of all layers come for a time. Those of the numbers given are
// keyframes.
func (w *World) Play(d time.Duration, keyframes ...int) {
	end := time.Now().Add(d)
	for {
		next := end.Add(1)
		all := slices.Concat(w.Layers, w.Second)
		for _, l := range all {
			if at := l.due(); at.Before(next) {
				next = at
			}
		}
		if tick := time.Now().Add(w.Tick); w.Tick > 0 && tick.Before(next) {
			next = tick
		}
		if next.After(end) {
			time.Sleep(time.Until(end))
			return
		}
		time.Sleep(time.Until(next))
		for _, l := range all {
			if !l.due().After(time.Now()) {
				l.Frame(slices.Contains(keyframes, l.Next))
			}
		}
		w.Serve()
	}
}

// A Layer is one layer of a World's track, and its publisher.
type Layer struct {
	Layer *cdn.Layer
	Input *cdn.LayerInput
	Next  int           // the frame that comes next
	Delay time.Duration // how long after its capture a frame comes
	Off   bool          // nothing comes
	Stop  int           // nothing comes until this frame is captured
	// KeyEvery: if not zero, each frame whose number is a multiple is a keyframe.
	KeyEvery int
	// Obeys: a keyframe comes when it is asked for.
	Obeys     bool
	Height    uint16       // of the picture, that keyframes of VP8 tell; 0: they do not
	Filler    int          // bytes that each packet is longer
	Silent    bool         // no sender reports come
	Offset    uint32       // of the timestamps
	Asked     atomic.Int32 // how often a keyframe was asked for
	Keyframes int          // that came

	world  *World
	seq    uint16
	wanted atomic.Bool
	last   time.Time // when a frame came
}

// RequestKeyframe implements the publisher's side of a layer.
func (l *Layer) RequestKeyframe() {
	l.Asked.Add(1)
	l.wanted.Store(true)
}

// Nack implements the publisher's side of a layer. Nothing is lost.
func (l *Layer) Nack([]uint16) {}

// Resume has the layer come again, from a keyframe that was captured so many frames ago.
func (l *Layer) Resume(ago int) {
	l.Off, l.Next = false, max(l.Next, l.world.Newest()-ago)
	l.wanted.Store(true)
}

// Skip leaves out the frames that should have come by now and did not.
func (l *Layer) Skip() { l.Next = max(l.Next, l.world.Newest()) }

// due returns when the next frame comes. What is late comes eight times as fast as live.
func (l *Layer) due() time.Time {
	w := l.world
	if l.Off {
		return time.Now().Add(time.Hour)
	}
	at := w.Made(l.Next).Add(l.Delay)
	for _, other := range []time.Time{w.Made(l.Stop), l.last.Add(w.FrameTime / 8)} {
		if other.After(at) {
			at = other
		}
	}
	return at
}

// Frame publishes the next frame now.
func (l *Layer) Frame(key bool) {
	w, info := l.world, l.Layer.Track().Info()
	asked := l.wanted.Swap(false)
	key = key || l.KeyEvery > 0 && l.Next%l.KeyEvery == 0 || l.Obeys && asked
	if key {
		l.Keyframes++
	}
	switch {
	case info.Kind == cdn.Audio:
		l.Packet(false)
	case info.Codec.MimeType == "video/VP8" && key && l.Height > 0:
		l.Packet(true, 0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, 0, 1, byte(l.Height), byte(l.Height>>8))
	case info.Codec.MimeType == "video/VP8" && key:
		l.Packet(true, 0x10, 0, 0, 0)
	case info.Codec.MimeType == "video/VP8":
		l.Packet(true, 0x10, 1, 0, 0)
	case key:
		l.Packet(false, 0x67, 1) // a parameter set, so that the keyframe begins with it
		l.Packet(false, 0x65, 0x80)
		l.Packet(true, 0x41, 0x10)
	default:
		l.Packet(false, 0x41, 0x80)
		l.Packet(true, 0x41, 0x10)
	}
	l.Next++
	l.last = time.Now()
	if !l.Silent {
		ticks := l.ticks(l.last.Add(-l.Delay).Sub(w.Begun))
		l.Input.SenderReport(l.last, w.Begun.Add(time.Duration(ticks)*time.Second/time.Duration(info.Codec.ClockRate)), l.Offset+ticks)
	}
}

// Packet publishes a packet of the frame that comes next, now.
func (l *Layer) Packet(marker bool, payload ...byte) {
	l.seq++
	l.Input.Write(time.Now(), &rtp.Packet{
		Header: rtp.Header{
			Version: 2, Marker: marker, SequenceNumber: l.seq,
			Timestamp: l.Offset + l.ticks(time.Duration(l.Next)*l.world.FrameTime),
		},
		Payload: append(append(payload, make([]byte, l.Filler)...), byte(l.Next), byte(l.Next>>8)),
	}, nil)
}

func (l *Layer) ticks(d time.Duration) uint32 {
	rate := int64(l.Layer.Track().Info().Codec.ClockRate)
	return uint32((int64(d)*rate + int64(time.Second)/2) / int64(time.Second))
}
