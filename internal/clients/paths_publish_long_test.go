//go:build long

package clients

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/origin"
)

const (
	soundEvery  = 20 * time.Millisecond
	payloadSize = 1150 // of VP8 in a packet, at most
)

// publish publishes the clip over and over, until t ends, from within the node: a
// publisher whose path is perfect. The layers are named by their height.
func (c *clip) publish(t *testing.T, live *origin.Origin, stream cdn.StreamID) {
	video := cdn.TrackInfo{Codec: cdn.Codec{MimeType: "video/VP8"}}
	if len(c.rates) > 1 {
		video.Layers = c.names()
	}
	pub, err := live.Publish(t.Context(), origin.PublishRequest{
		Stream: stream,
		Tracks: []cdn.TrackInfo{video, {Codec: cdn.Codec{MimeType: "audio/opus"}}},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.write(ctx, pub); err != nil {
			t.Errorf("the clip: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		_ = pub.Close()
	})
}

// write writes the clip as it falls due until ctx ends.
func (c *clip) write(ctx context.Context, pub *origin.Publication) error {
	video := make([]*vp8Writer, len(c.layers))
	for i := range video {
		video[i] = &vp8Writer{track: pub.Track("video")}
		if len(c.layers) > 1 {
			video[i].track = pub.Track("video").Layer(c.names()[i])
		}
	}
	begun := time.Now()
	for frame, sound := 0, 0; ; {
		frameDue, soundDue := time.Duration(frame)*time.Second/clipFPS, time.Duration(sound)*soundEvery
		select {
		case <-time.After(time.Until(begun.Add(min(frameDue, soundDue)))):
		case <-ctx.Done():
			return nil
		}
		late := time.Since(begun.Add(min(frameDue, soundDue)))
		c.late.Store(max(c.late.Load(), int64(late)))
		if soundDue <= frameDue {
			if err := pub.Track("audio").WriteSample(c.sound[sound%len(c.sound)], soundEvery); err != nil {
				return err
			}
			sound++
			continue
		}
		for i, v := range video {
			if err := v.write(frame, c.layers[i][frame%clipFrames]); err != nil {
				return err
			}
		}
		frame++
	}
}

func (c *clip) names() (all []string) {
	for _, rate := range c.rates {
		all = append(all, strconv.Itoa(height(rate)))
	}
	return all
}

// A vp8Writer makes packets of frames, with picture IDs and temporal layers (RFC 7741 section
// 4.2).
type vp8Writer struct {
	track    *origin.Track
	sequence uint16
	tl0      uint8
}

func (v *vp8Writer) write(number int, frame []byte) error {
	layer := temporal[number%gop%len(temporal)]
	if layer == 0 {
		v.tl0++
	}
	const extended, nonReference, begins = 0x80, 0x20, 0x10
	const pictureID, tl0PicIdx, tid, sync, long = 0x80, 0x40, 0x20, 0x20, 0x80
	first := byte(extended)
	if layer == 2 {
		first |= nonReference
	}
	tidByte := byte(layer << 6)
	if layer > 0 && number%gop < len(temporal) { // all that it could refer to is of layer 0
		tidByte |= sync
	}
	descriptor := []byte{first | begins, pictureID | tl0PicIdx | tid, long | byte(number>>8&0x7f), byte(number), v.tl0, tidByte}
	for rest := frame; len(rest) > 0; {
		n := min(len(rest), payloadSize)
		p := &rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: n == len(rest), SequenceNumber: v.sequence, Timestamp: uint32(number) * (90000 / clipFPS)},
			Payload: append(append([]byte(nil), descriptor...), rest[:n]...),
		}
		if err := v.track.WriteRTP(p); err != nil {
			return err
		}
		v.sequence++
		rest = rest[n:]
		descriptor[0] = first
	}
	return nil
}
