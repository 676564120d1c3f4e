package origin

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/deltacdn/delta/cdn"
)

// usual are the codecs with what stands for parameters that a [PublishRequest] leaves
// out.
var usual = []cdn.Codec{
	{MimeType: "video/VP8", ClockRate: 90000},
	{MimeType: "video/VP9", ClockRate: 90000, Fmtp: "profile-id=0"},
	{MimeType: "video/AV1", ClockRate: 90000, Fmtp: "level-idx=5;profile=0;tier=0"},
	{MimeType: "video/H264", ClockRate: 90000, Fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"},
	{MimeType: "video/H265", ClockRate: 90000, Fmtp: "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"},
	{MimeType: "audio/opus", ClockRate: 48000, Channels: 2, Fmtp: "minptime=10;useinbandfec=1"},
	{MimeType: "audio/PCMU", ClockRate: 8000},
	{MimeType: "audio/PCMA", ClockRate: 8000},
	{MimeType: "audio/G722", ClockRate: 8000},
}

// complete fills in what t leaves out. The tracks before it are complete.
func complete(t *cdn.TrackInfo, before []cdn.TrackInfo) error {
	kind, err := kindOf(t.Codec.MimeType)
	switch {
	case err != nil:
		return err
	case t.Kind != 0 && t.Kind != kind:
		return fmt.Errorf("%w: %s is of kind %s", cdn.ErrInvalid, t.Codec.MimeType, t.Kind)
	}
	t.Kind = kind
	if i := slices.IndexFunc(usual, func(c cdn.Codec) bool { return c.Is(t.Codec.MimeType) }); i >= 0 {
		t.Codec = withDefaults(t.Codec, usual[i])
	}
	if t.ID == "" {
		t.ID = freeID(kind, before)
	}
	if taken(t.ID, before) {
		return fmt.Errorf("%w: two tracks %.40q", cdn.ErrInvalid, t.ID)
	}
	return checkText(t)
}

// checkText sees to it that what names a track can stand in SDP: the ID is a token (RFC
// 8866 section 9), a layer's name a rid-id (RFC 8851), and the rest is of one line.
func checkText(t *cdn.TrackInfo) error {
	if _, err := cdn.ParseNodeID(t.ID); err != nil || strings.ContainsAny(t.ID, ":=@") {
		return fmt.Errorf("%w: a track cannot be called %.40q", cdn.ErrInvalid, t.ID)
	}
	for i, name := range t.Layers {
		if slices.Contains(t.Layers[:i], name) {
			return fmt.Errorf("%w: two layers %.40q of track %.40q", cdn.ErrInvalid, name, t.ID)
		}
		if strings.ContainsFunc(name, func(r rune) bool { return !isRidRune(r) }) {
			return fmt.Errorf("%w: a layer cannot be called %.40q", cdn.ErrInvalid, name)
		}
	}
	for _, line := range append([]string{t.Codec.MimeType, t.Codec.Fmtp}, t.Extensions...) {
		if strings.ContainsFunc(line, unicode.IsControl) {
			return fmt.Errorf("%w: track %.40q has %.40q", cdn.ErrInvalid, t.ID, line)
		}
	}
	return nil
}

func isRidRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

func withDefaults(c, usual cdn.Codec) cdn.Codec {
	c.MimeType = usual.MimeType
	if c.ClockRate == 0 {
		c.ClockRate = usual.ClockRate
	}
	if c.Channels == 0 {
		c.Channels = usual.Channels
	}
	if c.Fmtp == "" {
		c.Fmtp = usual.Fmtp
	}
	return c
}

func kindOf(mime string) (cdn.Kind, error) {
	switch kind, _, _ := strings.Cut(strings.ToLower(mime), "/"); kind {
	case "audio":
		return cdn.Audio, nil
	case "video":
		return cdn.Video, nil
	}
	return 0, fmt.Errorf("%w: codec %.40q is no MIME type of audio or video", cdn.ErrInvalid, mime)
}

// freeID returns "audio", "video", "video2", …
func freeID(kind cdn.Kind, before []cdn.TrackInfo) string {
	id := kind.String()
	for n := 2; taken(id, before); n++ {
		id = fmt.Sprintf("%s%d", kind, n)
	}
	return id
}

func taken(id string, tracks []cdn.TrackInfo) bool {
	return slices.ContainsFunc(tracks, func(t cdn.TrackInfo) bool { return t.ID == id })
}
