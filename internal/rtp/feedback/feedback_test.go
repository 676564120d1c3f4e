package feedback

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

// A found is a message with the numbers that are missing.
type found struct {
	Message
	numbers []uint16
}

func all(compound []byte) (all []found) {
	r := Read(compound)
	for m, ok := r.Next(); ok; m, ok = r.Next() {
		one := found{Message: m}
		m.Missing.Range(func(seq uint16) bool {
			one.numbers = append(one.numbers, seq)
			return true
		})
		if m.Missing.Count() != len(one.numbers) {
			panic("the numbers are miscounted")
		}
		one.Missing = nil
		all = append(all, one)
	}
	return all
}

// reference returns what pion has read in the same form.
func reference(packets []rtcp.Packet) (all []found) {
	add := func(m Message, numbers ...uint16) { all = append(all, found{m, numbers}) }
	reports := func(blocks []rtcp.ReceptionReport) {
		for _, b := range blocks {
			add(Message{Kind: Report, SSRC: b.SSRC, Lost: b.FractionLost, Highest: b.LastSequenceNumber, Jitter: b.Jitter, LastSR: b.LastSenderReport, Delay: b.Delay})
		}
	}
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			add(Message{Kind: SenderReport, SSRC: p.SSRC, NTP: p.NTPTime, RTP: p.RTPTime})
			reports(p.Reports)
		case *rtcp.ReceiverReport:
			reports(p.Reports)
		case *rtcp.PictureLossIndication:
			add(Message{Kind: Keyframe, SSRC: p.MediaSSRC})
		case *rtcp.FullIntraRequest:
			for _, e := range p.FIR {
				add(Message{Kind: Keyframe, SSRC: e.SSRC})
			}
		case *rtcp.TransportLayerNack:
			var numbers []uint16
			for _, pair := range p.Nacks {
				numbers = append(numbers, pair.PacketList()...)
			}
			add(Message{Kind: Nack, SSRC: p.MediaSSRC}, numbers...)
		case *rtcp.TransportLayerCC:
			raw, err := p.Marshal()
			if err != nil {
				panic(err)
			}
			add(Message{Kind: Arrivals, SSRC: p.MediaSSRC, Packet: raw})
		case *rtcp.ReceiverEstimatedMaximumBitrate:
			add(Message{Kind: Estimate, Bitrate: float64(p.Bitrate)})
		case *rtcp.ExtendedReport:
			for _, b := range p.Reports {
				if t, ok := b.(*rtcp.ReceiverReferenceTimeReportBlock); ok {
					add(Message{Kind: Time, SSRC: p.SenderSSRC, NTP: t.NTPTimestamp})
				}
			}
		}
	}
	return all
}

// random returns a compound packet of what viewers send, and other packets.
func random(r *rand.Rand) (all []rtcp.Packet) {
	ssrc := func() uint32 { return 1 + r.Uint32N(1<<31) }
	reports := func() (all []rtcp.ReceptionReport) {
		for range r.IntN(4) {
			all = append(all, rtcp.ReceptionReport{
				SSRC: ssrc(), FractionLost: uint8(r.Uint32()), TotalLost: r.Uint32N(1 << 23), LastSequenceNumber: r.Uint32(),
				Jitter: r.Uint32(), LastSenderReport: r.Uint32(), Delay: r.Uint32(),
			})
		}
		return all
	}
	for range 1 + r.IntN(6) {
		var p rtcp.Packet
		switch r.IntN(11) {
		case 0:
			p = &rtcp.SenderReport{SSRC: ssrc(), NTPTime: r.Uint64(), RTPTime: r.Uint32(), Reports: reports()}
		case 1, 2:
			p = &rtcp.ReceiverReport{SSRC: ssrc(), Reports: reports()}
		case 3:
			p = &rtcp.PictureLossIndication{SenderSSRC: ssrc(), MediaSSRC: ssrc()}
		case 4:
			fir := &rtcp.FullIntraRequest{SenderSSRC: ssrc(), MediaSSRC: ssrc()}
			for range 1 + r.IntN(3) {
				fir.FIR = append(fir.FIR, rtcp.FIREntry{SSRC: ssrc(), SequenceNumber: uint8(r.Uint32())})
			}
			p = fir
		case 5:
			nack := &rtcp.TransportLayerNack{SenderSSRC: ssrc(), MediaSSRC: ssrc()}
			for range 1 + r.IntN(4) {
				nack.Nacks = append(nack.Nacks, rtcp.NackPair{PacketID: uint16(r.Uint32()), LostPackets: rtcp.PacketBitmap(r.Uint32())})
			}
			p = nack
		case 6:
			p = &rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: ssrc(), Bitrate: float32(r.Uint32N(1 << 30)), SSRCs: []uint32{ssrc()}}
		case 7:
			p = &rtcp.ExtendedReport{SenderSSRC: ssrc(), Reports: []rtcp.ReportBlock{
				&rtcp.DLRRReportBlock{Reports: []rtcp.DLRRReport{{SSRC: ssrc()}}},
				&rtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: r.Uint64()},
			}}
		case 8:
			p = &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
				Source: ssrc(), Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "viewer"[:r.IntN(7)]}},
			}}}
		case 9:
			p = arrivals(r, ssrc())
		default:
			p = &rtcp.Goodbye{Sources: []uint32{ssrc()}}
		}
		all = append(all, p)
	}
	return all
}

// What pion reads in a compound packet is read here, too, and nothing else.
func TestAgreesWithPion(t *testing.T) {
	for seed := range uint64(20_000) {
		raw, err := rtcp.Marshal(random(rand.New(rand.NewPCG(seed, 1))))
		require.NoError(t, err)
		packets, err := rtcp.Unmarshal(raw)
		require.NoError(t, err)
		require.Equal(t, reference(packets), all(raw), seed)
	}
}

// arrivals returns transport-wide feedback on a run of packets that have arrived. Most have
// padding.
func arrivals(r *rand.Rand, ssrc uint32) rtcp.Packet {
	n := uint16(1 + r.IntN(20))
	cc := &rtcp.TransportLayerCC{
		SenderSSRC: ssrc, MediaSSRC: ssrc + 1, BaseSequenceNumber: uint16(r.Uint32()), PacketStatusCount: n,
		ReferenceTime: r.Uint32N(1 << 24), FbPktCount: uint8(r.Uint32()),
		PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: n}},
	}
	for range n {
		cc.RecvDeltas = append(cc.RecvDeltas, &rtcp.RecvDelta{Type: rtcp.TypeTCCPacketReceivedSmallDelta, Delta: 250 * r.Int64N(256)})
	}
	size := cc.MarshalSize()
	cc.Header = rtcp.Header{Padding: (22+n)%4 != 0, Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: uint16(size/4 - 1)}
	return cc
}

var report = []byte{0x80, 201, 0, 1, 0, 0, 0, 1} // of nothing

func TestOddities(t *testing.T) {
	pli := []byte{0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7}
	wanted := []found{{Message: Message{Kind: Keyframe, SSRC: 7}}}
	for name, c := range map[string]struct {
		packets [][]byte
		found   []found
	}{
		"nothing":                      {},
		"a report of nothing":          {packets: [][]byte{report}},
		"a packet that is cut":         {packets: [][]byte{pli, pli[:8]}, found: wanted},
		"a header that is cut":         {packets: [][]byte{pli, {0x80}}, found: wanted},
		"longer than the datagram":     {packets: [][]byte{pli, {0x80, 201, 255, 255}}, found: wanted},
		"another version":              {packets: [][]byte{pli, {0x41, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 8}}, found: wanted},
		"blocks that are not there":    {packets: [][]byte{{0x83, 201, 0, 1, 0, 0, 0, 1}, pli}, found: wanted},
		"an unknown kind of feedback":  {packets: [][]byte{{0x8e, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1}, pli}, found: wanted},
		"feedback about nothing":       {packets: [][]byte{{0x81, 206, 0, 1, 0, 0, 0, 1}, pli}, found: wanted},
		"an unknown kind of packet":    {packets: [][]byte{{0x80, 250, 0, 1, 1, 2, 3, 4}, pli}, found: wanted},
		"too short to have a sender":   {packets: [][]byte{{0x80, 201, 0, 0}, pli}, found: wanted},
		"padding":                      {packets: [][]byte{{0xa1, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 4}}, found: wanted},
		"padding longer than all":      {packets: [][]byte{{0xa1, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 200}, pli}, found: wanted},
		"arrivals about nothing":       {packets: [][]byte{{0x8f, 205, 0, 1, 0, 0, 0, 1}, pli}, found: wanted},
		"arrivals that are cut":        {packets: [][]byte{pli, {0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1}}, found: wanted},
		"a NACK of nothing":            {packets: [][]byte{{0x81, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7}, pli}, found: wanted},
		"another application's packet": {packets: [][]byte{{0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 'a', 'b', 'c', 'd', 1, 2, 3, 4}, pli}, found: wanted},
		"a block that is cut":          {packets: [][]byte{{0x80, 207, 0, 2, 0, 0, 0, 1, 4, 0, 0, 2}, pli}, found: wanted},
	} {
		var raw []byte
		for _, p := range c.packets {
			raw = append(raw, p...)
		}
		require.Equal(t, c.found, all(raw), name)
	}
}

// However much a viewer asks for at once, there is a bound.
func TestMissingIsBounded(t *testing.T) {
	nack := &rtcp.TransportLayerNack{MediaSSRC: 1}
	for i := range uint16(100) {
		nack.Nacks = append(nack.Nacks, rtcp.NackPair{PacketID: 17 * i, LostPackets: 0xffff})
	}
	raw, err := rtcp.Marshal([]rtcp.Packet{nack, nack, &rtcp.PictureLossIndication{MediaSSRC: 1}})
	require.NoError(t, err)
	got := all(raw)
	require.Len(t, got, 2, "the second NACK is too much, and not what comes behind")
	require.Len(t, got[0].numbers, MaxMissing/17*17)
	require.Equal(t, Keyframe, got[1].Kind)
	n := 0
	Missing([]byte{0, 1, 0xff, 0xff}).Range(func(uint16) bool { n++; return n < 3 })
	require.Equal(t, 3, n)
}

func TestDoesNotAllocate(t *testing.T) {
	raw, err := rtcp.Marshal(random(rand.New(rand.NewPCG(3, 1))))
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r := Read(raw)
		for m, ok := r.Next(); ok; m, ok = r.Next() {
			m.Missing.Range(func(seq uint16) bool { return seq != 1 })
			m.Missing.Count()
		}
	}))
}

func FuzzRead(f *testing.F) {
	f.Add(report)
	for seed := range uint64(50) {
		raw, err := rtcp.Marshal(random(rand.New(rand.NewPCG(seed, 1))))
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		numbers := 0
		for _, one := range all(b) {
			numbers += len(one.numbers)
			p := one.Packet
			require.Equal(t, one.Kind == Arrivals, p != nil)
			if p != nil { // one whole packet
				require.Equal(t, []byte{2<<6 | formatTransport, transportFeedback}, []byte{p[0] &^ 0x20, p[1]})
				require.Len(t, p, 4*(1+int(binary.BigEndian.Uint16(p[2:]))))
			}
		}
		require.LessOrEqual(t, numbers, MaxMissing)
	})
}
