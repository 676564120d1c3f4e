package edge

import (
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// A Policy decides what one viewer is sent of what there is. It replaces the edge's own, or
// bounds it: see [Choice] and [Within], and [Adapt] for how to set one. Whatever it decides, what
// is sent is paced and repaired, and a session ends where not even sound gets through.
//
// Choose is called for the first choice, and then about ten times a second while media arrives:
// more often while the path is congested, and once a second while the viewer is sent the last
// option, or the last that [Within] allows, and its path is clean. A policy that bounds is called
// anew, as for the first choice, when the stream gains layers.
//
// There is one call at a time, by a goroutine that serves other viewers too, and with locks of
// the session held: Choose must return within some microseconds, must not block, and must not
// call the edge or the session. If it panics, the edge logs that and decides alone from then on.
type Policy interface {
	Choose(View) Choice
}

// A View is what a [Policy] decides by.
type View struct {
	Now time.Time
	// Options are what can be sent now, the least first: no video; of the lowest layer
	// keyframes only, and its lower temporal layers, if the publisher's frames can be told
	// apart; and each layer. There is at least one. Layers that do not arrive, or that exceed
	// the viewer's limits, are left out. The current option stays listed during short gaps. For
	// the first choice all layers are listed: of a stream that an edge has just begun to fetch
	// little is known. Until one that is wanted arrives, the viewer is sent a lower one that
	// does. The slice is valid until Choose returns.
	Options []Option
	// Current is the index in Options of what is sent now, but for what a probe adds. Before
	// the first choice it is 0.
	Current int
	// Estimate is what the path is believed to carry, in bits a second with all headers. It
	// grows little above what is sent, so a low estimate does not mean that more would not
	// fit: only a probe can tell.
	Estimate int
	// Room is the index of the highest option that the last probe which the policy has asked for
	// has found room for. It is Current again when the path is congested or less is sent.
	Room int
	// Probing: a probe that the policy has asked for is under way, or waits.
	Probing bool
	// Congested: more is sent than the path carries.
	Congested bool
	// Silent: the viewer reports nothing, so the other figures are old.
	Silent    bool
	RoundTrip time.Duration // 0 until it is known
	Queue     time.Duration // that stands on the path
	Loss      float64       // share of all packets that was lost lately, 0 to 1
}

// An Option is one thing that can be sent to a viewer.
type Option struct {
	// Layer is the layer's name (its simulcast RID). It is empty without video, and for a
	// publisher's only layer.
	Layer string
	// Height is that of the picture, in pixels. 0: it is not known, or there is no video.
	Height int
	Mode   Mode
	// Temporal is how many of the layer's temporal layers are sent, the lowest first. 0: all.
	Temporal int
	// Bitrate is what the option takes, in bits a second with sound and all headers: the most
	// of any second of the last five, or a guess if nothing is known. For [ModeKeyframes] it
	// is the rate at which a keyframe is there in time.
	Bitrate int
}

// A Mode is how much of a layer is sent.
type Mode string

// The modes, the least first.
const (
	ModePaused    Mode = "paused" // no video; sound goes on
	ModeKeyframes Mode = "keyframes"
	ModePartial   Mode = "partial" // the lower temporal layers
	ModeFull      Mode = "full"
)

// A Choice is what a [Policy] decides. Indices are those of the view's Options. One that is too
// high counts as the last, and one that is too low as the first.
type Choice struct {
	// Send is the option that the viewer is sent. It takes effect at once. The edge does not
	// lower it when the path is congested: the policy must.
	Send int
	// Probe asks for a probe for this option, if it is above Send. The edge repeats recent
	// packets for that, or, where the viewer has not negotiated RTX, sends the option for a
	// moment. It does so several times, at higher and higher rates, where the option takes far
	// more than what is known to get through; meanwhile [View].Room may be an option in between.
	//
	// One probe is under way at a time. A request that is made meanwhile, or while the path is
	// congested, is ignored. A probe waits until the path has shown no congestion for half a
	// second and what is sent has had time to show and, after one that has failed, for a pause
	// that grows to seconds, or to two minutes where probes did harm. It ends when it has found
	// room for the option, or none for more than Room; when the path is congested; and when less
	// than before, or the option itself, is sent.
	Probe int

	fit    bool // the edge chooses, from least to most
	bounds allot.Range
}

// Within lets the edge itself choose among the options from least to most. Less is sent when the
// path is congested, and more after a probe that the edge makes when it finds it right; the
// lowest moving picture comes again without a probe if it takes less than 400 kbit/s. What is
// above most is given up at once. Least is the least video that is worth sending: where the path
// does not carry that, no video is sent. With 0 or 1, any video is better than none.
func Within(least, most int) Choice {
	return Choice{fit: true, bounds: allot.Range{Least: least, Most: most}}
}

// A guide asks a viewer's policy. The lock of the viewer's set guards it.
type guide struct {
	policy  Policy // nil: it has panicked
	log     *slog.Logger
	options []Option
}

// decide returns what the policy decides.
func (g *guide) decide(v allot.View) (d allot.Decision) {
	d = allot.Decision{Fit: true, Range: allot.Range{Most: len(v.Ladder) - 1}}
	if g.policy == nil {
		return d
	}
	defer func() {
		if p := recover(); p != nil {
			g.policy = nil
			g.log.Error("an edge's policy panicked, and is not asked any more for this viewer", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	c := g.policy.Choose(g.view(v))
	return allot.Decision{Fit: c.fit, Range: c.bounds, Send: c.Send, Probe: c.Probe}
}

// guarded calls a function of the embedder's for one viewer. If that panics, guarded logs it and
// returns the zero value, which stands for the default.
func guarded[T any](log *slog.Logger, name string, f func() T) (t T) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("a function of an edge's configuration panicked, and the default is taken for this viewer",
				"option", name, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return f()
}

func (g *guide) view(v allot.View) View {
	g.options = g.options[:0]
	for _, r := range v.Ladder {
		o := Option{Mode: Mode(r.Mode.String()), Temporal: temporalLayers(r.Mode, r.Temporal), Bitrate: int(r.Cost)}
		if r.Mode != allot.Paused && r.Layer < len(v.Layers) {
			o.Layer, o.Height = v.Layers[r.Layer].Name, v.Layers[r.Layer].Height
		}
		g.options = append(g.options, o)
	}
	s := &v.State
	return View{
		Now: v.Now, Options: g.options, Current: v.Rung, Room: v.Room, Probing: v.Probing,
		Estimate: int(s.Bitrate), Congested: s.Verdict == bwe.Overuse,
		Silent: s.Source == bwe.Nothing, RoundTrip: s.RoundTrip, Queue: s.Queue, Loss: s.Loss,
	}
}
