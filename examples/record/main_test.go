package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/whep"
)

// ffmpeg returns the path of a program of ffmpeg's, or skips the test.
func ffmpeg(t *testing.T, name string) string {
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("DELTA_REQUIRE_FFMPEG") != "" {
		t.Fatalf("%s is not installed, and DELTA_REQUIRE_FFMPEG is set (apt-get install ffmpeg)", name)
	}
	if err != nil {
		t.Skipf("%s is not installed (apt-get install ffmpeg)", name)
	}
	return path
}

// output runs a program and returns what it writes.
func output(t *testing.T, name string, args ...string) string {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), ffmpeg(t, name), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s: %s", name, &stderr)
	require.Empty(t, stderr.String(), "%s %v", name, args)
	return string(out)
}

const (
	rate    = 25
	seconds = 6
)

// encode returns a clip of moving pictures, with a keyframe each second.
func encode(t *testing.T, encoder ...string) (frames [][]byte) {
	name := filepath.Join(t.TempDir(), "clip.ivf")
	source := "testsrc=size=160x120:rate=" + strconv.Itoa(rate) + ":duration=" + strconv.Itoa(seconds)
	args := append([]string{"-v", "error", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", "-g", strconv.Itoa(rate), "-c:v"}, encoder...)
	output(t, "ffmpeg", append(args, name)...)
	in, err := os.Open(name)
	require.NoError(t, err)
	defer in.Close()
	r, _, err := ivfreader.NewWith(in)
	require.NoError(t, err)
	for {
		frame, _, err := r.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			return frames
		}
		require.NoError(t, err)
		frames = append(frames, frame)
	}
}

// publish publishes the frames with sound beside them at a node of its own, in real time,
// again and again until somebody has got something and then all of them once more, and
// returns the base URL of its signaling.
func publish(t *testing.T, mime string, frames [][]byte) string {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	nodes, err := relay.Handler(node, live)
	require.NoError(t, err)
	view, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	players, err := whep.New(view, whep.Config{})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(relay.Prefix, nodes)
	mux.Handle("/whep/", players)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	pub, err := live.Publish(t.Context(), origin.PublishRequest{
		Stream: "clip", Tracks: []cdn.TrackInfo{{Codec: cdn.Codec{MimeType: mime}}, {Codec: cdn.Codec{MimeType: "audio/opus"}}},
	})
	require.NoError(t, err)
	go func() {
		defer pub.Close()
		// Each round sends a packet of sound, and each second round a frame. A round that is
		// late does not delay the next: a track that is two seconds behind jumps to the
		// present, and the recording would be silent in between.
		begun := time.Now()
		for i, left := 0, 2*len(frames); left > 0; i++ {
			if i%2 == 0 {
				_ = pub.Track("video").WriteSample(frames[i/2%len(frames)], time.Second/rate)
			}
			_ = pub.Track("audio").WriteSample(silence, 20*time.Millisecond)
			if sent := node.Stats().Totals; sent.Links.Sent.Packets+sent.Viewers.Sent.Packets > 0 {
				left--
			}
			select {
			case <-time.After(time.Until(begun.Add(time.Duration(i+1) * time.Second / 50))):
			case <-t.Context().Done():
				return
			}
		}
	}()
	return server.URL
}

// probed is what ffprobe says of a file's one stream.
type probed struct {
	Codec  string `json:"codec_name"`
	Frames string `json:"nb_read_frames"`
	Width  int    `json:"width"`
}

// probe has ffmpeg decode a file, which has to be without fault.
func probe(t *testing.T, name string) (p probed, frames int) {
	output(t, "ffmpeg", "-v", "error", "-xerror", "-i", name, "-f", "null", "-")
	var said struct{ Streams []probed }
	require.NoError(t, json.Unmarshal([]byte(output(t, "ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", name)), &said))
	require.Len(t, said.Streams, 1)
	frames, err := strconv.Atoi(said.Streams[0].Frames)
	require.NoError(t, err)
	return said.Streams[0], frames
}

// What is recorded of a stream, over a link or from a WHEP server, can be played.
func TestRecordingsPlay(t *testing.T) {
	for _, tc := range []struct {
		mime, codec, from string
		encoder           []string
	}{
		{"video/VP8", "vp8", "-from", []string{"libvpx", "-deadline", "realtime", "-cpu-used", "8"}},
		{"video/VP8", "vp8", "-whep", []string{"libvpx", "-deadline", "realtime", "-cpu-used", "8"}},
		{"video/VP9", "vp9", "-from", []string{"libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"}},
		{"video/AV1", "av1", "-from", []string{"libaom-av1", "-usage", "realtime", "-cpu-used", "8"}},
	} {
		t.Run(tc.codec+" "+tc.from, func(t *testing.T) {
			t.Parallel()
			url := publish(t, tc.mime, encode(t, tc.encoder...))
			if tc.from == "-whep" {
				url += "/whep"
			}
			to := filepath.Join(t.TempDir(), "clip")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.NoError(t, run(ctx, []string{tc.from, url, "-stream", "clip", "-to", to}))

			pictures, frames := probe(t, to+".ivf")
			require.Equal(t, tc.codec, pictures.Codec)
			require.Equal(t, 160, pictures.Width)
			require.Greater(t, frames, rate)
			sound, packets := probe(t, to+".ogg")
			require.Equal(t, "opus", sound.Codec)
			// Pictures begin with the newest keyframe, a second old at most; sound with what comes.
			require.LessOrEqual(t, packets, 2*frames+10)
			require.GreaterOrEqual(t, packets, 2*(frames-rate)-10)
		})
	}
}

func TestOptions(t *testing.T) {
	for _, args := range [][]string{{}, {"-from", "http://x", "-whep", "http://y"}, {"-nonsense"}} {
		_, err := parse(args)
		require.Error(t, err, args)
	}
	o, err := parse([]string{"-whep", "http://y", "-stream", "live", "-for", "3s"})
	require.NoError(t, err)
	require.Equal(t, options{whep: "http://y", stream: "live", to: "live", length: 3 * time.Second}, o)
}

// An existing file is not overwritten.
func TestFilesAreNotOverwritten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.ivf")
	require.NoError(t, os.WriteFile(name, []byte("mine"), 0o600))
	_, err := create(name, cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, newIVF)
	require.ErrorIs(t, err, os.ErrExist)
	_, err = create(name+"2", cdn.Codec{MimeType: "video/H264", ClockRate: 90000}, newIVF)
	require.ErrorContains(t, err, "H264")
	require.NoFileExists(t, name+"2")
}
