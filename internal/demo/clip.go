package demo

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// The clip that make-clip.sh makes: VP8 with a keyframe each second, and Opus
// in pages of one packet.
var (
	//go:embed countdown.ivf
	countdownIVF []byte
	//go:embed countdown.ogg
	countdownOgg []byte
)

const (
	videoClock = 90000
	audioClock = 48000
	opusPacket = 20 * time.Millisecond
)

// A unit is what is sent at one instant: a video frame or an audio packet.
type unit struct {
	at       time.Duration // since the start of the clip
	video    bool
	keyframe bool
	data     []byte
}

// A clip is the units of audio and video in the order in which they are due,
// and the time after which they begin again. It is not changed once made.
type clip struct {
	units  []unit
	length time.Duration
}

// builtin returns the embedded clip.
func builtin() (*clip, error) {
	video, err := readVideo(bytes.NewReader(countdownIVF))
	if err != nil {
		return nil, fmt.Errorf("countdown.ivf: %w", err)
	}
	audio, err := readAudio(bytes.NewReader(countdownOgg))
	if err != nil {
		return nil, fmt.Errorf("countdown.ogg: %w", err)
	}
	length := time.Duration(len(audio)) * opusPacket
	return newClip(append(video, audio...), length), nil
}

// newClip takes over units.
func newClip(units []unit, length time.Duration) *clip {
	slices.SortStableFunc(units, func(a, b unit) int { return int(a.at - b.at) })
	return &clip{units: units, length: length}
}

func readVideo(r io.Reader) ([]unit, error) {
	ivf, header, err := ivfreader.NewWith(r)
	if err != nil {
		return nil, err
	}
	// The rate is constant, so that frames are counted: the reader multiplies
	// the file's timestamps by the rate where it should divide.
	rate := float64(header.TimebaseDenominator) / float64(header.TimebaseNumerator)
	var units []unit
	for {
		data, _, err := ivf.ParseNextFrame()
		switch {
		case errors.Is(err, io.EOF):
			return units, nil
		case err != nil:
			return nil, err
		case len(data) == 0:
			return nil, fmt.Errorf("frame %d is empty", len(units))
		}
		units = append(units, unit{
			at:       time.Duration(float64(len(units)) / rate * float64(time.Second)),
			video:    true,
			keyframe: data[0]&1 == 0, // inverse key frame flag, RFC 6386 section 9.1
			data:     data,
		})
	}
}

func readAudio(r io.Reader) ([]unit, error) {
	ogg, err := oggreader.NewWithOptions(r)
	if err != nil {
		return nil, err
	}
	var units []unit
	for {
		page, header, err := ogg.ParseNextPage()
		switch {
		case errors.Is(err, io.EOF):
			return units, nil
		case err != nil:
			return nil, err
		}
		if _, isHeader := header.HeaderType(page); isHeader {
			continue
		}
		units = append(units, unit{at: time.Duration(len(units)) * opusPacket, data: page})
	}
}
