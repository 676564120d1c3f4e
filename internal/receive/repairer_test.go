package receive

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Where media may be among what was lost, the gap stays.
func TestWhatIsLostStaysLost(t *testing.T) {
	for name, lose := range map[string]func(f *fecSender){
		"a packet and its correction":                                     func(f *fecSender) { f.ulpFrame(2, 5); f.ulpFrame() },
		"the last, and all correction":                                    func(f *fecSender) { f.ulpFrame(3, 4, 5); f.ulpFrame() },
		"a frame, but for its last correction":                            func(f *fecSender) { f.ulpFrame(0, 1, 2, 3, 4) },
		"correction, and a frame":                                         func(f *fecSender) { f.ulpFrame(4, 5); f.ulpFrame(0, 1, 2, 3, 4, 5); f.ulpFrame() },
		"correction, and the first of the next, of which nothing remains": func(f *fecSender) { f.ulpFrame(4, 5); f.ulpFrame(0, 4, 5) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFECSender(t, planned(t, false, ulpCodecs))
			for range 5 {
				f.ulpFrame()
			}
			f.got()
			f.ulpFrame()
			lose(f)
			f.ulpFrame()
			payloads, numbers, _ := f.got()
			gaps := 0
			for i := 1; i < len(numbers); i++ {
				gaps += max(0, numbers[i]-numbers[i-1]-1)
			}
			missing := len(f.sent) - 5*4 - len(payloads)
			require.Positive(t, missing)
			require.GreaterOrEqual(t, gaps, missing)
		})
	}
}

// A sender whose frames come at any time, and have no start that is known, has two packets of
// correction behind each: if these are lost, that is no gap, and if more is, it is one.
func TestCorrectionThatFollowsEachFrame(t *testing.T) {
	f := newFECSender(t, planned(t, false, "96=AV1/90000,121=red/90000,122=ulpfec/90000"))
	frame := func(lost ...int) {
		f.ts += 1500 * uint32(f.frame*f.frame%7)
		f.ulpFrame(lost...)
	}
	from := uint64(0)
	gap := func() int { // numbers without a packet since the last call
		n, last := 0, from
		for p := f.cursor.Next(); p != nil; p = f.cursor.Next() {
			if from == 0 {
				from = p.Seq - 1
			}
			n, last = n+1, max(last, p.Seq)
		}
		missing := int(last-from) - n
		from = last
		return missing
	}
	for range 5 {
		frame()
	}
	frame(4, 5) // it is not known yet that they follow each
	for range 10 {
		frame()
	}
	require.Equal(t, 2, gap())
	frame(4, 5)
	frame(5)
	frame(4)
	frame(3, 5)
	frame()
	require.Equal(t, 0, gap())
	frame(4, 5)
	frame(0, 1, 2, 3, 4, 5) // whose correction cannot be told from media
	frame()
	require.Equal(t, 6, gap())
	for range 40 { // one packet of correction, from now on
		m := f.media(4)
		for _, raw := range append(slices.Clone(m), f.parity(m...)) {
			f.deliver(redPT, raw)
		}
		f.ts += 1500 * uint32(f.frame*f.frame%7)
	}
	m := f.media(4)
	_ = f.parity(m...)
	for _, raw := range m {
		f.deliver(redPT, raw)
	}
	frame()
	require.Equal(t, 0, gap())
	for _, raw := range f.media(4) { // and once none
		f.deliver(redPT, raw)
	}
	frame()
	frame(4, 5)
	frame()
	require.Equal(t, 2, gap())
}

// Behind a frame whose end was lost, nobody knows how many packets of correction there were.
func TestCorrectionOfAFrameWithoutEnd(t *testing.T) {
	f := newFECSender(t, planned(t, false, "96=AV1/90000,121=red/90000,122=ulpfec/90000"))
	for range 10 {
		f.ulpFrame()
	}
	f.ulpFrame(1, 3) // the first parity, which was about both, is of no use
	m := f.media(2)
	f.deliver(redPT, m[1])
	payloads, numbers, _ := f.got()
	require.Len(t, payloads, 11*4-2+1)
	require.Equal(t, 11*4+2-1, slices.Max(numbers), "three are missing, among them the first of the frame")
}

// What comes beside the source that feeds a layer takes no memory.
func TestNothingIsKeptOfASecondSource(t *testing.T) {
	f := newFECSender(t, planned(t, false, ulpCodecs))
	f.ulpFrame()
	for i := range uint16(20) {
		f.send(a{ssrc: 8, pt: mediaPT, seq: 1000 + i, ts: uint32(i) * 3000})
		f.ulpFrame(1)
	}
	require.NotNil(t, f.r.sources[fecSSRC].repairer)
	require.Nil(t, f.r.sources[8].repairer)
	require.EqualValues(t, 20, f.r.stats.Restored)
}

// In H.264 a slice may begin a frame, or stand behind parameter sets. Where these are lost,
// they are not taken for correction: their own correction brings them.
func TestLostParameterSetsAreRepaired(t *testing.T) {
	f := newFECSender(t, planned(t, false, "96=H264/90000,121=red/90000,122=ulpfec/90000"))
	frame := func(lost int, types ...byte) {
		all := f.media(len(types))
		for i, kind := range types {
			all[i][12], all[i][13] = kind, 0x80 // the NAL unit's type, and the first macroblock
		}
		all = append(all, f.parity(all...))
		for i, raw := range all {
			if i != lost {
				f.deliver(redPT, raw)
			}
		}
		f.pass(33 * time.Millisecond)
	}
	const none, sps, idr, slice = -1, 0x67, 0x65, 0x41
	for range 20 {
		frame(none, slice, slice)
	}
	f.got()
	frame(0, sps, idr, idr)
	frame(none, slice, slice)
	payloads, numbers, _ := f.got()
	require.True(t, slices.ContainsFunc(payloads, func(p []byte) bool { return len(p) > 0 && p[0] == sps }), "of %d packets", len(numbers))
}
