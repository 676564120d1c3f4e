package edge

import (
	"time"

	"github.com/deltacdn/delta/internal/send"
)

// Start says with what a viewer's video begins, and bounds what is taken for that from
// what the node keeps ([cdn.RingConfig]). Sound always begins with what is live. In every
// mode a keyframe that has just come, such as one requested when the viewer's offer came,
// is used.
type Start struct {
	// Mode is the way to begin.
	Mode StartMode
	// Age is how far the newest keyframe may be behind what is live. An older one is not
	// used. If zero, 12 s, which is what a node keeps. With StartAsk it is at most 500 ms.
	Age time.Duration
	// Bytes is the largest number of payload bytes sent to catch up. If zero, 8 MiB,
	// which is as much as a node keeps of a layer.
	Bytes int
}

// A StartMode is a way to begin. docs/performance.md has what each costs in Chromium.
type StartMode int

// The ways to begin.
const (
	// StartDefault is StartCatchUp.
	StartDefault StartMode = iota
	// StartAsk requests a keyframe and waits for it: nothing old is shown, and where the
	// publisher does not answer, nothing until the next keyframe.
	StartAsk
	// StartSnapshot shows the newest keyframe at once, as a still image, until one comes
	// that was requested.
	StartSnapshot
	// StartCatchUp begins with the newest keyframe and plays what followed at up to four
	// times the speed, as [Adapt].StartBitrate allows, until it is live. No delay remains,
	// and a keyframe is requested only if the newest is old; if one comes meanwhile, the
	// viewer goes on from that. Where more followed than may be sent, it is StartSnapshot.
	StartCatchUp
)

func (s Start) internal() send.Start {
	to := send.Start{Age: s.Age, Bytes: s.Bytes}
	switch s.Mode {
	case StartAsk:
		to.Mode = send.StartAsk
	case StartSnapshot:
		to.Mode = send.StartSnapshot
	case StartCatchUp, StartDefault:
		to.Mode = send.StartCatchUp
	}
	return to
}

// A PlayoutDelay bounds how long a player holds frames back, to the precision of 10 ms
// and up to 40.95 s.
type PlayoutDelay struct{ Min, Max time.Duration }

func (p *PlayoutDelay) internal() *send.PlayoutDelay {
	if p == nil {
		return nil
	}
	return &send.PlayoutDelay{Min: p.Min, Max: p.Max}
}
