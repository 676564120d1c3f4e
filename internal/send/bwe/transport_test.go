package bwe

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/bwe/bwetest"
)

const ms = time.Millisecond

// heard is what a message says of a packet that has arrived.
type heard struct {
	seq uint16
	at  time.Duration
}

func readAll(r *reader, p []byte) (all []heard, base uint16, about int, err error) {
	base, about, err = r.read(p, func(seq uint16, at time.Duration) { all = append(all, heard{seq, at}) })
	return all, base, about, err
}

// message returns feedback that begins with packet 65534, about count packets, and
// reference time 2 (128 ms).
func message(count uint16, rest ...byte) []byte {
	p := make([]byte, 20, 64)
	p[0], p[1] = 0x80|15, 205
	binary.BigEndian.PutUint16(p[12:], 65534)
	binary.BigEndian.PutUint16(p[14:], count)
	binary.BigEndian.PutUint32(p[16:], 2<<8|7)
	p = append(p, rest...)
	for len(p)%4 != 0 {
		p = append(p, 0)
	}
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)/4-1))
	return p
}

func TestReader(t *testing.T) {
	tests := []struct {
		name string
		p    []byte
		want []heard
	}{
		{"RunOfArrived", message(3, 0x20, 3, 4, 8, 0), []heard{{65534, 129 * ms}, {65535, 131 * ms}, {0, 131 * ms}}},
		{"RunOfMissing", message(3, 0x00, 3), nil},
		{"RunOfLarge", message(2, 0x40, 2, 0x01, 0x00, 0xff, 0xfc), []heard{{65534, 192 * ms}, {65535, 191 * ms}}},
		{"OneBit", message(4, 0x80|0x28, 0, 4, 4), []heard{{65534, 129 * ms}, {0, 130 * ms}}},
		{"TwoBits", message(3, 0xc1, 0x00, 4), []heard{{0, 129 * ms}}},
		{"SeveralChunks", message(10, 0x00, 8, 0x20, 2, 4, 4), []heard{{6, 129 * ms}, {7, 130 * ms}}},
		{"MoreInTheChunkThanPackets", message(1, 0x20, 9, 4), []heard{{65534, 129 * ms}}},
		{"OfOthersNothing", append(message(1, 0x20, 1, 4), 1, 2, 3), []heard{{65534, 129 * ms}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, base, _, err := readAll(&reader{}, test.p)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
			require.EqualValues(t, 65534, base)
		})
	}
}

func TestReaderRefuses(t *testing.T) {
	good := message(3, 0x20, 3, 4, 8, 0)
	change := func(at int, to byte) []byte {
		p := append([]byte(nil), good...)
		p[at] = to
		return p
	}
	for name, p := range map[string][]byte{
		"Empty":            nil,
		"Short":            good[:19],
		"Truncated":        good[:20],
		"AnotherVersion":   change(0, 0x40|15),
		"AnotherFormat":    change(0, 0x80|1),
		"AnotherType":      change(1, 206),
		"TooLong":          change(3, 9),
		"TooShort":         change(3, 1),
		"ReservedInRun":    message(1, 0x60, 1),
		"ReservedInVector": message(1, 0xc0|0x30, 0),
		"NoChunk":          message(30, 0x20, 2, 4, 4),
		"NoDelta":          message(8, 0x20, 8, 4),
		"NoLargeDelta":     message(2, 0x40, 2, 4, 4),
		"PaddingOfNothing": change(0, 0xa0|15),
		"PaddingOfAll":     append(change(0, 0xa0|15)[:23], 200),
	} {
		got, _, _, err := readAll(&reader{}, p)
		require.ErrorIs(t, err, errMalformed, name)
		require.Empty(t, got, name)
	}
}

func TestReaderPadding(t *testing.T) {
	p := message(3, 0x20, 3, 4, 8, 0, 0, 0, 3)
	p[0] |= 0x20
	got, _, _, err := readAll(&reader{}, p)
	require.NoError(t, err)
	require.Len(t, got, 3)
}

func TestReferenceTimeWraps(t *testing.T) {
	const wrap = time.Duration(1<<24) * referenceUnit
	r := &reader{}
	for i := range 200 {
		at := wrap - 5*time.Second + time.Duration(i)*50*ms
		got, _, _, err := readAll(r, bwetest.Feedback(0, i, []bwetest.Arrival{{Number: i, At: at}}))
		require.NoError(t, err)
		require.Equal(t, []heard{{uint16(i), at}}, got)
	}
	// Messages that overtake one another go back over the wrap, too.
	got, _, _, err := readAll(r, bwetest.Feedback(0, 9, []bwetest.Arrival{{Number: 9, At: wrap - time.Second}}))
	require.NoError(t, err)
	require.Equal(t, []heard{{9, wrap - time.Second}}, got)
}

// FuzzReader compares with pion's reader, where both understand a message.
func FuzzReader(f *testing.F) {
	f.Add(message(3, 0x20, 3, 4, 8, 0))
	f.Add(message(3, 0xc1, 0x00, 4))
	f.Add(message(2, 0x40, 2, 0x01, 0x00, 0xff, 0xfc))
	f.Add(message(4, 0x80|0x28, 0, 4, 4))
	f.Add(message(10, 0x00, 8, 0x20, 2, 4, 4))
	f.Add(bwetest.Feedback(1, 65530, []bwetest.Arrival{{Number: 65531, At: 3 * time.Second}, {Number: 65540, At: 2 * time.Second}}))
	f.Fuzz(func(t *testing.T, p []byte) {
		got, base, about, err := readAll(&reader{}, p)
		if err != nil {
			require.Empty(t, got)
			return
		}
		require.LessOrEqual(t, len(got), about)
		for _, h := range got {
			require.Less(t, int(h.seq-base), about)
		}
		var reference rtcp.TransportLayerCC
		if reference.Unmarshal(p) != nil {
			return
		}
		at := time.Duration(reference.ReferenceTime) * referenceUnit
		for i, d := range reference.RecvDeltas {
			if i == len(got) {
				break // pion takes those of a chunk's surplus symbols as well
			}
			at += time.Duration(d.Delta) * time.Microsecond
			require.Equal(t, at, got[i].at)
		}
	})
}
