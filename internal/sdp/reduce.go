package sdp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
)

// A Choice is what is accepted of one m-section.
type Choice struct {
	Media *Media
	Codec Codec
	// Feedback and Extensions are what we can do; what the offer does not
	// name is left out.
	Feedback   []string
	Extensions []string
	// FEC is the forward error correction that is taken of a sender. PeerConnections take
	// none.
	FEC FEC
	// Sends: we send in it; otherwise we receive.
	Sends bool
}

// Extension returns the id of a header extension, and the direction that an
// answer has to add to it, such as "/sendonly" (RFC 8285 section 7). It is 0 for
// one that is not offered, or not for the way that media goes.
func (c Choice) Extension(uri string) (id uint8, direction string) {
	id = c.Media.Extensions[uri]
	switch theirs := c.Media.extensionDirection(uri); {
	case theirs == "recvonly" && c.Sends:
		return id, "/sendonly"
	case theirs == "sendonly" && !c.Sends:
		return id, "/recvonly"
	case theirs == "recvonly", theirs == "sendonly", theirs == "inactive":
		return 0, ""
	}
	return id, ""
}

// Reduce returns the offer with nothing in it but what was chosen, in which
// the other m-sections are rejected, and a MediaEngine that can do just that.
func (o *Offer) Reduce(choices []Choice) (string, *webrtc.MediaEngine, error) {
	engine := &webrtc.MediaEngine{}
	desc := o.desc
	desc.MediaDescriptions = nil
	for _, m := range o.Media {
		i := slices.IndexFunc(choices, func(c Choice) bool { return c.Media == m })
		if i < 0 {
			desc.MediaDescriptions = append(desc.MediaDescriptions, reject(m.section))
			continue
		}
		c := &choices[i]
		c.Codec.Feedback = slices.DeleteFunc(slices.Clone(c.Codec.Feedback), func(fb string) bool { return !slices.Contains(c.Feedback, fb) })
		c.Extensions = slices.DeleteFunc(slices.Clone(c.Extensions), func(uri string) bool {
			id, _ := c.Extension(uri)
			return id == 0
		})
		desc.MediaDescriptions = append(desc.MediaDescriptions, reduce(m.section, c))
		if err := Register(engine, m.Kind, c.Codec, c.Extensions); err != nil {
			return "", nil, fmt.Errorf("%w: sdp: %w", cdn.ErrInvalid, err)
		}
	}
	raw, err := desc.Marshal()
	if err != nil {
		return "", nil, fmt.Errorf("%w: sdp: %w", cdn.ErrInvalid, err)
	}
	return string(raw), engine, nil
}

// Register makes the codec, its retransmissions and the extensions known to
// the engine.
func Register(engine *webrtc.MediaEngine, kind cdn.Kind, c Codec, extensions []string) error {
	typ := webrtc.RTPCodecTypeAudio
	if kind == cdn.Video {
		typ = webrtc.RTPCodecTypeVideo
	}
	p := webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, SDPFmtpLine: c.Fmtp,
		},
		PayloadType: webrtc.PayloadType(c.PT),
	}
	for _, fb := range c.Feedback {
		name, param, _ := strings.Cut(fb, " ")
		p.RTCPFeedback = append(p.RTCPFeedback, webrtc.RTCPFeedback{Type: name, Parameter: param})
	}
	if err := engine.RegisterCodec(p, typ); err != nil {
		return err
	}
	if c.RTX != 0 {
		rtx := webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeRTX, ClockRate: c.ClockRate, SDPFmtpLine: "apt=" + strconv.Itoa(int(c.PT)),
			},
			PayloadType: webrtc.PayloadType(c.RTX),
		}
		if err := engine.RegisterCodec(rtx, typ); err != nil {
			return err
		}
	}
	for _, uri := range extensions {
		if err := engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, typ); err != nil {
			return err
		}
	}
	return nil
}

// reject returns the section with port 0 (RFC 8829 section 5.3.1). A data
// channel becomes an audio section, which pion does not open one for;
// [Offer.Restore] puts that right in the answer.
func reject(section *sdp.MediaDescription) *sdp.MediaDescription {
	out := *section
	out.MediaName.Port.Value = 0
	out.Attributes = nil
	media := section.MediaName.Media == "audio" || section.MediaName.Media == "video"
	if !media {
		out.MediaName.Media = "audio"
		out.MediaName.Protos = []string{"UDP", "TLS", "RTP", "SAVPF"}
		out.MediaName.Formats = []string{"0"}
		out.Attributes = append(out.Attributes, sdp.Attribute{Key: "rtpmap", Value: "0 PCMU/8000"})
	}
	for _, a := range section.Attributes {
		switch a.Key {
		case "mid", "ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup":
			out.Attributes = append(out.Attributes, a)
		case "rtpmap", "fmtp":
			if media {
				out.Attributes = append(out.Attributes, a)
			}
		}
	}
	out.Attributes = append(out.Attributes, sdp.Attribute{Key: "inactive"})
	return &out
}

func reduce(section *sdp.MediaDescription, c *Choice) *sdp.MediaDescription {
	out := *section
	keep := []string{strconv.Itoa(int(c.Codec.PT))}
	if c.Codec.RTX != 0 {
		keep = append(keep, strconv.Itoa(int(c.Codec.RTX)))
	}
	out.MediaName.Formats = keep
	out.Attributes = nil
	for _, a := range oneSource(section.Attributes) {
		pt, _, _ := strings.Cut(a.Value, " ")
		switch a.Key {
		case "rtpmap", "fmtp":
			if !slices.Contains(keep, pt) {
				continue
			}
		case "rtcp-fb":
			continue
		case "extmap":
			if _, uri, ok := parseExtmap(a.Value); !ok || !slices.Contains(c.Extensions, uri) {
				continue
			}
		case "sendrecv", "sendonly", "recvonly", "inactive":
			continue
		}
		out.Attributes = append(out.Attributes, a)
	}
	// Media goes one way (RFC 9725 section 4.2), whatever else the offerer would do.
	direction := "sendonly"
	if c.Sends {
		direction = "recvonly"
	}
	out.Attributes = append(out.Attributes, sdp.Attribute{Key: direction})
	if _, ok := section.Attribute("rtpmap"); !ok || !hasMap(section, keep[0]) {
		out.Attributes = append(out.Attributes, sdp.Attribute{Key: "rtpmap", Value: keep[0] + " " + Rtpmap(c.Codec.Codec)})
	}
	for _, fb := range c.Codec.Feedback {
		out.Attributes = append(out.Attributes, sdp.Attribute{Key: "rtcp-fb", Value: keep[0] + " " + fb})
	}
	return &out
}

func hasMap(section *sdp.MediaDescription, pt string) bool {
	return slices.ContainsFunc(section.Attributes, func(a sdp.Attribute) bool {
		return a.Key == "rtpmap" && strings.HasPrefix(a.Value, pt+" ")
	})
}

// Rtpmap returns the value of a=rtpmap without the payload type.
func Rtpmap(c cdn.Codec) string {
	_, name, _ := strings.Cut(c.MimeType, "/")
	out := fmt.Sprintf("%s/%d", name, c.ClockRate)
	if c.Channels > 1 {
		out += fmt.Sprintf("/%d", c.Channels)
	}
	return out
}
