package send

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/send/budget"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// withPictureID publishes a VP8 frame with a 15-bit picture ID.
func withPictureID(l *sendtest.Layer, id uint16, key bool) {
	inter := byte(1)
	if key {
		inter = 0
	}
	l.Packet(true, 0x90, 0x80, 0x80|byte(id>>8), byte(id), inter, 0, 0, 9, 9, 9)
	l.Next++
}

// What is sent again is what was sent, whatever was switched to since.
func TestRepairsAfterSwitches(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8("h", "l")}, func(v *viewer) {
		high, low := v.Layers[0], v.Layers[1]
		v.add(Config{Layer: "h"})
		v.sender.Bind(Output{To: v, SSRC: 1}) // without RTX
		v.set.Start()
		withPictureID(high, 1000, true)
		withPictureID(high, 1001, false)
		v.serve()
		v.change(func(s *Sender) { s.switchTo(low.Layer) })
		withPictureID(low, 5000, true)
		withPictureID(low, 5001, false)
		v.serve()
		v.change(func(s *Sender) { s.switchTo(high.Layer) })
		withPictureID(high, 1002, true)
		v.serve()
		require.Len(t, v.Packets, 5)
		time.Sleep(5 * ms) // a packet this young is not repaired
		for i, was := range v.Packets {
			v.Packets = nil
			v.says(nack(was.SequenceNumber, 0))
			require.NotEmpty(t, v.Packets)
			require.Equal(t, was.Payload, v.Packets[0].Payload, "packet %d", i)
			require.Equal(t, was.Header, v.Packets[0].Header)
		}
	})
}

// Repairs cost at most a quarter of the media, the media of the opening, and the burst.
func TestRepairsAreBounded(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
		v.join(Config{})
		media, opening, repairs, begun := 0, 0, 0, time.Now()
		for frame := range 10_000 {
			time.Sleep(ms)
			now := time.Now()
			v.layer.Packet(true, append([]byte{0x10, 0}, make([]byte, 1196)...)...)
			v.layer.Next++
			v.serve()
			if frame > 100 && len(v.Packets) > 0 {
				says(v.set, now.Add(60*ms),
					&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 1, FractionLost: 30}}},
					nack(v.Packets[0].SequenceNumber, 0xffff),
				)
			}
			for _, p := range v.Packets {
				n := p.MarshalSize() + len(p.Payload) + sendtest.Tag
				switch {
				case p.SSRC == 2:
					repairs += n
				case now.Sub(begun) <= time.Second:
					opening += n
				default:
					media += n
				}
			}
			v.Packets = v.Packets[:0]
		}
		require.Positive(t, repairs)
		require.LessOrEqual(t, repairs, 32*1200+opening+media/4+100)
		require.Greater(t, repairs, media/5, "the budget is used")
	})
}

// asks has the viewer ask for packets, by the place of each in its list, in one NACK.
func asks(all []sendtest.Packet, which ...int) *rtcp.TransportLayerNack {
	n := nack(all[which[0]].SequenceNumber, 0)
	for _, i := range which[1:] {
		n.Nacks = append(n.Nacks, rtcp.NackPair{PacketID: all[i].SequenceNumber})
	}
	return n
}

// repaired returns which packets of a list were sent again, in order, and forgets them.
func (v *viewer) repaired(all []sendtest.Packet) (which []int) {
	for _, p := range v.Packets {
		require.Equal(v, uint32(2), p.SSRC)
		for i, was := range all {
			if was.SequenceNumber == uint16(p.Payload[0])<<8|uint16(p.Payload[1]) {
				which = append(which, i)
			}
		}
	}
	v.Packets = nil
	return which
}

// watchFor has a viewer get frames of a packet each for a time, and returns them.
func (v *viewer) watchFor(d time.Duration) []sendtest.Packet {
	v.join(Config{})
	v.Play(d, 0)
	all := v.Packets
	v.Packets = nil
	return all
}

// What is asked for the first time goes ahead of what is asked for again, in one NACK, in
// one compound packet, and in all that came while the sender was busy.
func TestFirstRequestsGoAhead(t *testing.T) {
	for name, ask := range map[string]func(v *viewer, all []sendtest.Packet){
		"one NACK":  func(v *viewer, all []sendtest.Packet) { v.says(asks(all, 0, 1, 2, 3, 4, 5)) },
		"two NACKs": func(v *viewer, all []sendtest.Packet) { v.says(asks(all, 0, 1, 3), asks(all, 4, 2, 5)) },
		"while the sender is busy": func(v *viewer, all []sendtest.Packet) {
			v.set.inbox.open()
			v.says(asks(all, 0, 1))
			v.says(asks(all, 3, 2))
			v.says(asks(all, 4, 5))
			v.set.mu.Lock()
			v.set.drainInbox(time.Now())
			v.set.mu.Unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
				all := v.watchFor(2 * time.Second)
				v.says(asks(all, 0, 1, 3))
				require.Equal(t, []int{0, 1, 3}, v.repaired(all))
				time.Sleep(60 * ms)
				ask(v, all)
				which := v.repaired(all)
				require.ElementsMatch(t, []int{2, 4, 5}, which[:3])
				require.ElementsMatch(t, []int{0, 0, 1, 1, 3, 3}, which[3:])
			})
		})
	}
}

// However often a viewer asks for everything that it has ever missed, a packet that it
// misses now is sent.
func TestRepeatsDoNotStarveFirstRequests(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8(), FrameTime: 3 * ms}, func(v *viewer) {
		v.join(Config{})
		media, repairs := 0, 0
		var missed []sendtest.Packet
		for frame := range 3000 {
			time.Sleep(3 * ms)
			v.layer.Packet(true, append([]byte{0x10, 0}, make([]byte, 1196)...)...)
			v.layer.Next++
			v.serve()
			newest := v.last()
			media += len(newest.Payload)
			v.Packets = nil
			if frame%12 == 5 {
				missed = append(missed, newest)
			}
			if frame < 400 || frame%33 != 0 {
				continue
			}
			for len(missed) > 0 && newest.SequenceNumber-missed[0].SequenceNumber > 512 {
				missed = missed[1:]
			}
			n := &rtcp.TransportLayerNack{SenderSSRC: 9, MediaSSRC: 1}
			var fresh []uint16
			for i, p := range missed {
				n.Nacks = append(n.Nacks, rtcp.NackPair{PacketID: p.SequenceNumber})
				if newest.SequenceNumber-missed[i].SequenceNumber < 33 {
					fresh = append(fresh, p.SequenceNumber)
				}
			}
			time.Sleep(60 * ms)
			v.says(n)
			for _, seq := range fresh {
				require.True(t, contains(v.Packets, seq), "frame %d", frame)
			}
			for _, p := range v.Packets {
				repairs += len(p.Payload)
			}
			v.Packets = nil
		}
		require.Less(t, repairs, media/4+32*1200)
	})
}

// contains reports whether number seq was sent again.
func contains(all []sendtest.Packet, seq uint16) bool {
	for _, p := range all {
		if p.SSRC == 2 && uint16(p.Payload[0])<<8|uint16(p.Payload[1]) == seq {
			return true
		}
	}
	return false
}

// Nothing is repeated within the present round trip, even if that was shorter before.
func TestNoRepeatWithinARoundTrip(t *testing.T) {
	for name, c := range map[string]struct {
		first, later time.Duration
	}{
		"as always": {80 * ms, 80 * ms},
		"it grew":   {80 * ms, 400 * ms},
		"it shrank": {400 * ms, 80 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
				all := v.watchFor(2 * time.Second)
				v.change(func(s *Sender) {
					for i := range 12 {
						d := c.later
						if i == 0 {
							d = c.first
						}
						s.reports.measured(d)
						s.repairs.budget.Measured(d)
					}
				})
				v.says(asks(all, 7))
				require.Equal(t, []int{7}, slices.Compact(v.repaired(all)))
				time.Sleep(c.later * 9 / 10)
				v.says(asks(all, 7))
				require.Empty(t, v.repaired(all))
				time.Sleep(c.later / 10)
				v.says(asks(all, 7))
				require.NotEmpty(t, v.repaired(all))
			})
		})
	}
}

// A viewer whose reports say that nothing was lost, though it asks for much, asks too
// early. Then a packet is not repaired at once, but when it is asked for again.
func TestRequestsForPacketsThatAreLate(t *testing.T) {
	for _, lost := range []uint8{0, 64} {
		withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
			all := v.watchFor(2 * time.Second)
			v.change(func(s *Sender) { s.reports.measured(80 * ms) })
			var repaired int
			for i := range 200 {
				v.Play(30 * ms)
				all = append(all, v.Packets...)
				v.Packets = nil
				if i%10 == 9 {
					v.set.Handle(time.Now(), feedback.Message{Kind: feedback.Report, SSRC: 1, Lost: lost})
				}
				time.Sleep(81*ms - time.Since(all[len(all)-1].At))
				v.says(asks(all, len(all)-1))
				repaired += len(v.repaired(all))
			}
			early := asks(all, len(all)-1)
			v.says(early)
			if lost > 0 {
				require.Greater(t, repaired, 120)
				return
			}
			require.Less(t, repaired, 60)
			require.Empty(t, v.Packets)
			time.Sleep(80 * ms)
			v.says(early)
			require.Len(t, v.repaired(all), 1)
		})
	}
}

// A request that comes in less than a round trip, as it was measured, is for a packet that was lost:
// receivers are slow with their reports at times. But one that came late may be on its way.
func TestRequestsWithinTheMeasuredRoundTrip(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
		all := v.watchFor(2 * time.Second)
		v.change(func(s *Sender) { s.reports.measured(80 * ms) })
		v.Play(time.Second)
		all, v.Packets = append(all, v.Packets...), nil
		last := len(all) - 1
		time.Sleep(70*ms - time.Since(all[last].At))
		v.says(asks(all, last))
		require.Equal(t, []int{last}, v.repaired(all))

		newest := v.layer.Layer.Newest()
		come := func(ahead ...uint16) {
			for _, n := range ahead {
				v.layer.Input.Write(time.Now(), &rtp.Packet{
					Header: rtp.Header{
						Version: 2, Marker: true, SequenceNumber: uint16(newest.Seq) + n, Timestamp: uint32(newest.Timestamp) + 3000*uint32(n),
					},
					Payload: []byte{0x10, 1, 0, 0, 0, 0},
				}, nil)
			}
			v.serve()
		}
		come(6)
		time.Sleep(30 * ms)
		v.Packets = nil
		come(1, 4, 5)
		all, v.Packets = v.Packets, nil
		require.Len(t, all, 3)
		time.Sleep(70 * ms)
		v.says(asks(all, 0, 1, 2))
		require.Empty(t, v.repaired(all))
		time.Sleep(11 * ms)
		v.says(asks(all, 0, 1, 2))
		require.Equal(t, []int{0, 1, 2}, v.repaired(all))
	})
}

// What may be repaired is what the path carries beside media and repairs, of all senders.
func TestRepairRoom(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
		all := v.watchFor(2 * time.Second)
		other := v.set.Add(&Line{Track: v.Track, PT: 96}, v.layer.Layer, "")
		other.Bind(Output{To: v, SSRC: 3})
		room := func(rate float64) float64 {
			v.set.mu.Lock()
			defer v.set.mu.Unlock()
			return v.set.repairRoom(time.Now(), rate)
		}
		require.Equal(t, budget.Unknown, room(0))
		before := room(1e6)
		packet := float64(rtpLen(all[3]))
		require.InDelta(t, 1e6/8-30*packet, before, 5*packet)
		v.says(asks(all, 3))
		require.Len(t, v.Packets, 1)
		repaired := float64(rtpLen(v.Packets[0]))
		require.InDelta(t, before-repaired, room(1e6), repaired/7)
		other.repairs.budget.Sent(time.Now(), 1000)
		require.InDelta(t, before-repaired-1000, room(1e6), (1000+repaired)/7)
	})
}

// rtpLen is the length of a packet as it was sent.
func rtpLen(p sendtest.Packet) int { return p.MarshalSize() + len(p.Payload) + sendtest.Tag }
