package origin

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/payload"
)

const (
	// maxPayload is the longest RTP payload that is taken: with the headers of IP,
	// UDP, RTP and its extensions, and SRTP's tag, it fits into 1500 bytes.
	maxPayload = 1400
	// samplePayload is the longest payload that samples are split into: with the RTP
	// header 1200 bytes, as browsers send.
	samplePayload = 1188
	// maxSample bounds a sample: about half of what a node keeps of a layer.
	maxSample = 2 << 20
)

// A Track writes one track of a [Publication], or one simulcast layer of it
// ([Track.Layer]). A track is written either by packets or by samples. Nothing is
// paced: what is written goes to viewers at once. The methods may be called
// concurrently; what is written concurrently goes out in any order.
type Track struct {
	// static
	publication *Publication
	info        cdn.TrackInfo
	layer       string
	layers      []*Track // one for each of info.Layers
	ids         []extensionID

	mu      sync.Mutex
	out     *cdn.LayerInput
	packet  rtp.Packet // the one that is written, in a buffer that is used again
	ext     []cdn.Ext
	samples *sampler // nil: no sample was written yet
}

// An extensionID pairs an extension's id in the request with that in the stream, whose
// first publisher may have declared others.
type extensionID struct{ theirs, ours uint8 }

// newTrack makes the writers of a track, which is the one of index i.
func (p *Publication) newTrack(i int, info cdn.TrackInfo, keyframe func(track, layer string)) (*Track, error) {
	layers := info.Layers
	if len(layers) == 0 {
		layers = []string{""}
	}
	all := make([]*Track, len(layers))
	for n, name := range layers {
		out, err := p.input.Layer(i, name, &encoder{func() { keyframe(info.ID, name) }, keyframe != nil})
		if err != nil {
			return nil, err
		}
		t := &Track{publication: p, info: info, layer: name, layers: all, out: out}
		for ours, uri := range out.Track().Info().Extensions {
			if theirs := slices.Index(info.Extensions, uri); theirs >= 0 {
				t.ids = append(t.ids, extensionID{uint8(theirs + 1), uint8(ours + 1)})
			}
		}
		all[n] = t
	}
	return all[0], nil
}

// An encoder is asked for keyframes, if the program wants to know of requests.
type encoder struct {
	request func()
	asked   bool
}

// RequestKeyframe implements [cdn.Upstream].
func (e *encoder) RequestKeyframe() {
	if e.asked {
		e.request()
	}
}

// Nack implements [cdn.Upstream]: what the program has not written is nowhere.
func (e *encoder) Nack([]uint16) {}

// Info describes the track, with the defaults of what the request left out.
func (t *Track) Info() cdn.TrackInfo { return t.info }

// Layer returns the writer of the simulcast layer of that name, or nil if the request
// has none. A Track itself writes the first layer of the request.
func (t *Track) Layer(name string) *Track {
	for _, l := range t.layers {
		if l.layer == name {
			return l
		}
	}
	return nil
}

// WriteRTP writes a packet. Its payload type and SSRC do not matter. Its sequence
// number and timestamp (RFC 3550 section 5.1) may begin anywhere and have to go on
// from packet to packet; packets may come out of order and twice. The id of a header
// extension (RFC 8285) is 1 + its index in the request's [cdn.TrackInfo].Extensions.
// p remains the caller's and is not changed.
//
// It does not block. Errors wrap [cdn.ErrInvalid] for a payload of more than 1400
// bytes; once the Publication has ended, they are its Err.
func (t *Track) WriteRTP(p *rtp.Packet) error {
	if len(p.Payload) > maxPayload {
		return t.fail(fmt.Errorf("%w: a payload of %d bytes, and packets carry %d at most", cdn.ErrInvalid, len(p.Payload), maxPayload))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.write(time.Now(), &p.Header, p.Payload, nil)
}

// SenderReport says that RTP timestamp ts is instant ntp of the clock by which the
// program captures (RFC 3550 section 6.4.1), so that tracks can be played in sync. For
// tracks that are written by packets; without it, they are synchronized by when
// packets are written. A report that cannot be true is ignored.
func (t *Track) SenderReport(ntp time.Time, ts uint32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.publication.Err(); err != nil {
		return err
	}
	t.out.SenderReport(time.Now(), ntp, ts)
	return nil
}

// write writes a packet, by way of burst if that is not nil.
func (t *Track) write(now time.Time, h *rtp.Header, data []byte, burst *cdn.Arrivals) error {
	if err := t.publication.take(now, len(data)); err != nil {
		return err
	}
	p := &t.packet
	p.Marker, p.SequenceNumber, p.Timestamp = h.Marker, h.SequenceNumber, h.Timestamp
	p.Payload = append(p.Payload[:0], data...) // a splice changes picture IDs in place
	t.ext = t.ext[:0]
	for _, id := range t.ids {
		if value := h.GetExtension(id.theirs); value != nil {
			t.ext = append(t.ext, cdn.Ext{ID: id.ours, Data: slices.Clone(value)})
		}
	}
	burst.Write(t.out, now, p, t.ext)
	return nil
}

func (t *Track) fail(err error) error {
	return &cdn.Error{Op: "write " + t.info.ID, Stream: t.publication.published.stream.ID(), Err: err}
}

// A sampler makes packets of samples.
type sampler struct {
	split *payload.Packetizer
	clock sampleClock
	rate  uint64 // of the track's timestamps
	begin uint32 // timestamp of the moment when the Publication began
	seq   uint16
	told  time.Time // when the clock was last told
}

// reportEvery is how often the clock of samples is told, as senders do by RTCP.
const reportEvery = time.Second

// WriteSample writes a sample, which lasts for duration: what the codec's decoder
// takes at once.
//
//	video/VP8, video/VP9    a frame
//	video/AV1               a temporal unit in the low-overhead format
//	video/H264, video/H265  an access unit with start codes (Annex B), the parameter
//	                        sets ahead of each keyframe, or in a sample of their own
//	                        without duration ahead of it
//	audio/opus              a packet
//	audio/PCMU, audio/PCMA, audio/G722  what one packet carries, 1188 bytes at most
//
// Durations add up: a sample's time is that of the one before it plus that one's
// duration, to the precision of the codec's clock and without drift. A track begins
// with the present, and so it does after a pause: when a sample comes more than two
// seconds later than the durations say. An empty sample sends nothing and lets its
// duration pass. data remains the caller's.
//
// It does not block, and it does not wait until a sample is due: the caller does.
// Errors wrap [cdn.ErrUnsupported] for other codecs, and [cdn.ErrInvalid] for a sample
// of more than 2 MiB, a negative duration, and what is not of the codec; once the
// Publication has ended, they are its Err.
func (t *Track) WriteSample(data []byte, duration time.Duration) error {
	switch {
	case len(data) > maxSample:
		return t.fail(fmt.Errorf("%w: a sample of %d bytes, and there may be %d", cdn.ErrInvalid, len(data), maxSample))
	case duration < 0:
		return t.fail(fmt.Errorf("%w: a sample of %v", cdn.ErrInvalid, duration))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.publication.Err(); err != nil {
		return err
	}
	if t.samples == nil {
		split, ok := payload.NewPacketizer(t.info.Codec.MimeType)
		if !ok {
			return t.fail(fmt.Errorf("%w: samples of %s: write packets", cdn.ErrUnsupported, t.info.Codec.MimeType))
		}
		t.samples = &sampler{split: split, rate: uint64(t.info.Codec.ClockRate), begin: rand.Uint32(), seq: uint16(rand.Uint32N(1 << 15))}
	}
	return t.writeSample(time.Now(), data, duration)
}

func (t *Track) writeSample(now time.Time, data []byte, duration time.Duration) error {
	s, begun := t.samples, t.publication.begun
	at := s.clock.next(now.Sub(begun), duration)
	if len(data) == 0 {
		return nil
	}
	payloads, err := s.split.Split(data, samplePayload)
	if err != nil {
		return t.fail(fmt.Errorf("%w: %w", cdn.ErrInvalid, err))
	}
	if len(payloads) == 0 { // they wait for a picture
		return nil
	}
	var burst cdn.Arrivals
	h := rtp.Header{Timestamp: s.begin + ticks(at, s.rate)}
	for i, one := range payloads {
		h.Marker = t.info.Kind == cdn.Video && i == len(payloads)-1
		h.SequenceNumber = s.seq
		if err := t.write(now, &h, one, &burst); err != nil {
			return err
		}
		s.seq++
	}
	burst.Flush()
	if now.Sub(s.told) >= reportEvery {
		s.told = now
		t.out.SenderReport(now, begun.Add(at), h.Timestamp)
	}
	return nil
}

// A sampleClock gives samples their times, since the Publication began.
type sampleClock struct {
	due   time.Duration // of the next one
	begun bool
}

// pausedAfter is by how much later than its predecessors' durations say a sample may be
// written: beyond that there was a pause.
const pausedAfter = 2 * time.Second

// next returns the time of a sample that is written at elapsed.
func (c *sampleClock) next(elapsed, duration time.Duration) (at time.Duration) {
	if !c.begun || elapsed-c.due > pausedAfter {
		c.begun, c.due = true, elapsed
	}
	at = c.due
	c.due += duration
	return at
}

// ticks converts a time to units of a clock rate, rounded, modulo 2^32.
func ticks(at time.Duration, rate uint64) uint32 {
	seconds, rest := uint64(at/time.Second), uint64(at%time.Second)
	return uint32(seconds*rate + (rest*rate+uint64(time.Second)/2)/uint64(time.Second))
}
