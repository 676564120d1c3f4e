package cdn

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/deltacdn/delta/internal/sdp/format"
)

// declare makes the stream ready with the first input's tracks, and holds a
// later input's against them. It returns the stream's track for each.
func (s *Stream) declare(infos []TrackInfo, expected map[layerKey]LayerFacts) ([]*Track, error) {
	if err := checkTracks(infos, s.config); err != nil {
		return nil, &Error{Op: "declare tracks", Stream: s.id, Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, s.err
	}
	if have := s.Tracks(); have != nil {
		tracks, err := match(have, infos)
		if err != nil {
			return nil, &Error{Op: "splice", Stream: s.id, Err: err}
		}
		return tracks, nil
	}
	tracks := make([]*Track, len(infos))
	for i, info := range infos {
		if len(info.Layers) == 0 {
			info.Layers = []string{""}
		}
		tracks[i] = newTrack(s, info)
		for _, l := range tracks[i].Layers() {
			l.expected = expected[layerKey{i, l.name}] // nobody knows the layer yet
			l.costs.tell(l.expected.Cost)
		}
	}
	s.tracks.Store(&tracks)
	close(s.ready)
	s.kick()
	return tracks, nil
}

func checkTracks(infos []TrackInfo, c streamConfig) error {
	if len(infos) == 0 {
		return fmt.Errorf("%w: no tracks", ErrInvalid)
	}
	if len(infos) > c.MaxTracks {
		return fmt.Errorf("%d tracks: %w", len(infos), &LimitError{"tracks", c.MaxTracks})
	}
	for _, t := range infos {
		if t.Codec.ClockRate == 0 || t.Kind != Audio && t.Kind != Video {
			return fmt.Errorf("%w: track %q has no kind or clock rate", ErrInvalid, t.ID)
		}
		if len(t.Extensions) > maxExtensions {
			return fmt.Errorf("%w: track %q has %d header extensions, %d have an id", ErrOverLimit, t.ID, len(t.Extensions), maxExtensions)
		}
		if len(t.Layers) > c.MaxLayers {
			return fmt.Errorf("%d layers: %w", len(t.Layers), &LimitError{"layers", c.MaxLayers})
		}
		if err := checkText(t); err != nil {
			return err
		}
	}
	return checkDescription(infos)
}

// checkText sees to it that all text of a track is of one line: descriptions in SDP are
// made of it.
func checkText(t TrackInfo) error {
	for _, text := range slices.Concat([]string{t.ID, t.Codec.MimeType, t.Codec.Fmtp}, t.Extensions, t.Layers) {
		if strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Errorf("%w: track %.40q has %.40q", ErrInvalid, t.ID, text)
		}
	}
	return nil
}

// maxExtensions is how many ids there are for header extensions (RFC 8285 section
// 4.3).
const maxExtensions = 255

// maxDescription bounds what a stream's tracks are described by, as JSON: on a
// link that travels in one message of some 64 KiB, with what each node adds.
const maxDescription = 32 << 10

func checkDescription(infos []TrackInfo) error {
	b, err := json.Marshal(infos)
	if err != nil {
		return err // strings and numbers can be marshaled
	}
	if len(b) > maxDescription {
		return fmt.Errorf("%w: tracks described by %d bytes, and no link carries more than %d", ErrInvalid, len(b), maxDescription)
	}
	return nil
}

// match pairs infos with the tracks of the same kind, in their order. Whoever was
// answered for a track has to be able to decode what follows it.
func match(have []*Track, infos []TrackInfo) ([]*Track, error) {
	if len(have) != len(infos) {
		return nil, fmt.Errorf("%w: %d tracks follow %d", ErrNoCommonCodec, len(infos), len(have))
	}
	left := slices.Clone(have)
	var tracks []*Track
	for _, info := range infos {
		i := slices.IndexFunc(left, func(t *Track) bool { return t.info.Kind == info.Kind })
		if i < 0 {
			return nil, fmt.Errorf("%w: one %s track more than before", ErrNoCommonCodec, info.Kind)
		}
		a, b := left[i].info.Codec, info.Codec
		if _, ok := format.Format(a).Takes(format.Format(b)); !ok {
			return nil, fmt.Errorf("%w: %s (%s) follows %s (%s)", ErrNoCommonCodec, b.MimeType, b.Fmtp, a.MimeType, a.Fmtp)
		}
		tracks = append(tracks, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return tracks, nil
}
