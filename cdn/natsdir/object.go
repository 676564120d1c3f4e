package natsdir

import (
	"time"

	"github.com/deltacdn/delta/cdn/replica"
)

// object sends the objections that are due, and returns in what time the next one is.
func (d *Directory) object() time.Duration {
	due, next := d.peers.objections.Due()
	for _, v := range due {
		raw, err := v.Encode()
		if err != nil {
			continue // nobody has announced such a node
		}
		d.mu.Lock()
		err = d.publishLocked(d.subject(announceSubject), raw)
		d.mu.Unlock()
		if err != nil {
			d.config.Logger.Debug("an objection cannot be sent", "err", err)
		}
	}
	return next
}

// objected takes an objection. If it is about what this node has announced, that is
// announced anew.
func (d *Directory) objected(v replica.Value) {
	d.peers.objections.Heard(v)
	mine := d.set.OwnOf(v.Seen)
	if len(mine) == 0 || !d.set.Raise(v.Seq) {
		return
	}
	d.config.Logger.Info("others know later announcements of this node: its clock may have been set back", "node", string(v.Seen))
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range mine {
		raw, err := d.numberLocked(&v)
		if err == nil {
			err = d.publishLocked(d.subject(announceSubject), raw)
		}
		if err != nil {
			return // it is announced again anyway
		}
	}
}
