package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/cdn"
)

// tone is a service of this program's own, beside origins, relays and edges: a Source
// of one stream, for which it makes the packets itself. A gateway from another protocol
// would look the same.
type tone struct {
	node      *cdn.Node
	stream    *cdn.Stream
	layer     *cdn.LayerInput
	admission *cdn.Admission
	retract   func()
	end       context.CancelCauseFunc
	wg        sync.WaitGroup
}

var _ cdn.Source = (*tone)(nil)

func newTone(ctx context.Context, n *cdn.Node, id cdn.StreamID) (*tone, error) {
	a, err := n.Authorize(ctx, cdn.AuthRequest{Action: cdn.ActionPublish, Stream: id})
	if err != nil {
		return nil, err
	}
	if ctx, err = a.Enter(ctx); err != nil {
		return nil, err
	}
	t := &tone{node: n, admission: a}
	if err := t.publish(id); err != nil {
		a.Leave(err)
		return nil, err
	}
	ctx, t.end = context.WithCancelCause(context.WithoutCancel(ctx))
	t.wg.Go(func() { t.run(ctx) })
	a.Start(t.end)
	n.Own(t) // Close of the node closes it
	return t, nil
}

// publish makes a stream with one track, and announces it.
func (t *tone) publish(id cdn.StreamID) (err error) {
	if t.stream, err = t.node.NewStream(id); err != nil {
		return err
	}
	in, err := t.stream.NewInput(cdn.InputConfig{Publication: "tone", Epoch: 1})
	if err == nil {
		err = in.Start([]cdn.TrackInfo{{ID: "tone", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}}})
	}
	if err == nil {
		t.layer, err = in.Layer(0, "", deaf{})
	}
	if err != nil {
		t.stream.End(err)
		return err
	}
	t.retract = t.node.Announce(t.stream, cdn.Entry{Publication: "tone", Epoch: 1}, func() {})
	return nil
}

// run sends 50 packets of silence a second.
func (t *tone) run(ctx context.Context) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	p := rtp.Packet{Header: rtp.Header{Version: 2, Marker: true}, Payload: []byte{0xf8, 0xff, 0xfe}}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			p.SequenceNumber++
			p.Timestamp += 960
			t.layer.Write(now, &p, nil)
		}
	}
}

// Open implements cdn.Source.
func (t *tone) Open(_ context.Context, r cdn.Request) (*cdn.Subscription, error) {
	if r.Stream != t.stream.ID() {
		return nil, &cdn.Error{Op: "open", Stream: r.Stream, Err: cdn.ErrNotFound}
	}
	return cdn.NewSubscription(t.stream, nil), nil
}

// Close ends the stream.
func (t *tone) Close() error {
	t.end(cdn.ErrClosed)
	t.wg.Wait()
	t.retract()
	t.stream.End(cdn.ErrClosed)
	t.admission.Leave(cdn.ErrClosed)
	return nil
}

// deaf cannot be asked for anything: there are no keyframes of sound, and nothing is
// lost on the way here.
type deaf struct{}

func (deaf) RequestKeyframe() {}
func (deaf) Nack([]uint16)    {}

// meter is another service: it reads a stream of any Source packet by packet.
type meter struct {
	cursor  cdn.Cursor // owned by Consume
	packets atomic.Int64
	enough  chan struct{}
}

const enough = 25

// listen waits until so many packets of a stream have come.
func listen(ctx context.Context, source cdn.Source, id cdn.StreamID) error {
	sub, err := source.Open(ctx, cdn.Request{Stream: id})
	if err != nil {
		return err
	}
	defer sub.Close()
	s := sub.Stream()
	if err := s.Ready(ctx); err != nil {
		return err
	}
	layer := s.Tracks()[0].Layers()[0]
	defer layer.Demand()()
	m := &meter{cursor: layer.Live(), enough: make(chan struct{})}
	defer s.Attach(m)()
	select {
	case <-m.enough:
		return nil
	case <-s.Done():
		return s.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Consume implements cdn.Consumer.
func (m *meter) Consume() {
	for p := m.cursor.Next(); p != nil; p = m.cursor.Next() {
		if m.packets.Add(1) == enough {
			close(m.enough)
		}
	}
}
