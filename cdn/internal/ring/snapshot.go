package ring

// snapshotBytes bounds a keyframe that is kept.
const snapshotBytes = 1 << 20

// A snapshot is the newest keyframe, whole, kept beyond the bounds of the ring.
type snapshot struct {
	keyframe uint64 // as in Ring
	packets  []*Packet
}

// keep puts the newest keyframe aside, once, before its packets are
// dropped.
func (r *Ring) keep(keyframe uint64) {
	if s := r.snapshot.Load(); s != nil && s.keyframe == keyframe {
		return
	}
	s := &snapshot{keyframe: keyframe, packets: r.frame()}
	size := 0
	for _, p := range s.packets {
		size += p.Size()
	}
	if size > snapshotBytes {
		s.packets = nil
	}
	r.snapshot.Store(s)
}

// Snapshot returns the packets of the newest keyframe in order of their
// numbers, whether or not the ring still has them; nil if the frame is not
// whole, or was too large to be kept. The caller must not change the slice.
func (r *Ring) Snapshot() []*Packet {
	if s := r.snapshot.Load(); s != nil && s.keyframe == r.keyframe.Load() {
		return s.packets
	}
	return r.frame()
}

// frame collects the newest keyframe from the ring. Parameter sets
// may lie before the packet that was found to be its first.
func (r *Ring) frame() (all []*Packet) {
	k := r.Keyframe()
	if k == nil {
		return nil
	}
	first := k
	for p := r.Lookup(k.Seq - 1); p != nil && p.Timestamp == k.Timestamp; p = r.Lookup(p.Seq - 1) {
		first = p
	}
	n := 0
	for p := first; ; p = r.Lookup(p.Seq + 1) {
		if p == nil {
			return nil
		}
		if p.Timestamp != k.Timestamp {
			break
		}
		if n++; p.Marker {
			break
		}
	}
	all = make([]*Packet, 0, n)
	for p := first; len(all) < n && p != nil; p = r.Lookup(p.Seq + 1) {
		all = append(all, p)
	}
	if len(all) < n {
		return nil // dropped meanwhile
	}
	return all
}

// GOPBytes returns how many bytes have come since the newest keyframe began.
func (r *Ring) GOPBytes() (bytes int) { return int(r.gop.Load()) }
