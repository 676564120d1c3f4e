package red

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSplit(t *testing.T) {
	blocks, err := Split(nil, []byte{
		0x80 | 111, 1920 >> 6, (1920 & 0x3f) << 2, 3,
		0x80 | 111, 960 >> 6, 960&0x3f<<2 | 1, 1,
		111,
		1, 2, 3,
	})
	require.ErrorIs(t, err, ErrMalformed, "257 bytes are not there")
	require.Empty(t, blocks)

	payload := []byte{
		0x80 | 111, 1920 >> 6, 1920 & 0x3f << 2, 3,
		0x80 | 111, 960 >> 6, 960 & 0x3f << 2, 0,
		111,
		1, 2, 3, 9, 8,
	}
	blocks, err = Split(blocks, payload)
	require.NoError(t, err)
	require.Equal(t, []Block{
		{PayloadType: 111, Offset: 1920, Data: []byte{1, 2, 3}},
		{PayloadType: 111, Offset: 960, Data: []byte{}},
		{PayloadType: 111, Data: []byte{9, 8}},
	}, blocks)
	require.Zero(t, testing.AllocsPerRun(100, func() { blocks, _ = Split(blocks[:0], payload) }))

	alone, err := Split(nil, []byte{111})
	require.NoError(t, err)
	require.Equal(t, []Block{{PayloadType: 111, Data: []byte{}}}, alone)
	long := make([]byte, 4*maxBlocks+5)
	for i := range maxBlocks + 1 {
		long[4*i] = 0x80
	}
	_, err = Split(nil, long)
	require.ErrorIs(t, err, ErrMalformed)
	_, err = Split(nil, nil)
	require.ErrorIs(t, err, ErrMalformed)
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte{0x80 | 111, 15, 0, 1, 111, 7, 8})
	f.Fuzz(func(t *testing.T, payload []byte) {
		blocks, err := Split(nil, payload)
		if err != nil {
			require.Empty(t, blocks)
			return
		}
		sum := 0
		for i, b := range blocks {
			sum += len(b.Data) + 4
			require.Less(t, b.Offset, uint32(1<<14))
			require.Equal(t, i == len(blocks)-1, b.Offset == 0 && i == len(blocks)-1)
		}
		require.Equal(t, len(payload), sum-3)
	})
}
