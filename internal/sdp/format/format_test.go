package format

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// in reads "video/H264 packetization-mode=1;profile-level-id=42e01f",
// "audio/opus/48000/2 stereo=1" and the like.
func in(s string) Format {
	name, fmtp, _ := strings.Cut(s, " ")
	f := Format{MimeType: name, Fmtp: fmtp, ClockRate: 90000}
	if parts := strings.Split(name, "/"); parts[0] == "audio" {
		f.MimeType, f.ClockRate = parts[0]+"/"+parts[1], 8000
		if strings.Contains(name, "48000") {
			f.ClockRate = 48000
		}
		if len(parts) > 3 {
			f.Channels = uint16(parts[3][0] - '0')
		}
	}
	return f
}

const mode1 = "video/H264 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="

func TestWhatADecoderTakes(t *testing.T) {
	for _, tc := range []struct {
		offered, sent  string
		there, reverse bool
	}{
		{"video/VP8", "video/vp8 max-fs=12288;max-fr=60", true, true},
		{"video/VP8", "video/VP9", false, false},
		{"audio/opus/48000/2 minptime=10;useinbandfec=1", "audio/opus/48000/2 stereo=1", true, true},
		{"audio/OPUS/48000", "audio/opus/48000/2", true, true},
		{"audio/pcmu/8000", "audio/PCMU/8000/1", true, true},
		{"audio/PCMU/8000", "audio/PCMA/8000", false, false},
		{"audio/L16/48000/1", "audio/L16/48000/2", false, false},
		{"audio/L16/48000", "audio/L16/8000", false, false},

		{"video/VP9", "video/VP9 profile-id=0", true, true},
		{"video/VP9 PROFILE-ID=02", "video/vp9 max-fr=30; profile-id = 2", true, true},
		{"video/VP9 profile-id=2", "video/VP9", true, false},
		{"video/VP9 profile-id=3", "video/VP9 profile-id=1", true, false},
		{"video/VP9 profile-id=1", "video/VP9 profile-id=2", false, false},
		{"video/VP9 profile-id=7", "video/VP9 profile-id=1", false, false},
		{"video/AV1", "video/AV1 level-idx=5;profile=0;tier=0", true, true},
		{"video/AV1 profile=1;level-idx=8", "video/AV1 profile=1", true, true},
		{"video/AV1 profile=1", "video/AV1", true, false},
		{"video/AV1 profile=2", "video/AV1 profile=1", true, false},
		{"video/AV1 profile=3", "video/AV1", false, false},
		{"video/H265", "video/H265 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST", true, true},
		{"video/H265 profile-id=1;tier-flag=1", "video/H265 profile-id=1;tier-flag=0", true, true},
		{"video/H265 profile-id=2;level-id=93", "video/H265 profile-id=1;level-id=180", true, false},
		{"video/H265 profile-id=1", "video/H265 profile-id=3", true, false},
		{"video/H265 profile-id=4", "video/H265 profile-id=1", false, false},
		{"video/H265 profile-id=4", "video/H265 profile-id=4", true, true},
		{"video/H265 profile-id=x", "video/H265 profile-id=x", true, true},
		{"video/H265 profile-id=x", "video/H265", false, false},
		{"video/H265 profile-space=1", "video/H265", false, false},

		// Parameters that are left out.
		{"video/H264", "video/H264", true, true},
		{"video/H264", mode1 + "42e01f", true, true},
		{"video/H264", mode1 + "640c34", true, true},
		{"video/H264 packetization-mode=1", mode1 + "640c34", true, true},
		{"video/H264 profile-level-id=42e01f", mode1 + "42e01f", true, true},
		{"video/H264 profile-level-id=42e0", mode1 + "64001f", true, true},
		{"video/H264 profile-level-id=zzzzzz", mode1 + "42e01f", true, true},
		// Modes.
		{mode1 + "42e01f", "video/H264 packetization-mode=0;profile-level-id=42e01f", true, false},
		{"video/H264 packetization-mode=2;profile-level-id=42e01f", mode1 + "42e01f", false, false},
		// One profile by several names.
		{mode1 + "42E01F", strings.ToLower(mode1) + "42e01f", true, true},
		{mode1 + "42e01f", mode1 + "42c034", true, true},
		{mode1 + "42e01f", mode1 + "4d801f", true, true},
		{mode1 + "42e01f", mode1 + "58c01f", true, true},
		{mode1 + "42001f", mode1 + "58801f", true, true},
		{mode1 + "4d001f", mode1 + "58401f", true, true},
		// Profiles in each other.
		{mode1 + "42001f", mode1 + "42e01f", true, false},
		{mode1 + "58001f", mode1 + "42001f", true, false},
		{mode1 + "4d001f", mode1 + "42e01f", true, false},
		{mode1 + "64001f", mode1 + "42e034", true, false},
		{mode1 + "64001f", mode1 + "4d001f", true, false},
		{mode1 + "640c1f", mode1 + "42e01f", true, false},
		{mode1 + "64001f", mode1 + "640c34", true, false},
		{mode1 + "64001f", mode1 + "64081f", true, false},
		{mode1 + "64081f", mode1 + "640c1f", true, false},
		{mode1 + "f4001f", mode1 + "640c34", true, false},
		{mode1 + "f4001f", mode1 + "7a001f", true, false},
		{mode1 + "6e001f", mode1 + "6e101f", true, false},
		// Flexible macroblock order and arbitrary slice order are in Baseline alone.
		{mode1 + "4d001f", mode1 + "42001f", false, false},
		{mode1 + "64001f", mode1 + "42001f", false, false},
		{mode1 + "640c1f", mode1 + "4d001f", false, false},
		{mode1 + "6e101f", mode1 + "42e01f", false, false},
		{mode1 + "76001f", mode1 + "760028", true, true},
		{mode1 + "76001f", mode1 + "42e01f", false, false},
		{mode1 + "76001f", mode1 + "80001f", false, false},
	} {
		_, there := in(tc.offered).Takes(in(tc.sent))
		assert.Equal(t, tc.there, there, "%s takes %s", tc.offered, tc.sent)
		_, reverse := in(tc.sent).Takes(in(tc.offered))
		assert.Equal(t, tc.reverse, reverse, "%s takes %s", tc.sent, tc.offered)
	}
}

func TestTheNearestFormat(t *testing.T) {
	const mode0 = "video/H264 packetization-mode=0;profile-level-id="
	for name, tc := range map[string]struct {
		sent    string
		offered []string
		want    int
	}{
		"the same profile":            {mode1 + "42e01f", []string{"video/VP8", mode1 + "64001f", mode1 + "42001f", mode1 + "42e01f"}, 3},
		"the least that contains it":  {mode1 + "42e01f", []string{mode1 + "f4001f", mode1 + "64001f", mode1 + "4d001f"}, 2},
		"the same mode":               {mode0 + "42e01f", []string{mode1 + "42e01f", mode0 + "42e01f"}, 1},
		"a profile rather than none":  {mode1 + "42e01f", []string{"video/H264", mode1 + "f4001f"}, 1},
		"none that is said, at last":  {mode1 + "640c34", []string{"video/VP8", "video/H264"}, 1},
		"a level that suffices":       {mode1 + "42e034", []string{mode1 + "42e01f", mode1 + "42e034"}, 1},
		"a level that does not":       {mode1 + "42e034", []string{mode1 + "42e01f"}, 0},
		"a profile ahead of a level":  {mode1 + "42e034", []string{mode1 + "640034", mode1 + "42e01f"}, 1},
		"the first of two":            {mode1 + "42e01f", []string{mode1 + "42e02a", mode1 + "42c028"}, 0},
		"none":                        {mode1 + "640c34", []string{"video/VP8", mode0 + "640c34", mode1 + "42e01f"}, -1},
		"AV1 of the profile":          {"video/AV1 profile=0", []string{"video/AV1 profile=2", "video/AV1 profile=1", "video/AV1"}, 2},
		"H.265 of the least profile":  {"video/H265", []string{"video/H265 profile-id=2", "video/H265 profile-id=1"}, 1},
		"nothing offered":             {"video/VP8", nil, -1},
		"Opus without its channels":   {"audio/opus/48000/2", []string{"audio/PCMU/8000", "audio/OPUS/48000"}, 1},
		"Chromium's only other: High": {mode1 + "640c34", []string{"video/VP8", mode1 + "42001f", mode1 + "42e01f", mode1 + "4d001f", mode1 + "f4001f"}, 4},
	} {
		var offered []Format
		for _, s := range tc.offered {
			offered = append(offered, in(s))
		}
		assert.Equal(t, tc.want, Nearest(in(tc.sent), offered), name)
	}
}

func TestWhatIsTakenAtIngest(t *testing.T) {
	for name, tc := range map[string]struct {
		offered []string
		want    int
	}{
		"a phone":                       {[]string{mode1 + "640c34", mode1 + "42e034", "video/VP8"}, 1},
		"the publisher's order, VP8":    {[]string{mode1 + "64001f", "video/VP8", mode1 + "42e01f"}, 1},
		"the publisher's order, H.264":  {[]string{"video/AV1", mode1 + "42e01f", "video/VP8"}, 1},
		"H.264 without parameters":      {[]string{"video/VP9", "video/H264"}, 1},
		"other H.264":                   {[]string{"video/H265", "video/AV1", "video/VP9", mode1 + "640c34"}, 3},
		"High rather than High 4:4:4":   {[]string{mode1 + "f4001f", mode1 + "64001f"}, 1},
		"plain Baseline and High":       {[]string{mode1 + "42001f", mode1 + "64001f"}, 0},
		"VP9":                           {[]string{"video/H265", "video/AV1", "video/VP9 profile-id=2", "video/VP9 profile-id=0"}, 3},
		"AV1":                           {[]string{"video/H265", "video/AV1 profile=1", "video/AV1 profile=0"}, 2},
		"H.265":                         {[]string{"video/H266", "video/H265 profile-id=2", "video/H265 profile-id=1"}, 2},
		"what nobody knows, in order":   {[]string{"video/H266", "video/theora"}, 0},
		"Opus":                          {[]string{"audio/PCMU/8000", "audio/G722/8000", "audio/OPUS/48000"}, 2},
		"other sound in order":          {[]string{"audio/G722/8000", "audio/PCMU/8000"}, 0},
		"nothing":                       {nil, -1},
		"Chromium, which has VP8 first": {[]string{"video/VP8", "video/VP9 profile-id=0", mode1 + "42001f", mode1 + "42e01f", "video/AV1"}, 0},
	} {
		var offered []Format
		for _, s := range tc.offered {
			offered = append(offered, in(s))
		}
		assert.Equal(t, tc.want, Ingest(offered), name)
	}
}

// FuzzTakes: a format takes itself, at no distance, and what takes what takes a
// third takes that, too, where all name what they can do.
func FuzzTakes(f *testing.F) {
	f.Add("video/H264", "packetization-mode=1;profile-level-id=42e01f", "profile-level-id=42e0", "packetization-mode=1;profile-level-id=64001f")
	f.Add("video/VP9", "profile-id=0;;=;a=b=c", " ; profile-id=-1", "profile-id=3")
	f.Add("video/AV1", "profile=99999999999999999999", "profile", "profile=1")
	f.Add("video/h265", "profile-id=1", "profile-id=2", "profile-space=1")
	f.Fuzz(func(t *testing.T, mime, a, b, c string) {
		low, mid, high := Format{MimeType: mime, Fmtp: a}, Format{MimeType: mime, Fmtp: b}, Format{MimeType: mime, Fmtp: c}
		d, ok := low.Takes(low)
		require.True(t, ok)
		require.Zero(t, d)
		if parameters(b)["profile-level-id"] == "" || parameters(b)["packetization-mode"] == "" || readH264(parameters(b)["profile-level-id"]).absent {
			return
		}
		if d, ok := mid.Takes(low); ok {
			require.GreaterOrEqual(t, d, 0)
			if _, ok := high.Takes(mid); ok {
				_, ok := high.Takes(low)
				require.True(t, ok)
			}
		}
	})
}

// What is answered names the receiver's own profile, and what was published
// beside.
func TestAnAnswerKeepsTheProfileThatWasOffered(t *testing.T) {
	const sets = ";sprop-parameter-sets=Z0LgH9o="
	for _, tc := range []struct{ offered, sent, want string }{
		{mode1 + "42e01f", mode1 + "42e034" + sets, mode1 + "42e034" + sets},
		{mode1 + "64001f", mode1 + "42e034" + sets, "video/H264 sprop-parameter-sets=Z0LgH9o=;level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f"},
		{mode1 + "42e01f", "video/H264 profile-level-id=42e01f", mode1 + "42e01f"},
		{"video/H264 profile-level-id=42e01f", mode1 + "42e01f", mode1[:len(mode1)-len("profile-level-id=")] + "profile-level-id=42e01f"},
		{"video/H264", mode1 + "640c34", mode1 + "640c34"},
		{mode1 + "42e01f", "video/H264", mode1 + "42e01f"},
		{"video/AV1 profile=1;level-idx=8", "video/AV1 profile=0;level-idx=5;tier=0", "video/AV1 tier=0;profile=1;level-idx=8"},
		{"audio/opus/48000/2 minptime=10", "audio/opus/48000/2 stereo=1", "audio/opus/48000/2 stereo=1"},
		{"video/VP8 max-fr=30", "video/VP8", "video/VP8 max-fr=30"},
	} {
		_, want, _ := strings.Cut(tc.want, " ")
		assert.Equal(t, want, in(tc.offered).Answer(in(tc.sent)), "%s, %s", tc.offered, tc.sent)
	}
}

// Values are given as they are written: base64 has capital letters.
func TestParameter(t *testing.T) {
	const fmtp = "profile-level-id=42e01f; sprop-parameter-sets=Z0LgH9o=,aM4G4g== ; APT = 96;mode"
	for name, want := range map[string]string{
		"profile-level-id":     "42e01f",
		"sprop-parameter-sets": "Z0LgH9o=,aM4G4g==",
		"apt":                  "96",
		"mode":                 "",
		"profile":              "",
		"":                     "",
	} {
		assert.Equal(t, want, Parameter(fmtp, name), name)
	}
	assert.Empty(t, Parameter("", "apt"))
}
