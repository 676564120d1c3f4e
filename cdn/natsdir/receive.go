package natsdir

import (
	"bytes"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deltacdn/delta/cdn/replica"
)

const (
	maxPeers   = 1 << 14
	forgetPeer = time.Hour
)

// peers are the other nodes' Directories, by their ids. All but answered is owned by
// [Directory.receive].
type peers struct {
	known      map[string]time.Time // of those whose announcements are all known: when each last sent one
	parts      map[string]int       // how many parts of its answer have come
	objections replica.Objections
	pruned     time.Time

	answered []string // up to maxHave of those that have answered; guarded by Directory.mu
}

func newPeers() peers {
	return peers{known: make(map[string]time.Time), parts: make(map[string]int)}
}

// receive takes what comes until the directory is closed.
func (d *Directory) receive() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case m := <-d.inbox:
			d.take(m)
		case p := <-d.proofs:
			for range len(d.inbox) {
				d.take(<-d.inbox)
			}
			d.prove(p)
		case <-timer.C:
		}
		timer.Reset(d.object())
	}
}

func (d *Directory) take(m *nats.Msg) {
	d.mu.Lock()
	d.stats.Received++
	d.mu.Unlock()
	from, now := d.sender(m.Reply), time.Now()
	if deaf := d.config.deaf; deaf != nil && deaf.Load() && from != d.id {
		return
	}
	switch m.Subject {
	case d.subject(announceSubject):
		if from != d.id && from != "" {
			d.askIfNew(from, now)
		}
		for line := range bytes.SplitSeq(m.Data, []byte{'\n'}) {
			d.takeValue(line, true)
		}
	case d.subject(askSubject), d.inboxOf(d.id):
		d.takeControl(m, now)
	}
}

func (d *Directory) refuse(what string, err error) {
	d.mu.Lock()
	d.stats.Refused++
	first := d.stats.Refused == 1
	d.mu.Unlock()
	if first { // Stats counts the others
		d.config.Logger.Warn("the directory cannot take what another one sent", "what", what, "err", err)
	}
}

// takeValue takes an announcement. Fresh: it was announced now, and not told again.
func (d *Directory) takeValue(line []byte, fresh bool) {
	v, err := replica.Decode(line)
	if err != nil {
		d.refuse("a line", err)
		return
	}
	if v.Seen != "" {
		d.objected(v)
		return
	}
	outcome, err := d.set.Take(v)
	if err != nil {
		d.refuse("an announcement", err)
		return
	}
	d.mu.Lock()
	d.arrivedLocked(wait{v.Key(), v.Seq})
	d.mu.Unlock()
	if outcome == replica.Old && fresh {
		d.peers.objections.Old(v.Key(), d.set.Seq(v.Key()))
	}
}

// takeControl takes what is no announcement to all: a question or an answer.
func (d *Directory) takeControl(m *nats.Msg, now time.Time) {
	head, rest, _ := bytes.Cut(m.Data, []byte{'\n'})
	c, err := decodeControl(head)
	if err != nil {
		d.refuse("a message", err)
		return
	}
	if c.Ask != nil {
		if c.Ask.From != d.id {
			d.answer(*c.Ask, now)
		}
		return
	}
	if len(rest) > 0 {
		for line := range bytes.SplitSeq(rest, []byte{'\n'}) {
			d.takeValue(line, false)
		}
	}
	d.partArrived(*c.Answer, now)
}

// ask asks all other Directories for what they have announced, but for those that have
// answered.
func (d *Directory) ask() {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := &ask{From: d.id, New: len(d.set.Own()) == 0, Have: d.peers.answered}
	if err := d.publishLocked(d.subject(askSubject), control{Ask: a}.encode()); err != nil {
		d.config.Logger.Debug("other directories cannot be asked", "err", err)
	}
}

// answer tells a Directory what this one has announced.
func (d *Directory) answer(a ask, now time.Time) {
	if a.New {
		d.markKnown(a.From, now) // it has nothing to tell
	} else {
		d.askIfNew(a.From, now)
	}
	if slices.Contains(a.Have, d.id) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	const head = 256
	all := parts(d.set.Own(), d.mostBytes()-head)
	if len(all) == 0 {
		all = [][][]byte{nil}
	}
	for i, part := range all {
		lines := append([][]byte{control{Answer: &answer{From: d.id, Part: i + 1, Of: len(all)}}.encode()}, part...)
		if err := d.publishLocked(d.inboxOf(a.From), lines...); err != nil {
			d.config.Logger.Debug("another directory cannot be answered", "err", err)
			return
		}
	}
}

// partArrived notes that a part of an answer has come.
func (d *Directory) partArrived(a answer, now time.Time) {
	p := &d.peers
	if p.parts[a.From]++; p.parts[a.From] < a.Of {
		return
	}
	delete(p.parts, a.From)
	d.markKnown(a.From, now)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(p.answered) < maxHave && !slices.Contains(p.answered, a.From) {
		p.answered = append(p.answered, a.From)
	}
}

// markKnown notes that a Directory is there, and that all that it announces is known.
func (d *Directory) markKnown(id string, now time.Time) {
	p := &d.peers
	if _, known := p.known[id]; known || len(p.known) < maxPeers {
		p.known[id] = now
	}
	if now.Sub(p.pruned) < time.Minute {
		return
	}
	p.pruned = now
	clear(p.parts)
	for id, at := range p.known {
		if now.Sub(at) > forgetPeer {
			delete(p.known, id)
		}
	}
}

// askIfNew notes that a Directory is there. If it was not known, it is asked for what it
// has announced before: it may have done so while there was no way from there to here.
// Just after the start all are being asked.
func (d *Directory) askIfNew(id string, now time.Time) {
	_, known := d.peers.known[id]
	if !known && d.starting.Err() == nil {
		return
	}
	d.markKnown(id, now)
	if known {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.Contains(d.peers.answered, id) {
		return
	}
	a := &ask{From: d.id, New: len(d.set.Own()) == 0}
	if err := d.publishLocked(d.inboxOf(id), control{Ask: a}.encode()); err != nil {
		delete(d.peers.known, id) // the next time
	}
}
