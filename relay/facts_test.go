package relay

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// What a later version may say more, or otherwise, is passed over.
func TestReadFacts(t *testing.T) {
	got := map[string]cdn.LayerFacts{}
	readFacts("0//opaque 1/h/keyframes,estimated 1/l/brandnew 2 x/h/opaque 3/h/opaque/more -1//", func(track int, layer string, f cdn.LayerFacts) {
		if track >= 0 {
			got[string(rune('0'+track))+layer] = f
		}
	})
	require.Equal(t, map[string]cdn.LayerFacts{
		"0": {Opaque: true}, "1h": {Keyframes: true, EstimatedClock: true}, "1l": {},
	}, got)
}
