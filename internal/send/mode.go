package send

// A mode is what a sender does at present.
//
// This is how one mode follows another. A cell has the events that lead from the mode of
// its row to that of its column; a dash means that none does. A sender begins by waiting.
// TestTransitions makes each of them happen, and fails for any other.
//
//	           | waiting         | opening | catchingUp | settling   | observing                | live                     | idle
//	-----------+-----------------+---------+------------+------------+--------------------------+--------------------------+-----------
//	waiting    | -               | onStart | onStart    | onKeyframe | onKeyframe               | onKeyframe               | onUnwanted
//	opening    | onShown         | -       | -          | -          | onKeyframe               | -                        | onUnwanted
//	catchingUp | onPause, onSkip | -       | -          | -          | onEnd, onGap, onKeyframe | onEnd, onGap             | onUnwanted
//	settling   | onPause, onSkip | -       | -          | -          | onGap, onKeyframe        | onEnd, onGap, onKeyframe | -
//	observing  | onPause         | -       | onBurst    | onKeyframe | -                        | onEnd, onGap, onKeyframe | -
//	live       | onPause         | -       | -          | onKeyframe | onKeyframe               | -                        | onUnwanted
//	idle       | onWanted        | -       | onWanted   | -          | -                        | onWanted                 | -
type mode uint8

const (
	waiting    mode = iota // sends nothing until the next keyframe
	opening                // shows a keyframe snapshot until the next keyframe
	catchingUp             // sends what followed a keyframe, faster than live
	settling               // as catchingUp, until the timestamps go with the publisher's clock
	observing              // sends what looks live, and watches for a burst, which shows that it is not
	live                   // sends what comes when it comes
	idle                   // sends nothing, since the receiver, a node, does not want the layer
)

var modeNames = [...]string{"waiting", "opening", "catchingUp", "settling", "observing", "live", "idle"}

func (m mode) String() string { return modeNames[m] }

// awaitsKeyframe reports whether the next keyframe is begun with.
func (m mode) awaitsKeyframe() bool { return m == waiting || m == opening }

// isAhead reports whether packets are held back until they are due, since they are sent
// faster than live.
func (m mode) isAhead() bool { return m == catchingUp || m == settling }

// isStarting reports whether it is not certain yet that what is sent is live.
func (m mode) isStarting() bool { return m.isAhead() || m == observing }

// An event is why a mode changes.
type event uint8

const (
	onStart    event = iota // there is a keyframe to begin with
	onShown                 // the snapshot was shown as often as it is
	onKeyframe              // a keyframe was begun with, of this layer or of another
	onPause                 // packets were lost, the receiver is slow, or the node is behind
	onSkip                  // a newer keyframe came, and the packets until then are skipped
	onEnd                   // nothing is left to catch up with
	onGap                   // the source's timestamps jumped
	onBurst                 // packets came ahead of their time
	onWanted                // the receiver wants the layer
	onUnwanted              // the receiver does not want it any more
)

var eventNames = [...]string{"onStart", "onShown", "onKeyframe", "onPause", "onSkip", "onEnd", "onGap", "onBurst", "onWanted", "onUnwanted"}

func (e event) String() string { return eventNames[e] }

// enter changes the mode.
func (s *Sender) enter(to mode, on event) {
	if tell := s.set.config.onMode; tell != nil && to != s.mode {
		tell(s.mode, to, on)
	}
	s.mode = to
	if to != opening && to != catchingUp {
		s.snapshot = snapshot{}
	}
	if to == observing || to == live || to == idle {
		s.clock = liveClock{} // what was sent last is live
	}
}
