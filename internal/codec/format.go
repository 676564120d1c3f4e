package codec

import (
	"strconv"
	"strings"
)

// SameFormat reports whether a receiver set up for format parameters b can
// take what is sent with a, and the reverse: what tells formats of one codec
// apart is the profile, and with H.264 the packetization mode (RFC 6184 section
// 8.2.2). Levels and tiers are not looked at. It is not for each packet.
func SameFormat(mime, a, b string) bool {
	pa, pb := parameters(a), parameters(b)
	switch strings.ToLower(mime) {
	case "video/h264":
		return same(pa, pb, "packetization-mode", "0") && h264Profile(pa) == h264Profile(pb)
	case "video/vp9":
		return same(pa, pb, "profile-id", "0") // RFC 9628 section 6
	case "video/av1":
		return same(pa, pb, "profile", "0") // AV1 RTP specification, section 7.2
	case "video/h265":
		return same(pa, pb, "profile-id", "1") // RFC 7798 section 7.1
	}
	return true
}

// h264Profile names the profile of a profile-level-id. Constraint flags matter
// as far as they turn one profile into another (RFC 6184 table 5).
func h264Profile(p map[string]string) string {
	id := or(p["profile-level-id"], "42000a") // RFC 6184 section 8.1
	n, err := strconv.ParseUint(id, 16, 32)
	if err != nil || len(id) != 6 {
		return id
	}
	idc, flags := byte(n>>16), byte(n>>8)
	switch {
	case idc == 0x42 && flags&0x40 != 0,
		idc == 0x4d && flags&0x80 != 0,
		idc == 0x58 && flags&0xc0 == 0xc0:
		return "constrained baseline"
	case idc == 0x42, idc == 0x58 && flags&0x80 != 0:
		return "baseline"
	case idc == 0x4d:
		return "main"
	case idc == 0x64 && flags&0x0c == 0x0c:
		return "constrained high"
	case idc == 0x64:
		return "high"
	}
	return strconv.Itoa(int(idc)) + ":" + strconv.Itoa(int(flags&0x10)) // set 3: intra only
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

func or(v, def string) string {
	if v == "" {
		return def
	}
	return v
}
