package webtest

import (
	"fmt"
	"time"
)

// Record is JavaScript that has a play page note what a person sees and hears of it, in
// window.seen, which is a [Recording].
const Record = `(() => {
	const number = ` + countdown + `;
	const seen = window.seen = {};
	seen.forget = () => Object.assign(seen, {Frames: [], States: [], Unread: 0, Heard: 0, Silent: 0});
	seen.forget();
	new MutationObserver(() => seen.States.push(document.body.dataset.state)).observe(document.body, {attributes: true, attributeFilter: ["data-state"]});
	let last = null, drawn = performance.now(), blind = 0, silence = null;
	const look = () => {
		const now = performance.now();
		blind = Math.max(blind, now-drawn);
		drawn = now;
		const n = number(document.getElementById("video"));
		if (n === null) seen.Unread++;
		else if (n !== last) {
			seen.Frames.push({At: now, Number: last = n, Blind: blind});
			blind = 0;
		}
		const heard = [...document.querySelectorAll("video")].filter(v => !v.muted && !v.paused && v.srcObject).length;
		seen.Heard = Math.max(seen.Heard, heard);
		if (heard > 0) silence = null;
		else seen.Silent = Math.max(seen.Silent, now - (silence ??= now));
		requestAnimationFrame(look);
	};
	requestAnimationFrame(look);
	return true;
})()`

// Forget is JavaScript that has Record begin anew.
const Forget = `void seen.forget()`

// A Recording is what Record has noted.
type Recording struct {
	Frames []Frame
	States []string // of the page, each time that it changed
	Unread int      // how often no frame could be read
	Heard  int      // how many videos were heard at once
	Silent float64  // for how many ms none was, at most
}

// A Frame is one that was seen for the first time.
type Frame struct {
	At     float64 // performance.now(), in ms
	Number int     // see [Countdown]
	// Blind is for how many ms the page was not drawn since the frame before, at most.
	Blind float64
}

// Forward returns an error if a frame was older than one shown before it.
func (r Recording) Forward() error {
	for i := range r.Frames {
		if i == 0 {
			continue
		}
		f, before := r.Frames[i], r.Frames[i-1]
		if Step(before.Number, f.Number) <= 0 {
			return fmt.Errorf("frame %d, %.0f ms after frame %d", f.Number, f.At-before.At, before.Number)
		}
	}
	return nil
}

// While a page is not drawn for longer than this, in ms, since the machine has other
// things to do, nobody looks at the picture, which goes on.
const blindFor = 100

// Pauses returns, for what was shown between two instants, in ms, the longest time for
// which a frame stood still, and the longest stretch of frames that was left out.
func (r Recording) Pauses(from, to float64) (still, missing time.Duration) {
	for i, f := range r.Frames {
		if i == 0 || f.At < from || r.Frames[i-1].At > to {
			continue
		}
		before := r.Frames[i-1]
		stood, left := f.At-before.At, float64(Step(before.Number, f.Number))*1000/second
		if f.Blind > blindFor {
			stood, left = stood-f.Blind, left-f.Blind
		}
		still = max(still, time.Duration(stood*float64(time.Millisecond)))
		missing = max(missing, time.Duration(left*float64(time.Millisecond)))
	}
	return still.Round(time.Millisecond), missing.Round(time.Millisecond)
}

// LastMove is JavaScript for a [Move].
const LastMove = `(({by, stood, at, took}) => ({By: by, Stood: stood, At: at, Took: took}))(delta.lastMove)`

// A Move is what a play page says of how it went over to another node: by what frames
// were compared, for how many ms the picture stood still, when that was done, and how
// many ms it took since the other node had answered.
type Move struct {
	By              string
	Stood, At, Took float64
}

// Unnoticed returns what a person would have seen or heard of a move; "": nothing. atMost
// is for how long a frame may have stood still, or have been missing.
func (r Recording) Unnoticed(m Move, atMost time.Duration) (faults []string) {
	still, missing := r.Pauses(m.At-m.Took-1000, m.At+1500)
	complain := func(yes bool, format string, args ...any) {
		if yes {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	err := r.Forward()
	complain(err != nil, "an older frame: %v", err)
	complain(len(r.Frames) < 2*second, "%d frames", len(r.Frames))
	complain(still > atMost, "a frame stood still for %v", still)
	complain(missing > atMost, "%v are missing", missing)
	complain(len(r.States) > 0, "states: %v", r.States)
	complain(r.Heard > 1, "%d videos heard at once", r.Heard)
	complain(r.Heard > 0 && r.Silent > float64(atMost.Milliseconds()), "%.0f ms without sound", r.Silent)
	complain(r.Unread > 10, "%d pictures without a number", r.Unread)
	return faults
}
