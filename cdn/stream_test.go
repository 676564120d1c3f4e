package cdn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/rtpdump"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

var (
	vp8  = cdn.TrackInfo{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: []string{""}}
	opus = cdn.TrackInfo{ID: "audio", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}, Layers: []string{""}}
)

// inBubble runs f with a node on a virtual network.
func inBubble(t *testing.T, f func(t *testing.T, n *cdn.Node)) {
	synctest.Test(t, func(t *testing.T) {
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		n, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		require.NoError(t, err)
		defer func() { require.NoError(t, n.Close()) }()
		f(t, n)
	})
}

// back counts what is asked of a sender.
type back struct {
	mu        sync.Mutex
	keyframes int
	nacks     []uint16
}

func (b *back) RequestKeyframe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keyframes++
}

func (b *back) Nack(seqs []uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nacks = append(b.nacks, seqs...)
}

func (b *back) counts() (int, []uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keyframes, append([]uint16(nil), b.nacks...)
}

func newStream(t testing.TB, n *cdn.Node) *cdn.Stream {
	s, err := n.NewStream("live")
	require.NoError(t, err)
	t.Cleanup(func() { s.End(nil) })
	return s
}

func newInput(t testing.TB, s *cdn.Stream, c cdn.InputConfig, tracks ...cdn.TrackInfo) *cdn.Input {
	in, err := s.NewInput(c)
	require.NoError(t, err)
	require.NoError(t, in.Start(tracks))
	return in
}

func newLayer(t testing.TB, in *cdn.Input, track int) (*cdn.LayerInput, *back) {
	b := &back{}
	li, err := in.Layer(track, "", b)
	require.NoError(t, err)
	return li, b
}

// frame is a VP8 frame in one packet, with a 15-bit picture id.
func frame(seq uint16, ts uint32, key bool, id uint16) *rtp.Packet {
	p := []byte{0x90, 0x80, 0x80 | byte(id>>8), byte(id), 1, 2, 3}
	if key {
		p[4] = 0
	}
	return &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: true}, Payload: p}
}

func pictureID(p *cdn.Packet) uint16 { return binary.BigEndian.Uint16(p.Payload[2:]) & 0x7fff }

func read(c *cdn.Cursor) (all []*cdn.Packet) {
	for p := c.Next(); p != nil; p = c.Next() {
		all = append(all, p)
	}
	return all
}

func TestSpliceContinuesNumbersTimesAndPictures(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		first, _ := newLayer(t, newInput(t, s, cdn.InputConfig{}, vp8), 0)
		layer := s.Tracks()[0].Layers()[0]
		cursor := layer.Live()
		for i := range uint16(10) {
			first.Write(time.Now(), frame(65530+i, 1000+uint32(i)*3000, i == 0, 0x7ffc+i), nil)
			time.Sleep(time.Second / 30)
		}
		in2 := newInput(t, s, cdn.InputConfig{}, vp8)
		second, b2 := newLayer(t, in2, 0)
		synctest.Wait()
		keyframes, _ := b2.counts()
		require.Equal(t, 1, keyframes, "a newcomer is asked for a keyframe")
		second.Write(time.Now(), frame(100, 777, false, 5), nil) // not a place to begin
		first.Write(time.Now(), frame(4, 1000+10*3000, false, 0x7ffc+10), nil)
		time.Sleep(time.Second / 30)
		second.Write(time.Now(), frame(101, 777+3000, true, 6), nil)
		first.Write(time.Now(), frame(5, 1000+11*3000, false, 0x7ffc+11), nil) // too late
		second.Write(time.Now(), frame(102, 777+6000, false, 7), nil)

		all := read(&cursor)
		require.Len(t, all, 13)
		for i, p := range all[1:] {
			require.Equal(t, all[i].Seq+1, p.Seq)
			require.InDelta(t, 3000, int64(p.Timestamp-all[i].Timestamp), 1)
			require.Equal(t, (pictureID(all[i])+1)&0x7fff, pictureID(p), "packet %d", i+1)
		}
		require.Equal(t, uint64(1), layer.Stats().Splices)
	})
}

func TestAStandbyWaitsForItsTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		in1 := newInput(t, s, cdn.InputConfig{Epoch: 1}, vp8)
		first, _ := newLayer(t, in1, 0)
		first.Write(time.Now(), frame(1, 0, true, 1), nil)
		in2 := newInput(t, s, cdn.InputConfig{Epoch: 2, Standby: true}, vp8)
		second, _ := newLayer(t, in2, 0)
		second.Write(time.Now(), frame(50, 0, true, 1), nil)
		c, _ := s.Input()
		require.Equal(t, uint64(1), c.Epoch, "the standby does not take over from a live input")
		in1.Close(cdn.ErrPeerLost)
		second.Write(time.Now(), frame(51, 3000, false, 2), nil)
		second.Write(time.Now(), frame(52, 6000, true, 3), nil)
		c, _ = s.Input()
		require.Equal(t, uint64(2), c.Epoch)
		require.ErrorIs(t, in1.Err(), cdn.ErrPeerLost)
		require.Equal(t, uint64(2), s.Tracks()[0].Layers()[0].Stats().Packets)
	})
}

func TestAThirdInputReplacesTheSpareOne(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		first, _ := newLayer(t, newInput(t, s, cdn.InputConfig{Epoch: 1}, vp8), 0)
		first.Write(time.Now(), frame(1, 0, true, 1), nil)
		spare := newInput(t, s, cdn.InputConfig{Epoch: 2}, vp8)
		newInput(t, s, cdn.InputConfig{Epoch: 3}, vp8)
		<-spare.Done()
		require.ErrorIs(t, spare.Err(), cdn.ErrSuperseded)
	})
}

// What a session still reads after its input was taken over from, or evicted,
// must not bring that input back: nobody would ever end it again.
func TestARemovedInputCannotComeBack(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		var video, audio []*cdn.LayerInput
		var inputs []*cdn.Input
		for i := range 3 {
			in := newInput(t, s, cdn.InputConfig{Epoch: uint64(i + 1)}, vp8, opus)
			v, _ := newLayer(t, in, 0)
			a, _ := newLayer(t, in, 1)
			inputs, video, audio = append(inputs, in), append(video, v), append(audio, a)
			if i != 1 { // the second is evicted before it has sent anything
				v.Write(time.Now(), frame(1, 0, true, 1), nil)
				a.Write(time.Now(), frame(1, 0, true, 1), nil)
			}
		}
		synctest.Wait()
		for _, in := range inputs[:2] {
			<-in.Done()
			require.ErrorIs(t, in.Err(), cdn.ErrSuperseded)
		}
		before := s.Tracks()[0].Layers()[0].Stats().Packets
		for i := range 2 {
			video[i].Write(time.Now(), frame(2, 3000, true, 2), nil)
			audio[i].Write(time.Now(), frame(2, 3000, true, 2), nil)
		}
		inputs[2].Close(cdn.ErrPeerLost) // nor when nobody is left
		for i := range 3 {
			video[i].Write(time.Now(), frame(3, 6000, true, 3), nil)
			audio[i].Write(time.Now(), frame(3, 6000, true, 3), nil)
		}
		require.Equal(t, before, s.Tracks()[0].Layers()[0].Stats().Packets)
		_, ok := s.Input()
		require.False(t, ok)

		last, _ := newLayer(t, newInput(t, s, cdn.InputConfig{Epoch: 4}, vp8, opus), 0)
		last.Write(time.Now(), frame(1, 0, true, 1), nil)
		require.Equal(t, before+1, s.Tracks()[0].Layers()[0].Stats().Packets)
	})
}

func TestTracksAreMatchedByKind(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		newInput(t, s, cdn.InputConfig{}, vp8, opus, cdn.TrackInfo{Kind: cdn.Audio, Codec: opus.Codec}).Close(nil)
		in := newInput(t, s, cdn.InputConfig{}, opus, vp8, opus)
		for i, want := range []int{1, 0, 2} {
			li, _ := newLayer(t, in, i)
			require.Same(t, s.Tracks()[want], li.Track())
		}
		require.Len(t, s.Tracks()[2].Layers(), 1, "a track without layers has one, without a name")
	})
}

func TestAnotherFormatCannotFollow(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		newInput(t, s, cdn.InputConfig{}, vp8, opus)
		in, err := s.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		other := vp8
		other.Codec.MimeType = "video/H264"
		require.ErrorIs(t, in.Start([]cdn.TrackInfo{other, opus}), cdn.ErrNoCommonCodec)
		require.ErrorIs(t, in.Start([]cdn.TrackInfo{vp8}), cdn.ErrNoCommonCodec)
		require.ErrorIs(t, in.Start(nil), cdn.ErrInvalid)
		_, err = in.Layer(7, "", &back{})
		require.ErrorIs(t, err, cdn.ErrInvalid)
	})
}

// An encrypted payload (SFrame) that no parser understands is forwarded all the
// same, and can be joined at any picture.
func TestOpaquePayloadIsForwarded(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		li, _ := newLayer(t, newInput(t, s, cdn.InputConfig{}, vp8), 0)
		layer := s.Tracks()[0].Layers()[0]
		cursor := layer.Live()
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range uint16(150) {
			payload := make([]byte, 100)
			for j := range payload {
				payload[j] = byte(rng.Uint32())
			}
			payload[0] = 0xff // a descriptor that means nothing
			payload[1] = 0xff
			sent := bytes.Clone(payload)
			li.Write(time.Now(), &rtp.Packet{Header: rtp.Header{SequenceNumber: i, Timestamp: uint32(i) * 3000}, Payload: payload}, nil)
			got := read(&cursor)
			require.Len(t, got, 1)
			require.Equal(t, sent, got[0].Payload)
			time.Sleep(time.Second / 30)
		}
		require.True(t, layer.Opening(time.Now()).Whole, "there is a place to begin")
	})
}

func TestPaddingAndDuplicatesAreDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		li, _ := newLayer(t, newInput(t, s, cdn.InputConfig{}, vp8), 0)
		layer := s.Tracks()[0].Layers()[0]
		cursor := layer.Live()
		padding := func(seq uint16) *rtp.Packet { return &rtp.Packet{Header: rtp.Header{SequenceNumber: seq}} }
		li.Write(time.Now(), frame(1, 0, true, 1), nil)
		li.Write(time.Now(), padding(2), nil)
		li.Write(time.Now(), frame(3, 3000, false, 2), nil)
		li.Write(time.Now(), frame(3, 3000, false, 2), nil)
		li.Write(time.Now(), frame(5, 9000, false, 4), nil)
		li.Write(time.Now(), frame(4, 6000, false, 3), nil)
		all := read(&cursor)
		require.Len(t, all, 4)
		var seqs []uint64
		for _, p := range all {
			seqs = append(seqs, p.Seq-all[0].Seq)
		}
		require.Equal(t, []uint64{0, 1, 3, 2}, seqs)
		st := layer.Stats()
		require.Equal(t, uint64(1), st.Duplicates)
		require.Equal(t, uint64(1), st.Padding)
	})
}

func TestMissingPacketsAreAskedForOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		li, b := newLayer(t, newInput(t, s, cdn.InputConfig{}, vp8), 0)
		li.Write(time.Now(), frame(1, 0, true, 1), nil)
		li.Write(time.Now(), frame(4, 9000, false, 4), nil)
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		_, nacks := b.counts()
		require.Equal(t, []uint16{2, 3}, nacks)
		li.Write(time.Now(), frame(2, 3000, false, 2), nil)
		li.Write(time.Now(), frame(3, 6000, false, 3), nil)
		time.Sleep(3 * time.Second)
		_, nacks = b.counts()
		require.Len(t, nacks, 2, "they came")
	})
}

func TestKeyframeRequestsAreArbitrated(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		li, b := newLayer(t, newInput(t, s, cdn.InputConfig{}, vp8), 0)
		li.Write(time.Now(), frame(1, 0, true, 1), nil)
		layer := s.Tracks()[0].Layers()[0]
		for range 100 {
			layer.RequestKeyframe()
		}
		synctest.Wait()
		got, _ := b.counts()
		require.Equal(t, 1, got)
		time.Sleep(1750 * time.Millisecond)
		got, _ = b.counts()
		require.Equal(t, 4, got, "repeated each half second while none comes")
		li.Write(time.Now(), frame(2, 3000, true, 2), nil)
		time.Sleep(5 * time.Second)
		again, _ := b.counts()
		require.Equal(t, got, again, "satisfied")
	})
}

func TestEndTellsEverybodyWhy(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		waiting := make(chan error, 1)
		go func() { waiting <- s.Ready(context.Background()) }()
		in, err := s.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		synctest.Wait()
		s.End(cdn.ErrPeerLost)
		s.End(cdn.ErrEnded)
		require.ErrorIs(t, <-waiting, cdn.ErrPeerLost)
		<-in.Done()
		require.ErrorIs(t, in.Err(), cdn.ErrPeerLost)
		require.ErrorIs(t, s.Err(), cdn.ErrPeerLost)
		_, err = s.NewInput(cdn.InputConfig{})
		require.ErrorIs(t, err, cdn.ErrPeerLost)
		require.Empty(t, n.Stats().Streams)
	})
}

func TestDumpIsRtpdump(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s := newStream(t, n)
		li, _ := newLayer(t, newInput(t, s, cdn.InputConfig{}, vp8), 0)
		var out bytes.Buffer
		done := make(chan error, 1)
		go func() { done <- s.Dump(context.Background(), &out, s.Tracks()[0].Layers()[0]) }()
		synctest.Wait()
		for i := range uint16(5) {
			li.Write(time.Now(), frame(i, uint32(i)*3000, i == 0, i), nil)
			time.Sleep(10 * time.Millisecond)
		}
		s.End(nil)
		require.NoError(t, <-done)
		r, _, err := rtpdump.NewReader(&out)
		require.NoError(t, err)
		for i := range 5 {
			dumped, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, time.Duration(i)*10*time.Millisecond, dumped.Offset)
			var p rtp.Packet
			require.NoError(t, p.Unmarshal(dumped.Payload))
			require.Equal(t, uint32(i)*3000, p.Timestamp)
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := cdntest.NewNetwork(t, cdntest.NetworkConfig{}).Host("node", cdntest.Path{})
		n, err := cdn.Listen(cdn.Config{
			Addr: host.IP().String() + ":7000", Net: host.Net(),
			Limits: cdn.Limits{Sessions: 1, Streams: 1, Tracks: 1, Layers: 1},
		})
		require.NoError(t, err)
		first := enter(t, n, cdn.AuthRequest{})
		_, err = tryEnter(t, n, cdn.AuthRequest{})
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		first.Leave(nil)
		first.Leave(nil)
		enter(t, n, cdn.AuthRequest{}).Leave(nil)
		s := newStream(t, n)
		_, err = n.NewStream("other")
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		in, err := s.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		require.ErrorIs(t, in.Start([]cdn.TrackInfo{vp8, opus}), cdn.ErrOverLimit)
		require.NoError(t, in.Start([]cdn.TrackInfo{vp8}))
		_, err = in.Layer(0, "another", &back{})
		require.ErrorIs(t, err, cdn.ErrOverLimit)
		require.NoError(t, n.Close())
		require.NoError(t, n.Close())
		_, err = n.NewStream("late")
		require.ErrorIs(t, err, cdn.ErrClosed)
		_, err = tryEnter(t, n, cdn.AuthRequest{})
		require.ErrorIs(t, err, cdn.ErrClosed)
	})
}

// A track whose text has a control character would add lines to descriptions.
func TestTextOfTracksIsOfOneLine(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		in, err := newStream(t, n).NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		for name, change := range map[string]func(t *cdn.TrackInfo, text string){
			"ID":        func(t *cdn.TrackInfo, text string) { t.ID = text },
			"codec":     func(t *cdn.TrackInfo, text string) { t.Codec.MimeType = "video/" + text },
			"fmtp":      func(t *cdn.TrackInfo, text string) { t.Codec.Fmtp = text },
			"extension": func(t *cdn.TrackInfo, text string) { t.Extensions = []string{text} },
			"layer":     func(t *cdn.TrackInfo, text string) { t.Layers = []string{text} },
		} {
			for _, bad := range []string{"a\x00b", "a\r\na=x:y", "a\n", "\x7f", "\u0085"} {
				info := vp8
				change(&info, bad)
				require.ErrorIs(t, in.Start([]cdn.TrackInfo{info}), cdn.ErrInvalid, "%s %q", name, bad)
			}
		}
		require.NoError(t, in.Start([]cdn.TrackInfo{vp8}))
	})
}

func TestBadConfigurationIsRefused(t *testing.T) {
	for _, c := range []cdn.Config{
		{Addr: "127.0.0.1"},
		{ID: "a, b"},
		{Addr: "nowhere.invalid:1"},
		{Addr: "127.0.0.1:0", PublicIPs: make([]netip.Addr, 1)},
	} {
		_, err := cdn.Listen(c)
		require.ErrorIs(t, err, cdn.ErrInvalid, "%+v", c)
	}
}

// Whether a stream has an input can be waited for, also once it has lost one.
func TestFed(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		s, err := n.NewStream("s")
		require.NoError(t, err)
		defer s.End(nil)
		fed := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return s.WaitInput(ctx)
		}
		require.ErrorIs(t, fed(), cdn.ErrTimeout)
		one, err := s.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		two, err := s.NewInput(cdn.InputConfig{})
		require.NoError(t, err)
		one.Close(nil)
		require.NoError(t, fed())
		two.Close(nil)
		require.ErrorIs(t, fed(), cdn.ErrTimeout)
		go func() {
			time.Sleep(time.Millisecond)
			_, _ = s.NewInput(cdn.InputConfig{})
		}()
		require.NoError(t, fed())
		s.End(cdn.ErrSuperseded)
		require.ErrorIs(t, fed(), cdn.ErrSuperseded)
	})
}
