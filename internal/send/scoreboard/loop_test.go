package scoreboard

import "time"

var epoch = time.Unix(1_000_000_000, 0)

// A loop runs events in the order of their times, and of two at one time the one
// that was added first.
type loop struct {
	now    time.Duration
	order  uint64
	events []event
}

type event struct {
	at    time.Duration
	order uint64
	do    func()
}

func (e event) before(o event) bool {
	return e.at < o.at || e.at == o.at && e.order < o.order
}

// clock returns the present as a time.
func (l *loop) clock() time.Time { return epoch.Add(l.now) }

// after calls do after a while.
func (l *loop) after(d time.Duration, do func()) { l.at(l.now+max(0, d), do) }

// at calls do at a time that is not past.
func (l *loop) at(at time.Duration, do func()) {
	l.order++
	l.events = append(l.events, event{at, l.order, do})
	for i := len(l.events) - 1; i > 0; {
		parent := (i - 1) / 2
		if !l.events[i].before(l.events[parent]) {
			return
		}
		l.events[i], l.events[parent] = l.events[parent], l.events[i]
		i = parent
	}
}

// every calls do again and again.
func (l *loop) every(d time.Duration, do func()) {
	var again func()
	again = func() {
		do()
		l.after(d, again)
	}
	l.after(d, again)
}

// run runs until a time.
func (l *loop) run(until time.Duration) {
	for len(l.events) > 0 && l.events[0].at <= until {
		e := l.pop()
		l.now = e.at
		e.do()
	}
	l.now = until
}

func (l *loop) pop() event {
	first, last := l.events[0], len(l.events)-1
	l.events[0] = l.events[last]
	l.events[last] = event{}
	l.events = l.events[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return first
		}
		if child+1 < last && l.events[child+1].before(l.events[child]) {
			child++
		}
		if !l.events[child].before(l.events[i]) {
			return first
		}
		l.events[i], l.events[child] = l.events[child], l.events[i]
		i = child
	}
}
