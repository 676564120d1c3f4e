//go:build long

package clients

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem/plans"
)

// The clip that is published: a moving pattern with noise, in encodings of the rates
// that a plan names. It has three temporal layers, and a keyframe every gop frames,
// since it is encoded ahead of time and cannot have one on request.
const (
	clipFrames = 480
	clipFPS    = 25
	gop        = 24
	// encoded is the share of its rate that an encoding has on average. What it takes in
	// its most expensive second, with headers and sound, is then some 20 % above the rate.
	encoded = 0.85
)

// temporal are the temporal layers of successive frames from a keyframe on.
var temporal = []int{0, 2, 1, 2}

const clipLength = clipFrames * time.Second / clipFPS

// height returns the height of an encoding by its rate in bits a second.
func height(rate float64) int {
	switch {
	case rate < 300e3:
		return 180
	case rate < 1000e3:
		return 270
	case rate < 2000e3:
		return 540
	}
	return 720
}

// A clip is the frames of each encoding, and the packets of the sound, 20 ms each.
type clip struct {
	rates  []float64
	layers [][][]byte
	sound  [][]byte
	late   atomic.Int64 // nanoseconds: the most by which something was published late
}

// newClip makes the clip by ffmpeg, or skips the test. Encoding takes a minute or two
// of CPU time, so what it makes is kept in the user's directory for caches. The rates
// have to be of [plans.Ladder].
func newClip(t *testing.T, rates []float64) *clip {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		missing(t, "ffmpeg", "apt-get install ffmpeg")
	}
	args := clipArguments(plans.Ladder())
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	dir := filepath.Join(cache, fmt.Sprintf("delta-clip-%.8x", sha256.Sum256([]byte(strings.Join(args, " ")))))
	if _, err := os.Stat(dir); err != nil {
		making, err := os.MkdirTemp(cache, "delta-clip-") //nolint:usetesting // it is renamed within the cache
		require.NoError(t, err)
		cmd := exec.Command("ffmpeg", args...)
		cmd.Dir = making
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "ffmpeg %s\n%s", strings.Join(args, " "), out)
		if err := os.Rename(making, dir); err != nil { // another run has made it meanwhile
			require.DirExists(t, dir, "%v", err)
			require.NoError(t, os.RemoveAll(making))
		}
	}
	c := &clip{rates: rates, sound: readOgg(t, filepath.Join(dir, "sound.ogg"))}
	for _, rate := range rates {
		c.layers = append(c.layers, readIVF(t, filepath.Join(dir, fmt.Sprintf("%.0f.ivf", rate))))
	}
	return c
}

// clipArguments are ffmpeg's, to make one file a rate and one of sound.
func clipArguments(rates []float64) []string {
	args := []string{
		"-hide_banner", "-loglevel", "error", "-nostdin",
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=1280x720:rate=%d,noise=alls=6:allf=t+u,format=yuv420p", clipFPS),
		"-f", "lavfi", "-i", "aevalsrc=exprs='0.3*sin(2*PI*440*t)*(0.6+0.4*sin(2*PI*3*t))+0.05*random(0)':sample_rate=48000",
	}
	graph, scale := fmt.Sprintf("[0:v]split=%d", len(rates)), ""
	for i, rate := range rates {
		graph += fmt.Sprintf("[in%d]", i)
		scale += fmt.Sprintf(";[in%d]scale=-2:%d:flags=fast_bilinear[out%d]", i, height(rate), i)
	}
	args = append(args, "-filter_complex", graph+scale)
	for i, rate := range rates {
		bits := func(part float64) string { return fmt.Sprintf("%.0f", encoded*rate*part) }
		kbits := func(part float64) string { return fmt.Sprintf("%.0f", encoded*rate*part/1000) }
		args = append(args, "-map", fmt.Sprintf("[out%d]", i), "-frames:v", fmt.Sprint(clipFrames), "-c:v", "libvpx",
			"-b:v", bits(1), "-minrate", bits(1), "-maxrate", bits(1), "-bufsize", bits(0.6), "-g", fmt.Sprint(gop), "-keyint_min", fmt.Sprint(gop),
			"-deadline", "realtime", "-cpu-used", "8", "-error-resilient", "1", "-max-intra-rate", "500", "-lag-in-frames", "0", "-auto-alt-ref", "0",
			"-ts-parameters", "ts_number_layers=3:ts_target_bitrate="+kbits(0.4)+","+kbits(0.6)+","+kbits(1)+
				":ts_rate_decimator=4,2,1:ts_periodicity=4:ts_layer_id=0,2,1,2:ts_layering_mode=3",
			fmt.Sprintf("%.0f.ivf", rate))
	}
	return append(args, "-map", "1:a", "-t", fmt.Sprint(clipLength.Seconds()), "-c:a", "libopus", "-b:a", "32k", "-vbr", "off",
		"-frame_duration", "20", "-page_duration", "20000", "sound.ogg")
}

func readIVF(t *testing.T, name string) (frames [][]byte) {
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	r, _, err := ivfreader.NewWith(f)
	require.NoError(t, err)
	for {
		frame, _, err := r.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		isKey := len(frame) > 0 && frame[0]&1 == 0 // RFC 6386 section 9.1
		require.Equal(t, len(frames)%gop == 0, isKey, "frame %d", len(frames))
		frames = append(frames, frame)
	}
	require.Len(t, frames, clipFrames)
	return frames
}

func readOgg(t *testing.T, name string) (packets [][]byte) {
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	r, err := oggreader.NewWithOptions(f)
	require.NoError(t, err)
	for {
		page, header, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if _, isHeader := header.HeaderType(page); !isHeader {
			packets = append(packets, page)
		}
	}
	want := int(clipLength / soundEvery)
	require.GreaterOrEqual(t, len(packets), want)
	return packets[:want]
}

// costs returns what each encoding takes on the wire with the sound, in bits a
// second: the most in any second.
func (c *clip) costs() (all []float64) {
	const headers = 28 + 12 + 16 + 16 // IP and UDP, RTP, its extensions, SRTP's tag
	packed := func(size, packet int) int { return size + (size+packet-1)/packet*headers }
	sound := 0
	for _, p := range c.sound {
		sound += packed(len(p), 1200)
	}
	for _, frames := range c.layers {
		most := 0
		for i := range frames {
			sum := 0
			for j := range clipFPS {
				sum += packed(len(frames[(i+j)%len(frames)]), payloadSize)
			}
			most = max(most, sum)
		}
		all = append(all, float64(most*8)+float64(sound*8)/clipLength.Seconds())
	}
	return all
}

// fitting returns the highest layer that takes at most 80 % of a rate, 0 if none.
func (c *clip) fitting(rate int) int {
	best := 0
	for i, cost := range c.costs() {
		if rate <= 0 || cost <= 0.8*float64(rate) {
			best = i
		}
	}
	return best
}
