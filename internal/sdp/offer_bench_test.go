package sdp

import "testing"

func BenchmarkParse(b *testing.B) {
	offer := read(b, "chromium.sdp")
	for b.Loop() {
		if _, err := Parse(offer); err != nil {
			b.Fatal(err)
		}
	}
}
