package edge

import (
	"fmt"

	"github.com/deltacdn/delta/cdn"
)

// SetLayer has a viewer get another simulcast layer from now on, in place of the one
// that it asked for: the one named, or the best if layer is "". session is its name, as
// [cdn.Node.Sessions], events and [Edge.Stats] give it. Nothing is negotiated anew: the
// video goes over at the layer's next keyframe, which is asked for, and the viewer's
// event stream tells of it ("layer"). What holds for layers that viewers ask for holds
// for this one, too: while it does not come, or exceeds the viewer's bitrate, the nearest
// is sent.
//
// It fails with [cdn.ErrNotFound] if there is no such viewer here, or no such layer.
// Who holds the session itself calls [signal.LayerSession].SetLayer.
func (e *Edge) SetLayer(session, layer string) error {
	v, err := e.find("set layer", session)
	if err != nil {
		return err
	}
	return v.setLayer(layer)
}

// SetMaxBitrate bounds what a viewer gets, in payload bits a second of video, as
// [cdn.Grant].MaxBitrate does: it gets no layer of more, unless there is none of less. The
// lesser of the two counts, and of the node's limit. 0 takes the bound back. session is as
// in [Edge.SetLayer]. It fails with [cdn.ErrNotFound] if there is no such viewer here, and
// with [cdn.ErrInvalid] for a negative bound.
func (e *Edge) SetMaxBitrate(session string, bits int) error {
	v, err := e.find("set bitrate", session)
	if err != nil {
		return err
	}
	return v.setMaxBitrate(bits)
}

// find returns the answered viewer of that name.
func (e *Edge) find(op, session string) (*playSession, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for v := range e.viewers {
		if v.transport != nil && v.admission.Name() == session {
			return v, nil
		}
	}
	return nil, &cdn.Error{Op: op, Err: fmt.Errorf("%w: no viewer %.40q", cdn.ErrNotFound, session)}
}

// SetLayer implements [signal.LayerSession].
func (a *answered) SetLayer(layer string) error { return a.playSession.setLayer(layer) }

// SetMaxBitrate implements [signal.LayerSession].
func (a *answered) SetMaxBitrate(bits int) error { return a.playSession.setMaxBitrate(bits) }

func (v *playSession) setLayer(layer string) error {
	if err := v.transport.SetLayer(layer); err != nil {
		return &cdn.Error{Op: "set layer", Stream: v.id, Err: err}
	}
	v.changes.tell()
	return nil
}

func (v *playSession) setMaxBitrate(bits int) error {
	if bits < 0 {
		return &cdn.Error{Op: "set bitrate", Stream: v.id, Err: fmt.Errorf("%w: %d bits a second", cdn.ErrInvalid, bits)}
	}
	v.bound.Store(int64(bits))
	v.transport.BoundChanged()
	return nil
}

// maxBitrate is the least of the viewer's bounds.
func (v *playSession) maxBitrate() (bits int, limit string) {
	bits, limit = v.admission.MaxBitrate()
	for _, own := range [...]int{int(v.bound.Load()), v.most} {
		if own > 0 && (bits == 0 || own < bits) {
			bits, limit = own, "session_bitrate"
		}
	}
	return bits, limit
}
