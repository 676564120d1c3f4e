// Package seldom paces log lines about what stays wrong: one at once, then fewer and
// fewer, and one when it is well again.
package seldom

import (
	"sync"
	"time"
)

const (
	// first is how long after a line the next one about the same thing is due. Each
	// one doubles it, up to most.
	first = 5 * time.Minute
	most  = time.Hour
	// maxKeys bounds the things that are known. What comes beyond shares one pace.
	maxKeys = 1024
)

// A Pacer tells for each of many things, named by keys, when a line about it is due. The
// zero value is ready. Its methods may be called concurrently.
type Pacer[K comparable] struct {
	mu       sync.Mutex
	all      map[K]*state
	overflow state
	swept    time.Time // when what is old was last looked for
}

// A state is what is known of one thing. It outlives the trouble, so that one that comes
// and goes is not told each time.
type state struct {
	since time.Time // when the present trouble began; zero: it is well
	seen  time.Time
	times int  // how often it was seen since
	told  bool // a line was due since
	due   time.Time
	pause time.Duration // that follows due's line
}

// A Trouble is what there is to say of a thing beside the thing itself.
type Trouble struct {
	For   time.Duration // since when it has been wrong
	Times int           // how often that was noticed
}

// Wrong notes that a thing is wrong, and reports whether a line is due.
func (p *Pacer[K]) Wrong(now time.Time, k K) (Trouble, bool) { return p.WrongFor(now, k, 0) }

// again is how long after it was last seen a thing that is wrong has become wrong anew.
const again = time.Minute

// WrongFor is Wrong for a thing that may pass: no line is due before it has been wrong for
// that long.
func (p *Pacer[K]) WrongFor(now time.Time, k K, patience time.Duration) (Trouble, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stateLocked(now, k)
	if s.since.IsZero() || patience > 0 && !s.told && now.Sub(s.seen) > again {
		s.since, s.times, s.told = now, 0, false
	}
	s.seen = now
	s.times++
	t := Trouble{For: now.Sub(s.since), Times: s.times}
	if now.Before(s.due) || t.For < patience {
		return t, false
	}
	if s.pause == 0 || now.Sub(s.due) > most { // that was another time
		s.pause = first
	}
	s.told, s.due, s.pause = true, now.Add(s.pause), min(2*s.pause, most)
	return t, true
}

// Well notes that a thing is as it should be, and reports whether a line is due: one is
// if there was one of the trouble that has ended.
func (p *Pacer[K]) Well(now time.Time, k K) (Trouble, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.all[k]
	if s == nil || s.since.IsZero() {
		return Trouble{}, false
	}
	t := Trouble{For: now.Sub(s.since), Times: s.times}
	s.since = time.Time{}
	return t, s.told
}

// WellAll notes that all things whose keys fit are as they should be, and reports
// whether a line is due, with what is to be said of the one that was wrong longest.
func (p *Pacer[K]) WellAll(now time.Time, fits func(K) bool) (longest Trouble, due bool) {
	p.mu.Lock()
	var keys []K
	for k := range p.all {
		if fits(k) {
			keys = append(keys, k)
		}
	}
	p.mu.Unlock()
	for _, k := range keys {
		if t, told := p.Well(now, k); told {
			due = true
			if t.For >= longest.For {
				longest = t
			}
		}
	}
	return longest, due
}

func (p *Pacer[K]) stateLocked(now time.Time, k K) *state {
	if s := p.all[k]; s != nil {
		return s
	}
	if len(p.all) >= maxKeys && now.Sub(p.swept) >= time.Minute {
		p.swept = now
		for k, s := range p.all {
			if now.Sub(s.seen) > most && !now.Before(s.due) {
				delete(p.all, k)
			}
		}
	}
	if len(p.all) >= maxKeys {
		return &p.overflow
	}
	if p.all == nil {
		p.all = make(map[K]*state)
	}
	s := &state{}
	p.all[k] = s
	return s
}
