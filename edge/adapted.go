package edge

import (
	"sync"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/signal"
)

// fitted is the last step by which a viewer's video was fitted to its path.
type fitted struct {
	mu   sync.Mutex
	step signal.Adaptation
}

// take notes a step: down, to as much as before the first step down, or to something between.
func (f *fitted) take(step signal.Adaptation, lower, restored bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	step.Limited = lower || f.step.Limited && !restored
	f.step = step
}

// status returns the step. best reports whether there is nothing better to send than a
// layer; then the path limits no more.
func (f *fitted) status(best func(layer string) bool) signal.Adaptation {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.step.Limited && f.step.Mode == modes[allot.Full] && best(f.step.Layer) {
		f.step.Limited = false
	}
	return f.step
}

// modes are the modes as clients are told them.
var modes = [...]string{allot.Paused: "paused", allot.Keyframes: "keyframes", allot.Partial: "partial", allot.Full: "full"}

// adapted is called when the viewer's video was fitted to its path anew, one call at a time
// and without locks.
func (v *playSession) adapted(c send.Change) {
	slow := c.Lower && c.Reason != allot.Limited
	step := signal.Adaptation{Layer: c.Layer, Mode: modes[c.Mode], Reason: c.Reason.String()}
	if l := v.layer(c.Layer); l != nil && c.Mode != allot.Paused {
		cost := l.Cost()
		step.Height, step.Bitrate = cost.Height, int(cost.Bitrate)
	}
	v.fitted.take(step, slow, c.Restored)
	v.changes.tell()
	if !slow {
		return
	}
	g := v.admission.Grant()
	v.edge.node.Emit(cdn.ViewerSlow{
		Stream: v.id, Session: v.admission.Name(), Subject: g.Subject, Grant: g.ID, Tag: g.Tag,
		Layer: c.Layer, Paused: c.Mode == allot.Paused, Keyframes: c.Mode == allot.Keyframes, Temporal: temporalLayers(c.Mode, c.Temporal),
	})
}

// video returns the first track of video of the viewer's stream; nil: there is none, or the
// stream is not ready.
func (v *playSession) video() *cdn.Track {
	v.edge.mu.Lock()
	stream := v.stream
	v.edge.mu.Unlock()
	if stream == nil {
		return nil
	}
	for _, t := range stream.Tracks() {
		if t.Info().Kind == cdn.Video {
			return t
		}
	}
	return nil
}

// layer returns the layer named of the viewer's video; nil: there is none.
func (v *playSession) layer(name string) *cdn.Layer {
	if t := v.video(); t != nil {
		return t.Layer(name)
	}
	return nil
}

// isBest reports whether the viewer could be sent no better layer than the one named if its
// path carried all: none that costs more comes, or the viewer's own limits forbid it.
func (v *playSession) isBest(name string) bool {
	t := v.video()
	if t == nil || t.Layer(name) == nil {
		return false
	}
	most, _ := v.maxBitrate()
	top := 0.0 // what the layer that the viewer has named costs; 0: it has named none
	if named := t.Layer(v.transport.Stats().Named); named != nil && named.Name() != "" {
		top = named.Cost().Bitrate
	}
	own := t.Layer(name).Cost().Bitrate
	if own == 0 { // nothing comes, so it cannot be told
		return false
	}
	for _, l := range t.Layers() {
		cost := l.Cost().Bitrate
		if cost > own && (most == 0 || l.Bitrate() <= float64(most)) && (top == 0 || cost <= top) {
			return false
		}
	}
	return true
}
