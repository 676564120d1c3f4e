// Package format compares payload formats as SDP names them: which one a
// receiver can decode, and which of several is best taken from a publisher. It
// is pure, and not for each packet. All functions are safe for concurrent use.
package format

import (
	"strconv"
	"strings"
)

// A Format is a payload format.
type Format struct {
	MimeType  string // "video/VP8", "audio/opus"; compared without regard to case
	ClockRate uint32 // RTP timestamp units a second
	Channels  uint16 // audio channels as in a=rtpmap; 0 where it names none
	Fmtp      string // the parameters of a=fmtp, without the payload type
}

// Is reports whether the format's MIME type is mime.
func (f Format) Is(mime string) bool { return strings.EqualFold(f.MimeType, mime) }

// Takes reports whether a receiver that offers f can decode what is sent as
// sent, and how far apart the two are: 0 is the same, and of several formats the
// nearest is the best. Profiles contain each other as their standards say. A
// level is a hint: what is offered is the level up to which it is tested, and
// most decoders go beyond. A parameter that is left out refuses nothing.
func (f Format) Takes(sent Format) (distance int, ok bool) {
	if !strings.EqualFold(f.MimeType, sent.MimeType) || f.ClockRate != sent.ClockRate || !f.sameChannels(sent) {
		return 0, false
	}
	theirs, ours := parameters(f.Fmtp), parameters(sent.Fmtp)
	switch strings.ToLower(f.MimeType) {
	case "video/h264":
		return h264Takes(theirs, ours)
	case "video/h265":
		return h265Takes(theirs, ours)
	case "video/vp9":
		return profileTakes(theirs, ours, "profile-id", "0", vp9Profile)
	case "video/av1":
		return profileTakes(theirs, ours, "profile", "0", av1Profile)
	}
	return 0, true
}

// sameChannels: Opus always has two channels in SDP (RFC 7587 section 7), though
// some leave them out; one channel need not be named (RFC 8866 section 6.6).
func (f Format) sameChannels(other Format) bool {
	return f.Is("audio/opus") || max(f.Channels, 1) == max(other.Channels, 1)
}

// Nearest returns the index of the offered format that takes sent and is nearest
// to it; -1 if none takes it. Of those equally near the first is preferred.
func Nearest(sent Format, offered []Format) int {
	best, least := -1, 0
	for i, f := range offered {
		if d, ok := f.Takes(sent); ok && (best < 0 || d < least) {
			best, least = i, d
		}
	}
	return best
}

// What makes up a distance. A step between profiles outweighs all others.
const (
	otherLevel   = 1  // the receiver names a lower one
	otherMode    = 2  // of packetization
	missing      = 4  // a parameter is left out
	otherProfile = 16 // times how much more the receiver's profile can do
)

// h264Takes compares by profile, and by packetization mode (RFC 6184 section
// 8.2.2). A receiver of mode 1 takes mode 0, too, and not the reverse.
func h264Takes(theirs, ours map[string]string) (distance int, ok bool) {
	switch mode, sent := theirs["packetization-mode"], or(ours["packetization-mode"], "0"); {
	case mode == "":
		if sent != "0" {
			distance += missing
		}
	case mode == sent:
	case mode == "1" && sent == "0":
		distance += otherMode
	default:
		return 0, false
	}
	decoder, sent := readH264(theirs["profile-level-id"]), readH264(ours["profile-level-id"])
	if decoder == sent {
		return distance, true
	}
	if decoder.absent {
		return distance + otherProfile*int(h264Other), true
	}
	if decoder.level < sent.level {
		distance += otherLevel
	}
	more, ok := decoder.takes(sent)
	return distance + otherProfile*more, ok
}

// h265Takes compares by profile (RFC 7798 section 7.1); 1 is the default.
func h265Takes(theirs, ours map[string]string) (distance int, ok bool) {
	if !same(theirs, ours, "profile-space", "0") {
		return 0, false
	}
	distance, ok = profileTakes(theirs, ours, "profile-id", "1", h265Profile)
	if number(theirs, "level-id", 93) < number(ours, "level-id", 93) {
		distance += otherLevel
	}
	return distance, ok
}

// A family says by how much a decoder's profile is more than what is sent; false
// if it does not contain that.
type family func(decoder, sent int) (steps int, ok bool)

// h265Profile: Main 10 contains Main and Main Still Picture, and Main contains
// the latter (H.265 annex A.3).
func h265Profile(decoder, sent int) (int, bool) {
	rank := map[int]int{3: 0, 1: 1, 2: 2}
	d, known := rank[decoder]
	s, known2 := rank[sent]
	return d - s, known && known2 && d >= s
}

// vp9Profile: profile 0 is in all others, and all are in 3, which has every
// subsampling and bit depth (VP9 bitstream specification, section 7.2).
func vp9Profile(decoder, sent int) (int, bool) {
	return decoder - sent, decoder&^3 == 0 && sent&^3 == 0 && sent&^decoder == 0
}

// av1Profile: each profile is in the next (AV1 bitstream specification, annex
// A.2).
func av1Profile(decoder, sent int) (int, bool) {
	return decoder - sent, decoder <= 2 && sent >= 0 && decoder >= sent
}

// profileTakes compares by a profile that is a number, def where it is left out.
func profileTakes(theirs, ours map[string]string, key, def string, contains family) (distance int, ok bool) {
	if same(theirs, ours, key, def) {
		return 0, true
	}
	decoder, err := strconv.Atoi(or(theirs[key], def))
	sent, err2 := strconv.Atoi(or(ours[key], def))
	if err != nil || err2 != nil {
		return 0, false
	}
	steps, ok := contains(decoder, sent)
	return otherProfile * steps, ok
}

// same reports whether a parameter has one value in both; numbers are compared
// as such.
func same(a, b map[string]string, key, def string) bool {
	va, vb := or(a[key], def), or(b[key], def)
	na, errA := strconv.Atoi(va)
	nb, errB := strconv.Atoi(vb)
	if errA != nil || errB != nil {
		return va == vb
	}
	return na == nb
}

func number(p map[string]string, key string, def int) int {
	if n, err := strconv.Atoi(p[key]); err == nil {
		return n
	}
	return def
}

// parameters splits the value of an a=fmtp line; all is lower case, since case
// does not matter in what is compared here.
func parameters(fmtp string) map[string]string {
	all := map[string]string{}
	for one := range strings.SplitSeq(strings.ToLower(fmtp), ";") {
		if k, v, ok := strings.Cut(one, "="); ok {
			all[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return all
}

// Parameter returns the value of one parameter of an a=fmtp line as it is written, "" if
// there is none.
func Parameter(fmtp, name string) string {
	for one := range strings.SplitSeq(fmtp, ";") {
		if k, v, ok := strings.Cut(one, "="); ok && strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func or(v, def string) string {
	if v == "" {
		return def
	}
	return v
}
