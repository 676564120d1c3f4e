package receive

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/budget"
)

// A Bound holds a sender to a bitrate. The zero value has none.
type Bound struct {
	// Max returns how many payload bits a second may come, 0: as many as come, and the
	// name of the limit. It must not block. Nil: there is no bound.
	Max    func() (bits int, limit string)
	police budget.Police
}

// Bits returns how many payload bits a second may come, 0: as many as come.
func (b *Bound) Bits() int {
	if b.Max == nil {
		return 0
	}
	bits, _ := b.Max()
	return bits
}

// Sent notes that a payload of so many bytes has come, and returns why the session has to
// end, nil: it need not. One goroutine at a time calls it.
func (b *Bound) Sent(now time.Time, bytes int) error {
	if b.Max == nil {
		return nil
	}
	bits, limit := b.Max()
	if !b.police.Sent(now, 8*bytes, bits) {
		return nil
	}
	return fmt.Errorf("the publisher keeps sending more: %w", &cdn.LimitError{Name: limit, Limit: bits})
}

const (
	// Of the bound, sound gets an eighth, and no more than mostSound bits a second, if
	// there is video, too.
	soundShare = 8
	mostSound  = 128_000
	// overhead is how much longer packets are than their payload, with UDP, SRTP and RTP.
	overhead = 1.06
)

// WriteBound puts into an answer what its sender may send: b=AS, which counts all of a
// packet (RFC 8866 section 5.8), and b=TIAS, which counts the payload (RFC 3890). They
// stand in the m-sections, since browsers read them there, and add up to bits a second.
func WriteBound(answer string, bits int) string {
	if bits <= 0 {
		return answer
	}
	sections := strings.Split(answer, "\r\nm=")
	count := make(map[string]int)
	for _, s := range sections[1:] {
		count[received(s)]++
	}
	for i, s := range sections[1:] {
		share := shareOf(received(s), count, bits)
		if share == 0 {
			continue
		}
		at := strings.Index(s, "\r\nc=") + 2
		at += strings.Index(s[at:], "\r\n") + 2
		lines := "b=AS:" + strconv.Itoa(max(1, int(overhead*float64(share)/1000))) + "\r\nb=TIAS:" + strconv.Itoa(share) + "\r\n"
		sections[i+1] = s[:at] + lines + s[at:]
	}
	return strings.Join(sections, "\r\nm=")
}

// received returns the kind of an m-section, whose text begins with that, if something is
// received by it, and else "".
func received(section string) string {
	kind, _, _ := strings.Cut(section, " ")
	if !strings.Contains(section, "\r\na=recvonly") || !strings.Contains(section, "\r\nc=") {
		return ""
	}
	return kind
}

// shareOf returns how many bits a second an m-section of a kind gets, where there are so
// many of each kind.
func shareOf(kind string, count map[string]int, bits int) int {
	sounds, videos := count["audio"], count["video"]
	switch {
	case kind == "audio" && videos == 0:
		return bits / sounds
	case kind == "audio":
		return min(bits/soundShare/sounds, mostSound)
	case kind == "video" && sounds == 0:
		return bits / videos
	case kind == "video":
		return (bits - sounds*shareOf("audio", count, bits)) / videos
	}
	return 0
}
