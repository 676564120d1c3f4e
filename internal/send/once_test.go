package send

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/sendtest"
	"github.com/deltacdn/delta/internal/send/thin"
)

// Units of H.264. The slices begin their pictures.
var (
	unitSPS = []byte{0x67, 0x42, 0xc0, 0x0a, 0xd9, 0x02, 0x8d, 0xb0}
	unitPPS = []byte{0x68, 0xcb, 0x83, 0xcb, 0x20}
)

// aggregated is a packet of several units (STAP-A, RFC 6184 section 5.7.1).
func aggregated(units ...[]byte) []byte {
	b := []byte{0x78}
	for _, u := range units {
		b = append(b, byte(len(u)>>8), byte(len(u)))
		b = append(b, u...)
	}
	return b
}

// publish publishes a packet of H.264, of which the receiver's frame is the next.
func (v *viewer) publish(payload []byte) {
	v.layer.Input.Write(time.Now(), &rtp.Packet{
		Header: rtp.Header{
			Version: 2, Marker: true, SequenceNumber: uint16(v.layer.Next), Timestamp: uint32(3000 * v.layer.Next),
		},
		Payload: slices.Clone(payload),
	}, nil)
	v.layer.Next++
	time.Sleep(33 * ms)
	v.serve()
}

// Parameter sets that are cut out of a frame, and sent ahead of a later keyframe, are not that
// frame. A viewer without RTX that asks for either again gets what it was sent.
func TestCutOutParameterSetsAreRepairedAsSent(t *testing.T) {
	withViewer(t, sendtest.Config{Ring: cdn.RingConfig{Age: time.Second, GOP: time.Second}}, func(v *viewer) {
		mixed := aggregated(unitSPS, unitPPS, []byte{0x41, 0x9a, 1})
		sets := aggregated(unitSPS, unitPPS)
		v.add(Config{Start: Start{Mode: StartAsk}})
		v.sender.Bind(Output{To: v, SSRC: 1}) // without RTX
		v.set.Start()
		v.publish([]byte{0x65, 0x88, 1})
		v.publish(mixed)
		v.pause()
		v.publish([]byte{0x65, 0x88, 2})
		again := func(i int) (payloads [][]byte) {
			sent := v.Packets[i]
			from := len(v.Packets)
			v.says(nack(sent.SequenceNumber, 0))
			for _, p := range v.Packets[from:] {
				payloads = append(payloads, p.Payload)
			}
			return payloads
		}
		require.Equal(t, [][]byte{{0x65, 0x88, 1}, mixed, sets, {0x65, 0x88, 2}}, payloadsOf(v.Packets))
		require.Equal(t, [][]byte{sets}, again(2))
		for range 60 { // until the ring has lost the frame, and has the sets alone
			v.publish([]byte{0x41, 0x9a, 3})
		}
		require.Empty(t, again(1))
	})
}

func payloadsOf(packets []sendtest.Packet) (all [][]byte) {
	for _, p := range packets {
		all = append(all, p.Payload)
	}
	return all
}

// A chaos is a publisher, a policy and a receiver of which nothing is to be expected, and the
// network between them and the node.
type chaos struct {
	*viewer
	rnd     *rand.Rand
	sources []func(key bool) []func() // of each layer: the packets of its next frame, to be published
	late    []func()                  // packets that are on their way
	probes  uint32
}

// Choose implements allot.Policy: it is the viewer's policy, too.
func (c *chaos) Choose(v allot.View) allot.Choice {
	choice := allot.Choice{Rung: v.Rung, Doze: c.oneIn(4)}
	if c.oneIn(8) {
		choice.Rung, choice.Reason = c.rnd.IntN(len(v.Ladder)), allot.Reason(c.rnd.IntN(5))
	}
	if c.oneIn(10) {
		c.probes++
		choice.Probe.ID, choice.Probe.Rate, choice.Probe.Duration = c.probes, 1e6, 300*ms
	}
	return choice
}

func (c *chaos) oneIn(n int) bool { return c.rnd.IntN(n) == 0 }

// pictures returns a source of VP8 in three temporal layers.
func (c *chaos) pictures(l *sendtest.Layer) func(key bool) []func() {
	e := &encoder{viewer: &viewer{World: c.World, layer: l}, seq: uint16(c.rnd.Uint32())}
	return func(key bool) (packets []func()) {
		if c.oneIn(200) {
			e.seq += 5000 // the encoder began anew
		}
		e.encode(key)
		i := len(e.frames) - 1
		for at := range e.frames[i].packets {
			packets = append(packets, func() { e.publish(&e.frames[i], at) })
		}
		return packets
	}
}

// units returns a source of H.264, whose parameter sets come with any frame, or with none.
func (c *chaos) units(l *sendtest.Layer) func(key bool) []func() {
	seq, frame := uint16(c.rnd.Uint32()), uint32(0)
	return func(key bool) (packets []func()) {
		if c.oneIn(200) {
			seq += 5000
		}
		frame++
		kind := []byte{0x41, 0x41, 0x01}[c.rnd.IntN(3)] // some are of a frame that none refers to
		if key {
			kind = 0x65
		}
		first := []byte{kind, 0x88, byte(frame), byte(frame >> 8), 1}
		payloads := [][]byte{first}
		switch c.rnd.IntN(4) {
		case 0:
			payloads = [][]byte{aggregated(unitSPS, unitPPS, first)}
		case 1:
			payloads = [][]byte{unitSPS, unitPPS, first}
		}
		for at := range c.rnd.IntN(3) {
			payloads = append(payloads, []byte{kind, 0x08, byte(frame), byte(frame >> 8), byte(2 + at)})
		}
		if c.oneIn(10) {
			payloads = append(payloads, nil) // padding
		}
		for at, payload := range payloads {
			h := rtp.Header{Version: 2, Marker: at == len(payloads)-1, SequenceNumber: seq, Timestamp: 3000 * frame}
			packets = append(packets, func() {
				l.Input.Write(time.Now(), &rtp.Packet{Header: h, Payload: slices.Clone(payload)}, nil)
			})
			seq++
		}
		return packets
	}
}

// sound returns a source of packets of sound.
func (c *chaos) sound(l *sendtest.Layer) func(key bool) []func() {
	seq, frame := uint16(c.rnd.Uint32()), uint32(0)
	return func(bool) []func() {
		frame++
		seq++
		p := rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: 960 * frame},
			Payload: []byte{byte(frame), byte(frame >> 8), byte(c.rnd.Uint32())},
		}
		return []func(){func() { l.Input.Write(time.Now(), &p, nil) }}
	}
}

// join binds the receiver, mostly without RTX. Retransmitted packets then keep their sequence
// number.
func (c *chaos) join() {
	config := Config{
		Policy: func() allot.Policy { return c }, StartRate: -1, Node: c.oneIn(8),
		Start: Start{Mode: []StartMode{StartAsk, StartSnapshot, StartCatchUp}[c.rnd.IntN(3)]},
	}
	if c.oneIn(2) {
		config.StartRate = 300e3
	}
	if c.oneIn(3) {
		config.Playout = Playout{Delay: &PlayoutDelay{Max: time.Second}, Repairs: 500 * ms}
	}
	c.set = New(config)
	line := &Line{Track: c.Track, PT: 96, RTX: 97, Mid: "0"}
	if c.Track.Info().Kind == cdn.Audio && c.oneIn(2) {
		line.RED, line.OnLoss = 98, c.oneIn(2)
	}
	c.sender = c.set.Add(line, c.layer.Layer, "")
	out := Output{To: c, SSRC: 1, Extensions: map[string]uint8{uriMid: 1, uriPlayoutDelay: 2}}
	if c.oneIn(4) {
		out.RTX = 2
	}
	if c.oneIn(3) {
		out.Extensions[sdp.URITransportCC] = 3
	}
	c.sender.Bind(out)
	c.set.Start()
}

// deliver has the packets of the next frames come to the node, or some of them, and not in
// their order.
func (c *chaos) deliver() {
	for _, next := range c.sources {
		for _, packet := range next(c.oneIn(25)) {
			switch c.rnd.IntN(30) {
			case 0: // lost
			case 1, 2, 3:
				c.late = append(c.late, packet)
			case 4:
				packet()
				packet()
			default:
				packet()
			}
		}
	}
	for len(c.late) > 0 && c.oneIn(2) {
		i := c.rnd.IntN(len(c.late))
		c.late[i]()
		c.late = slices.Delete(c.late, i, i+1)
	}
}

// ask has the receiver ask for packets again, that it has or has not, and report.
func (c *chaos) ask() {
	if len(c.Packets) == 0 {
		return
	}
	newest := c.last().SequenceNumber
	n := &rtcp.TransportLayerNack{MediaSSRC: 1}
	for range 1 + c.rnd.IntN(8) {
		n.Nacks = append(n.Nacks, rtcp.NackPair{
			PacketID: newest - uint16(c.rnd.IntN(150)), LostPackets: rtcp.PacketBitmap(c.rnd.Uint32() & c.rnd.Uint32()),
		})
	}
	all := []rtcp.Packet{n}
	if c.oneIn(3) {
		all = append([]rtcp.Packet{&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{
			SSRC: 1, FractionLost: uint8(c.rnd.IntN(60)), LastSequenceNumber: uint32(newest),
		}}}}, all...)
	}
	if c.oneIn(20) {
		all = append(all, &rtcp.PictureLossIndication{MediaSSRC: 1})
	}
	c.says(all...)
}

// meddle does what others can do to a receiver.
func (c *chaos) meddle() {
	switch c.rnd.IntN(60) {
	case 0:
		c.pause()
	case 1, 2:
		c.change(func(s *Sender) { s.thin(thin.Level(c.rnd.IntN(5) - 1)) })
	case 3:
		to := c.Layers[c.rnd.IntN(len(c.Layers))].Layer
		c.change(func(s *Sender) { s.goOver(time.Now(), to) })
	case 4:
		c.Stall = 400 * ms // the node is behind
	case 5:
		time.Sleep(time.Duration(c.rnd.IntN(1500)) * ms)
	}
}

// Whatever a publisher, a policy, a receiver and the network do, no two different packets are
// ever sent under one number: the receiver panics if they are.
func TestOneNumberIsOnePacket(t *testing.T) {
	tracks := map[string]cdn.TrackInfo{
		"H264": sendtest.H264(), "VP8": sendtest.VP8(), "VP8 in layers": sendtest.VP8("h", "l"), "Opus": sendtest.Opus(),
	}
	for name, track := range tracks {
		for seed := range uint64(50) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 11))
				ring := cdn.RingConfig{}
				if rnd.IntN(2) == 0 {
					ring = cdn.RingConfig{Packets: 128, Age: 500 * ms, GOP: time.Second}
				}
				withViewer(t, sendtest.Config{Track: track, Ring: ring}, func(v *viewer) {
					c := &chaos{viewer: v, rnd: rnd}
					for _, l := range v.Layers {
						switch name {
						case "H264":
							c.sources = append(c.sources, c.units(l))
						case "Opus":
							c.sources = append(c.sources, c.sound(l))
						default:
							c.sources = append(c.sources, c.pictures(l))
						}
					}
					c.run()
				})
			})
		}
	}
}

// run plays for half a minute.
func (c *chaos) run() {
	for i := range 900 {
		c.deliver()
		if i == 20 {
			c.join()
		}
		if c.set == nil {
			time.Sleep(33 * ms)
			continue
		}
		if c.oneIn(3) { // also ahead of what has just come
			c.ask()
		}
		c.meddle()
		for range 3 {
			time.Sleep(11 * ms)
			c.serve()
		}
		if c.oneIn(3) {
			c.ask()
		}
	}
	require.Greater(c, len(c.Packets), 100)
}

// That the receiver would panic.
func TestAnotherPacketUnderOneNumberIsSeen(t *testing.T) {
	var s sendtest.Sealed
	header := []byte{0x80, 96, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1}
	s.Add(header, []byte{1})
	s.Add(header, []byte{1})
	require.Panics(t, func() { s.Add(header, []byte{2}) })
	header[1] |= 0x80
	require.Panics(t, func() { s.Add(header, []byte{1}) })
	header[2] = 0
	s.Add(header, []byte{2})
	header[11] = 2
	s.Add(header, []byte{3})
}
