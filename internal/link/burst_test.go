package link

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/service"
)

// A counter counts the packets of a layer, and how often it was woken for some.
type counter struct {
	cursor     cdn.Cursor
	wakes, got atomic.Int64
}

func (c *counter) Consume() {
	n := int64(0)
	for c.cursor.Next() != nil {
		n++
	}
	if n > 0 {
		c.wakes.Add(1)
		c.got.Add(n)
	}
}

// One has one stream.
type one struct{ stream *cdn.Stream }

func (o one) Open(context.Context, cdn.Request) (*cdn.Subscription, error) {
	return cdn.NewSubscription(o.stream, func() {}), nil
}

type noFeedback struct{}

func (noFeedback) RequestKeyframe() {}
func (noFeedback) Nack([]uint16)    {}

// realLinks returns those of a node on one of the system's ports.
func realLinks(t *testing.T, name string) *Links {
	n, err := cdn.Listen(cdn.Config{ID: cdn.NodeID(name), Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	ls, err := service.Shared(n.Internal(), func() (*Links, error) { return New(n) })
	require.NoError(t, err)
	return ls
}

// publishedAt returns a stream of one node, and its one layer's input.
func publishedAt(t *testing.T, n *cdn.Node) (*cdn.Stream, *cdn.LayerInput) {
	stream, err := n.NewStream("s")
	require.NoError(t, err)
	in, err := stream.NewInput(cdn.InputConfig{})
	require.NoError(t, err)
	require.NoError(t, in.Start([]cdn.TrackInfo{{ID: "v", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}}}))
	layer, err := in.Layer(0, "", noFeedback{})
	require.NoError(t, err)
	return stream, layer
}

// A frame whose packets come together travels as one burst: those who receive the
// stream behind the link are woken once for what the node's reader finds there, and
// not once for each packet.
func TestABurstStaysWholeOnALink(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has calls for many datagrams")
	}
	from, to := realLinks(t, "one"), realLinks(t, "two")
	stream, input := publishedAt(t, from.node)
	from.Serve(one{stream})
	const bursts, packets = 50, 9
	seq := uint16(0)
	publish := func(frame int) {
		var together cdn.Arrivals
		for i := range packets {
			payload := make([]byte, 1100)
			if i == 0 {
				payload[0] = 0x10 // a frame begins, and it is a keyframe (RFC 7741 section 4)
			}
			seq++
			together.Write(input, time.Now(), &rtp.Packet{Header: rtp.Header{
				Version: 2, SequenceNumber: seq, Timestamp: uint32(3000 * frame), Marker: i == packets-1,
			}, Payload: payload}, nil)
		}
		together.Flush()
	}
	publish(0)

	there, err := to.node.NewStream("s")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	fetched := make(chan error, 1)
	go func() {
		fetched <- to.Fetch(ctx, cdn.Entry{URL: "one"}, FetchConfig{
			Request: cdn.Request{Stream: "s"}, Dialer: wires{to: map[string]*Links{"one": from}}, Silence: time.Minute,
		}, there)
	}()
	if err := there.Ready(ctx); err != nil {
		select {
		case why := <-fetched:
			t.Fatal(why)
		default:
			t.Fatal(err)
		}
	}
	layer := there.Tracks()[0].Layers()[0]
	c := &counter{cursor: layer.Live()}
	detach := there.Attach(c)
	for i := range bursts {
		publish(i + 1)
		require.Eventually(t, func() bool { return c.got.Load() >= int64(packets*(i+1)) }, 20*time.Second, 100*time.Microsecond)
	}
	t.Logf("%d wakes for %d bursts of %d packets", c.wakes.Load(), bursts, packets)
	require.Less(t, c.wakes.Load(), 2*c.got.Load()/packets)
	detach()
	cancel()
	<-fetched
}
