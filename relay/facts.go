package relay

import (
	"slices"
	"strconv"
	"strings"

	"github.com/deltacdn/delta/cdn"
)

// The words for what a node knows about a layer.
const (
	factOpaque    = "opaque"
	factKeyframes = "keyframes"
	factEstimated = "estimated"
)

// writeFacts returns what is known about a stream's layers, as the value of an SDP
// attribute: for each layer the index of its track, its name and the words that apply,
// such as "1/h/keyframes,estimated". It is empty if nothing is known.
func writeFacts(s *cdn.Stream) string {
	var all []string
	for i, t := range s.Tracks() {
		for _, l := range t.Layers() {
			f := l.Facts()
			var words []string
			for _, w := range []struct {
				word  string
				holds bool
			}{{factOpaque, f.Opaque}, {factKeyframes, f.Keyframes}, {factEstimated, f.EstimatedClock}} {
				if w.holds {
					words = append(words, w.word)
				}
			}
			if len(words) > 0 && !strings.ContainsAny(l.Name(), "/ ") {
				all = append(all, strconv.Itoa(i)+"/"+l.Name()+"/"+strings.Join(words, ","))
			}
		}
	}
	return strings.Join(all, " ")
}

// readFacts reads what writeFacts wrote, and ignores what it does not know.
func readFacts(value string, expect func(track int, layer string, f cdn.LayerFacts)) {
	for _, field := range strings.Fields(value) {
		parts := strings.Split(field, "/")
		if len(parts) != 3 {
			continue
		}
		track, err := strconv.Atoi(parts[0])
		if err != nil {
			continue
		}
		words := strings.Split(parts[2], ",")
		expect(track, parts[1], cdn.LayerFacts{
			Opaque: slices.Contains(words, factOpaque), Keyframes: slices.Contains(words, factKeyframes),
			EstimatedClock: slices.Contains(words, factEstimated),
		})
	}
}
