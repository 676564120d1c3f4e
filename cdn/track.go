package cdn

import (
	"sync"
	"sync/atomic"

	"github.com/deltacdn/delta/cdn/internal/ring"
	"github.com/deltacdn/delta/internal/rtp/codec"
)

// A Track is one media source of a stream. Its methods may be called
// concurrently.
type Track struct {
	stream *Stream
	info   TrackInfo
	dd     uint8 // id of the dependency descriptor, 0: none

	mu     sync.Mutex // for adding
	layers atomic.Pointer[[]*Layer]
}

// dependencyDescriptor is the RTP header extension by which a keyframe is
// known even where the payload is encrypted.
const dependencyDescriptor = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

func newTrack(s *Stream, info TrackInfo) *Track {
	t := &Track{stream: s, info: info}
	for i, uri := range info.Extensions {
		if uri == dependencyDescriptor {
			t.dd = uint8(i + 1)
		}
	}
	t.layers.Store(&[]*Layer{})
	for _, name := range info.Layers {
		t.layer(name)
	}
	return t
}

// Info describes the track as its first input declared it.
func (t *Track) Info() TrackInfo { return t.info }

// Stream returns the stream that the track belongs to.
func (t *Track) Stream() *Stream { return t.stream }

// Layers returns the track's layers, the lowest quality first where that is
// known. The caller must not change the slice.
func (t *Track) Layers() []*Layer { return *t.layers.Load() }

// Layer returns the layer named, or nil.
func (t *Track) Layer(name string) *Layer {
	for _, l := range t.Layers() {
		if l.name == name {
			return l
		}
	}
	return nil
}

// layer returns the layer named, made now if need be.
func (t *Track) layer(name string) *Layer {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.Layer(name); l != nil {
		return l
	}
	l := &Layer{track: t, name: name, ring: ring.New(t.stream.config.Ring)}
	if t.info.Kind == Video {
		l.inspect = codec.For(t.info.Codec.MimeType)
		l.picture = codec.PicturesFor(t.info.Codec.MimeType)
		l.temporal = codec.TemporalFor(t.info.Codec.MimeType)
		l.clearTemporal = codec.HasClearTemporal(t.info.Codec.MimeType)
	}
	old := t.Layers()
	all := append(old[:len(old):len(old)], l)
	t.layers.Store(&all)
	return l
}
