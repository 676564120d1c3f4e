package send

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/ntp"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// losing has the viewer lose a packet each second, and report 100 ms of round trip.
func (v *viewer) losing(seconds int) {
	for range seconds {
		v.Play(time.Second)
		lost, r := v.Packets[len(v.Packets)-20], rtcp.ReceptionReport{SSRC: 1} // of 330 ms ago
		if n := len(v.clocks); n > 0 {
			sr := v.clocks[n-1]
			r.LastSenderReport = ntp.Middle(sr.NTPTime)
			since := time.Since(v.set.senders[0].reports.at) - 100*ms
			r.Delay = uint32(since * 65536 / time.Second)
		}
		v.says(nack(lost.SequenceNumber, 0), &rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{r}})
	}
}

// A viewer's player is told to wait for repairs while there are some, if that can be told, and
// within what the edge's user has set.
func TestHoldsBackForRepairs(t *testing.T) {
	const id = 5
	for name, c := range map[string]struct {
		config Config
		rtx    uint32
		id     uint8
		lost   []byte // what packets say once some are lost; nil: nothing
		clean  []byte // and long after
	}{
		"told":           {config: Config{Playout: Playout{Repairs: time.Second}}, rtx: 2, id: id, lost: delayBytes(180*ms, longestDelay), clean: delayBytes(0, longestDelay)},
		"not told":       {config: Config{}, rtx: 2, id: id},
		"without RTX":    {config: Config{Playout: Playout{Repairs: time.Second}}, id: id},
		"not negotiated": {config: Config{Playout: Playout{Repairs: time.Second}}, rtx: 2},
		"a node":         {config: Config{Playout: Playout{Repairs: time.Second}, Node: true}, rtx: 2, id: id},
		"at most":        {config: Config{Playout: Playout{Repairs: 70 * ms}}, rtx: 2, id: id, lost: delayBytes(70*ms, longestDelay), clean: delayBytes(0, longestDelay)},
		"within the edge's": {
			config: Config{Playout: Playout{Repairs: time.Second, Delay: &PlayoutDelay{Min: 50 * ms, Max: 100 * ms}}}, rtx: 2, id: id,
			lost: delayBytes(100*ms, 100*ms), clean: delayBytes(50*ms, 100*ms),
		},
		"at once": {
			config: Config{Playout: Playout{Repairs: time.Second, Delay: &PlayoutDelay{}}}, rtx: 2, id: id,
			lost: delayBytes(0, 0), clean: delayBytes(0, 0),
		},
	} {
		t.Run(name, func(t *testing.T) {
			withViewer(t, sendtest.Config{}, func(v *viewer) {
				v.add(c.config)
				v.sender.Bind(Output{To: v, SSRC: 1, RTX: c.rtx, Extensions: map[string]uint8{uriPlayoutDelay: c.id}})
				v.Play(time.Second, 0)
				v.set.CatchUp()
				v.start()
				v.losing(8)
				v.Play(time.Second)
				require.Equal(t, c.lost, extension(v.last(), id))
				if c.lost == nil {
					require.Zero(t, v.set.repairDelay(), "who cannot be told is not said to be")
				}
				for range 60 {
					v.Play(time.Second)
					v.says(&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: 1}}})
				}
				v.Play(time.Second)
				require.Equal(t, c.clean, extension(v.last(), id))
			})
		})
	}
}

// Two videos of a viewer have reports and counters of their own, and one repair of one of them
// is no lossy path.
func TestTwoVideosHoldBackTogether(t *testing.T) {
	const id = 5
	second := sendtest.VP8()
	second.ID = "screen"
	withViewer(t, sendtest.Config{Second: second}, func(v *viewer) {
		v.add(Config{Playout: Playout{Repairs: time.Second}})
		ids := map[string]uint8{uriPlayoutDelay: id}
		v.sender.Bind(Output{To: v, SSRC: 1, RTX: 2, Extensions: ids})
		screen := v.set.Add(&Line{Track: v.Stream.Tracks()[1], PT: 98}, v.Second[0].Layer, "")
		screen.Bind(Output{To: v, SSRC: 3, Extensions: ids}) // and no RTX
		v.Second[0].Off = false
		v.Play(time.Second, 0)
		v.set.CatchUp()
		v.start()
		told := func(ssrc uint32) []byte {
			for i := len(v.Packets) - 1; i >= 0; i-- {
				if v.Packets[i].SSRC == ssrc {
					return extension(v.Packets[i], id)
				}
			}
			return nil
		}
		report := func() {
			v.Play(500 * ms)
			v.says(&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: 3}}})
			v.Play(600 * ms)
			v.says(&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: 1}}})
		}
		v.losing(1)
		for range 10 {
			report()
		}
		require.Empty(t, told(1))
		v.losing(8)
		v.Play(time.Second)
		require.NotEmpty(t, told(1))
		require.Empty(t, told(3), "it is repaired by the same bytes")
	})
}

// What the node itself lacked was not lost on the viewer's path.
func TestWhatCameLateHoldsNothingBack(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.add(Config{Playout: Playout{Repairs: time.Second}})
		v.Play(time.Second, 0)
		v.start()
		v.losing(1)
		before := v.sender.repairs.budget.Answered()
		require.NotZero(t, before)
		v.change(func(s *Sender) {
			p := s.feed.layer.Newest()
			require.NotNil(t, p)
			s.repairs.owed = new(owed)
			s.repairs.owed.add(p.Seq)
			sent := len(v.Packets)
			s.repairOwed(time.Now(), p, s.numbers.Highest(), 1)
			require.Len(t, v.Packets, sent+1)
		})
		require.Equal(t, before, v.sender.repairs.budget.Answered())
	})
}

// Packets that overtake one another are asked for, and come by themselves: they need no repair, as
// the reports say, and nothing is held back for one.
func TestOvertakenPacketsHoldNothingBack(t *testing.T) {
	const id, each = 5, 12
	for name, lost := range map[string]uint8{"overtaken": 0, "lost": 255 * each / 30} {
		t.Run(name, func(t *testing.T) {
			withViewer(t, sendtest.Config{}, func(v *viewer) {
				v.add(Config{Playout: Playout{Repairs: time.Second}})
				v.sender.Bind(Output{To: v, SSRC: 1, RTX: 2, Extensions: map[string]uint8{uriPlayoutDelay: id}})
				v.Play(time.Second, 0)
				v.start()
				v.losing(1)
				for range 8 {
					v.Play(time.Second)
					for n := range uint16(each) {
						v.says(nack(v.Packets[len(v.Packets)-25].SequenceNumber+n, 0))
					}
					v.says(&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: 1, FractionLost: lost}}})
				}
				v.Play(time.Second)
				require.GreaterOrEqual(t, v.sender.repairs.budget.Answered(), uint64(4*each))
				require.Equal(t, lost > 0, v.set.repairDelay() > 0)
			})
		})
	}
}

// What a probe repeats is no repair: nothing of it was lost.
func TestProbesHoldNothingBack(t *testing.T) {
	const id = 5
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.add(Config{Playout: Playout{Repairs: time.Second}})
		v.sender.Bind(Output{To: v, SSRC: 1, RTX: 2, Extensions: map[string]uint8{uriPlayoutDelay: id}})
		v.Play(time.Second, 0)
		v.start()
		v.losing(1)
		for range 10 {
			sent := len(v.Packets)
			v.change(func(s *Sender) {
				for range 10 {
					s.repeat(time.Now())
				}
			})
			require.Greater(t, len(v.Packets), sent)
			v.Play(time.Second)
			v.says(&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: 1}}})
		}
		require.Nil(t, extension(v.last(), id))
	})
}

func extension(p sendtest.Packet, id uint8) []byte { return p.GetExtension(id) }

func delayBytes(least, most time.Duration) []byte {
	b := PlayoutDelay{Min: least, Max: most}.bytes()
	return b[:]
}

// The publisher's playout delay gives way to ours, and comes again.
func TestThePublishersPlayoutDelay(t *testing.T) {
	track := sendtest.H264()
	track.Extensions = []string{uriPlayoutDelay}
	withViewer(t, sendtest.Config{Track: track}, func(v *viewer) {
		const id = 5
		published := []byte{1, 2, 3}
		says := func() []byte {
			v.change(func(s *Sender) {
				s.fill(&cdn.Packet{Extensions: append([]byte{1, 3}, published...), Payload: []byte{1}}, &source{}, s.numbers.Highest(), 0, false)
			})
			h := sendtest.ReadHeader(v.sender.wire.header)
			require.LessOrEqual(t, len(h.GetExtensionIDs()), 1)
			return h.GetExtension(id)
		}
		v.add(Config{Playout: Playout{Repairs: time.Second}})
		v.sender.Bind(Output{To: v, SSRC: 1, RTX: 2, Extensions: map[string]uint8{uriPlayoutDelay: id}})
		v.Play(time.Second, 0)
		v.start()
		require.Equal(t, published, says())
		v.losing(8)
		require.Equal(t, delayBytes(180*ms, longestDelay), says())
		for range 60 {
			v.Play(time.Second)
			v.says(&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: 1}}})
		}
		require.Equal(t, published, says())
	})
}
