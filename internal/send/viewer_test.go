package send

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

const ms = time.Millisecond

// A viewer is a receiver of a world's track, or a node.
type viewer struct {
	*sendtest.World
	*sendtest.Receiver
	layer  *sendtest.Layer // the first
	set    *Set
	sender *Sender
	joined time.Time
	clocks []rtcp.SenderReport
	onMode func(from, to mode, on event) // of the Config
}

// withViewer calls f with a viewer that has not joined.
func withViewer(t *testing.T, c sendtest.Config, f func(v *viewer)) {
	t.Helper()
	sendtest.Run(t, c, func(w *sendtest.World) {
		v := &viewer{World: w, Receiver: &sendtest.Receiver{}, layer: w.Layers[0]}
		w.Serve = v.serve
		f(v)
	})
}

// add makes the viewer's set and its one sender, of the first layer. Since nobody reports,
// the path says nothing, and the best layer is sent. Bursts leave at once, unless c has a
// StartRate: most tests serve a viewer with each frame, and not when it is due.
func (v *viewer) add(c Config) {
	if c.Policy == nil {
		c.Policy = func() allot.Policy { return &always{} }
	}
	c.onMode = v.onMode
	if c.StartRate == 0 {
		c.StartRate = -1
	}
	v.set = New(c)
	v.sender = v.set.Add(&Line{Track: v.Track, PT: 96, RTX: 97}, v.layer.Layer, "")
	v.sender.Bind(Output{To: v, SSRC: 1, RTX: 2})
}

// join has the viewer join, and serves it once.
func (v *viewer) join(c Config) {
	v.add(c)
	v.start()
}

// joinToCatchUp joins as a node that wants to catch up.
func (v *viewer) joinToCatchUp() {
	v.add(Config{Node: true})
	v.set.CatchUp()
	v.start()
}

func (v *viewer) start() {
	v.layer.Asked.Store(0)
	v.set.Start()
	synctest.Wait()
	v.joined = time.Now()
	v.serve()
}

// serve consumes, as a worker does.
func (v *viewer) serve() {
	if v.set == nil {
		return
	}
	for _, r := range v.set.Consume(time.Now(), nil) {
		v.clocks = append(v.clocks, *r.(*rtcp.SenderReport))
	}
}

// change calls f with the set's lock, and ends the steady state.
func (v *viewer) change(f func(s *Sender)) {
	v.set.change()
	defer v.set.mu.Unlock()
	f(v.sender)
}

// pause has the viewer wait for a keyframe, as when packets are lost.
func (v *viewer) pause() {
	v.change(func(s *Sender) { s.pause(time.Now(), time.Time{}, time.Now()) })
}

// switchTo has the viewer go over to a layer, and to no other until the test says so.
func (v *viewer) switchTo(to *sendtest.Layer) {
	v.change(func(s *Sender) {
		s.next.check = time.Now().Add(time.Hour)
		s.switchTo(to.Layer)
	})
}

func (v *viewer) want(yes bool) {
	v.change(func(s *Sender) { s.want(time.Now(), yes) })
	v.serve()
}

// says has the viewer send feedback.
func (v *viewer) says(packets ...rtcp.Packet) Outcome { return says(v.set, time.Now(), packets...) }

func says(s *Set, now time.Time, packets ...rtcp.Packet) Outcome {
	raw, err := rtcp.Marshal(packets)
	if err != nil {
		panic(err)
	}
	return s.HandleRTCP(now, raw)
}

// nack asks for one packet, and for what mask adds.
func nack(seq uint16, mask rtcp.PacketBitmap) *rtcp.TransportLayerNack {
	return &rtcp.TransportLayerNack{SenderSSRC: 9, MediaSSRC: 1, Nacks: []rtcp.NackPair{{PacketID: seq, LostPackets: mask}}}
}

// late returns how much later a packet came than its timestamp says, by the first packet.
func (v *viewer) late(p sendtest.Packet) time.Duration {
	first := v.Packets[0]
	return p.At.Sub(first.At) - ticks(p.Timestamp-first.Timestamp)
}

// ticks returns the time between two timestamps.
func ticks(n uint32) time.Duration { return time.Duration(int32(n)) * time.Second / 90000 }

// last returns the newest packet.
func (v *viewer) last() sendtest.Packet { return v.Packets[len(v.Packets)-1] }

// requireNoGap: nothing is missing.
func (v *viewer) requireNoGap() {
	v.Helper()
	for i, p := range v.Packets[1:] {
		require.Equal(v, v.Packets[i].SequenceNumber+1, p.SequenceNumber, "packet %d", i+1)
	}
}

// requireLive: nothing is missing, timestamps never go back and say that all was live
// when it came, and at the end it is, by the sender report too.
func (v *viewer) requireLive() {
	v.Helper()
	v.requireNoGap()
	for i, p := range v.Packets[1:] {
		require.GreaterOrEqual(v, int32(p.Timestamp-v.Packets[i].Timestamp), int32(0), "packet %d", i)
		require.InDelta(v, 0, v.late(p).Seconds(), 0.15, "packet %d", i)
	}
	last := v.last()
	require.Zero(v, v.Age(last))
	require.InDelta(v, 0, last.At.Sub(v.told(last)).Seconds(), 0.001, "sound and video stay together")
}

// told returns when a packet was captured, by the last sender report.
func (v *viewer) told(p sendtest.Packet) time.Time {
	clock := v.clocks[len(v.clocks)-1]
	seconds := float64(clock.NTPTime>>32) + float64(uint32(clock.NTPTime))/(1<<32) - 2208988800
	return time.Unix(0, int64(seconds*1e9)).Add(ticks(p.Timestamp - clock.RTPTime))
}

// requireRepairs: what is asked for again comes as it was.
func (v *viewer) requireRepairs(from, to int) {
	v.Helper()
	all := v.Packets
	for _, was := range all[from:to] {
		v.Packets = nil
		time.Sleep(60 * ms)
		v.says(nack(was.SequenceNumber, 0))
		require.NotEmpty(v, v.Packets, "number %d", was.SequenceNumber)
		require.Equal(v, was.Timestamp, v.Packets[0].Timestamp)
		require.Equal(v, was.Payload, v.Packets[0].Payload[2:])
	}
	v.Packets = all
}

// liveAfter returns how long the viewer took to have what is live.
func (v *viewer) liveAfter() time.Duration {
	for i := len(v.Packets) - 1; i >= 0; i-- {
		if p := v.Packets[i]; v.Age(p) > 40*ms {
			return p.At.Sub(v.joined)
		}
	}
	return 0
}
