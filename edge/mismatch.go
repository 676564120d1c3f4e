package edge

import (
	"errors"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp/format"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/signal"
)

// A Mismatch is a track that a viewer asked for and is not sent, because its offer has no
// codec that decodes it.
type Mismatch struct {
	Track   string // its ID
	Kind    cdn.Kind
	Codec   cdn.Codec   // of the track
	Offered []cdn.Codec // by the viewer, for such a track
}

func mismatch(m send.Mismatch) Mismatch {
	info := m.Track.Info()
	return Mismatch{Track: info.ID, Kind: info.Kind, Codec: info.Codec, Offered: m.Offered}
}

// tellMismatches reports the tracks that the viewer cannot decode, once its stream is
// known: to the viewer by its status, to the operator by the log, to the application by an
// event. It is called once.
func (v *playSession) tellMismatches() {
	all := v.transport.Mismatches()
	if len(all) == 0 {
		return
	}
	for _, one := range all {
		m := mismatch(one)
		v.edge.node.Emit(cdn.TrackUnplayable{
			Stream: v.id, Session: v.admission.Name(), Track: m.Track, Kind: m.Kind, Codec: m.Codec, Offered: m.Offered,
		})
	}
	first := v.mismatch()
	v.edge.node.Logger().Warn("a viewer cannot decode a track", "stream", string(v.id), "session", v.admission.Name(),
		"kind", first.Kind, "codec", first.Stream, "offered", first.Offered, "tracks", len(all))
	v.changes.tell()
}

// warnOfCodecs logs that a viewer supports none of a stream's codecs, if err says so.
func (e *Edge) warnOfCodecs(id cdn.StreamID, err error) {
	if errors.Is(err, cdn.ErrNoCommonCodec) {
		e.node.Logger().Warn("a viewer supports none of the codecs of a stream", "stream", string(id), "err", err)
	}
}

// mismatch returns the one that the viewer is told of: the first of a video track, or else
// the first.
func (v *playSession) mismatch() (told signal.Mismatch) {
	for _, one := range v.transport.Mismatches() {
		m := mismatch(one)
		if told.Kind != "" && m.Kind != cdn.Video {
			continue
		}
		told = signal.Mismatch{
			Kind: m.Kind.String(), Stream: format.Format(m.Codec).String(), Offered: format.List(formats(m.Offered)),
		}
		if m.Kind == cdn.Video {
			return told
		}
	}
	return told
}

func formats(codecs []cdn.Codec) (all []format.Format) {
	for _, c := range codecs {
		all = append(all, format.Format(c))
	}
	return all
}
