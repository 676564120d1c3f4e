package edge

import "github.com/deltacdn/delta/internal/send"

// Start says with what a viewer's picture begins, and bounds what is taken for
// that from what the node keeps ([cdn.RingConfig]). Sound always begins with
// what is live. In every mode a keyframe that has only just come, such as one
// that was asked for when the viewer's offer came, is begun with.
type Start = send.Start

// A StartMode is a way to begin. README.md has what each costs in Chromium.
type StartMode = send.StartMode

// The ways to begin.
const (
	// StartDefault is StartCatchUp.
	StartDefault = send.StartDefault
	// StartAsk waits for a keyframe that is asked for: nothing old is shown, and
	// where the publisher does not answer, nothing until the next keyframe.
	StartAsk = send.StartAsk
	// StartStill shows the newest keyframe at once, as a still picture, until one
	// comes that was asked for.
	StartStill = send.StartStill
	// StartCatchUp begins with the newest keyframe and shows what followed four
	// times as fast, until it is live. No delay remains, and the publisher is
	// asked for nothing unless the keyframe is old; if one comes meanwhile, it is
	// gone on with. Where more followed than may be sent, as StartStill.
	StartCatchUp = send.StartCatchUp
)
