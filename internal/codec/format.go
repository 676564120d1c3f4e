package codec

import (
	"strconv"
	"strings"
)

// SameFormat reports whether a receiver set up for format parameters b can
// take what is sent with a: what distinguishes formats of one codec is its
// profile, and with H.264 the packetization mode (RFC 6184 section 8.2.2).
// Levels are not looked at.
func SameFormat(mime, a, b string) bool {
	pa, pb := parameters(a), parameters(b)
	same := func(key, def string) bool { return or(pa[key], def) == or(pb[key], def) }
	switch strings.ToLower(mime) {
	case "video/h264":
		return same("packetization-mode", "0") &&
			h264Profile(or(pa["profile-level-id"], "42000a")) == h264Profile(or(pb["profile-level-id"], "42000a"))
	case "video/vp9":
		return same("profile-id", "0")
	case "video/av1":
		return same("profile", "0")
	case "video/h265":
		return same("profile-id", "1")
	}
	return true
}

// h264Profile names the profile of a profile-level-id: constraint bits matter
// as far as they turn one profile into another (RFC 6184 table 5).
func h264Profile(id string) string {
	n, err := strconv.ParseUint(id, 16, 32)
	if err != nil || len(id) != 6 {
		return id
	}
	idc, constraints := n>>16, byte(n>>8)
	switch {
	case idc == 0x42 && constraints&0x40 != 0,
		idc == 0x4d && constraints&0x80 != 0,
		idc == 0x58 && constraints&0xc0 == 0xc0:
		return "constrained baseline"
	case idc == 0x42, idc == 0x58 && constraints&0x80 != 0:
		return "baseline"
	case idc == 0x64 && constraints&0x0c == 0x0c:
		return "constrained high"
	}
	return strconv.FormatUint(idc, 16)
}

func parameters(fmtp string) map[string]string {
	all := map[string]string{}
	for one := range strings.SplitSeq(fmtp, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(one), "="); ok {
			all[strings.ToLower(k)] = strings.ToLower(v)
		}
	}
	return all
}

func or(v, def string) string {
	if v == "" {
		return def
	}
	return v
}
